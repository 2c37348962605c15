"""Magnetic moments that frames carry, as far as they tell structures apart."""

from __future__ import annotations

import numpy as np
from ase import Atoms

#: The array of collinear moments, Bohr magnetons.
MOMENTS = 'magnetic_moments'
#: Bohr magnetons; moments below this are none.
NEGLIGIBLE = 0.05
#: What is added to the atomic number of an atom whose moment points down.
DOWN = 200


def with_spins(atoms: Atoms) -> Atoms:
    """Return a frame in which atoms whose moments point down have another atomic number, for comparisons only.

    Up is the direction of the whole moment, or that of the first atom with a moment where there is none: turning all
    moments changes nothing. A frame without moments, or with all in one direction, is returned itself.
    """
    moments = atoms.arrays.get(MOMENTS)
    if moments is None or np.abs(moments).max(initial=0.0) < NEGLIGIBLE:
        return atoms
    total = float(moments.sum())
    up = total if abs(total) > NEGLIGIBLE else moments[np.abs(moments) >= NEGLIGIBLE][0]
    down = moments * np.sign(up) < -NEGLIGIBLE
    if not down.any():
        return atoms
    return Atoms(atoms.numbers + DOWN * down, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
