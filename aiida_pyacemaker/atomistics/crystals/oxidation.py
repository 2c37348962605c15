"""Oxidation states: which an element has, which formulas they make neutral, and how large the ions are.

States are those of pymatgen's periodic table (common ones, and those met in the ICSD), neutral ratios and the Pauling
test those of SMACT (D. W. Davies et al., J. Open Source Softw. 4, 1361 (2019)), radii those of R. D. Shannon, Acta
Cryst. A 32, 751 (1976).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, product

from ase.data import atomic_numbers, covalent_radii

from ..core.chemistry import parse_formula
from ..core.errors import InputError
from ..core.parameters import require
from .elements import is_metal
from .prototypes import ionic_radius

#: Elements that form molecules with each other.
MOLECULAR = frozenset('H C N O F P S Cl Se Br I'.split())
#: Penalty, by which formulas are ranked, of a state that is not common.
RARE_STATE_PENALTY = 1.0
#: Penalty of two states of one element.
MIXED_STATES_PENALTY = 1.5
#: Penalty of each atom of the formula.
ATOM_PENALTY = 0.1
#: Penalty of electronegativities that hardly differ.
COVALENT_PENALTY = 0.5
#: Penalty of an anion that a more electronegative one would oxidise (C4- by O).
OXIDISED_ANION_PENALTY = 0.6
#: Difference of electronegativity (Pauling) below which a bond is hardly ionic.
MIN_IONIC_DIFFERENCE = 1.0
#: States of rank 0 (common) and 1 (met in crystals) make formulas; those of rank 2 only explain a given one.
RANK_OF_PROPOSALS = 1
#: Sum of the ranks of the states beyond which a given formula is not believed: one state that is merely possible.
MAX_RARITY = 2
#: Elements in a formula that is proposed, at most, except for the one of all elements.
MAX_ELEMENTS = 4
States = dict[str, list[int]]


@dataclass(frozen=True)
class Compound:
    """A neutral formula with the states of its atoms."""

    #: ((element, state), how many) in the formula unit: cations first, each kind once.
    ions: tuple[tuple[tuple[str, int], int], ...]
    #: The smaller the more plausible.
    penalty: float
    #: Sum of the ranks of its states.
    rarity: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Atoms of each element in the formula unit."""
        counts: dict[str, int] = {}
        for (element, _), count in self.ions:
            counts[element] = counts.get(element, 0) + count
        return counts

    @property
    def atoms(self) -> int:
        """Atoms of the formula unit."""
        return sum(count for _, count in self.ions)

    @property
    def formula(self) -> str:
        """Formula, cations first."""
        return ''.join(element + (str(count) if count > 1 else '') for element, count in self.counts.items())

    @property
    def states(self) -> dict[str, list[int]]:
        """States of each element, one entry per atom of the formula unit."""
        states: dict[str, list[int]] = {}
        for (element, state), count in self.ions:
            states.setdefault(element, []).extend([state] * count)
        return states

    def described(self) -> str:
        """Return for example 'Fe2+ 2 Fe3+ 4 O2-'."""
        return ' '.join((f'{count} ' if count > 1 else '') + name(*ion) for ion, count in self.ions)


def name(element: str, state: int) -> str:
    """Return for example 'Ti4+'."""
    size = abs(state)
    return element + (str(size) if size != 1 else '') + ('+' if state > 0 else '-')


def known_states(element: str) -> dict[int, int]:
    """Return the states of an element with their ranks: 0 common, 1 met in crystals, 2 possible.

    Metals have no negative states here; nonmetals have both.
    """
    from pymatgen.core import Element

    entry = Element(element)
    common, met = set(entry.common_oxidation_states), set(entry.icsd_oxidation_states)
    ranks = {}
    for state in sorted({*common, *met, *entry.oxidation_states}):
        if state == 0 or (state < 0 and is_metal(element)):
            continue
        rare = state not in common, bool(met) and state not in met
        ranks[state] = 0 if not any(rare) else 1 if not all(rare) else 2
        # Anions have a full shell; peroxides, carbides of C-C pairs and the like only where they are asked for.
        if state < 0 and state != min(common, default=state):
            ranks[state] = 2
    return ranks


