"""Voids against what is known of lattices, and against a grid."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene

from aiida_pyacemaker.atomistics.variants.voids import find_voids


def nearest(atoms: Atoms, points: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest atom, images included."""
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing='ij'), axis=-1).reshape(-1, 3) @ atoms.cell.array
    images = (atoms.positions[None] + shifts[:, None]).reshape(-1, 3)
    return np.linalg.norm(points[:, None] - images[None], axis=2).min(axis=1)


@pytest.mark.parametrize(
    ('atoms', 'expected'),
    [
        # octahedral and tetrahedral: radius in units of a, number per cell
        (bulk('Al', cubic=True), [(0.5, 4), (np.sqrt(3) / 4, 8)]),
        (bulk('Al'), [(0.5, 1), (np.sqrt(3) / 4, 2)]),
        (bulk('Fe', a=2.87, cubic=True), [(np.sqrt(5) / 4, 12)]),
        # hexagonal and tetrahedral of the diamond lattice
        (bulk('Si', cubic=True), [(np.sqrt(3) / 4, 8), (np.sqrt(11) / 8, 16)]),
    ],
)
def test_voids_of_the_lattices(atoms, expected):
    voids = find_voids(atoms)
    lattice = atoms.cell.lengths()[0] * (np.sqrt(2) if len(atoms) == 1 else 1)
    assert [(round(void.radius / lattice, 4), len(void.positions)) for void in voids] == [
        (round(radius, 4), number) for radius, number in expected
    ]
    for void in voids:
        assert np.allclose(nearest(atoms, void.positions), void.radius)


def test_the_largest_void_is_the_point_farthest_from_all_atoms(parents):
    atoms = parents['hcp'].copy()
    atoms.set_cell(atoms.cell.array @ [[1.05, 0.1, 0], [0, 0.96, 0.2], [0, 0, 1.03]], scale_atoms=True)
    grid = np.stack(np.meshgrid(*[np.arange(0, 1, 1 / 24)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    farthest = nearest(atoms, grid @ atoms.cell.array).max()
    largest = max(void.radius for void in find_voids(atoms))
    assert farthest <= largest + 1e-6 and largest - farthest < 0.12


def test_ions_have_their_size(parents):
    (void,) = find_voids(parents['rocksalt'])
    assert len(void.positions) == 8 and np.isclose(void.radius, np.sqrt(3) / 4 * 5.64)
    assert np.isclose(void.clearance, void.radius - 1.66)  # sodium is the larger one


def test_vacuum_is_no_void(parents):
    slab = parents['slab']
    for shift in (0, 9):  # across the border of the cell, too
        slab.positions[:, 2] += shift
        slab.wrap()
        voids = find_voids(slab)
        assert voids and max(void.radius for void in voids) < 2.1
    slab = parents['slab'].repeat((3, 1, 1))
    assert np.isclose(max(void.radius for void in find_voids(slab)), 2.025, atol=0.01)


def test_layers(parents):
    layer = graphene(vacuum=8)
    layer.pbc = True
    layer.info['vacuum_axes'] = [2]
    assert find_voids(layer) == []
    graphite = graphene()
    graphite.cell[2, 2] = 3.35
    graphite.pbc = True
    assert find_voids(graphite)[0].radius > 1.67
