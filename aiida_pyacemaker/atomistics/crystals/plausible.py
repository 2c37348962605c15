"""Which crystals are plausible for a formula: prototypes ranked by what is known of similar compounds."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from itertools import permutations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from ..core.errors import InputError, MissingLibraryError
from .elements import is_metal, lattice_of, volume_per_atom
from .prototypes import (
    PROTOTYPES,
    Prototype,
    electronegativity,
    ionic_radius,
)

#: Scales of the distance between two elements: Pettifor's number, electronegativity, covalent radius (Å).
SCALES = (10.0, 0.4, 0.25)
#: Decay of the similarity of two compounds with the sum of the distances of their elements.
DECAY = 0.4
#: The second-nearest known compound counts this much of the nearest, the third this much of the second...
NEXT_NEAREST_WEIGHT = 0.85
#: Weight of a second, wide kernel, which orders what is not similar.
WIDE_WEIGHT = 0.01
#: Decay of the wide kernel.
WIDE_DECAY = 1.6
#: Similarity of what no known compound resembles.
MIN_SIMILARITY = 1e-9
#: Prototypes less plausible than the best by more than this (natural logarithm) are not proposed.
MAX_SCORE_GAP = 9.0
#: Difference of electronegativity from which a compound counts as ionic.
MIN_IONIC_DIFFERENCE = 1.0
#: Known compounds less similar than this are no argument.
MIN_RESEMBLANCE = 0.02
#: Radius ratios (cation to anion) at which a coordination number is met, a little wider than Pauling's.
RADIUS_RATIOS = {
    **{2: (0.0, 0.6), 3: (0.0, 0.35), 4: (0.15, 0.5), 5: (0.3, 0.7), 6: (0.36, 0.85), 7: (0.5, 0.9)},
    **{8: (0.6, 1.2), 9: (0.65, 1.3), 10: (0.7, 1.5), 11: (0.75, 1.6), 12: (0.8, 1.9)},
}
#: Goldschmidt's tolerance factor in the perovskites and what competes with them.
TOLERANCE = {
    'perovskite': (0.91, 1.06),
    'tetragonal-perovskite': (0.97, 1.10),
    'rhombohedral-perovskite': (0.93, 1.03),
    'orthorhombic-perovskite': (0.80, 0.97),
    'ilmenite': (0.60, 0.86),
    'lithium-niobate': (0.65, 0.90),
    'BaNiO3': (1.02, 1.30),
}
#: Diatomic elements that are gases: a molecule in a box stands for them. Bonds in Å (Huber and Herzberg, 1979).
GASES = {'H': 0.741, 'N': 1.098, 'O': 1.208, 'F': 1.412, 'Cl': 1.988}
#: Molecules of pairs of non-metals, in the order in which they are proposed.
MOLECULES = tuple(
    'H2O NH3 CH4 CO CO2 NO N2O NO2 HF HCl SO2 SH2 PH3 SiH4 CF4 CCl4 CS2 OCS NF3 PF3 SiF4 SiCl4 BF3 BCl3 F2O Cl2O ClF '
    'CS SO PO CN BH CH3OH HCN H2CO HCOOH'.split()
)
#: Bonds that a non-metal forms with hydrogen and halogens, and where they point (their number, whether in a plane).
VALENCES = {'H': 1, 'F': 1, 'Cl': 1, 'Br': 1, 'I': 1, 'O': 2, 'S': 2, 'Se': 2, 'Te': 2, 'N': 3, 'P': 3, 'As': 3,
            'B': 3, 'C': 4, 'Si': 4, 'Ge': 4}  # fmt: skip
DIRECTIONS = {
    (1, False): [[0, 0, 1]],
    (2, False): [[0.79, 0, 0.61], [-0.79, 0, 0.61]],
    (3, False): [[0.89, 0, 0.455], [-0.445, 0.771, 0.455], [-0.445, -0.771, 0.455]],
    (3, True): [[1, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]],
    (4, False): [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
}
#: Å, between a molecule in a box and its images.
VACUUM = 8.0


@dataclass(frozen=True)
class Candidate:
    """A prototype for a formula: which element on which slot, how plausible, and why."""

    prototype: Prototype
    species: tuple[str, ...]
    #: Natural logarithm of the plausibility; only differences within a formula mean something.
    score: float
    reasons: tuple[str, ...]


def parse_formula(formula: str, elements: list[str] | None = None) -> dict[str, int]:
    """Return the reduced numbers of atoms, in the order of the formula.

    :param elements: those that are allowed; None: all.
    :raises ValueError: if it is no formula, names no element or one that is not allowed; with the nearest possibility.
    """
    key = 'formulas'
    tokens = re.findall(r'([A-Z][a-z]?)(\d*\.?\d*)', formula)
    if not tokens or ''.join(name + number for name, number in tokens) != formula.strip():
        raise InputError(
            key,
            f'{formula!r} is not a formula such as Fe3Pt or SrTiO3: elements and whole numbers, no brackets',
        )
    amounts: dict[str, Fraction] = {}
    for name, number in tokens:
        if name not in chemical_symbols[1:]:
            near = difflib.get_close_matches(name, elements or chemical_symbols[1:], 3, 0.3) or (elements or [])
            raise InputError(
                key, f'{formula!r}: {name} is not a chemical element', f'nearest: {", ".join(near) or "none"}'
            )
        amounts[name] = amounts.get(name, Fraction(0)) + Fraction(number or 1)
    if min(amounts.values()) <= 0:
        raise InputError(key, f'{formula!r}: numbers of atoms must be positive')
    if any(amount.denominator != 1 for amount in amounts.values()):
        whole = {name: amount / sum(amounts.values()) for name, amount in amounts.items()}
        raise InputError(
            key, f'{formula!r}: numbers of atoms must be whole', f'nearest: {write_formula(_small(whole, 12))}'
        )
    others = [name for name in amounts if elements is not None and name not in elements]
    if others:
        rest = write_formula({name: int(amount) for name, amount in amounts.items() if name not in others})
        raise InputError(
            key,
            f'{formula!r} holds {", ".join(others)}, which system.elements ({", ".join(elements or [])}) does not',
            f'add it there, or ask for {rest or "a formula of " + ", ".join(elements or [])}',
        )
    divisor = math.gcd(*(int(amount) for amount in amounts.values()))
    return {name: int(amount) // divisor for name, amount in amounts.items()}


def write_formula(counts: dict[str, int]) -> str:
    """Write 'Fe3Pt', in the order of the dictionary."""
    return ''.join(name + (str(count) if count > 1 else '') for name, count in counts.items())


def _small(fractions: dict[str, Fraction], atoms: int) -> dict[str, int]:
    """Nearest composition with at most `atoms` atoms."""
    best: tuple[float, dict[str, int]] | None = None
    for size in range(len(fractions), atoms + 1):
        counts = {name: max(1, round(float(share) * size)) for name, share in fractions.items()}
        total = sum(counts.values())
        error = sum(abs(counts[name] / total - float(share)) for name, share in fractions.items())
        if best is None or error < best[0] - 1e-6:
            best = (error, counts)
    return best[1] if best else dict.fromkeys(fractions, 1)


def likely_formulas(elements: list[str], number: int) -> list[str]:
    """Return the likeliest formulas that hold all the elements, the best first.

    Ionic compounds are neutral (SMACT); those that the table knows come first. Other compounds are the stoichiometries
    of the prototypes that similar compounds have.
    """
    if len(elements) == 1:
        return list(elements)
    elements = _written(elements)
    molecules = dict.fromkeys(write_formula({n: _reduced(a)[n] for n in elements}) for a in molecules_of(elements))
    if molecules and not any(known_structures(parse_formula(formula)) for formula in molecules):
        return list(molecules)[:number]
    ionic = _neutral_formulas(elements) if _gap(elements) >= MIN_IONIC_DIFFERENCE else []
    if ionic:
        known = [counts for counts in ionic if known_structures(counts)]
        ranked = known + [counts for counts in ionic if counts not in known]
        return [write_formula(counts) for counts in ranked[:number]]
    found: dict[str, float] = {}
    for prototype in PROTOTYPES.values():
        if len(prototype.slots) != len(elements):
            continue
        for species in permutations(elements):
            counts = dict(zip(species, prototype.counts, strict=True))
            formula = write_formula({name: counts[name] for name in elements})
            found[formula] = max(found.get(formula, -math.inf), _log_similarity(prototype, species, frozenset())[0])
    order = sorted(found, key=lambda formula: (-round(found[formula], 9), len(formula), formula))
    return order[:number]


def _neutral_formulas(elements: list[str]) -> list[dict[str, int]]:
    from .oxidation import compounds_of

    try:
        compounds = compounds_of(elements, None, max(12, 3 * len(elements)), 40)
    except (ValueError, MissingLibraryError):
        return []
    found = [compound.counts for compound in compounds if len(compound.counts) == len(elements)]
    return [{name: counts[name] for name in _written(counts)} for counts in found]


def _written(names: Iterable[str]) -> list[str]:
    """Elements in the order of electronegativity, as formulas are written."""
    return sorted(names, key=lambda name: (electronegativity(name), name))


def _gap(elements: Iterable[str]) -> float:
    """Largest difference of electronegativity."""
    values = [electronegativity(name) for name in elements]
    return max(values) - min(values)


@cache
def _states(items: tuple[tuple[str, int], ...]) -> dict[str, float] | None:
    """Mean oxidation state of each element in an ionic formula, None where it is not ionic or not neutral."""
    counts = dict(items)
    if len(counts) < 2 or all(is_metal(name) for name in counts) or _gap(counts) < MIN_IONIC_DIFFERENCE:
        return None
    from .oxidation import compound_of

    try:
        compound = compound_of(write_formula(counts), list(counts), None)
    except MissingLibraryError:
        from .prototypes import neutral_states

        return neutral_states(write_formula(counts))
    except ValueError:
        return None
    total = dict.fromkeys(counts, 0.0)
    for (name, state), count in compound.ions:
        total[name] += state * count
    return {name: total[name] / counts[name] for name in counts}


def oxidation_states(counts: dict[str, int]) -> dict[str, float] | None:
    """Return the mean oxidation state of each element, None where the formula is not ionic or cannot be neutral."""
    return _states(tuple(counts.items()))


KNOWN = 'it is a known structure of this compound'


@cache
def _features(element: str) -> tuple[float, float, float]:
    """Pettifor's number of an element (pymatgen), electronegativity and covalent radius, in units of `SCALES`."""
    from pymatgen.core import Element

    values = (float(Element(element).mendeleev_no), electronegativity(element), covalent_radii[atomic_numbers[element]])
    return tuple(value / scale for value, scale in zip(values, SCALES, strict=True))


