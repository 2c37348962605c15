"""Distances between atoms: what the data cover, and what is too close."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list

Pair = tuple[str, str]


def element_pairs(elements: list[str]) -> list[Pair]:
    """Return all unordered pairs of the elements, each pair and the list in alphabetical order."""
    return list(combinations_with_replacement(sorted(set(elements)), 2))


def covalent_distance(pair: Pair) -> float:
    """Sum of the covalent radii of a pair in Å (Cordero et al., Dalton Trans. 2008, 2832, as tabulated in ASE)."""
    return float(sum(covalent_radii[atomic_numbers[element]] for element in pair))


def shortest_distances(frames: list[Atoms], cutoff: float = 6.0) -> dict[Pair, float]:
    """Shortest distance of every pair of elements in the frames.

    :param cutoff: Å; a pair that is nowhere closer than this is left out.
    :returns: pair in alphabetical order -> Å.
    """
    shortest: dict[Pair, float] = {}
    for atoms in frames:
        first, second, distances = neighbor_list('ijd', atoms, cutoff)
        symbols = np.array(atoms.get_chemical_symbols())
        names = np.char.add(np.char.add(symbols[first], ' '), symbols[second]) if len(first) else []
        for name in np.unique(names):
            pair = tuple(sorted(str(name).split()))
            closest = float(distances[names == name].min())
            shortest[pair] = min(shortest.get(pair, np.inf), closest)
    return shortest


def overlapping(atoms: Atoms, ratio: float = 0.5) -> bool:
    """Return whether two atoms are closer than `ratio` times the sum of their covalent radii (images included)."""
    radii = {number: ratio * covalent_radii[number] for number in set(atoms.numbers.tolist())}
    first, _ = neighbor_list('ij', atoms, [radii[number] for number in atoms.numbers])
    return len(first) > 0
