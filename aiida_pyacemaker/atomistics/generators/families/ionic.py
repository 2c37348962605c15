"""Ionic crystals: neutral formulas, prototypes whose radii fit, cations that share sites, symmetry-random crystals."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from ase import Atoms

from ...checks.duplicates import Duplicates
from ...core.errors import InputError
from ...core.parameters import Count, Section, parameter
from ...crystals.elements import ANION_FORMERS, forms_network, is_metal
from ...crystals.ionic_lattices import Fit, disordered_crystal, fits, ordered_crystal, suitable_prototypes, summary
from ...crystals.oxidation import Compound, bond_length, compound_of, compounds_of, radius
from ...crystals.prototypes import PROTOTYPES
from ...crystals.random_crystals import minimum_distances, random_crystals
from ..family import Family

#: Share of the cell that the spheres of the ions fill in a random crystal (NaCl 0.65, MgO 0.70, TiO2 0.77).
FILLING_FRACTION = 0.65
#: In random crystals a cation and an anion are at least this fraction of the sum of their radii apart.
CLOSEST_UNLIKE = 0.85
#: In random crystals two anions are at least this fraction of the sum of their radii apart (they touch at 1).
CLOSEST_ANIONS = 0.8
#: In random crystals two cations are at least this times the shortest bond apart (in rock salt: 1.41).
CLOSEST_CATIONS = 1.1
#: Shortest distances of random crystals, in sums of covalent radii: the checks ask for 0.7, and variants are rattled.
MIN_CONTACT_RATIO = 0.82
#: Volume per atom of prototypes that are not named, at most, in units of that of the best one (Li3P as Cu3N: 2.5).
MAX_VOLUME_RATIO = 1.8


class Ionic(Section):
    """Charge-neutral crystals of ions."""

    oxidation_states: dict[str, list[Count]] | None = parameter(
        'Oxidation states that an element may have, such as {Ti: [3, 4], O: [-2]}; null, or an element left out: '
        'those known of the element, common ones first.',
        default=None,
    )
    formulas: list[str] | None = parameter(
        'Formulas, such as [SrTiO3, TiO2]; null: the charge-neutral ones of the elements and of each pair of them, by '
        'plausibility (common oxidation states, electronegativities, few atoms).',
        default=None,
        min_length=1,
    )
    max_formula_atoms: Count = parameter('Atoms of a formula unit that is proposed, at most.', default=8, ge=2, le=20)
    max_formulas: Count = parameter(
        'Formulas that are proposed, at most; each pair of elements that has one, and all elements, come first.',
        default=10,
        ge=1,
    )
    prototypes: list[str] | None = parameter(
        'Prototypes, such as [rocksalt, CsCl]; null: those of the stoichiometry of a formula whose radius ratios fit.',
        default=None,
        min_length=1,
    )
    prototypes_per_formula: Count = parameter('Prototypes of each formula, at most, the best first.', default=6, ge=1)
    random_crystals: Count = parameter(
        'Crystals with random positions in random space groups, shared among the formulas.', default=8, ge=0
    )
    random_atoms: Count = parameter(
        'Atoms of a random crystal, at most; a formula unit is always possible.', default=12, ge=2, le=64
    )
    disorder: Count = parameter(
        'Crystals of each formula in which cations (or anions) of several elements share sites or have changed places.',
        default=2,
        ge=0,
    )
    disorder_mismatch: float = parameter(
        'Largest ratio of the ionic radii of ions that share sites.', default=1.4, ge=1.0, le=3.0
    )
    atoms: Count = parameter('Atoms of a cell in which ions share sites, at least.', default=16, ge=2, le=128)


class IonicFamily(Family[Ionic]):
    """Charge-neutral crystals."""

    name = 'ionic'
    help = 'Charge-neutral crystals.'
    Parameters = Ionic
    order = 20

    def suits(self, elements: list[str]) -> bool:
        others = [element for element in elements if not is_metal(element)]
        if not 0 < len(others) < len(elements) or not set(others) <= ANION_FORMERS or forms_network(elements):
            return False
        try:
            return bool(_compounds(elements, Ionic()))
        except InputError:  # such as As and W, of which no known states make a neutral formula
            return False

    def parents(self, elements: list[str], section: Ionic, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return ideal ionic crystals, with the oxidation state of each atom in the array `oxidation_states`.

        First the best structure of each formula (the most plausible formula first), then in turn other prototypes,
        disordered and random crystals.

        :raises ValueError: if no formula is neutral, a given formula is not, or a prototype is unknown or fits no
            formula.
        """
        compounds = _compounds(elements, section)
        prototypes = suitable_prototypes(section.prototypes)
        chosen = {compound: _fits(compound, prototypes, section) for compound in compounds}
        if section.prototypes is not None and not any(chosen.values()):
            raise _no_prototype(compounds, prototypes)
        ordered = {compound: _ordered(compound, chosen[compound], section, rng) for compound in compounds}
        others = suitable_prototypes(None)
        best = [frames[0] for frames in ordered.values() if frames]
        more = _in_turn([frames[1:] for frames in ordered.values()])
        mixed = _in_turn([_disordered(compound, others, section, rng) for compound in compounds])
        missing = [compound for compound in compounds if not ordered[compound]]
        first = [atoms for compound in missing for atoms in _random(compound, 1, section, rng, [])]
        spread = [
            _random(compound, share, section, rng, ordered[compound]) for compound, share in _shares(compounds, section)
        ]
        frames = [*best, *first, *_in_turn([more, mixed, _in_turn(spread)])]
        if not frames:
            raise InputError(
                '',
                f'no structure was found for {", ".join(c.formula for c in compounds)}',
                'give structures.ionic.random_crystals a number, or name structures.ionic.prototypes',
            )
        new = Duplicates().add(frames)
        return [atoms for atoms, is_new in zip(frames, new, strict=True) if is_new][:number]


