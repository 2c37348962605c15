"""Pairs across borders are those of ASE's list of neighbours; networks have the rank of what they are."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.checks.charge import is_neutral, total_charge
from aiida_pyacemaker.atomistics.checks.pairs import lattice_basis, networks, periodic_pairs, rank_of, reduced_cell
from aiida_pyacemaker.atomistics.checks.supercell import perpendicular_widths, smallest_width

CELLS = {
    'one atom': bulk('Cu'),
    'cubic': bulk('Si', cubic=True),
    'skewed': make_supercell(bulk('Cu'), [[1, 0, 0], [4, 1, 0], [-3, 5, 2]]),
    'outside the cell': Atoms('Cu3', [[-7, 3, 11], [25, 0, 0], [1, 1, -30]], cell=[4, 5, 6], pbc=True),
    'mixed borders': Atoms('Cu3', [[0, 0, 0], [3, 3, 3], [1, 2, 9]], cell=[4, 5, 6], pbc=[True, False, True]),
}


@pytest.mark.parametrize('cutoff', [2.7, 6.5])
@pytest.mark.parametrize('name', CELLS)
def test_pairs_are_those_of_ase(name: str, cutoff: float):
    atoms = CELLS[name].copy()
    atoms.rattle(0.05, seed=1)
    first, second, shift, distance = periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    vectors = atoms.positions[second] + shift @ atoms.cell.array - atoms.positions[first]
    assert np.allclose(np.linalg.norm(vectors, axis=1), distance)
    both = np.concatenate([np.column_stack([first, second, shift]), np.column_stack([second, first, -shift])])
    expected = np.column_stack(neighbor_list('ijS', atoms, cutoff))
    # each pair once from each of its atoms, as in the list
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, expected.tolist()))


def test_rank_and_lattice_of_networks():
    """A chain that closes after two cells, a sheet, an island, and an atom joined to its own image."""
    first = np.array([0, 1, 2, 2, 3, 5])
    second = np.array([1, 0, 2, 2, 4, 5])
    shift = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, -1], [5, 5, 5], [0, 0, -2]])
    labels, windings = networks(7, first, second, shift)
    assert len(set(labels.tolist())) == 5 and labels[0] == labels[1] and labels[3] == labels[4]
    assert [rank_of(windings.get(int(labels[k]), np.empty((0, 3)))) for k in (0, 2, 3, 5, 6)] == [1, 2, 0, 1, 0]
    assert lattice_basis(windings[int(labels[0])]).tolist() == [[2, 0, 0]]
    assert lattice_basis(windings[int(labels[5])]).tolist() == [[0, 0, 2]]


def test_networks_do_not_depend_on_where_atoms_are_wrapped():
    atoms = bulk('Cu', cubic=True).repeat(2)
    rng = np.random.default_rng(0)
    atoms.positions += rng.integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    first, second, shift, _ = periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 3.0)
    labels, windings = networks(len(atoms), first, second, shift)
    assert set(labels.tolist()) == {0} and abs(np.linalg.det(lattice_basis(windings[0]))) == pytest.approx(1)


def test_reduced_cell_is_of_the_same_lattice():
    cell = make_supercell(bulk('Cu'), [[1, 0, 0], [7, 1, 0], [-3, 5, 1]]).cell.array
    reduced, operation = reduced_cell(cell, np.ones(3, dtype=bool))
    assert np.allclose(operation @ cell, reduced) and round(abs(np.linalg.det(operation))) == 1
    assert np.linalg.norm(reduced, axis=1).max() < 3
    good = np.diag([4.0, 5.0, 6.0])
    assert reduced_cell(good, np.ones(3, dtype=bool))[0] is good


def test_perpendicular_widths():
    cells = np.array([np.diag([3.0, 4, 5]), [[3, 0, 0], [3, 3, 0], [0, 0, 5]]])
    assert np.allclose(perpendicular_widths(cells), [[3, 4, 5], [3 / 2**0.5, 3, 5]])
    slab = Atoms('Cu', cell=[3, 4, 2], pbc=[True, True, False])
    assert smallest_width(slab) == pytest.approx(3)
    slab.pbc = False
    assert smallest_width(slab) == np.inf


def test_charge():
    atoms = Atoms('Fe3O4')
    assert total_charge(atoms) is None and is_neutral(atoms)
    atoms.set_array('oxidation_states', np.array([8 / 3] * 3 + [-2.0] * 4).round(5))
    assert is_neutral(atoms)
    atoms.arrays['oxidation_states'][3] = -1
    assert not is_neutral(atoms) and total_charge(atoms) == pytest.approx(1, abs=1e-3)
