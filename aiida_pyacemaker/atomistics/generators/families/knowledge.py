"""Crystals that are plausible for a formula: prototypes ranked by what is known of similar compounds, and why.

A prototype is the more plausible, the more its known compounds resemble the formula, element by element and site by
site (`similarity`); for ionic compounds the rules of crystal chemistry are added: who is the anion, radius ratio,
tolerance factor. Where the table offers too little, crystals of random symmetry fill in.
"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers

from ...core.errors import InputError, MissingLibraryError
from ...core.parameters import Count, Positive, Section, parameter
from ...core.symmetry import call_spglib
from ...crystals.elements import ground_state, is_metal
from ...crystals.plausible import (
    GASES,
    MIN_RESEMBLANCE,
    Candidate,
    _molecule,
    _reduced,
    _small,
    known_structures,
    likely_formulas,
    molecules_of,
    parse_formula,
    plausible,
    rank_prototypes,
    set_states,
    write_formula,
)
from ...crystals.prototypes import (
    PROTOTYPES,
    build_prototype,
    metallic_volume,
    neighbours,
    primitive_cell,
)
from ..family import Family

#: Lattices of other elements are proposed for an element down to this score.
ELEMENT_LIKE = -2.5
#: Shortest distances of random crystals, in sums of covalent radii: the checks ask for 0.7, and variants are rattled.
RANDOM_DISTANCE = 0.82


class Knowledge(Section):
    """Crystals that are plausible for a formula, with the reason for each."""

    formulas: list[str] | None = parameter(
        'Formulas such as Fe3Pt or TiO2; null: the likeliest ones of all elements, of their pairs, and of each alone.',
        default=None,
        min_length=1,
    )
    prototypes: Count = parameter('Prototypes per formula, the most plausible first.', default=8, ge=0, le=100)
    random_crystals: Count = parameter(
        'Crystals of random symmetry per formula, at most: the last resort where the table has fewer prototypes than '
        'asked for.',
        default=3,
        ge=0,
        le=200,
    )
    conventional_atoms: Count = parameter(
        'Conventional cells are kept up to this many atoms; larger ones become primitive.', default=24, ge=1
    )
    max_atoms: Count = parameter('Crystals with more atoms in the primitive cell are left out.', default=60, ge=1)
    optimade: list[str] | None = parameter(
        'Providers of OPTIMADE databases, or their addresses, that are asked for the formulas: cod, mp, oqmd, ...; '
        'null: the network is not used.',
        default=None,
    )
    optimade_structures: Count = parameter('Structures per formula and provider.', default=3, ge=1, le=50)
    optimade_timeout: Positive = parameter('How long a provider may take.', 's', default=20.0)


# Structures -----------------------------------------------------------------------------------------------------------


class KnowledgeFamily(Family[Knowledge]):
    """Crystals that are plausible for a formula."""

    name = 'knowledge'
    help = 'Crystals that are plausible for a formula.'
    Parameters = Knowledge
    order = 40

    def suits(self, elements: list[str]) -> bool:
        return True

    def parents(self, elements: list[str], section: Knowledge, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return crystals that are plausible for the formulas, first the best of every formula, then the second...

        :returns: info `reason` says why, `parameters` has formula, prototype, space group and `score`: the share of the
            plausibility of all prototypes of the formula. Ionic crystals have the array `oxidation_states`.
        :raises ValueError: if a formula is impossible.
        """
        elements = list(dict.fromkeys(elements))
        formulas = [parse_formula(text, elements) for text in section.formulas or own_formulas(elements)]
        notes: list[str] = []
        queues = [_queue(counts, section, rng, notes) for counts in {tuple(c.items()): c for c in formulas}.values()]
        for note in notes:
            warnings.warn(note, stacklevel=1)
        found: list[Atoms] = []
        for rank in range(max(map(len, queues))):
            for queue in queues:
                if rank < len(queue) and len(found) < number:
                    found.append(queue[rank])
        return found


