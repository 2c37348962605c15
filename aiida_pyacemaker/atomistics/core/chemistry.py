"""Small facts of chemistry that several rooms need: units, radii, formulas."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols, covalent_radii, vdw_radii
from ase.formula import Formula

from .errors import InputError

#: u/Å³ of 1 g/cm³.
GRAM_PER_CM3 = 0.602214076
#: Å by which an atom is larger than its covalent radius where its van der Waals radius is not known.
VAN_DER_WAALS_MARGIN = 0.8


def van_der_waals_radii(numbers: np.ndarray) -> np.ndarray:
    """Van der Waals radii (n,) in Å of atomic numbers (n,).

    They are those of S. Alvarez, Dalton Trans. 2013, 8617, as tabulated in ASE; of elements without, the covalent
    radius plus 0.8 Å.
    """
    numbers = np.asarray(numbers)
    known = vdw_radii[np.minimum(numbers, len(vdw_radii) - 1)]
    known = np.where(numbers < len(vdw_radii), known, np.nan)
    return np.where(np.isfinite(known), known, covalent_radii[numbers] + VAN_DER_WAALS_MARGIN)


def parse_formula(
    formula: str, key: str, problem: str = 'not a formula such as SrTiO3', remedy: str = ''
) -> dict[str, int]:
    """Return element -> atoms of a formula, without common divisor, in the order of the formula.

    :param formula: as :class:`ase.formula.Formula` reads it, brackets included.
    :param key: where it was given, for the message.
    :param problem: what it is if it cannot be read.
    :raises InputError: if it cannot be read, or names what is no element.
    """
    try:
        counts = Formula(formula, strict=True).reduce()[0].count()
    except (ValueError, KeyError) as exception:
        raise InputError(key, f'{formula!r} is {problem}', remedy) from exception
    unknown = [symbol for symbol in counts if symbol not in chemical_symbols[1:]]
    if unknown or not counts:
        raise InputError(key, f'{formula!r} holds {", ".join(unknown) or "nothing"}, which is not a chemical element')
    return dict(counts)
