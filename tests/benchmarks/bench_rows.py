"""Cost of the rows of the linear fit: ours beside python-ace's, and how much of it two processes give back.

Run as `python tests/benchmarks/bench_rows.py`; with `--quick` on the two smallest bases. Times are CPU times, the least
of several, so that other work on the machine counts as little as possible.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from tabulate import tabulate

from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.core.processes import forked_map

CUTOFF = 7.0  # Å
CASES = ((['Al'], 150), (['Al'], 300), (['Al', 'Cu', 'Ni'], 333), (['Al'], 750))


def cell(elements: list[str], atoms_per_cell: int) -> Atoms:
    """Rattled fcc aluminium of 32 or 64 atoms, elements at random; 83 neighbours within the cutoff."""
    atoms = bulk('Al', cubic=True) * (2, 2, 2) if atoms_per_cell == 32 else bulk('Al') * (4, 4, 4)
    atoms.rattle(0.1, seed=1)
    atoms.symbols = np.random.default_rng(0).choice(elements, len(atoms))
    return atoms


def cpu(function: Callable[[], Any], repeat: int) -> float:
    """Return the least CPU time of some calls, s."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


class Pyace:
    """One configuration by python-ace: B-projections, their derivatives, and energy and forces as in MD (C-tilde)."""

    def __init__(self, basis: Any, atoms: Atoms):
        from pyace import ACEBEvaluator, ACECalculator, ACECTildeEvaluator
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment

        self.n_atoms = len(atoms)
        self.environment = aseatoms_to_atomicenvironment(atoms, basis.cutoffmax, basis.elements_to_index_map)
        # python-ace keeps no references to what it points to
        self.keep = basis, basis.to_ACECTildeBasisSet()
        self.evaluators = ACEBEvaluator(self.keep[0]), ACECTildeEvaluator(self.keep[1])
        self.b_basis, self.c_basis = (ACECalculator(evaluator) for evaluator in self.evaluators)

    def rows(self) -> np.ndarray:
        self.b_basis.compute(self.environment, compute_projections=True, compute_b_grad=True)
        gradient = np.array(self.b_basis.forces_bfuncs)[: self.n_atoms]
        return np.ascontiguousarray(gradient.transpose(0, 2, 1)).reshape(3 * self.n_atoms, -1)

    def projections(self) -> None:
        self.b_basis.compute(self.environment, compute_projections=True, compute_b_grad=False)

    def md(self) -> None:
        self.c_basis.compute(self.environment)


def compare(quick: bool) -> list[list[Any]]:
    """Return one line per basis and size of cell, ms per atom."""
    lines = []
    for elements, functions in CASES[: 2 if quick else None]:
        pairs = combinations_with_replacement(elements, 2)
        basis = build_basis(elements, CUTOFF, functions, dict.fromkeys(pairs, (1.5, 0.2)))
        design = DesignMatrix(basis)
        for size in (32, 64):
            atoms = cell(elements, size)
            theirs = Pyace(basis, atoms)
            expected, found = theirs.rows(), design.rows(atoms, stress=True).forces
            difference = np.abs(found - expected).max() / np.abs(expected).max()
            times = [
                cpu(lambda: design.rows(atoms, stress=True), 5 if quick else 10),
                cpu(lambda: design.rows(atoms, forces=False), 5 if quick else 10),
                *(cpu(call, 1 if quick else 3) for call in (theirs.rows, theirs.projections, theirs.md)),
            ]
            times = [1000 * value / size for value in times]
            lines.append(['-'.join(elements), functions, size, *times, times[2] / times[0], difference])
    return lines


def two_processes(quick: bool) -> list[float]:
    """Return the CPU time per atom (ms) of one process that works alone, and of two at the same time."""
    design = DesignMatrix(build_basis(['Al'], CUTOFF, 300, {('Al', 'Al'): (1.5, 0.2)}))
    atoms = cell(['Al'], 64)
    cells = 20 if quick else 100

    def work(_: int) -> float:
        start = time.process_time()
        for _ in range(cells):
            design.rows(atoms, stress=True)
        return 1000 * (time.process_time() - start) / (cells * len(atoms))

    alone = work(0)
    return [alone, max(forked_map(work, [0, 1], 2))]


def start_up() -> dict[str, float]:
    """Return CPU times (s) in new processes: imports without and with numba, compiled code loaded, compiled anew."""
    kernel = 'from aiida_pyacemaker.atomistics.ace import kernel'
    cases = {
        'imports without numba': 'import numpy, ase, aiida_pyacemaker.atomistics.ace.rows',
        'with numba': f'import numpy, ase, aiida_pyacemaker.atomistics.ace.rows; {kernel}',
        'compiled code loaded': f'import ase, aiida_pyacemaker.atomistics.ace.rows; {kernel}; kernel.warm_up()',
        'compiled anew': 'import ase, numba.core.caching as c; c.CacheImpl._locator_classes = []; '
        f'{kernel}; kernel.warm_up()',
    }
    end = '; import time; print(time.process_time())'
    run = [sys.executable, '-c']
    return {name: float(subprocess.check_output([*run, code + end], text=True)) for name, code in cases.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true')
    quick = parser.parse_args().quick
    heads = ['elements', 'functions', 'atoms', 'rows', 'projections', 'pyace rows', 'pyace projections', 'pyace MD',
             'rows: times faster', 'relative difference']  # fmt: skip
    print(f'ms per atom, cutoff {CUTOFF} Å, 83 neighbours; rows: energy, forces and stress, neighbour list included;')
    print('pyace: energy and forces read into numpy, neighbour list not included')
    print(tabulate(compare(quick), heads, floatfmt=['', '', '', '.3f', '.3f', '.2f', '.3f', '.3f', '.1f', '.0e']))
    alone, together = two_processes(quick)
    print(
        f'\none process alone {alone:.3f} ms/atom, each of two at once {together:.3f}: {alone / together:.0%} efficient'
    )
    print('\nCPU seconds of a new process:', ', '.join(f'{name} {value:.2f}' for name, value in start_up().items()))


if __name__ == '__main__':
    main()
