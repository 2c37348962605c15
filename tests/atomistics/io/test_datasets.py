"""Reading labelled configurations from elsewhere, and holding some back."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.io.datasets import read_labelled, split, voigt


@pytest.fixture
def frames() -> list[Atoms]:
    found = []
    for seed in range(4):
        atoms = bulk('Al', cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
        atoms.info['family'] = 'hot'
        found.append(atoms)
    return found


@pytest.mark.parametrize('suffix', ['.npz', '.extxyz', '.db', '.traj'])
def test_formats(suffix, frames, tmp_path):
    path = tmp_path / f'data{suffix}'
    save_configurations(path, frames) if suffix == '.npz' else write(path, frames)
    found = read_labelled(path)
    assert len(found) == 4
    for left, right in zip(frames, found, strict=True):
        for key, value in labels(left).items():
            np.testing.assert_allclose(labels(right)[key], value, atol=1e-7)
    assert found[0].info['family'] == ('data' if suffix == '.db' else 'hot')


def test_names_of_published_sets(frames, tmp_path):
    """GAP and MACE files: REF_ or dft_ before the name, a virial in eV in place of the stress, config_type."""
    given = []
    for atoms in frames:
        found, bare = labels(atoms), Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        xx, yy, zz, yz, xz, xy = -found['stress'] * atoms.get_volume()
        bare.info.update(REF_energy=found['energy'], config_type='bulk')
        bare.info['virial'] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        bare.set_array('REF_forces', found['forces'])
        given.append(bare)
    write(tmp_path / 'gap.extxyz', given)
    found = read_labelled(tmp_path / 'gap.extxyz')
    np.testing.assert_allclose(labels(found[2])['stress'], labels(frames[2])['stress'], atol=1e-7)
    np.testing.assert_allclose(labels(found[2])['forces'], labels(frames[2])['forces'], atol=1e-7)
    assert found[2].info['family'] == 'bulk'


def test_free_atom_and_molecule(tmp_path):
    atom, molecule = Atoms('Al'), Atoms('Al2', [[0, 0, 0], [0, 0, 2.5]])
    for atoms in (atom, molecule):
        set_labels(atoms, -1.0, np.zeros((len(atoms), 3)))
    write(tmp_path / 'few.extxyz', [atom, molecule])
    found = read_labelled(tmp_path / 'few.extxyz')
    assert [atoms.info['family'] for atoms in found] == ['isolated_atom', 'few']
    assert not found[1].pbc.any()


def test_without_labels(tmp_path):
    write(tmp_path / 'bare.extxyz', bulk('Al'))
    with pytest.raises(ValueError, match=r'configuration 0 of .*bare\.extxyz has neither energy nor forces; name them'):
        read_labelled(tmp_path / 'bare.extxyz')


def test_voigt():
    tensor = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(voigt(tensor), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(voigt(tensor.ravel()), [1, 2, 3, 4, 5, 6])


def make_trajectories(frames: list[Atoms]) -> list[Atoms]:
    """Return a free atom and 100 frames: 20 trajectories of 5."""
    many = [atoms.copy() for _ in range(25) for atoms in frames]
    for index, atoms in enumerate(many):
        atoms.info['trajectory'] = index // 5
    return [Atoms('Al'), *many]


def names(frames: list[Atoms]) -> set[int]:
    return {atoms.info['trajectory'] for atoms in frames if len(atoms) > 1}


def test_split_keeps_trajectories_together(frames):
    many = make_trajectories(frames)
    parts = split(many, [0.1], seed=1)
    assert len(parts['test']) == 10 and len(parts['train']) == 91 and not parts['validation']
    assert not names(parts['test']) & names(parts['train'])
    assert [id(a) for a in split(many, [0.1], seed=1)['test']] == [id(a) for a in parts['test']]
    assert [id(a) for a in split(many, [0.1], seed=2)['test']] != [id(a) for a in parts['test']]


@pytest.mark.parametrize('order', ['random', 'time'])
def test_split_in_three(order, frames):
    parts = split(make_trajectories(frames), [0.1, 0.1], seed=3, order=order)
    assert [len(parts[name]) for name in ('train', 'validation', 'test')] == [81, 10, 10]
    found = [names(parts[name]) for name in ('train', 'validation', 'test')]
    assert set.union(*found) == set(range(20)) and sum(map(len, found)) == 20
    in_time = [set(range(16)), {16, 17}, {18, 19}]
    assert (found == in_time) == (order == 'time')


def test_split_in_time_leaves_no_gap(frames):
    """A long trajectory at the end is not skipped for what was before it."""
    for index, atoms in enumerate(frames):
        atoms.info['trajectory'] = 'long' if index else 'first'
    parts = split(frames, [0.25], seed=0, order='time')
    assert len(parts['train']) == 4 and not parts['test']


def test_split_that_was_made_before(frames):
    frames[3].info['split'] = 'test'
    parts = split(frames, [0.5], seed=0)
    assert parts['test'] == [frames[3]] and len(parts['train']) == 3


def test_split_refused(frames):
    for shares in ([1.0], [0.5, 0.5], [-0.1], []):
        with pytest.raises(ValueError, match='no shares to hold back'):
            split(frames, shares, seed=0)
    with pytest.raises(ValueError, match='no order `size`; it is `random` or `time`'):
        split(frames, [0.1], seed=0, order='size')