def own_formulas(elements: list[str]) -> list[str]:
    """Return the likeliest formulas of all elements together, of their pairs, and each element alone."""
    formulas = likely_formulas(elements, 3)
    if len(elements) > 2:
        for pair in combinations(elements, 2):
            formulas += likely_formulas(list(pair), 1)
    return formulas + [element for element in elements if len(elements) > 1]


def _queue(counts: dict[str, int], parameters: Knowledge, rng: np.random.Generator, notes: list[str]) -> list[Atoms]:
    """Return the structures of one formula: the best prototype, what databases have, more prototypes, random ones."""
    formula = write_formula(counts)
    limit = max(parameters.max_atoms, parameters.conventional_atoms)
    if len(counts) == 1:
        made = propose_element(formula, parameters.prototypes, parameters.conventional_atoms)
    else:
        molecules = [atoms for atoms in molecules_of(list(counts)) if _reduced(atoms) == counts]
        made = molecules + _prototype_structures(counts, parameters, resembling=bool(molecules))
    made = _distinct([atoms for atoms in made if len(atoms) <= limit])
    asked = _from_databases(counts, parameters, notes)
    missing = parameters.prototypes - len(made)
    made = _distinct([*made[:1], *asked, *made[1 : parameters.prototypes]])
    # an element has its own structure, and atoms of molecules at random are none
    if not made or (missing > 0 and len(counts) > 1 and not made[0].info.get('vacuum_axes')):
        made += _random(counts, min(max(missing, 1), parameters.random_crystals), parameters, rng, made)
    if not made:
        raise InputError(
            'formulas',
            f'no structure for {formula}',
            'allow structures.knowledge.random_crystals or more structures.knowledge.max_atoms (now '
            f'{parameters.max_atoms})',
        )
    return made


def _prototype_structures(counts: dict[str, int], parameters: Knowledge, resembling: bool) -> list[Atoms]:
    """Build the most plausible prototypes; some may be the same crystal as an earlier one, or too large.

    :param resembling: leave out those that no similar compound has.
    """
    ranked = rank_prototypes(counts)
    total = sum(math.exp(candidate.score - ranked[0].score) for candidate in ranked)
    limit = max(parameters.max_atoms, parameters.conventional_atoms)
    made: list[Atoms] = []
    prints: list[np.ndarray] = []
    for candidate in plausible(ranked):
        if len(made) >= parameters.prototypes or (resembling and candidate.score < math.log(MIN_RESEMBLANCE)):
            break
        share = math.exp(candidate.score - ranked[0].score) / total
        atoms = _build(candidate, counts, share, parameters.conventional_atoms)
        if len(atoms) <= limit:
            mark = _fingerprint(atoms)
            if not _is_known(mark, prints):
                made.append(atoms)
                prints.append(mark)
    return made


def _build(candidate: Candidate, counts: dict[str, int], share: float, conventional_atoms: int) -> Atoms:
    prototype = candidate.prototype
    atoms = build_prototype(prototype.name, list(candidate.species))
    if len(atoms) > conventional_atoms:
        atoms = primitive_cell(atoms)
    label = ', '.join(filter(None, (prototype.strukturbericht, f'space group {prototype.space_group}')))
    atoms.info.update(
        family='knowledge',
        phase=prototype.name,
        reason=f'{prototype.name} ({label}) for {write_formula(counts)}: {"; ".join(candidate.reasons)}',
        parameters={
            'formula': write_formula(counts),
            'prototype': prototype.name,
            'strukturbericht': prototype.strukturbericht,
            'space_group': prototype.space_group,
            'sites': dict(zip(prototype.slots, candidate.species, strict=True)),
            'score': round(share, 4),
        },
    )
    return set_states(atoms, counts)


