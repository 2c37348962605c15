"""Networks of covalent bonds: diamond and its polytypes, graphite and layers, high pressure, amorphous, distorted."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, vdw_radii
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from pydantic import Field

from ..checks.overlap import overlapping
from ..core.parameters import Count, Positive, Section, parameter
from ..crystals.elements import check_elements, ground_state
from .amorphous import DENSITY, amorphous_network, melt_quench, random_packing
from .stillinger_weber import StillingerWeber

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
#: Height (Å) between the two halves of a sheet that is not flat (same source).
BUCKLING = {'Si-Si': 0.44, 'Ge-Ge': 0.64}
#: Distance of sheets in Å.
INTERLAYER = {'C-C': 3.354, 'B-N': 3.33}
#: Stacking of the polytypes.
POLYTYPES = {'2H': 'AB', '4H': 'ABCB', '6H': 'ABCACB'}
#: Volume per atom under pressure in units of that of diamond (silicon: Mujica et al., Rev. Mod. Phys. 75, 863).
DENSER = {'beta_tin': 0.77, 'simple_hexagonal': 0.70, 'bc8': 0.91, 'simple_cubic': 0.81, 'bcc': 0.73, 'fcc': 0.72,
          'rocksalt': 0.82}  # fmt: skip
#: Density (g/cm³) of amorphous carbon: tetrahedral, and with many threefold atoms; others in units of the crystal's.
AMORPHOUS_CARBON, AMORPHOUS = (3.1, 2.4), 0.97
#: Volume per atom of diamond in units of the cube of the bond.
DIAMOND_VOLUME = 8 / (3 * math.sqrt(3))
#: Bonds in a sheet, and in a straight chain, in units of those between fourfold atoms, where nothing better is known.
SHEET, CHAIN = 0.94, 0.835
#: Default stackings of graphite, of elements and of compounds.
STACKINGS, COMPOUND_STACKINGS = ('AB', 'ABC', 'AA'), ("AA'", 'AB', 'AA')
#: Where a layer lies, in units of the diagonal of the hexagonal cell.
LATERAL = {'A': 0.0, 'B': 1 / 3, 'C': 2 / 3}
#: Structures of elements only.
ELEMENTAL = frozenset({'chain', 'beta_tin', 'simple_hexagonal', 'bc8', 'simple_cubic', 'bcc', 'fcc', 'ground_state'})
#: What the structure of an element (1) or a compound (2) is called.
PHASES = {('2H', 1): 'lonsdaleite', ('2H', 2): 'wurtzite', ('ground_state', 1): 'ground state'}
REASONS = {
    'diamond': 'every atom has four neighbours',
    'zincblende': 'every atom has four unlike neighbours',
    'polytype': 'the double layers of diamond or zincblende in another stacking, with nearly the same energy',
    'ground_state': 'ground state of the element',
    'pressure': 'denser, with more neighbours: takes over under pressure, and teaches what happens there',
}
#: Sheets farther apart than their atoms' size plus this (Å) have vacuum between them.
WIDE = 2.5
#: Bonds are shorter than this times the ideal length.
BOND = 1.2
#: Distortions that make atoms overlap are drawn anew, with less amplitude each time.
ATTEMPTS = 10

#: One element, or the two of a compound.
Species = tuple[str, ...]
#: Centres (m,), other ends (m,) and vectors (m, 3) in Å.
Bonds = tuple[np.ndarray, np.ndarray, np.ndarray]
Structure = Literal[
    'diamond', 'zincblende', '2H', '4H', '6H', 'graphite', 'graphene', 'layered', 'chain', 'beta_tin',
    'simple_hexagonal', 'bc8', 'simple_cubic', 'bcc', 'fcc', 'rocksalt', 'ground_state', 'amorphous',
]  # fmt: skip
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


class Amorphous(Section):
    """Amorphous cells."""

    number: Count = parameter('Amorphous cells of each element or compound.', default=2, ge=0)
    atoms: Count = parameter(
        'Atoms of an amorphous cell, rounded up to a multiple of eight.', default=64, ge=32, le=1000
    )
    method: Literal['network', 'melt_quench'] = parameter(
        '`network`: a random network by bond switching; `melt_quench`: a melt cooled with a Stillinger-Weber potential '
        'that is scaled to the bond length.',
        default='network',
    )
    density: list[Positive] | None = parameter(
        'Densities, used in turn; null: near that of the crystal, for carbon 3.1 and 2.4.', 'g/cm³', default=None
    )
    temperature: Positive = parameter('Temperature of the melt for `melt_quench`.', 'K', default=3000.0)


class Distortions(Section):
    """Distorted bonds and dihedral angles, for each crystal."""

    bond: Count = parameter('Cells in which one bond is stretched or compressed, for each crystal.', default=2, ge=0)
    stretch: Annotated[float, Field(gt=0, lt=0.3)] = parameter(
        'Largest change of the bond length, as a fraction.', default=0.12
    )
    dihedral: Count = parameter('Cells in which atoms turn about one bond, for each crystal.', default=2, ge=0)
    angle: Annotated[float, Field(gt=0, le=60)] = parameter('Largest turn about a bond.', 'degree', default=20.0)
    atoms: Count = parameter('Atoms of a distorted cell, at least.', default=16, ge=8)


class Interlayer(Section):
    """Scan of the distance between sheets."""

    number: Count = parameter('Distances of each stacking and stack, beside the ideal one.', default=3, ge=0)
    minimum: Annotated[float, Field(gt=0.6)] = parameter('Smallest distance, in units of the ideal one.', default=0.85)
    maximum: Annotated[float, Field(lt=3)] = parameter('Largest distance, in units of the ideal one.', default=1.5)


class Covalent(Section):
    """Networks of covalent bonds."""

    structures: list[Structure] | None = parameter(
        'Which structures; null: those that suit the elements. `2H`, `4H` and `6H` are hexagonal polytypes, `layered` '
        'is a stack of few sheets in vacuum, `chain` a straight wire.',
        default=None,
        min_length=1,
    )
    stackings: list[Annotated[str, Field(pattern="^([ABC]'?)+$")]] | None = parameter(
        'Stackings of graphite as letters; an apostrophe exchanges the elements of a compound in a sheet. null: AB, '
        "ABC and AA; for compounds AA', AB and AA.",
        default=None,
        min_length=1,
    )
    layers: list[Annotated[Count, Field(ge=2, le=10)]] = parameter('Sheets of `layered` structures.', default=[2, 3])
    vacuum: Annotated[float, Field(ge=5)] = parameter('Vacuum beside sheets and chains.', 'Å', default=12.0)
    bonds: dict[Annotated[str, Field(pattern='^[A-Z][a-z]?-[A-Z][a-z]?$')], Positive] = parameter(
        'Bond lengths of your own for atoms with four neighbours, such as `Si-Ge: 2.4`.', 'Å', default={}
    )
    amorphous: Amorphous = parameter('Amorphous cells.', default=Amorphous())
    distortions: Distortions = parameter('Distorted bonds and dihedral angles.', default=Distortions())
    interlayer: Interlayer = parameter('Scan of the distance between sheets.', default=Interlayer())


def generate_covalent(elements: list[str], parameters: Covalent, number: int, rng: np.random.Generator) -> list[Atoms]:
    """Return networks of covalent bonds: of each element that forms one, and of each pair with eight electrons.

    First the crystals, the most common ones of all elements and compounds before the rare ones; then distorted bonds
    and dihedral angles, and the distances between sheets.

    :returns: at most `number` frames; sheets and chains have `vacuum_axes` in their info.
    :raises ValueError: if no element forms a network, or a structure asked for suits none of them.
    """
    check_elements(elements)
    materials = _materials(elements)
    plan = _plan(materials, parameters)
    several = len(materials) > 1
    found = _all(plan, parameters, several, rng)
    return list(itertools.islice(found, number))


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


# What to make ---------------------------------------------------------------------------------------------------------


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
        raise ValueError(
            f'structures.covalent: none of {", ".join(elements)} forms a network of covalent bonds, as '
            f'{", ".join((*TETRAHEDRAL, *OTHERS))} and compounds such as SiC, BN and GaAs do; '
            'use structures.knowledge, structures.alloy or structures.ionic'
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
            raise ValueError(
                f'structures.covalent.structures: {structure} is no structure of '
                f'{", ".join("".join(species) for species in materials)}; possible are {", ".join(possible)}'
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
        for atoms in _ideal(species, structure, parameters, rng):
            formula = ''.join(species)
            phase = PHASES.get((structure, len(species)), structure)
            atoms.info.update(family='covalent', phase=f'{formula} {phase}' if several else phase)
            atoms.info['parameters'] = {'material': formula, 'structure': structure, **atoms.info['parameters']}
            ideals.append(atoms)
            yield atoms
    scans = _scans(ideals, parameters.interlayer)
    distortions = _distortions(ideals, parameters.distortions, rng)
    for pair in itertools.zip_longest(distortions, scans):
        yield from (atoms for atoms in pair if atoms is not None)


# Ideal structures -----------------------------------------------------------------------------------------------------


def _ideal(species: Species, structure: str, parameters: Covalent, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the ideal cells of one structure, with `reason`, `parameters` and `vacuum_axes` in their info."""
    bond = bond_length(species[0], species[-1], parameters.bonds)
    if structure == 'amorphous':
        yield from _amorphous(species, parameters, rng)
    elif structure == 'graphite':
        for stacking in parameters.stackings or (COMPOUND_STACKINGS if len(species) == 2 else STACKINGS):
            atoms = _sheets(species, stacking, parameters, None)
            yield _described(atoms, f'sheets of threefold atoms stacked {stacking}', stacking=stacking)
    elif structure == 'layered':
        for layers in parameters.layers:
            stacking = ("AA'" if len(species) == 2 else 'AB') * layers
            letters = re.findall("[ABC]'?", stacking)[:layers]
            atoms = _sheets(species, ''.join(letters), parameters, parameters.vacuum)
            yield _described(atoms, f'stack of {layers} sheets in vacuum', [2], layers=layers)
    elif structure == 'graphene':
        atoms = _sheets(species, 'A', parameters, parameters.vacuum)
        yield _described(atoms, 'one sheet of threefold atoms in vacuum', [2])
    elif structure == 'chain':
        short = CHAIN * bond_length(species[0], species[0], parameters.bonds)
        cell = [parameters.vacuum, parameters.vacuum, 2 * short]
        middle = parameters.vacuum / 2
        atoms = Atoms([species[0]] * 2, [[middle, middle, 0], [middle, middle, short]], cell=cell, pbc=True)
        yield _described(atoms, 'straight chain of twofold atoms in vacuum', [0, 1])
    elif structure in POLYTYPES:
        yield _described(_polytype(species, POLYTYPES[structure], bond), REASONS['polytype'], stacking=structure)
    else:
        yield _described(_crystal(species, structure, bond), REASONS.get(structure, REASONS['pressure']))


