"""Fingerprints of periodic structures: equal for equal crystals, whatever the cell, the order and the orientation.

Every atom starts with numbers that stand for its element. Three times it looks at its neighbours and adds up what they
know, weighted by smooth functions of the distance (a graph network with fixed weights); the mean over all atoms is the
fingerprint. It is therefore invariant under rotation, reflection, translation, permutation of atoms, another choice of
cell and supercells, continuous in all positions, and sees environments of environments, which mere pair distribution
functions do not: random alloys of one composition on one lattice have equal pair correlations very often.

Lengths are in units of (volume per atom)^(1/3), and the volume is kept beside. Like every descriptor made of distances
alone it cannot tell mirror images apart (they have the same energy), nor the rare pairs of different structures whose
sets of distances agree around every atom within the cutoff.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd

import numpy as np
from ase import Atoms
from scipy.sparse import csr_matrix

from .batch import Batch, batches
from .pairs import MAX_SKEWNESS, periodic_pairs, reduced_cell
from .supercell import perpendicular_widths

#: Cutoff in units of (volume per atom)^(1/3): three shells of fcc, and what tells it from hcp.
CUTOFF = 2.1
#: Å; cutoff and unit of frames that are not periodic in all directions, whose volume means nothing.
OPEN_CUTOFF = 6.0
#: Typical sums over neighbours of the radial functions, which bring them to order one.
SCALES = (8.0, 3.0, 1.5)
#: Numbers that stand for an element.
ELEMENT_FEATURES = 3
#: Numbers per atom between the passes.
HIDDEN_FEATURES = 8
#: Numbers per atom after the last pass.
LAST_FEATURES = 16
#: Atoms beyond which lists of neighbours are used.
MAX_ATOMS_ALL_PAIRS = 400


def reduced_composition(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    """Atomic numbers and amounts without common factor, in order of atomic number."""
    return reduced_counts(atoms.numbers)


def reduced_counts(numbers: Sequence[int] | np.ndarray) -> tuple[tuple[int, int], ...]:
    """The same of the atomic numbers of all atoms."""
    kinds, counts = np.unique(numbers, return_counts=True)
    factor = gcd(*counts.tolist())
    return tuple((int(number), int(count) // factor) for number, count in zip(kinds, counts, strict=True))


def fingerprints(frames: list[Atoms]) -> np.ndarray:
    """Fingerprints of frames with finite positions and at least one atom.

    :returns: (len(frames), 1 + HIDDEN + LAST), first the logarithm of the volume per atom (0 where not periodic in all
        directions), then means over the atoms between -1 and 1.
    """
    result = np.empty((len(frames), 1 + HIDDEN_FEATURES + LAST_FEATURES))
    for batch in batches(frames):
        count, size = batch.numbers.shape
        cells = batch.cells.copy()
        lengths = np.linalg.norm(cells, axis=2)
        for skewed in np.flatnonzero((lengths > MAX_SKEWNESS * perpendicular_widths(cells)).any(axis=1)):
            cells[skewed] = reduced_cell(cells[skewed], batch.pbc[skewed])[0]
        whole = batch.pbc.all(axis=1)
        volume = np.where(whole, np.abs(np.linalg.det(cells)) / size, 1.0)
        cutoff = np.where(whole, CUTOFF * np.cbrt(volume), OPEN_CUTOFF)
        result[batch.index, 0] = np.log(volume)
        if size > MAX_ATOMS_ALL_PAIRS:
            for row in range(count):
                sparse = _sparse_sums(batch.positions[row], cells[row], batch.pbc[row], cutoff[row])
                result[batch.index[row], 1:] = _passes(batch.numbers[row], sparse)
            continue
        ratio = np.where(batch.pbc, cutoff[:, None] / perpendicular_widths(cells), 0)
        # half a cell, a whole cell or more: frames that need the same images go together
        extent = np.where(ratio < 0.5, 0, np.where(ratio < 1, -1, np.floor(ratio + 0.5))).astype(int)
        kinds, which = np.unique(extent, axis=0, return_inverse=True)
        for kind, own in enumerate(kinds):
            rows = np.flatnonzero(which.ravel() == kind)
            sums = _dense_sums(batch, rows, cells[rows], cutoff[rows], own)
            result[batch.index[rows], 1:] = _passes(batch.numbers[rows], sums)
    return result


def _radial(squared: np.ndarray) -> list[np.ndarray]:
    """Radial functions of (distance / cutoff)²: (1 - s)² s^k, zero beyond the cutoff."""
    inside = np.maximum(1 - squared, 0)
    inside *= inside
    functions = [inside / SCALES[0]]
    for scale in SCALES[1:]:
        inside = inside * squared
        functions.append(inside / scale)
    return functions


def _dense_sums(
    batch: Batch, rows: np.ndarray, cells: np.ndarray, cutoff: np.ndarray, extent: np.ndarray
) -> list[np.ndarray]:
    """Radial functions summed over all images of each pair of atoms: three arrays (b, n, n).

    :param extent: (3,) how many cells away images are along each axis; -1: in one of the two nearest cells.
    """
    size = batch.positions.shape[1]
    first, second = np.triu_indices(size)
    scaled = np.matmul(batch.positions[rows], np.linalg.inv(cells))
    difference = scaled[:, second] - scaled[:, first]
    difference -= np.rint(difference) * batch.pbc[rows, None]
    images = [_images(difference[..., axis], int(extent[axis])) for axis in range(3)]
    total: list[np.ndarray] = []
    for squared in _squared_lengths(images, cells / cutoff[:, None, None]):
        squared[(squared < 1e-20) & (first == second)] = 1  # an atom is not its own neighbour
        functions = _radial(squared)
        for sum_, values in zip(total, functions, strict=False):
            sum_ += values
        total = total or functions
    sums = [np.empty((len(rows), size, size)) for _ in SCALES]
    for matrix, values in zip(sums, total, strict=True):
        matrix[:, first, second] = values
        matrix[:, second, first] = values
    return sums


def _images(difference: np.ndarray, extent: int) -> list[np.ndarray]:
    """Scaled coordinates of the images that matter along one axis, from differences within ± 1/2."""
    if extent >= 0:
        return [difference + step for step in range(-extent, extent + 1)]
    # the second nearest image lies on the other side
    return [difference, difference + np.where(difference > 0, -1, 1)]


def _squared_lengths(images: list[list[np.ndarray]], cells: np.ndarray) -> Iterator[np.ndarray]:
    """Squared lengths (b, p) of vectors with all combinations of scaled coordinates, by the metric of the cells."""
    metric = np.matmul(cells, cells.transpose(0, 2, 1))[..., None]
    for x in images[0]:
        one = metric[:, 0, 0] * x * x
        for y in images[1]:
            two = one + (metric[:, 1, 1] * y + 2 * metric[:, 0, 1] * x) * y
            mixed = 2 * (metric[:, 0, 2] * x + metric[:, 1, 2] * y)
            for z in images[2]:
                yield two + (metric[:, 2, 2] * z + mixed) * z


def _sparse_sums(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> list[csr_matrix]:
    """The same for one large frame, as sparse matrices."""
    first, second, _, distance = periodic_pairs(positions, cell, pbc, cutoff)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    shape = (len(positions), len(positions))
    return [
        csr_matrix((np.concatenate([values, values]), (rows, columns)), shape)
        for values in _radial((distance / cutoff) ** 2)
    ]


def _passes(numbers: np.ndarray, sums: list) -> np.ndarray:
    """Means over atoms (..., HIDDEN + LAST) after three looks at the neighbours."""
    # incommensurate frequencies: no two elements share their numbers
    state = np.cos(numbers[..., None] * np.array([1.0, 1.618034, 2.236068]))
    means = []
    for weights in _WEIGHTS:
        gathered = np.concatenate([state, *(matrix @ state for matrix in sums)], axis=-1)
        state = np.sin(gathered @ weights)
        means.append(state.mean(axis=-2))
    return np.concatenate([means[0], means[-1]], axis=-1)


def _weights() -> list[np.ndarray]:
    """Fixed weights of the passes; any others without symmetry would do."""
    random = np.random.RandomState(20)  # its numbers never change with the version of numpy
    sizes = [(ELEMENT_FEATURES, HIDDEN_FEATURES), (HIDDEN_FEATURES, HIDDEN_FEATURES), (HIDDEN_FEATURES, LAST_FEATURES)]
    return [random.normal(0, 1.5 / np.sqrt(given), ((1 + len(SCALES)) * given, kept)) for given, kept in sizes]


_WEIGHTS = _weights()
