"""Vacuum detection against the usual ways: a grid and the distances from its points to the atoms.

Run as `python tests/benchmarks/bench_vacuum.py`; one core is enough. Each line is a
process of its own, so that its peak of memory is its own.

The usual ways put points on a regular grid and call free what is farther than a probe from every atom: with a list of
neighbours of ASE that holds the points beside the atoms, or with the distances of all points to all atoms. They answer
less: free points alone do not tell a slab from a wire, a pore or the holes of an open crystal.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum

#: Å; radius of the probe of the usual ways: half the gap and a covalent radius of copper.
PROBE = 2.7
#: Bytes that one way may take: a list of neighbours can take all of a machine.
LIMIT = 8 * 2**30


def slab(repeat: tuple[int, int, int]) -> Atoms:
    """Rattled copper with 10 Å of vacuum."""
    atoms = bulk('Cu', cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=0)
    atoms.center(vacuum=5.0, axis=2)
    return atoms


def crystal(repeat: tuple[int, int, int]) -> Atoms:
    """Rattled copper."""
    atoms = bulk('Cu', cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=0)
    return atoms


def grid(atoms: Atoms, spacing: float) -> np.ndarray:
    """Points (m, 3) of a regular grid in the cell."""
    shape = np.ceil(atoms.cell.lengths() / spacing).astype(int)
    return (np.indices(shape).reshape(3, -1).T / shape) @ atoms.cell.array


def ours(atoms: Atoms) -> str:
    vacuum = detect_vacuum(atoms)
    return f'{vacuum.kind}, {vacuum.fraction:.0%} free'


def by_neighbour_list(atoms: Atoms, spacing: float) -> str:
    """The points as atoms of radius zero beside the others, which have the radius of the probe."""
    points = grid(atoms, spacing)
    both = atoms + Atoms(f'H{len(points)}', points)
    first, second = neighbor_list('ij', both, {('Cu', 'H'): PROBE})
    covered = np.zeros(len(both), dtype=bool)
    covered[first[second < len(atoms)]] = True
    return f'{(~covered[len(atoms) :]).mean():.0%} free'


def by_all_distances(atoms: Atoms, spacing: float) -> str:
    """The distance of every point to every atom with the images of ASE, 1,000 points at a time."""
    points, free = grid(atoms, spacing), 0
    for part in np.array_split(points, len(points) // 1000 + 1):
        _, distances = get_distances(part, atoms.positions, cell=atoms.cell, pbc=True)
        free += int((distances.min(axis=1) > PROBE).sum())
    return f'{free / len(points):.0%} free'


def measure(task: Callable[[Atoms], str], atoms: Atoms) -> tuple[float, float, str]:
    """Seconds, MiB above what the process held before, and the answer; in a process of its own."""
    receive, send = multiprocessing.get_context('fork').Pipe(duplex=False)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        try:
            answer = task(atoms)
        except MemoryError:
            answer = f'out of {LIMIT / 2**30:.0f} GiB'
        seconds = time.perf_counter() - start
        send.send((seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, answer))

    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    send.close()
    result = receive.recv()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--spacing', type=float, default=1.5, help='of the grid of the usual ways in Å (1.5, as ours)')
    spacing = parser.parse_args().spacing
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    by_list, by_distances = (partial(task, spacing=spacing) for task in (by_neighbour_list, by_all_distances))
    small, large = (7, 7, 6), (14, 14, 13)
    tasks = [
        ('ours', ours, slab(small)),
        ('grid, list of neighbours', by_list, slab(small)),
        ('grid, all distances', by_distances, slab(small)),
        ('ours', ours, slab(large)),
        ('ours', ours, crystal(large)),
        ('grid, list of neighbours', by_list, slab(large)),
    ]
    print(f'{"method":26s} {"atoms":>6s} {"time / s":>9s} {"memory / MiB":>13s}  answer')
    for name, task, atoms in tasks:
        seconds, memory, answer = measure(task, atoms)
        print(f'{name:26s} {len(atoms):6d} {seconds:9.3f} {memory:13.0f}  {answer}', flush=True)


if __name__ == '__main__':
    main()
