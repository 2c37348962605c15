"""Frames of equal size side by side: arrays over frames instead of loops over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from .supercell import perpendicular_widths

#: Pairs of atoms that are looked at together: few enough for the cache of the processor.
PAIRS_PER_BATCH = 2**16


@dataclass
class Batch:
    """Frames with the same number n of atoms.

    :param index: (b,) where the frames stood in the list that was split up.
    """

    index: np.ndarray
    frames: list[Atoms]

    @cached_property
    def positions(self) -> np.ndarray:
        """(b, n, 3) in Å."""
        return np.array([atoms.arrays['positions'] for atoms in self.frames])

    @cached_property
    def numbers(self) -> np.ndarray:
        """Atomic numbers (b, n)."""
        return np.array([atoms.arrays['numbers'] for atoms in self.frames])

    @cached_property
    def pbc(self) -> np.ndarray:
        """(b, 3)."""
        return np.array([atoms.pbc for atoms in self.frames])

    @cached_property
    def cells(self) -> np.ndarray:
        """(b, 3, 3) in Å; lattice vectors that are missing are replaced by unit vectors across the others."""
        return np.array([atoms.cell.array if atoms.cell.rank == 3 else complete(atoms) for atoms in self.frames])

    @cached_property
    def widths(self) -> np.ndarray:
        """Perpendicular widths (b, 3) in Å; infinite along axes that are not periodic."""
        return np.where(self.pbc, perpendicular_widths(self.cells), np.inf)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The n (n - 1) / 2 pairs of different atoms of a frame."""
        return np.triu_indices(self.positions.shape[1], 1)

    @cached_property
    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every pair the image with the smallest scaled coordinates: (b, p, 3) shifts and (b, p) distances in Å.

        This is the nearest image wherever the distance is below half the smallest perpendicular width.
        """
        first, second = self.pairs
        scaled = np.matmul(self.positions, np.linalg.inv(self.cells))
        difference = np.take(scaled, second, axis=1) - np.take(scaled, first, axis=1)
        shifts = -np.rint(difference) * self.pbc[:, None]
        vectors = np.matmul(difference + shifts, self.cells)
        return shifts, np.sqrt(np.einsum('bpi,bpi->bp', vectors, vectors))

    def part(self, rows: list[int]) -> Batch:
        """The frames of some rows; what is known of their distances is kept."""
        part = Batch(self.index[rows], [self.frames[row] for row in rows])
        if 'nearest' in self.__dict__:
            shifts, distances = self.nearest
            whole = len(rows) == len(self.frames)
            part.nearest = self.nearest if whole else (shifts[rows], distances[rows])
        return part


def complete(atoms: Atoms) -> np.ndarray:
    """Cell (3, 3) of a frame in which missing lattice vectors are replaced by unit vectors across the others."""
    return atoms.cell.complete().array


def batches(frames: list[Atoms], pairs: int = PAIRS_PER_BATCH) -> Iterator[Batch]:
    """Split frames into batches of equal numbers of atoms and at most about `pairs` pairs of atoms."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, atoms in enumerate(frames):
        by_size[len(atoms)].append(number)
    for size in sorted(by_size):
        step = max(1, 2 * pairs // (size * size))
        for start in range(0, len(by_size[size]), step):
            index = np.array(by_size[size][start : start + step])
            yield Batch(index, [frames[k] for k in index])
