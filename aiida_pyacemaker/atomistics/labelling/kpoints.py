"""k-point meshes from a distance, such that the same crystal has the same energy in whatever cell it is given.

A mesh of :math:`n_1 n_2 n_3` points that holds Gamma is exact for Bloch functions that repeat after the lattice vectors
:math:`n_i a_i`. Two cells of one crystal have the same energy per atom where these *repeats* are the same lattice, for
then they have the same k-points. Elsewhere they differ by the errors of the meshes, which for a metal are several
meV/atom at any affordable density. From this follows:

- Meshes always hold Gamma, and their numbers are 1, 2, 3, 4, 6, 8, 12, 16, 24...: a cell and its double have the same
  k-points to the last, since :math:`N(x / 2) = N(x) / 2` for :math:`x > 3`. The price is up to half as many
  points again along an axis for small cells; large ones, where a calculation costs, have the numbers of any other way.
- Where the mesh of the primitive cell of a crystal can be written on the given cell, it is: the choice of the basis
  does not matter then. It cannot be where the given cell is of another shape, as the cubic cell of fcc is.
- Elsewhere the mesh is made for the given cell; for a skewed one, whose long reciprocal vectors would get many more
  points than those of a compact cell of the same lattice, it is the coarsest as dense as that of the compact one.
- Only what is seen of the reciprocal vectors along endless matter counts: vacuum has no bands to sample.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce

from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum

from ..core.errors import InputError
from ..core.meshes import NUMBERS, TOLERANCE, mesh_numbers
from ..core.symmetry import call_spglib

Mesh = tuple[int, int, int]

#: Å; within it a cell is a repeat of a smaller one.
SYMMETRY_TOLERANCE = 0.01
#: Of a repeat; multiples of cell vectors that are nearer to one are one.
CLOSURE_TOLERANCE = 1e-3
#: Reciprocal vectors whose product is larger than this many times that of the shortest ones are of a skewed cell.
MAX_SKEWNESS = 1.35
GAMMA: Mesh = (1, 1, 1)


def kpoints_mesh(atoms: Atoms, distance: float) -> Mesh:
    """Return the mesh, unshifted, on the reciprocal vectors of the cell of a frame.

    :param atoms: the frame; its info `kpoints_mesh` is taken where it is there: frames whose energies are compared with
        each other, as a crystal and the same one strained, need the same k-points. Its info `vacuum_axes` is believed
        where it names one or two axes, otherwise vacuum is sought. Axes that are not periodic count as vacuum.
    :param distance: largest distance between k-points in 1/Å, with the factor of 2 pi, as in AiiDA.
    :raises InputError: if the distance is not positive.
    """
    if not distance > 0:
        raise InputError('label.kpoints_distance', f'must be positive, got {distance}')
    if atoms.info.get('kpoints_mesh') is not None:
        return tuple(int(number) for number in atoms.info['kpoints_mesh'])
    cell = complete_cell(atoms.cell.array)
    endless = endless_vectors(atoms)
    if len(endless) == 0:
        return GAMMA
    # rows span what is endless; the projector on it
    rows = np.linalg.svd(endless @ cell, full_matrices=False)[2]
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T @ rows.T @ rows
    mesh = _mesh_of_crystal(atoms, cell, distance) if len(endless) == 3 else None
    return mesh or _mesh_of_cell(reciprocal, distance, rank=len(endless))


def endless_vectors(atoms: Atoms) -> np.ndarray:
    """Return lattice vectors (r, 3), in units of the cell's, along which matter is endless: all three for bulk."""
    axes = [int(axis) for axis in atoms.info.get('vacuum_axes', [])]
    axes += [axis for axis in np.flatnonzero(~atoms.pbc).tolist() if axis not in axes]
    if atoms.pbc.any() and len(axes) not in (1, 2):
        # Not told, or told of vacuum along all axes: a molecule, a tilted slab or a porous crystal.
        vacuum = detect_vacuum(atoms)
        if vacuum.kind in ('bulk', 'porous'):
            return np.eye(3, dtype=int)
        return vacuum.periodic
    return np.delete(np.eye(3, dtype=int), axes, axis=0)