def _described(atoms: Atoms, reason: str, vacuum_axes: list[int] | None = None, **made: Any) -> Atoms:
    atoms.info.clear()
    atoms.info.update(reason=reason, parameters=made)
    if vacuum_axes:
        atoms.info['vacuum_axes'] = vacuum_axes
    return atoms


def _crystal(species: Species, structure: str, bond: float) -> Atoms:
    """Diamond and zincblende, ground states, and structures under pressure."""
    if structure == 'ground_state':
        return ground_state(species[0])
    if structure in ('diamond', 'zincblende'):
        return bulk(''.join(species), structure, a=4 * bond / math.sqrt(3), cubic=True)
    volume = DENSER[structure] * DIAMOND_VOLUME * bond**3
    if structure == 'rocksalt':
        return bulk(''.join(species), 'rocksalt', a=2 * volume ** (1 / 3), cubic=True)
    element = species[0]
    if structure == 'beta_tin':  # c/a of silicon, 0.55
        a = (4 * volume / 0.55) ** (1 / 3)
        sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.25], [0.5, 0, 0.75]]
        return Atoms([element] * 4, scaled_positions=sites, cell=[a, a, 0.55 * a], pbc=True)
    if structure == 'simple_hexagonal':  # c/a of silicon, 0.94
        a = (volume / (0.94 * math.sqrt(3) / 2)) ** (1 / 3)
        return Atoms(element, cell=[a, a, 0.94 * a, 90, 90, 120], pbc=True)
    if structure == 'bc8':
        made = crystal(element, [(0.1003,) * 3], spacegroup=206, cellpar=[(16 * volume) ** (1 / 3)] * 3 + [90] * 3)
        return Atoms(made.numbers, made.positions, cell=made.cell, pbc=True)
    atoms = {'simple_cubic': 1, 'bcc': 2, 'fcc': 4}[structure]
    lattice = 'sc' if structure == 'simple_cubic' else structure
    return bulk(element, lattice, a=(atoms * volume) ** (1 / 3), cubic=True)


