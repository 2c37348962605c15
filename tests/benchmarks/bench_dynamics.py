"""From crystals at room temperature to a potential that runs through melting: the whole loop, on four systems.

Run as `python tests/benchmarks/bench_dynamics.py [DIR] [--systems al si] [--seeds N] [--quick] [--set KEY=VALUE]`.
It prints a table as each run ends, and all at the end. What is finished in the directory is not run again.

The systems, and what the teacher of each is, are those of `loop_systems.py`. Each run starts from cells of the crystal,
strained and rattled as at room temperature. Walkers heat from 100 K to 1.5 times the melting point, and start at the
latter and cool, stage by stage, with the defaults of the protocol `balanced` but for what `System.content` names.

- `rounds`, `halts`, `other`: rounds of simulations; how often gamma halted one; how often one ended otherwise before
  its end (volume, temperature, overlap, lost atoms: a collapse, from which the loop must recover);
- `labels`: initial + learned + held out on the way; `atoms` of all; `core-h`: estimate of their cost with pw.x;
- errors (meV/atom, meV/Å) on the teacher's own trajectories, of the exploring potential, and of the result (the
  production fit where it won): of all, of the crystal, of the melt;
- `stable`: simulations with the result in the largest cell of the test set, without any watch on gamma, heated to 1.5
  times the melting point and held there, that came to their end; and the largest difference of their final volume from
  the teacher's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from efficiency_data import core_hours
from loop import parse_settings, run_loop, simulate
from loop_systems import SYSTEMS, System, merged, teacher_frames, test_set

from aiida_pyacemaker.atomistics.configurations import load_configurations
from aiida_pyacemaker.atomistics.dynamics.plan import plan_walkers
from aiida_pyacemaker.atomistics.dynamics.progress import Progress
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.errors import error_metrics

QUICK = {'explore': {'steps': 2000, 'walkers': 2}, 'budget': {'max_iterations': 12}}
#: Simulations without a watch on gamma: their number, and the steps of each half, heating and holding.
FREE, FREE_STEPS = 1, 2500


def measure(potential: AcePotential, test: list[Atoms]) -> dict[str, list[float]]:
    """Return errors of energy (meV/atom) and forces (meV/Å): of all, of the crystal, and of the melt."""
    metrics = error_metrics(test, predict(potential, test))
    groups = {'all': metrics, **metrics['by_family']}
    return {name: [1e3 * found[key]['rmse'] for key in ('energy', 'forces')] for name, found in groups.items()}


def run_free(
    system: System, potential: AcePotential, parameters: dict[str, Any], directory: Path, steps: int
) -> list[dict[str, Any]]:
    """Heat larger cells with the potential, gamma unwatched, and hold them: how each ended, and its final volume.

    :param parameters: the resolved run file of the loop.
    """
    explore = Progress(merged(parameters, {'train': {'production': {'share': 1.0}}})).proof()
    high = max(explore['temperature'])
    cell, found = system.start().repeat(system.repeats[-1]), []
    for index in range(FREE):
        changes = {'programs': ['heat'], 'steps': steps}
        heating = plan_walkers({**explore, **changes}, [cell], system.elements, 0, 1000 + index)[0]['parameters']
        outcome = simulate(directory / f'heat_{index}', potential, heating, structure=cell)
        if outcome.results['reason'] == 'completed':
            holding = {**heating, 'temperature': [high, high], 'steps': 2 * steps, 'soft_start': 0}
            outcome = simulate(
                directory / f'hold_{index}', potential, holding, structure=cell, restart=outcome.restart,
                volume=outcome.results['reference_volume_per_atom'],
            )  # fmt: skip
        volumes = outcome.thermo.get('volume', np.zeros(1)) / len(cell)
        found.append({
            'reason': outcome.results['reason'], 'step': outcome.results['step'],
            'volume': float(volumes[len(volumes) // 2 :].mean()),
        })  # fmt: skip
    return found


def run_one(system: System, seed: int, directory: Path, overrides: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Return a run and what its potentials are worth; read, if it was done before."""
    path = directory / 'result.json'
    if path.exists():
        return json.loads(path.read_text())
    told = directory / 'story.json'
    if told.exists():
        story = json.loads(told.read_text())
    else:
        story = run_loop(system, seed, directory, overrides, say=lambda line: print('    ' + line, flush=True))
    labelled, test = load_configurations(directory / 'labelled.npz'), test_set(system)
    result = {key: story[key] for key in ('system', 'seed', 'state', 'reason', 'rounds', 'halts', 'ends', 'labels')}
    result['iterations'] = story['iterations'][-1]['iteration']
    result['seconds'], result['core_hours'] = sum(story['seconds'].values()), core_hours(labelled)
    result['functions'] = [entry['number_of_functions'] for entry in story['iterations'] if 'generation' in entry][-1]
    result['production'] = story['production']
    result['correlations'] = [
        entry['surprise']['rank_correlation'] for entry in story['iterations'] if entry.get('surprise')
    ]
    exploring, final = (AcePotential(story[key]) for key in ('exploring', 'potential'))
    result['exploring'], result['final'] = measure(exploring, test), measure(final, test)
    result['free'] = run_free(
        system, final, story['parameters'], directory / 'free', FREE_STEPS // (10 if quick else 1)
    )
    path.write_text(json.dumps(result, indent=1, default=float) + '\n')
    return result


