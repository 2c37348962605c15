"""D-optimality against definitions, and beside python-ace."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.subsets.maxvol import RIDGE, maxvol

from .test_farthest_point import clustered


def log_determinant(vectors: np.ndarray, chosen: list[int]) -> float:
    return float(2 * np.log(np.linalg.svd(vectors[chosen], compute_uv=False)).sum())


def gains(vectors: np.ndarray, chosen: list[int], prior: float) -> np.ndarray:
    """ln det gained by every row, from determinants."""
    matrix = prior * np.eye(vectors.shape[1]) + vectors[chosen].T @ vectors[chosen]
    reference = np.linalg.slogdet(matrix)[1]
    return np.array([np.linalg.slogdet(matrix + np.outer(row, row))[1] - reference for row in vectors])


@pytest.mark.parametrize('start', ([], [5, 2000]))
@pytest.mark.parametrize('priced', (False, True))
def test_few_rows_are_greedy(start, priced):
    vectors = clustered(5000, 12)
    costs = np.random.default_rng(1).choice([1.0, 2.0, 20.0], 5000) if priced else np.ones(5000)
    chosen = maxvol(vectors, 8, start, costs if priced else None)
    prior = RIDGE * np.square(vectors).sum(axis=1).max()
    for number, index in enumerate(chosen):
        known = start + chosen[:number]
        score = gains(vectors, known, prior) / costs
        score[known] = -np.inf
        assert score[index] == pytest.approx(score.max(), rel=1e-5)


def test_few_rows_are_those_of_pivoted_qr():
    from scipy.linalg import qr

    vectors = clustered(500, 12)
    assert maxvol(vectors, 10) == list(qr(vectors.T, mode='r', pivoting=True)[1][:10])


def test_square_is_dominant():
    """No other row has a coefficient above the tolerance: no exchange is worth while."""
    vectors = clustered(6000, 30)
    chosen = maxvol(vectors, 30)
    assert len(set(chosen)) == 30
    assert np.abs(np.linalg.solve(vectors[chosen].T, vectors.T)).max() < 1.002


@pytest.mark.parametrize('seed', range(3))
def test_not_worse_than_python_ace(seed):
    from pyace.maxvol import maxvol as reference

    vectors = clustered(4000, 40, seed)
    theirs = reference(vectors, tol=1.001, max_iters=10000)[0]
    assert log_determinant(vectors, maxvol(vectors, 40)) >= log_determinant(vectors, list(theirs))


def test_more_rows_complete_greedily():
    vectors = clustered(5000, 12)
    square, chosen = maxvol(vectors, 12), maxvol(vectors, 20)
    assert chosen[:12] == square and len(set(chosen)) == 20
    for number in range(12, 20):
        score = gains(vectors, chosen[:number], 0.0)
        score[chosen[:number]] = -np.inf
        assert score[chosen[number]] == pytest.approx(score.max(), rel=1e-4)
    random = np.random.default_rng(0).choice(5000, 20, replace=False)
    assert log_determinant(vectors, chosen) > log_determinant(vectors, list(random)) + 5


def test_columns_of_any_scale():
    """The volume does not depend on the units of the columns."""
    vectors = clustered(5000, 12)
    scales = 10.0 ** np.linspace(-5, 5, 12)
    assert set(maxvol(vectors * scales, 12)) == set(maxvol(vectors, 12))


@pytest.mark.parametrize('n', (3, 6, 9, 12, 40))
def test_lower_rank(n):
    """Columns that are zero, constant, or copies: the rank counts, and there are always n."""
    vectors = clustered(2000, 6)
    vectors = np.hstack([vectors, vectors[:, :3] @ np.diag([2.0, 1e-3, 1e3]), np.zeros((2000, 2)), np.ones((2000, 1))])
    chosen = maxvol(vectors, n)
    assert len(set(chosen)) == n == len(chosen)
    assert np.linalg.matrix_rank(vectors[chosen], tol=1e-8) == min(n, 7)


def test_always_n():
    rng = np.random.default_rng(0)
    assert sorted(maxvol(np.zeros((30, 4)), 30)) == list(range(30))
    assert sorted(maxvol(np.repeat(rng.normal(size=(10, 4)), 3, axis=0), 30)) == list(range(30))
    assert sorted(maxvol(rng.normal(size=(3, 8)), 5)) == [0, 1, 2]
    assert maxvol(np.zeros((0, 3)), 2) == []
    assert maxvol(np.zeros((3, 0)), 2) == [0, 1]
    assert len(maxvol(rng.normal(size=(1, 1)), 1)) == 1


def test_deterministic_in_single_and_double_precision():
    vectors = clustered(5000, 12)
    assert maxvol(vectors, 15) == maxvol(vectors.copy(), 15)
    assert len(set(maxvol(vectors.astype(np.float32), 15))) == 15


def test_memory_is_bounded():
    vectors = np.random.default_rng(0).normal(size=(50000, 40))
    tracemalloc.start()
    try:
        maxvol(vectors, 60)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * vectors.nbytes
