"""Strained cells."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....variants.common import strain_in_place
from ....variants.strain import Strain, strain
from ...property import Request
from ...requests import STRUCTURES_PER_REQUEST

#: Largest component of a strain along a soft direction.
STRAINS = (0.01, 0.02, 0.04)


def strained(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Strained along one direction of strain to both sides, or at random."""
    if request.get('strain') is None:
        return [
            strain(parent, Strain(amplitude=0.04), rng, index, STRUCTURES_PER_REQUEST)
            for index in range(STRUCTURES_PER_REQUEST)
        ]
    xx, yy, zz, yz, xz, xy = request['strain']
    tensor = np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
    tensor /= np.abs(tensor).max()
    frames = []
    for amplitude in (sign * size for size in STRAINS for sign in (1, -1)):
        atoms = parent.copy()
        strain_in_place(atoms, amplitude * tensor)
        atoms.info = {**parent.info, 'parameters': {'amplitude': amplitude}}
        frames.append(atoms)
    return frames
