"""Rows that are kept: the same numbers, taken over, bounded, and there after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from time import monotonic, sleep

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import FrameCache, RowStore, basis_key, configuration_key
from aiida_pyacemaker.atomistics.baselines import baseline_from_data
from aiida_pyacemaker.atomistics.checks.overlap import shortest_distances
from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.core.processes import forked_map

CUTOFFS = dict.fromkeys((('Al', 'Al'), ('Al', 'Cu'), ('Cu', 'Cu')), (1.7, 0.5))
NICKEL = dict.fromkeys((('Al', 'Al'), ('Al', 'Ni'), ('Ni', 'Ni')), (1.7, 0.5))


def quiet(message: str) -> None:
    """Report nothing."""


def get_basis(functions: int = 20, **changes):
    arguments = {'elements': ['Al', 'Cu'], 'cutoff': 5.0, 'number_of_functions': functions, 'inner_cutoffs': CUTOFFS}
    return build_basis(**{**arguments, **changes})


@pytest.fixture(scope='module')
def design() -> DesignMatrix:
    return DesignMatrix(get_basis())


@pytest.fixture(scope='module')
def frames() -> list[Atoms]:
    """Crystals of one and two elements, and a cluster without a cell."""
    made = []
    for index in range(7):
        atoms = bulk('Al', cubic=True, a=3.9 + 0.05 * index).repeat((1 + index % 2, 1, 1))
        atoms.numbers[: index % 4] = 29
        atoms.rattle(0.1, seed=index)
        made.append(atoms)
    made.append(Atoms('AlCu2', [[0, 0, 0], [2.5, 0, 0], [0, 2.6, 0.1]]))
    return made


def rows_of(store: RowStore, atoms: Atoms) -> list[bytes]:
    rows = store.get(atoms)
    stress = b'' if rows.stress is None else rows.stress.tobytes()
    return [rows.energy.tobytes(), rows.forces.tobytes(), stress, *(p.tobytes() for p in rows.projections)]


@pytest.mark.parametrize('processes', (1, 2))
def test_rows_are_those_of_the_design(design, frames, tmp_path, processes):
    """What is read is what was computed: doubles bit for bit, rows of forces in single precision."""
    store = RowStore(tmp_path, design)
    counts = store.fill([*frames, frames[0]], processes, quiet)
    assert (counts['computed'], counts['reused'], counts['not_kept']) == (8, 0, 0)
    assert counts['bytes'] == sum(path.stat().st_size for path in store.directory.iterdir())
    for atoms in frames:
        found, expected = store.get(atoms), design.rows(atoms, stress=bool(atoms.pbc.all()))
        np.testing.assert_array_equal(found.energy, expected.energy)
        np.testing.assert_array_equal(found.forces, expected.forces.astype(np.float32))
        assert (found.stress is None) == (expected.stress is None) == (not atoms.pbc.all())
        if expected.stress is not None:
            np.testing.assert_array_equal(found.stress, expected.stress)
        for one, other, again in zip(found.projections, expected.projections, store.projections(atoms), strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, again)
        assert store.get(atoms, forces=False).forces is None
    assert store.fill(frames, processes, quiet)['computed'] == 0


def test_keys(frames):
    """Everything the rows depend on makes another key, and nothing else does."""
    basis = get_basis()
    key = basis_key(basis)
    basis.basis_coeffs = np.linspace(1, 2, len(basis.basis_coeffs))
    assert basis_key(basis) == key
    inner = {**CUTOFFS, ('Al', 'Cu'): (1.7, 0.4)}
    others = [get_basis(21), get_basis(cutoff=5.1), get_basis(inner_cutoffs=inner)]
    others.append(get_basis(elements=['Al', 'Ni'], inner_cutoffs=NICKEL))
    assert len({key, *map(basis_key, others)}) == 5
    atoms = frames[0]
    same = atoms.copy()
    same.info['family'] = 'other'
    same.set_array('force_weights', np.zeros(len(atoms)))
    same.positions[same.positions == 0] = -0.0
    assert configuration_key(same) == configuration_key(atoms)
    moved, strained, mixed, free = (atoms.copy() for _ in range(4))
    moved.positions[0, 0] += 1e-12
    strained.cell[0, 0] += 1e-12
    mixed.numbers[0] = 29
    free.pbc = False
    assert len({configuration_key(other) for other in (atoms, moved, strained, mixed, free)}) == 5


def test_parent(design, frames, tmp_path):
    """A next fit links what it needs of the former one, and has it when the former one is gone."""
    former = RowStore(tmp_path / 'former' / 'rows', design)
    former.fill(frames[:6], 1, quiet)
    expected = rows_of(former, frames[0])
    store = RowStore(tmp_path / 'rows', design, parent=tmp_path / 'former' / 'rows')
    counts = store.fill(frames[2:], 1, quiet)
    assert (counts['computed'], counts['reused'], counts['linked']) == (2, 4, 4)
    path = store.directory / f'{configuration_key(frames[2])}.rows'
    assert path.stat().st_ino == (former.directory / path.name).stat().st_ino
    shutil.rmtree(tmp_path / 'former')
    assert store.fill(frames[2:], 1, quiet)['reused'] == 6
    assert rows_of(store, frames[0]) == expected  # computed again
    missing = RowStore(tmp_path / 'other', design, parent=tmp_path / 'former' / 'rows')
    assert missing.fill(frames[:1], 1, quiet)['computed'] == 1


def test_parent_of_a_killed_parent(design, frames, tmp_path):
    """A fit that was killed before it took anything over hands on what it was given."""
    RowStore(tmp_path / 'first' / 'rows', design).fill(frames, 1, quiet)
    FrameCache(tmp_path / 'first' / 'rows').shortest_distances(frames, 1)
    killed = tmp_path / 'killed'
    (killed / 'rows').mkdir(parents=True)
    (killed / 'rows_parent').symlink_to(tmp_path / 'first' / 'rows')
    (tmp_path / 'rows_parent').symlink_to(killed / 'rows')
    store = RowStore(tmp_path / 'rows', design, parent=tmp_path / 'rows_parent')
    assert store.fill(frames, 1, quiet)['linked'] == len(frames)


def test_other_file_system(design, frames, tmp_path, monkeypatch):
    """Where there are no hard links, files are copied."""

    def refuse(*arguments):
        raise OSError(18, 'Invalid cross-device link')

    RowStore(tmp_path / 'former', design).fill(frames, 1, quiet)
    monkeypatch.setattr(os, 'link', refuse)
    store = RowStore(tmp_path / 'rows', design, parent=tmp_path / 'former')
    assert store.fill(frames, 1, quiet)['linked'] == len(frames)
    assert not list(store.directory.glob('.*'))


def test_no_room(design, frames, tmp_path):
    """What does not fit is computed again, to the same bits, and is told of."""
    lines = []
    whole = RowStore(tmp_path / 'whole', design)
    whole.fill(frames, 1, quiet)
    limit = whole.size(frames[0]) + whole.size(frames[1])
    store = RowStore(tmp_path / 'part', design, max_bytes=limit)
    counts = store.fill(frames, 2, lines.append)
    assert (counts['computed'], counts['not_kept'], counts['bytes']) == (2, 6, limit)
    assert 'no room for the rows of 6 of 8 configurations' in lines[-1]
    assert len(list(store.directory.iterdir())) == 2
    for atoms in frames:
        assert rows_of(store, atoms) == rows_of(whole, atoms)
    np.testing.assert_array_equal(store.projections(frames[-1]), whole.projections(frames[-1]))


def test_truncated(design, frames, tmp_path):
    """A file that is not whole does not count."""
    store = RowStore(tmp_path, design)
    store.fill(frames, 1, quiet)
    expected = rows_of(store, frames[0])
    path = store.directory / f'{configuration_key(frames[0])}.rows'
    path.write_bytes(path.read_bytes()[:-4])
    assert rows_of(store, frames[0]) == expected
    assert store.fill(frames, 1, quiet)['computed'] == 1
    assert path.stat().st_size == store.size(frames[0])


SCRIPT = """
import sys
from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
cutoffs = {('Al', 'Al'): (1.7, 0.5), ('Al', 'Cu'): (1.7, 0.5), ('Cu', 'Cu'): (1.7, 0.5)}
basis = build_basis(['Al', 'Cu'], 5.0, 20, cutoffs)
RowStore(sys.argv[2], DesignMatrix(basis)).fill(load_configurations(sys.argv[1]), 2)
"""


def test_killed(design, tmp_path):
    """After `kill -9` in the middle, the next fit computes only what is missing."""
    frames = [bulk('Al', cubic=True).repeat((3, 3, 3)) for _ in range(400)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=index)
    save_configurations(tmp_path / 'frames.npz', frames)
    store = RowStore(tmp_path / 'rows', design)
    command = [sys.executable, '-c', SCRIPT, str(tmp_path / 'frames.npz'), str(tmp_path / 'rows')]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        give_up = monotonic() + 60
        while len(list(store.directory.glob('*.rows'))) < 5 and monotonic() < give_up:
            sleep(0.01)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ProcessLookupError):  # its children end as well
        while monotonic() < give_up:
            os.killpg(process.pid, 0)
            sleep(0.1)
    there = len(list(store.directory.glob('*.rows')))
    assert 5 <= there < len(frames)
    counts = store.fill(frames[: there + 4], 1, quiet)
    assert counts['reused'] >= there - 16 and counts['computed'] >= 4
    for atoms in frames[:there]:
        np.testing.assert_array_equal(store.get(atoms).energy, design.rows(atoms, forces=False).energy)


def test_killed_process():
    """A child that is killed is an error that says so, not a wait without end."""
    with pytest.raises(RuntimeError, match='a process of the fit was killed'):
        list(forked_map(lambda item: os.kill(os.getpid(), signal.SIGKILL), range(4), 2))


def test_forked_map():
    """Results come in order; the error of an item is raised."""
    assert list(forked_map(lambda item: item**2, range(100), 2)) == [k**2 for k in range(100)]
    assert list(forked_map(str, [], 2)) == []
    with pytest.raises(ZeroDivisionError):
        list(forked_map(lambda item: 1 / (item - 3), range(9), 2))


def test_remember(design, tmp_path):
    """What is remembered is computed once, also by the next fit; a broken file is computed again."""
    calls = []

    def compute():
        calls.append(1)
        return {'matrix': np.arange(4.0)}

    former = RowStore(tmp_path / 'former', design)
    for store in (former, former, RowStore(tmp_path / 'rows', design, parent=tmp_path / 'former')):
        np.testing.assert_array_equal(store.remember('gram', 'content', compute)['matrix'], np.arange(4.0))
    assert len(calls) == 1
    (path,) = former.directory.iterdir()
    path.write_bytes(b'PK broken')
    former.remember('gram', 'content', compute)
    former.remember('gram', 'other content', compute)
    assert len(calls) == 3


def test_frame_cache(frames, tmp_path):
    """Distances and baseline are those of the functions behind them; the next fit looks at new frames only."""
    masked = frames[1].copy()
    masked.set_array('force_weights', np.zeros(len(masked)))
    masked.info['energy_weight'] = 0.0
    baseline = baseline_from_data('zbl', ['Al', 'Cu'], frames)
    cache = FrameCache(tmp_path / 'former')
    for chosen in (frames, [masked, *frames[2:5]], frames):
        assert cache.shortest_distances(chosen, 2) == shortest_distances(chosen)
    found = cache.baseline(frames[:6], baseline, 2)

    def forbidden(atoms):
        raise AssertionError('computed once more')

    baseline.evaluate, evaluate = forbidden, baseline.evaluate
    for again in (cache, FrameCache(tmp_path / 'rows', tmp_path / 'former')):
        for one, atoms in zip(again.baseline(frames[:6], baseline), frames, strict=False):
            for value, expected in zip(one, evaluate(atoms), strict=True):
                np.testing.assert_array_equal(value, expected)
    with pytest.raises(AssertionError, match='once more'):
        cache.baseline(frames, baseline, 1)
    assert len(found) == 6
