"""How close two atoms may be: sums of covalent radii, and of ionic radii between a cation and an anion."""

from __future__ import annotations

from functools import cache

from ase.data import chemical_symbols, covalent_radii

#: What an atom is to its neighbours: atomic number and oxidation state (0 where none is set).
Kind = tuple[int, float]


def contact_distance(first: Kind, second: Kind) -> float:
    """Distance (Å) at which two atoms touch.

    The sum of the covalent radii (Cordero et al., Dalton Trans. 2008, 2832, as tabulated in ASE); between a cation and
    an anion the sum of the ionic radii where that is smaller, since small cations of high charge sit closer.
    """
    covalent = float(covalent_radii[first[0]] + covalent_radii[second[0]])
    if first[1] * second[1] < 0:
        one, other = ionic_radius(*first), ionic_radius(*second)
        if one is not None and other is not None and one + other > 0:
            return min(covalent, one + other)
    return covalent


@cache
def ionic_radius(number: int, state: float) -> float | None:
    """Effective ionic radius (Å) at the nearest tabulated charge, at or near coordination six; None if there is none.

    R. D. Shannon, Acta Cryst. A32, 751 (1976), as tabulated in pymatgen. Of several spins the smaller ion.
    """
    from pymatgen.core import Element

    table = Element(chemical_symbols[number]).data.get('Shannon radii') or {}
    charges = sorted((abs(float(charge) - state), charge) for charge in table if float(charge) * state > 0)
    if not charges:
        return None
    by_coordination = table[charges[0][1]]
    nearest = min(by_coordination, key=lambda name: (abs(_COORDINATION.get(name, 6) - 6), name))
    return min(float(values['ionic_radius']) for values in by_coordination[nearest].values())


_COORDINATION = {
    **{name: k for k, name in enumerate('I II III IV V VI VII VIII IX X XI XII XIII XIV'.split(), start=1)},
    **{'IIIPY': 3, 'IVPY': 4, 'IVSQ': 4},
}
