"""n of many frames, by every method."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.core.cost import frame_costs
from aiida_pyacemaker.atomistics.picking.pick import Selection, pick

METHODS = ('none', 'random', 'farthest_point', 'maxvol')


@pytest.fixture(scope='module')
def frames() -> list[Atoms]:
    """Al cells of 4, 8 and 16 atoms, rattled more and less, and three that are the same."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(60):
        cell = bulk('Al', 'fcc', a=rng.uniform(3.9, 4.3), cubic=True).repeat(
            [(1, 1, 1), (2, 1, 1), (2, 2, 1)][number % 3]
        )
        cell.positions += rng.normal(0, rng.uniform(0.02, 0.2), cell.positions.shape)
        made.append(cell)
    return [*made, made[0].copy(), made[0].copy()]


@pytest.fixture(scope='module')
def vectors() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(3000, 10)) * 0.8 ** np.arange(10)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('exponent', (0.0, 2.5))
def test_always_n(method, exponent, frames):
    selection = Selection(method=method, cost_exponent=exponent)
    for n in (0, 1, 7, 61, 62):
        chosen = pick(frames, n, selection, rng())
        assert len(set(chosen)) == len(chosen) == n and all(type(index) is int for index in chosen)
    chosen = pick(frames, 55, selection, rng(), anchors=[3, 5, 3, 9])
    assert len(set(chosen)) == 55 and not {3, 5, 9} & set(chosen)
    assert pick(frames, 7, selection, rng(4)) == pick(frames, 7, selection, rng(4))


@pytest.mark.parametrize('method', METHODS)
def test_more_than_there_are(method, frames):
    with pytest.raises(ValueError, match=r'structures\.selection: 5 .* 4 candidates; ask for at most 4'):
        pick(frames[:6], 5, Selection(method=method), rng(), anchors=[0, 1])


def test_seeds(frames):
    selection = Selection(method='random')
    assert pick(frames, 20, selection, rng(1)) != pick(frames, 20, selection, rng(2))
    assert pick(frames, 3, Selection(), rng(1)) == [0, 1, 2]


def test_ace(alloy, frames):
    selection = Selection(method='maxvol', descriptor='ace')
    assert len(set(pick(frames, 9, selection, rng(), potential=alloy))) == 9
    with pytest.raises(ValueError, match=r'structures\.selection\.descriptor: ace needs a potential'):
        pick(frames, 9, selection, rng())


def test_different_frames_first(frames):
    """Of three equal frames one is chosen before the other two."""
    for method, n in (('farthest_point', 60), ('maxvol', 40)):
        chosen = pick(frames, n, Selection(method=method), rng())
        assert len({0, 60, 61} & set(chosen)) <= 1


def coverage(vectors: np.ndarray, chosen: list[int]) -> float:
    return max(float(np.linalg.norm(vectors[chosen] - row, axis=1).min()) for row in vectors)


def log_determinant(vectors: np.ndarray, chosen: list[int]) -> float:
    return float(np.linalg.slogdet(vectors[chosen].T @ vectors[chosen])[1])


def test_spread_and_determinant_beat_random(vectors):
    frames = [Atoms('H')] * len(vectors)
    chosen = {m: pick(frames, 60, Selection(method=m), rng(), features=vectors) for m in METHODS}
    assert coverage(vectors, chosen['farthest_point']) < 0.8 * coverage(vectors, chosen['random'])
    assert log_determinant(vectors, chosen['maxvol']) > log_determinant(vectors, chosen['random']) + 5


@pytest.mark.parametrize('method', ('random', 'farthest_point', 'maxvol'))
def test_cost_counts(method, vectors):
    """Where size has little to do with structure, much the same spread and determinant come at a fraction of the
    cost."""
    sizes = rng(5).choice([4, 8, 16, 32], len(vectors))
    frames = [Atoms(f'Al{size}') for size in sizes]
    costs = frame_costs(frames, 2.5)
    dear, cheap = (
        pick(frames, 60, Selection(method=method, cost_exponent=exponent), rng(), features=vectors)
        for exponent in (0.0, 2.5)
    )
    assert costs[cheap].sum() < 0.3 * costs[dear].sum()
    assert coverage(vectors, cheap) < 1.3 * coverage(vectors, dear)
    if method == 'maxvol':
        assert log_determinant(vectors, cheap) > log_determinant(vectors, dear) - 10 * np.log(2)


def test_a_large_cell_with_something_new_is_chosen(vectors):
    """The cost is weighed against the gain: it does not forbid."""
    features = np.vstack([0.01 * vectors[:500], 10.0 * np.ones((1, 10))])
    frames = [*[Atoms('Al4')] * 500, Atoms('Al32')]
    for method, n in (('farthest_point', 30), ('maxvol', 200)):
        assert 500 in pick(frames, n, Selection(method=method, cost_exponent=2.5), rng(), features=features)


@pytest.mark.parametrize('features', (np.zeros((61, 3)), np.full((62, 3), np.nan), np.zeros(62)))
def test_bad_features(features, frames):
    with pytest.raises(ValueError, match=r'structures\.selection: the features .* \(62, n_features\)'):
        pick(frames, 3, Selection(method='maxvol'), rng(), features=features)


@pytest.mark.parametrize('wrong', ({'method': 'best'}, {'oversampling': 0}, {'cost_exponent': -1.0}, {'metod': 'none'}))
def test_bad_sections(wrong):
    with pytest.raises(ValidationError):
        Selection(**wrong)
