"""Which molecules stand where on a surface, and the structures that this makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms

from ....checks.pairs import periodic_pairs
from ....core.chemistry import van_der_waals_radii
from ....core.errors import InputError
from ....crystals.slabs import (
    OXIDATION,
    contact_offset,
    lateral_distances,
    molecule_states,
    too_close,
    with_vacuum,
)
from .molecules import orientations, oriented
from .section import Adsorption
from .solvent import CONTACT, pack_solvent
from .surfaces import Site, Surface

#: Array that is true for the atoms of molecules: defects are made in the crystal only.
ADSORBATE = 'adsorbate'
#: Å by which molecules are above contact where no heights are given.
HEIGHTS = (0.0, 0.35, 0.9)
#: Å; standard deviation of random placements from a site.
JITTER = 0.3
#: Å by which random placements are higher than contact, at most.
RANDOM_HEIGHT = 1.0
#: Random placements tried per structure.
MAX_PLACEMENTS = 20


@dataclass(frozen=True, eq=False)
class Placement:
    """What is put where: the molecules, one site and one orientation for each, and how high.

    :param height: Å of the lowest atom over the highest of the slab; None: contact plus `extra`.
    """

    molecules: tuple[Atoms, ...]
    sites: tuple[Site, ...]
    orientations: tuple[str, ...]
    height: float | None
    extra: float
    jitter: float = 0.0


def placements(
    surfaces: list[Surface],
    molecules: list[Atoms],
    parameters: Adsorption,
    number: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Surface, Placement]]:
    """Yield what to put where: a grid in which the surface changes fastest, then a limited number of random ones."""
    surfaces = [surface for surface in surfaces if surface.sites]
    yield from _grid(surfaces, molecules, parameters)
    for _ in range(MAX_PLACEMENTS * number):
        surface = surfaces[int(rng.integers(len(surfaces)))]
        yield surface, _random_placement(surface, molecules, parameters, rng)


def _grid(
    surfaces: list[Surface], molecules: list[Atoms], parameters: Adsorption
) -> Iterator[tuple[Surface, Placement]]:
    if not molecules:
        return
    heights = _heights(parameters)
    mixtures = [(kind,) for kind in range(len(molecules))]
    most_sites = max(len(surface.sites) for surface in surfaces)
    most_ways = max(len(allowed_orientations(molecule, parameters)) for molecule in molecules)
    for coverage, (height, extra) in product(dict.fromkeys(parameters.coverages), heights):
        several = [*mixtures, tuple(range(len(molecules)))] if coverage > 1 and len(molecules) > 1 else mixtures
        for way, index, kinds, surface in product(range(most_ways), range(most_sites), several, surfaces):
            chosen = [molecules[kinds[k % len(kinds)]] for k in range(coverage)]
            allowed = [allowed_orientations(molecule, parameters) for molecule in chosen]
            if index >= len(surface.sites) or any(way >= len(options) for options in allowed):
                continue
            yield (
                surface,
                Placement(
                    tuple(chosen),
                    (surface.sites[index],) * coverage,
                    tuple(options[way] for options in allowed),
                    height,
                    extra,
                ),
            )


def _heights(parameters: Adsorption) -> list[tuple[float | None, float]]:
    if parameters.heights is None:
        return [(None, extra) for extra in HEIGHTS]
    return [(height, 0.0) for height in parameters.heights]


def allowed_orientations(molecule: Atoms, parameters: Adsorption) -> list[str]:
    own = orientations(molecule)
    return own if parameters.orientations is None else [name for name in parameters.orientations if name in own]


def _random_placement(
    surface: Surface, molecules: list[Atoms], parameters: Adsorption, rng: np.random.Generator
) -> Placement:
    """Return a placement with any molecules, sites and orientations that are allowed, beside the sites."""
    usable = [molecule for molecule in molecules if allowed_orientations(molecule, parameters)]
    coverage = int(rng.choice(parameters.coverages)) if usable else 0
    chosen = tuple(usable[int(rng.integers(len(usable)))] for _ in range(coverage))
    sites = tuple(surface.sites[int(rng.integers(len(surface.sites)))] for _ in chosen)
    ways = []
    for molecule in chosen:
        options = allowed_orientations(molecule, parameters)
        ways.append(options[int(rng.integers(len(options)))])
    height, extra = None, float(rng.random() * RANDOM_HEIGHT)
    if parameters.heights is not None:
        low, high = min(parameters.heights), max(parameters.heights)
        height, extra = float(low + rng.random() * (high - low)), 0.0
    return Placement(chosen, sites, tuple(ways), height, extra, JITTER)


def build(
    surface: Surface, placement: Placement, parameters: Adsorption, solvent: Atoms | None, rng: np.random.Generator
) -> Atoms | None:
    """Return the slab with what is placed on it; None if that overlaps.

    :raises ValueError: if the solvent cannot be packed.
    """
    placed = _place(surface, placement, rng)
    if placed is None:
        return None
    bodies, heights = placed
    if solvent is not None:
        bodies = [*bodies, *pack_solvent(surface, bodies, solvent, parameters, rng)]
    if parameters.symmetric:
        if surface.mirror is None:
            raise InputError(
                'symmetric',
                f'no symmetry maps the two sides of {surface.stack.label} with {parameters.layers} layers onto '
                'each other',
                'change layers, name another plane, or set symmetric to false',
            )
        bodies = [*bodies, *(_moved(body, surface.mirror) for body in bodies)]
    if not _apart(bodies, surface.slab):
        return None
    atoms = surface.slab.copy()
    atoms.arrays.pop(OXIDATION, None)
    for body in bodies:
        atoms += Atoms(body.numbers, body.positions)
    atoms.set_array(ADSORBATE, np.arange(len(atoms)) >= len(surface.slab))
    states = _states(surface.slab, bodies)
    if states is not None:
        atoms.set_array(OXIDATION, states)
    atoms = with_vacuum(atoms, parameters.vacuum)
    atoms.wrap()
    if too_close(atoms):
        return None
    atoms.info = describe(surface, placement, heights, solvent, len(bodies), parameters)
    return atoms


def _place(surface: Surface, placement: Placement, rng: np.random.Generator) -> tuple[list[Atoms], list[float]] | None:
    """Return the molecules on their sites, and the heights of their lowest atoms; None if there are too few sites."""
    needed = Counter(placement.sites)
    if any(count > len(surface.places(site)) for site, count in needed.items()):
        return None
    bodies: list[Atoms] = []
    heights = []
    taken: list[np.ndarray] = []
    for molecule, site, way in zip(placement.molecules, placement.sites, placement.orientations, strict=True):
        place = _free_place(surface, site, taken, rng)
        if place is None:
            return None
        taken.append(place)
        body = oriented(molecule, way, rng)
        body.positions[:, :2] += place + placement.jitter * rng.normal(size=2)
        if placement.height is None:
            body.positions[:, 2] += contact_offset(surface.slab, body, bonding=False) + placement.extra
        else:
            body.positions[:, 2] += surface.top + placement.height - body.positions[:, 2].min()
        heights.append(float(body.positions[:, 2].min() - surface.top))
        bodies.append(body)
    return bodies, heights


def _free_place(surface: Surface, site: Site, taken: list[np.ndarray], rng: np.random.Generator) -> np.ndarray | None:
    """Return an image of a site as far as possible from those taken; any of equally far ones."""
    places = surface.places(site)
    if not taken:
        return places[int(rng.integers(len(places)))]
    points = [np.column_stack([array, np.zeros(len(array))]) for array in (places, np.array(taken))]
    distances = lateral_distances(*points, surface.slab.cell.array[:2, :2], 3.0).min(axis=(1, 2))
    best = np.flatnonzero(distances > distances.max() - 1e-3)
    if distances.max() < 1e-3:
        return None
    return places[int(rng.choice(best))]


def _apart(bodies: list[Atoms], slab: Atoms) -> bool:
    """Return whether molecules keep apart from each other and from their own images."""
    if not bodies:
        return True
    owner = np.repeat(np.arange(len(bodies)), [len(body) for body in bodies])
    radii = CONTACT * van_der_waals_radii(np.concatenate([body.numbers for body in bodies]))
    positions = np.concatenate([body.positions for body in bodies])
    in_plane = np.array([True, True, False])
    first, second, shifts, distances = periodic_pairs(positions, slab.cell.array, in_plane, 2 * radii.max())
    foreign = (owner[first] != owner[second]) | (shifts != 0).any(axis=1)
    return not (distances[foreign] < (radii[first] + radii[second])[foreign]).any()


def _moved(body: Atoms, operation: tuple[np.ndarray, np.ndarray]) -> Atoms:
    matrix, shift = operation
    return Atoms(body.numbers, body.positions @ matrix.T + shift, info=dict(body.info))


def _states(slab: Atoms, bodies: list[Atoms]) -> np.ndarray | None:
    """Oxidation states of slab and molecules; None if the slab has none, or a molecule has none that sum to zero."""
    if OXIDATION not in slab.arrays:
        return None
    parts = [slab.arrays[OXIDATION]]
    for body in bodies:
        counts = Counter(body.get_chemical_symbols())
        states = molecule_states(counts)
        if states is None:
            return None
        parts.append(np.array([states[symbol] for symbol in body.symbols], float))
    return np.concatenate(parts)


def describe(
    surface: Surface,
    placement: Placement,
    heights: list[float],
    solvent: Atoms | None,
    bodies: int,
    parameters: Adsorption,
) -> dict:
    names = [molecule.info['formula'] for molecule in placement.molecules]
    label = '+'.join(dict.fromkeys(names))
    sites = list(dict.fromkeys(site.label for site in placement.sites))
    ways = list(dict.fromkeys(placement.orientations))
    liquid = '' if solvent is None else f' under a layer of {solvent.info["name"]}'
    phase = f'{label}/{surface.stack.label}'
    if solvent is not None:
        phase = f'{label or solvent.info["formula"]}/{surface.stack.label} wet'
    beside = ' near' if placement.jitter else ' on'
    what = f'{len(names)} {label}, {", ".join(ways)},{beside} {", ".join(sites)} of {surface.stack.label}'
    return {
        'family': 'adsorption',
        'phase': phase,
        'reason': f'{what}{liquid}' if names else f'{surface.stack.label}{liquid}',
        'vacuum_axes': [2],
        'parameters': {
            'molecules': names,
            'surface': surface.stack.label,
            'termination': surface.termination.label,
            'planes': surface.termination.number,
            'repeats': list(surface.repeats),
            'site': [site.label for site in placement.sites],
            'orientation': list(placement.orientations),
            'height': [round(height, 4) for height in heights],
            'coverage': len(names),
            'per_area': round(len(names) / surface.area, 6),
            'solvent': None if solvent is None else solvent.info['name'],
            'solvent_molecules': bodies // (2 if parameters.symmetric else 1) - len(names),
            'symmetric': parameters.symmetric,
        },
    }
