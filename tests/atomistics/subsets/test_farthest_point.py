"""Farthest point against the plain algorithm."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.subsets.farthest_point import farthest_point


def plain(vectors: np.ndarray, n: int, start: list[int], costs: np.ndarray) -> list[int]:
    """The textbook algorithm, with differences instead of products."""
    vectors = vectors.astype(float)
    chosen = list(start)
    if not chosen:
        chosen.append(int(np.argmax(np.square(vectors - vectors.mean(axis=0)).sum(axis=1) / costs)))
    while len(chosen) < n + len(start):
        distances = np.min([np.square(vectors - vectors[k]).sum(axis=1) for k in chosen], axis=0)
        distances = distances / costs
        distances[chosen] = -1.0
        chosen.append(int(np.argmax(distances)))
    return chosen[len(start) :]


def clustered(number: int, features: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 5.0 * rng.normal(size=(7, features))
    spectrum = 0.8 ** np.arange(features)
    return (centres[rng.integers(7, size=number)] + rng.normal(size=(number, features))) * spectrum


@pytest.mark.parametrize('shift', (0.0, 1e5))
@pytest.mark.parametrize('start', ([], [7, 3000]))
@pytest.mark.parametrize('priced', (False, True))
def test_same_as_the_plain_algorithm(shift, start, priced):
    """The number of rows is several pools: laziness has something to be wrong about."""
    vectors = clustered(5000, 12) + shift
    costs = np.random.default_rng(1).choice([1.0, 5.0, 50.0], 5000) if priced else None
    expected = plain(vectors, 60, start, np.ones(5000) if costs is None else costs)
    assert farthest_point(vectors, 60, start, costs) == expected


def test_same_as_skmatter():
    from skmatter.sample_selection import FPS

    vectors = clustered(5000, 20)
    chosen = farthest_point(vectors, 100)
    assert chosen == list(FPS(n_to_select=100, initialize=chosen[0]).fit(vectors).selected_idx_)


def test_single_precision():
    vectors = clustered(5000, 20).astype(np.float32)
    assert farthest_point(vectors, 50) == plain(vectors, 50, [], np.ones(5000))


def test_small():
    points = np.array([[0.0], [0.1], [5.0], [10.0]])
    assert farthest_point(points, 2, start=[0]) == [3, 2]
    assert sorted(farthest_point(points, 9)) == [0, 1, 2, 3]
    assert farthest_point(points, 3, start=[0, 1, 2, 3]) == []
    assert farthest_point(np.zeros((0, 1)), 2) == []


def test_duplicates_are_chosen_last():
    vectors = np.repeat(clustered(700, 5), 3, axis=0)
    chosen = farthest_point(vectors, 2100)
    assert sorted(chosen) == list(range(2100))
    assert len({index // 3 for index in chosen[:700]}) == 700


def test_memory_is_bounded():
    """Far less than the table itself, and nothing that grows with the square of the number."""
    vectors = np.random.default_rng(0).normal(size=(50000, 40))
    tracemalloc.start()
    try:
        farthest_point(vectors, 100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * vectors.nbytes
