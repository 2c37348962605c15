"""The active set of very many environments: time, memory, gamma; from scratch, continued, and beside python-ace.

Run as `python tests/benchmarks/bench_active_set.py`; with `--quick` for 20,000 environments only. Projections are
those of rattled, strained and molten-like cells of aluminium of 64 atoms, written to a file that is larger than what
the choice may keep in memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.active_set import REGULARISATION, TOLERANCE, choose_active_sets
from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.core.processes import forked_map

MIB = 2**20
ATOMS = 64


def cells(number: int) -> list[Atoms]:
    """Cells of 64 atoms, of different density, shear and disorder."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(number):
        atoms = bulk('Al', 'fcc', a=4.05 * rng.uniform(0.95, 1.08), cubic=True).repeat((2, 2, 4))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, rng.choice([0.05, 0.1, 0.2, 0.35]), atoms.positions.shape)
        frames.append(atoms)
    return frames


class FileOfProjections:
    """Projections of cells in one file, read a configuration at a time, as `RowStore` does from its files."""

    def __init__(self, directory: Path, design: DesignMatrix, frames: list[Atoms], processes: int):
        self.design = design
        path, n = directory / 'projections.f8', design.number_of_functions
        self._table = np.memmap(path, dtype=float, mode='w+', shape=(len(frames), ATOMS, n))
        self._place = {id(atoms): index for index, atoms in enumerate(frames)}

        def write(index: int) -> None:
            self._table[index] = design.rows(frames[index], forces=False).projections

        for _ in forked_map(write, range(len(frames)), processes):
            pass
        self._table.flush()
        self._table = None
        self._path, self._n = path, n

    def projections(self, atoms: Atoms) -> list[np.ndarray]:
        offset = 8 * self._place[id(atoms)] * ATOMS * self._n
        return list(np.fromfile(self._path, count=ATOMS * self._n, offset=offset).reshape(ATOMS, self._n))

    def table(self, frames: list[Atoms]) -> np.ndarray:
        return np.array([row for atoms in frames for row in self.projections(atoms)])


@dataclass
class Run:
    """A result; time and processor time with that of the children (s); peak memory beyond what was there (MiB)."""

    result: dict
    seconds: float
    processor: float
    memory: float


def measured(function: Callable[[], dict]) -> Run:
    """Run in a process of its own."""
    receiver, sender = multiprocessing.get_context('fork').Pipe(duplex=False)
    process = multiprocessing.get_context('fork').Process(target=_measure, args=(function, sender))
    process.start()
    run = receiver.recv()
    process.join()
    return run


def _measure(function: Callable[[], dict], sender) -> None:
    with open('/proc/self/statm') as handle:
        before = int(handle.read().split()[1]) * os.sysconf('SC_PAGESIZE')
    begin = time.perf_counter()
    result = function()
    elapsed = time.perf_counter() - begin
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    processor = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
    sender.send(Run(result, elapsed, processor, (max(own.ru_maxrss, children.ru_maxrss) * 1024 - before) / MIB))


def ours(store, frames, former, processes, memory) -> dict:
    entry = choose_active_sets(store, frames, ['Al'], former, processes, memory, report=lambda _: None)['Al']
    return {'inverse': entry.inverse, 'told': f'{entry.passes} passes', 'unsupported': entry.unsupported}


def python_ace(store, frames) -> dict:
    """Its MaxVol until it ends, on the same candidates, unit rows included."""
    from pyace.maxvol import maxvol

    table = store.table(frames)
    scale = np.abs(table).max(axis=0)
    table /= scale
    table = np.vstack([table, REGULARISATION * np.eye(len(scale))])
    chosen, _ = maxvol(table, tol=TOLERANCE, max_iters=1000000)
    return {'inverse': np.linalg.inv(table[chosen]) / scale[:, None], 'told': f'tolerance {TOLERANCE}'}


def pace_activeset(store, frames) -> dict:
    """What the program pace_activeset does with all projections, by its defaults."""
    from pyace.activelearning import compute_A_active_inverse, compute_active_set

    chosen = compute_active_set({0: store.table(frames)}, tol=1.01, max_iters=300)
    return {'inverse': compute_A_active_inverse(chosen)[0], 'told': 'defaults'}


def quality(store, frames: list[Atoms], inverse: np.ndarray) -> tuple[float, float]:
    """Largest gamma of all environments; ln of the volume in units of the largest values of the functions."""
    gamma, scale = 0.0, np.zeros(len(inverse))
    for atoms in frames:
        rows = np.array(store.projections(atoms))
        gamma = max(gamma, float(np.abs(rows @ inverse).max()))
        scale = np.maximum(scale, np.abs(rows).max(axis=0))
    return gamma, float(-np.linalg.slogdet(inverse * scale[:, None])[1])


def compare(environments: int, arguments: argparse.Namespace) -> None:
    frames = cells(environments // ATOMS)
    pairs = {('Al', 'Al'): (1.7, 0.5)}
    design = DesignMatrix(build_basis(['Al'], 6.0, arguments.functions, pairs))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        begin = time.perf_counter()
        store = FileOfProjections(Path(directory), design, frames, arguments.processes)
        size = len(frames) * ATOMS * design.number_of_functions * 8 / MIB
        print(
            f'\n{len(frames) * ATOMS} environments x {design.number_of_functions} functions, {size:.0f} MiB; '
            f'computed in {time.perf_counter() - begin:.0f} s; {1e-6 * arguments.memory:.0f} MB may be kept\n'
        )
        print('| by | time (s) | processor time (s) | memory (MiB) | largest gamma | ln volume | |')
        print('|---|---|---|---|---|---|---|')
        start = measured(lambda: ours(store, frames, None, arguments.processes, arguments.memory))
        show(store, frames, 'from scratch', start)
        old = measured(lambda: ours(store, frames[:-10], None, arguments.processes, arguments.memory))
        former = {'Al': old.result['inverse']}
        going_on = measured(lambda: ours(store, frames, former, arguments.processes, arguments.memory))
        show(store, frames, 'continued with 10 new configurations', going_on)
        if environments <= arguments.largest_of_others:
            show(store, frames, 'python-ace maxvol', measured(lambda: python_ace(store, frames)))
            show(store, frames, 'pace_activeset', measured(lambda: pace_activeset(store, frames)))


def show(store, frames: list[Atoms], label: str, run: Run) -> None:
    """Print a row of the table."""
    gamma, volume = quality(store, frames, run.result['inverse'])
    figures = f'{run.seconds:.1f} | {run.processor:.1f} | {run.memory:.0f} | {gamma:.4f} | {volume:.1f}'
    print(f'| {label} | {figures} | {run.result["told"]} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--environments', type=int, nargs='*', default=[20_000, 100_000, 1_000_000])
    parser.add_argument('--functions', type=int, default=300)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--memory', type=float, default=1e9, help='bytes of projections that may be kept')
    parser.add_argument('--largest-of-others', type=int, default=100_000, help='python-ace only up to here')
    parser.add_argument('--directory', default=None, help='of the file of projections')
    arguments = parser.parse_args()
    print(f'threads of BLAS: {os.environ.get("OMP_NUM_THREADS", "all")}; {os.cpu_count()} cores')
    for environments in arguments.environments[: 1 if arguments.quick else None]:
        compare(environments, arguments)


if __name__ == '__main__':
    main()
