"""The active set: training gamma, volume, chunks and processes, going on from a former set, masks."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace import active_set as module
from aiida_pyacemaker.atomistics.ace.active_set import (
    TOLERANCE,
    active_set,
    choose_active_sets,
    load_active_sets,
    save_active_sets,
)
from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore

SIZE = 40


def quiet(message: str) -> None:
    """Report nothing."""


def cells(number: int, seed: int = 0):
    """Rattled cells of 8 atoms, every other one with copper."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(number):
        atoms = bulk('Al', 'fcc', a=rng.uniform(3.8, 4.3), cubic=True).repeat((1, 1, 2))
        atoms.positions += rng.normal(0, rng.choice([0.05, 0.15, 0.3]), atoms.positions.shape)
        if index % 2:
            atoms.symbols[rng.permutation(8)[:4]] = 'Cu'
        frames.append(atoms)
    return frames


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> RowStore:
    pairs = dict.fromkeys((('Al', 'Al'), ('Al', 'Cu'), ('Cu', 'Cu')), (1.7, 0.5))
    design = DesignMatrix(build_basis(['Al', 'Cu'], 5.0, SIZE, pairs))
    store = RowStore(tmp_path_factory.mktemp('rows'), design)
    store.fill(cells(60), processes=1, report=quiet)
    return store


def choose(store, frames, former=None, processes=1, **kwargs):
    return choose_active_sets(store, frames, ['Al', 'Cu'], former, processes, report=quiet, **kwargs)


def inverses(sets):
    return {element: entry.inverse for element, entry in sets.items()}


def gammas(store, atoms, sets) -> np.ndarray:
    rows = zip(store.projections(atoms), atoms.get_chemical_symbols(), strict=True)
    return np.array([np.abs(row @ sets[symbol].inverse).max() for row, symbol in rows])


def largest_gamma(store, frames, sets) -> float:
    return max(float(gammas(store, atoms, sets).max()) for atoms in frames)


def of_element(store, frames, element) -> np.ndarray:
    rows = [zip(store.projections(atoms), atoms.symbols, strict=True) for atoms in frames]
    return np.array([row for pairs in rows for row, symbol in pairs if symbol == element])


def log_volume(projections, inverse) -> float:
    scale = np.abs(projections).max(axis=0)
    return -np.linalg.slogdet(inverse * scale[:, None])[1]


def test_training_gamma(store):
    frames = cells(60)
    sets = choose(store, frames)
    assert largest_gamma(store, frames, sets) == pytest.approx(max(entry.gamma_max for entry in sets.values()))
    assert 0.9 < largest_gamma(store, frames, sets) <= TOLERANCE + 1e-6
    for element, entry in sets.items():
        assert entry.unsupported == SIZE - len(entry.rows)
        assert len(np.unique(entry.rows, axis=0)) == len(entry.rows)
        for frame, atom in entry.rows:
            assert frames[frame].symbols[atom] == element
            assert gammas(store, frames[frame], sets)[atom] == pytest.approx(1.0, abs=1e-5)


def test_volume_is_that_of_python_ace(store):
    """MaxVol ends in one of many local optima: ours must not be worse than what python-ace's finds by 2 % per row."""
    from pyace.maxvol import maxvol

    projections = of_element(store, cells(60), 'Al')
    table = np.vstack([projections / np.abs(projections).max(axis=0), module.REGULARISATION * np.eye(SIZE)])
    chosen, _ = maxvol(np.ascontiguousarray(table), tol=TOLERANCE, max_iters=10000)
    theirs = np.linalg.slogdet(table[chosen])[1]
    assert log_volume(projections, active_set(projections).inverse) > theirs - 0.02 * SIZE


def test_chunks_and_processes_change_nothing(store, monkeypatch):
    """The same bits whatever is kept in memory and however many processes pass through it."""
    monkeypatch.setattr(module, 'CHUNK', 40)
    monkeypatch.setattr(module, 'POOL', 8)
    monkeypatch.setattr(module, 'POOL_PER_FUNCTION', 1)
    frames = cells(60)
    one = choose(store, frames)
    assert max(entry.passes for entry in one.values()) > 2
    assert largest_gamma(store, frames, one) <= TOLERANCE + 1e-6
    monkeypatch.setattr(module, 'SMALL_WORK', 0)
    for other in (choose(store, frames, max_memory=0), choose(store, frames, processes=2, max_memory=20000)):
        for element, entry in one.items():
            np.testing.assert_array_equal(entry.inverse, other[element].inverse)
            np.testing.assert_array_equal(entry.rows, other[element].rows)