def ranked_states(elements: list[str], own: States | None) -> dict[str, dict[int, int]]:
    """Return the states of the elements with their ranks; states that the user names have rank 0.

    :raises ValueError: if an element is unknown or has no state.
    """
    for element, states in (own or {}).items():
        if element not in elements:
            raise InputError('oxidation_states', f'{element!r} is not among the elements {", ".join(elements)}')
        if not states or 0 in states or any(abs(state) > 9 for state in states):
            raise InputError(
                'oxidation_states',
                f'{element}: {states} must be whole numbers from -9 to 9, not zero',
                f'known are {", ".join(map(str, sorted(known_states(element)))) or "none"}',
            )
    ranked = {}
    for element in elements:
        named = (own or {}).get(element)
        ranked[element] = dict.fromkeys(named, 0) if named else known_states(element)
    return ranked


def read_formula(formula: str, elements: list[str]) -> dict[str, int]:
    """Return the reduced numbers of atoms.

    :raises ValueError: if it cannot be read or names elements that are not among the given ones.
    """
    counts = parse_formula(formula, 'formulas')
    others = [element for element in counts if element not in elements]
    if others:
        raise InputError(
            'formulas',
            f'{formula!r} holds {", ".join(others)}, which system.elements ({", ".join(elements)}) does not',
        )
    return counts


def compounds_of(elements: list[str], own: States | None, max_atoms: int, number: int) -> list[Compound]:
    """Return the neutral formulas of the elements and of all their subsystems, the most plausible first.

    Non-metals alone form molecules, not crystals of ions: beside a metal, CO2 or N2O3 is no formula of its own.

    :param max_atoms: of a formula unit; the formula of all elements may have twice as many if there is none with less.
    :param number: at most; but every pair of elements that has a neutral formula, and all elements together, have one.
    :raises ValueError: if there is no neutral formula.
    """
    ranked = ranked_states(elements, own)
    subsets = [names for size in range(2, len(elements) + 1) for names in combinations(elements, size)]
    best: list[Compound] = []
    rest: list[Compound] = []
    for names in subsets:
        full = len(names) == len(elements)
        if not full and (len(names) > MAX_ELEMENTS or MOLECULAR.issuperset(names)):
            continue
        found = _proposals(names, ranked, max_atoms) or (_proposals(names, ranked, 2 * max_atoms) if full else [])
        must = full or len(names) == 2
        best += found[:1] if must else []
        rest += found[1:] if must else found
    if not best and not rest:
        raise _no_formula(elements, ranked)
    best.sort(key=_order)
    rest.sort(key=_order)
    return sorted(best + rest[: max(0, number - len(best))], key=_order)


def compound_of(formula: str, elements: list[str], own: States | None) -> Compound:
    """Return a formula with the most plausible states that make it neutral; an element may have two neighbouring ones.

    :raises ValueError: if no states make it neutral; the message names the nearest formula that is.
    """
    counts = read_formula(formula, elements)
    ranked = ranked_states(elements, own)
    candidates = sorted(_assignments(counts, ranked), key=_order)
    if candidates and candidates[0].rarity <= MAX_RARITY:
        return candidates[0]
    raise _not_neutral(formula, counts, elements, ranked)


def _order(compound: Compound) -> tuple[float, str]:
    return round(compound.penalty, 6), compound.formula


