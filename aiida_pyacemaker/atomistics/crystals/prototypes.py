"""Prototypes of crystals: a table like that of AFLOW, shipped with the package, and crystals built from it.

The table (`prototypes.json`) holds Wyckoff sites by *slot* (A, B, C: what one element occupies), in the setting of a
Hall number of spglib. Most entries are those of M. J. Mehl et al., The AFLOW Library of Crystallographic Prototypes:
Part 1, Comput. Mater. Sci. 136, S1 (2017), as distributed with pymatgen (MIT licence).
"""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.geometry import cellpar_to_cell

from ..core.symmetry import call_spglib
from .elements import NEAREST, is_metal, lattice_of, volume_per_atom

#: Pauling's d(n) = d(1) - 0.6 log10 n (Å): how bonds lengthen with the number of neighbours.
PAULING_SLOPE = 0.6
#: By default no two atoms are closer than this times the sum of their covalent radii.
MIN_CONTACT_RATIO = 0.702
#: Å; no prototype has a nearest neighbour further away, per a of the table.
MAX_NEIGHBOUR_DISTANCE = 6.5


@dataclass(frozen=True)
class Site:
    """One orbit of a space group: its slot, Wyckoff label ('4a') and a representative (fractional)."""

    slot: str
    wyckoff: str
    position: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Prototype:
    """One line of the table.

    `formula` is anonymous ('AB2': what one formula unit has of each slot); `chemistry` one of 'metallic', 'ionic',
    'covalent', 'molecular'; `coordination` the mean number of nearest neighbours of a slot (in ionic and covalent
    compounds: of opposite kind); `anions` the slots of anions; `examples` the elements of real compounds in the order
    of the slots; `cell` a (Å, of the first example), b/a, c/a, alpha, beta, gamma (degrees).
    """

    name: str
    strukturbericht: str | None
    pearson: str
    space_group: int
    hall_number: int
    formula: str
    chemistry: str
    coordination: dict[str, float]
    anions: tuple[str, ...]
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[Site, ...]
    examples: tuple[tuple[str, ...], ...]
    source: str

    @cached_property
    def slots(self) -> list[str]:
        """The slots in the order in which `build_prototype` takes the species."""
        return list(self.coordination)

    @cached_property
    def counts(self) -> list[int]:
        """Atoms per formula unit of each slot."""
        return [int(number or 1) for _, number in re.findall(r'([A-Z])(\d*)', self.formula)]


@cache
def load_prototypes() -> dict[str, Prototype]:
    """Read the table: name -> prototype, in the order of the table (elements, binaries, ternaries)."""
    text = resources.files(__package__).joinpath('prototypes.json').read_text(encoding='utf-8')
    return {name: _prototype(name, entry) for name, entry in json.loads(text)['prototypes'].items()}


def _prototype(name: str, entry: dict) -> Prototype:
    cell = entry['cell']
    values = {key: value for key, value in entry.items() if key not in ('cell', 'sites', 'examples', 'anions')}
    return Prototype(
        name=name,
        cell=(cell['a'], cell['b/a'], cell['c/a'], *cell['angles']),
        sites=tuple(Site(slot, label, tuple(position)) for slot, label, position in entry['sites']),
        examples=tuple(tuple(example.split()) for example in entry['examples']),
        anions=tuple(entry['anions']),
        **values,
    )


#: The table: name -> prototype.
PROTOTYPES: dict[str, Prototype] = load_prototypes()


def get_prototype(name: str) -> Prototype:
    """Return a prototype by name or Strukturbericht symbol, whatever the case and with '_' or ' ' for '-'.

    :raises ValueError: if there is none, with the nearest names.
    """
    if name in PROTOTYPES:
        return PROTOTYPES[name]
    plain = re.sub('[ _-]', '', name).lower()
    for key, prototype in PROTOTYPES.items():
        if plain in {re.sub('[ _-]', '', text).lower() for text in (key, prototype.strukturbericht or key)}:
            return prototype
    near = difflib.get_close_matches(name.lower(), [key.lower() for key in PROTOTYPES], 3, 0.3)
    found = [key for word in near for key in PROTOTYPES if key.lower() == word]
    hint = ', '.join(found or list(PROTOTYPES)[:8])
    raise ValueError(f'prototype {name!r} is not in the table: nearest are {hint}')


