"""Tests of the electrostatics of slabs and molecules."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule

from aiida_pyacemaker.atomistics.labelling.dipole import DENSITY_TAIL, is_symmetric, isolation_parameters, sawtooth


@pytest.fixture
def slab() -> Atoms:
    """Three layers of aluminium."""
    atoms = fcc111('Al', (1, 1, 3), vacuum=6.0)
    atoms.pbc = True
    return atoms


@pytest.fixture
def covered(slab) -> Atoms:
    """The same with hydrogen on one side."""
    add_adsorbate(slab, 'H', 1.0, 'fcc')
    return slab


def permuted(atoms: Atoms, order: list[int]) -> Atoms:
    """The same frame with other names of the axes."""
    cell = atoms.cell.array[order][:, order]
    return Atoms(atoms.numbers, atoms.positions[:, order], cell=cell, pbc=True)


def test_symmetric_slab(slab):
    """A slab with equal faces needs no correction, wherever it lies in the cell."""
    slab.positions += [0.3, 0.1, 4.0]
    slab.wrap()
    assert is_symmetric(slab, 2)
    assert isolation_parameters(slab) == {}
    # equal faces turned by a rotation about an axis in the plane rather than by an inversion
    hcp = fcc111('Al', (1, 1, 2), vacuum=6.0)
    hcp.pbc = True
    assert isolation_parameters(hcp) == {}


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_asymmetric_slab(covered, axis):
    """A slab with two faces is corrected along its vacuum; the jump lies in it, clear of the atoms."""
    atoms = permuted(covered, {0: [2, 0, 1], 1: [1, 2, 0], 2: [0, 1, 2]}[axis])
    atoms.positions += 0.37 * atoms.cell[axis]
    atoms.wrap()
    found = isolation_parameters(atoms)
    assert found['CONTROL'] == {'tefield': True, 'dipfield': True}
    system = found['SYSTEM']
    assert (system['edir'], system['eamp']) == (axis + 1, 0.0)
    edges = (system['emaxpos'], system['emaxpos'] + system['eopreg'])
    heights = atoms.get_scaled_positions()[:, axis]
    for edge in edges:
        distance = np.abs((heights - edge + 0.5) % 1.0 - 0.5).min() * atoms.cell.lengths()[axis]
        assert distance > DENSITY_TAIL - 1e-6
    assert isolation_parameters(atoms, dipole_correction=False) == {}


def test_rattled_slab(slab):
    """A slab whose faces are no longer equal has a dipole."""
    slab.rattle(0.05, seed=1)
    assert 'dipfield' in isolation_parameters(slab)['CONTROL']


def test_thin_vacuum(covered):
    """Where the vacuum is too thin for the jump there is none."""
    covered.center(vacuum=3.0, axis=2)
    assert sawtooth(covered, 2) is None
    assert isolation_parameters(covered) == {}


def test_others():
    """A large box of a molecule is isolated; a small one, a free atom and bulk are left as they are."""
    water = molecule('H2O')
    for vacuum, expected in ((7.5, {'SYSTEM': {'assume_isolated': 'mt'}}), (4.0, {})):
        water.center(vacuum=vacuum)
        water.pbc = True
        assert isolation_parameters(water) == expected
    assert isolation_parameters(Atoms('Al', cell=[12] * 3)) == {}
    assert isolation_parameters(Atoms('Al', cell=[16] * 3, pbc=True)) == {}
    assert isolation_parameters(bulk('Al')) == {}