@cache
def element_distance(one: str, two: str) -> float:
    """How different two elements are in crystals: 0 for the same, about 1 for neighbours in a row."""
    return math.dist(_features(one), _features(two))


def similarity(one: Iterable[str], two: Iterable[str]) -> float:
    """Similarity of two compounds of a prototype, site by site: 1 for the same, 0 for nothing in common."""
    return math.exp(-sum(element_distance(a, b) for a, b in zip(one, two, strict=True)) / DECAY)


def known_structures(counts: dict[str, int]) -> list[str]:
    """Names of the prototypes of which the table has this compound as an example."""
    return [
        name
        for name, prototype in PROTOTYPES.items()
        if sorted(prototype.counts) == sorted(counts.values())
        and any(dict(zip(example, prototype.counts, strict=True)) == counts for example in prototype.examples)
    ]


def rank_prototypes(
    counts: dict[str, int], exclude: frozenset[tuple[tuple[str, int], ...]] = frozenset()
) -> list[Candidate]:
    """Return the prototypes that the composition fits, the most plausible first, each once.

    :param counts: reduced numbers of atoms, from `parse_formula`.
    :param exclude: compounds (sorted (element, number) pairs) that the table must not know, for tests.
    """
    states = oxidation_states(counts)
    best: dict[str, Candidate] = {}
    for name, prototype in PROTOTYPES.items():
        if sorted(prototype.counts) != sorted(counts.values()):
            continue
        for species in permutations(_written(counts)):
            if [counts[element] for element in species] != prototype.counts:
                continue
            candidate = _candidate(prototype, species, states, exclude)
            if name not in best or candidate.score > best[name].score + 1e-9:
                best[name] = candidate
    # ties: the order of the table
    return sorted(best.values(), key=lambda candidate: -round(candidate.score, 9))