def build_prototype(
    name: str,
    species: list[str],
    volume_per_atom: float | None = None,
    bond_length: float | None = None,
    a: float | None = None,
    primitive: bool = False,
) -> Atoms:
    """Return the conventional cell of a prototype.

    At most one of the three may fix the scale; by default it follows from ionic radii (charges must balance), from
    volumes of the elements (metals) or from covalent radii.

    :param species: one element per slot, in the order of the slots; slots may share an element.
    :param volume_per_atom: Å³.
    :param bond_length: Å, shortest distance between unlike atoms (of an element: shortest distance).
    :param a: Å, of the conventional cell.
    :param primitive: return the primitive cell.
    :returns: periodic, with `phase` (the name) and `parameters` in the info.
    :raises ValueError: if the prototype or an element is unknown, or the number of species is wrong.
    """
    prototype = get_prototype(name)
    _check_species(prototype, species)
    given = [value for value in (volume_per_atom, bond_length, a) if value is not None]
    if len(given) > 1 or any(not value > 0 for value in given):
        raise ValueError(f'prototype {name}: give one positive length or volume: volume_per_atom, bond_length or a')
    atoms = _template(prototype, species)
    if volume_per_atom is not None:
        factor = (volume_per_atom * len(atoms) / atoms.get_volume()) ** (1 / 3)
    elif bond_length is not None:
        factor = bond_length / shortest_bond(atoms)
    elif a is not None:
        factor = a / prototype.cell[0]
    else:
        factor = default_scale(prototype, atoms, species)
    atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    if primitive:
        atoms = primitive_cell(atoms)
    atoms.info.update(phase=prototype.name, parameters=_parameters(prototype, atoms))
    return atoms


def _check_species(prototype: Prototype, species: list[str]) -> None:
    if len(species) != len(prototype.slots):
        example = ' '.join(prototype.examples[0])
        raise ValueError(
            f'prototype {prototype.name} ({prototype.formula}) takes {len(prototype.slots)} species, such as '
            f'{example}; got {len(species)}: {" ".join(species)}'
        )
    for element in species:
        if atomic_numbers.get(element, 0) < 1:
            raise ValueError(f'prototype {prototype.name}: {element!r} is not a chemical element')


def _parameters(prototype: Prototype, atoms: Atoms) -> dict:
    return {
        'prototype': prototype.name,
        'strukturbericht': prototype.strukturbericht,
        'space_group': prototype.space_group,
        'composition': {key: int(value) for key, value in sorted(atoms.symbols.formula.count().items())},
    }


@cache
def _sites(name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Fractional positions (n, 3) of the conventional cell, and the slot of each."""
    prototype = PROTOTYPES[name]
    operations = spglib.get_symmetry_from_database(prototype.hall_number)
    assert operations is not None, f'spglib knows no Hall number {prototype.hall_number}'
    positions: list[np.ndarray] = []
    slots: list[str] = []
    for site in prototype.sites:
        images = (operations['rotations'] @ np.array(site.position) + operations['translations']) % 1
        orbit: list[np.ndarray] = []
        for image in images:
            if all(np.abs((image - other + 0.5) % 1 - 0.5).max() > 1e-3 for other in orbit):
                orbit.append(image)
        positions += orbit
        slots += [site.slot] * len(orbit)
    return np.array(positions), tuple(slots)


def _template(prototype: Prototype, species: list[str]) -> Atoms:
    """The conventional cell at the lattice constants of the table."""
    positions, slots = _sites(prototype.name)
    of_slot = dict(zip(prototype.slots, species, strict=True))
    a, b, c, *angles = prototype.cell
    atoms = Atoms([of_slot[slot] for slot in slots], cell=cellpar_to_cell([a, a * b, a * c, *angles]), pbc=True)
    atoms.set_scaled_positions(positions)
    return atoms


def neighbours(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first atom, second atom and distance (Å) of all pairs of a periodic cell, images included, both ways.

    All images at once: for the cells of prototypes a hundred times faster than a neighbour list, which is for large
    ones.
    """
    cell = atoms.cell.array
    positions = atoms.get_scaled_positions() @ cell
    widths = np.abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    counts = np.ceil(cutoff / widths).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing='ij'), -1).reshape(-1, 3) @ cell
    first, second, distances = [], [], []
    for index, position in enumerate(positions):
        near = np.linalg.norm(positions[:, None] + shifts - position, axis=-1)
        other, image = np.nonzero((near < cutoff) & (near > 1e-6))
        first.append(np.full(len(other), index))
        second.append(other)
        distances.append(near[other, image])
    return np.concatenate(first), np.concatenate(second), np.concatenate(distances)


