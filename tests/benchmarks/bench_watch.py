"""What the watch on a simulation costs, and what its thresholds are worth.

    python tests/benchmarks/bench_watch.py cost|halts|loops|soft [--quick]

`cost`: CPU time of LAMMPS with the watch (adaptive gamma, distances, temperature, volume) against plain `pace` with the
`.yace` of the same potential: same cell, same ramp, same thermo output and snapshots, interleaved repeats. The share of
the checks that were dense is part of the figure, and so are a watch that is always dense and one that never is.

`halts`: where a simulation would halt after 1, 2, 3 or 5 high checks in a row, and what is true there: simulations that
are never halted tell all of these at once, and the teacher tells the true error of the forces.

`loops`: the loop of `loop.py` with each of these (many minutes): halts, labels, the error of the final potential.

`soft`: what the jump in energy does when a simulation resumes with another potential, with and without soft start.

It needs the packages lammps and python-ace. Systems and teachers are those of `loop_systems.py`; potentials are kept
between runs beside the test sets of the loop.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import GPa
from embedding_parents import CACHE
from loop_systems import SYSTEMS, TIMESTEP, teacher_frames

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.atomistics.lammps.files import pair_lines
from aiida_pyacemaker.atomistics.lammps.outcome import Outcome, read_outcome
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.setup.engines import find_lammps

AL = SYSTEMS['al']


def potential(functions: int, highest: float) -> AcePotential:
    """Return a potential of aluminium that knows the crystal up to a temperature (K), and the free atom."""
    directory = CACHE / f'watch-al-{functions}-{highest:.0f}'
    if not (directory / 'potential.asi').exists():
        known = []
        for seed, temperature in enumerate(np.linspace(100.0, highest, 5), start=1):
            known += teacher_frames(AL, (3, 3, 3), temperature, 5, seed, every=100)
        known.append(Atoms('Al', cell=[15] * 3, pbc=False, info={'family': 'isolated_atom'}))
        train(AL.label(known), FitJob(elements=['Al'], number_of_functions=functions), directory, report=lambda _: None)
    return AcePotential(directory)


def simulate(
    directory: Path, text: str, model: AcePotential, parameters: dict[str, Any], atoms: Atoms | None
) -> tuple[Outcome, float]:
    """Run an input; return what came of it and the CPU time (s) it took."""
    for name in model.FILES:
        shutil.copy(model.directory / name, directory / name)
    if atoms is not None:
        script.write_structure(directory / script.STRUCTURE, atoms, ['Al'], WatchedDynamics(**parameters))
    (directory / 'input.in').write_text(text)
    engine, before = find_lammps(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [engine.executable, '-in', 'input.in', '-log', 'none'],
        cwd=directory,
        env={**os.environ, **engine.environment, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise SystemExit(done.stdout[-2000:])
    return read_outcome(directory, WatchedDynamics(**parameters), ['Al'], done.stdout), seconds


def watched(model: AcePotential, parameters: dict[str, Any], atoms: Atoms) -> tuple[Outcome, float]:
    """Run a simulation as the loop does."""
    with tempfile.TemporaryDirectory() as folder:
        text = script.write_script(WatchedDynamics(**parameters), model.metadata, resume=False)
        return simulate(Path(folder), text, model, parameters, atoms)


def plain(model: AcePotential, parameters: dict[str, Any], atoms: Atoms) -> float:
    """Return the CPU time (s) of the same simulation with `pace` and nothing that watches."""
    text = script.write_script(WatchedDynamics(**parameters), model.metadata, resume=False)
    lines = text.replace(pair_lines(model.metadata), pair_lines(model.metadata, yace='potential.yace')).splitlines()
    kept = [line for line in lines[: lines.index('variable reason string running')] if not _watches(line)]
    kept = [line.replace(' f_gamma', '') for line in kept]
    with tempfile.TemporaryDirectory() as folder:
        end = f'run {parameters["steps"]}\nwrite_restart {script.RESTART}\n'
        return simulate(Path(folder), '\n'.join([*kept, end]), model, parameters, atoms)[1]


def _watches(line: str) -> bool:
    return line.startswith(('fix gamma', 'compute', 'variable', 'dump selected', 'dump_modify selected'))


def cost(quick: bool) -> None:
    """Print the cost of the watch, a line for each size of cell and of basis."""
    print('CPU time against plain pace; aluminium, npt 300 -> 600 K; least of interleaved repeats, starts subtracted')
    print(f'{"atoms":>6} {"functions":>9} {"us/atom/step":>12} {"a check, steps":>14} {"every 50":>8} {"every 10":>8} '
          f'{"adaptive":>9} {"of it dense":>12}')  # fmt: skip
    for functions in (100,) if quick else (100, 500):
        for repeat, steps, every in ((5, 50, 10),) if quick else ((5, 50, 10), (10, 20, 5)):
            atoms = bulk('Al', 'fcc', AL.crystal.cell[0, 0], cubic=True).repeat(repeat)
            line = cost_of(potential(functions, 900.0), atoms, steps, every, repeats=1 if quick else 3)
            run = '' if quick else adaptive_cost(potential(functions, 900.0), atoms, 1000 if repeat == 5 else 300)
            print(f'{len(atoms):6d} {functions:9d} {line} {run}', flush=True)


def _heating(steps: int, every: int) -> dict[str, Any]:
    return {
        'temperature': [300.0, 600.0], 'steps': steps, 'timestep': TIMESTEP, 'gamma_every': every, 'gamma_select': 2.0,
        'gamma_halt': 1e9, 'thermo_every': 100, 'dump_every': 1000, 'min_distances': {'Al-Al': 1.8},
    }  # fmt: skip


def cost_of(model: AcePotential, atoms: Atoms, steps: int, every: int, repeats: int) -> str:
    """Return the columns on a step and on a check."""
    still, moving = _heating(every, every), _heating(steps, every)
    times: dict[str, list[float]] = {name: [] for name in ('plain start', 'plain', 'start', 'run')}
    for _ in range(repeats):
        times['plain start'].append(plain(model, still, atoms))
        times['plain'].append(plain(model, moving, atoms))
        times['start'].append(watched(model, still, atoms)[1])
        times['run'].append(watched(model, moving, atoms)[1])
    least = {name: min(values) for name, values in times.items()}
    step = (least['plain'] - least['plain start']) / (steps - every)
    check = every * ((least['run'] - least['start']) / (steps - every) - step) / step
    return f'{1e6 * step / len(atoms):12.0f} {check:14.2f} {2 * check:6.1f} % {10 * check:6.1f} %'


def adaptive_cost(model: AcePotential, atoms: Atoms, steps: int) -> str:
    """Return the columns on a whole simulation, its start and dense beginning included."""
    parameters = {**_heating(steps, 50), 'gamma_every_dense': 10, 'dump_every': 100}
    ratios = []
    for _ in range(2):
        base = plain(model, parameters, atoms)
        outcome, seconds = watched(model, parameters, atoms)
        ratios.append(seconds / base)
    gaps = np.diff(outcome.thermo['watch_step'])
    return f'{100 * (min(ratios) - 1):+7.1f} % {100 * gaps[gaps == 10].sum() / steps:10.0f} %'


CHECKS_IN_A_ROW = (1, 2, 3, 5)


def halts(quick: bool) -> None:
    """Print where simulations would halt, a line for each number of checks in a row."""
    model, threshold, steps = potential(100, 300.0), 5.0, 1000 if quick else 3000
    rows: dict[int, list[tuple[float, float, float, float]]] = {number: [] for number in CHECKS_IN_A_ROW}
    excursions: list[int] = []
    for seed in range(2 if quick else 6):
        parameters = {
            'temperature': [300.0, 1400.0], 'steps': steps, 'timestep': TIMESTEP, 'coupling': 'iso', 'seed': seed,
            'gamma_every': 10, 'gamma_select': 1.0, 'gamma_halt': 1e9, 'dump_every': steps,
            'reference_volume_per_atom': AL.crystal.get_volume() / 4,
        }  # fmt: skip
        outcome, _ = watched(model, parameters, AL.crystal.repeat(2))
        frames = {atoms.info['step']: atoms for atoms in outcome.trajectory}
        high = outcome.thermo['watch_gamma_max'] > threshold
        excursions += _lengths(high)
        for number in CHECKS_IN_A_ROW:
            ends = [k for k in range(number - 1, len(high)) if high[k - number + 1 : k + 1].all()]
            frame = frames.get(int(outcome.thermo['watch_step'][ends[0]])) if ends else None
            if frame is not None:
                errors = _force_errors(model, frame)
                worst = errors[frame.arrays['gamma'].argmax()]
                rows[number].append((frame.info['step'], frame.info['gamma_max'], worst, float(np.median(errors))))
    lengths = np.array(excursions)
    print(f'aluminium, 32 atoms, 300 -> 1400 K in {steps * TIMESTEP / 1000:.0f} ps, a potential of 100 functions that '
          f'knows the crystal at 300 K; gamma every 10 steps, threshold {threshold:g}')  # fmt: skip
    for number in CHECKS_IN_A_ROW:
        print(f'{(lengths == number).sum():4d} of {len(lengths)} excursions above it last {number} checks')
    print(f'{"in a row":>8} {"halts":>5} {"step":>6} {"gamma":>6} {"error of the worst atom, eV/A":>30} {"of all":>7}')
    for number, values in rows.items():
        if values:
            step, gamma, worst, every = np.median(values, axis=0)
            print(f'{number:8d} {len(values):5d} {step:6.0f} {gamma:6.1f} {worst:30.3f} {every:7.3f}')


def _lengths(high: np.ndarray) -> list[int]:
    """Return the lengths of the stretches of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(int), [0]])))
    return list(edges[1::2] - edges[::2])


