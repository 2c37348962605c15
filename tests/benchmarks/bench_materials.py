"""A potential of each of ten materials from its elements and `protocol: fast` alone, beside its own DFT and experiment.

For each material the run file names the elements, the protocol and the codes of the profile, nothing else. The command
`launch` submits it as for any user, and the daemon runs it; one material after the other. A run that is known in
DIRECTORY is not submitted again: where this was stopped, it waits for that run or reads what came of it; `--again`
continues one that did not end well. Then `table.md` and `table.json` are written. A material that fails is a row with
its cause.

Run as `python tests/benchmarks/bench_materials.py DIRECTORY [NAMES ...] [--collect] [--again]` in a profile as
`aiida-pyacemaker setup all` makes it, with two cores and nothing beside it: an hour each, more for d metals.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
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
#: Numbers of the table beside the errors, by their names in the report of a validation.
NUMBERS = ('a', 'c', 'bulk_modulus', 'C11', 'C12', 'C13', 'C33', 'C44', 'vacancy', 'min_frequency')
SECONDS_BETWEEN_LOOKS = 20


def submit(folder: Path, elements: list[str], former: str | None) -> str:
    """Submit a run, or the continuation of one; return its UUID.

    :raises RuntimeError: with what the command said, if nothing was submitted.
    """
    from aiida import orm

    folder.mkdir(parents=True, exist_ok=True)
    runfile = folder / 'run.yaml'
    runfile.write_text(yaml.safe_dump({'protocol': 'fast', 'system': {'elements': elements}}), encoding='utf-8')
    command = ['aiida-pyacemaker', 'launch', str(runfile), *(['--restart-from', former] if former else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r'Submitted ActiveLearningWorkChain<(\d+)>', done.stdout)
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
    node = orm.load_node(runs[-1])
    while not node.is_terminated:
        print(f'{folder.name}: waits for ActiveLearningWorkChain<{node.pk}>', flush=True)
        while not node.is_terminated:
            time.sleep(SECONDS_BETWEEN_LOOKS)


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
        'labels': status.dft.done,
        'core_hours': sum(get_status(run).dft.core_hours for run in runs),
        'wall_minutes': sum((run.mtime - run.ctime).total_seconds() for run in runs) / 60,
        'noise': status.label_noise and status.label_noise['noise'],
        'settings': status.label_noise and status.label_noise['settings'],
        'energy_rmse': errors[-1].energy_rmse if errors else None,
        'force_rmse': errors[-1].force_rmse if errors else None,
        'verdict': status.verdict and status.verdict.verdict,
        'failed': status.verdict and status.verdict.failed,
    }
    if 'validation_content' in runs[-1].outputs:
        crystals = runs[-1].outputs.validation_content.get_dict()['crystals']
        number = next((k for k, one in enumerate(crystals) if one['space_group'].endswith(f'({group})')), None)
        if number is not None:
            judged = [child for child in runs[-1].called if 'references' in child.outputs]
            others = judged[-1].outputs.references.get_dict() if judged else {}
            dft, measured = ((others.get(key) or {number: {}})[number] for key in ('dft', 'experiment'))
            found['crystal'] = crystals[number]['name']
            found['ours'], found['dft'] = quantities(crystals[number]), quantities(dft) if dft else {}
            found['experiment'] = {name: entry['value'] for name, entry in measured.items()}
            phonons = crystals[number].get('phonons') or {}
            found['phonons_stable'] = phonons.get('stable')
    return found


def write_table(directory: Path, found: dict[str, dict[str, Any]]) -> None:
    """Write `table.json` and `table.md`."""
    (directory / 'table.json').write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    runs, numbers = [], []
    for name, row in found.items():
        noise = row.get('noise') or {}
        runs.append(
            [
                name, row.get('labels'), _show(row.get('core_hours'), 2), _show(row.get('wall_minutes'), 0),
                _show(noise.get('energy'), 1, 1e3), _show(noise.get('force'), 0, 1e3),
                _show(row.get('energy_rmse'), 1, 1e3), _show(row.get('force_rmse'), 0, 1e3),
                {True: 'yes', False: 'no'}.get(row.get('phonons_stable'), ''), row.get('verdict') or row.get('state'),
                ', '.join(row.get('failed') or []),
            ]
        )  # fmt: skip
        for key in NUMBERS:
            ours, dft, measured = (row.get(column, {}).get(key) for column in ('ours', 'dft', 'experiment'))
            if ours is not None:
                error = '' if dft in (None, 0.0) else f'{100 * (ours / dft - 1):+.1f}'
                numbers.append([row['crystal'], key, f'{ours:.4g}', _show(dft, 3), error, _show(measured, 3)])
    heads = ['', 'labels', 'core-hours', 'minutes', 'noise (meV/atom)', 'noise (meV/Å)', 'error (meV/atom)',
             'error (meV/Å)', 'phonons stable', 'verdict', 'failed checks']  # fmt: skip
    columns = ['crystal', 'number', 'potential', 'own DFT', 'difference (%)', 'experiment']
    tables = [tabulate(runs, heads, tablefmt='github'), tabulate(numbers, columns, tablefmt='github')]
    (directory / 'table.md').write_text('\n\n'.join(tables) + '\n', encoding='utf-8')
    print('\n\n'.join(tables))


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
            if (folder / 'runs.json').exists():
                found[name] = read(folder, group)
        except RuntimeError as exception:
            found[name] = {'state': str(exception)}
    arguments.directory.mkdir(parents=True, exist_ok=True)
    write_table(arguments.directory, found)


if __name__ == '__main__':
    main()
