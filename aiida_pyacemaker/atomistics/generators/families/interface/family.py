"""Interfaces of two crystals: coherent matches of their surfaces, stacked with and without vacuum.

Matches are those of A. Zur and T. C. McGill, J. Appl. Phys. 55, 378 (1984), found by pymatgen. Its results are checked
here: singular transformations and duplicates are thrown out, and the strain is computed again from the cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from ase import Atoms

from ....core.errors import InputError
from ....crystals.slabs import (
    Crystal,
    Stack,
    Termination,
    bulk_of,
    choose_terminations,
    fingerprint,
    is_new,
    make_slab,
    read_miller,
    stack_planes,
    surfaces_by_stability,
)
from ...family import Family
from .matches import FAR_AREA, FAR_AREAS, FAR_STRAINS, find_matches, is_quick, nearest_match
from .section import Interface
from .stacking import Motif, build, describe, is_sound, set_states

#: Planes of each material that are tried where none is named, the most stable surfaces first.
PLANES = 3
#: Å that are added to the gap of contact where no gap is given.
GAPS = (0.0, 0.5)
#: Matches of one pair of planes that are built and compared.
CANDIDATES = 40


class InterfaceFamily(Family[Interface]):
    """Coherent interfaces of two materials."""

    name = 'interface'
    help = 'Coherent interfaces of two materials.'
    Parameters = Interface
    order = 50
    cuttable = False
    file_keys = ('film', 'substrate')

    def parents(self, elements: list[str], section: Interface, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return interfaces of two materials, small ones with little strain first.

        :param elements: all elements of the run file.
        :param number: how many structures at most.
        :returns: frames with family, phase ('Al(111)/Si(111)'), reason and parameters in the info, and `vacuum_axes`
            where there is vacuum. If one of the materials has oxidation states, those of the other are zero where it
            has none.
        :raises ValueError: if the materials are not clear or no match is within the limits; the nearest one is named.
        """
        film, substrate = materials(elements, section)
        motifs = find_motifs(film, substrate, section)
        frames = _interfaces(motifs, section, number, rng)
        if not frames:
            raise _no_gap(motifs, section)
        if section.references:
            crystals = {crystal.label: crystal for crystal in (film, substrate)}
            frames[1:1] = [_reference(crystal) for crystal in crystals.values()]
        return frames[:number]


def materials(elements: list[str], parameters: Interface) -> tuple[Crystal, Crystal]:
    """Return film and substrate.

    :raises ValueError: if they are not named and cannot be guessed.
    """
    names = {'film': parameters.film, 'substrate': parameters.substrate}
    if names['film'] is None and names['substrate'] is None:
        if len(elements) == 1:
            raise InputError(
                '',
                f'an interface is made of two materials, and system.elements names {elements[0]} alone',
                f'add the elements of the other one, or name film and substrate, both {elements[0]}, for a grain '
                'boundary',
            )
        if len(elements) != 2:
            raise InputError(
                '',
                f'{", ".join(elements)} could be many pairs of materials',
                'name film and substrate, each by a formula or a file (such as film: Al, substrate: MgO)',
            )
        names = dict(zip(names, elements, strict=True))
    missing = next((key for key, name in names.items() if name is None), None)
    if missing is not None:
        other = next(key for key in names if key != missing)
        crystal = bulk_of(str(names[other]), elements, other)
        rest = [element for element in elements if element not in crystal.conventional.get_chemical_symbols()]
        if len(rest) != 1:
            raise InputError(
                missing,
                f'it is not clear what the {missing} beside {names[other]} is',
                'name it by a formula or a file',
            )
        names[missing] = rest[0]
    film, substrate = (bulk_of(str(name), elements, key) for key, name in names.items())
    return film, substrate