@cache
def _table_neighbours(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours up to REACH at the lattice constants of the table; the elements do not matter."""
    prototype = PROTOTYPES[name]
    return neighbours(_template(prototype, ['H'] * len(prototype.slots)), MAX_NEIGHBOUR_DISTANCE)


def primitive_cell(atoms: Atoms) -> Atoms:
    """Return the primitive cell (spglib, delta-reduced); the frame itself if it is primitive already."""
    found = call_spglib(
        spglib.standardize_cell,
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers),
        to_primitive=True,
        no_idealize=True,
    )
    if found is None or len(found[2]) == len(atoms):
        return atoms
    lattice, positions, numbers = found
    small = Atoms(numbers, cell=lattice, scaled_positions=positions, pbc=True, info=dict(atoms.info))
    small.wrap()
    return small


def shortest_bond(atoms: Atoms) -> float:
    """Shortest distance (Å) between unlike atoms; if all are alike, between any."""
    unlike = len(set(atoms.numbers.tolist())) > 1
    for cutoff in (MAX_NEIGHBOUR_DISTANCE, 4 * MAX_NEIGHBOUR_DISTANCE):
        first, second, distances = neighbours(atoms, cutoff)
        if unlike:
            distances = distances[atoms.numbers[first] != atoms.numbers[second]]
        if len(distances):
            return float(distances.min())
    raise ValueError('no two atoms are close enough to define a bond length')


def default_scale(prototype: Prototype, atoms: Atoms, species: list[str]) -> float:
    """Factor on the lengths of the template that gives sensible bonds."""
    if tuple(species) == prototype.examples[0]:
        factor = 1.0
    elif len(set(species)) == 1:
        factor = _element_scale(prototype, atoms, species[0])
    else:
        factor = _compound_scale(prototype, atoms, species)
        if prototype.chemistry != 'metallic':
            factor *= _calibration(prototype.name)
    return max(factor, _smallest_scale(prototype, atoms))


def _compound_scale(prototype: Prototype, atoms: Atoms, species: list[str]) -> float:
    """Factor from volumes in metals, borides and carbides, else from ionic, else from covalent radii."""
    binds = set(species) & ELECTRONEGATIVE
    metallic = prototype.chemistry == 'metallic' or all(is_metal(element) for element in species)
    if metallic or (set(species) & {'B', 'C'} and not binds and any(is_metal(element) for element in species)):
        volume = float(np.mean([metallic_volume(element) for element in atoms.get_chemical_symbols()]))
        return (volume * len(atoms) / atoms.get_volume()) ** (1 / 3)
    states = None if prototype.chemistry == 'molecular' else oxidation_states(species, prototype)
    return _bond_scale(prototype, atoms, ionic_lengths(prototype, species, states) if states else {})


#: With these an element is an oxide, a halide, a chalcogenide.
ELECTRONEGATIVE = frozenset('N O F S Cl Se Br Te I'.split())


@cache
def _calibration(name: str) -> float:
    """Correction that makes the table's own compound exact; pyrite, say, has pairs S2 that no radius knows."""
    prototype = PROTOTYPES[name]
    species = list(prototype.examples[0])
    factor = 1 / _compound_scale(prototype, _template(prototype, species), species)
    return factor if 0.75 < factor < 1.35 else 1.0


def metallic_volume(element: str) -> float:
    """Volume per atom (Å³) in a metallic compound; non-metals there take less than in their own crystals.

    From TiH2, TiB2, TiC, Fe3C, TiN, FeSi, Cr3Ge, FeP, FeS, and from NiAs, NiSb and others like it.
    """
    return METALLIC_VOLUMES.get(element) or volume_per_atom(element)


METALLIC_VOLUMES = {
    **{'H': 2.5, 'B': 4.5, 'C': 4.0, 'N': 4.0, 'O': 8.0, 'F': 10.0, 'Si': 12.5, 'P': 12.0, 'S': 13.0, 'Cl': 18.0},
    **{'Ga': 16.0, 'Ge': 15.5, 'As': 17.0, 'Se': 18.0, 'Br': 24.0, 'Sn': 22.0, 'Sb': 23.5, 'Te': 25.0, 'I': 32.0},
}


def _element_scale(prototype: Prototype, atoms: Atoms, element: str) -> float:
    volume = atoms.get_volume() / len(atoms)
    metallic = is_metal(element) and prototype.chemistry == 'metallic'
    if metallic or lattice_of(element) == prototype.name:
        return (volume_per_atom(element) / volume) ** (1 / 3)
    lattice = lattice_of(element)
    if lattice is not None:
        near, neighbours = NEAREST[lattice] * volume_per_atom(element) ** (1 / 3), COORDINATION[lattice]
    else:
        near, neighbours = 2 * covalent_radii[atomic_numbers[element]], _valence(element)
    distances = _table_neighbours(prototype.name)[2]
    shortest = float(distances.min())
    # of bcc the second shell counts, too
    counted = (distances < 1.2 * shortest).sum() / len(atoms)
    return (near + PAULING_SLOPE * math.log10(counted / neighbours)) / shortest


#: Nearest neighbours in the lattices of the elements.
COORDINATION = {'sc': 6, 'bcc': 8, 'fcc': 12, 'hcp': 12, 'diamond': 4}


def _valence(element: str) -> int:
    """Bonds of a non-metal by the octet rule."""
    group = {'B': 5, 'N': 3, 'P': 3, 'As': 3, 'Sb': 3, 'O': 2, 'S': 2, 'Se': 2, 'Te': 2, 'C': 4, 'Ge': 4, 'Si': 4}
    return group.get(element, 1 if not is_metal(element) else 12)


def oxidation_states(species: list[str], prototype: Prototype) -> dict[str, float] | None:
    """Whole oxidation states that make the formula neutral (pymatgen), None if there are none."""
    from pymatgen.core import Composition

    amounts: dict[str, int] = {}
    for element, count in zip(species, prototype.counts, strict=True):
        amounts[element] = amounts.get(element, 0) + count
    return neutral_states(Composition(amounts).reduced_formula)


@cache
def neutral_states(formula: str) -> dict[str, float] | None:
    """The likeliest neutral oxidation states of a formula, also mixed ones (Fe3O4), None if there are none."""
    from pymatgen.core import Composition

    found = Composition(formula).oxi_state_guesses()
    if not found or all(abs(value) < 1e-8 for value in found[0].values()):
        return None
    return {str(element): float(value) for element, value in found[0].items()}


def ionic_lengths(prototype: Prototype, species: list[str], states: dict[str, float]) -> dict[tuple[str, str], float]:
    """Sums of Shannon radii (Å) of cations and anions, at the coordination numbers of the prototype."""
    radii = {
        element: ionic_radius(element, states[element], prototype.coordination[slot])
        for slot, element in zip(prototype.slots, species, strict=True)
    }
    lengths: dict[tuple[str, str], float] = {}
    for cation, first in radii.items():
        for anion, second in radii.items():
            if first is not None and second is not None and states[cation] > 0 > states[anion]:
                soft = anion in SOFT_ANIONS and electronegativity(cation) > SOFT_CATION
                lengths[min(cation, anion), max(cation, anion)] = first + second * (SOFT_FACTOR if soft else 1.0)
    return lengths


@cache
def electronegativity(element: str) -> float:
    """Pauling's electronegativity (pymatgen); of noble gases, which have none, that of helium by Allen: 4.2."""
    from pymatgen.core import Element

    value = Element(element).data.get('X')
    return float(value) if value and value == value else 4.2


#: Radii (Å) of anions that Shannon lacks: from GaP, GaAs, AlSb, Mg2Si, Mg2Ge, Mg2Sn and hydrides.
ANIONS = {'H': 1.40, 'P': 1.90, 'As': 1.98, 'Sb': 2.20, 'Bi': 2.30, 'Si': 2.18, 'Ge': 2.20, 'Sn': 2.36, 'Pb': 2.38}
#: Beside cations more electronegative than this, large anions shrink by this factor (ZnS, ZnSe, ZnTe, CuI, MoS2).
SOFT_CATION = 1.45
SOFT_FACTOR = 0.94
SOFT_ANIONS = frozenset('S Cl Se Br Te I'.split())


@cache
def ionic_radius(element: str, state: float, coordination: float = 6) -> float | None:
    """Shannon's radius (Å) at the nearest tabulated charge and coordination, high spin; None if there is none.

    R. D. Shannon, Acta Cryst. A32, 751 (1976), as tabulated in pymatgen; anions that it lacks from `ANIONS`.
    """
    from pymatgen.core import Element

    if state < 0 and element in ANIONS:
        return ANIONS[element]
    if element == 'H':  # a proton, within its anion (Shannon: -0.38 Å)
        return -0.38
    table = Element(element).data.get('Shannon radii', {})
    charges = sorted((abs(float(charge) - state), charge) for charge in table if charge and float(charge) * state > 0)
    if not charges:
        return None
    by_number = table[charges[0][1]]
    # planar ones come second
    ranked = sorted(by_number, key=lambda key: (abs(_NUMBERS.get(key, 6) - coordination), key.endswith('SQ'), key))
    spins = by_number[ranked[0]]
    value = spins.get('High Spin') or spins.get('') or next(iter(spins.values()))
    return float(value['ionic_radius'])


_ROMAN = ('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X', 'XI', 'XII', 'XIII', 'XIV')
_NUMBERS = {name: number for number, name in enumerate(_ROMAN, 1)} | {'IIIPY': 3, 'IVPY': 4, 'IVSQ': 4}


def _bond_scale(prototype: Prototype, atoms: Atoms, lengths: dict[tuple[str, str], float]) -> float:
    """Factor that brings the bonds to their ideal lengths: of the pairs' shortest distances, the geometric mean.

    Without `lengths` a bond is the sum of the covalent radii. Only bonds count: pairs up to 1.2 times the relatively
    shortest.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    first, second, distances = _table_neighbours(prototype.name)
    ratios = {}
    for pair in lengths or _pairs(sorted(set(symbols.tolist()))):
        chosen = ((symbols[first] == pair[0]) & (symbols[second] == pair[1])) | (
            (symbols[first] == pair[1]) & (symbols[second] == pair[0])
        )
        if chosen.any():
            ideal = lengths.get(pair) or sum(covalent_radii[atomic_numbers[element]] for element in pair)
            ratios[pair] = ideal / _bond(distances[chosen])
    largest = max(ratios.values())
    return math.exp(np.mean([math.log(ratio) for ratio in ratios.values() if ratio > largest / 1.2]))


def _bond(distances: np.ndarray) -> float:
    """Mean of the first shell: distances up to 1.12 times the shortest."""
    return float(distances[distances < 1.12 * distances.min()].mean())


def _pairs(elements: list[str]) -> list[tuple[str, str]]:
    return [(one, two) for k, one in enumerate(elements) for two in elements[k + 1 :]]


def _smallest_scale(prototype: Prototype, atoms: Atoms) -> float:
    """Smallest factor at which no two atoms are too close, by covalent radii."""
    first, second, distances = _table_neighbours(prototype.name)
    radii = covalent_radii[atoms.numbers]
    return float(MIN_CONTACT_RATIO * ((radii[first] + radii[second]) / distances).max())
