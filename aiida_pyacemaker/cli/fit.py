"""`aiida-pyacemaker fit`: from labelled configurations to a potential, without any settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_pyacemaker.atomistics.core.errors import InputError

from .utils import attempt, echo_error, load_profile, profile_option

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

    from aiida_pyacemaker.data.configurations import ConfigurationsData

#: Seconds between two looks at a fit that is followed.
POLL_SECONDS = 2.0


@click.command('fit')
@click.argument('data', nargs=-1, required=True, metavar='DATA... [KEY=VALUE]...')
@click.option('--test', 'held_out', metavar='DATA', help='Labelled configurations to measure on, never trained on.')
@click.option(
    '--split',
    default='90:10',
    show_default=True,
    metavar='TRAIN:[VALIDATION:]TEST',
    help='Parts of DATA to train on and to hold back, where there is no --test: 80:10:10, or 100 to hold nothing back.',
)
@click.option(
    '--order',
    type=click.Choice(['random', 'time']),
    default='random',
    show_default=True,
    help='What is held back: drawn at random, or the last of DATA. The frames of a trajectory stay together.',
)
@click.option('--continue', 'potential', metavar='PK', help='Continue from this potential: only new data cost.')
@click.option('--code', metavar='LABEL', help='Code of pyacemaker-worker. [default: pyacemaker-worker@localhost]')
@click.option('-o', '--output', type=click.Path(file_okay=False, path_type=Path), help='Folder for the results.')
@profile_option
def cmd_fit(
    data: tuple[str, ...],
    held_out: str | None,
    split: str,
    order: str,
    potential: str | None,
    code: str | None,
    output: Path | None,
    profile: str | None,
) -> None:
    """Fit an ACE potential to labelled configurations; nothing has to be set.

    DATA are files (extended xyz, npz, anything that ASE reads) or PKs of configurations in AiiDA. KEY=VALUE sets what
    else is chosen automatically, keys as in the section `train` of a run file: max_cost=0.2, mode=nonlinear.
    """
    with attempt():
        parameters = read_overrides([item for item in data if is_override(item)])
        shares = read_split(split)
        names = [item for item in data if not is_override(item)]
        if not names:
            raise click.UsageError('name the files or PKs that hold the labelled configurations.')
        profile_name = load_profile(profile)
        check_ready(code)
        target = output or Path(f'{Path(names[0]).stem}-potential')
        if target.exists() and any(target.iterdir()):
            raise InputError('--output', f'the folder {target} is not empty', 'name another one')
        node = submit(names, held_out, shares, order, potential, parameters, code)
        click.echo(f'Submitted TrainWorkChain<{node.pk}> to the profile {profile_name}.')
        follow(node)
        finish(node, target)
        sys.exit(0 if node.is_finished_ok else 1)


def is_override(item: str) -> bool:
    """Return whether an argument is KEY=VALUE and not the name of a file."""
    return '=' in item and not Path(item).exists()


def read_overrides(items: list[str]) -> dict[str, Any]:
    """Return the training parameters that were given.

    :raises ValueError: naming the key.
    """
    from aiida_pyacemaker.runfile import read_fit_parameters

    return read_fit_parameters(items)


def read_split(text: str) -> list[float]:
    """Return the shares to hold back, of the test, or of validation and test.

    :raises InputError: naming the option.
    """
    try:
        parts = [float(part) for part in text.split(':')]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0 or not parts[0] > 0:
        raise InputError(
            '--split', f'`{text}` is not TRAIN:TEST or TRAIN:VALIDATION:TEST', 'write for example 90:10 or 80:10:10'
        )
    return [part / sum(parts) for part in parts[1:]] or [0.0]


def check_ready(code: str | None) -> None:
    """:raises ValueError: if the code of the worker or the daemon is not there."""
    from aiida_pyacemaker.cli.preflight import check_code, check_daemon

    check_code('worker', code or default_code())
    check_daemon()


def default_code() -> str:
    """Return the code of the worker that the protocols name."""
    from aiida_pyacemaker.runfile import default_codes

    return default_codes()['worker']


def submit(
    names: list[str],
    held_out: str | None,
    shares: list[float],
    order: str,
    potential: str | None,
    parameters: dict[str, Any],
    code: str | None,
) -> WorkChainNode:
    """Read the data, hold some back and submit the fit."""
    from aiida import orm
    from aiida.engine import submit as aiida_submit
    from aiida.plugins import WorkflowFactory

    from aiida_pyacemaker.atomistics.fitting.training_set import TrainingSet
    from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations
    from aiida_pyacemaker.calculations.functions.split_configurations import split_configurations

    sets = [load_data(name) for name in names]
    test = load_data(held_out) if held_out is not None else None
    parent = load_potential(potential) if potential is not None else None
    frames = [[atoms for node in nodes for atoms in node.get_frames()] for nodes in (sets, [test] if test else [])]
    elements = sorted({symbol for node in (*sets, parent) if node is not None for symbol in node.elements})
    TrainingSet.read(frames[0], elements, frames[1])  # now, rather than by a job that fails
    data = (
        sets[0] if len(sets) == 1 else merge_configurations(**{f'data_{k:03d}': s.store() for k, s in enumerate(sets)})
    )
    if test is None:
        parts = split_configurations(data, orm.List(shares), orm.Int(parameters.get('seed', 0)), orm.Str(order))
        data, test = parts['train'], parts.get('held_back')
        if test is None and any(shares):
            click.echo('Nothing is held back: there are too few configurations, or all are of one trajectory.')
    click.echo(f'{len(data)} configurations to train on, {len(test) if test else 0} held back')
    parameters = {'elements': elements, **parameters}
    if parent is not None:
        parameters['generation'] = (parent.generation or 0) + 1
    builder = WorkflowFactory('pyacemaker.train').get_builder_from_protocol(
        orm.load_code(code or default_code()), data, parameters, test=test, potential=parent
    )
    return aiida_submit(builder)


def load_data(name: str) -> ConfigurationsData:
    """Return labelled configurations: a node that is there, or a new one from a file.

    :raises InputError: if the name is neither.
    """
    from aiida import orm
    from aiida.plugins import DataFactory

    from aiida_pyacemaker.atomistics.io.datasets import read_labelled

    configurations = DataFactory('pyacemaker.configurations')
    path = Path(name).expanduser()
    if path.is_file():
        try:
            node = configurations(read_labelled(path))
        except InputError:
            raise
        except ValueError as exception:
            raise InputError(str(path), str(exception)) from None
        node.label = path.name
        return node
    try:
        node = orm.load_node(name)
    except Exception:
        raise InputError('data', f'{name} is neither a file nor a node') from None
    if not isinstance(node, configurations):
        raise InputError('data', f'node {name} is {type(node).__name__}, not a set of configurations')
    return node


def load_potential(pk: str) -> Any:
    """:raises InputError: if there is no such potential."""
    from aiida import orm
    from aiida.plugins import DataFactory

    try:
        node = orm.load_node(pk)
    except Exception:
        raise InputError('--continue', f'there is no node {pk}') from None
    if not isinstance(node, DataFactory('pyacemaker.potential')):
        raise InputError('--continue', f'node {pk} is {type(node).__name__}, not a potential')
    return node


def follow(node: WorkChainNode) -> None:
    """Print what the fit says while it goes on."""
    import time

    from aiida_pyacemaker.reports.queries import while_unlocked

    click.echo(f'Following it; Ctrl-C only stops looking, then: verdi process status {node.pk}')
    shown = 0
    is_terminated = while_unlocked(lambda: node.is_terminated)
    try:
        while True:
            ended = is_terminated()
            lines = while_unlocked(read_progress)(node)
            for line in lines[shown:]:
                click.echo(f'  {line}')
            shown = max(shown, len(lines))
            if ended:
                return
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        click.echo('\nThe fit goes on.')
        sys.exit(130)


def read_progress(node: WorkChainNode) -> list[str]:
    """Return the lines that the newest job of the fit has written so far."""
    import tempfile

    jobs = [called for called in node.called if 'remote_folder' in called.outputs]
    if not jobs:
        return []
    job = max(jobs, key=lambda item: item.pk)
    name = job.get_option('output_filename')
    if 'retrieved' in job.outputs and name in job.outputs.retrieved.base.repository.list_object_names():
        return job.outputs.retrieved.base.repository.get_object_content(name).splitlines()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        try:
            job.outputs.remote_folder.getfile(name, str(path))
        except OSError:  # not started yet
            return []
        return path.read_text(errors='replace').splitlines()


def finish(node: WorkChainNode, target: Path) -> None:
    """Write the potential, the numbers and the pictures, and say how good it is."""
    from aiida_pyacemaker.reports.pictures import draw_fit

    from .data import format_error

    if not node.is_finished_ok:
        echo_error(f'the fit failed: {node.exit_message or node.process_state.value}')
        return
    results = node.outputs.results.get_dict()
    node.outputs.potential.write_for_lammps(target)
    results |= measure_parts(node)
    (target / 'metrics.json').write_text(json.dumps(results, indent=2, sort_keys=True) + '\n', encoding='utf-8')
    pictures = draw_fit(node, target)
    for name, title in (('train', 'training'), ('validation_part', 'validation'), ('test', 'held back')):
        if results.get(name):
            energy, forces = (format_error(results[name], key) for key in ('energy', 'forces'))
            click.echo(f'Errors ({title:10}): {energy:>7} meV/atom, {forces:>7} meV/Å')
    for warning in results.get('warnings', []):
        click.secho(f'Note: {warning}', fg='yellow')
    click.echo(f'Potential:   <{node.outputs.potential.pk}>, in {target}/ with in.lammps, metrics.json')
    if pictures:
        click.echo(f'Pictures:    {", ".join(pictures)}')
    click.echo(f'Continue it: aiida-pyacemaker fit MORE_DATA --continue {node.outputs.potential.pk}')


def measure_parts(node: WorkChainNode) -> dict[str, Any]:
    """Return the errors on the two parts of what was held back, `validation_part` and `test`, if there are two."""
    from aiida_pyacemaker.atomistics.core.frame import info
    from aiida_pyacemaker.atomistics.fitting.references import align_energies
    from aiida_pyacemaker.atomistics.metrics.errors import error_metrics

    if 'test' not in node.inputs.job or 'predictions' not in node.outputs:
        return {}
    frames, predictions = node.inputs.job.test.get_frames(), node.outputs.predictions.get_frames()
    names = [info(atoms).get('split') for atoms in frames]
    if 'validation' not in names:
        return {}
    frames = align_energies(frames, node.outputs.potential.metadata.get('energy_scales', []))
    found = {}
    for part, key in (('validation', 'validation_part'), ('test', 'test')):
        chosen = [index for index, name in enumerate(names) if name == part]
        found[key] = error_metrics([frames[k] for k in chosen], [predictions[k] for k in chosen]) if chosen else None
    return found