def _force_errors(model: AcePotential, atoms: Atoms) -> np.ndarray:
    """Return the true error of the force on each atom, (n,) eV/A."""
    (labelled,) = AL.label([atoms])
    (predicted,) = predict(model, [atoms])
    return np.linalg.norm(labelled.get_forces() - predicted.get_forces(), axis=1)


def loops(quick: bool) -> None:
    """Print what a loop costs and what its potential is worth, a line for each number of checks in a row."""
    from loop import run_loop

    test = _test_set(quick)
    print(f'{"in a row":>8} {"seed":>4} {"end":>10} {"rounds":>6} {"halts":>5} {"labels":>6} {"energy, meV/atom":>16} '
          f'{"forces, meV/A":>13}')  # fmt: skip
    for seed in (1,) if quick else (1, 2):
        for number in CHECKS_IN_A_ROW[::2] if quick else CHECKS_IN_A_ROW:
            explore = {
                'walkers': 1, 'seeds': 1, 'programs': ['heat'], 'steps': 1000 if quick else 3000, 'halt_after': number,
                'temperature': [100.0, 500.0 if quick else 1400.0],
                'stages': [{'name': 'long', 'share': 1.0, 'atoms': 32}],
            }  # fmt: skip
            overrides = {'explore': explore, 'train': {'production': None}, 'budget': {'max_iterations': 25}}
            with tempfile.TemporaryDirectory() as folder:
                story = run_loop(AL, seed, Path(folder), overrides, say=lambda _: None)
                predictions = predict(AcePotential(story['exploring']), test)
            errors = error_metrics(test, predictions)
            print(f'{number:8d} {seed:4d} {story["state"]:>10} {story["rounds"]:6d} {story["halts"]:5d} '
                  f'{story["labels"]["train"]:6d} {1000 * errors["energy"]["rmse"]:16.2f} '
                  f'{1000 * errors["forces"]["rmse"]:13.1f}', flush=True)  # fmt: skip


