"""Frames survive the file, exactly."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.configurations import check_labelled, load_configurations, save_configurations
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels


def frames() -> list[Atoms]:
    rng = np.random.default_rng(0)
    full = bulk('Al', cubic=True)
    full.info.update(family='rattled', phase='fcc', split='test', weight=0.5, step=np.int64(7), nested={'a': [1, 2]})
    full.set_array('force_weights', np.array([1.0, 0.0, 1.0, 1.0]))
    full.set_array('gamma', rng.random(4))
    full.set_array('predicted_forces', rng.normal(size=(4, 3)))
    set_labels(full, -1.25, rng.normal(size=(4, 3)), rng.normal(size=6))
    bare = molecule('H2O')
    forces_only = set_labels(bulk('Cu'), forces=np.zeros((1, 3)))
    energy_only = set_labels(bulk('Cu'), energy=-3.0)
    return [full, bare, forces_only, energy_only]


def test_round_trip(tmp_path):
    path = tmp_path / 'frames'  # no suffix is added
    save_configurations(path, frames())
    loaded = load_configurations(path)
    assert len(loaded) == 4
    for old, new in zip(frames(), loaded, strict=True):
        np.testing.assert_array_equal(old.numbers, new.numbers)
        np.testing.assert_array_equal(old.positions, new.positions)
        np.testing.assert_array_equal(old.cell.array, new.cell.array)
        np.testing.assert_array_equal(old.pbc, new.pbc)
        assert old.info == new.info
        assert labels(old).keys() == labels(new).keys()
        for key, value in labels(old).items():
            np.testing.assert_array_equal(value, labels(new)[key])
        for name in ('force_weights', 'gamma', 'predicted_forces'):
            assert (name in old.arrays) == (name in new.arrays)
            np.testing.assert_array_equal(old.arrays.get(name, 0), new.arrays.get(name, 0))


def test_same_bytes():
    first, second = io.BytesIO(), io.BytesIO()
    save_configurations(first, frames())
    save_configurations(second, frames())
    assert first.getvalue() == second.getvalue()
    assert len(load_configurations(io.BytesIO(first.getvalue()))) == 4


def test_no_frames():
    buffer = io.BytesIO()
    save_configurations(buffer, [])
    buffer.seek(0)
    assert load_configurations(buffer) == []


def test_stale_labels_do_not_count():
    atoms = bulk('Al', cubic=True)
    atoms.calc = EMT()
    assert labels(atoms) == {}  # nothing is computed for it
    atoms.get_potential_energy()
    assert 'energy' in labels(atoms)
    atoms.positions[0] += 0.1
    assert labels(atoms) == {}


def test_partial_nan_is_kept_and_found():
    atoms = bulk('Al', cubic=True)
    forces = np.zeros((4, 3))
    forces[2, 1] = np.nan
    buffer = io.BytesIO()
    save_configurations(buffer, [set_labels(atoms, -1.0, forces)])
    buffer.seek(0)
    with pytest.raises(ValueError, match=r'configuration 0 \(Al4\) has NaN or infinite forces'):
        check_labelled(load_configurations(buffer))


@pytest.mark.parametrize(
    ('energy', 'forces', 'message'),
    [
        (None, np.zeros((4, 3)), 'has no energy'),
        (-1.0, None, 'has no forces'),
        (np.nan, np.zeros((4, 3)), 'NaN or infinite energy'),
        (-1.0, np.full((4, 3), np.inf), 'NaN or infinite forces'),
    ],
)
def test_check_labelled(energy, forces, message):
    good = set_labels(bulk('Al', cubic=True), -1.0, np.zeros((4, 3)))
    check_labelled([good])
    with pytest.raises(ValueError, match=rf'configuration 1 \(Al4\).*{message}'):
        check_labelled([good, set_labels(bulk('Al', cubic=True), energy, forces)])


def test_broken_files(tmp_path):
    path = tmp_path / 'x.npz'
    path.write_text('nothing')
    with pytest.raises(ValueError, match='not a configurations file'):
        load_configurations(path)
    np.savez(path, n_atoms=np.array([1]))
    with pytest.raises(ValueError, match='not a configurations file'):
        load_configurations(path)
    np.savez(path, n_atoms=np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match='not a configurations file'):
        load_configurations(path)


def test_info_must_be_json():
    atoms = bulk('Al')
    atoms.info['spacegroup'] = object()
    with pytest.raises(ValueError, match='cannot be stored'):
        save_configurations(io.BytesIO(), [atoms])
