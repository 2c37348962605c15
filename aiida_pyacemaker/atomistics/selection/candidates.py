"""Local candidates around a configuration."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping

#: Draws per candidate before giving up.
ATTEMPTS = 50


def displaced(atoms: Atoms, n: int, amplitude: float, rng: np.random.Generator) -> list[Atoms]:
    """Return n copies with every coordinate displaced by a Gaussian of width `amplitude` (Å), none overlapping.

    :raises ValueError: if hardly any draw is free of overlap.
    """
    candidates = []
    for _ in range(n):
        for _ in range(ATTEMPTS):
            candidate = atoms.copy()
            candidate.calc = None
            candidate.positions += rng.normal(0.0, amplitude, candidate.positions.shape)
            if not overlapping(candidate):
                candidates.append(candidate)
                break
        else:
            raise ValueError(
                f'{atoms.get_chemical_formula()}: atoms overlap after displacements of {amplitude} Å: '
                'lower the displacement'
            )
    return candidates
