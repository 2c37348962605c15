"""Is a frame with oxidation states neutral?"""

from __future__ import annotations

from ase import Atoms

#: Name of the per-atom array that holds oxidation states.
OXIDATION_STATES = 'oxidation_states'
#: What a sum of fractional oxidation states (8/3 in Fe3O4) may be off by rounding.
TOLERANCE = 1e-3


def total_charge(atoms: Atoms) -> float | None:
    """Sum of the oxidation states; None where the frame has none."""
    states = atoms.arrays.get(OXIDATION_STATES)
    return None if states is None else float(states.sum())


def is_neutral(atoms: Atoms) -> bool:
    """Return whether the oxidation states sum to zero; a frame without any counts as neutral."""
    charge = total_charge(atoms)
    return charge is None or abs(charge) < TOLERANCE
