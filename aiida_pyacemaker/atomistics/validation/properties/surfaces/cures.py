"""Slabs."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....variants.surfaces import Surface, surface
from ...property import Request
from ...requests import STRUCTURES_PER_REQUEST


def cut(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Slabs, ideal and rattled."""
    miller = request.get('miller')
    planes = None if miller is None else [[miller[0], miller[1], miller[-1]]]
    number = STRUCTURES_PER_REQUEST // 2
    return [surface(parent, Surface(miller=planes), rng, index, number) for index in range(number)]
