"""Small facts of chemistry that several rooms need: units, radii."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii, vdw_radii

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
