"""Ions on the lattices of prototypes: which fit a formula, at which size, ordered or with exchanged cations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from ..core.errors import InputError
from ..variants.supercell import supercell
from .oxidation import Compound, bond_length, name, radius
from .prototypes import PROTOTYPES, Prototype, build_prototype, get_prototype
from .random_crystals import minimum_distances, too_close

Ion = tuple[str, int]

#: Prototypes that are met most often; they come before others that fit no worse.
COMMON = ('rocksalt', 'CsCl', 'fluorite', 'antifluorite', 'zincblende', 'wurtzite', 'rutile', 'perovskite', 'spinel')
#: What it is worth, in units of misfit, to be common.
BONUS_COMMON = 0.2
#: What it is worth to be met in ionic rather than covalent compounds.
BONUS_IONIC = 0.1
#: What it is worth to be the structure of just this compound (in the table).
BONUS_KNOWN = 1.0
#: Pauling's limits of the ratio of the radii of cation and anion, by the coordination number of the cation.
RADIUS_RATIOS = {
    1: (0.0, 0.155),
    2: (0.0, 0.155),
    3: (0.155, 0.225),
    4: (0.225, 0.414),
    6: (0.414, 0.732),
    8: (0.732, 1.0),
    12: (1.0, 2.0),
}
#: A ratio may be this much outside its limits (MgO, 0.51, is still tried as CsCl, from 0.73).
RATIO_TOLERANCE = 0.25
#: The bonds of the cations may ask for sizes of the cell that differ by this factor (tolerance factors of 0.83 to 1.2).
SIZE_TOLERANCE = 1.2
#: A first shell of neighbours ends at this times the shortest distance.
FIRST_SHELL_RATIO = 1.2
#: Unlike atoms are at least this fraction of the sum of their covalent radii apart: what the checks ask for, and a bit.
MIN_CONTACT_RATIO = 0.705
#: A cell in which atoms come closer may be enlarged by this factor (of the length), or is not proposed.
MAX_ENLARGEMENT = 1.06
#: Larger cells are reduced to the primitive one.
MAX_ATOMS_CONVENTIONAL = 24
#: Atoms of a cell with exchanged cations, at most.
MAX_ATOMS_DISORDERED = 256
#: Stands for the slots of a prototype, whatever ions they will hold.
PLACEHOLDERS = ['H', 'He', 'Li', 'Be', 'B', 'C']


@dataclass(frozen=True)
class Geometry:
    """Distances of a prototype at the size of the table."""

    #: (slots, slots) shortest distances in Å.
    shortest: np.ndarray
    #: (slots, slots) mean length (Å) and number of the bonds of an atom of the first slot: neighbours of opposite
    #: charge in its first shell; zero where a slot has none.
    lengths: np.ndarray
    numbers: np.ndarray
    #: Whether each slot holds anions.
    anions: np.ndarray

    @property
    def alternates(self) -> bool:
        """Whether the nearest neighbours of all ions are of opposite charge."""
        return all(
            self.shortest[k][self.anions != self.anions[k]].min()
            < self.shortest[k][self.anions == self.anions[k]].min()
            for k in range(len(self.anions))
        )


@dataclass(frozen=True)
class Fit:
    """A way to put the ions of a compound on a prototype."""

    prototype: str
    #: The ions of each slot; where there are several they share its sites.
    slots: tuple[tuple[tuple[Ion, int], ...], ...]
    #: Factor on the lengths of the table.
    scale: float
    #: How badly the radii fit; the smaller the better.
    misfit: float
    #: Largest excess of a radius ratio over its limits, and the ratio of the sizes that the bonds ask for.
    ratio_excess: float
    size_ratio: float
    known: bool

    @property
    def allowed(self) -> bool:
        """Whether it satisfies the rules of radii, or is known anyway."""
        return self.known or (self.ratio_excess <= RATIO_TOLERANCE and self.size_ratio <= SIZE_TOLERANCE)

    def why(self) -> str:
        """Say why the compound may have this structure."""
        if self.known:
            return 'known to have this structure'
        if not self.allowed:
            return 'asked for by name, though the radii do not suit it'
        text = 'radius ratio suits it' if self.ratio_excess < 0.005 else f'radius ratio off by {self.ratio_excess:.2f}'
        strain = 100 * (self.size_ratio - 1)
        return text if strain < 0.5 else f'{text}, its bonds agree within {strain:.0f} %'


@cache
def geometry(prototype_name: str) -> Geometry:
    """Measure a prototype once."""
    prototype = PROTOTYPES[prototype_name]
    atoms = _template(prototype, primitive=True)
    slots = np.array([PLACEHOLDERS.index(symbol) for symbol in atoms.get_chemical_symbols()])
    size = len(prototype.slots)
    anions = np.array([slot in prototype.anions for slot in prototype.slots])
    first, second, distances = neighbor_list('ijd', atoms, 1.6 * _reach(atoms))
    shortest = np.full((size, size), np.inf)
    np.minimum.at(shortest, (slots[first], slots[second]), distances)
    lengths, numbers = np.zeros((size, size)), np.zeros((size, size))
    opposite = anions[slots[first]] != anions[slots[second]]
    first, second, distances = first[opposite], second[opposite], distances[opposite]
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, first, distances)
    shell = distances <= FIRST_SHELL_RATIO * nearest[first]
    np.add.at(numbers, (slots[first[shell]], slots[second[shell]]), 1)
    np.add.at(lengths, (slots[first[shell]], slots[second[shell]]), distances[shell])
    lengths = np.divide(lengths, numbers, out=np.zeros_like(lengths), where=numbers > 0)
    numbers /= np.bincount(slots, minlength=size)[:, None]
    return Geometry(shortest, lengths, numbers, anions)


def _reach(atoms: Atoms) -> float:
    """Distance within which every atom has neighbours of each kind nearby: three times the mean spacing."""
    return 2.0 * (atoms.get_volume() / len(atoms)) ** (1 / 3)


def _template(prototype: Prototype, primitive: bool) -> Atoms:
    species = PLACEHOLDERS[: len(prototype.slots)]
    return build_prototype(prototype.name, species, a=prototype.cell[0], primitive=primitive)


def suitable_prototypes(names: list[str] | None) -> list[str]:
    """Return the prototypes of ionic crystals: those named, or all in which unlike ions are nearest neighbours.

    :raises ValueError: if a name is not in the table, with the nearest ones, or its prototype has no anions.
    """
    if names is None:
        possible = [key for key, prototype in PROTOTYPES.items() if prototype.anions]
        return [key for key in possible if len(PROTOTYPES[key].slots) <= len(PLACEHOLDERS) and geometry(key).alternates]
    found = []
    for text in names:
        try:
            prototype = get_prototype(text)
        except ValueError as exception:
            raise InputError('prototypes', str(exception)) from None
        if not prototype.anions or not geometry(prototype.name).alternates:
            raise InputError(
                'prototypes',
                f'in {prototype.name} ions of one charge are neighbours; ionic ones are for example '
                f'{", ".join(COMMON)}',
            )
        found.append(prototype.name)
    return list(dict.fromkeys(found))


def fits(compound: Compound, prototypes: list[str], all_sizes: bool = False) -> list[Fit]:
    """Return the best fit of a compound to each of the prototypes of its stoichiometry, the best first.

    :param all_sizes: also those that do not satisfy the rules of radii.
    """
    found = []
    for key in prototypes:
        own = [
            fit for slots in _occupations(compound, PROTOTYPES[key]) for fit in [_fit(key, slots)] if fit is not None
        ]
        if own:
            found.append(min(own, key=lambda fit: (round(fit.misfit, 9), fit.slots)))
    found = [fit for fit in found if all_sizes or fit.allowed]
    found.sort(key=lambda fit: (round(fit.misfit, 9), fit.prototype))
    return _each_crystal_once(found) if len(compound.counts) < len(compound.ions) else found


def _each_crystal_once(found: list[Fit]) -> list[Fit]:
    """Drop prototypes that differ in names only: magnetite is a spinel of Fe and Fe as well as a spinel of one metal.

    Of these the one with most slots stays, as it tells the sites of the states apart.
    """
    kept: dict[tuple, Fit] = {}
    for fit in found:
        prototype = PROTOTYPES[fit.prototype]
        key = prototype.space_group, tuple(sorted(site.wyckoff for site in prototype.sites))
        if key not in kept or len(kept[key].slots) < len(fit.slots):
            kept[key] = fit
    return list(kept.values())


def _occupations(compound: Compound, prototype: Prototype) -> Iterator[tuple[tuple[tuple[Ion, int], ...], ...]]:
    """Yield the ions of each slot: every kind of ion on a slot of its own, or every element with all its states."""
    by_element: dict[str, list[tuple[Ion, int]]] = {}
    for ion, count in compound.ions:
        by_element.setdefault(ion[0], []).append((ion, count))
    kinds: list[list[tuple[tuple[Ion, int], ...]]] = [
        [((ion, count),) for ion, count in compound.ions],
        [tuple(ions) for ions in by_element.values()],
    ]
    for groups in kinds if len(kinds[0]) != len(kinds[1]) else kinds[:1]:
        yield from matching(groups, prototype)


def matching(
    groups: list[tuple[tuple[Ion, int], ...]], prototype: Prototype
) -> Iterator[tuple[tuple[tuple[Ion, int], ...], ...]]:
    """Yield the orders of groups of ions in which their numbers and signs are those of the slots."""
    if len(groups) != len(prototype.slots):
        return
    totals = [sum(count for _, count in group) for group in groups]
    divisor = math.gcd(*totals)
    anions = [slot in prototype.anions for slot in prototype.slots]
    for order in permutations(range(len(groups))):
        counts = [totals[k] // divisor for k in order]
        signs = [groups[k][0][0][1] < 0 for k in order]
        if counts == prototype.counts and signs == anions:
            yield tuple(groups[k] for k in order)


def _fit(key: str, slots: tuple[tuple[tuple[Ion, int], ...], ...]) -> Fit | None:
    """Return the fit of ions to the slots, by bonds as long as the sums of the radii (mean over ions of one slot)."""
    shape = geometry(key)
    wanted, weights, excess = [], [], []
    for cation in np.flatnonzero(~shape.anions):
        total, anion_radius = shape.numbers[cation].sum(), []
        if not total:
            return None
        for anion in np.flatnonzero(shape.numbers[cation] > 0):
            around = shape.numbers[anion].sum()
            length = _mean(slots[cation], slots[anion], total, around)
            if length <= 0:
                return None
            wanted.append(math.log(length / shape.lengths[cation, anion]))
            # Strong bonds (Pauling: charge per bond) decide the size.
            charge = _average([(abs(ion[1]), count) for ion, count in slots[cation]])
            weights.append(charge / total * shape.numbers[cation, anion])
            anion_radius.append(_average([(radius(*ion), count) for ion, count in slots[anion]]))
        ratio = _average([(radius(*ion), count) for ion, count in slots[cation]]) / float(np.mean(anion_radius))
        low, high = RADIUS_RATIOS[min(RADIUS_RATIOS, key=lambda number: (abs(number - total), number))]
        excess.append(max(0.0, low - ratio, ratio - high))
    size_ratio = math.exp(max(wanted) - min(wanted))
    elements = tuple('/'.join(sorted({ion[0] for ion, _ in slot})) for slot in slots)
    known = elements in PROTOTYPES[key].examples
    misfit = float(np.mean(excess)) + 2 * math.log(size_ratio) - BONUS_KNOWN * known
    misfit -= BONUS_COMMON * (key in COMMON) + BONUS_IONIC * (PROTOTYPES[key].chemistry == 'ionic')
    return Fit(key, slots, math.exp(np.average(wanted, weights=weights)), misfit, max(excess), size_ratio, known)


def _mean(cations: tuple, anions: tuple, around_cation: float, around_anion: float) -> float:
    pairs = [
        (bond_length(cation, anion, around_cation, around_anion), n_cation * n_anion)
        for cation, n_cation in cations
        for anion, n_anion in anions
    ]
    return _average(pairs)


def _average(values: list[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in values) / sum(weight for _, weight in values)


# Crystals -------------------------------------------------------------------------------------------------------------


def ordered_crystal(compound: Compound, fit: Fit, rng: np.random.Generator) -> Atoms | None:
    """Return the crystal; None if its atoms would be too close. Ions that share a slot are put there at random."""
    atoms = _occupied(fit, 1, rng)
    if atoms is None:
        return None
    prototype = PROTOTYPES[fit.prototype]
    text = f'{compound.formula} ({compound.described()}) as {prototype.name}: {fit.why()}'
    _describe(atoms, compound, fit.prototype, text)
    atoms.info['parameters'].update(prototype=prototype.name, space_group=prototype.space_group)
    return atoms


def disordered_crystal(
    compound: Compound, prototypes: list[str], minimum: int, mismatch: float, index: int, rng: np.random.Generator
) -> Atoms | None:
    """Return a crystal in which cations (or anions) of several elements share sites; None if there is no such lattice.

    In turn all of them share one sublattice (Li and Co in a rock salt), and pairs of them change places in the ordered
    crystal (the inversion of a spinel). The composition, and with it the total charge, is that of the formula.

    :param minimum: atoms of the cell at least.
    :param mismatch: largest ratio of the radii of ions that share sites.
    """
    makers = [_shared, _exchanged]
    for make in makers[index % 2 :] + makers[: index % 2]:
        atoms = make(compound, prototypes, minimum, mismatch, rng)
        if atoms is not None:
            return atoms
    return None


def _shared(
    compound: Compound, prototypes: list[str], minimum: int, mismatch: float, rng: np.random.Generator
) -> Atoms | None:
    cations = tuple((ion, count) for ion, count in compound.ions if ion[1] > 0)
    anions = tuple((ion, count) for ion, count in compound.ions if ion[1] < 0)
    if not any(_several(group) for group in (cations, anions)) or not _alike(cations + anions, mismatch):
        return None
    candidates = [
        fit for key in prototypes for s in matching([cations, anions], PROTOTYPES[key]) if (fit := _fit(key, s))
    ]
    for fit in sorted(
        (fit for fit in candidates if fit.allowed), key=lambda fit: (round(fit.misfit, 9), fit.prototype)
    ):
        atoms = _occupied(fit, minimum, rng)
        if atoms is None:
            continue
        text = f'{compound.formula} ({compound.described()}): ions share the sites of {fit.prototype} at random'
        _describe(atoms, compound, f'disordered {fit.prototype}', text)
        atoms.info['parameters'].update(prototype=fit.prototype, disorder='random')
        return atoms
    return None


def _exchanged(
    compound: Compound, prototypes: list[str], minimum: int, mismatch: float, rng: np.random.Generator
) -> Atoms | None:
    pairs = _exchangeable(compound, mismatch)
    if not pairs:
        return None
    for fit in fits(compound, prototypes):
        atoms = _occupied(fit, minimum, rng)
        if atoms is None:
            continue
        one, two = pairs[int(rng.integers(len(pairs)))]
        symbols = np.array(atoms.get_chemical_symbols())
        first, second = np.flatnonzero(symbols == one), np.flatnonzero(symbols == two)
        # Of as many of each, more than half exchanged is the same as less than half.
        most = max(1, len(first) // 2) if len(first) == len(second) else min(len(first), len(second))
        number = int(rng.integers(1, most + 1))
        first, second = rng.choice(first, number, replace=False), rng.choice(second, number, replace=False)
        for array in (atoms.numbers, atoms.arrays['oxidation_states']):
            array[first], array[second] = array[second].copy(), array[first].copy()
        if too_close(atoms, minimum_distances(sorted(set(symbols.tolist())), MIN_CONTACT_RATIO)):
            continue
        text_of_pairs = '1 pair' if number == 1 else f'{number} pairs'
        text = f'{compound.formula} as {fit.prototype}: {text_of_pairs} of {one} and {two} have changed places'
        _describe(atoms, compound, f'disordered {fit.prototype}', text)
        atoms.info['parameters'].update(prototype=fit.prototype, exchanged=number)
        return atoms
    return None


def _several(group: tuple[tuple[Ion, int], ...]) -> bool:
    return len({ion[0] for ion, _ in group}) > 1


def _alike(ions: tuple[tuple[Ion, int], ...], mismatch: float) -> bool:
    """Return whether the radii of the cations, and those of the anions, differ by no more than a factor."""
    for positive in (True, False):
        radii = [radius(*ion) for ion, _ in ions if (ion[1] > 0) == positive]
        if min(radii) <= 0 or max(radii) > mismatch * min(radii):
            return False
    return True


def _exchangeable(compound: Compound, mismatch: float) -> list[tuple[str, str]]:
    """Return the pairs of elements, of one sign, whose ions may change places."""
    ions = [ion for ion, _ in compound.ions]
    return [
        (one[0], two[0])
        for k, one in enumerate(ions)
        for two in ions[k + 1 :]
        if one[0] != two[0] and one[1] * two[1] > 0 and _alike_pair(one, two, mismatch)
    ]


def _alike_pair(one: Ion, two: Ion, mismatch: float) -> bool:
    small, large = sorted((radius(*one), radius(*two)))
    return small > 0 and large <= mismatch * small


def _occupied(fit: Fit, minimum: int, rng: np.random.Generator) -> Atoms | None:
    """Return the prototype with its ions and states, whole numbers of them; None if atoms are too close."""
    atoms = _commensurate(fit, minimum)
    if atoms is None:
        return None
    atoms.info = {}
    slots = np.array([PLACEHOLDERS.index(symbol) for symbol in atoms.get_chemical_symbols()])
    symbols, states = np.empty(len(atoms), dtype=object), np.zeros(len(atoms))
    for slot, group in enumerate(fit.slots):
        sites = np.flatnonzero(slots == slot)
        share = len(sites) // sum(count for _, count in group)
        ions = [ion for ion, count in group for _ in range(count * share)]
        if len(group) > 1:
            ions = [ions[k] for k in rng.permutation(len(ions))]
        symbols[sites] = [element for element, _ in ions]
        states[sites] = [state for _, state in ions]
    atoms.set_chemical_symbols(symbols.tolist())
    atoms.set_array('oxidation_states', states)
    atoms.set_cell(atoms.cell.array * fit.scale, scale_atoms=True)
    atoms.wrap()
    return with_room(atoms)


def _commensurate(fit: Fit, minimum: int) -> Atoms | None:
    """Return a cell with the atoms wanted in which every slot can be shared as the formula says; None if too large.

    It is made of conventional cells, or of primitive ones where these are large or a smaller cell will do.
    """
    prototype = PROTOTYPES[fit.prototype]
    conventional = _template(prototype, primitive=False)
    cells = [_template(prototype, primitive=True)]
    shared = any(len(group) > 1 for group in fit.slots)
    if len(conventional) <= MAX_ATOMS_CONVENTIONAL:
        cells = [conventional, *cells] if shared else [conventional]
    found = [cell for atoms in cells if (cell := _repeated(atoms, fit, minimum)) is not None]
    return min(found, key=len, default=None)


def _repeated(atoms: Atoms, fit: Fit, minimum: int) -> Atoms | None:
    wanted = max(minimum, len(atoms))
    while wanted <= MAX_ATOMS_DISORDERED:
        cell = supercell(atoms, wanted)
        symbols = cell.get_chemical_symbols()
        if not any(
            symbols.count(PLACEHOLDERS[slot]) % sum(count for _, count in group)
            for slot, group in enumerate(fit.slots)
            if len(group) > 1
        ):
            return cell
        wanted = len(cell) + 1
    return None


def with_room(atoms: Atoms) -> Atoms | None:
    """Return the crystal, somewhat enlarged where atoms are too close for the checks; None if that is not enough."""
    closest = minimum_distances(sorted(set(atoms.get_chemical_symbols())), MIN_CONTACT_RATIO)
    first, second, distances = neighbor_list('ijd', atoms, max(closest.values()))
    symbols = np.array(atoms.get_chemical_symbols())
    needed = [closest[tuple(sorted((one, two)))] for one, two in zip(symbols[first], symbols[second], strict=True)]
    factor = max(1.0, float(np.max(np.array(needed) / distances, initial=1.0)) * (1 + 1e-6))
    if factor > MAX_ENLARGEMENT:
        return None
    if factor > 1:
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return atoms


def _describe(atoms: Atoms, compound: Compound, phase: str, reason: str) -> None:
    atoms.info.update(family='ionic', phase=phase, reason=reason, parameters=summary(compound))


def summary(compound: Compound) -> dict:
    """Return what `parameters` says of a compound."""
    states: dict[str, list[str]] = {}
    for ion, _ in compound.ions:
        states.setdefault(ion[0], []).append(name(*ion))
    return {'formula': compound.formula, 'oxidation_states': states}
