"""Cells as hot simulations have them."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....variants.rattle import Rattle, rattle
from ...property import Request
from ...requests import CELL_ATOMS, STRUCTURES_PER_REQUEST

#: K; temperature of a simulation that broke off at which cells are rattled by the displacements below (Å).
HOT_TEMPERATURE = 1000.0
HOT_AMPLITUDES = (0.1, 0.2, 0.3)


def hot(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Cells rattled as far as atoms are displaced at a temperature, and squeezed pairs."""
    scale = float(np.clip((request.get('temperature', HOT_TEMPERATURE) / HOT_TEMPERATURE) ** 0.5, 0.5, 1.5))
    parameters = Rattle(
        atoms=CELL_ATOMS,
        amplitude=[round(scale * width, 3) for width in HOT_AMPLITUDES],
        method='monte_carlo',
        closest=0.75,
    )
    return [rattle(parent, parameters, rng, index, STRUCTURES_PER_REQUEST) for index in range(STRUCTURES_PER_REQUEST)]