def find_motifs(film: Crystal, substrate: Crystal, parameters: Interface) -> list[Motif]:
    """Return all combinations of planes, terminations and matches within the limits, best first.

    Best is what has few atoms and little strain; each pair of planes and terminations comes once before any comes
    twice.

    :raises ValueError: if there is none.
    """
    films = _stacks(film, parameters, 'film')
    substrates = _stacks(substrate, parameters, 'substrate')
    ranked = []
    too_large: list[Motif] = []
    for (upper, film_ends), (lower, substrate_ends) in product(films, substrates):
        matches = find_matches(upper, lower, parameters.max_strain, parameters.max_area)
        for ends in product(film_ends, substrate_ends):
            slabs = make_slab(upper, ends[0]), make_slab(lower, ends[1])
            motifs = [Motif(upper, lower, *slabs, ends, match) for match in matches]
            small = [motif for motif in motifs if motif.atoms <= parameters.max_atoms]
            too_large += [motif for motif in motifs if motif.atoms > parameters.max_atoms]
            small.sort(key=lambda motif: _score(motif, parameters))
            for turn, motif in enumerate(_distinct(small, parameters.matches)):
                ranked.append((turn, _score(motif, parameters), len(ranked), motif))
    if not ranked:
        raise _no_match(films, substrates, too_large, parameters)
    return [motif for *_, motif in sorted(ranked, key=lambda entry: entry[:3])]


def _distinct(motifs: list[Motif], number: int) -> list[Motif]:
    """Return the first motifs whose interfaces differ in their distances."""
    found, known = [], []
    for motif in motifs[:CANDIDATES]:
        atoms, _ = build(motif, motif.registry, None, 0.0, vacuum=None)
        if is_new(fingerprint(atoms), known):
            found.append(motif)
        if len(found) == number:
            break
    return found


def _score(motif: Motif, parameters: Interface) -> float:
    return round(motif.match.largest / parameters.max_strain + motif.atoms / parameters.max_atoms, 6)


def _stacks(crystal: Crystal, parameters: Interface, side: str) -> list[tuple[Stack, list[Termination]]]:
    """Return the planes of one material, each with its terminations."""
    planes = getattr(parameters, f'{side}_miller')
    layers, thickness = getattr(parameters, f'{side}_layers'), getattr(parameters, f'{side}_thickness')
    names = getattr(parameters, f'{side}_terminations')
    key = f'{side}_miller'
    if planes is None:
        indices = [stack.miller for stack in surfaces_by_stability(crystal, layers)[:PLANES]]
        if not indices:
            raise InputError(key, f'no low-index plane of {crystal.label} is free of a dipole', 'name planes')
    else:
        indices = list(dict.fromkeys(read_miller(plane, crystal, key) for plane in planes))
        if not indices:
            raise InputError(key, 'the list is empty', 'name planes, such as [[1, 1, 1]], or give null')
    found = []
    for miller in indices:
        stack = stack_planes(crystal, miller, layers)
        count = layers
        if thickness is not None:
            count = max(layers, 1 + math.ceil(thickness / stack.spacing - 1e-6))
            stack = stack_planes(crystal, miller, count)
        if names is not None and planes is None:
            # among planes chosen here, those that cannot end as asked are left out
            try:
                found.append((stack, choose_terminations(stack, count, names, False, f'{side}_terminations')))
            except ValueError as exception:
                refused = exception
        else:
            found.append((stack, choose_terminations(stack, count, names, False, key)))
    if not found:
        raise refused
    return found