def plausible(ranked: list[Candidate]) -> list[Candidate]:
    """Return the candidates without the hopeless ones; the best always stays."""
    return [candidate for candidate in ranked if candidate.score > ranked[0].score - MAX_SCORE_GAP]


def _candidate(
    prototype: Prototype, species: tuple[str, ...], states: dict[str, float] | None, exclude: frozenset
) -> Candidate:
    score, reason = _log_similarity(prototype, species, exclude)
    reasons = [reason]
    if reason == KNOWN:
        # facts need no rules
        return Candidate(prototype, species, score, (KNOWN,))
    if all(is_metal(name) for name in species):
        change, text = _packing(prototype, species)
        score += change
        reasons += [text] if text else []
    if states is not None:
        for change, text in (
            _charges(prototype, species, states),
            _radius_ratio(prototype, species, states),
            _tolerance_factor(prototype, species, states),
        ):
            score += change
            reasons += [text] if text else []
    return Candidate(prototype, species, score, tuple(reasons))


@lru_cache(maxsize=4096)
def _log_similarity(prototype: Prototype, species: tuple[str, ...], exclude: frozenset) -> tuple[float, str]:
    """Logarithm of the summed similarity to the known compounds of a prototype, and what that means."""
    found = [
        (similarity(species, example), example)
        for example in prototype.examples
        if not exclude or tuple(sorted(zip(example, prototype.counts, strict=True))) not in exclude
    ]
    found.sort(key=lambda item: (-item[0], item[1]))
    values = [value + WIDE_WEIGHT * value ** (DECAY / WIDE_DECAY) for value, _ in found[:12]]
    total = sum(value * NEXT_NEAREST_WEIGHT**order for order, value in enumerate(values))
    return math.log(total + MIN_SIMILARITY), _resemblance(prototype, found)


