"""Atoms close to each other."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....checks.overlap import covalent_distance
from ....variants.clusters import FREE_SPACE
from ....variants.squeeze import MIN_CONTACT_RATIO, closer
from ....variants.supercell import supercell
from ...property import Request
from ...requests import CELL_ATOMS, STRUCTURES_PER_REQUEST


def pushed(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Cells in which two atoms of some elements are at distances evenly in a range."""
    pair = tuple(request['elements'])
    least = MIN_CONTACT_RATIO * covalent_distance(pair)
    near, far = (max(distance, least) for distance in request['distances'])
    return [
        closer(supercell(parent, CELL_ATOMS), pair, distance, rng)
        for distance in np.linspace(near, far, STRUCTURES_PER_REQUEST)
    ]


def paired(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Two atoms alone, at distances evenly in a range, and the same pushed together in the crystal."""
    pair = tuple(request['elements'])
    least = MIN_CONTACT_RATIO * covalent_distance(pair)
    near, far = (max(distance, least) for distance in request['distances'])
    alone = []
    for distance in np.linspace(near, far, STRUCTURES_PER_REQUEST):
        cell = np.add(FREE_SPACE, [0.0, 0.0, distance])
        atoms = Atoms(pair, [[0, 0, 0], [0, 0, distance]], cell=cell, pbc=True)
        atoms.center()
        atoms.info = {'phase': 'dimer', 'vacuum_axes': [0, 1, 2], 'parameters': {'distance': round(distance, 4)}}
        alone.append(atoms)
    return [*alone, *(pushed(parent, request, rng) if has_pair(parent, pair) else [])]


def has_pair(parent: Atoms, pair: tuple[str, ...]) -> bool:
    """Return whether a crystal holds the elements of a pair."""
    return set(pair) <= set(parent.symbols)