def _compounds(elements: list[str], parameters: Ionic) -> list[Compound]:
    if parameters.formulas is None:
        return compounds_of(
            elements, parameters.oxidation_states, parameters.max_formula_atoms, parameters.max_formulas
        )
    found = [compound_of(formula, elements, parameters.oxidation_states) for formula in parameters.formulas]
    return list(dict.fromkeys(found))


def _fits(compound: Compound, prototypes: list[str], parameters: Ionic) -> list[Fit]:
    # What the user names is built, whatever the rules of radii say.
    found = fits(compound, prototypes, all_sizes=parameters.prototypes is not None)
    return found if parameters.prototypes is not None else found[: parameters.prototypes_per_formula]


def _ordered(compound: Compound, found: list[Fit], parameters: Ionic, rng: np.random.Generator) -> list[Atoms]:
    frames = [ordered_crystal(compound, fit, rng) for fit in found]
    frames = [atoms for atoms in frames if atoms is not None]
    if not frames or parameters.prototypes is not None:
        return frames
    usual = _volume_per_atom(frames[0])
    return [atoms for atoms in frames if _volume_per_atom(atoms) <= MAX_VOLUME_RATIO * usual]


def _volume_per_atom(atoms: Atoms) -> float:
    return float(atoms.get_volume() / len(atoms))


def _disordered(compound: Compound, prototypes: list[str], parameters: Ionic, rng: np.random.Generator) -> list[Atoms]:
    frames = [
        disordered_crystal(compound, prototypes, parameters.atoms, parameters.disorder_mismatch, index, rng)
        for index in range(parameters.disorder)
    ]
    return [atoms for atoms in frames if atoms is not None]


def _in_turn(lists: list[list[Atoms]]) -> list[Atoms]:
    """One of each list, then the second of each, and so on."""
    return [atoms for group in zip_longest(*lists) for atoms in group if atoms is not None]


