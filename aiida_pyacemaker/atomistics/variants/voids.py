"""Voids of a crystal: the points farthest from all atoms, as vertices of the Voronoi tessellation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from ..core.symmetry import call_spglib
from .common import vacuum_axes

#: Points closer than this (Å) are one void.
SAME_TOLERANCE = 0.05
#: A void must be this far (Å) outside the covalent radius of the nearest atom.
MIN_CLEARANCE = 0.1


@dataclass(frozen=True)
class Void:
    """Symmetry-equivalent voids.

    :param radius: distance (Å) of the nearest atom.
    :param clearance: distance (Å) to the surface of the nearest atom, a sphere of its covalent radius.
    :param positions: places in the cell, shape (n, 3), Å.
    """

    radius: float
    clearance: float
    positions: np.ndarray


def find_voids(parent: Atoms) -> list[Void]:
    """Return the voids of the parent, inequivalent ones, the one with the largest clearance first.

    Periodic along all axes without vacuum; in a slab only voids between its atoms count.
    """
    vertices, radii, clearances = _vertices(parent)
    groups = _equivalent(parent, vertices)
    voids = [
        Void(float(radii[group[0]]), float(clearances[group[0]]), vertices[group])
        for group in (np.flatnonzero(groups == group) for group in np.unique(groups))
    ]
    voids = [void for void in voids if void.clearance > MIN_CLEARANCE]
    # the largest first; of equal ones the one nearest the origin, so that the order never depends on rounding
    return sorted(
        voids, key=lambda void: (-round(void.clearance, 3), -len(void.positions), *void.positions[0].round(3))
    )


def _vertices(parent: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voronoi vertices in the cell (n, 3) with the distances of the nearest atom, and of its surface (n,)."""
    from scipy.spatial import QhullError, Voronoi, cKDTree

    images, numbers = _images(parent)
    try:
        found = Voronoi(images).vertices
    except QhullError:  # all atoms in a plane: a single layer has no voids inside
        return np.empty((0, 3)), np.empty(0), np.empty(0)
    scaled = found @ np.linalg.inv(parent.cell.array)
    vacuum = vacuum_axes(parent)
    low, high = np.zeros(3), np.ones(3)
    if vacuum:
        own = images[: len(parent)] @ np.linalg.inv(parent.cell.array)
        low[vacuum], high[vacuum] = own.min(axis=0)[vacuum] + 1e-6, own.max(axis=0)[vacuum] - 1e-6
    # of the vertices on a border of the cell those at 0 are kept, those at 1 are their images
    inside = ((scaled > low - 1e-5) & (scaled < high - 1e-5)).all(axis=1)
    vertices = _distinct(found[inside], parent.cell.array)
    if len(vertices) == 0:
        return np.empty((0, 3)), np.empty(0), np.empty(0)
    distances, which = cKDTree(images).query(vertices, k=min(24, len(images)))
    near = np.asarray(distances)
    surface = (near - covalent_radii[numbers[which]]).min(axis=1)
    return vertices, near[:, 0], surface


def _images(parent: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Positions and numbers of the atoms and their images around the cell; first the atoms of the cell itself.

    So far that every vertex inside the cell is surrounded: at least two cells, and the diagonal of small ones.
    """
    vacuum = vacuum_axes(parent)
    cell = parent.cell.array
    widths = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    # an empty sphere is no wider than the diagonal of a cell
    reach = min(float(np.linalg.norm(np.abs(cell).sum(axis=0))), 12.0)
    layers = np.where(np.isin(np.arange(3), vacuum), 0, np.ceil(reach / widths)).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in layers), indexing='ij'), axis=-1).reshape(-1, 3)
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind='stable')]  # zero first
    scaled = parent.get_scaled_positions(wrap=False)
    periodic = [axis for axis in range(3) if axis not in vacuum]
    scaled[:, periodic] %= 1.0
    for axis in vacuum:  # a slab that crosses the border of its cell is made whole
        scaled[:, axis] = _whole(scaled[:, axis] % 1.0)
    images = ((scaled[None] + shifts[:, None]) @ cell).reshape(-1, 3)
    centre = cell.sum(axis=0) / 2
    near = np.linalg.norm(images - centre, axis=1) < np.linalg.norm(np.abs(cell).sum(axis=0)) / 2 + reach
    near[: len(parent)] = True
    return images[near], np.tile(parent.numbers, len(shifts))[near]


def _whole(coordinates: np.ndarray) -> np.ndarray:
    """Shift fractional coordinates so that the widest gap is at the border."""
    order = np.sort(coordinates)
    gaps = np.diff(np.append(order, order[0] + 1))
    start = order[(int(np.argmax(gaps)) + 1) % len(order)]
    return (coordinates - start) % 1.0 + start


def _distinct(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Points without those that are the same within `SAME_TOLERANCE` but for a lattice vector, in a fixed order."""
    if len(points) == 0:
        return points
    points = points[np.lexsort(np.round(points, 3).T)]
    kept: list[int] = []
    inverse = np.linalg.inv(cell)
    for index, point in enumerate(points):
        difference = (points[kept] - point) @ inverse
        difference -= np.round(difference)
        if not kept or np.linalg.norm(difference @ cell, axis=1).min() > SAME_TOLERANCE:
            kept.append(index)
    return points[kept]


def _equivalent(parent: Atoms, points: np.ndarray) -> np.ndarray:
    """Group number of every point, shape (n,): equal for points that a symmetry of the crystal maps onto each other."""
    import spglib

    if len(points) == 0:
        return np.empty(0, dtype=int)
    cell = parent.cell.array
    symmetry = call_spglib(spglib.get_symmetry, (cell, parent.get_scaled_positions(), parent.numbers), symprec=0.01)
    if symmetry is None:
        return np.arange(len(points))
    scaled = points @ np.linalg.inv(cell)
    groups = np.full(len(points), -1)
    for index in range(len(points)):
        if groups[index] >= 0:
            continue
        images = np.einsum('kij,j->ki', symmetry['rotations'], scaled[index]) + symmetry['translations']
        differences = scaled[None] - images[:, None]
        differences -= np.round(differences)
        same = (np.linalg.norm(differences @ cell, axis=2) < 2 * SAME_TOLERANCE).any(axis=0) & (groups < 0)
        groups[same] = index
        groups[index] = index
    return groups
