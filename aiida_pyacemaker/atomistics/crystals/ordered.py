"""Ordered compounds that are decorations of a simple lattice, as rules: which site of the lattice holds which element.

The cells have right angles, as those of `elements.conventional_cell`; no site moves off the lattice and c/a is that of
the lattice. Strukturbericht names: Villars and Calvert, *Pearson's Handbook of Crystallographic Data* (1991).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations, zip_longest

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

#: Parity of i + j + k over the cells (i, j, k) of a 2 x 2 x 2 supercell, in ASE's order.
_PARITY = (0, 1, 1, 0, 1, 0, 0, 1)


def _checkered(even: str, odd: str) -> str:
    return ''.join(odd if parity else even for parity in _PARITY)


#: name -> lattice, repeats of its conventional cell, the letter of every site in ASE's order, a typical compound.
ORDERED: dict[str, tuple[str, tuple[int, int, int], str, str]] = {
    'L1_0': ('fcc', (1, 1, 1), 'ABBA', 'CuAu'),
    'L1_2': ('fcc', (1, 1, 1), 'BAAA', 'Cu3Au'),
    'D0_22': ('fcc', (1, 1, 2), 'BAAAAAAB', 'Al3Ti'),
    'B2': ('bcc', (1, 1, 1), 'AB', 'CsCl'),
    'D0_3': ('bcc', (2, 2, 2), _checkered('BA', 'AA'), 'Fe3Al'),
    'B32': ('bcc', (2, 2, 2), _checkered('AA', 'BB'), 'NaTl'),
    'B19': ('hcp', (1, 1, 1), 'ABBA', 'AuCd'),
    'B_h': ('hcp', (1, 1, 1), 'AABB', 'WC'),
    'D0_a': ('hcp', (2, 2, 1), 'BAAABAAAAAABAAAB', 'TiCu3'),
    'D0_19': ('hcp', (2, 2, 1), 'BAABAAAAAAAABAAB', 'Ni3Sn'),
    'B3': ('diamond', (1, 1, 1), 'ABABABAB', 'ZnS'),
    'B1': ('sc', (2, 2, 2), _checkered('A', 'B'), 'NaCl'),
    'ABC2': ('fcc', (1, 1, 1), 'ACCB', 'FeCuPt2'),
    'L2_1': ('bcc', (2, 2, 2), _checkered('BA', 'CA'), 'Cu2MnAl'),
    'X_a': ('bcc', (2, 2, 2), _checkered('AA', 'BC'), 'CuHg2Ti'),
    'ABCD': ('fcc', (1, 1, 1), 'ABCD', 'quaternary fcc'),
    'Y': ('bcc', (2, 2, 2), _checkered('AB', 'CD'), 'LiMgPdSn'),
}


def ordered_names(lattice: str, species: int) -> list[str]:
    """Names of the compounds with this many elements on a lattice, in the order of the table."""
    return [name for name, (own, _, letters, _) in ORDERED.items() if own == lattice and len(set(letters)) == species]


def ordered_fractions(name: str, species: Sequence[str]) -> dict[str, float]:
    """Atomic fractions of a compound whose letters A, B, C... stand for these elements."""
    letters = ORDERED[name][2]
    return {element: letters.count(letter) / len(letters) for letter, element in zip('ABCD', species, strict=False)}


def decorated(cell: Atoms, name: str, species: Sequence[str]) -> Atoms:
    """Return the compound on the lattice of a conventional cell; letters A, B, C... become these elements."""
    _, repeats, letters, _ = ORDERED[name]
    atoms = cell.repeat(repeats)
    atoms.set_chemical_symbols([species['ABCD'.index(letter)] for letter in letters])
    return atoms


def assignments(cell: Atoms, name: str, elements: Sequence[str]) -> list[tuple[str, ...]]:
    """Ways to give the elements to the letters of a compound that are not the same structure.

    Two assignments are the same if every element sees every other at the same distances up to the longest axis: that is
    exact for the compounds of the table.
    """
    kept: dict[tuple, tuple[str, ...]] = {}
    probe = cell.repeat(ORDERED[name][1])
    cutoff = 1.01 * float(cell.cell.lengths().max())
    first, second, distances = neighbor_list('ijd', probe, cutoff)
    shells = np.round(distances, 3)
    for species in permutations(elements):
        symbols = np.array(decorated(cell, name, species).get_chemical_symbols())
        seen = sorted(zip(symbols[first].tolist(), symbols[second].tolist(), shells.tolist(), strict=True))
        kept.setdefault(tuple(seen), species)
    return list(kept.values())


def ordered_compounds(elements: Sequence[str], cells: dict[str, Atoms]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """All compounds of the elements on the lattices: binaries first, then ternaries and quaternaries.

    Every subsystem of the elements gets its first compound before any gets its second.

    :param cells: lattice -> conventional cell (any element; only the geometry counts).
    :returns: lattice, name, and the elements that the letters stand for.
    """
    found: dict[str, list[tuple[int, ...]]] = {}
    for species in range(2, min(len(elements), 4) + 1):
        names = [(lattice, name) for lattice in cells for name in ordered_names(lattice, species)]
        for lattice, name in names:
            letters = assignments(cells[lattice], name, 'H He Li Be'.split()[:species])
            found[name] = [tuple('H He Li Be'.split().index(letter) for letter in way) for way in letters]
        systems = list(combinations(elements, species))
        ways = [[(lattice, name, way) for way in found[name]] for lattice, name in names]
        for round_ in zip_longest(*ways):
            for choice in filter(None, round_):
                for system in systems:
                    yield choice[0], choice[1], tuple(system[index] for index in choice[2])
