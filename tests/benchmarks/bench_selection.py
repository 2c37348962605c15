"""Farthest point and MaxVol on many candidates: time, memory, and beside skmatter and python-ace.

Run as `python tests/benchmarks/bench_selection.py`; with `--quick` on a tenth of the candidates.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.build import bulk

from aiida_pyacemaker.atomistics.picking.descriptors import soap_features
from aiida_pyacemaker.atomistics.subsets.farthest_point import farthest_point
from aiida_pyacemaker.atomistics.subsets.maxvol import maxvol

MIB = 2**20


def candidates(number: int, features: int, seed: int = 0) -> np.ndarray:
    """Correlated features with a spectrum that decays by e^-8, in 20 clusters with heavy tails (number, features)."""
    rng = np.random.default_rng(seed)
    spectrum = np.exp(-8.0 * np.arange(features) / features)
    mixing = np.linalg.qr(rng.normal(size=(features, features)))[0]
    centres = 2.0 * rng.normal(size=(20, features))
    rows = np.empty((number, features))
    for part in np.array_split(np.arange(number), max(1, number // 10000)):
        width = rng.lognormal(0.0, 0.5, size=(len(part), 1))
        cluster = centres[rng.integers(20, size=len(part))]
        rows[part] = ((cluster + width * rng.normal(size=(len(part), features))) * spectrum) @ mixing
    return rows


def soap_candidates(number: int = 400) -> np.ndarray:
    """SOAP of rattled and strained Cu-Au cells (number, n_features)."""
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(number):
        atoms = bulk('Cu', 'fcc', a=rng.uniform(3.5, 4.2), cubic=True).repeat((2, 1, 1))
        atoms.symbols[: rng.integers(9)] = 'Au'
        atoms.rattle(rng.uniform(0.02, 0.3), seed=seed)
        frames.append(atoms)
    return soap_features(frames)


def spread(vectors: np.ndarray, chosen: Sequence[int]) -> tuple[float, float]:
    """Smallest distance among the chosen, and largest distance of any point from the nearest chosen."""
    points = vectors[list(chosen)]
    squares = np.einsum('ij,ij->i', points, points)
    among = squares[:, None] + squares - 2.0 * points @ points.T
    np.fill_diagonal(among, np.inf)
    coverage = 0.0
    for begin in range(0, len(vectors), 4096):
        rows = vectors[begin : begin + 4096]
        distances = np.einsum('ij,ij->i', rows, rows)[:, None] + squares - 2.0 * rows @ points.T
        coverage = max(coverage, float(distances.min(axis=1).max()))
    return float(np.sqrt(among.min())), float(np.sqrt(coverage))


def log_determinant(vectors: np.ndarray, chosen: Sequence[int]) -> float:
    """ln det of the information matrix, or of the Gram matrix if fewer rows than columns are chosen, by singular
    values."""
    return float(2.0 * np.log(np.linalg.svd(vectors[list(chosen)], compute_uv=False)).sum())


@dataclass
class Run:
    """What was chosen; time and processor time (s); peak memory beyond what was there before (MiB)."""

    chosen: list[int]
    seconds: float
    processor: float
    memory: float


def measured(function: Callable[[], Sequence[int]], repeats: int = 2) -> Run:
    """Run in processes of its own; the fastest counts, since the machine may be busy otherwise."""
    runs = []
    for _ in range(repeats):
        receiver, sender = multiprocessing.get_context('fork').Pipe(duplex=False)
        process = multiprocessing.get_context('fork').Process(target=_measure, args=(function, sender))
        process.start()
        runs.append(receiver.recv())
        process.join()
    return min(runs, key=lambda run: run.seconds)


def _measure(function: Callable[[], Sequence[int]], sender) -> None:
    with open('/proc/self/statm') as handle:
        before = int(handle.read().split()[1]) * os.sysconf('SC_PAGESIZE')
    begin, processor = time.perf_counter(), time.process_time()
    chosen = [int(index) for index in function()]
    elapsed, processor = time.perf_counter() - begin, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sender.send(Run(chosen, elapsed, processor, (peak - before) / MIB))


def show(candidates: str, choice: str, label: str, run: Run, quality: str) -> None:
    """Print a row of the table."""
    figures = f'{run.seconds:.2f} | {run.processor:.2f} | {run.memory:.0f}'
    print(f'| {candidates} | {choice} | {label} | {figures} | {quality} |', flush=True)


def skmatter_fps(vectors: np.ndarray, n: int, first: int, voronoi: bool = False) -> Callable[[], Sequence[int]]:
    from skmatter.sample_selection import FPS, VoronoiFPS

    return lambda: (VoronoiFPS if voronoi else FPS)(n_to_select=n, initialize=first).fit(vectors).selected_idx_


def python_ace(vectors: np.ndarray, tolerance: float) -> Callable[[], Sequence[int]]:
    from pyace.maxvol import maxvol as reference

    return lambda: reference(vectors, tol=tolerance, max_iters=100000)[0]


def compare_spread(name: str, vectors: np.ndarray, n: int) -> None:
    """Farthest point beside skmatter, from the same first point."""
    ours = measured(lambda: farthest_point(vectors, n))
    runs = {'aiida-pyacemaker': ours, 'skmatter FPS': measured(skmatter_fps(vectors, n, ours.chosen[0]))}
    runs['skmatter VoronoiFPS'] = measured(skmatter_fps(vectors, n, ours.chosen[0], voronoi=True))
    for label, run in runs.items():
        closest, coverage = spread(vectors, run.chosen)
        show(name, f'{n} farthest', label, run, f'closest {closest:.4f}, coverage {coverage:.4f}')


def compare_determinant(name: str, vectors: np.ndarray) -> None:
    """MaxVol beside python-ace, which chooses as many rows as columns."""
    n = vectors.shape[1]
    runs = {'aiida-pyacemaker': measured(lambda: maxvol(vectors, n))}
    runs['python-ace, tolerance 1.001'] = measured(python_ace(vectors, 1.001))
    for label, run in runs.items():
        show(name, f'{n} MaxVol', label, run, f'ln det {log_determinant(vectors, run.chosen):.2f}')


def compare_more(name: str, vectors: np.ndarray, n: int) -> None:
    """D-optimal choice of another number than columns, beside farthest point and random rows."""
    rng = np.random.default_rng(0)
    runs = {
        'aiida-pyacemaker': measured(lambda: maxvol(vectors, n)),
        'skmatter FPS': measured(skmatter_fps(vectors, n, 0)),
        'random': measured(lambda: rng.choice(len(vectors), n, replace=False)),
    }
    for label, run in runs.items():
        show(name, f'{n} D-optimal', label, run, f'ln det {log_determinant(vectors, run.chosen):.2f}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--number', type=int, default=100_000)
    parser.add_argument('--features', type=int, default=300)
    parser.add_argument('--quick', action='store_true')
    arguments = parser.parse_args()
    number = arguments.number // 10 if arguments.quick else arguments.number
    print(f'threads of BLAS: {os.environ.get("OMP_NUM_THREADS", "all")}; {os.cpu_count()} cores')
    print('| candidates | choice | by | time (s) | processor time (s) | memory beyond the features (MiB) | quality |')
    print('|---|---|---|---|---|---|---|')
    for size in (number, number // 5):
        vectors = candidates(size, arguments.features)
        name = f'{size} x {arguments.features} ({vectors.nbytes / MIB:.0f} MiB)'
        compare_spread(name, vectors, 500)
        compare_determinant(name, vectors)
        compare_more(name, vectors, 500)
        compare_more(name, vectors, 100)
    vectors = soap_candidates()
    compare_spread(f'SOAP of {len(vectors)} cells', vectors, 100)
    modes = np.linalg.svd(vectors, full_matrices=False)
    compare_determinant(f'SOAP of {len(vectors)} cells, 60 principal components', modes[0][:, :60] * modes[1][:60])


if __name__ == '__main__':
    main()