def _resemblance(prototype: Prototype, found: list[tuple[float, tuple[str, ...]]]) -> str:
    names = [_example(prototype, example) for value, example in found if MIN_RESEMBLANCE < value < 1][:3]
    if found and found[0][0] == 1:
        return KNOWN
    if names:
        return f'similar compounds have it: {", ".join(names)}'
    nearest = f' (the nearest is {_example(prototype, found[0][1])})' if found else ''
    return f'its stoichiometry {prototype.formula} fits, but no similar compound of the table has it{nearest}'


def _example(prototype: Prototype, example: tuple[str, ...]) -> str:
    counts = dict(zip(example, prototype.counts, strict=True))
    return write_formula({name: counts[name] for name in _written(counts)})


#: Lattices of which intermetallic prototypes are ordered variants: close-packed (fcc, hcp) and bcc.
CLOSE_PACKED = frozenset('L1_0 L1_1 L1_2 D0_19 D0_22 D0_23 D0_24 D0_a D1_a MoPt2 beta-AuCd gamma-IrV'.split())
BODY_CENTRED = frozenset('CsCl D0_3 NaTl MoSi2 full-Heusler inverse-Heusler gamma-CuTi'.split())
LAVES = frozenset(['C14', 'C15', 'C36'])


def _packing(prototype: Prototype, species: tuple[str, ...]) -> tuple[float, str]:
    """Metals keep the packing of their elements; Laves phases want a ratio of sizes of 1.225."""
    if prototype.name in LAVES:
        ratio = float(np.cbrt(volume_per_atom(species[0]) / volume_per_atom(species[1])))
        outside = max(0.0, 1.08 - ratio, ratio - 1.4)
        return (
            0.5 - 6.0 * outside,
            f'the size ratio {ratio:.2f} {"suits" if not outside else "is far from the ideal 1.225"}',
        )
    family = {'close-packed': CLOSE_PACKED, 'body-centred': BODY_CENTRED}
    for name, lattices in (('close-packed', ('fcc', 'hcp')), ('body-centred', ('bcc',))):
        if prototype.name not in family[name]:
            continue
        weights = dict.fromkeys(species, 0)
        for element, count in zip(species, prototype.counts, strict=True):
            weights[element] += count
        share = sum(n for element, n in weights.items() if lattice_of(element) in lattices) / sum(weights.values())
        if share > 0.5:
            return share, f'{name} like its elements'
    return 0.0, ''


def _charges(prototype: Prototype, species: tuple[str, ...], states: dict[str, float]) -> tuple[float, str]:
    """Anions belong on the sites of anions, and ionic compounds in ionic prototypes."""
    text = ', '.join(f'{name} {state:+g}' for name, state in states.items() if abs(state - round(state)) < 1e-9)
    text = f'charges balance ({text})' if text else 'charges balance'
    if not prototype.anions:
        return -2.0, f'{text}, though it is a structure of metals'
    wrong = [
        s for slot, s in zip(prototype.slots, species, strict=True) if (states[s] < 0) != (slot in prototype.anions)
    ]
    return (-5.0, f'{text}, though {wrong[0]} sits on a site of the other charge') if wrong else (0.0, text)