def _no_prototype(compounds: list[Compound], prototypes: list[str]) -> InputError:
    possible = {fit.prototype for compound in compounds for fit in fits(compound, suitable_prototypes(None))}
    named = ', '.join(f'{key} ({PROTOTYPES[key].formula})' for key in prototypes)
    formulas = ', '.join(compound.formula for compound in compounds)
    hint = ', '.join(key for key in PROTOTYPES if key in possible) or 'none in the table'
    return InputError('prototypes', f'{named} cannot hold {formulas}', f'what fits: {hint}')


# Random crystals ------------------------------------------------------------------------------------------------------


def _shares(compounds: list[Compound], parameters: Ionic) -> list[tuple[Compound, int]]:
    whole, rest = divmod(parameters.random_crystals, len(compounds))
    return [(compound, whole + (index < rest)) for index, compound in enumerate(compounds)]


def _random(
    compound: Compound, number: int, parameters: Ionic, rng: np.random.Generator, known: list[Atoms]
) -> list[Atoms]:
    """Return symmetry-random crystals of one or more formula units, as dense as the best of the known crystals."""
    volume = _volume_per_atom(known[0]) if known else ionic_volume(compound) / compound.atoms
    most = max(1, parameters.random_atoms // compound.atoms)
    units = rng.integers(1, most + 1, size=number)
    frames = []
    for size in sorted(set(units.tolist())):
        composition = {element: count * size for element, count in compound.counts.items()}
        found = random_crystals(
            composition,
            int((units == size).sum()),
            rng,
            volume_per_atom=volume,
            min_distance=MIN_CONTACT_RATIO,
            min_distances=closest_ions(compound),
        )
        for atoms in found:
            atoms.set_array('oxidation_states', _states(atoms, compound, rng))
            atoms.info['family'] = 'ionic'
            atoms.info['parameters'] = {**summary(compound), **atoms.info['parameters']}
            atoms.info['reason'] = f'{compound.formula} ({compound.described()}): {atoms.info["reason"]}'
        frames += found
    return frames


def ionic_volume(compound: Compound) -> float:
    """Volume (Å³) of a formula unit in a random crystal: the spheres of the ions at `FILLING_FRACTION`."""
    spheres = sum(count * max(radius(*ion), 0.0) ** 3 for ion, count in compound.ions)
    return 4 / 3 * np.pi * spheres / FILLING_FRACTION


def closest_ions(compound: Compound) -> dict[tuple[str, str], float]:
    """Return how close (Å) ions may be in a random crystal: pair of elements -> distance."""
    ions = [ion for ion, _ in compound.ions]
    cations, anions = [ion for ion in ions if ion[1] > 0], [ion for ion in ions if ion[1] < 0]
    bond = min(bond_length(cation, anion, 4, 4) for cation in cations for anion in anions)
    closest = minimum_distances(list(compound.counts), MIN_CONTACT_RATIO)
    for k, one in enumerate(ions):
        for two in ions[k:]:
            pair = tuple(sorted((one[0], two[0])))
            if one[1] * two[1] < 0:
                limit = CLOSEST_UNLIKE * bond_length(*sorted((one, two), key=lambda ion: -ion[1]), 4, 4)
            else:
                limit = CLOSEST_ANIONS * (radius(*one) + radius(*two)) if one[1] < 0 else CLOSEST_CATIONS * bond
            closest[pair] = max(closest[pair], limit)
    return closest


def _states(atoms: Atoms, compound: Compound, rng: np.random.Generator) -> np.ndarray:
    """Return a state for each atom; where an element has two they are drawn."""
    symbols = np.array(atoms.get_chemical_symbols())
    states = np.zeros(len(atoms))
    for element, own in compound.states.items():
        sites = np.flatnonzero(symbols == element)
        values = np.array(own * (len(sites) // len(own)), dtype=float)
        states[sites] = rng.permutation(values) if len(set(own)) > 1 else values
    return states
