"""How long covalent bonds are."""

from __future__ import annotations

import math
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

#: Bond lengths (Å) where atoms have four neighbours, from the lattice constants at room temperature.
FOURFOLD = {
    'C-C': 1.545, 'Si-Si': 2.352, 'Ge-Ge': 2.450, 'Sn-Sn': 2.810, 'C-Si': 1.888, 'Ge-Si': 2.40, 'B-N': 1.567,
    'B-P': 1.965, 'As-B': 2.069, 'Al-N': 1.90, 'Al-P': 2.367, 'Al-As': 2.451, 'Al-Sb': 2.657, 'Ga-N': 1.95,
    'Ga-P': 2.360, 'As-Ga': 2.448, 'Ga-Sb': 2.640, 'In-N': 2.16, 'In-P': 2.541, 'As-In': 2.623, 'In-Sb': 2.806,
    'Be-O': 1.65, 'O-Zn': 1.98, 'S-Zn': 2.342, 'Se-Zn': 2.454, 'Te-Zn': 2.642, 'Cd-S': 2.527, 'Cd-Se': 2.62,
    'Cd-Te': 2.806,
}  # fmt: skip
#: Bond lengths (Å) where atoms have three neighbours in a sheet; Si and Ge from Cahangirov et al., PRL 102, 236804.
THREEFOLD = {
    'C-C': 1.42, 'B-N': 1.446, 'C-Si': 1.79, 'Si-Si': 2.28, 'Ge-Ge': 2.44, 'Al-N': 1.80, 'Ga-N': 1.86,
}  # fmt: skip
#: Volume per atom of diamond in units of the cube of the bond.
DIAMOND_VOLUME = 8 / (3 * math.sqrt(3))
#: Length of bonds in a sheet, in units of those between fourfold atoms, where nothing better is known.
SHEET = 0.94
#: Length of bonds in a straight chain, in the same units.
CHAIN = 0.835
#: One element, or the two of a compound.
Species = tuple[str, ...]


def bond_length(first: str, second: str, own: dict[str, float] | None = None, neighbours: int = 4) -> float:
    """Length (Å) of the bond of two elements: known, or else from covalent radii.

    :param own: lengths of fourfold bonds (`Si-Ge`) that take precedence; threefold ones are scaled with them.
    :param neighbours: 4, or 3 in a sheet.
    """
    name = '-'.join(sorted((first, second)))
    given = {'-'.join(sorted(key.split('-'))): value for key, value in (own or {}).items()}
    radii = float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])
    known = FOURFOLD.get(name, radii)
    fourfold = given.get(name, known)
    if neighbours == 4:
        return fourfold
    return fourfold * THREEFOLD.get(name, SHEET * known) / known


def describe(atoms: Atoms, reason: str, vacuum_axes: list[int] | None = None, **made: Any) -> Atoms:
    atoms.info.clear()
    atoms.info.update(reason=reason, parameters=made)
    if vacuum_axes:
        atoms.info['vacuum_axes'] = vacuum_axes
    return atoms
