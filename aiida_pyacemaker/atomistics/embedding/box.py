"""The box in which the surroundings of a point close on themselves with the least misfit.

A periodic box replaces what lies beyond its faces by images of what lies within. The misfit measures that directly:
every image near the core is compared with the atom of the parent that it stands for, and every atom of the parent with
its image; distances to the nearest atom of the species count, up to `MISSING_IMAGE_DISTANCE`, with a weight
that decays with the distance from the core as forces do. Axes, edges and origin are chosen for the least of it: a
lattice or what is common to two lattices shows in the map of displacements (`lattice`); along axes without translations
edges are searched.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from ..checks.supercell import perpendicular_widths
from ..checks.vacuum import MIN_GAP
from .environments import Region
from .lattice import ALIGNED_COSINE, lattice_frames, translations

#: Å: an atom without an image counts as one that is this far away.
MISSING_IMAGE_DISTANCE = 0.8
#: Å over which the influence of a misfit on the core decays.
DECAY = 1.5
#: Å: thickness of the layers on both sides of a face that are compared.
LAYER = 4.0
#: Å of matter between core and boundary below which the core is shrunk instead.
MIN_BUFFER = 2.5
#: Half the edge (Å) of the smallest box: the buffer, and the uncertain atom in the middle.
MIN_HALF_WIDTH = MIN_BUFFER + 0.5
#: Å: how much longer an edge may be than core and buffer need, and the steps in which edges and origins are tried.
EDGE_SLACK = 5.0
EDGE_STEP = 0.5
ORIGIN_STEP = 0.5
#: Steps (Å) around the best edges of the search.
FINE_STEPS = (-0.25, -0.12, 0.12, 0.25)
#: Times the atoms of a cube that just holds core and buffer, at most.
MAX_ATOMS_RATIO = 1.35
#: Where no box is small enough, shorter edges and such that are no translations are tried, by these factors in turn.
EDGE_FACTORS = (1.0, 0.85, 0.85)
#: Å of vacuum in a cell that has a surface.
VACUUM = 10.0
#: What twice as many atoms are worth in misfit (Å).
MISFIT_PER_DOUBLING = 0.1
#: What an Å of buffer that is missing is worth in misfit (Å).
MISFIT_PER_MISSING_BUFFER = 0.05
#: Orientations tried, boxes measured wholly.
FRAMES = 8
FINALISTS = 8
#: Boxes of one orientation whose atoms are counted, and those kept.
MAX_BOXES_COUNTED = 60
MAX_BOXES_KEPT = 4


@dataclass(frozen=True)
class Box:
    """An orthorhombic box around a point.

    :param axes: (3, 3) orthonormal rows, its axes in the frame of the parent.
    :param low: (3,) Å, its lower corner along its axes, relative to the point. :param edges: (3,) Å.
    :param vacuum: (3,) bool, whether vacuum lies along an axis.
    :param misfit: Å.
    """

    axes: np.ndarray
    low: np.ndarray
    edges: np.ndarray
    vacuum: np.ndarray = field(default_factory=lambda: np.zeros(3, dtype=bool))
    misfit: float = np.inf

    def contains(self, positions: np.ndarray) -> np.ndarray:
        """Which positions (m, 3), along the axes of the box, are within."""
        return ((positions >= self.low) & (positions < self.low + self.edges)).all(axis=1)

    def near_faces(self, positions: np.ndarray, depth: float) -> np.ndarray:
        """Which positions (m, 3) within the box are nearer than `depth` (Å) to a face through matter."""
        inside = np.minimum(positions - self.low, self.low + self.edges - positions)
        return (inside[:, ~self.vacuum] < depth).any(axis=1)


@dataclass(frozen=True)
class Sizes:
    """What a box is asked to hold (Å), after what `max_atoms` left of it.

    :param wanted: distance from the centre to the faces without a cap. :param low, high: limits of the edges.
    """

    core_radius: float
    buffer: float
    max_atoms: int
    density: float
    low: float
    high: float
    wanted: float

    @property
    def half(self) -> float:
        return self.core_radius + self.buffer


@dataclass(frozen=True)
class Surfaces:
    """Directions along which matter ends near the point.

    :param normals: (k, 3) unit vectors. :param bottom, top: (k,) Å from the point to the ends of matter.
    """

    normals: np.ndarray
    bottom: np.ndarray
    top: np.ndarray


NO_SURFACES = Surfaces(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


def matter_ends(atoms: Atoms, centre: np.ndarray, reach: float) -> Surfaces:
    """Return the cell axes along which vacuum lies, where a surface is within reach (Å) of a point.

    By the largest empty interval of the heights of all atoms: as long as the gap between covalent balls that
    `checks.vacuum` calls vacuum. A vacuum that lies along no axis of the cell is not seen.
    """
    cell = atoms.cell.complete().array
    widths = perpendicular_widths(cell)
    inverse = np.linalg.inv(cell)
    scaled, point = atoms.positions @ inverse, centre @ inverse
    gap = MIN_GAP + 2 * covalent_radii[atoms.numbers].max()
    found = []
    for axis in range(3):
        height = scaled[:, axis] - point[axis]
        if atoms.pbc[axis]:
            height = np.sort(height % 1.0)
            empty = np.diff(np.append(height, height[0] + 1.0))
            place = int(empty.argmax())
            if empty[place] * widths[axis] < gap:
                continue
            # the centre is an atom, at height 0: matter reaches up to `place`, and down from the next
            top, bottom = height[place] * widths[axis], (height[(place + 1) % len(height)] - 1) * widths[axis]
            bottom = 0.0 if place == len(height) - 1 else bottom
        else:
            top, bottom = height.max() * widths[axis], height.min() * widths[axis]
        if min(top, -bottom) < reach:
            found.append((inverse[:, axis] / np.linalg.norm(inverse[:, axis]), bottom, top))
    if not found:
        return NO_SURFACES
    normals, bottom, top = zip(*found, strict=True)
    return Surfaces(np.array(normals), np.array(bottom), np.array(top))


def plan_sizes(
    region: Region,
    core_radius: float,
    buffer: float,
    max_atoms: int,
    *,
    periods: np.ndarray | None = None,
    surfaces: Surfaces | None = None,
) -> Sizes:
    """Fit core and buffer into the cap on atoms: the buffer shrinks first, down to `MIN_BUFFER`, then the core.

    :param periods: lengths (Å) of periods of the parent; those shorter than the box are used as they are.
    :raises ValueError: if the cap leaves no room at all.
    """
    surfaces = surfaces or NO_SURFACES
    wanted = core_radius + buffer
    density = _density(region, wanted, surfaces)
    periods = np.sort(np.zeros(0) if periods is None else periods)[: 3 - len(surfaces.normals)]

    def atoms(half: float) -> float:
        """How many a box of this half edge holds."""
        open_axes = np.minimum(surfaces.top, half) - np.maximum(surfaces.bottom, -half)
        closed = np.full(3 - len(open_axes), 2 * half)
        closed[: len(periods)] = np.minimum(closed[: len(periods)], periods)
        return density * float(np.prod(open_axes) * np.prod(closed))

    if atoms(wanted) <= max_atoms:
        most = min(max_atoms, int(MAX_ATOMS_RATIO * atoms(wanted)))
        return Sizes(core_radius, buffer, most, density, 2 * wanted, 2 * wanted + EDGE_SLACK, wanted)
    halves = np.arange(wanted, 0.5, -0.05)
    half = float(next((half for half in halves if atoms(half) <= max_atoms), 0.0))
    if half < MIN_HALF_WIDTH:
        raise ValueError(
            f'embed.max_atoms = {max_atoms} leaves a box of {2 * half:.1f} Å, too small for any environment: raise it'
        )
    core = min(core_radius, half - MIN_BUFFER)
    return Sizes(core, half - core, max_atoms, density, 1.72 * half, 2.6 * half, wanted)


def least_atoms(volume_per_atom: float) -> int:
    """Return how many atoms the smallest box has that can hold an environment and its buffer.

    :param volume_per_atom: Å³, of the matter that it is cut from.
    """
    return int(np.ceil((2 * MIN_HALF_WIDTH) ** 3 / volume_per_atom))


def _density(region: Region, half: float, surfaces: Surfaces) -> float:
    """Atoms per Å³ of matter near the point; the mean over balls of several sizes, since one is off by 5 %."""
    distance = np.linalg.norm(region.positions, axis=1)
    radii = np.linspace(half, min(1.4 * half, region.reach), 16)
    grid = np.linspace(-1, 1, 21)
    ball = np.array(np.meshgrid(grid, grid, grid)).reshape(3, -1).T
    ball = ball[np.linalg.norm(ball, axis=1) <= 1]

    def filled(radius: float) -> float:
        height = radius * ball @ surfaces.normals.T
        # half a layer of matter belongs to the outermost atoms
        return float(((height >= surfaces.bottom - 1.0) & (height <= surfaces.top + 1.0)).all(axis=1).mean())

    return float(np.mean([(distance <= r).sum() / (4 / 3 * np.pi * r**3 * filled(r)) for r in radii]))


def choose_box(
    region: Region,
    sizes: Sizes,
    *,
    cell: np.ndarray | None = None,
    surfaces: Surfaces | None = None,
    rng: np.random.Generator | None = None,
) -> Box:
    """Return the box around the origin of a region with the least misfit and not too many atoms.

    :param cell: periodic lattice vectors (k, 3) of the parent, whose directions are tried too, and which are exact.
    """
    rng = rng or np.random.default_rng(0)
    cell = np.zeros((0, 3)) if cell is None else cell
    surfaces = surfaces or NO_SURFACES
    shell = (0.6 * sizes.half, 1.2 * sizes.half)
    for share, grid in ((1.0, False), *((share, True) for share in EDGE_FACTORS)):
        sizes = replace(sizes, low=share * sizes.low)
        vectors, shares = translations(region, shell, sizes.low, sizes.high, rng)
        exact = cell[np.linalg.norm(cell, axis=1) < sizes.high] if len(cell) else cell
        vectors, shares = np.vstack([exact, vectors]), np.concatenate([np.ones(len(exact)), shares])
        candidates: list[tuple[float, Box]] = []
        for axes in _frames(vectors, shares, cell, surfaces, rng):
            candidates += _boxes(region.rotated(axes), axes, vectors, shares, surfaces, sizes, grid)
        if candidates:
            candidates.sort(key=lambda pair: pair[0])
            measured = (_measured(region, box, sizes) for _, box in candidates[:FINALISTS])
            return min(measured, key=lambda found: found[0])[1]
    raise ValueError(f'embed.max_atoms = {sizes.max_atoms} leaves no box for this environment: raise it')


def _frames(
    vectors: np.ndarray, shares: np.ndarray, cell: np.ndarray, surfaces: Surfaces, rng: np.random.Generator
) -> list[np.ndarray]:
    """Orientations to try: along the lattice, along the cell of the parent, and some at random where there is none."""
    normals = _gram_schmidt(surfaces.normals)
    if len(normals) >= 2:
        return [_completed(normals, np.eye(3))]
    if len(normals) == 1:
        # in the plane of the surface: each translation with what is perpendicular to it
        flat = vectors[np.abs(vectors @ normals[0]) < 0.05 * np.linalg.norm(vectors, axis=1)]
        order = np.argsort(np.linalg.norm(flat, axis=1))
        seeds = [*cell, *flat[order][:FRAMES], np.eye(3)[np.abs(normals[0]).argmin()]]
        frames = [_completed(normals, np.vstack([seed, np.eye(3)])) for seed in seeds]
    else:
        frames = lattice_frames(vectors, shares, FRAMES)
        frames.append(_completed(np.zeros((0, 3)), np.vstack([cell, np.eye(3)])))
        if not len(vectors) or shares.max() < 0.6:
            frames += [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)]
    kept: list[np.ndarray] = []
    for frame in frames:
        if not any((np.abs(frame @ other.T).max(axis=1) > 0.9995).all() for other in kept):
            kept.append(frame * np.sign(np.linalg.det(frame)))
    return kept


def _gram_schmidt(vectors: np.ndarray) -> np.ndarray:
    basis: list[np.ndarray] = []
    for vector in vectors:
        rest = vector - sum((vector @ b) * b for b in basis) if basis else vector
        if np.linalg.norm(rest) > 0.1 * np.linalg.norm(vector):
            basis.append(rest / np.linalg.norm(rest))
        if len(basis) == 3:
            break
    return np.array(basis).reshape(-1, 3)


def _completed(normals: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """A frame whose last axes are the normals and whose first follow the seeds."""
    basis = _gram_schmidt(np.vstack([normals, seeds]))
    return np.vstack([basis[len(normals) :], basis[: len(normals)]])


def _boxes(
    region: Region,
    axes: np.ndarray,
    vectors: np.ndarray,
    shares: np.ndarray,
    surfaces: Surfaces,
    sizes: Sizes,
    grid: bool = False,
) -> list[tuple[float, Box]]:
    """The best boxes of one orientation with the estimate of their value; the region is seen along the axes."""
    options, open_axes = [], np.zeros(3, dtype=bool)
    matter = []
    for axis in range(3):
        normal = np.abs(surfaces.normals @ axes[axis]) if len(surfaces.normals) else np.zeros(0)
        if len(normal) and normal.max() > 0.99:
            open_axes[axis] = True
            low, edge, thickness = _open_axis(region, axis, sizes)
            options.append([(0.0, edge, low)])
            matter.append([thickness])
            continue
        options.append(_options(region, axis, *_edges(axes[axis], vectors, shares, sizes, grid), sizes))
        matter.append([edge for _, edge, _ in options[-1]])
    score = np.array([[o[0] for o in options[0]]]).reshape(-1, 1, 1)
    score = score + np.array([o[0] for o in options[1]]).reshape(1, -1, 1)
    score = np.sqrt(score + np.array([o[0] for o in options[2]]).reshape(1, 1, -1))
    atoms = sizes.density * np.einsum('i,j,k->ijk', *map(np.array, matter))
    shortest = np.minimum.reduce(np.meshgrid(*(np.array([o[1] for o in option]) for option in options), indexing='ij'))
    value = score + _price(atoms, shortest, sizes)
    value[atoms > 1.03 * sizes.max_atoms] = np.inf
    boxes: list[tuple[float, Box]] = []
    for flat in np.argsort(value, axis=None)[:MAX_BOXES_COUNTED]:
        place = np.unravel_index(flat, value.shape)
        if not np.isfinite(value[place]) or len(boxes) == MAX_BOXES_KEPT:
            break
        chosen = [options[axis][place[axis]] for axis in range(3)]
        box = Box(axes, np.array([o[2] for o in chosen]), np.array([o[1] for o in chosen]), open_axes)
        if box.contains(region.positions).sum() <= sizes.max_atoms:
            boxes.append((float(value[place]), box))
    return boxes


def _price(atoms: np.ndarray | float, shortest: np.ndarray | float, sizes: Sizes) -> np.ndarray | float:
    """What the number of atoms costs, and a shortest edge that leaves less buffer than wanted."""
    missing = np.maximum(sizes.wanted - shortest / 2, 0)
    return MISFIT_PER_DOUBLING * atoms / (sizes.density * (2 * sizes.wanted) ** 3) + MISFIT_PER_MISSING_BUFFER * missing


def _open_axis(region: Region, axis: int, sizes: Sizes) -> tuple[float, float, float]:
    """Lower face and edge of a box across a surface, and the thickness of the matter in it.

    The vacuum of the cell lies where that of the parent does; on the other side matter ends where the box does.
    """
    one, two = (np.abs(region.positions[:, other]) <= sizes.half for other in range(3) if other != axis)
    height = np.sort(region.positions[one & two, axis])
    inside = height[np.abs(height) <= sizes.half + 1.0]
    low, high = float(inside[0]), float(inside[-1])
    above, below = height[height > high], height[height < low]
    gaps = (above[0] - high if len(above) else np.inf, low - below[-1] if len(below) else np.inf)
    vacuum = min(VACUUM, max(gaps) - 0.01)
    return low - 0.005 - (vacuum if gaps[1] > gaps[0] else 0.0), high - low + 0.01 + vacuum, high - low


def _edges(
    axis: np.ndarray, vectors: np.ndarray, shares: np.ndarray, sizes: Sizes, grid: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Edges to try along an axis, and which of them are translations."""
    along = vectors @ axis
    lengths = np.linalg.norm(vectors, axis=1)
    aligned = np.abs(along) > ALIGNED_COSINE * lengths
    found = np.sort(np.abs(along[aligned]))
    found = found[np.diff(found, prepend=-1.0) > 0.1]
    if len(found) and shares[aligned].max() > 0.7 and not grid:
        return found, np.ones(len(found), dtype=bool)
    steps = np.arange(sizes.low, sizes.high, EDGE_STEP)
    return np.append(found, steps), np.append(np.ones(len(found), dtype=bool), np.zeros(len(steps), dtype=bool))


