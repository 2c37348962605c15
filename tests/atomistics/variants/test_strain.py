"""Volume scans and strains."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.variants import NotApplicableError
from aiida_pyacemaker.atomistics.variants.common import strain_in_place
from aiida_pyacemaker.atomistics.variants.strain import Eos, Shear, Strain, eos, shear, strain


def deformation(parent, atoms):
    return np.linalg.solve(parent.cell.array, atoms.cell.array)


def test_the_volume_scan_is_even_and_isotropic(parents, rng):
    parent = parents['rutile']
    frames = [eos(parent, Eos(), rng, index, 9) for index in range(9)]
    volumes = [atoms.get_volume() / parent.get_volume() for atoms in frames]
    assert np.allclose(volumes, np.linspace(0.9, 1.1, 9))
    for atoms in frames:
        assert np.allclose(atoms.get_scaled_positions(), parent.get_scaled_positions())
        assert np.allclose(deformation(parent, atoms), deformation(parent, atoms)[0, 0] * np.eye(3))
        assert atoms.arrays['oxidation_states'].sum() == 0


def test_beyond_the_grid_the_volume_is_random(parents, rng):
    changes = [
        eos(parents['fcc'], Eos(range=0.2), rng, index, 3).info['parameters']['volume_change'] for index in (3, 4)
    ]
    assert len(set(changes)) == 2 and max(map(abs, changes)) <= 0.2
    assert eos(parents['fcc'], Eos(), rng, 0, 1).info['parameters']['volume_change'] == 0


def test_strain_is_symmetric_full_and_bounded(parents, rng):
    tensors = [deformation(parents['fcc'], strain(parents['fcc'], Strain(), rng, k, 8)) - np.eye(3) for k in range(8)]
    for tensor in tensors:
        assert np.allclose(tensor, tensor.T) and (abs(tensor) > 1e-6).all() and (abs(tensor) <= 0.05).all()
    assert np.abs(tensors).max() > 0.03


def test_shear_has_no_diagonal(parents, rng):
    tensor = deformation(parents['hcp'], shear(parents['hcp'], Shear(amplitude=0.1), rng, 0, 1)) - np.eye(3)
    assert np.allclose(np.diag(tensor), 0) and np.allclose(tensor, tensor.T) and 0.05 < abs(tensor).max() <= 0.1


@pytest.mark.parametrize('operation', [(eos, Eos()), (strain, Strain()), (shear, Shear())])
def test_slabs_keep_their_thickness_and_vacuum(parents, rng, operation):
    parent = parents['slab']
    parent.cell[2, :2] += 1.3  # a tilted one
    parent.rotate(35, (1, 2, 3), rotate_cell=True)
    function, section = operation
    atoms = function(parent, section, rng, 0, 2)
    normal = np.cross(parent.cell[0], parent.cell[1])
    normal /= np.linalg.norm(normal)
    assert np.allclose(atoms.cell.array @ normal, parent.cell.array @ normal)
    assert np.allclose(atoms.positions @ normal, parent.positions @ normal)
    assert not np.allclose(atoms.cell[0], parent.cell[0])


def test_the_area_of_a_slab_is_scanned_as_the_lengths_of_a_bulk(parents, rng):
    atoms = eos(parents['slab'], Eos(range=0.1), rng, 0, 2)
    assert np.isclose(atoms.get_volume() / parents['slab'].get_volume(), 0.9 ** (2 / 3))
    assert np.isclose(atoms.info['parameters']['area_change'], 0.9 ** (2 / 3) - 1, atol=1e-6)


def test_the_strain_of_a_slab_is_recorded_as_it_is(parents):
    """Nothing along the normal; and no shear of a plane is nearly nothing because its one component is small."""
    rng = np.random.default_rng(0)
    largest = []
    for function, section in ((strain, Strain()), (shear, Shear())):
        for index in range(50):
            parent = parents['slab']
            atoms = function(parent, section, rng, index, 50)
            tensor = np.linalg.lstsq(parent.cell.array, atoms.cell.array, rcond=None)[0] - np.eye(3)
            said = atoms.info['parameters']['strain']
            assert np.allclose(tensor[np.triu_indices(3)], said, atol=1e-6) and abs(tensor).max() <= 0.05
            assert np.allclose(tensor[2], 0, atol=1e-12)
            if function is shear:
                assert np.isclose(np.trace(tensor), 0)
                largest.append(abs(tensor).max())
    assert np.quantile(largest, 0.05) > 0.004


def test_a_wire_is_strained_along_its_axis(parents):
    wire = parents['slab']
    wire.info['vacuum_axes'] = [1, 2]
    before = wire.copy()
    strain_in_place(wire, np.full((3, 3), 0.1))
    assert np.isclose(wire.cell.lengths()[0], 1.1 * before.cell.lengths()[0])
    assert np.isclose(wire.get_volume(), 1.1 * before.get_volume())


@pytest.mark.parametrize('operation', [(eos, Eos()), (strain, Strain()), (shear, Shear())])
def test_not_for_molecules(parents, rng, operation):
    with pytest.raises(NotApplicableError, match='molecule in a box'):
        operation[0](parents['molecule'], operation[1], rng, 0, 1)


def test_record(parents, rng):
    atoms = eos(parents['fcc'], Eos(), rng, 0, 3)
    assert atoms.info['operation'] == 'eos' and atoms.info['parent'] == 'fcc Al4' and atoms.info['reason']
    assert atoms.info['parameters'] == {'given': 1, 'volume_change': -0.1}
    assert parents['fcc'].info['parameters'] == {'given': 1}