def _radius_ratio(prototype: Prototype, species: tuple[str, ...], states: dict[str, float]) -> tuple[float, str]:
    """Pauling's first rule for every cation, softly: many compounds break it (George et al., Angew. Chem. 2020)."""
    radii = [ionic_radius(name, states[name]) for name in species if states[name] < 0]
    anions = [radius for radius in radii if radius is not None]
    if not prototype.anions or len(anions) < len(radii) or not anions:
        return 0.0, ''
    penalty, texts = 0.0, []
    for slot, name in zip(prototype.slots, species, strict=True):
        if states[name] <= 0 or slot in prototype.anions:
            continue
        neighbours = prototype.coordination[slot]
        radius = ionic_radius(name, states[name], neighbours)
        if radius is None:
            continue
        ratio = radius / max(anions)
        low, high = RADIUS_RATIOS[int(min(max(round(neighbours), 2), 12))]
        outside = max(0.0, low - ratio, ratio - high)
        penalty += 3.0 * outside
        verdict = 'suits' if outside == 0 else 'is small for' if ratio < low else 'is large for'
        texts.append(f'the radius ratio {name} {ratio:.2f} {verdict} {neighbours:g} neighbours')
    return -penalty, ', '.join(texts)


def tolerance_factor(species: tuple[str, ...], states: dict[str, float]) -> float | None:
    """Goldschmidt's t of ABX3, with the radius of A for 12 and of B for 6 neighbours; None if a radius is unknown."""
    a, b, x = (ionic_radius(name, states[name], n) for name, n in zip(species, (12, 6, 6), strict=True))
    if a is None or b is None or x is None:
        return None
    return (a + x) / (math.sqrt(2) * (b + x))


def _tolerance_factor(prototype: Prototype, species: tuple[str, ...], states: dict[str, float]) -> tuple[float, str]:
    if prototype.name not in TOLERANCE or any((states[name] < 0) != (name == species[2]) for name in species):
        return 0.0, ''
    factor = tolerance_factor(species, states)
    if factor is None:
        return 0.0, ''
    low, high = TOLERANCE[prototype.name]
    outside = max(0.0, low - factor, factor - high)
    verdict = 'suits' if outside == 0 else 'is small' if factor < low else 'is large'
    return -8.0 * outside, f'the tolerance factor {factor:.2f} {verdict}'


def _reduced(atoms: Atoms) -> dict[str, int]:
    counts = atoms.symbols.formula.count()
    divisor = math.gcd(*counts.values())
    return {name: count // divisor for name, count in counts.items()}


def set_states(atoms: Atoms, counts: dict[str, int]) -> Atoms:
    """Set the array `oxidation_states` of an ionic crystal, in place; the mean where an element has several."""
    states = oxidation_states(counts)
    if states is not None:
        atoms.set_array('oxidation_states', np.array([states[name] for name in atoms.get_chemical_symbols()]))
    return atoms


def _molecule(atoms: Atoms) -> Atoms:
    """Put a molecule into a box with vacuum on all sides."""
    atoms = Atoms(atoms.numbers, atoms.positions)
    formula = atoms.get_chemical_formula()
    atoms.set_cell(np.ptp(atoms.positions, axis=0) + VACUUM)
    atoms.center()
    atoms.pbc = True
    atoms.info.update(
        family='knowledge',
        phase=f'{formula} molecule',
        vacuum_axes=[0, 1, 2],
        reason=f'{formula} molecule in a box: what these elements form at ambient conditions',
        parameters={'formula': formula, 'prototype': None, 'score': 1.0},
    )
    return atoms


def molecules_of(elements: list[str]) -> list[Atoms]:
    """Small molecules of exactly these non-metals."""
    if any(is_metal(element) for element in elements):
        return []
    from ase.build import molecule
    from ase.formula import Formula

    made = []
    for name in dict.fromkeys(MOLECULES):
        if set(Formula(name).count()) == set(elements):
            try:
                made.append(_molecule(molecule(name)))
            except KeyError:  # not in the G2 set of ASE
                continue
    return made or [_molecule(atoms) for atoms in _by_valence(elements)]


def _by_valence(elements: list[str]) -> list[Atoms]:
    """A molecule of one atom and as many of hydrogen or a halogen as it binds: HBr, SCl2, PCl3, BBr3.

    Bonds are sums of covalent radii; angles are 104°, 101° (B: 120°), or tetrahedral.
    """
    if len(elements) != 2 or not set(elements) <= VALENCES.keys():
        return []
    ligand, centre = sorted(elements, key=lambda element: (VALENCES[element], element != 'H'))
    if VALENCES[ligand] != 1:
        return []
    bond = covalent_radii[atomic_numbers[ligand]] + covalent_radii[atomic_numbers[centre]]
    directions = np.array(DIRECTIONS[3 if centre == 'B' else VALENCES[centre], centre == 'B'], dtype=float)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return [Atoms([centre, *[ligand] * len(directions)], [[0, 0, 0], *(bond * directions)])]
