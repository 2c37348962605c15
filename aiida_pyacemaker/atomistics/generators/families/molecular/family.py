"""Molecules: turned about bonds, vibrating, stretched; pairs and clusters of them, liquids and crystals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from ase import Atoms

from ....checks.overlap import overlapping
from ....core.errors import InputError
from ....crystals.elements import check_elements
from ....crystals.molecules import COMMON_NAMES, check_molecule, get_molecule
from ...family import Family
from .geometry import in_vacuum, phase_name, stretches, torsions, vibrations
from .packing import clusters, crystals, liquids
from .section import Molecular

#: Molecules taken by default, of those that the elements allow: at most so many, those of most elements first.
DEFAULT_MOLECULES = 3
#: Molecules that are preferred to others of as many elements.
MOST_COMMON = (
    'H2O',
    'CO2',
    'CO',
    'CH4',
    'NH3',
    'N2',
    'O2',
    'H2',
    'CH3OH',
    'CH3CH2OH',
    'CH3COOH',
    'C2H6',
    'C2H4',
    'C6H6',
)


class MolecularFamily(Family[Molecular]):
    """Molecules, their clusters and crystals."""

    name = 'molecular'
    help = 'Molecules, their clusters and crystals.'
    Parameters = Molecular
    order = 70
    is_solid = False
    cuttable = False
    file_keys = ('molecules',)

    def parents(self, elements: list[str], section: Molecular, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return molecules and what they are made into.

        First each molecule as it is; then turned about its bonds, vibrating, stretched, in clusters, liquids and
        crystals, all of them in proportion to their numbers from the start.

        :returns: at most `number` frames; `vacuum_axes` of molecules and clusters is [0, 1, 2].
        :raises ValueError: if a molecule is unknown or holds other elements, or the elements make none.
        """
        check_elements(elements)
        molecules = _molecules(elements, section)
        ideals = [
            in_vacuum(molecule, section, phase_name([molecule], 'molecule'), 'as it is') for molecule in molecules
        ]
        sources = [source for molecule in molecules for source in _sources(molecule, section, rng)]
        sources += _mixtures(molecules, section, rng)
        frames = itertools.chain(ideals, _proportionally(sources))
        return list(itertools.islice(frames, number))


def default_molecules(elements: list[str]) -> list[str]:
    """Common molecules made of the elements only: those of most of the elements first, then the best known.

    :raises ValueError: if there is none.
    """
    found = []
    for name in COMMON_NAMES:
        atoms = get_molecule(name)
        symbols = set(atoms.get_chemical_symbols())
        if symbols <= set(elements):
            rank = MOST_COMMON.index(name) if name in MOST_COMMON else len(MOST_COMMON)
            found.append((-len(symbols), rank, len(atoms), name))
    if not found:
        raise InputError(
            'molecules',
            f'no common molecule is made of {", ".join(elements)} alone',
            'give names or files of molecules, or add elements to system.elements',
        )
    return [name for *_, name in sorted(found)[:DEFAULT_MOLECULES]]


def _molecules(elements: list[str], parameters: Molecular) -> list[Atoms]:
    key = 'molecules'
    molecules = []
    for name in parameters.molecules or default_molecules(elements):
        try:
            molecule = get_molecule(name)
        except ValueError as exception:
            raise InputError(key, str(exception)) from exception
        check_molecule(molecule, elements, key)
        if overlapping(molecule, 0.7):
            raise InputError(key, f'{name} has overlapping atoms', 'give a file with a sane geometry')
        molecules.append(molecule)
    return molecules


def _sources(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> list[tuple[int, Iterator[Atoms]]]:
    """What is made of one molecule: how many, and an iterator with a generator of random numbers of its own."""
    own = rng.spawn(6)
    return [
        (parameters.torsions.number, torsions(molecule, parameters, own[0])),
        (parameters.normal_modes.number, vibrations(molecule, parameters, own[1])),
        (parameters.bonds.number, stretches(molecule, parameters, own[2])),
        (parameters.clusters.number, clusters([molecule], parameters, own[3])),
        (parameters.liquids.number, liquids([molecule], parameters, own[4])),
        (parameters.crystals.number, crystals(molecule, parameters, own[5])),
    ]


def _mixtures(
    molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator
) -> list[tuple[int, Iterator[Atoms]]]:
    """Clusters of each two molecules, and the liquid of all."""
    if len(molecules) < 2:
        return []
    pairs = list(itertools.combinations(molecules, 2))
    own = rng.spawn(len(pairs) + 1)
    sources = [
        (parameters.clusters.number, clusters(list(pair), parameters, own[index])) for index, pair in enumerate(pairs)
    ]
    return [*sources, (parameters.liquids.number, liquids(molecules, parameters, own[-1]))]


def _proportionally(sources: list[tuple[int, Iterator[Atoms]]]) -> Iterator[Atoms]:
    """Take from several iterators in proportion to their numbers, evenly from the start, until all are at their end."""
    turns = [((k + 0.5) / number, index) for index, (number, _) in enumerate(sources) for k in range(number)]
    for _, index in sorted(turns):
        atoms = next(sources[index][1], None)
        if atoms is not None:
            yield atoms
