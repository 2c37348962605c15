"""Structures that are equal by symmetry, found without comparing all with all."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms

from .fingerprint import fingerprints, reduced_composition
from .moments import with_spins

#: Largest difference of fingerprints of equal structures. Rounding of positions to 1e-5 Å stays below it; a random
#: displacement of all atoms of a perfect crystal by more than about 0.003 Å exceeds it.
TOLERANCE = 1e-6
#: Width of the buckets in units of the tolerance.
BUCKET_WIDTH = 100


class Duplicates:
    """The different structures seen so far.

    Equal are structures that a rotation, reflection, translation, permutation of atoms, another choice of cell or a
    supercell turns into each other; see `fingerprint` for how, and for its limits. Atoms whose magnetic moments point
    up and down are different: an antiferromagnetic start is not the ferromagnetic one. Oxidation states and whatever
    else a frame carries are not looked at.

    Structures are kept in a hash table by composition, volume and two numbers of the fingerprint, rounded: a look-up
    takes the same time however many there are.

    :param tolerance: largest difference of the components of the fingerprints.
    """

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance
        self._buckets: dict[tuple, list[np.ndarray]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, frames: list[Atoms]) -> np.ndarray:
        """Take in structures, in this order.

        :returns: (len(frames),) True for those that differ from all before them, in this call and in earlier ones.
        """
        new = np.zeros(len(frames), dtype=bool)
        if not len(frames):
            return new
        frames = [with_spins(atoms) for atoms in frames]
        prints = fingerprints(frames)
        low, high = (
            np.floor(self._scaled(prints) + side).astype(int) for side in (-1 / BUCKET_WIDTH, 1 / BUCKET_WIDTH)
        )
        home = np.floor(self._scaled(prints)).astype(int)
        for index, atoms in enumerate(frames):
            kind = (reduced_composition(atoms), *atoms.pbc.tolist())
            # next to a border an equal structure may lie on its other side
            near = product(*(sorted({a, b}) for a, b in zip(low[index].tolist(), high[index].tolist(), strict=True)))
            if any(self._holds((kind, *place), prints[index]) for place in near):
                continue
            self._buckets.setdefault((kind, *home[index].tolist()), []).append(prints[index])
            self._number += 1
            new[index] = True
        return new

    def _scaled(self, prints: np.ndarray) -> np.ndarray:
        """Volume and two components (n, 3) in units of the width of a bucket."""
        return prints[:, [0, -1, -2]] / (BUCKET_WIDTH * self.tolerance)

    def _holds(self, key: tuple, fingerprint: np.ndarray) -> bool:
        known = self._buckets.get(key)
        return known is not None and any(np.abs(other - fingerprint).max() <= self.tolerance for other in known)
