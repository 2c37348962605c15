"""Oxidation states of a frame: those it carries, or those of the compound it is made of."""

from __future__ import annotations

from functools import reduce
from math import gcd

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ..checks.charge import OXIDATION_STATES

#: Difference of electronegativity (Pauling) from which on a compound without oxidation states is taken for ionic.
IONIC = 1.5
#: Atoms of a formula unit, at most.
LARGEST_FORMULA = 12
#: How far a composition with defects may be from the formula, in atomic fractions.
DEVIATION = 0.02


def states_of(atoms: Atoms) -> np.ndarray | None:
    """Oxidation states (n,) of a frame, None for a material that is not ionic.

    Without an array of its own, the frame must be, but for defects, a compound of elements that differ much in
    electronegativity and have one state each that makes the formula neutral.
    """
    if OXIDATION_STATES in atoms.arrays:
        states = np.asarray(atoms.arrays[OXIDATION_STATES], dtype=float)
        return states if states.any() else None
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    if len(numbers) < 2 or not _differ(numbers):
        return None
    formula = _formula(counts / counts.sum())
    if formula is None:
        return None
    from .oxidation import compound_of

    symbols = [chemical_symbols[number] for number in numbers]
    text = ''.join(f'{symbol}{count}' for symbol, count in zip(symbols, formula, strict=True))
    try:
        found = compound_of(text, symbols, None).states
    except ValueError:
        return None
    if any(len(set(states)) > 1 for states in found.values()):
        return None
    table = {atomic_numbers[symbol]: float(states[0]) for symbol, states in found.items()}
    return np.array([table[int(number)] for number in atoms.numbers])


def _differ(numbers: np.ndarray) -> bool:
    from pymatgen.core import Element

    values = [Element(chemical_symbols[number]).X for number in numbers]
    return bool(np.ptp(values) >= IONIC)


def _formula(shares: np.ndarray) -> tuple[int, ...] | None:
    """Whole numbers nearest to a composition."""
    for atoms in range(len(shares), LARGEST_FORMULA + 1):
        counts = np.rint(shares * atoms).astype(int)
        if counts.min() > 0 and counts.sum() == atoms and np.abs(counts / atoms - shares).max() <= DEVIATION:
            divisor = reduce(gcd, counts.tolist())
            return tuple(int(count) // divisor for count in counts)
    return None
