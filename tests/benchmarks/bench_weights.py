"""What automatic weights and prior give beside fixed ones, and what choosing them costs.

Run as `python tests/benchmarks/bench_weights.py DIRECTORY [--sets cu si ...]`, where DIRECTORY holds the data sets of
`trainer_data.py`; with `--quick` on two sets and one split. The first table has errors on data that were not fitted:
a random tenth (mean over three splits), and whole trajectories. The second has the time of the choice.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from tabulate import tabulate

from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.baselines import baseline_from_data
from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.fitting.equations import (
    QUANTITIES,
    Moments,
    Sums,
    Target,
    accumulate,
    solve_sums,
)
from aiida_pyacemaker.atomistics.fitting.references import reference_energies
from aiida_pyacemaker.atomistics.fitting.targets import make_targets
from aiida_pyacemaker.atomistics.fitting.training_set import read_frames
from aiida_pyacemaker.atomistics.fitting.weights import ATOMS, above_hull, degrees

CUTOFF = 5.5
#: Functions of each element.
SIZES = {'cu': 200, 'si': 300, 'nacl': 150, 'cuagau': 120}
FIXED = {'stress_weight': 0.0, 'ridge': 1e-9, 'smoothness': 0.0}
#: Name -> options, and whether configurations are weighted by size and hull.
VARIANTS = {
    'equal weights': ({'energy_weight': 1.0, **FIXED}, False),
    'energies x 100': ({'energy_weight': 100.0, **FIXED}, False),
    'automatic': ({}, True),
    'no hull': ({'hull_scale': 0}, True),
    'no stresses': ({'stress_weight': 0.0}, True),
    'no smoothness': ({'smoothness': 0.0}, True),
}
#: eV/atom above the hull, up to which a configuration is called cold.
COLD = 0.1


class Data:
    """A data set with its rows: training frames, and those of whole trajectories apart."""

    def __init__(self, directory: Path, name: str, rows: Path):
        self.name = name
        self.train, self.held_out = (load_configurations(directory / f'{name}_{part}.npz') for part in PARTS)
        self.train, self.held_out = ([a for a in frames if len(a) > 1] for frames in (self.train, self.held_out))
        elements = sorted({symbol for atoms in self.train for symbol in atoms.get_chemical_symbols()})
        everything = self.train + self.held_out
        baseline = baseline_from_data('zbl', elements, self.train)
        references, _ = reference_energies(self.train, elements, None, None)
        targets = make_targets(read_frames(everything), references, [baseline.evaluate(atoms) for atoms in everything])
        self.targets = {id(atoms): target for atoms, target in zip(everything, targets, strict=True)}
        shares = np.array(
            [[a.get_chemical_symbols().count(element) / len(a) for element in elements] for a in everything]
        )
        energies = np.array([target.energy / len(atoms) for atoms, target in zip(everything, targets, strict=True)])
        self.cold = dict(zip(map(id, everything), above_hull(shares, energies) < COLD, strict=True))
        design = DesignMatrix(build_basis(elements, CUTOFF, SIZES[name], baseline.inner_cutoffs()))
        self.store = RowStore(rows, design)
        self.store.fill(everything, 2, lambda message: None)
        self.degree = degrees(design.basis)

    def of(self, frames: list[Atoms]) -> list[Target]:
        return [self.targets[id(atoms)] for atoms in frames]

    def fit(self, frames: list[Atoms], options: dict[str, Any], weighted: bool) -> tuple[np.ndarray, float]:
        """Return the coefficients and the time (s) of the choice."""
        targets = self.of(frames)
        if not weighted:
            targets = [_unweighted(atoms, target) for atoms, target in zip(frames, targets, strict=True)]
        sums = accumulate(self.store, frames, targets, 2, (), options.get('hull_scale') if weighted else 0)
        start = perf_counter()
        solution = solve_sums(sums, self.degree, options, 2, lambda message: None)
        return solution.coefficients, perf_counter() - start

    def errors(self, frames: list[Atoms], coefficients: np.ndarray) -> list[float]:
        """Errors (meV/atom, meV/Å, GPa), and those of energy and forces of the cold configurations."""
        squares: dict[str, list[np.ndarray]] = {name: [] for name in ('energy', 'forces', 'stress', 'e cold', 'f cold')}
        for atoms, target in zip(frames, self.of(frames), strict=True):
            rows = self.store.get(atoms)
            energy = np.array([(rows.energy @ coefficients - target.energy) / len(atoms)]) ** 2
            forces = (rows.forces @ coefficients - target.forces.ravel()) ** 2
            found = {'energy': energy, 'forces': forces}
            if target.stress is not None:
                found['stress'] = (rows.stress @ coefficients - target.stress) ** 2
            if self.cold[id(atoms)]:
                found |= {'e cold': energy, 'f cold': forces}
            for name, values in found.items():
                squares[name].append(values)
        roots = [np.sqrt(np.mean(np.concatenate(values))) for values in squares.values()]
        return [1e3 * roots[0], 1e3 * roots[1], roots[2] / GPa, 1e3 * roots[3], 1e3 * roots[4]]


PARTS = ('train', 'held_out')


def _unweighted(atoms: Atoms, target: Target) -> Target:
    """Undo the weights by size: every row of an energy per atom counts the same."""
    factor = float(np.sqrt(ATOMS / len(atoms)))
    return replace(target, energy_weight=factor * target.energy_weight, stress_weight=factor * target.stress_weight)


def compare(data: Data, splits: int) -> list[list[Any]]:
    """Rows of the table of errors."""
    table = []
    for name, (options, weighted) in VARIANTS.items():
        found = []
        for seed in range(splits):
            order = np.random.default_rng(seed).permutation(len(data.train))
            cut = len(order) // 10
            kept, left = ([data.train[index] for index in np.sort(part)] for part in (order[cut:], order[:cut]))
            found.append(data.errors(left, data.fit(kept, options, weighted)[0]))
        coefficients, seconds = data.fit(data.train, options, weighted)
        table.append([data.name, name, *np.mean(found, axis=0), *data.errors(data.held_out, coefficients), seconds])
    return table


def synthetic(size: int, seed: int = 0) -> Sums:
    """Normal equations of correlated rows, 5 folds."""
    rng = np.random.default_rng(seed)
    mixing = np.exp(-12 * np.arange(size) / size)[:, None] * rng.normal(size=(size, size)) / np.sqrt(size)
    truth = rng.normal(size=size)

    def moments(number: int, noise: float) -> Moments:
        rows = rng.normal(size=(number, size)) @ mixing
        return Moments.of(rows, rows @ truth + noise * rng.normal(size=number), np.ones(number))

    counts = {'energy': (100, 1e-3), 'forces': (2 * size, 0.1), 'stress': (600, 1e-3)}
    parts = {name: [moments(*counts[name]) for _ in range(5)] for name in QUANTITIES}
    return Sums(parts, Moments.zeros(size), [np.arange(fold, 500, 5) for fold in range(5)])


def timing(size: int, processes: int) -> list[Any]:
    sums = synthetic(size)
    start = perf_counter()
    solution = solve_sums(sums, np.arange(size) + 2.0, {}, processes, lambda message: None)
    return [size, processes, solution.validation['trials'], perf_counter() - start]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('directory', type=Path)
    parser.add_argument('--sets', nargs='+', choices=list(SIZES))
    parser.add_argument('--quick', action='store_true')
    arguments = parser.parse_args()
    head = ['set', 'weights', 'meV/atom', 'meV/Å', 'GPa', 'E cold', 'F cold']
    head += [f'held out {name}' for name in head[2:]] + ['choice s']
    lines = []
    for name in arguments.sets or list(SIZES)[: 2 if arguments.quick else None]:
        with tempfile.TemporaryDirectory() as rows:
            lines += compare(Data(arguments.directory, name, Path(rows)), 1 if arguments.quick else 3)
        print(tabulate(lines, head, floatfmt='.3g'), flush=True)
    sizes = (150, 300) if arguments.quick else (150, 300, 1000)
    times = [timing(size, processes) for size in sizes for processes in (1, 2)]
    print(tabulate(times, ['functions', 'processes', 'trials', 'seconds'], floatfmt='.2g'))


if __name__ == '__main__':
    main()
