"""Cells with a vacancy."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....variants.defects import Vacancy, vacancy
from ...property import Request
from ...requests import CELL_ATOMS, STRUCTURES_PER_REQUEST


def without_atom(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Cells with a vacancy, rattled."""
    number = STRUCTURES_PER_REQUEST // 2
    return [vacancy(parent, Vacancy(atoms=CELL_ATOMS), rng, index, number) for index in range(number)]