def volume_of_teacher(system: System) -> float:
    """Return the volume per atom (Å³) of the teacher's melt at 1.5 times the melting point."""
    frames = teacher_frames(system, system.repeats[-1], round(1.5 * system.melting), 20, 99, melt=True)
    return float(np.mean([atoms.get_volume() / len(atoms) for atoms in frames]))


def row_of(result: dict[str, Any], volume: float) -> str:
    """Return a line of the table."""
    ends, labels = result['ends'], result['labels']
    other = sum(number for reason, number in ends.items() if reason not in ('completed', 'gamma'))
    learned = labels['train'] + labels['test'] - labels['initial']
    production = result['production'] or {}
    functions = f'{result["functions"]}' + (f'->{production["number_of_functions"]}' if production.get('kept') else '')
    free = result['free']
    completed = sum(item['reason'] == 'completed' for item in free)
    off = max(abs(item['volume'] / volume - 1) for item in free)
    errors = '  '.join(
        f'{result[which][group][0]:5.2f} {result[which][group][1]:5.1f}'
        for which, group in (('exploring', 'all'), ('final', 'all'), ('final', 'crystal'), ('final', 'melt'))
    )
    return (
        f'{result["system"]:5s} {result["seed"]:4d}  {result["state"][:10]:10s} {result["iterations"]:5d} '
        f'{result["rounds"]:6d} {result["halts"]:5d} {other:5d}  {labels["initial"]:3d}+{learned:<4d} '
        f'{labels["atoms"]:5d} {result["core_hours"]:6.1f}  {functions:9s} {errors}  '
        f'{completed}/{len(free)} {1e2 * off:4.1f} % {result["seconds"] / 60:5.1f}'
    )


HEAD = (
    'system seed state      iter. rounds halts other  labels    atoms core-h  functions exploring    result       '
    'crystal      melt         stable     min'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path, nargs='?', help='what is finished there is not run again')
    parser.add_argument('--systems', nargs='+', choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--quick', action='store_true', help='aluminium, one seed, a tenth of the steps')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='a key of the run file')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.systems, arguments.seeds = ['al'], 1
    overrides = merged(QUICK if arguments.quick else {}, parse_settings(arguments.set))
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix='dynamics-'))
    rows = []
    for name in arguments.systems:
        system, volume = SYSTEMS[name], volume_of_teacher(SYSTEMS[name])
        for seed in range(1, arguments.seeds + 1):
            result = run_one(system, seed, directory / f'{name}_{seed}', overrides, arguments.quick)
            rows.append(row_of(result, volume))
            print(f'{HEAD}\n{rows[-1]}', flush=True)
            if result['state'] != 'converged':
                print(f'    {result["reason"]}', flush=True)
    print('\n'.join([HEAD, *rows]))


if __name__ == '__main__':
    main()
