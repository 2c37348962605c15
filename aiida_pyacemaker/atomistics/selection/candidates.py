"""Local candidates around a configuration."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping

#: Draws per candidate before giving up.
ATTEMPTS = 50
#: Å around the core of an embedded cell over which displacements fade.
FADING = 4.0


def displaced(atoms: Atoms, n: int, amplitude: float, rng: np.random.Generator) -> list[Atoms]:
    """Return n copies with every coordinate displaced by a Gaussian of width `amplitude` (Å), none overlapping.

    Of an embedded cell (array `force_weights`) the core is displaced, and what is near it by less: the boundary stays
    as it was closed.

    :raises ValueError: if hardly any draw is free of overlap.
    """
    widths = amplitude * _shares(atoms)[:, None]
    candidates = []
    for _ in range(n):
        for _ in range(ATTEMPTS):
            candidate = atoms.copy()
            candidate.calc = None
            candidate.positions += widths * rng.normal(size=candidate.positions.shape)
            if not overlapping(candidate):
                candidates.append(candidate)
                break
        else:
            raise ValueError(
                f'{atoms.get_chemical_formula()}: atoms overlap after displacements of {amplitude} Å: '
                'lower the displacement'
            )
    return candidates


def _shares(atoms: Atoms) -> np.ndarray:
    """How much each atom is displaced (n,): 1 in the core, falling to 0 over `FADING` beyond it."""
    weights = atoms.arrays.get('force_weights')
    if weights is None or np.all(weights > 0):
        return np.ones(len(atoms))
    distance = np.min([atoms.get_distances(index, range(len(atoms)), mic=True) for index in np.flatnonzero(weights)], 0)
    return np.clip(1 - distance / FADING, 0, 1)
