"""A potential of each of ten materials from its elements and `protocol: fast` alone, beside its own DFT and experiment.

For each material the run file names the elements, the protocol and the codes of the profile, nothing else. The command
`launch` submits it as for any user, and the daemon runs it; one material after the other. A run that is known in
DIRECTORY is not submitted again: where this was stopped, it waits for that run or reads what came of it; `--again`
continues one that did not end well. The equation of state and the elastic constants by DFT, which `fast` does not ask
for, are computed afterwards with the settings of the labels; what they cost is told apart. Then `table.md` and
`table.json` are written. A material that fails is a row with its cause, and the next one is on.

Run as `python tests/benchmarks/bench_materials.py DIRECTORY [NAMES ...] [--collect] [--again]` in a profile as
`aiida-pyacemaker setup all` makes it, with two cores and nothing beside it: an hour each, more for d metals.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

#: Elements, and the space group of the crystal that is compared.
MATERIALS = {
    'Al': (['Al'], 225),
    'Si': (['Si'], 227),
    'Cu': (['Cu'], 225),
    'Mg': (['Mg'], 194),
    'Fe': (['Fe'], 229),
    'NaCl': (['Na', 'Cl'], 225),
    'MgO': (['Mg', 'O'], 225),
    'NiAl': (['Ni', 'Al'], 221),
    'NiO': (['Ni', 'O'], 225),
    'GaAs': (['Ga', 'As'], 216),
}
#: Numbers of the table beside the errors: patterns of their names in the report of a validation.
NUMBERS = ('a', 'c', 'bulk_modulus', r'C\d\d', 'vacancy .*', 'surface_lowest', 'min_frequency', 'max_frequency')
SECONDS_BETWEEN_LOOKS = 20


def submit(folder: Path, elements: list[str], former: str | None) -> str:
    """Submit a run, or the continuation of one; return its UUID.

    :raises RuntimeError: with what the command said, if nothing was submitted.
    """
    from aiida import orm

    folder.mkdir(parents=True, exist_ok=True)
    runfile = folder / 'run.yaml'
    runfile.write_text(yaml.safe_dump({'protocol': 'fast', 'system': {'elements': elements}}), encoding='utf-8')
    # `--once`: where this was stopped between the submission and the note of it, that run is taken
    more = ['--restart-from', former] if former else ['--once']
    program = shutil.which('aiida-pyacemaker', path=str(Path(sys.executable).parent)) or 'aiida-pyacemaker'
    done = subprocess.run([program, 'launch', str(runfile), *more], capture_output=True, text=True, check=False)
    found = re.search(r'ActiveLearningWorkChain<(\d+)>', done.stdout)
    if found is None:
        raise RuntimeError((done.stderr or done.stdout).strip())
    return orm.load_node(int(found[1])).uuid


def follow(folder: Path, elements: list[str], again: bool) -> None:
    """Run a material to its end, or wait for the run that is on its way."""
    from aiida import orm

    known = folder / 'runs.json'
    runs: list[str] = json.loads(known.read_text()) if known.exists() else []
    if not runs or (again and orm.load_node(runs[-1]).is_terminated and not orm.load_node(runs[-1]).is_finished_ok):
        runs.append(submit(folder, elements, runs[-1] if runs else None))
        known.write_text(json.dumps(runs))
    wait(folder.name, orm.load_node(runs[-1]))


def wait(name: str, node: Any) -> None:
    """Wait for the end of a process.

    :raises RuntimeError: if there is no daemon, by which it would ever end.
    """
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_pyacemaker.reports.queries import while_unlocked

    is_terminated = while_unlocked(lambda: node.is_terminated)
    if not is_terminated():
        print(f'{name}: waits for {node.process_label}<{node.pk}>', flush=True)
    while not is_terminated():
        if not get_daemon_client().is_daemon_running:
            raise RuntimeError(f'{node.process_label}<{node.pk}> waits, but the daemon is not running')
        time.sleep(SECONDS_BETWEEN_LOOKS)


def compute_reference(folder: Path) -> None:
    """Compute the equation of state and the elastic constants of the crystals with the settings of the labels."""
    from aiida import orm
    from aiida.engine import submit as aiida_submit
    from aiida.plugins import WorkflowFactory

    run = orm.load_node(json.loads((folder / 'runs.json').read_text())[-1])
    judged, known = find_judged(run), folder / 'reference.json'
    if judged is None or (judged.inputs.parameters['validate'].get('references') and has_reference(judged)):
        return
    if not known.exists():
        builder = WorkflowFactory('pyacemaker.reference').get_builder_from_protocol(
            dict(run.inputs.codes), judged.inputs.crystals, judged.inputs.parameters['label'],
            {'references': ['eos', 'elasticity']}, judged.inputs.parameters['options'],
        )  # fmt: skip
        known.write_text(json.dumps(aiida_submit(builder).uuid))
    wait(folder.name, orm.load_node(json.loads(known.read_text())))


def find_judged(run: Any) -> Any:
    """Return the newest judgement of a potential of a run, None if there is none."""
    judged = [child for child in run.called if 'references' in child.outputs]
    return max(judged, key=lambda child: child.pk, default=None)


def has_reference(judged: Any) -> bool:
    """Return whether a judgement had elastic constants of DFT."""
    return any((entry or {}).get('elasticity') for entry in judged.outputs.references.get_dict().get('dft') or [])


def count_core_hours(process: Any) -> float:
    """Return the core-hours of pw.x below a process, failed calculations included; those of the cache cost none."""
    from aiida import orm

    from aiida_pyacemaker.workflows.oracles.qe import number_of_processes

    hours = 0.0
    for node in process.called_descendants:
        if isinstance(node, orm.CalcJobNode) and (node.process_type or '').endswith('quantumespresso.pw'):
            results = node.outputs.output_parameters.get_dict() if 'output_parameters' in node.outputs else {}
            if not node.base.caching.is_created_from_cache:
                hours += results.get('wall_time_seconds', 0.0) * number_of_processes(node) / 3600
    return hours


def read(folder: Path, group: int) -> dict[str, Any]:
    """Return what came of the runs of a material: labels, cost, errors, and numbers of its crystal in three columns."""
    from aiida import orm

    from aiida_pyacemaker.atomistics.validation.references import quantities
    from aiida_pyacemaker.reports.status import get_status

    runs = [orm.load_node(uuid) for uuid in json.loads((folder / 'runs.json').read_text())]
    status = get_status(runs[-1])
    errors = [row for row in status.generations if row.energy_rmse is not None]
    found: dict[str, Any] = {
        'state': runs[-1].exit_message or status.state,
        'labels': sum(get_status(run).dft.done for run in runs),
        'core_hours': sum(count_core_hours(run) for run in runs),
        'wall_minutes': sum((run.mtime - run.ctime).total_seconds() for run in runs) / 60,
        'noise': status.label_noise and status.label_noise['noise'],
        'settings': status.label_noise and status.label_noise['settings'],
        'energy_rmse': errors[-1].energy_rmse if errors else None,
        'force_rmse': errors[-1].force_rmse if errors else None,
        'verdict': status.verdict and status.verdict.verdict,
        'failed': status.verdict and status.verdict.failed,
    }
    judged = find_judged(runs[-1])
    if judged is None:
        return found
    crystals = judged.outputs.content.get_dict()['crystals']
    number = next((k for k, one in enumerate(crystals) if str(one['space_group']).endswith(f'({group})')), None)
    if number is None:
        found['crystal'] = f'none of space group {group}: {", ".join(one["name"] for one in crystals)}'
        return found
    references = judged.outputs.references.get_dict()
    dft, measured = ((references.get(key) or {}) for key in ('dft', 'experiment'))
    dft, measured = (dict(enumerate(column)).get(number) or {} if column else {} for column in (dft, measured))
    known = folder / 'reference.json'
    if known.exists():
        reference = orm.load_node(json.loads(known.read_text()))
        found['reference'] = (
            'ok' if reference.is_finished_ok else str(reference.exit_message or reference.process_state)
        )
        found['reference_core_hours'] = count_core_hours(reference)
        if reference.is_finished_ok:
            dft = {**dft, **reference.outputs.results.get_dict()['crystals'][number]}
    found['crystal'] = crystals[number]['name']
    found['ours'], found['dft'] = quantities(crystals[number]), quantities(dft)
    found['experiment'] = {name: entry['value'] for name, entry in measured.items()}
    found['phonons_stable'] = (crystals[number].get('phonons') or {}).get('stable')
    return found


def write_table(directory: Path, found: dict[str, dict[str, Any]]) -> None:
    """Write `table.json` and `table.md`."""
    from aiida_pyacemaker.atomistics.validation.references import find_quantity

    (directory / 'table.json').write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    runs, numbers = [], []
    for name, row in found.items():
        noise = row.get('noise') or {}
        runs.append(
            [
                name, row.get('labels'), _show(row.get('core_hours'), 2), _show(row.get('wall_minutes'), 0),
                _show(row.get('reference_core_hours'), 2),
                _show(noise.get('energy'), 2, 1e3), _show(noise.get('force'), 1, 1e3), _show(noise.get('stress'), 2),
                _show(row.get('energy_rmse'), 1, 1e3), _show(row.get('force_rmse'), 0, 1e3),
                {True: 'yes', False: 'no'}.get(row.get('phonons_stable'), ''), row.get('verdict') or row.get('state'),
                ', '.join(row.get('failed') or []),
            ]
        )  # fmt: skip
        names = {key for column in ('ours', 'dft', 'experiment') for key in row.get(column, {})}
        for key in (key for pattern in NUMBERS for key in sorted(names) if re.fullmatch(pattern, key)):
            ours, dft, measured = (row.get(column, {}).get(key) for column in ('ours', 'dft', 'experiment'))
            if (ours, dft) != (None, None):
                # a lowest frequency is noise about zero, and the constants of an unstable crystal may be anything
                relative = None not in (ours, dft) and abs(dft) > 1e-3 and key != 'min_frequency'
                error = f'{100 * (ours / dft - 1):+.1f}' if relative else ''
                told = find_quantity(key)
                cells = [f'{value:.4g}' if value is not None else '' for value in (ours, dft, measured)]
                numbers.append([row['crystal'], f'{told.label} ({told.unit})', *cells[:2], error, cells[2]])
    heads = ['', 'labels', 'core-hours', 'minutes', 'core-hours of references', 'noise (meV/atom)', 'noise (meV/Å)',
             'noise (GPa)', 'error (meV/atom)', 'error (meV/Å)', 'phonons stable', 'verdict', 'failed']  # fmt: skip
    columns = ['crystal', 'number', 'potential', 'own DFT', 'difference (%)', 'experiment']
    tables = [tabulate(runs, heads, tablefmt='github'), tabulate(numbers, columns, tablefmt='github')]
    (directory / 'table.md').write_text('\n\n'.join(tables) + '\n', encoding='utf-8')


def _show(value: float | None, digits: int, factor: float = 1.0) -> str:
    return '' if value is None else f'{factor * value:.{digits}f}'


def main() -> None:
    """Run what is asked for and write the table of all that is known."""
    from aiida import load_profile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('directory', type=Path)
    parser.add_argument('names', nargs='*', default=[], metavar='NAMES', help=f'of {", ".join(MATERIALS)}; all')
    parser.add_argument('--collect', action='store_true', help='write the table, run nothing')
    parser.add_argument('--again', action='store_true', help='continue runs that did not end well')
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MATERIALS)
    if unknown:
        parser.error(f'there is no material {", ".join(sorted(unknown))}: choose of {", ".join(MATERIALS)}')
    load_profile()
    found: dict[str, dict[str, Any]] = {}
    for name, (elements, group) in MATERIALS.items():
        folder = arguments.directory / name
        try:
            if not arguments.collect and (not arguments.names or name in arguments.names):
                follow(folder, elements, arguments.again)
                compute_reference(folder)
            if (folder / 'runs.json').exists():
                found[name] = read(folder, group)
        except Exception as exception:
            cause = str(exception) if isinstance(exception, RuntimeError) else traceback.format_exc().strip()
            found[name] = {'state': ' '.join(cause.splitlines()[-1:]), 'cause': cause}
        if name in found:  # what is known so far, for who stops this
            arguments.directory.mkdir(parents=True, exist_ok=True)
            write_table(arguments.directory, found)
    print((arguments.directory / 'table.md').read_text() if found else 'nothing is known yet')


if __name__ == '__main__':
    main()