def _proposals(names: tuple[str, ...], ranked: dict[str, dict[int, int]], max_atoms: int) -> list[Compound]:
    """Return the neutral formulas that hold all the elements, by SMACT, the best first; each formula once."""
    smact = require('smact', 'the ionic family')
    found: dict[tuple[int, ...], Compound] = {}
    for ions in _choices(names, ranked):
        threshold = min(max_atoms - len(ions) + 1, 8 if len(ions) <= 4 else 6)
        if threshold < 1:
            continue
        for ratio in smact.neutral_ratios([state for _, state in ions], threshold=threshold):
            if sum(ratio) > max_atoms:
                continue
            compound = _compound(ions, ratio, ranked)
            if compound is None:
                continue
            key = tuple(compound.counts[element] for element in names)
            if math.gcd(*key) == 1 and (key not in found or _order(compound) < _order(found[key])):
                found[key] = compound
    return sorted(found.values(), key=_order)


def _choices(names: tuple[str, ...], ranked: dict[str, dict[int, int]]) -> Iterator[list[tuple[str, int]]]:
    """Yield choices of one state per element, or of two neighbouring common ones for one of the elements."""
    usual = {
        element: [state for state, rank in ranked[element].items() if rank <= RANK_OF_PROPOSALS] for element in names
    }
    for states in product(*(usual[element] for element in names)):
        if min(states) < 0 < max(states):
            yield list(zip(names, states, strict=True))
    for mixed in names:
        common = [state for state in usual[mixed] if ranked[mixed][state] == 0 and state > 0]
        others = [element for element in names if element != mixed]
        for pair in pairwise(common):
            if pair[1] - pair[0] > 2:
                continue
            for states in product(*([s for s in usual[e] if ranked[e][s] == 0] for e in others)):
                if min(states, default=0) < 0:
                    yield [(mixed, pair[0]), (mixed, pair[1]), *zip(others, states, strict=True)]


def _assignments(counts: dict[str, int], ranked: dict[str, dict[int, int]]) -> Iterator[Compound]:
    """Yield the neutral assignments of states to a formula."""
    options = []
    for element, count in counts.items():
        states = sorted(ranked[element])
        own: list[tuple[tuple[int, int], ...]] = [((state, count),) for state in states]
        for low, high in pairwise(states):
            if low > 0:
                own += [((low, count - high_count), (high, high_count)) for high_count in range(1, count)]
        options.append([[((element, state), n) for state, n in option] for option in own])
    for choice in product(*options):
        ions = [ion for option in choice for ion in option]
        if sum(state * count for (_, state), count in ions) == 0:
            compound = _compound([ion for ion, _ in ions], tuple(count for _, count in ions), ranked)
            if compound is not None:
                yield compound


def _compound(
    ions: list[tuple[str, int]], ratio: tuple[int, ...], ranked: dict[str, dict[int, int]]
) -> Compound | None:
    """Return the compound, or None if it fails the Pauling test: a cation more electronegative than an anion."""
    from pymatgen.core import Element
    from smact.screening import pauling_test

    chi = {element: float(Element(element).X) for element, _ in ions}
    # Where an electronegativity is not known (noble gases) the test cannot be done.
    if any(math.isnan(value) for value in chi.values()):
        return None
    if not pauling_test([state for _, state in ions], [chi[element] for element, _ in ions]):
        return None
    gap = min(chi[e] for e, state in ions if state < 0) - max(chi[e] for e, state in ions if state > 0)
    elements = {element for element, _ in ions}
    rarity = sum(ranked[element][state] for element, state in ions)
    penalty = RARE_STATE_PENALTY * rarity + ATOM_PENALTY * sum(ratio)
    penalty += MIXED_STATES_PENALTY * (len(ions) - len(elements)) + (
        COVALENT_PENALTY if gap < MIN_IONIC_DIFFERENCE else 0.0
    )
    strongest = max(chi[element] for element, _ in ions)
    penalty += OXIDISED_ANION_PENALTY * sum(
        state < 0 and chi[element] < strongest and any(s > 0 and rank == 0 for s, rank in ranked[element].items())
        for element, state in ions
    )
    # Cations before anions, of these the less electronegative first, as formulas are written.
    order = sorted(range(len(ions)), key=lambda k: (ions[k][1] < 0, chi[ions[k][0]], ions[k]))
    return Compound(tuple((ions[k], ratio[k]) for k in order), penalty, rarity)


