"""Is there vacuum in a cell, and of what kind? Decided by the free space between atoms, not by the shape of the cell.

Every atom is a ball of its covalent radius (at least `SMALLEST_RADIUS`). Two questions are asked:

1. *Is matter endless in all three directions?* Balls closer than `gap` belong to one network (the free space between
   them is too thin for a sphere of that diameter). The translations along closed paths of a periodic network form a
   lattice of rank 3 (bulk), 2 (slab), 1 (wire) or 0 (cluster); by duality a rank below 3 is the same as free space
   that percolates between the atoms. The test is exact: there is no grid, and neither the orientation of the slab nor
   the choice of the cell matters.
2. *Is there a hole in endless matter?* Where a sphere of diameter `void` fits between the balls, the cell is porous.
   The search starts from a grid of a spacing of about 1.5 Å with the distance to the nearest atom from a k-d tree.

Limits, to be known:

- The thresholds are lengths, and chosen for what is in between: the layers of graphite (3.35 Å, and up to about 4.2 Å),
  of other van der Waals crystals and the molecules of molecular crystals are 0.7 to 2.2 Å apart between covalent balls
  and count as in contact, as do crystals expanded by 30 % in volume. A vacuum counts from `gap` = 2.75 Å between
  covalent balls on, that is from 5.4 Å between the nuclei of copper surfaces, 4.3 Å for carbon, 6.8 Å for potassium,
  7.6 Å for caesium. Thinner is not found, and is hardly vacuum. One atom or molecule that bridges a vacuum at every
  lattice translation closes it: such a cell is endless.
- A vacancy, a divacancy, the hollow of C60 or the cage of sodalite are no void; a pore of zeolite X, of an opal or of a
  metal-organic framework is. A sphere of 8 Å between covalent balls is the border.
- A gas or a fluid under tension whose atoms lose contact is a `cluster` (or `wire`, `slab`): no bulk in any case.
- The free fraction is a sum over the grid points (about 500 at least), good to about 0.03.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial import cKDTree

from .pairs import add_images, lattice_basis, networks, periodic_pairs, rank_of, reduced_cell
from .supercell import perpendicular_widths

#: Å between covalent balls: free space of this thickness is vacuum.
MIN_GAP = 2.75
#: Å between covalent balls: a sphere of this diameter in endless matter makes it porous.
MIN_VOID_DIAMETER = 8.0
#: Å; hydrogen and helium reach further towards neighbours that they are not bonded to.
SMALLEST_RADIUS = 0.6
#: Å of free space put around a frame along axes that are not periodic.
FREE_SPACE = 10.0
#: Å; spacing of the grid of points.
SPACING = 1.5
#: Smallest number of points (small cells have a finer grid).
MIN_POINTS = 512
#: Points from which the largest sphere is sought.
START_POINTS = 200
KINDS = {0: 'cluster', 1: 'wire', 2: 'slab'}


@dataclass(frozen=True)
class Vacuum:
    """What the free space of a cell is like.

    :param kind: 'bulk', 'slab', 'wire', 'cluster' or 'porous'.
    :param directions: unit vectors (k, 3) along which vacuum separates matter: the normal of a slab, two vectors across
        a wire, three for a cluster; the axes along which pores are endless (k may be 0: closed voids); none for bulk.
    :param periodic: lattice vectors (r, 3), in units of the cell's, along which matter (of a porous cell: its pores) is
        endless.
    :param axes: cell axes along which vacuum lies, as in `info['vacuum_axes']`; three for a slab that is tilted.
    :param fraction: share of the volume that is farther than half the gap from every covalent ball.
    :param gap: Å; thickness of the vacuum of a slab, from nucleus to nucleus along the normal; else the diameter of the
        largest sphere that holds no nucleus; 0 for bulk, infinite where the frame is not periodic.
    """

    kind: str
    directions: np.ndarray = field(repr=False, default_factory=lambda: np.empty((0, 3)))
    periodic: np.ndarray = field(repr=False, default_factory=lambda: np.eye(3, dtype=int))
    axes: tuple[int, ...] = ()
    fraction: float = 0.0
    gap: float = 0.0

    def __bool__(self) -> bool:
        return self.kind != 'bulk'


def detect_vacuum(atoms: Atoms, gap: float = MIN_GAP, void: float = MIN_VOID_DIAMETER) -> Vacuum:
    """Return the kind of free space in a cell; see the module for the method and its limits.

    :param gap: Å between covalent balls from which on free space is vacuum.
    :param void: Å, diameter between covalent balls of a sphere that makes endless matter porous.
    :raises ValueError: without atoms, or if a position is not finite.
    """
    if not len(atoms) or not np.isfinite(atoms.positions).all():
        raise ValueError('vacuum can be sought only in a frame with atoms at finite positions')
    boxed = atoms if atoms.pbc.all() else _boxed(atoms)
    cell, radii = boxed.cell.array, ball_radii(boxed.numbers)
    windings = _matter(boxed, radii, gap)
    rank = rank_of(windings)
    space = _FreeSpace(boxed.positions, cell, radii, reach=void / 2)
    if rank == 3:
        return _holes(space, gap, void)
    basis = lattice_basis(windings)
    outside = tuple(k for k in range(3) if rank_of(np.vstack([basis, np.eye(3, dtype=int)[k]])) > rank)
    directions = _across(basis @ cell)
    if not atoms.pbc.all():
        thickness = np.inf
    elif rank == 2:
        thickness = _thickness(boxed.positions, cell, directions[0], basis)
    else:
        thickness = space.largest_sphere()
    return Vacuum(KINDS[rank], directions, basis, outside, space.fraction(gap / 2), thickness)


def vacuum_axes(atoms: Atoms) -> list[int]:
    """Cell axes along which vacuum lies; all three where there are pores, none for bulk."""
    vacuum = detect_vacuum(atoms)
    return [0, 1, 2] if vacuum.kind == 'porous' else list(vacuum.axes)


def ball_radii(numbers: np.ndarray) -> np.ndarray:
    """Radii (Å) of the balls that stand for atoms (Cordero et al., Dalton Trans. 2008, 2832, as tabulated in ASE)."""
    return np.maximum(covalent_radii[numbers], SMALLEST_RADIUS)


def _boxed(atoms: Atoms) -> Atoms:
    """The frame in a periodic box with a margin along the axes that were not periodic."""
    boxed = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    boxed.center(vacuum=FREE_SPACE, axis=tuple(np.flatnonzero(~atoms.pbc)))
    boxed.pbc = True
    return boxed


def _matter(atoms: Atoms, radii: np.ndarray, gap: float) -> np.ndarray:
    """Windings (k, 3) of the most extended network of balls that are closer than the gap."""
    first, second, shift, distance = periodic_pairs(
        atoms.positions, atoms.cell.array, np.ones(3, dtype=bool), 2 * radii.max() + gap
    )
    near = distance < radii[first] + radii[second] + gap
    _, windings = networks(len(atoms), first[near], second[near], shift[near])
    return max(windings.values(), key=rank_of, default=np.empty((0, 3), dtype=int))


def _across(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors perpendicular to the given ones (r, 3): (3 - r, 3)."""
    if len(vectors) == 2:
        normal = np.cross(*vectors)
        normal *= np.sign(normal[np.abs(normal).argmax()])
        return (normal / np.linalg.norm(normal))[None]
    if len(vectors) == 0:
        return np.eye(3)
    return np.linalg.svd(vectors)[2][len(vectors) :]


