"""Elements: crystals and volumes against what is measured, cells against what the rest relies on."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.crystals.elements import (
    ATOMS_PER_CELL,
    NEAREST,
    check_elements,
    conventional_cell,
    covalent_radius,
    ground_lattice,
    ground_state,
    is_metal,
    lattice_of,
    mean_volume,
    repeats,
    scaled,
    volume_per_atom,
)


def space_group(atoms):
    return spglib.get_spacegroup((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-3)


@pytest.mark.parametrize(
    ('element', 'phase', 'atoms'),
    [('Al', 'fcc', 4), ('Fe', 'bcc', 2), ('Mg', 'hcp', 4), ('Si', 'diamond', 8), ('Po', 'sc', 1)],
)
def test_simple_ground_states_are_those_of_ase_with_right_angles(element, phase, atoms):
    cell = ground_state(element)
    assert len(cell) == atoms and cell.info['phase'] == phase == lattice_of(element) == ground_lattice(element)
    assert cell.pbc.all()
    np.testing.assert_allclose(cell.cell.angles(), 90)
    primitive = bulk(element)
    assert cell.get_volume() / atoms == pytest.approx(primitive.get_volume() / len(primitive))
    assert volume_per_atom(element) == pytest.approx(cell.get_volume() / atoms)


@pytest.mark.parametrize(
    ('element', 'group', 'atoms', 'volume', 'nearest'),
    [
        # measured: Wyckoff, Crystal Structures (1963)
        ('B', 'R-3m (166)', 36, 7.3, 1.67),
        ('P', 'Cmce (64)', 8, 19.0, 2.22),
        ('Mn', 'I-43m (217)', 58, 12.1, 2.24),
        ('Ga', 'Cmce (64)', 8, 19.6, 2.48),
        ('Se', 'P3_121 (152)', 3, 27.3, 2.37),
        ('In', 'I4/mmm (139)', 2, 26.0, 3.25),
        ('Sn', 'I4_1/amd (141)', 4, 26.9, 3.02),
        ('I', 'Cmce (64)', 8, 40.9, 2.72),
        ('Bi', 'R-3m (166)', 2, 35.4, 3.07),
        ('U', 'Cmcm (63)', 4, 20.7, 2.75),
    ],
)
def test_complicated_ground_states(element, group, atoms, volume, nearest):
    cell = ground_state(element)
    assert len(cell) == atoms and space_group(cell) == group
    assert cell.get_volume() / atoms == pytest.approx(volume, rel=0.01)
    assert neighbor_list('d', cell, 5.0).min() == pytest.approx(nearest, rel=0.02)


def test_every_element_has_a_physical_ground_state():
    for element in chemical_symbols[1:104]:
        cell = ground_state(element)
        distances = neighbor_list('d', cell, 6.0)
        assert distances.min() > 0.7 * 2 * covalent_radius(element), element
        assert set(cell.arrays) == {'numbers', 'positions'} and set(cell.info) == {'phase'}, element
        assert cell.pbc.all() and isinstance(cell.info['phase'], str), element
        assert 0.5 < volume_per_atom(element) < 150, element
        assert neighbor_list('d', conventional_cell([element], 'fcc'), 6.5).min() > 1.4 * covalent_radius(element)


def test_a_ground_state_is_a_copy():
    first = ground_state('Ga')
    first.positions += 1.0
    first.info['phase'] = 'spoiled'
    assert ground_state('Ga').info['phase'] != 'spoiled'
    assert not np.allclose(ground_state('Ga').positions, first.positions)


def test_other_lattices_keep_the_volume_and_have_their_nearest_distance():
    for lattice in ATOMS_PER_CELL:
        cell = conventional_cell(['Al'], lattice)
        assert len(cell) == ATOMS_PER_CELL[lattice]
        assert cell.get_volume() / len(cell) == pytest.approx(4.05**3 / 4)
        nearest = neighbor_list('d', cell, 5.0).min()
        assert nearest == pytest.approx(NEAREST[lattice] * (4.05**3 / 4) ** (1 / 3))
    assert conventional_cell(['Al'], 'fcc').cell.lengths()[0] == 4.05


def test_volumes_of_mixtures_and_given_volumes():
    mean = (volume_per_atom('Cu') + volume_per_atom('Au')) / 2
    assert conventional_cell(['Cu', 'Au'], 'fcc').get_volume() / 4 == pytest.approx(mean)
    assert conventional_cell(['Mg'], 'hcp', 30.0).get_volume() / 4 == pytest.approx(30.0)
    ratio = conventional_cell(['Mg'], 'hcp', 30.0).cell.lengths()
    np.testing.assert_allclose(ratio / ratio[0], bulk('Mg', orthorhombic=True).cell.lengths() / 3.21)
    assert mean_volume(['Cu', 'Cu', 'Au'], {'Au': 20.0}) == pytest.approx((2 * volume_per_atom('Cu') + 20) / 3)
    assert scaled(bulk('Cu'), 13.0).get_volume() == pytest.approx(13.0)


@pytest.mark.parametrize('atoms', [1, 4, 8, 16, 32, 100])
def test_supercells_are_compact_and_the_last_axis_grows_first(atoms):
    cell = conventional_cell(['Al'], 'fcc')
    found = repeats(cell, atoms)
    assert 4 * np.prod(found) >= atoms and sorted(found) == found and max(found) <= 2 * min(found)


def test_metals():
    assert all(is_metal(element) for element in 'Al Fe Na U Ga Sn Bi'.split())
    assert not any(is_metal(element) for element in 'Si C O Te H Xe B'.split())


def test_bad_input():
    with pytest.raises(ValueError, match=r"system\.elements: 'Xx' is not a chemical element"):
        check_elements(['Al', 'Xx'])
    with pytest.raises(ValueError, match=r'system\.elements: the list is empty'):
        check_elements([])
    with pytest.raises(ValueError, match="unknown lattice 'foo': choose from sc, bcc"):
        conventional_cell(['Al'], 'foo')