def _described(elements: list[str], ranked: dict[str, dict[int, int]]) -> str:
    return '; '.join(f'{e}: {", ".join(f"{s:+d}" for s in sorted(ranked[e])) or "none"}' for e in elements)


def _no_formula(elements: list[str], ranked: dict[str, dict[int, int]]) -> InputError:
    states = _described(elements, ranked)
    problem = f'no charge-neutral formula of {", ".join(elements)} with the oxidation states {states}'
    return InputError('', problem, _remedy(elements, ranked))


def _remedy(elements: list[str], ranked: dict[str, dict[int, int]]) -> str:
    if all(is_metal(element) for element in elements):
        partner = _partner(elements, ranked)
        return f'metals alone belong to structures.alloy; with an anion there is for example {partner}'
    return 'name others in structures.ionic.oxidation_states, or allow more in structures.ionic.max_formula_atoms'


def _partner(elements: list[str], ranked: dict[str, dict[int, int]]) -> str:
    positive = {e: next((s for s, rank in sorted(ranked[e].items(), key=lambda x: x[1]) if s > 0), 1) for e in elements}
    element = elements[0]
    state = positive[element]
    return element + 'Cl' + (str(state) if state > 1 else '')


def _not_neutral(
    formula: str, counts: dict[str, int], elements: list[str], ranked: dict[str, dict[int, int]]
) -> InputError:
    """Say why a formula is not neutral, and which one near to it is."""
    own = list(counts)
    atoms = max(8, sum(counts.values()) + 2)
    near = [
        *(_proposals(tuple(own), ranked, atoms) if len(own) > 1 else []),
        *(c for pair in combinations(own, 2) for c in (_proposals(pair, ranked, atoms) if len(own) > 2 else [])),
    ]
    if not near:
        near = [c for pair in combinations(elements, 2) for c in _proposals(pair, ranked, 8) if set(pair) & set(own)]
    problem = f'no oxidation states make {formula} charge-neutral ({_described(own, ranked)})'
    if not near:
        return InputError('formulas', problem, _remedy(own, ranked))
    nearest = min(near, key=lambda c: (round(_difference(counts, c.counts), 6), *_order(c)))
    remedy = f'the nearest neutral formula is {nearest.formula} ({nearest.described()})'
    return InputError('formulas', problem, remedy)


def _difference(first: dict[str, int], second: dict[str, int]) -> float:
    """Difference of two compositions: sum of the differences of the fractions."""
    a, b = sum(first.values()), sum(second.values())
    return sum(abs(first.get(e, 0) / a - second.get(e, 0) / b) for e in {**first, **second})


# Radii ----------------------------------------------------------------------------------------------------------------


def radius(element: str, state: int, coordination: float = 6) -> float:
    """Effective ionic radius in Å (Shannon; high spin), at the nearest tabulated coordination number and state.

    An ion that Shannon does not list (As3-, P3-...) has the covalent radius of its element; a proton, which lies within
    the anion, has -0.18 Å (or -0.38 Å where it has one neighbour).
    """
    if element == 'H' and state > 0:
        return -0.18 if coordination > 1.5 else -0.38
    found = ionic_radius(element, state, coordination)
    return float(covalent_radii[atomic_numbers[element]]) if found is None else found


def bond_length(
    cation: tuple[str, int], anion: tuple[str, int], coordination: float = 6, around_anion: float = 6
) -> float:
    """Sum of the ionic radii in Å.

    :param coordination: anions around the cation.
    :param around_anion: cations around the anion.
    """
    return radius(*cation, coordination) + radius(*anion, around_anion)