def _options(
    region: Region, axis: int, edges: np.ndarray, sure: np.ndarray, sizes: Sizes
) -> list[tuple[float, float, float]]:
    """Square of the misfit, edge and lower face of the best boxes along one axis, the best first."""
    one, two = (np.abs(region.positions[:, other]) <= sizes.half + 1.0 for other in range(3) if other != axis)
    column = np.flatnonzero(one & two)
    column = column[np.argsort(region.positions[column, axis])]
    found = [(*_seam(region, column, axis, edge, sizes), edge) for edge in edges]
    found.sort(key=lambda entry: entry[0])
    # between the steps of the grid
    for place, (_, _, edge) in enumerate(found[:3]):
        if edge not in edges[sure]:
            closer = [(*_seam(region, column, axis, edge + step, sizes), edge + step) for step in FINE_STEPS]
            found[place] = min([found[place], *closer], key=lambda entry: entry[0])
    return [(score, edge, low) for score, low, edge in found]


def weights(positions: np.ndarray, core_radius: float) -> np.ndarray:
    """Influence (n,) on the core of what is at positions relative to its centre."""
    distance = np.sqrt(np.einsum('ij,ij->i', positions, positions))
    return np.exp(-np.maximum(distance - core_radius, 0) / DECAY)


def _seam(region: Region, column: np.ndarray, axis: int, edge: float, sizes: Sizes) -> tuple[float, float]:
    """Least square misfit of the two faces across an axis over the position of the box, and its lower face.

    Atoms near one face are moved by the edge onto the other side and compared with the atoms there.

    :param column: atoms of the cross-section, in the order of their height.
    """
    room = np.clip(edge / 2 - sizes.core_radius - 1.5, 0.8, 3.0)
    lows = -edge / 2 + np.arange(-room, room + 1e-9, ORIGIN_STEP)
    heights = region.positions[column, axis]
    total = np.zeros(len(lows))
    for sign, faces in ((1, lows), (-1, lows + edge)):
        first, last = np.searchsorted(heights, [faces[0] - LAYER, faces[-1] + LAYER])
        rows, height = column[first:last], heights[first:last]
        moved = region.positions[rows]
        moved[:, axis] += sign * edge
        misfit = region.nearest(moved, region.numbers[rows], MISSING_IMAGE_DISTANCE) ** 2
        own = misfit * weights(region.positions[rows], sizes.core_radius) ** 2
        image = misfit * weights(moved, sizes.core_radius) ** 2
        depth = sign * (height[:, None] - faces)  # positive within the box
        total += np.where(np.abs(depth) <= LAYER, np.where(depth >= 0, image[:, None], own[:, None]), 0).sum(axis=0)
    best = int(total.argmin())
    return float(total[best]), float(lows[best])


