"""Free surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.variants import NotApplicableError, surfaces
from aiida_pyacemaker.atomistics.variants.surfaces import Surface, surface

from .conftest import distances


def gap(atoms):
    heights = np.sort(atoms.positions[:, 2])
    return atoms.cell[2, 2] - (heights[-1] - heights[0])


def dipole(atoms):
    """Dipole along the normal per area (e/Å)."""
    heights = atoms.positions[:, 2] - atoms.positions[:, 2].mean()
    return (atoms.arrays['oxidation_states'] * heights).sum() / np.linalg.norm(np.cross(*atoms.cell.array[:2]))


@pytest.mark.parametrize('name', ['fcc', 'primitive'])
def test_the_low_index_planes_of_fcc(parents, rng, name):
    frames = [surface(parents[name], Surface(), rng, index, 4) for index in range(3)]
    assert [atoms.info['phase'] for atoms in frames] == ['fcc(100)', 'fcc(110)', 'fcc(111)']
    spacing = [4.05 / 2, 4.05 / np.sqrt(8), 4.05 / np.sqrt(3)]
    area = [4.05**2 / 2, 4.05**2 / np.sqrt(2), 4.05**2 * np.sqrt(3) / 4]
    for atoms, layer, face in zip(frames, spacing, area, strict=True):
        assert np.isclose(np.linalg.norm(np.cross(*atoms.cell.array[:2])), face)
        heights = np.unique(atoms.positions[:, 2].round(4))
        assert np.allclose(np.diff(heights), layer, atol=1e-3) and np.ptp(heights) + layer >= 7
        assert gap(atoms) >= 12 - 0.2 and atoms.info['vacuum_axes'] == [2]
        assert np.allclose(atoms.cell[2, :2], 0) and np.allclose(atoms.cell[:2, 2], 0)
        assert np.isclose(distances(atoms, 2).min(), 4.05 / np.sqrt(2))


def test_further_ones_are_disturbed_in_their_plane(parents, rng):
    first, again, third = (surface(parents['fcc'], Surface(), rng, index, 9) for index in (0, 3, 6))
    assert again.info['phase'] == first.info['phase'] and np.isclose(again.cell[2, 2], first.cell[2, 2])
    assert not np.allclose(again.positions, first.positions) and not np.allclose(again.positions, third.positions)
    assert np.array_equal(surface(parents['fcc'], Surface(), rng, 0, 9).positions, first.positions)


@pytest.mark.parametrize('name', ['rocksalt', 'rutile', 'perovskite'])
def test_ions_neutral_and_without_dipole(parents, rng, name, monkeypatch):
    monkeypatch.setattr(surfaces, 'disturb', lambda atoms, rng: None)
    phases = set()
    for index in range(8):
        atoms = surface(parents[name], Surface(max_atoms=100), rng, index, 8)
        assert atoms.arrays['oxidation_states'].sum() == 0
        assert abs(dipole(atoms)) < 1e-3
        phases.add(atoms.info['phase'])
    assert f'{name}(111)' not in phases or name == 'rutile'  # the polar one


def test_polar_planes_are_refused_with_the_reason(parents, rng):
    with pytest.raises(NotApplicableError, match=r'rocksalt Cl4Na4 has no slab to offer: \(111\) is (polar|charged)'):
        surface(parents['rocksalt'], Surface(miller=[[1, 1, 1]]), rng, 0, 1)
    with pytest.raises(NotApplicableError, match=r'structures.surface.max_atoms is 2'):
        surface(parents['fcc'], Surface(max_atoms=2), rng, 0, 1)


def test_named_planes(parents, rng):
    section = Surface(miller=[[2, 1, 1], [1, -1, 0]], thickness=5.0, vacuum=15.0)
    first, second = (surface(parents['fcc'], section, rng, index, 2) for index in (0, 1))
    assert first.info['phase'] == 'fcc(211)' and second.info['phase'] == 'fcc(1 -1 0)'
    assert first.info['parameters'] == {'given': 1, 'miller': [2, 1, 1], 'termination': 0}
    assert gap(first) >= 14.8
    with pytest.raises(ValueError, match=r'\[0, 0, 0\] is no plane'):
        surface(parents['fcc'], Surface(miller=[[0, 0, 0]]), rng, 0, 1)


def test_only_of_crystals(parents, rng):
    for name in ('slab', 'molecule'):
        with pytest.raises(NotApplicableError):
            surface(parents[name], Surface(), rng, 0, 1)
    parents['fcc'].info['family'] = 'interface'
    with pytest.raises(NotApplicableError, match='no bulk crystal'):
        surface(parents['fcc'], Surface(), rng, 0, 1)
