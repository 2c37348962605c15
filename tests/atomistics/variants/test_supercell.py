"""Supercells, small and wide."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.variants.supercell import Supercell, enlarge, supercell, wide_supercell


def widths(atoms: Atoms) -> np.ndarray:
    """Volume over the area of each face."""
    a, b, c = atoms.cell.array
    faces = [np.cross(b, c), np.cross(c, a), np.cross(a, b)]
    return np.array([abs(np.dot(a, faces[0])) / np.linalg.norm(face) for face in faces])


@pytest.mark.parametrize(('atoms', 'repeats'), [(4, (1, 1, 1)), (5, (1, 1, 2)), (16, (1, 2, 2)), (17, (2, 2, 2))])
def test_the_shortest_axis_is_repeated_the_last_of_equal_ones_first(parents, atoms, repeats):
    cell = supercell(parents['fcc'], atoms)
    assert np.allclose(cell.cell.lengths(), 4.05 * np.array(repeats))
    assert len(cell) == 4 * np.prod(repeats)


def test_vacuum_is_not_repeated_and_the_record_is_kept(parents):
    slab = supercell(parents['slab'], 16)
    assert len(slab) == 16 and np.allclose(slab.cell[2], parents['slab'].cell[2])
    assert slab.info == parents['slab'].info
    assert len(supercell(parents['molecule'], 100)) == 3
    assert supercell(parents['rutile'], 40).arrays['oxidation_states'].sum() == 0


def test_a_parent_that_was_changed_is_another_one(parents):
    parent = parents['fcc']
    first = supercell(parent, 8)
    first.positions += 1
    assert not np.allclose(supercell(parent, 8).positions, first.positions)
    parent.symbols[0] = 'Cu'
    assert supercell(parent, 8).get_chemical_formula() == 'Al6Cu2'
    parent.info['reason'] = 'another'
    assert supercell(parent, 8).info['reason'] == 'another'


@pytest.mark.parametrize('name', ['primitive', 'fcc', 'hcp', 'rutile', 'perovskite'])
def test_wide_cells_are_wide_and_no_larger_than_repetition(parents, name):
    parent, width = parents[name], 11.0
    wide = wide_supercell(parent, width, 2000)
    assert (widths(wide) > width).all()
    repeated = len(parent) * np.prod(np.floor(width / widths(parent)).astype(int) + 1)
    assert len(wide) <= repeated
    assert np.isclose(wide.get_volume() / len(wide), parent.get_volume() / len(parent))
    shortest = np.sort(parent.repeat(3).get_all_distances(mic=True)[0])[1]
    assert np.isclose(np.sort(wide.get_all_distances(mic=True)[0])[1], shortest)  # the same crystal


def test_a_primitive_cell_gets_a_compact_one():
    """Repetition of the primitive fcc cell to 13 Å takes 6 x 6 x 6 = 216 atoms; the least possible volume is 132.3."""
    assert 132 < len(wide_supercell(bulk('Al'), 13.0, 216)) <= 150


def test_a_very_skewed_cell():
    parent = Atoms('Cu', cell=[[2.5, 0, 0], [7.4, 2.5, 0], [5.1, 9.9, 2.5]], pbc=True)
    wide = wide_supercell(parent, 10.0, 200)
    assert (widths(wide) > 10).all()
    assert 64 <= len(wide) <= 70  # 1000 Å³ at least, 15.6 Å³ per atom; repetition takes thousands


def test_slabs_are_widened_in_their_plane(parents):
    wide = wide_supercell(parents['slab'], 10.0, 500)
    assert (widths(wide)[:2] > 10).all()
    assert np.allclose(wide.cell[2], parents['slab'].cell[2]) and wide.info['vacuum_axes'] == [2]
    assert len(wide_supercell(parents['molecule'], 20.0, 10)) == 3


def test_too_few_atoms_say_what_is_possible(parents):
    with pytest.raises(ValueError, match=r'supercell.max_atoms.*50 are allowed.*about (\d+\.\d) Å') as error:
        wide_supercell(parents['fcc'], 13.0, 50)
    possible = float(str(error.value).rpartition('about ')[2].split()[0])
    assert len(wide_supercell(parents['fcc'], possible - 0.1, 50)) <= 50
    with pytest.raises(ValueError, match='not even the parent of 4 atoms'):
        wide_supercell(parents['fcc'], 13.0, 3)


def test_the_section(parents):
    assert len(enlarge(parents['fcc'], Supercell(), 6.0)) == 4
    assert (widths(enlarge(parents['fcc'], Supercell(mode='wide'), 5.0)) > 10).all()
    assert widths(enlarge(parents['fcc'], Supercell(mode='wide', width=5.0), None)).min() > 5
    with pytest.raises(ValueError, match=r'supercell.width'):
        enlarge(parents['fcc'], Supercell(mode='wide'), None)