def _polytype(species: Species, stacking: str, bond: float) -> Atoms:
    """Hexagonal stack of double layers of ideal tetrahedra: a = sqrt(8/3) d, a double layer is 4/3 d high."""
    side, height = math.sqrt(8 / 3) * bond, 4 / 3 * bond
    symbols, positions = [], []
    for layer, letter in enumerate(stacking):
        site = LATERAL[letter]
        symbols += [species[0], species[-1]]
        positions += [(site, site * 2, layer * height), (site, site * 2, layer * height + bond)]
    return _hexagonal(symbols, positions, side, height * len(stacking))


def _sheets(species: Species, stacking: str, parameters: Covalent, vacuum: float | None) -> Atoms:
    """Honeycomb sheets; an apostrophe after a letter exchanges the elements."""
    first, second = species[0], species[-1]
    bond = bond_length(first, second, parameters.bonds, neighbours=3)
    name = '-'.join(sorted(species * 2 if len(species) == 1 else species))
    half = BUCKLING.get(name, 0.0) / 2
    distance = INTERLAYER.get(name, _van_der_waals(species))
    # a buckled sheet is narrower at the same bond length
    side = math.sqrt(3 * (bond**2 - (2 * half) ** 2))
    letters = re.findall("[ABC]'?", stacking)
    height = distance * len(letters) if vacuum is None else distance * (len(letters) - 1) + 2 * half + vacuum
    bottom = 0.0 if vacuum is None else vacuum / 2 + half
    symbols, positions = [], []
    for layer, letter in enumerate(letters):
        site, level = LATERAL[letter[0]], bottom + layer * distance
        symbols += [second, first] if letter.endswith("'") else [first, second]
        other = site + 1 / 3
        positions += [(site, site * 2, level - half), (other, other * 2, level + half)]
    return _hexagonal(symbols, positions, side, height)