def _no_match(films: list, substrates: list, too_large: list[Motif], parameters: Interface) -> InputError:
    """Say that there is no match, and which one is nearest."""
    if too_large:
        best = min(too_large, key=lambda motif: (motif.atoms, motif.match.largest))
        return InputError(
            'max_atoms',
            f'no match has {parameters.max_atoms} atoms or fewer; the smallest is {best.phase}: {best.atoms} atoms, '
            f'strain {100 * best.match.largest:.1f} %, {best.match.area:.0f} Å²',
            f'raise max_atoms to {best.atoms} or lower film_layers and substrate_layers',
        )
    pairs = [(upper, lower) for (upper, _), (lower, _) in product(films, substrates)]
    strained = larger = None
    area = min(parameters.max_area, FAR_AREA)
    for strain in FAR_STRAINS:
        if strained is None and strain > parameters.max_strain and is_quick(strain, area):
            strained = nearest_match(pairs, strain, area, lambda match: (round(match.largest, 6), match.area))
    for factor in FAR_AREAS:
        area = factor * parameters.max_area
        if larger is None and area <= FAR_AREA and is_quick(parameters.max_strain, area):
            larger = nearest_match(pairs, parameters.max_strain, area, lambda match: (match.area, match.largest))
    head = (
        f'no match of {films[0][0].crystal.label} and {substrates[0][0].crystal.label} has a strain up to '
        f'{100 * parameters.max_strain:.3g} % and an area up to {parameters.max_area:.0f} Å²'
    )
    hints = []
    if strained is not None:
        name, match = strained
        limit = math.ceil(10_000 * match.largest) / 10_000
        hints.append(
            f'the nearest match is {name}: strain {100 * match.largest:.2g} % at {match.area:.0f} Å²: raise max_strain '
            f'to {limit:g}'
        )
    if larger is not None:
        name, match = larger
        hints.append(
            f'{"or" if hints else "there is"} {name}: strain {100 * match.largest:.2g} % at {match.area:.0f} Å²: raise '
            f'max_area to {math.ceil(match.area)}'
        )
    if not hints:
        areas = [max(upper.area, lower.area) for upper, lower in pairs]
        hints.append(
            f'the smallest cell of both surfaces already has {min(areas):.0f} Å²: raise max_area, or name other planes'
        )
    return InputError('', head, ', '.join(hints))


def _interfaces(motifs: list[Motif], parameters: Interface, number: int, rng: np.random.Generator) -> list[Atoms]:
    """Build the interfaces: all motifs in turn, each with another gap, shift and stacking."""
    shifts = [np.zeros(2), *(rng.random(2) for _ in range(parameters.shifts - 1))]
    frames: list[Atoms] = []
    known: list[np.ndarray] = []
    for shift, gap, extra, vacuum in _variants(parameters, shifts):
        for motif in motifs:
            if len(frames) >= number:
                return frames
            moved = motif.registry + shift
            atoms, gaps = build(motif, moved, gap, extra, vacuum)
            set_states(atoms, motif)
            if is_sound(atoms, motif, parameters) and is_new(fingerprint(atoms), known):
                atoms.info = describe(motif, moved, gaps, vacuum)
                frames.append(atoms)
    return frames


def _variants(parameters: Interface, shifts: list[np.ndarray]) -> Iterator[tuple]:
    """Yield (shift, gap, extra, vacuum), the stacking changing fastest."""
    stackings = {'both': (None, parameters.vacuum), 'periodic': (None,), 'vacuum': (parameters.vacuum,)}
    gaps = [(None, extra) for extra in GAPS] if parameters.gap is None else [(gap, 0.0) for gap in parameters.gap]
    # 'both' sides of a variant come together; the gap changes before the film is moved
    for shift, (gap, extra), vacuum in product(shifts, gaps, stackings[parameters.stacking]):
        yield shift, gap, extra, vacuum


def _reference(crystal: Crystal) -> Atoms:
    atoms = crystal.conventional.copy()
    atoms.info = {
        'family': 'interface',
        'phase': crystal.conventional.info['phase'],
        'reason': f'{crystal.label}, one of the two materials of the interface, as bulk',
        'parameters': {'reference': 'bulk', 'material': crystal.label},
    }
    return atoms


def _no_gap(motifs: list[Motif], parameters: Interface) -> InputError:
    _, gaps = build(motifs[0], motifs[0].registry, None, 0.0, vacuum=None)
    given = ', '.join(f'{gap:g}' for gap in parameters.gap or gaps)
    return InputError(
        'gap',
        f'at {given} Å atoms of both materials overlap; those of {motifs[0].phase} touch at {max(gaps):.2f} Å',
        'give at least that',
    )