def test_nothing_new(store):
    """A fit on the same data keeps the set, after one pass to find it and one to see that it will do."""
    frames = cells(60)
    sets = choose(store, frames)
    again = choose(store, frames[::-1], inverses(sets))
    for element, entry in sets.items():
        assert again[element].passes == 2
        chosen = {(59 - frame, atom) for frame, atom in again[element].rows.tolist()}
        assert chosen == {tuple(row) for row in entry.rows.tolist()}
        np.testing.assert_allclose(again[element].gamma_max, entry.gamma_max, atol=1e-9)


def test_going_on(store, tmp_path):
    """New configurations are exchanged into the former set, read from its file; most of it stays."""
    frames = cells(60)
    former = choose(store, frames[:50])
    save_active_sets(tmp_path / 'former.asi', former)
    sets = choose(store, frames, load_active_sets(tmp_path / 'former.asi'))
    assert largest_gamma(store, frames, former) > 1.01
    assert largest_gamma(store, frames, sets) <= TOLERANCE + 1e-6
    scratch = choose(store, frames)
    for element, entry in sets.items():
        kept = {tuple(row) for row in entry.rows.tolist()} & {tuple(row) for row in former[element].rows.tolist()}
        assert len(kept) > 0.6 * SIZE
        projections = of_element(store, frames, element)
        volumes = [log_volume(projections, found[element].inverse) for found in (sets, scratch)]
        assert volumes[0] > volumes[1] - 0.02 * SIZE


@pytest.mark.parametrize('former', ['other size', 'other basis'])
def test_foreign_former_set(store, former):
    rng = np.random.default_rng(0)
    size = SIZE if former == 'other basis' else SIZE + 1
    frames = cells(20)
    sets = choose(store, frames, {'Al': rng.normal(size=(size, size)), 'Xe': np.eye(3)})
    plain = choose(store, frames)
    for element in sets:
        np.testing.assert_array_equal(sets[element].inverse, plain[element].inverse)


def test_masked_atoms(store):
    """Masked atoms do not enter, and leave the set when they are masked later."""
    frames = cells(30)
    former = choose(store, frames)
    for frame, atom in former['Al'].rows[::2].tolist():
        weights = frames[frame].arrays.get('force_weights', np.ones(8))
        weights[atom] = 0.0
        frames[frame].set_array('force_weights', weights)
    masked = {
        (i, j)
        for i, atoms in enumerate(frames)
        for j in range(8)
        if atoms.arrays.get('force_weights', np.ones(8))[j] == 0
    }
    assert len(masked) > 5
    for sets in (choose(store, frames), choose(store, frames, inverses(former))):
        assert not masked & {tuple(row) for row in sets['Al'].rows.tolist()}
        found = [gammas(store, atoms, sets) for atoms in frames]
        assert max(found[frame][atom] for frame, atom in masked) > 1.01
        for frame, atom in masked:
            found[frame][atom] = 0.0
        assert max(values.max() for values in found) <= TOLERANCE + 1e-6


def test_too_few_environments(store):
    """None of one element, and fewer than functions of the other: unit rows complete the sets."""
    frames = cells(2)[:1]
    sets = choose(store, frames)
    assert sets['Cu'].unsupported == SIZE and sets['Cu'].gamma_max == 0.0 and len(sets['Cu'].rows) == 0
    assert sets['Al'].unsupported >= SIZE - 8
    assert np.all(np.isfinite(sets['Al'].inverse)) and sets['Al'].condition < 1e6
    nothing = choose(store, [])
    np.testing.assert_array_equal(nothing['Cu'].inverse, np.eye(SIZE) / module.REGULARISATION)
    assert active_set(np.zeros((0, 3))).unsupported == 3
    assert active_set(np.zeros((5, 3))).unsupported == 3


def test_equal_environments(store):
    """All atoms of a perfect crystal are one environment."""
    sets = choose(store, [bulk('Al', 'fcc', a=4.05, cubic=True)] * 3)
    assert len(sets['Al'].rows) == 1


def test_many_more_environments_than_functions():
    """A table with a few outliers far from the sample that the choice starts from: all of them are found."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20000, 12)) * np.logspace(0, -3, 12)
    outliers = rng.choice(20000, 5, replace=False)
    rows[outliers] *= 50.0
    found = active_set(rows)
    assert set(outliers) <= set(found.rows[:, 0].tolist())
    assert np.abs(rows @ found.inverse).max() <= TOLERANCE
    assert found.passes < 10