def _hexagonal(symbols: list[str], positions: list[tuple[float, float, float]], side: float, height: float) -> Atoms:
    scaled = np.array(positions) / [1, 1, height]
    atoms = Atoms(symbols, cell=[side, side, height, 90, 90, 120], pbc=True)
    atoms.set_scaled_positions(scaled)
    atoms.wrap(eps=1e-9)
    return atoms


def _van_der_waals(species: Species) -> float:
    radii = [vdw_radii[atomic_numbers[element]] for element in species]
    return float(2 * np.mean([radius if np.isfinite(radius) else 2.0 for radius in radii]))


# Amorphous ------------------------------------------------------------------------------------------------------------


def _amorphous(species: Species, parameters: Covalent, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.amorphous
    densities = section.density or _densities(species, parameters)
    for index in range(section.number):
        density = densities[index % len(densities)]
        if section.method == 'network':
            length = _length_function(parameters)
            atoms = amorphous_network(dict.fromkeys(species, 1), section.atoms, density, length, rng)
        else:
            atoms = _quenched(species, density, parameters, rng)
        reason = f'amorphous at {density:.2f} g/cm³, made as {section.method.replace("_", " ")}'
        yield _described(atoms, reason, density=density, method=section.method, index=index)


def _densities(species: Species, parameters: Covalent) -> tuple[float, ...]:
    """Default densities in g/cm³."""
    if species == ('C',):
        return AMORPHOUS_CARBON
    volume = DIAMOND_VOLUME * bond_length(species[0], species[-1], parameters.bonds) ** 3
    return (round(AMORPHOUS * float(Atoms(list(species)).get_masses().mean()) / (volume * DENSITY), 3),)


def _length_function(parameters: Covalent) -> Callable[[str, str, int], float]:
    def length(first: str, second: str, threefold: int) -> float:
        ends = [bond_length(first, second, parameters.bonds, neighbours) for neighbours in (4, 3)]
        return float(np.interp(threefold, (0, 2), ends))

    return length


def _quenched(species: Species, density: float, parameters: Covalent, rng: np.random.Generator) -> Atoms:
    section = parameters.amorphous
    bond = bond_length(species[0], species[-1], parameters.bonds)
    size = 8 * math.ceil(section.atoms / 8)
    symbols = rng.permutation(list(species) * (size // len(species))).tolist()
    for _ in range(ATTEMPTS):
        start = random_packing(symbols, density, 0.75 * bond, rng)
        # as fine in time for light atoms and short bonds as 2 fs is for silicon
        timestep = 2.0 * bond / 2.35 * math.sqrt(start.get_masses().min() / 28.0)
        atoms = melt_quench(start, StillingerWeber(bond), rng, temperature=section.temperature, timestep=timestep)
        if not overlapping(atoms, 0.72):
            return atoms
    raise ValueError(
        f'structures.covalent.amorphous.density: melts of {"".join(species)} at {density:g} g/cm³ end with overlapping '
        'atoms; lower the density or take method network'
    )


# Distances between sheets, and distortions ----------------------------------------------------------------------------


def _scans(ideals: list[Atoms], section: Interlayer) -> Iterator[Atoms]:
    """Other distances between sheets; all structures at one distance before the next."""
    stacked = [atoms for atoms in ideals if atoms.info['parameters']['structure'] in ('graphite', 'layered')]
    for index, factor in enumerate(np.linspace(section.minimum, section.maximum, section.number)):
        if abs(factor - 1) < 1e-3:
            continue
        for atoms in stacked:
            moved = _stretched_stack(atoms, float(factor))
            moved.info['reason'] = f'{atoms.info["reason"]}, {factor:.2f} times as far apart as in equilibrium'
            moved.info['parameters'] = {**atoms.info['parameters'], 'interlayer': float(factor), 'index': index}
            if not overlapping(moved, 0.7):
                yield moved


def _stretched_stack(atoms: Atoms, factor: float) -> Atoms:
    """Move sheets apart, the sheets themselves unchanged, and the vacuum as wide as before."""
    moved = atoms.copy()
    # two atoms to a sheet, from the bottom
    sheets = len(atoms) // 2
    levels = atoms.positions[:, 2].reshape(sheets, 2).mean(axis=1)
    gap = atoms.cell[2, 2] / sheets if 'vacuum_axes' not in atoms.info else levels[1] - levels[0]
    shift = gap * (factor - 1)
    cell = atoms.cell.array.copy()
    cell[2, 2] += shift * (sheets if 'vacuum_axes' not in atoms.info else sheets - 1)
    moved.set_cell(cell)
    moved.positions[:, 2] += shift * np.repeat(np.arange(sheets), 2)
    if gap * factor > 2 * covalent_radii[atoms.numbers].max() + WIDE:
        moved.info['vacuum_axes'] = [2]
    return moved


def _distortions(ideals: list[Atoms], section: Distortions, rng: np.random.Generator) -> Iterator[Atoms]:
    """Distorted crystals: of all structures the first, then of all the second."""
    crystals = [atoms for atoms in ideals if atoms.info['parameters']['structure'] != 'amorphous']
    for index in range(max(section.bond, section.dihedral)):
        for atoms in crystals:
            if index < section.bond:
                yield from _distorted(atoms, _stretch_bond, section.stretch, 'stretch', section.atoms, rng)
            if index < section.dihedral:
                yield from _distorted(atoms, _turn_about_bond, section.angle, 'turn', section.atoms, rng)


def _distorted(
    atoms: Atoms,
    distort: Callable[[Atoms, Bonds, float, np.random.Generator], bool],
    largest: float,
    name: str,
    size: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Yield a distorted supercell; nothing where there is no bond to distort."""
    cell = _enlarged(atoms, size)
    bonds = _bonds(cell)
    for attempt in range(ATTEMPTS):
        # between a quarter of the largest distortion and the largest, in both directions
        amplitude = float(rng.uniform(0.25, 1.0) * rng.choice([-1, 1]) * largest * 0.9**attempt)
        changed = cell.copy()
        if not distort(changed, bonds, amplitude, rng):
            return
        if not overlapping(changed, 0.72):
            what = f'{amplitude:+.0%} in length' if name == 'stretch' else f'turned by {amplitude:+.0f}°'
            changed.info['reason'] = f'{atoms.info["reason"]}, one bond {what}'
            changed.info['parameters'] = {**atoms.info['parameters'], name: amplitude}
            yield changed
            return


def _enlarged(atoms: Atoms, size: int) -> Atoms:
    """Repeat a cell along its shortest axes, never along vacuum, until it has `size` atoms."""
    counts = np.ones(3, dtype=int)
    lengths = atoms.cell.lengths()
    lengths[atoms.info.get('vacuum_axes', [])] = np.inf
    while len(atoms) * counts.prod() < size:
        rounded = np.round(counts * lengths, 6)
        counts[2 - int(np.argmin(rounded[::-1]))] += 1
    return atoms.repeat(counts.tolist())


def _bonds(atoms: Atoms) -> Bonds:
    """Bonds as centres, others and vectors: up to `BOND` times the shortest distance."""
    radii = covalent_radii[atoms.numbers].max()
    center, other, vectors = neighbor_list('ijD', atoms, 3.0 * radii)
    distances = np.linalg.norm(vectors, axis=1)
    near = (distances < BOND * distances.min()) & (center != other)
    return center[near], other[near], vectors[near]


def _stretch_bond(atoms: Atoms, bonds: Bonds, amplitude: float, rng: np.random.Generator) -> bool:
    """Move two bonded atoms apart along their bond, in place; `amplitude` is a fraction of its length."""
    center, other, vectors = bonds
    if len(center) == 0:
        return False
    pick = int(rng.integers(len(center)))
    atoms.positions[center[pick]] -= 0.5 * amplitude * vectors[pick]
    atoms.positions[other[pick]] += 0.5 * amplitude * vectors[pick]
    return True


def _turn_about_bond(atoms: Atoms, bonds: Bonds, amplitude: float, rng: np.random.Generator) -> bool:
    """Turn the other neighbours of an atom about one of its bonds, in place, by `amplitude` in degrees."""
    center, other, vectors = bonds
    if len(center) == 0:
        return False
    pick = int(rng.integers(len(center)))
    axis = vectors[pick] / np.linalg.norm(vectors[pick])
    turning = np.flatnonzero((center == center[pick]) & (other != other[pick]))
    arms = vectors[turning]
    turned = _rotated(arms, axis, math.radians(amplitude))
    if len(turning) == 0 or np.abs(turned - arms).max() < 1e-3:
        return False
    atoms.positions[other[turning]] += turned - arms
    return True


def _rotated(vectors: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotate vectors (n, 3) about a unit axis (Rodrigues)."""
    along = np.outer(vectors @ axis, axis)
    return along + (vectors - along) * math.cos(angle) + np.cross(axis, vectors) * math.sin(angle)
