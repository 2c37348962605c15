"""Tests of k-point meshes: the same crystal has the same k-points in whatever cell it is given."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from ase.geometry import minkowski_reduce

from aiida_pyacemaker.atomistics.labelling.kpoints import NUMBERS, is_gamma_only, kpoints_mesh

DISTANCE = 0.2
SHEARS = ([[1, 0, 0], [1, 1, 0], [2, 0, 1]], [[1, 0, 0], [-2, 1, 0], [3, 1, 1]])


def points(atoms: Atoms, mesh: tuple[int, int, int], primitive: Atoms) -> set[tuple[float, ...]]:
    """The k-points of a mesh and all their images in the Brillouin zone of the primitive cell, in its units."""
    fractions = np.array(list(product(*(np.arange(n) / n for n in mesh))))
    folds = np.array(list(product(range(-4, 5), repeat=3)))
    cartesian = ((fractions[:, None] + folds).reshape(-1, 3)) @ np.linalg.inv(atoms.cell.array).T
    scaled = np.round(cartesian @ primitive.cell.array.T, 6) % 1.0
    return set(map(tuple, np.round(scaled, 5) % 1.0))


@pytest.mark.parametrize('distance', [0.2, 0.3, 0.42])
@pytest.mark.parametrize('crystal', ['Al', 'Fe', 'Si'])
def test_same_points_in_repeats_and_sheared_bases(crystal, distance):
    """Doubled cells and other bases of a lattice hold exactly the k-points of the primitive cell."""
    primitive = bulk(crystal)
    mesh = kpoints_mesh(primitive, distance)
    for repeat in ((2, 1, 1), (2, 2, 1), (2, 2, 2)):
        expected = tuple(n // r for n, r in zip(mesh, repeat, strict=True))
        assert kpoints_mesh(primitive.repeat(repeat), distance) == expected
    for shear in SHEARS:
        assert kpoints_mesh(make_supercell(primitive, shear), distance) == mesh


def test_folding_is_exact():
    """What the meshes say of a doubled and of a sheared cell holds for the k-points themselves."""
    primitive = bulk('Al', a=4.05)
    cells = [primitive.repeat((2, 1, 1)), make_supercell(primitive, SHEARS[0])]
    expected = points(primitive, kpoints_mesh(primitive, 0.8), primitive)
    assert len(expected) == 4**3
    for cell in cells:
        assert points(cell, kpoints_mesh(cell, 0.8), primitive) == expected


def test_distance_is_kept():
    """No two neighbouring points along a reciprocal vector of a compact cell are farther apart than asked."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        cell = np.diag(rng.uniform(2, 4, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
        mesh = kpoints_mesh(Atoms('Al', cell=cell, pbc=True).repeat(rng.integers(1, 5, 3)), DISTANCE)
        assert set(mesh) <= set(NUMBERS)
        # any three neighbours that span the lattice of k-points
        atoms = Atoms('Al', cell=cell, pbc=True)
        mesh = kpoints_mesh(atoms, DISTANCE)
        steps = minkowski_reduce(2 * np.pi * np.linalg.inv(cell).T / np.array(mesh)[:, None])[0]
        assert np.all(np.linalg.norm(steps, axis=1) <= DISTANCE * (1 + 1e-6))


def test_skewed_basis_costs_little():
    """A skewed basis that the mesh of the compact cell cannot be written on has not many more points."""
    cell = bulk('Al', cubic=True).repeat((1, 1, 3))
    cell.rattle(0.1, seed=0)
    compact = np.prod(kpoints_mesh(cell, DISTANCE))
    for shear in (3, 5, 7):
        skewed = make_supercell(cell, [[1, 0, 0], [0, 1, 0], [shear, shear, 1]])
        mesh = kpoints_mesh(skewed, DISTANCE)
        assert compact <= np.prod(mesh) <= 2 * compact


def test_vacuum():
    """There is one point along vacuum, wherever it lies, and in a box; pores and layers in contact are no vacuum."""
    slab = fcc111('Al', (1, 1, 3), vacuum=7.0)
    slab.pbc = True
    expected = kpoints_mesh(slab, DISTANCE)
    assert expected[:2] == (16, 16) and expected[2] == 1
    told = slab.copy()
    told.info['vacuum_axes'] = [2]
    assert kpoints_mesh(told, DISTANCE) == expected
    turned = Atoms(slab.numbers, slab.positions[:, [2, 0, 1]], cell=slab.cell.array[[2, 0, 1]][:, [2, 0, 1]], pbc=True)
    assert kpoints_mesh(turned, DISTANCE) == (1, 16, 16)
    # vacuum along a skewed axis
    skewed = slab.copy()
    skewed.cell[2] += 3 * skewed.cell[0]
    assert kpoints_mesh(skewed, DISTANCE) == expected
    film = slab.copy()
    film.pbc = [True, True, False]
    assert kpoints_mesh(film, DISTANCE) == expected

    box = molecule('H2O', vacuum=5.0)
    box.pbc = True
    assert is_gamma_only(kpoints_mesh(box, DISTANCE))
    assert is_gamma_only(kpoints_mesh(Atoms('Al', cell=[3] * 3), DISTANCE))
    graphite = Atoms(
        'C2', scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0]], cell=[2.46, 2.46, 3.35, 90, 90, 120], pbc=True
    )
    assert kpoints_mesh(graphite, DISTANCE)[2] == 12


def test_bad_distance():
    """A distance that is none is named."""
    with pytest.raises(ValueError, match=r'label\.kpoints_distance'):
        kpoints_mesh(bulk('Al'), 0.0)


def test_given_mesh():
    """Frames that are compared with each other may bring their mesh."""
    atoms = bulk('Al', a=4.05)
    atoms.info['kpoints_mesh'] = [7, 7, 5]
    assert kpoints_mesh(atoms, 0.3) == (7, 7, 5)