def _thickness(positions: np.ndarray, cell: np.ndarray, normal: np.ndarray, basis: np.ndarray) -> float:
    """Largest empty interval (Å) of the heights of the nuclei along a normal, periodic."""
    # the heights of all lattice vectors are multiples of this: volume over the area of the primitive face
    face = np.cross(*basis)
    steps = np.abs(face) // np.gcd.reduce(face)
    heights = np.abs(cell @ normal)
    nonzero = steps > 0
    period = float((heights[nonzero] / steps[nonzero])[0])
    height = np.sort((positions @ normal) % period)
    return float(np.diff(np.append(height, height[0] + period)).max())


class _FreeSpace:
    """Distances from points of a grid to the atoms of a periodic cell.

    :param reach: Å beyond the balls up to which distances are exact; farther ones are never less than it.
    """

    def __init__(self, positions: np.ndarray, cell: np.ndarray, radii: np.ndarray, reach: float) -> None:
        self.cell, self.operation = reduced_cell(cell, np.ones(3, dtype=bool))
        self.positions = positions
        lengths = np.linalg.norm(self.cell, axis=1)
        spacing = min(SPACING, (abs(np.linalg.det(self.cell)) / MIN_POINTS) ** (1 / 3))
        self.shape = np.maximum(np.ceil(lengths / spacing), 2).astype(int)
        steps = self.cell / self.shape[:, None]
        signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
        #: no point of space is farther than this from a point of the grid
        self.cover = 0.5 * float(np.linalg.norm(signs @ steps, axis=1).max())
        self.trees = self._trees(radii, reach + radii.max() + 2 * self.cover)
        self.points = np.indices(self.shape).reshape(3, -1).T @ steps
        self.excess = _to_balls(self.trees, self.points)

    def _trees(self, radii: np.ndarray, padding: float) -> list[tuple[float, cKDTree]]:
        """One tree per radius: of the atoms and their images up to a distance (Å) from the cell."""
        scaled = self.positions @ np.linalg.inv(self.cell)
        scaled -= np.floor(scaled)
        pad = padding / perpendicular_widths(self.cell)
        index, shift = add_images(scaled, np.ones(3, dtype=bool), -pad, 1 + pad)
        points, radii = (scaled[index] + shift) @ self.cell, radii[index]
        return [(float(radius), cKDTree(points[radii == radius])) for radius in np.unique(radii)]

    def fraction(self, distance: float) -> float:
        """Share of the volume that is farther than this from every ball."""
        # a point stands for the volume around it, which the border cuts where the distance changes by the spacing
        spacing = abs(np.linalg.det(self.cell / self.shape[:, None])) ** (1 / 3)
        return float(np.clip((self.excess - distance) / spacing + 0.5, 0, 1).mean())

    def largest_ball(self, least: float) -> tuple[float, np.ndarray]:
        """Radius (Å) and centre of the largest sphere between the balls; -inf where it is surely below `least`."""
        order = np.argsort(self.excess)[::-1][:START_POINTS]
        order = order[self.excess[order] > least - self.cover]
        return _climb(self.trees, self.points[order], self.cover / 2)

    def largest_sphere(self) -> float:
        """Diameter (Å) of the largest sphere that holds no nucleus."""
        # the centre of the largest hole of a lattice is no farther than this from a lattice point
        bound = 0.5 * float(np.linalg.norm(self.cell))
        trees = self._trees(np.zeros(len(self.positions)), bound)
        starts = np.argsort(self.excess)[::-1][:START_POINTS]
        return 2 * _climb(trees, self.points[starts], self.cover / 2)[0]

    def channels(self, point: np.ndarray, distance: float) -> np.ndarray:
        """Windings (k, 3), in units of the reduced cell, of the free region around a point."""
        free = (self.excess > distance).reshape(self.shape)
        number = np.full(self.shape, -1)
        number[free] = np.arange(free.sum())
        edges = []
        for axis in range(3):
            neighbour = np.roll(number, -1, axis=axis)
            shift = np.zeros((*self.shape, 3), dtype=np.int64)
            np.moveaxis(shift, axis, 0)[-1, ..., axis] = 1
            both = (number >= 0) & (neighbour >= 0)
            edges.append((number[both], neighbour[both], shift[both]))
        first, second, shift = (np.concatenate(part) for part in zip(*edges, strict=True))
        labels, windings = networks(int(free.sum()), first, second, shift)
        scaled = (self.points[free.ravel()] - point) @ np.linalg.inv(self.cell)
        nearest = np.linalg.norm((scaled - np.rint(scaled)) @ self.cell, axis=1).argmin()
        return windings.get(int(labels[nearest]), np.empty((0, 3), dtype=int))


