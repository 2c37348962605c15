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
- `min`: wall time of the loop;
- `stable`, with `--free STEPS`: how a simulation ended with the result in the largest cell of the test set, without any
  watch on gamma, heated to 1.5 times the melting point in so many steps and held there for as many; and by how much
  its volume differs from the teacher's.
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

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.plan import plan_walkers
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.loop.progress import LoopSettings, Progress
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

QUICK = {'explore': {'steps': 1000}, 'train': {'number_of_functions': 60}, 'budget': {'max_iterations': 20}}


def measure(potential: AcePotential, test: list[Atoms]) -> dict[str, list[float]]:
    """Return errors of energy (meV/atom) and forces (meV/Å): of all, of the crystal, and of the melt."""
    metrics = error_metrics(test, predict(potential, test))
    groups = {'all': metrics, **metrics['by_family']}
    return {name: [1e3 * found[key]['rmse'] for key in ('energy', 'forces')] for name, found in groups.items()}


def run_free(system: System, result: dict[str, Any], directory: Path, steps: int) -> str:
    """Heat the largest cell of the test set with the potential, gamma unwatched, and hold it at the end of the ramp.

    :returns: how it ended, and by how much its volume differs from that of the teacher's melt; kept between calls.
    """
    path = directory / f'free_{steps}.txt'
    if path.exists():
        return path.read_text()
    parameters, potential = result['parameters'], AcePotential(result['potential'])
    whole = merged(parameters, {'train': {'production': {'share': 1.0}}})
    section = Explore.model_validate({**parameters['explore'], 'programs': ['heat'], 'steps': steps})
    explore = Progress(LoopSettings.from_runfile(whole)).proof(section)
    high = max(explore.temperature)
    cell = system.start().repeat(system.repeats[-1])
    heating = plan_walkers(explore, [cell], system.elements, 0, result['seed'])[0].parameters
    outcome = simulate(directory / 'heat', potential, heating, structure=cell)
    if outcome.results['reason'] == 'completed':
        holding = heating.model_copy(update={'temperature': [high, high], 'steps': 2 * steps, 'soft_start': 0})
        volume = outcome.results['reference_volume_per_atom']
        outcome = simulate(
            directory / 'hold', potential, holding, structure=cell, restart=outcome.restart, volume=volume
        )
    volumes = outcome.thermo['volume'] / len(cell)
    off = float(volumes[len(volumes) // 2 :].mean() / volume_of_teacher(system) - 1)
    path.write_text(f'{outcome.results["reason"]} {1e2 * off:+.1f} %')
    return path.read_text()


def volume_of_teacher(system: System) -> float:
    """Return the volume per atom (Å³) of the teacher's melt at 1.5 times the melting point."""
    frames = teacher_frames(system, system.repeats[-1], round(1.5 * system.melting), 20, 99, melt=True)
    return float(np.mean([atoms.get_volume() / len(atoms) for atoms in frames]))


def run_one(system: System, seed: int, directory: Path, overrides: dict[str, Any]) -> dict[str, Any]:
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
    for key in ('exploring', 'potential'):
        result[f'errors_{key}'] = measure(AcePotential(story[key]), test)
    result['potential'], result['parameters'] = story['potential'], story['parameters']
    path.write_text(json.dumps(result, indent=1, default=float) + '\n')
    return result


def row_of(result: dict[str, Any], free: str) -> str:
    """Return a line of the table."""
    ends, labels = result['ends'], result['labels']
    other = sum(number for reason, number in ends.items() if reason not in ('completed', 'gamma'))
    learned = labels['train'] + labels['test'] - labels['initial']
    production = result['production'] or {}
    functions = f'{result["functions"]}' + (f'->{production["number_of_functions"]}' if production.get('kept') else '')
    errors = '  '.join(
        f'{result[f"errors_{which}"][group][0]:5.2f} {result[f"errors_{which}"][group][1]:5.1f}'
        for which, group in (
            ('exploring', 'all'),
            ('potential', 'all'),
            ('potential', 'crystal'),
            ('potential', 'melt'),
        )
    )
    return (
        f'{result["system"]:5s} {result["seed"]:4d}  {result["state"][:10]:10s} {result["iterations"]:5d} '
        f'{result["rounds"]:6d} {result["halts"]:5d} {other:5d}  {labels["initial"]:3d}+{learned:<4d} '
        f'{labels["atoms"]:5d} {result["core_hours"]:6.1f}  {functions:9s} {errors}  '
        f'{result["seconds"] / 60:5.1f}  {free}'
    )


HEAD = (
    'system seed state      iter. rounds halts other  labels    atoms core-h  functions exploring    result       '
    'crystal      melt           min  stable'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path, nargs='?', help='what is finished there is not run again')
    parser.add_argument('--systems', nargs='+', choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--free', type=int, default=0, metavar='STEPS', help='of a simulation without a watch on gamma')
    parser.add_argument('--quick', action='store_true', help='aluminium, one seed, a tenth of the steps')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='a key of the run file')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.systems, arguments.seeds = ['al'], 1
    overrides = merged(QUICK if arguments.quick else {}, parse_settings(arguments.set))
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix='dynamics-'))
    rows = []
    for name in arguments.systems:
        system = SYSTEMS[name]
        for seed in range(1, arguments.seeds + 1):
            place = directory / f'{name}_{seed}'
            result = run_one(system, seed, place, overrides)
            free = run_free(system, result, place, arguments.free) if arguments.free else ''
            rows.append(row_of(result, free))
            print(f'{HEAD}\n{rows[-1]}', flush=True)
            if result['state'] != 'converged':
                print(f'    {result["reason"]}', flush=True)
    print('\n'.join([HEAD, *rows]))


if __name__ == '__main__':
    main()