def is_gamma_only(mesh: Mesh) -> bool:
    """Return whether Gamma is the only point: wave functions are real there, which halves the cost and is exact."""
    return tuple(mesh) == GAMMA


def _mesh_of_crystal(atoms: Atoms, cell: np.ndarray, distance: float) -> Mesh | None:
    """Return the mesh with the k-points of the primitive cell of a crystal, `None` where no mesh on the cell has them.

    :param cell: (3, 3) in Å.
    """
    found = call_spglib(
        spglib.find_primitive, (cell, atoms.get_scaled_positions(), atoms.numbers), symprec=SYMMETRY_TOLERANCE
    )
    primitive = cell if found is None else found[0]
    reciprocal = np.asarray(minkowski_reduce(2 * np.pi * np.linalg.inv(primitive).T)[0])
    mesh = np.array(mesh_numbers(reciprocal, distance))
    repeats = mesh[:, None] * 2 * np.pi * np.linalg.inv(reciprocal).T
    # each vector of the cell has to be taken so often that it becomes one of the repeats
    multiples = np.arange(1, mesh.max() + 1)[:, None, None] * (cell @ np.linalg.inv(repeats))
    closed = (np.abs(multiples - np.round(multiples)) < CLOSURE_TOLERANCE).all(axis=2)
    if not closed.any(axis=0).all():
        return None
    numbers = closed.argmax(axis=0) + 1
    same = np.isclose(numbers.prod() * abs(np.linalg.det(cell)), abs(np.linalg.det(repeats)))
    return tuple(numbers.tolist()) if same else None


def _mesh_of_cell(reciprocal: np.ndarray, distance: float, rank: int) -> Mesh:
    """Return the mesh for reciprocal vectors (3, 3) in 1/Å that span a space of a rank."""
    direct = mesh_numbers(reciprocal, distance)
    active = np.linalg.norm(reciprocal, axis=1) > 1e-6 * np.abs(reciprocal).max()
    if active.sum() != rank:
        return direct
    reduced = _reduced(reciprocal, active)
    lengths, shortest = (np.linalg.norm(vectors[active], axis=1) for vectors in (reciprocal, reduced))
    if lengths.prod() <= MAX_SKEWNESS * shortest.prod():
        return direct
    return _coarsest(reciprocal, distance, active, int(np.prod(mesh_numbers(reduced, distance))), direct) or direct


def _coarsest(reciprocal: np.ndarray, distance: float, active: np.ndarray, least: int, direct: Mesh) -> Mesh | None:
    """Return the mesh of fewest points, not fewer than `least`, no two neighbours of which are too far apart."""
    choices = [[n for n in NUMBERS if n <= limit] for limit in direct]
    meshes = [mesh for mesh in product(*choices) if least <= np.prod(mesh) < np.prod(direct)]
    for points in sorted({int(np.prod(mesh)) for mesh in meshes}):
        spacings = {mesh: _spacing(reciprocal, mesh, active) for mesh in meshes if np.prod(mesh) == points}
        best = min(spacings, key=lambda mesh: (round(spacings[mesh] / distance, 6), mesh))
        if spacings[best] <= distance * (1 + TOLERANCE):
            return best
    return None


def _spacing(reciprocal: np.ndarray, mesh: Mesh, active: np.ndarray) -> float:
    """Return the longest vector (1/Å) of the reduced basis of the lattice of k-points."""
    steps = _reduced(reciprocal / np.asarray(mesh)[:, None], active)
    return float(np.linalg.norm(steps, axis=1).max())


def _reduced(vectors: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Return the shortest basis (3, 3) of the lattice of the active vectors; the others are zero."""
    filled = complete_cell(np.where(active[:, None], vectors, 0.0))
    reduced, _ = minkowski_reduce(filled, pbc=active)
    return np.where(active[:, None], np.asarray(reduced), 0.0)