def _test_set(quick: bool) -> list[Atoms]:
    """Return labelled frames of the teacher's own crystal and melt."""
    number = 1 if quick else 4
    frames = [atoms for share in (0.4, 0.7, 1.0) for atoms in teacher_frames(AL, (2, 2, 2), 926 * share, number, 91)]
    for share in (1.0, 1.25, 1.5):
        frames += teacher_frames(AL, (2, 2, 2), 926 * share, number, 92, melt=True)
    return AL.label(frames)


def soft(quick: bool) -> None:
    """Print what happens after a halt when another potential goes on, with and without soft start."""
    before, after = potential(100, 300.0), potential(100, 900.0)
    print('aluminium, 32 atoms, npt; halted by a potential that knows 300 K, resumed by one that knows 900 K')
    print(f'{"soft start":>10} {"seed":>4} {"T":>5} {"jump, meV/atom":>14} {"largest |T - T0| / T0":>22} '
          f'{"checks above 5":>14} {"std of p, GPa":>13}')  # fmt: skip
    for seed in (1,) if quick else (1, 2, 3):
        parameters = {
            'temperature': [300.0, 1400.0], 'steps': 3000, 'timestep': TIMESTEP, 'coupling': 'iso', 'seed': seed,
            'gamma_every': 10, 'gamma_select': 2.0, 'gamma_halt': 5.0, 'thermo_every': 10,
            'reference_volume_per_atom': AL.crystal.get_volume() / 4,
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            first = Path(folder)
            text = script.write_script(WatchedDynamics(**parameters), before.metadata, resume=False)
            halted, _ = simulate(first, text, before, parameters, AL.crystal.repeat(2))
            if halted.results['reason'] != 'gamma':
                continue
            for steps in (0, 100, 200):
                shown = _resumed(first, halted, after, {**parameters, 'soft_start': steps, 'gamma_halt': 1e9})
                print(f'{steps:10d} {seed:4d} {shown}', flush=True)


def _resumed(first: Path, halted: Outcome, after: AcePotential, parameters: dict[str, Any]) -> str:
    """Return the columns of the table for one way to go on."""
    step = halted.results['step']
    parameters['steps'] = step + 500
    start, end = parameters['temperature']
    parameters['temperature'] = [start, start + (end - start) * parameters['steps'] / 3000]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(first / script.RESTART, Path(folder) / script.RESTART_IN)
        text = script.write_script(WatchedDynamics(**parameters), after.metadata, resume=True)
        outcome, _ = simulate(Path(folder), text, after, parameters, None)
    thermo = outcome.thermo
    target = start + (end - start) * thermo['step'] / 3000
    drift = np.abs(thermo['temperature'] / target - 1)[1:].max()
    old = halted.thermo['potential_energy'][halted.thermo['step'] <= step][-1]
    jump = 1000 * (thermo['potential_energy'][0] - old) / 32
    high = (thermo['watch_gamma_max'] > 5).mean()
    return (f'{target[0]:5.0f} {jump:14.1f} {100 * drift:20.0f} % {100 * high:12.0f} % '
            f'{thermo["pressure"].std() / GPa:13.2f}')  # fmt: skip


def main() -> None:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('part', choices=('cost', 'halts', 'loops', 'soft'))
    parser.add_argument('--quick', action='store_true', help='small and short: does it run?')
    arguments = parser.parse_args()
    globals()[arguments.part](arguments.quick)


if __name__ == '__main__':
    main()