def _measured(region: Region, box: Box, sizes: Sizes) -> tuple[float, Box]:
    """Value of a box, counting its atoms and comparing all images around the core with the parent."""
    rotated = region.rotated(box.axes)
    misfit = box_misfit(rotated, box, sizes.core_radius)
    number = int(box.contains(rotated.positions).sum())
    value = misfit + _price(number, float(box.edges[~box.vacuum].min(initial=np.inf)), sizes)
    return value, replace(box, misfit=misfit)


def box_misfit(region: Region, box: Box, core_radius: float) -> float:
    """Misfit (Å) of a box: root of the sum of the squares, weighted, of images and atoms that do not coincide.

    :param region: seen along the axes of the box.
    """
    reach = core_radius + 4 * DECAY
    inside = box.contains(region.positions)
    outside = ~inside & (np.einsum('ij,ij->i', region.positions, region.positions) <= reach**2)
    open_axes = box.vacuum
    # below a cut through a slab nothing is to be replaced: there is vacuum, on purpose
    beyond = (region.positions < box.low) | (region.positions >= box.low + box.edges)
    outside &= ~(beyond & open_axes).any(axis=1)
    points, numbers = images(region.positions[inside], region.numbers[inside], box, reach)
    forth = region.nearest(points, numbers, MISSING_IMAGE_DISTANCE) * weights(points, core_radius)
    parent = Region(points, numbers, np.arange(len(points)), reach)
    own = region.positions[outside]
    back = parent.nearest(own, region.numbers[outside], MISSING_IMAGE_DISTANCE) * weights(own, core_radius)
    return float(np.sqrt((forth**2).sum() + (back**2).sum()))


def images(positions: np.ndarray, numbers: np.ndarray, box: Box, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Images, beyond the faces, of the atoms of a box within `reach` (Å) of the point it was cut around."""
    steps = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    steps = steps[steps.any(axis=1) & ~(steps[:, box.vacuum] != 0).any(axis=1)]
    points = (positions[None] + (steps * box.edges)[:, None]).reshape(-1, 3)
    near = np.einsum('ij,ij->i', points, points) <= reach**2
    return points[near], np.tile(numbers, len(steps))[near]
