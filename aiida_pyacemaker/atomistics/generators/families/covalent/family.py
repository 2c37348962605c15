"""Networks of covalent bonds: diamond and its polytypes, graphite and layers, high pressure, amorphous, distorted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import get_args

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from ....core.errors import InputError
from ....crystals.elements import check_elements, forms_network
from ...family import Family
from .bonds import Species
from .crystals import ideal_cells
from .distortions import distorted_crystals, interlayer_scans
from .section import Covalent, Structure

#: Valence electrons of the elements that form networks; two of them with eight together make a compound.
VALENCE = {
    **dict.fromkeys(('Be', 'Zn', 'Cd', 'Hg'), 2),
    **dict.fromkeys(('B', 'Al', 'Ga', 'In'), 3),
    **dict.fromkeys(('C', 'Si', 'Ge', 'Sn'), 4),
    **dict.fromkeys(('N', 'P', 'As', 'Sb'), 5),
    **dict.fromkeys(('O', 'S', 'Se', 'Te'), 6),
}
#: Elements whose own crystals are of interest here.
TETRAHEDRAL = ('C', 'Si', 'Ge', 'Sn')
#: Elements whose ground state is a network or a molecular crystal of another kind.
OTHERS = ('B', 'P', 'As', 'Sb', 'Se', 'Te')
#: Anions whose compounds are wurtzites rather than zincblendes.
WURTZITE = ('N', 'O')
#: Structures that only elements have.
ELEMENTAL = frozenset({'chain', 'beta_tin', 'simple_hexagonal', 'bc8', 'simple_cubic', 'bcc', 'fcc', 'ground_state'})
#: What the structure of an element (1) or a compound (2) is called.
PHASES = {('2H', 1): 'lonsdaleite', ('2H', 2): 'wurtzite', ('ground_state', 1): 'ground state'}
#: What an element or a compound gets by default.
DEFAULTS: dict[str, tuple[str, ...]] = {
    'C': ('diamond', 'graphite', '2H', 'graphene', 'layered', 'amorphous', '4H', '6H', 'chain', 'bc8', 'simple_cubic'),
    'Si': ('diamond', 'beta_tin', '2H', 'amorphous', 'bc8', 'simple_hexagonal', '4H', '6H', 'graphene', 'simple_cubic',
           'bcc', 'fcc'),
    'C-Si': ('zincblende', '4H', '2H', '6H', 'amorphous', 'rocksalt', 'graphene'),
    'B-N': ('graphite', 'zincblende', '2H', 'graphene', 'layered', 'amorphous', 'rocksalt'),
    'other': ('ground_state',),
    'wurtzite': ('2H', 'zincblende', 'rocksalt', '4H', 'amorphous', 'graphene'),
    'compound': ('zincblende', '2H', 'rocksalt', '4H', 'amorphous', 'graphene'),
}  # fmt: skip


class CovalentFamily(Family[Covalent]):
    """Networks of covalent bonds."""

    name = 'covalent'
    help = 'Networks of covalent bonds.'
    Parameters = Covalent
    order = 30

    def suits(self, elements: list[str]) -> bool:
        return forms_network(elements)

    def parents(self, elements: list[str], section: Covalent, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return networks of covalent bonds: of each element that forms one, and of each pair with eight electrons.

        First the crystals, the most common ones of all elements and compounds before the rare ones; then distorted
        bonds and dihedral angles, and the distances between sheets.

        :returns: at most `number` frames; sheets and chains have `vacuum_axes` in their info.
        :raises ValueError: if no element forms a network, or a structure asked for suits none of them.
        """
        check_elements(elements)
        materials = _materials(elements)
        plan = _plan(materials, section)
        several = len(materials) > 1
        found = _all(plan, section, several, rng)
        return list(itertools.islice(found, number))


def _materials(elements: list[str]) -> list[Species]:
    """Elements and compounds that form networks; a compound is given as (cation, anion)."""
    elements = list(dict.fromkeys(elements))
    tetrahedral = [(element,) for element in elements if element in TETRAHEDRAL]
    compounds = []
    for pair in itertools.combinations(elements, 2):
        electrons = [VALENCE.get(element, 0) for element in pair]
        if sum(electrons) == 8 and min(electrons) >= 2:
            compounds.append(tuple(sorted(pair, key=lambda element: (VALENCE[element], -atomic_numbers[element]))))
    others = [(element,) for element in elements if element in OTHERS]
    if not (compounds or tetrahedral or others):
        raise InputError(
            '',
            f'none of {", ".join(elements)} forms a network of covalent bonds, as '
            f'{", ".join((*TETRAHEDRAL, *OTHERS))} and compounds such as SiC, BN and GaAs do',
            'use structures.knowledge, structures.alloy or structures.ionic',
        )
    return [*compounds, *tetrahedral, *others]


def _suits(structure: str, species: Species) -> bool:
    if len(species) == 2:
        return structure not in ELEMENTAL
    if species[0] in OTHERS:
        return structure == 'ground_state'
    return structure not in ('rocksalt', 'ground_state')


def _plan(materials: list[Species], parameters: Covalent) -> list[tuple[Species, str]]:
    """Materials and structures to make: the first structure of each material before the second of any."""
    chosen = {}
    for species in materials:
        name = '-'.join(sorted(species))
        kind = 'compound' if len(species) == 2 else 'other' if species[0] in OTHERS else 'Si'
        if kind == 'compound' and species[1] in WURTZITE:
            kind = 'wurtzite'
        default = DEFAULTS.get(name, DEFAULTS[kind])
        asked = parameters.structures or default
        chosen[species] = list(dict.fromkeys(_own_name(s, species) for s in asked if _suits(s, species)))
    for structure in parameters.structures or []:
        if not any(_suits(structure, species) for species in materials):
            possible = [s for s in get_args(Structure) if any(_suits(s, species) for species in materials)]
            raise InputError(
                'structures',
                f'{structure} is no structure of {", ".join("".join(species) for species in materials)}',
                f'possible are {", ".join(possible)}',
            )
    ranks = max(map(len, chosen.values()))
    return [(species, names[k]) for k in range(ranks) for species, names in chosen.items() if k < len(names)]


def _own_name(structure: str, species: Species) -> str:
    """Diamond of a compound is zincblende, and the other way round."""
    names = {'diamond': 'zincblende'} if len(species) == 2 else {'zincblende': 'diamond'}
    return names.get(structure, structure)


def _all(
    plan: list[tuple[Species, str]], parameters: Covalent, several: bool, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Ideal structures, then in turn distortions and distances between sheets; made as they are asked for."""
    ideals = []
    for species, structure in plan:
        for atoms in ideal_cells(species, structure, parameters, rng):
            formula = ''.join(species)
            phase = PHASES.get((structure, len(species)), structure)
            atoms.info.update(family='covalent', phase=f'{formula} {phase}' if several else phase)
            atoms.info['parameters'] = {'material': formula, 'structure': structure, **atoms.info['parameters']}
            ideals.append(atoms)
            yield atoms
    scans = interlayer_scans(ideals, parameters.interlayer)
    distortions = distorted_crystals(ideals, parameters.distortions, rng)
    for pair in itertools.zip_longest(distortions, scans):
        yield from (atoms for atoms in pair if atoms is not None)
