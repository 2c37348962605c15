"""Which environments of a snapshot are worth a cell of their own, and the atoms around a point of a large cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from ..checks.supercell import perpendicular_widths

#: Å: environments whose sorted distances from their centres differ by less than this everywhere are the same.
SAME_TOLERANCE = 0.02
#: Environments are compared within so many core radii.
COMPARED_RADII = 1.25


@dataclass(frozen=True)
class Region:
    """The atoms of a frame around a point, periodic images included.

    :param positions: (m, 3) in Å relative to the point.
    :param numbers: (m,) atomic numbers. :param index: (m,) in the frame.
    :param reach: Å, radius within which it is complete.
    """

    positions: np.ndarray
    numbers: np.ndarray
    index: np.ndarray
    reach: float

    @cached_property
    def trees(self) -> dict[int, tuple[cKDTree, np.ndarray]]:
        """Per atomic number: tree of its atoms, and which they are."""
        found = {int(number): np.flatnonzero(self.numbers == number) for number in np.unique(self.numbers)}
        return {number: (cKDTree(self.positions[rows]), rows) for number, rows in found.items()}

    @cached_property
    def tree(self) -> cKDTree:
        """Tree of all atoms."""
        return cKDTree(self.positions)

    def rotated(self, axes: np.ndarray) -> Region:
        """The same seen along other axes (3, 3), orthonormal rows."""
        return replace(self, positions=self.positions @ axes.T)

    def nearest(self, points: np.ndarray, numbers: np.ndarray, limit: float) -> np.ndarray:
        """Distances (k,) from points to the nearest atom of the same species; `limit` (Å) where there is none."""
        if len(self.trees) == 1:
            tree, _ = next(iter(self.trees.values()))
            return np.minimum(tree.query(points, distance_upper_bound=limit)[0], limit)
        found = np.full(len(points), limit)
        for number, (tree, _) in self.trees.items():
            rows = np.flatnonzero(numbers == number)
            if len(rows):
                found[rows] = np.minimum(tree.query(points[rows], distance_upper_bound=limit)[0], limit)
        return found


def local_region(atoms: Atoms, centre: np.ndarray, reach: float) -> Region:
    """Return the atoms within `reach` (Å) of a point (3,), with images along periodic axes; O(n)."""
    cell = atoms.cell.complete().array
    widths = perpendicular_widths(cell)
    scaled = (atoms.positions - centre) @ np.linalg.inv(cell)
    scaled[:, atoms.pbc] -= np.rint(scaled[:, atoms.pbc])
    extent = reach / widths
    counts = np.where(atoms.pbc, np.ceil(extent - 0.5), 0).astype(int)
    positions, indices = [], []
    # one axis after the other: most images of a large cell are ruled out by the first
    near = [
        {step: np.abs(scaled[:, axis] + step) <= extent[axis] for step in range(-counts[axis], counts[axis] + 1)}
        for axis in range(3)
    ]
    for shift in product(*near):
        rows = np.flatnonzero(near[0][shift[0]] & near[1][shift[1]] & near[2][shift[2]])
        if len(rows):
            points = (scaled[rows] + np.array(shift)) @ cell
            inside = np.einsum('ij,ij->i', points, points) <= reach**2
            positions.append(points[inside])
            indices.append(rows[inside])
    index = np.concatenate(indices)
    return Region(np.concatenate(positions), atoms.numbers[index], index, reach)


def find_environments(
    atoms: Atoms,
    *,
    centers: Sequence[int] | None = None,
    gamma: np.ndarray | None = None,
    threshold: float = 2.0,
    core_radius: float = 4.0,
    maximum: int | None = None,
) -> list[int]:
    """Return the central atoms of the environments of a snapshot, the most extrapolating first.

    Uncertain atoms closer than the core radius to a centre belong to its environment; one that looks like an earlier
    one is dropped.

    :param centers: atoms to take instead of the uncertain ones, the most important first.
    :param gamma: extrapolation grade (n,). :param threshold: an atom above it is uncertain.
    :param maximum: number of environments.
    :raises ValueError: if neither centres nor gamma are given, or they do not fit the frame.
    """
    order = _uncertain(atoms, centers, gamma, threshold)
    chosen: list[int] = []
    seen: list[dict[int, np.ndarray]] = []
    left = np.ones(len(order), dtype=bool)
    cell = atoms.cell.complete().array
    for place, atom in enumerate(order):
        if maximum is not None and len(chosen) >= maximum:
            break
        if not left[place]:
            continue
        left[place:] &= ~_closer(atoms.positions[order[place:]] - atoms.positions[atom], cell, atoms.pbc, core_radius)
        look = _look(local_region(atoms, atoms.positions[atom], COMPARED_RADII * core_radius))
        if any(_alike(look, other) for other in seen):
            continue
        seen.append(look)
        chosen.append(int(atom))
    return chosen


def _uncertain(atoms: Atoms, centers: Sequence[int] | None, gamma: np.ndarray | None, threshold: float) -> np.ndarray:
    if (centers is None) == (gamma is None):
        raise ValueError('what to embed is said by the indices of central atoms or by gamma of every atom: give one')
    if centers is not None:
        order = np.asarray(centers)
        if order.ndim != 1 or not len(order) or order.dtype.kind not in 'iu':
            raise ValueError(f'centers is {centers!r}: give a list of indices of atoms, not empty')
        if order.min() < -len(atoms) or order.max() >= len(atoms):
            raise ValueError(f'centers names atom {order.max()}, but the frame has {len(atoms)} atoms')
        return order % len(atoms)
    grades = np.asarray(gamma, dtype=float)
    if grades.shape != (len(atoms),):
        raise ValueError(f'gamma has shape {grades.shape}, but the frame has {len(atoms)} atoms: give one per atom')
    rows = np.flatnonzero(grades > threshold)
    return rows[np.argsort(-grades[rows], kind='stable')]


def _closer(difference: np.ndarray, cell: np.ndarray, pbc: np.ndarray, radius: float) -> np.ndarray:
    scaled = difference @ np.linalg.inv(cell)
    scaled[:, pbc] -= np.rint(scaled[:, pbc])
    return np.linalg.norm(scaled @ cell, axis=1) < radius


def _look(region: Region) -> dict[int, np.ndarray]:
    """Sorted distances per species: the same however an environment is turned."""
    distance = np.linalg.norm(region.positions, axis=1)
    look = {int(number): np.sort(distance[region.numbers == number]) for number in np.unique(region.numbers)}
    look[0] = region.numbers[distance.argmin()][None].astype(float)
    return look


def _alike(one: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> bool:
    if {key: len(value) for key, value in one.items()} != {key: len(value) for key, value in other.items()}:
        return False
    return all(np.abs(one[key] - other[key]).max() < SAME_TOLERANCE for key in one)
