"""Interfaces of two crystals: coherent matches of their surfaces, stacked with and without vacuum.

Matches are those of A. Zur and T. C. McGill, J. Appl. Phys. 55, 378 (1984), found by pymatgen. Its results are checked
here: singular transformations and duplicates are thrown out, and the strain is computed anew from the cells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from ..core.parameters import Count, Positive, Section, parameter, require
from ..crystals.slabs import (
    OXIDATION,
    Crystal,
    Stack,
    Termination,
    bulk_of,
    choose_terminations,
    contact_offset,
    fingerprint,
    is_new,
    make_slab,
    read_miller,
    stack_planes,
    surfaces_by_stability,
    too_close,
    with_vacuum,
)

KEY = 'structures.interface'
#: Planes of each material that are tried where none is named, the most stable surfaces first.
PLANES = 3
#: Å that are added to the gap of contact where no gap is given.
GAPS = (0.0, 0.5)
#: No interface is closer than this (Å), however its atoms fit between each other.
SMALLEST_GAP = 1.0
#: Points along each axis at which it is tried how near the film comes.
REGISTRY = 4
#: Matches of one pair of planes that are built and compared.
CANDIDATES = 40
#: How far the nearest possibility is looked for, step by step until there is one: strains, and multiples of the area.
FAR_STRAINS, FAR_AREAS = (0.003, 0.01, 0.03, 0.1, 0.3), (1.25, 1.5, 2.0)
#: The search grows as strain² x area² (Å⁴), and with the area (Å²) alone; no step costs more than some seconds.
FAR_SEARCH, FAR_AREA = 200.0, 300.0


class Interface(Section):
    """Coherent interfaces of two materials."""

    film: str | None = parameter(
        'Upper material, which is strained to fit: formula or file; null: the first of two elements.', default=None
    )
    substrate: str | None = parameter(
        'Lower material: formula or file; null: the second of two elements, or what the film leaves.', default=None
    )
    film_miller: list[list[int]] | None = parameter(
        'Planes of the film that may touch the substrate; null: its most stable low-index planes.', default=None
    )
    substrate_miller: list[list[int]] | None = parameter(
        'Planes of the substrate that may touch the film; null: its most stable low-index planes.', default=None
    )
    film_terminations: list[str] | None = parameter(
        'Formulas of the planes in which a film may end (TiO2...); null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    substrate_terminations: list[str] | None = parameter(
        'Formulas of the planes in which a substrate may end; null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    film_layers: Count = parameter('Planes of atoms of the film, at least.', default=4, ge=1, le=60)
    substrate_layers: Count = parameter('Planes of atoms of the substrate, at least.', default=4, ge=1, le=60)
    film_thickness: Positive | None = parameter('Least thickness of the film.', 'Å', default=None, le=60)
    substrate_thickness: Positive | None = parameter('Least thickness of the substrate.', 'Å', default=None, le=60)
    max_strain: Positive = parameter('Largest principal strain of the film in the plane.', default=0.05, le=0.3)
    max_area: Positive = parameter('Largest area of the common cell.', 'Å²', default=120.0, le=1000)
    max_atoms: Count = parameter('Largest number of atoms.', default=120, ge=2)
    matches: Count = parameter('Matches of each pair of planes that are used, the best ones first.', default=3, ge=1)
    gap: list[Positive] | None = parameter(
        'Distances between the outermost planes of both materials; null: where the atoms touch, and 0.5 Å more.',
        'Å',
        default=None,
        min_length=1,
    )
    shifts: Count = parameter(
        'Positions of the film over the substrate: the first where they come nearest, the others moved at random.',
        default=6,
        ge=1,
    )
    stacking: Literal['both', 'periodic', 'vacuum'] = parameter(
        'periodic: a bilayer without vacuum and with two interfaces; vacuum: one interface and two free surfaces.',
        default='both',
    )
    vacuum: float = parameter('Width of the vacuum.', 'Å', default=12.0, ge=8, le=60)
    references: bool = parameter('Whether the two bulk crystals are added.', default=True)


@dataclass(frozen=True, eq=False)
class Match:
    """A common cell of two surfaces.

    :param film: integer matrix (2, 2): common cell of the film = film @ its in-plane vectors (rows).
    :param substrate: the same for the substrate; its determinant is positive.
    :param strain: the two principal strains of the film, the smaller first.
    :param flipped: whether the film has to be turned upside down (its cell is left-handed in the plane).
    :param twist: degrees by which the film is rotated.
    """

    film: np.ndarray
    substrate: np.ndarray
    strain: tuple[float, float]
    area: float
    flipped: bool
    twist: float

    @property
    def largest(self) -> float:
        return max(map(abs, self.strain))

    @property
    def cells(self) -> tuple[int, int]:
        """Surface cells of film and substrate."""
        return round(abs(np.linalg.det(self.film))), round(np.linalg.det(self.substrate))


@dataclass(frozen=True, eq=False)
class Motif:
    """What an interface is made of, but for gap, shift and stacking."""

    film: Stack
    substrate: Stack
    film_slab: Atoms
    substrate_slab: Atoms
    ends: tuple[Termination, Termination]
    match: Match

    @cached_property
    def registry(self) -> np.ndarray:
        """Shift at which the film comes nearest to the substrate, in units of its surface cell."""
        lower, upper = _lower(self), _upper(self)
        steps = np.arange(REGISTRY) / REGISTRY
        grid = [np.array(shift) for shift in product(steps, steps)]
        offsets = []
        for shift in grid:
            moved = upper.copy()
            moved.positions[:, :2] += shift @ self.substrate.vectors
            offsets.append(round(contact_offset(lower, moved), 4))
        return grid[int(np.argmin(offsets))]

    @property
    def phase(self) -> str:
        return f'{self.film.label}/{self.substrate.label}'

    @property
    def atoms(self) -> int:
        n_film, n_substrate = self.match.cells
        return n_film * len(self.film_slab) + n_substrate * len(self.substrate_slab)


def generate_interface(
    elements: list[str], parameters: Interface, number: int, rng: np.random.Generator
) -> list[Atoms]:
    """Return interfaces of two materials, small ones with little strain first.

    :param elements: all elements of the run file.
    :param number: how many structures at most.
    :returns: frames with family, phase ('Al(111)/Si(111)'), reason and parameters in the info, and `vacuum_axes` where
        there is vacuum. If one of the materials has oxidation states, those of the other are zero where it has none.
    :raises ValueError: if the materials are not clear or no match is within the limits; the nearest one is named.
    """
    film, substrate = materials(elements, parameters)
    motifs = find_motifs(film, substrate, parameters)
    frames = _interfaces(motifs, parameters, number, rng)
    if not frames:
        raise ValueError(_no_gap(motifs, parameters))
    if parameters.references:
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
            raise ValueError(
                f'{KEY}: an interface is made of two materials, and system.elements names {elements[0]} alone: add the '
                f'elements of the other one, or name film and substrate, both {elements[0]}, for a grain boundary'
            )
        if len(elements) != 2:
            raise ValueError(
                f'{KEY}: {", ".join(elements)} could be many pairs of materials: name film and substrate, each by a '
                'formula or a file (such as film: Al, substrate: MgO)'
            )
        names = dict(zip(names, elements, strict=True))
    missing = next((key for key, name in names.items() if name is None), None)
    if missing is not None:
        other = next(key for key in names if key != missing)
        crystal = bulk_of(str(names[other]), elements, f'{KEY}.{other}')
        rest = [element for element in elements if element not in crystal.conventional.get_chemical_symbols()]
        if len(rest) != 1:
            raise ValueError(
                f'{KEY}.{missing}: it is not clear what the {missing} beside {names[other]} is: name it by a formula '
                'or a file'
            )
        names[missing] = rest[0]
    film, substrate = (bulk_of(str(name), elements, f'{KEY}.{key}') for key, name in names.items())
    return film, substrate


# Matches -----------------------------------------------------------------------------------------------------------


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
        raise ValueError(_no_match(films, substrates, too_large, parameters))
    return [motif for *_, motif in sorted(ranked, key=lambda entry: entry[:3])]


def find_matches(film: Stack, substrate: Stack, max_strain: float, max_area: float) -> list[Match]:
    """Return the coherent matches of two surfaces (pymatgen), checked and without duplicates, in order of area.

    :param max_strain: largest principal strain of the film.
    :param max_area: Å².
    """
    zsl = require('pymatgen.analysis.interfaces.zsl', 'the family interface')
    # pymatgen compares lengths and angles; its tolerances are made wide enough for all that the strain allows
    generator = zsl.ZSLGenerator(
        max_area_ratio_tol=2.5 * max_strain,
        max_area=max_area * (1 + 2.5 * max_strain) + 1e-3,
        max_length_tol=1.2 * max_strain,
        max_angle_tol=2.5 * max_strain,
        bidirectional=True,
    )
    vectors = [np.hstack([stack.vectors, np.zeros((2, 1))]) for stack in (film, substrate)]
    found: dict[tuple, Match] = {}
    for raw in generator(*vectors):
        match = _checked(raw, film, substrate)
        if match is None or match.largest > max_strain or match.area > max_area + 1e-6:
            continue
        found.setdefault(_key(match, substrate), match)
    return sorted(found.values(), key=lambda match: (round(match.area, 4), round(match.largest, 6), match.twist))


def _checked(raw, film: Stack, substrate: Stack) -> Match | None:
    """Return a match of pymatgen with its strain computed anew; None if it is singular or no supercell at all."""
    upper = np.asarray(raw.film_sl_vectors, float)[:, :2]
    lower = np.asarray(raw.substrate_sl_vectors, float)[:, :2]
    matrices = []
    for cell, stack in ((upper, film), (lower, substrate)):
        exact = cell @ np.linalg.inv(stack.vectors)
        matrix = np.rint(exact).astype(int)
        if np.abs(exact - matrix).max() > 1e-5 or round(np.linalg.det(matrix)) == 0:
            return None
        matrices.append(matrix)
    if np.linalg.det(lower) < 0:
        matrices = [matrix[::-1] for matrix in matrices]
    return _strained(*matrices, film, substrate)


def _strained(film_matrix: np.ndarray, substrate_matrix: np.ndarray, film: Stack, substrate: Stack) -> Match:
    """Return the match of two integer matrices: strain and rotation from the polar decomposition of its deformation."""
    upper, lower = film_matrix @ film.vectors, substrate_matrix @ substrate.vectors
    deformation = np.linalg.solve(upper, lower)  # rows: upper @ deformation = lower
    left, stretches, right = np.linalg.svd(deformation)
    rotation = left @ right
    flipped = bool(np.linalg.det(deformation) < 0)
    strains = tuple(sorted((stretches - 1).tolist()))
    twist = math.degrees(math.atan2(rotation[0, 1], rotation[0, 0]))
    return Match(film_matrix, substrate_matrix, strains, float(np.linalg.det(lower)), flipped, round(twist, 3) + 0.0)


def _key(match: Match, substrate: Stack) -> tuple:
    """Return what equivalent matches have in common: another basis of the same pair of cells is no other match."""
    cell = match.substrate @ substrate.vectors
    metric = np.round(cell @ cell.T, 3)
    shape = (*sorted((metric[0, 0], metric[1, 1])), abs(metric[0, 1]))
    return (*match.cells, *np.round(match.strain, 5), *shape, round(abs(match.twist), 1), match.flipped)


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
    key = f'{KEY}.{side}_miller'
    if planes is None:
        indices = [stack.miller for stack in surfaces_by_stability(crystal, layers)[:PLANES]]
        if not indices:
            raise ValueError(f'{key}: no low-index plane of {crystal.label} is free of a dipole: name planes')
    else:
        indices = list(dict.fromkeys(read_miller(plane, crystal, key) for plane in planes))
        if not indices:
            raise ValueError(f'{key}: the list is empty: name planes, such as [[1, 1, 1]], or give null')
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
                found.append((stack, choose_terminations(stack, count, names, False, f'{KEY}.{side}_terminations')))
            except ValueError as exception:
                refused = exception
        else:
            found.append((stack, choose_terminations(stack, count, names, False, key)))
    if not found:
        raise refused
    return found


def _no_match(films: list, substrates: list, too_large: list[Motif], parameters: Interface) -> str:
    """Say that there is no match, and which one is nearest."""
    if too_large:
        best = min(too_large, key=lambda motif: (motif.atoms, motif.match.largest))
        return (
            f'{KEY}.max_atoms: no match has {parameters.max_atoms} atoms or fewer; the smallest is {best.phase}: '
            f'{best.atoms} atoms, strain {100 * best.match.largest:.1f} %, {best.match.area:.0f} Å²: raise max_atoms '
            f'to {best.atoms} or lower film_layers and substrate_layers'
        )
    pairs = [(upper, lower) for (upper, _), (lower, _) in product(films, substrates)]
    strained = larger = None
    area = min(parameters.max_area, FAR_AREA)
    for strain in FAR_STRAINS:
        if strained is None and strain > parameters.max_strain and _is_quick(strain, area):
            strained = _nearest(pairs, strain, area, lambda match: (round(match.largest, 6), match.area))
    for factor in FAR_AREAS:
        area = factor * parameters.max_area
        if larger is None and area <= FAR_AREA and _is_quick(parameters.max_strain, area):
            larger = _nearest(pairs, parameters.max_strain, area, lambda match: (match.area, match.largest))
    head = (
        f'{KEY}: no match of {films[0][0].crystal.label} and {substrates[0][0].crystal.label} has a strain up to '
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
    return f'{head}; {", ".join(hints)}'


def _is_quick(strain: float, area: float) -> bool:
    return (strain * area) ** 2 <= FAR_SEARCH


def _nearest(pairs: list[tuple[Stack, Stack]], strain: float, area: float, order) -> tuple[str, Match] | None:
    """Return the best match of all pairs of planes within other limits."""
    best = None
    for upper, lower in pairs:
        for match in find_matches(upper, lower, strain, area):
            if best is None or order(match) < order(best[1]):
                best = f'{upper.label}/{lower.label}', match
    return best


# Structures --------------------------------------------------------------------------------------------------------


def build(
    motif: Motif, shift: np.ndarray, gap: float | None, extra: float, vacuum: float | None
) -> tuple[Atoms, list[float]]:
    """Put the film on the substrate.

    :param shift: of the film, in units of the surface cell of the substrate.
    :param gap: Å between the outermost planes; None: where the atoms touch, plus `extra`.
    :param vacuum: Å above the film; None: a bilayer with a second interface, film below substrate.
    :returns: the interface without info, and the gaps (Å) of its interfaces.
    """
    lower, upper = _lower(motif), _upper(motif)
    upper.positions[:, :2] += shift @ motif.substrate.vectors
    top = float(lower.positions[:, 2].max())
    first = _gap(lower, upper, gap, extra)
    upper.positions[:, 2] += top + first
    atoms = lower + upper
    if vacuum is not None:
        atoms = with_vacuum(atoms, vacuum)
        atoms.wrap()
        return atoms, [first]
    high = float(atoms.positions[:, 2].max())
    # the substrate above the film is the image of that below it
    second = _gap(upper, lower, gap, extra)
    atoms.set_cell(np.vstack([lower.cell.array[:2], [0, 0, high + second]]))
    atoms.pbc = True
    atoms.wrap()
    return atoms, [first, second]


def _gap(lower: Atoms, upper: Atoms, gap: float | None, extra: float) -> float:
    if gap is not None:
        return gap
    offset = contact_offset(lower, upper)
    touching = offset + upper.positions[:, 2].min() - lower.positions[:, 2].max()
    return max(float(touching), SMALLEST_GAP) + extra


def _lower(motif: Motif) -> Atoms:
    """Return the substrate in the common cell."""
    return _repeated(motif.substrate_slab, motif.match.substrate)


def _upper(motif: Motif) -> Atoms:
    """Return the film in the common cell, strained and turned to fit; its lowest atom is at z = 0."""
    film = _repeated(motif.film_slab, motif.match.film)
    scaled = film.get_scaled_positions(wrap=False)[:, :2]
    z = film.positions[:, 2].copy()
    # a mirrored cell is that of the film upside down
    z = z.max() - z if motif.match.flipped else z - z.min()
    cell = motif.match.substrate @ motif.substrate.vectors
    film.set_cell(np.block([[cell, np.zeros((2, 1))], [np.zeros((1, 2)), np.array([[max(z.max(), 1.0)]])]]))
    film.positions = np.column_stack([scaled @ cell, z])
    return film


def _repeated(slab: Atoms, matrix: np.ndarray) -> Atoms:
    full = np.eye(3, dtype=int)
    full[:2, :2] = matrix
    found = make_supercell(slab, full, wrap=False)
    _same_states(slab, found)
    return found


def _same_states(slab: Atoms, found: Atoms) -> None:
    """:raises RuntimeError: if a supercell does not hold whole slabs."""
    here, there = Counter(slab.get_chemical_symbols()), Counter(found.get_chemical_symbols())
    if {symbol: count * len(found) for symbol, count in here.items()} != {
        symbol: count * len(slab) for symbol, count in there.items()
    }:
        raise RuntimeError('a supercell of a slab has another composition than the slab')


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
            _set_states(atoms, motif)
            if _sound(atoms, motif, parameters) and is_new(fingerprint(atoms), known):
                atoms.info = _info(motif, moved, gaps, vacuum)
                frames.append(atoms)
    return frames


def _variants(parameters: Interface, shifts: list[np.ndarray]) -> Iterator[tuple]:
    """Yield (shift, gap, extra, vacuum), the stacking changing fastest."""
    stackings = {'both': (None, parameters.vacuum), 'periodic': (None,), 'vacuum': (parameters.vacuum,)}
    gaps = [(None, extra) for extra in GAPS] if parameters.gap is None else [(gap, 0.0) for gap in parameters.gap]
    # 'both' sides of a variant come together; the gap changes before the film is moved
    for shift, (gap, extra), vacuum in product(shifts, gaps, stackings[parameters.stacking]):
        yield shift, gap, extra, vacuum


def _sound(atoms: Atoms, motif: Motif, parameters: Interface) -> bool:
    """Return whether an interface is what it should be: no overlap, all atoms there, strain within the limit."""
    n_film, n_substrate = motif.match.cells
    wanted = Counter()
    for slab, count in ((motif.film_slab, n_film), (motif.substrate_slab, n_substrate)):
        wanted.update({symbol: count * n for symbol, n in Counter(slab.get_chemical_symbols()).items()})
    stretches = np.linalg.svd(
        np.linalg.solve(motif.match.film @ motif.film.vectors, atoms.cell.array[:2, :2]), compute_uv=False
    )
    return (
        Counter(atoms.get_chemical_symbols()) == wanted
        and float(np.abs(stretches - 1).max()) <= parameters.max_strain + 1e-9
        and not too_close(atoms)
    )


def _set_states(atoms: Atoms, motif: Motif) -> None:
    """Oxidation states of a material that has none are zero where the other has them."""
    slabs = (motif.substrate_slab, motif.film_slab)
    if not any(OXIDATION in slab.arrays for slab in slabs):
        return
    parts = []
    for slab, count in zip(slabs, motif.match.cells[::-1], strict=True):
        states = slab.arrays.get(OXIDATION, np.zeros(len(slab)))
        parts.append(np.tile(states, count))
    atoms.arrays.pop(OXIDATION, None)
    atoms.set_array(OXIDATION, np.concatenate(parts))


def _info(motif: Motif, shift: np.ndarray, gaps: list[float], vacuum: float | None) -> dict:
    match = motif.match
    n_film, n_substrate = match.cells
    stacking = 'bilayer without vacuum' if vacuum is None else f'with {vacuum:g} Å of vacuum'
    info = {
        'family': 'interface',
        'phase': motif.phase,
        'reason': (
            f'coherent match of {motif.film.label} and {motif.substrate.label}, {n_film} on {n_substrate} cells: '
            f'strain {100 * match.largest:.1f} %, {match.area:.0f} Å², {stacking}'
        ),
        'parameters': {
            'film': motif.film.label,
            'substrate': motif.substrate.label,
            'film_termination': motif.ends[0].label,
            'substrate_termination': motif.ends[1].label,
            'film_matrix': match.film.tolist(),
            'substrate_matrix': match.substrate.tolist(),
            'strain': [round(value, 6) for value in match.strain],
            'area': round(match.area, 4),
            'twist': match.twist,
            'gaps': [round(value, 4) for value in gaps],
            'shift': [round(float(value % 1), 6) for value in shift],
            'stacking': 'periodic' if vacuum is None else 'vacuum',
        },
    }
    if vacuum is not None:
        info['vacuum_axes'] = [2]
    return info


def _reference(crystal: Crystal) -> Atoms:
    atoms = crystal.conventional.copy()
    atoms.info = {
        'family': 'interface',
        'phase': crystal.conventional.info['phase'],
        'reason': f'{crystal.label}, one of the two materials of the interface, as bulk',
        'parameters': {'reference': 'bulk', 'material': crystal.label},
    }
    return atoms


def _no_gap(motifs: list[Motif], parameters: Interface) -> str:
    _, gaps = build(motifs[0], motifs[0].registry, None, 0.0, vacuum=None)
    return (
        f'{KEY}.gap: at {", ".join(f"{gap:g}" for gap in parameters.gap or gaps)} Å atoms of both materials overlap; '
        f'those of {motifs[0].phase} touch at {max(gaps):.2f} Å: give at least that'
    )
