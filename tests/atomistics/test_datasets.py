"""Reading labelled configurations from elsewhere, and holding some back."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from aiida_pyacemaker.atomistics.configurations import labels, save_configurations, set_labels
from aiida_pyacemaker.atomistics.datasets import read_labelled, split, voigt


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
    with pytest.raises(ValueError, match=r'configuration 0 of .*bare\.extxyz has neither energy nor forces: name them'):
        read_labelled(tmp_path / 'bare.extxyz')


def test_voigt():
    tensor = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(voigt(tensor), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(voigt(tensor.ravel()), [1, 2, 3, 4, 5, 6])


def test_split_keeps_trajectories_together(frames):
    many = [atoms.copy() for _ in range(25) for atoms in frames]
    for index, atoms in enumerate(many):
        atoms.info['trajectory'] = index // 5
    train, test = split([Atoms('Al'), *many], 0.1, seed=1)
    assert len(test) == 10 and len(train) == 91
    assert not {a.info['trajectory'] for a in test} & {a.info['trajectory'] for a in train[1:]}
    again = split([Atoms('Al'), *many], 0.1, seed=1)[1]
    assert [id(a) for a in again] == [id(a) for a in test]
    assert [id(a) for a in split([Atoms('Al'), *many], 0.1, seed=2)[1]] != [id(a) for a in test]


def test_split_that_was_made_before(frames):
    frames[3].info['split'] = 'test'
    train, test = split(frames, 0.5, seed=0)
    assert test == [frames[3]] and len(train) == 3