def _distinct(frames: list[Atoms]) -> list[Atoms]:
    """Return the frames without those that are an earlier one again, whatever their size."""
    kept: list[Atoms] = []
    prints: list[np.ndarray] = []
    for atoms in frames:
        mark = _fingerprint(atoms)
        if not _is_known(mark, prints):
            kept.append(atoms)
            prints.append(mark)
    return kept


def _is_known(mark: np.ndarray, prints: list[np.ndarray]) -> bool:
    """Return whether a crystal has the fingerprint of another."""
    return any(mark.shape == other.shape and np.abs(mark - other).max() < 0.01 for other in prints)


def _fingerprint(atoms: Atoms, shells: int = 12) -> np.ndarray:
    """Mean distances of the nearest atoms of each pair of elements, the volume per atom taken as 1."""
    scale = (atoms.get_volume() / len(atoms)) ** (1 / 3)
    symbols = np.array(atoms.get_chemical_symbols())
    first, second, distances = neighbours(atoms, 3.2 * scale)
    rows = []
    for one in sorted(set(symbols.tolist())):
        for two in sorted(set(symbols.tolist())):
            nearest = np.full((int((symbols == one).sum()), shells), 3.2)
            for row, index in enumerate(np.flatnonzero(symbols == one)):
                near = np.sort(distances[(first == index) & (symbols[second] == two)])[:shells] / scale
                nearest[row, : len(near)] = near
            rows.append(nearest.mean(axis=0))
    return np.concatenate(rows)


def _from_databases(counts: dict[str, int], parameters: Knowledge, notes: list[str]) -> list[Atoms]:
    """Structures of OPTIMADE databases; what goes wrong becomes a note, never an error."""
    made = []
    for provider in parameters.optimade or []:
        from ...crystals.optimade import query_structures

        try:
            frames = query_structures(
                write_formula(counts), provider, parameters.optimade_structures, parameters.optimade_timeout
            )
        except (MissingLibraryError, ValueError, OSError, RuntimeError) as exception:
            notes.append(
                f'structures.knowledge.optimade: {provider} was not asked for {write_formula(counts)}: {exception}'
            )
            continue
        made += [set_states(atoms, counts) for atoms in frames if len(atoms) <= parameters.max_atoms]
    return made


