"""Distances between atoms: what the data cover, and what is too close."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list

from ..core.frame import energy_counts, forces_count
from .batch import Batch, batches
from .charge import OXIDATION_STATES
from .pairs import periodic_pairs
from .radii import contact_distance

Pair = tuple[str, str]
#: Translations along one axis beyond which a list of neighbours is cheaper than all pairs.
MAX_IMAGES = 2
#: Atoms beyond which a list of neighbours is cheaper than all pairs.
MAX_ATOMS_ALL_PAIRS = 200


def element_pairs(elements: list[str]) -> list[Pair]:
    """Return all unordered pairs of the elements, each pair and the list in alphabetical order."""
    return list(combinations_with_replacement(sorted(set(elements)), 2))


def covalent_distance(pair: Pair) -> float:
    """Sum of the covalent radii of a pair in Å (Cordero et al., Dalton Trans. 2008, 2832, as tabulated in ASE)."""
    return float(sum(covalent_radii[atomic_numbers[element]] for element in pair))


def shortest_distances(frames: list[Atoms], cutoff: float = 6.0) -> dict[Pair, float]:
    """Shortest distance of every pair of elements in the frames, as far as their labels count.

    Where the energy of a frame has the weight zero, two masked atoms that clash (in the buffer of a cell cut out of a
    larger one) say nothing about what distances the data cover.

    :param cutoff: Å; a pair that is nowhere closer than this is left out.
    :returns: pair in alphabetical order -> Å.
    """
    shortest: dict[Pair, float] = {}
    for atoms in frames:
        first, second, _, distances = periodic_pairs(atoms.positions, atoms.cell.complete().array, atoms.pbc, cutoff)
        if not energy_counts(atoms):
            counting = forces_count(atoms)
            seen = counting[first] | counting[second]
            first, second, distances = first[seen], second[seen], distances[seen]
        numbers = np.sort([atoms.numbers[first], atoms.numbers[second]], axis=0)
        for one, other in np.unique(numbers, axis=1).T:
            pair = tuple(sorted((chemical_symbols[one], chemical_symbols[other])))
            closest = float(distances[(numbers[0] == one) & (numbers[1] == other)].min())
            shortest[pair] = min(shortest.get(pair, np.inf), closest)
    return shortest


def overlapping(atoms: Atoms, ratio: float = 0.5) -> bool:
    """Return whether two atoms are closer than `ratio` times the sum of their covalent radii (images included)."""
    radii = {number: ratio * covalent_radii[number] for number in set(atoms.numbers.tolist())}
    first, _ = neighbor_list('ij', atoms, [radii[number] for number in atoms.numbers])
    return len(first) > 0


@dataclass(frozen=True)
class Closest:
    """The pairs of atoms of some frames that are closest, measured by their contact distance.

    :param ratio: (b,) distance over contact distance; infinite where nothing is near.
    :param first, second: (b,) the atoms.
    :param distance, contact: (b,) in Å.
    """

    ratio: np.ndarray
    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    contact: np.ndarray

    @classmethod
    def nothing(cls, number: int) -> Closest:
        zeros = np.zeros(number, dtype=int)
        return cls(np.full(number, np.inf), zeros, zeros.copy(), np.full(number, np.inf), np.ones(number))

    def update(
        self, rows: np.ndarray, first: np.ndarray, second: np.ndarray, distance: np.ndarray, contact: np.ndarray
    ) -> None:
        """Take over, in place, what is closer among pairs (p,) with distances and contacts (b', p) of some rows."""
        if not distance.shape[1]:
            return
        ratio = distance / contact
        best = ratio.argmin(axis=1)
        taken = np.arange(len(rows))
        closer = ratio[taken, best] < self.ratio[rows]
        rows, taken, best = rows[closer], taken[closer], best[closer]
        self.ratio[rows] = ratio[taken, best]
        self.first[rows], self.second[rows] = first[best], second[best]
        self.distance[rows], self.contact[rows] = distance[taken, best], contact[taken, best]


def closest_pairs(batch: Batch, limits: np.ndarray) -> Closest:
    """Closest pairs of the frames of a batch; exact wherever the ratio is below the limit of the frame.

    Where all lengths in question are below half the perpendicular widths, the nearest image is that of rounded scaled
    coordinates; narrower cells look at more images, and very narrow or large ones at lists of neighbours.

    :param limits: (b,) largest ratio that matters.
    """
    codes, table = contact_table(batch)
    closest = Closest.nothing(len(batch.frames))
    reach = limits * table.max()
    extent = np.where(np.isinf(batch.widths), 0, np.floor(reach[:, None] / batch.widths + 0.5))
    single = (extent.max(axis=1) > MAX_IMAGES) | (batch.positions.shape[1] > MAX_ATOMS_ALL_PAIRS)
    for row in np.flatnonzero(single).tolist():
        _closest_single(batch, row, reach[row], codes[row], table, closest)
    rows = np.flatnonzero(~single)
    if len(rows):
        first, second = batch.pairs
        distance = batch.nearest[1][rows]
        closest.update(rows, first, second, distance, table[codes[rows][:, first], codes[rows][:, second]])
    narrow = np.flatnonzero(~single & (extent > 0).any(axis=1))
    if len(narrow):
        _closest_images(batch, narrow, extent[narrow].max(axis=0).astype(int), codes, table, closest)
    return closest


def closest_ratios(frames: list[Atoms], limit: float = 2.0) -> np.ndarray:
    """Shortest distance of each frame, images included, over the contact distance of its pair (n_frames,).

    :param limit: larger ratios are not looked for; such frames have this one.
    """
    ratios = np.full(len(frames), limit)
    for batch in batches(frames):
        ratios[batch.index] = np.minimum(closest_pairs(batch, np.full(len(batch.frames), limit)).ratio, limit)
    return ratios


def contact_table(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Code (b, n) of the kind of every atom, and contact distance (k, k) in Å of every pair of kinds."""
    states = np.zeros(batch.numbers.shape)
    for row, atoms in enumerate(batch.frames):
        if OXIDATION_STATES in atoms.arrays:
            states[row] = atoms.arrays[OXIDATION_STATES]
    kinds, codes = np.unique(np.stack([batch.numbers.ravel(), states.ravel()], axis=1), axis=0, return_inverse=True)
    pairs = [[contact_distance((int(a[0]), a[1]), (int(b[0]), b[1])) for b in kinds] for a in kinds]
    return codes.reshape(states.shape), np.array(pairs)


def _closest_images(
    batch: Batch, rows: np.ndarray, extent: np.ndarray, codes: np.ndarray, table: np.ndarray, closest: Closest
) -> None:
    """Look at all images up to `extent` (3,) translations away, each atom's own images included."""
    first, second = np.triu_indices(batch.positions.shape[1])
    cells, codes = batch.cells[rows], codes[rows]
    scaled = np.matmul(batch.positions[rows], np.linalg.inv(cells))
    difference = scaled[:, second] - scaled[:, first]
    difference -= np.rint(difference) * batch.pbc[rows, None]
    contact = table[codes[:, first], codes[:, second]]
    for shift in product(*(range(-k, k + 1) for k in extent)):
        vectors = np.matmul(difference + np.array(shift) * batch.pbc[rows, None], cells)
        distance = np.sqrt(np.einsum('bpi,bpi->bp', vectors, vectors))
        # an atom is not its own neighbour
        distance[(distance < 1e-12) & (first == second)] = np.inf
        closest.update(rows, first, second, distance, contact)


def _closest_single(
    batch: Batch, row: int, reach: float, codes: np.ndarray, table: np.ndarray, closest: Closest
) -> None:
    cell, pbc = batch.cells[row], batch.pbc[row]
    first, second, _, distance = periodic_pairs(batch.positions[row], cell, pbc, reach)
    closest.update(np.array([row]), first, second, distance[None], table[codes[first], codes[second]][None])