def _to_balls(trees: list[tuple[float, cKDTree]], points: np.ndarray) -> np.ndarray:
    """Distance (Å) from points (m, 3) to the surface of the nearest ball; negative within."""
    return np.min([np.asarray(tree.query(points)[0]) - radius for radius, tree in trees], axis=0)


def _climb(trees: list[tuple[float, cKDTree]], points: np.ndarray, step: float) -> tuple[float, np.ndarray]:
    """Largest distance to the balls, and where, by a pattern search: the best of 27 points, on ever finer meshes."""
    if not len(points):
        return -np.inf, np.zeros(3)
    stencil, rows = np.indices((3, 3, 3)).reshape(3, -1).T - 1.0, np.arange(len(points))
    while step > 0.02:
        trials = points[:, None] + step * stencil
        found = _to_balls(trees, trials.reshape(-1, 3)).reshape(trials.shape[:2])
        best = found.argmax(axis=1)
        points, values = trials[rows, best], found[rows, best]
        step /= 2
    return float(values.max()), points[values.argmax()]


def _holes(space: _FreeSpace, gap: float, void: float) -> Vacuum:
    """Bulk, or porous if a sphere of diameter `void` fits somewhere."""
    fraction = space.fraction(gap / 2)
    radius, centre = space.largest_ball(void / 2)
    if radius < void / 2:
        return Vacuum('bulk', fraction=fraction)
    basis = lattice_basis(space.channels(centre, gap / 2))
    vectors = basis @ space.cell
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    diameter = space.largest_sphere()
    return Vacuum('porous', directions, basis @ space.operation, (), fraction, diameter)