def _random(
    counts: dict[str, int], number: int, parameters: Knowledge, rng: np.random.Generator, known: list[Atoms]
) -> list[Atoms]:
    """Crystals of random symmetry with one or a few formula units, as dense as the best of the known structures."""
    from ...crystals.random_crystals import random_crystals

    atoms = sum(counts.values())
    if atoms > parameters.max_atoms:
        near = _small({name: Fraction(count, atoms) for name, count in counts.items()}, parameters.max_atoms)
        raise InputError(
            'formulas',
            f'{write_formula(counts)} has {atoms} atoms per formula, more than structures.knowledge.max_atoms '
            f'({parameters.max_atoms}); nearest: {write_formula(near)}',
        )
    units = max(1, min(8 // atoms, parameters.max_atoms // atoms))
    composition = {name: units * count for name, count in counts.items()}
    volume = known[0].get_volume() / len(known[0]) if known else _random_volume(counts)
    made = random_crystals(composition, number, rng, volume_per_atom=volume, min_distance=RANDOM_DISTANCE)
    for frame in made:
        own = frame.info.get('parameters', {})
        frame.info.update(
            family='knowledge',
            phase='random',
            reason=f'random symmetry for {write_formula(counts)}: the table of prototypes offers too few',
            parameters={**own, 'formula': write_formula(counts), 'prototype': None, 'score': 0.0},
        )
        set_states(frame, counts)
    return made


def _random_volume(counts: dict[str, int]) -> float | None:
    """Volume per atom (Å³) of metals; for others random_crystals knows."""
    if not all(is_metal(name) for name in counts):
        return None
    return sum(metallic_volume(name) * count for name, count in counts.items()) / sum(counts.values())


# Subsystems -----------------------------------------------------------------------------------------------------------


def propose(elements: list[str], number: int, rng: np.random.Generator) -> list[Atoms]:
    """Return the best structures for an element, or for a subset of elements of which only the names are known.

    An element: its ground state (H, N, O, F and Cl: a molecule in a box), then other lattices. More: neutral compounds
    if they are ionic, molecules of non-metals, else ordered intermetallic compounds.

    :raises ValueError: if an element is unknown.
    """
    for element in elements:
        if atomic_numbers.get(element, 0) < 1:
            raise InputError('system.elements', f'{element!r} is not a chemical element')
    elements = list(dict.fromkeys(elements))
    if number < 1:
        return []
    if len(elements) == 1:
        return propose_element(elements[0], number)[:number]
    molecules = molecules_of(elements)
    formulas = likely_formulas(elements, max(3, number))
    known = bool(formulas) and bool(known_structures(parse_formula(formulas[0])))
    if molecules and not known:
        return molecules[:number]
    parameters = Knowledge(formulas=formulas, prototypes=max(1, math.ceil(number / len(formulas))), random_crystals=2)
    return KnowledgeFamily().parents(elements, parameters, number, rng)


def propose_element(element: str, number: int, conventional_atoms: int = 24) -> list[Atoms]:
    """Return the ground state of an element and other plausible lattices; a molecule in a box for gases."""
    made = [_molecule(Atoms([element] * 2, [[0, 0, 0], [0, 0, GASES[element]]]))] if element in GASES else []
    ground = ground_state(element)
    known, twins = known_structures({element: 1}), []
    if ground.info.get('phase') not in ('fcc', 'diamond') or ground.info.get('phase') in known or not known:
        ground.info.setdefault('phase', f'{element} ground state')
        # the table may call it by another name
        kind = _kind(ground)
        twins = [name for name in PROTOTYPES if kind == _prototype_kind(name)]
        ground.info['phase'] = next((name for name in twins if name in known), ground.info['phase'])
        made.append(_pure(ground, element, 'the ground state of the element', 1.0))
    ranked = _known_first(rank_prototypes({element: 1}), known)
    ranked = [c for c in ranked if c.score > ELEMENT_LIKE and c.prototype.name not in twins]
    # molecules of one element do not scale to those of another
    molecular = [c for c in ranked if c.prototype.chemistry == 'molecular']
    ranked = [c for c in ranked if c not in molecular or c.prototype.examples[0] == (element,)]
    for candidate in ranked[:number]:
        made.append(_build(candidate, {element: 1}, min(1.0, math.exp(candidate.score)), conventional_atoms))
    return _distinct(made)[: max(number, 1)]


def _known_first(ranked: list[Candidate], known: list[str]) -> list[Candidate]:
    """Known structures in the order of the table, where the usual ones come first; then the others by score."""
    by_name = {candidate.prototype.name: candidate for candidate in ranked}
    return [by_name[name] for name in known] + [c for c in ranked if c.prototype.name not in known]


def _kind(atoms: Atoms) -> tuple[int, int]:
    """Space group and atoms in the primitive cell."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = call_spglib(spglib.get_symmetry_dataset, cell, symprec=0.01)
    return (int(found.number), len(np.unique(found.mapping_to_primitive))) if found is not None else (1, len(atoms))


@cache
def _prototype_kind(name: str) -> tuple[int, int]:
    """The same of a prototype, if it is one of elements."""
    prototype = PROTOTYPES[name]
    return _kind(build_prototype(name, list(prototype.examples[0]))) if len(prototype.slots) == 1 else (0, 0)


def _pure(atoms: Atoms, element: str, reason: str, score: float) -> Atoms:
    phase = atoms.info['phase']
    parameters = {'formula': element, 'prototype': phase, 'score': score}
    atoms.info.update(family='knowledge', reason=f'{phase} for {element}: {reason}', parameters=parameters)
    atoms.pbc = True
    return atoms
