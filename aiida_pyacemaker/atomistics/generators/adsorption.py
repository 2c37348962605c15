"""Molecules on surfaces: sites, orientations, heights, coverages, and a layer of solvent.

Sites are found by pymatgen (Delaunay triangulation: J. H. Montoya and K. A. Persson, npj Comput. Mater. 3, 14 (2017))
and classified anew here by the surface atoms next to them: on square surfaces pymatgen calls hollows bridges.

Molecules are neutral. On a slab with oxidation states the atoms of a molecule get those of its formula (H 1, O -2 in
water; 0 in O2), which sum to zero; where a formula has none, the whole frame goes without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
import spglib
from ase import Atoms
from ase.data import covalent_radii, vdw_radii
from scipy.spatial.transform import Rotation

from ..checks.pairs import periodic_pairs
from ..core.parameters import Count, Positive, Section, parameter, require
from ..core.symmetry import ask
from ..crystals.molecules import check_molecule, get_molecule
from ..crystals.slabs import (
    OXIDATION,
    Crystal,
    Stack,
    Termination,
    bulk_of,
    choose_terminations,
    contact_distance,
    contact_offset,
    fingerprint,
    is_new,
    lateral_distances,
    make_slab,
    molecule_states,
    read_miller,
    stack_planes,
    surfaces_by_stability,
    too_close,
    with_vacuum,
)

KEY = 'structures.adsorption'
#: Array that is true for the atoms of molecules: defects are made in the crystal only.
ADSORBATE = 'adsorbate'
#: Å by which molecules are above contact where no heights are given.
HEIGHTS = (0.0, 0.35, 0.9)
#: Å; the cell of the surface is repeated until it is as wide, and by the second wider than the molecules are long.
WIDTH, ROOM = 4.5, 3.0
#: Å below the highest atom to which atoms belong to the surface: of elements, of compounds.
SURFACE_DEPTH = (0.9, 1.5)
#: Å by which distances to surface atoms may differ for a site to lie between them: of a bridge, of a hollow.
SITE, CENTRE = 0.15, 0.35
#: Molecules are nowhere closer than this times the sum of the van der Waals radii (hydrogen bonds: 0.65 to 0.7).
APART = 0.65
#: Å; empty space around a molecule on its own.
BOX = 8.0
#: Å; by how much random placements are beside a site (standard deviation), and how much higher at most.
JITTER, RANDOM_HEIGHT = 0.3, 1.0
#: Random placements tried per structure, and placements in a row that fail before the rest is given up.
ATTEMPTS, FRUITLESS = 20, 150
#: Tries to pack solvent, and places tried for each molecule.
PACKINGS, PLACES = 10, 400
#: u per Å³ of 1 g/cm³.
DENSITY = 0.602214
#: Which atom binds to the surface, most often first.
BINDS = ('C', 'N', 'P', 'S', 'Se', 'O', 'I', 'Br', 'Cl', 'F', 'H')
#: g/cm³ at room temperature.
LIQUIDS = {
    'water': 0.997,
    'ethanol': 0.789,
    'methanol': 0.792,
    'benzene': 0.877,
    'acetone': 0.784,
    'acetonitrile': 0.786,
    'dimethyl sulfoxide': 1.100,
    'chloroform': 1.489,
    'ammonia': 0.682,
}
#: What adsorbs where only elements are named.
USUAL = {'CO': 'CO', 'HO': 'H2O', 'H': 'H2', 'O': 'O2', 'N': 'N2', 'CH': 'CH4', 'HN': 'NH3', 'NO': 'NO', 'CHO': 'CH3OH'}
#: Metals whose surfaces, not those of their oxides, are meant beside C, N, O or H.
NOBLE = frozenset('Ru Rh Pd Ag Re Os Ir Pt Au Cu Ni'.split())


class Adsorption(Section):
    """Molecules on the surface of a crystal."""

    slab: str | None = parameter(
        'Crystal of the surface: formula or file; null: the element that no molecule holds, or the only noble metal.',
        default=None,
    )
    molecules: list[str] | None = parameter(
        'What adsorbs: names (CO, water, CH3CH2OH) or files; null: the usual small molecule of the other elements.',
        default=None,
    )
    miller: list[list[int]] | None = parameter(
        'Planes of the surfaces, such as [[1, 1, 1], [1, 0, 0]]; null: the low-index plane that breaks fewest bonds.',
        default=None,
        min_length=1,
    )
    terminations: list[str] | None = parameter(
        'Formulas of the planes in which a slab may end (TiO2...); null: those without dipole that break few bonds.',
        default=None,
        min_length=1,
    )
    layers: Count = parameter('Planes of atoms of the slab, at least.', default=4, ge=1, le=60)
    repeats: list[Count] | None = parameter(
        f'Cells of the surface along both axes; null: enough to leave molecules {ROOM:g} Å of room, and {WIDTH:g} Å.',
        default=None,
        min_length=2,
        max_length=2,
    )
    symmetric: bool = parameter('Whether both sides of the slab carry the same molecules.', default=False)
    vacuum: float = parameter('Width of the vacuum, from atom to atom.', 'Å', default=12.0, ge=8, le=60)
    sites: list[Literal['top', 'bridge', 'hollow']] = parameter(
        'Kinds of sites.', default=['top', 'bridge', 'hollow'], min_length=1
    )
    orientations: list[str] | None = parameter(
        '`X-down` with an element X, `lying` or `random`; null: all that the molecule has.', default=None, min_length=1
    )
    heights: list[Positive] | None = parameter(
        'Heights of the lowest atom of the molecule over the highest of the slab; null: contact, and 0.35 and 0.9 Å '
        'more.',
        'Å',
        default=None,
        min_length=1,
    )
    coverages: list[Count] = parameter('Molecules per cell (and side).', default=[1, 2], min_length=1)
    solvent: str | None = parameter(
        'Molecule of a layer of liquid that covers every second structure: name or file.', default=None
    )
    solvent_density: Positive | None = parameter(
        'Density of the layer; null: that of the liquid, or 0.9 if it is not known.', 'g/cm³', default=None, le=20
    )
    solvent_thickness: Positive = parameter('Thickness of the layer.', 'Å', default=6.0, le=50)
    references: bool = parameter(
        'Whether the clean slab, each molecule on its own and the bulk crystal are added.', default=True
    )


@dataclass(frozen=True)
class Site:
    """A place on the surface cell: kind ('top'), label ('top Pt'), position (Å)."""

    kind: str
    label: str
    xy: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface on which molecules are put.

    :param slab: repeated, its lowest atom at z = 0, without vacuum.
    :param sites: of one surface cell, inequivalent ones.
    """

    stack: Stack
    termination: Termination
    slab: Atoms
    sites: tuple[Site, ...]
    repeats: tuple[int, int]

    @property
    def top(self) -> float:
        return float(self.slab.positions[:, 2].max())

    @cached_property
    def mirror(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Operation that turns the slab upside down onto itself; None if there is none."""
        return _mirror(self.slab)

    @property
    def area(self) -> float:
        return self.stack.area * self.repeats[0] * self.repeats[1]

    def places(self, site: Site) -> np.ndarray:
        """Positions of all images of a site in the repeated cell, (n, 2) Å."""
        cells = np.array(list(product(range(self.repeats[0]), range(self.repeats[1]))))
        return np.array(site.xy) + cells @ self.stack.vectors


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


def generate_adsorption(
    elements: list[str], parameters: Adsorption, number: int, rng: np.random.Generator
) -> list[Atoms]:
    """Return molecules on surfaces: first all sites, orientations, heights and coverages in turn, then random ones.

    :param elements: all elements of the run file.
    :param number: how many structures at most.
    :returns: frames with family, phase ('CO/Pt(111)'), reason, parameters and `vacuum_axes` in the info, and the array
        `adsorbate`, true for the atoms of molecules. The second to fourth are the clean slab ('Pt(111)'), the molecule
        in a box ('CO') and the bulk crystal.
    :raises ValueError: if a molecule, plane, termination or orientation does not exist or nothing fits.
    """
    crystal, molecules = materials(elements, parameters)
    solvent = _solvent(elements, parameters)
    surfaces = make_surfaces(crystal, molecules, parameters)
    _check_orientations(molecules, parameters)
    frames: list[Atoms] = []
    known: list[np.ndarray] = []
    made: Counter = Counter()
    failures = 0
    for surface, placement in _placements(surfaces, molecules, parameters, number, rng):
        if len(frames) >= number or failures >= FRUITLESS:
            break
        failures += 1
        wet = solvent is not None and (not placement.molecules or made[surface.stack.label] % 2 == 1)
        atoms = build(surface, placement, parameters, solvent if wet else None, rng)
        if atoms is not None and is_new(fingerprint(atoms), known):
            made[surface.stack.label] += 1
            failures = 0
            frames.append(atoms)
    if not frames:
        raise ValueError(_nothing_fits(surfaces, molecules, parameters))
    if parameters.references:
        frames[1:1] = _references(crystal, surfaces, [*molecules, *([solvent] if solvent else [])], parameters)
    return frames[:number]


# Materials ---------------------------------------------------------------------------------------------------------


def materials(elements: list[str], parameters: Adsorption) -> tuple[Crystal, list[Atoms]]:
    """Return the crystal and the molecules.

    :raises ValueError: if they are unknown, or are not named and cannot be guessed.
    """
    key = f'{KEY}.molecules'
    molecules = None if parameters.molecules is None else [molecule_of(n, elements, key) for n in parameters.molecules]
    if parameters.slab is not None:
        crystal = bulk_of(parameters.slab, elements, f'{KEY}.slab')
    else:
        held = {symbol for molecule in molecules or [] for symbol in molecule.symbols}
        if molecules:
            rest = [element for element in elements if element not in held]
        else:
            rest = [element for element in elements if element in NOBLE]
        if len(rest) != 1:
            raise ValueError(
                f'{KEY}.slab: which crystal of {", ".join(elements)} has the surface is not clear: name it by a '
                'formula (such as Pt or MgO) or a file'
            )
        crystal = bulk_of(rest[0], elements, f'{KEY}.slab')
    if molecules is None:
        molecules = [molecule_of(_usual_molecule(elements, crystal), elements, key)]
    if not molecules and parameters.solvent is None:
        raise ValueError(f'{key}: the list is empty: name at least one molecule, or a solvent')
    return crystal, molecules


def molecule_of(name: str, elements: list[str], key: str) -> Atoms:
    """Return a molecule whose elements are all in the run file.

    :raises ValueError: if it is unknown, naming the nearest, or holds other elements.
    """
    try:
        molecule = get_molecule(name)
    except ValueError as exception:
        raise ValueError(f'{key}: {exception}') from exception
    check_molecule(molecule, elements, key)
    return molecule


def _usual_molecule(elements: list[str], crystal: Crystal) -> str:
    own = set(crystal.conventional.get_chemical_symbols())
    rest = sorted(set(elements) - own)
    # on an oxide, hydrogen stands for water: its oxygen is named already
    for names in (rest, sorted({*rest, *(own & {'O'})})):
        found = USUAL.get(''.join(names))
        if found is not None and rest and (names != ['H'] or 'O' not in own):
            return found
    raise ValueError(
        f'{KEY}.molecules: what adsorbs on {crystal.label} is not clear from {", ".join(elements)}: name molecules, '
        'such as [CO]'
    )


def _solvent(elements: list[str], parameters: Adsorption) -> Atoms | None:
    if parameters.solvent is None:
        return None
    return molecule_of(parameters.solvent, elements, f'{KEY}.solvent')


def _check_orientations(molecules: list[Atoms], parameters: Adsorption) -> None:
    known = list(dict.fromkeys(name for molecule in molecules for name in orientations(molecule)))
    for name in parameters.orientations or []:
        if molecules and name not in known:
            labels = ', '.join(molecule.info['name'] for molecule in molecules)
            raise ValueError(f'{KEY}.orientations: {labels} has no orientation {name!r}: it has {", ".join(known)}')


# Surfaces ----------------------------------------------------------------------------------------------------------


def make_surfaces(crystal: Crystal, molecules: list[Atoms], parameters: Adsorption) -> list[Surface]:
    """Return the surfaces asked for, each termination one.

    :raises ValueError: naming the planes or terminations there are.
    """
    layers, symmetric = parameters.layers, parameters.symmetric
    if parameters.miller is None:
        stable = surfaces_by_stability(crystal, layers, symmetric)
        if not stable:
            raise ValueError(f'{KEY}.miller: no low-index plane of {crystal.label} is free of a dipole: name planes')
        stacks = stable[:1]
    else:
        planes = [read_miller(indices, crystal, f'{KEY}.miller') for indices in parameters.miller]
        stacks = [stack_planes(crystal, miller, layers) for miller in dict.fromkeys(planes)]
    key = f'{KEY}.miller' if parameters.terminations is None else f'{KEY}.terminations'
    width = max([WIDTH, *(ROOM + float(molecule.get_all_distances().max()) for molecule in molecules)])
    surfaces = [
        _surface(stack, termination, parameters, width)
        for stack in stacks
        for termination in choose_terminations(stack, layers, parameters.terminations, symmetric, key)
    ]
    if not any(surface.sites for surface in surfaces):
        raise ValueError(f'{KEY}.sites: {stacks[0].label} has no sites of the kind {", ".join(parameters.sites)}')
    return surfaces


def _surface(stack: Stack, termination: Termination, parameters: Adsorption, width: float) -> Surface:
    cell = make_slab(stack, termination)
    repeats = parameters.repeats
    if repeats is None:
        widths = stack.area / np.linalg.norm(stack.vectors[::-1], axis=1)
        repeats = np.ceil(width / widths - 1e-6).astype(int).tolist()
    sites = tuple(site for site in find_sites(cell, stack) if site.kind in parameters.sites)
    slab = cell.repeat((*repeats, 1))
    return Surface(stack, termination, slab, sites, tuple(repeats))


def find_sites(slab: Atoms, stack: Stack) -> list[Site]:
    """Return the inequivalent sites of a surface cell: top, then bridge, then hollow.

    A top site is over one surface atom, a bridge midway between two, a hollow as far from at least three.
    """
    adsorption = require('pymatgen.core.adsorption', 'the family adsorption')
    structure = require('pymatgen.core', 'the family adsorption').Structure
    thick = with_vacuum(slab, 15.0)
    depth = SURFACE_DEPTH[len(set(slab.get_chemical_symbols())) > 1]
    crystal = structure(
        thick.cell.array, thick.get_chemical_symbols(), thick.positions, coords_are_cartesian=True, to_unit_cell=False
    )
    finder = adsorption.AdsorbateSiteFinder(crystal, height=depth)
    raw = finder.find_adsorption_sites(distance=0.0, put_inside=True, symm_reduce=0.01, near_reduce=0.01)
    surface = slab[slab.positions[:, 2] > slab.positions[:, 2].max() - depth]
    found: list[Site] = []
    for kind in ('ontop', 'bridge', 'hollow'):
        for point in raw[kind]:
            site = classify(np.asarray(point)[:2], kind, surface, slab, stack)
            if site is not None and not _occupied(site, found, stack):
                found.append(site)
    return _named(sorted(found, key=lambda site: ('top', 'bridge', 'hollow').index(site.kind)))


def classify(xy: np.ndarray, kind: str, surface: Atoms, slab: Atoms, stack: Stack) -> Site | None:
    """Return the site at a point of the surface by the surface atoms next to it; None if it is no site.

    :param kind: what pymatgen calls it: 'ontop', 'bridge' (middle of an edge) or 'hollow' (centre of a triangle).
    :param surface: the atoms of the slab that count as its surface.
    """
    images = lateral_distances(np.array([[*xy, 0.0]]), surface.positions, stack.vectors, 6.0)[0]
    owners = np.repeat(np.arange(len(surface)), images.shape[1])
    distances = images.ravel()
    near = np.flatnonzero(distances < distances.min() + (CENTRE if kind == 'hollow' else SITE))
    symbols = sorted(surface.symbols[int(owners[index])] for index in near)
    place = (round(float(xy[0]), 6), round(float(xy[1]), 6))
    if kind == 'ontop':
        return Site('top', f'top {surface.symbols[int(owners[int(distances.argmin())])]}', place)
    if len(near) >= 3:
        return Site('hollow', f'{len(near)}-fold hollow{_below(xy, slab, stack)}', place)
    return Site('bridge', f'bridge {"-".join(symbols)}', place) if kind == 'bridge' and len(near) == 2 else None


def _below(xy: np.ndarray, slab: Atoms, stack: Stack) -> str:
    """Say which plane has an atom under a hollow: over the second plane is hcp, over the third fcc."""
    lateral = lateral_distances(np.array([[*xy, 0.0]]), slab.positions, stack.vectors, 2.0)[0].min(axis=1)
    under = slab.positions[lateral < 0.3, 2]
    if not len(under):
        return ''
    heights = np.unique(np.round(slab.positions[:, 2] / 0.2))[::-1]
    plane = int(np.argmin(np.abs(heights - under.max() / 0.2))) + 1
    return f' over plane {plane}'


def _occupied(site: Site, found: list[Site], stack: Stack) -> bool:
    for other in found:
        delta = np.array([[*site.xy, 0.0]]), np.array([[*other.xy, 0.0]])
        if lateral_distances(*delta, stack.vectors, 2.0).min() < SITE:
            return True
    return False


def _named(sites: list[Site]) -> list[Site]:
    """Number the sites that have the same label."""
    total = Counter(site.label for site in sites)
    seen: Counter = Counter()
    named = []
    for site in sites:
        seen[site.label] += 1
        suffix = f' ({seen[site.label]})' if total[site.label] > 1 else ''
        named.append(Site(site.kind, site.label + suffix, site.xy))
    return named


# Molecules ---------------------------------------------------------------------------------------------------------


def orientations(molecule: Atoms) -> list[str]:
    """Return the orientations that a molecule can have: `X-down` for elements at its ends, `lying`, `random`."""
    if len(molecule) == 1:
        return [f'{molecule.symbols[0]}-down']
    symbols = sorted(set(molecule.symbols), key=lambda s: (BINDS.index(s) if s in BINDS else -1, s))
    down = [f'{symbol}-down' for symbol in symbols if _anchor(molecule, symbol) is not None]
    return [*down, 'lying', 'random']


def oriented(molecule: Atoms, orientation: str, rng: np.random.Generator) -> Atoms:
    """Return the molecule turned, what binds at the origin: the lowest atom of `X-down`, else the centre.

    The azimuth is random.
    """
    atoms = molecule.copy()
    positions = atoms.positions - atoms.positions.mean(axis=0)
    turn = rng.random() * 2 * np.pi
    if orientation == 'random':
        positions = positions @ Rotation.from_quat(rng.normal(size=4)).as_matrix().T
    elif orientation == 'lying':
        # the direction in which the molecule is thinnest is upright
        positions = positions @ np.linalg.svd(positions, full_matrices=True)[2].T
    elif len(atoms) > 1:
        anchor = _anchor(molecule, orientation.removesuffix('-down'))
        rest = np.delete(positions, anchor, axis=0).mean(axis=0)
        positions = (positions - positions[anchor]) @ _upright(rest - positions[anchor]).T
    atoms.positions = positions @ Rotation.from_rotvec([0, 0, turn]).as_matrix().T
    return atoms


def _anchor(molecule: Atoms, symbol: str) -> int | None:
    """Return the atom of an element that is farthest from the centre; None if all are in the middle."""
    centre = molecule.positions.mean(axis=0)
    distances = np.linalg.norm(molecule.positions - centre, axis=1)
    mine = [index for index, other in enumerate(molecule.symbols) if other == symbol]
    best = max(mine, key=lambda index: (round(float(distances[index]), 3), -index))
    # the others must lie to one side of it, as they do not of the carbon of CO2 or CH4
    rest = np.delete(molecule.positions, best, axis=0).mean(axis=0)
    return best if np.linalg.norm(rest - molecule.positions[best]) > 0.3 else None


def _upright(vector: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) that turns a vector into z."""
    unit = vector / np.linalg.norm(vector)
    axis = np.cross(unit, [0.0, 0.0, 1.0])
    sine, cosine = np.linalg.norm(axis), unit[2]
    if sine < 1e-9:
        return np.diag([1.0, -1.0, -1.0]) if cosine < 0 else np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()


def van_der_waals(symbol_number: int) -> float:
    """Van der Waals radius in Å (Alvarez, Dalton Trans. 2013, 8617, as tabulated in ASE; else covalent plus 0.8 Å)."""
    radius = vdw_radii[symbol_number] if symbol_number < len(vdw_radii) else np.nan
    return float(covalent_radii[symbol_number] + 0.8 if np.isnan(radius) else radius)


# Structures --------------------------------------------------------------------------------------------------------


def _placements(
    surfaces: list[Surface],
    molecules: list[Atoms],
    parameters: Adsorption,
    number: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Surface, Placement]]:
    """Yield what to put where: a grid in which the surface changes fastest, then a limited number of random ones."""
    surfaces = [surface for surface in surfaces if surface.sites]
    yield from _grid(surfaces, molecules, parameters)
    for _ in range(ATTEMPTS * number):
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
    most_ways = max(len(_allowed(molecule, parameters)) for molecule in molecules)
    for coverage, (height, extra) in product(dict.fromkeys(parameters.coverages), heights):
        several = [*mixtures, tuple(range(len(molecules)))] if coverage > 1 and len(molecules) > 1 else mixtures
        for way, index, kinds, surface in product(range(most_ways), range(most_sites), several, surfaces):
            chosen = [molecules[kinds[k % len(kinds)]] for k in range(coverage)]
            allowed = [_allowed(molecule, parameters) for molecule in chosen]
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


def _allowed(molecule: Atoms, parameters: Adsorption) -> list[str]:
    own = orientations(molecule)
    return own if parameters.orientations is None else [name for name in parameters.orientations if name in own]


def _random_placement(
    surface: Surface, molecules: list[Atoms], parameters: Adsorption, rng: np.random.Generator
) -> Placement:
    """Return a placement with any molecules, sites and orientations that are allowed, beside the sites."""
    usable = [molecule for molecule in molecules if _allowed(molecule, parameters)]
    coverage = int(rng.choice(parameters.coverages)) if usable else 0
    chosen = tuple(usable[int(rng.integers(len(usable)))] for _ in range(coverage))
    sites = tuple(surface.sites[int(rng.integers(len(surface.sites)))] for _ in chosen)
    ways = []
    for molecule in chosen:
        options = _allowed(molecule, parameters)
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
        bodies = [*bodies, *_pack(surface, bodies, solvent, parameters, rng)]
    if parameters.symmetric:
        if surface.mirror is None:
            raise ValueError(
                f'{KEY}.symmetric: no symmetry maps the two sides of {surface.stack.label} with {parameters.layers} '
                'layers onto each other: change layers, name another plane, or set symmetric to false'
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
    atoms.info = _info(surface, placement, heights, solvent, len(bodies), parameters)
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


def _pack(
    surface: Surface, bodies: list[Atoms], solvent: Atoms, parameters: Adsorption, rng: np.random.Generator
) -> list[Atoms]:
    """Return the molecules of a layer of solvent, put one by one at random where nothing is in the way.

    :raises ValueError: naming the density that can be reached.
    """
    density = parameters.solvent_density or LIQUIDS.get(solvent.info['name'], 0.9)
    mass = float(solvent.get_masses().sum())
    volume = surface.area * parameters.solvent_thickness
    wanted = max(1, round(density * DENSITY * volume / mass))
    most = 0
    for _ in range(PACKINGS):
        layer: list[Atoms] = []
        for _ in range(wanted):
            body = _room(surface, [*bodies, *layer], solvent, parameters.solvent_thickness, rng)
            if body is None:
                break
            layer.append(body)
        if len(layer) == wanted:
            return layer
        most = max(most, len(layer))
    reached = most * mass / volume / DENSITY
    raise ValueError(
        f'{KEY}.solvent_density: only {most} of {wanted} molecules of {solvent.info["name"]} fit on '
        f'{surface.stack.label} without overlap: lower it from {density:.2f} to {0.99 * reached:.2f} g/cm³, or make '
        'the layer thicker'
    )


def _room(
    surface: Surface, bodies: list[Atoms], solvent: Atoms, thickness: float, rng: np.random.Generator
) -> Atoms | None:
    """Return one molecule of solvent where there is room for it."""
    cell = surface.slab.cell.array[:2, :2]
    others = [(surface.slab.positions, _limits(surface.slab, solvent, slab=True))]
    others += [(body.positions, _limits(body, solvent)) for body in bodies]
    positions = np.concatenate([array for array, _ in others])
    limits = np.concatenate([array for _, array in others])
    # the film of liquid starts a little above the surface atoms
    low = surface.top + 1.0
    for _ in range(PLACES):
        shape = oriented(solvent, 'random', rng).positions
        centre = np.array([*(rng.random(2) @ cell), low + rng.random() * thickness])
        moved = shape + centre
        if moved[:, 2].min() < low or moved[:, 2].max() > low + thickness + 0.5:
            continue
        if (_distances(positions, moved, cell, float(limits.max())) >= limits).all():
            return Atoms(solvent.numbers, moved, info=dict(solvent.info))
    return None


def _limits(body: Atoms, solvent: Atoms, slab: bool = False) -> np.ndarray:
    """Least distances between the atoms of a body and those of a molecule, (n, m) Å."""
    if slab:
        return 0.95 * np.array([[contact_distance(i, j, bonding=False) for j in solvent.symbols] for i in body.symbols])
    radii = [np.array([van_der_waals(number) for number in atoms.numbers]) for atoms in (body, solvent)]
    return APART * (radii[0][:, None] + radii[1][None])


def _distances(first: np.ndarray, second: np.ndarray, cell: np.ndarray, reach: float) -> np.ndarray:
    """Shortest distances between atoms, periodic in the plane, (n, m) Å."""
    lateral = lateral_distances(first, second, cell, reach).min(axis=2)
    return np.hypot(lateral, first[:, None, 2] - second[None, :, 2])


def _apart(bodies: list[Atoms], slab: Atoms) -> bool:
    """Return whether molecules keep apart from each other and from their own images."""
    if not bodies:
        return True
    owner = np.repeat(np.arange(len(bodies)), [len(body) for body in bodies])
    radii = APART * np.array([van_der_waals(number) for body in bodies for number in body.numbers])
    positions = np.concatenate([body.positions for body in bodies])
    in_plane = np.array([True, True, False])
    first, second, shifts, distances = periodic_pairs(positions, slab.cell.array, in_plane, 2 * radii.max())
    foreign = (owner[first] != owner[second]) | (shifts != 0).any(axis=1)
    return not (distances[foreign] < (radii[first] + radii[second])[foreign]).any()


def _mirror(slab: Atoms) -> tuple[np.ndarray, np.ndarray] | None:
    """Return an operation (matrix, translation; Cartesian) that turns a slab upside down onto itself; None without."""
    thick = with_vacuum(slab, 15.0)
    found = ask(spglib.get_symmetry, (thick.cell.array, thick.get_scaled_positions(), thick.numbers), symprec=1e-3)
    if found is None:
        return None
    cell = thick.cell.array
    low = float(thick.positions[:, 2].min() - slab.positions[:, 2].min())
    best = None
    for matrix, translation in zip(found['rotations'], found['translations'], strict=True):
        if matrix[2, 2] != -1 or matrix[2, :2].any() or matrix[:2, 2].any():
            continue
        # x' = W x + t in cell coordinates (columns); the slab is centred at 1/2
        move = translation.copy()
        move[2] += np.rint(1.0 - move[2])
        cartesian = cell.T @ matrix @ np.linalg.inv(cell.T)
        shift = cell.T @ move
        height = np.array([0.0, 0.0, low])
        entry = (cartesian, shift + cartesian @ height - height)
        # a rotation keeps the handedness of molecules
        if np.linalg.det(matrix) > 0:
            return entry
        best = best or entry
    return best


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


def _info(
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


# References --------------------------------------------------------------------------------------------------------


def _references(
    crystal: Crystal, surfaces: list[Surface], molecules: list[Atoms], parameters: Adsorption
) -> list[Atoms]:
    """Return the clean slabs, the molecules in a box and the bulk crystal."""
    frames = [_clean(surface, parameters) for surface in surfaces]
    frames += [in_box(molecule) for molecule in {m.info['name']: m for m in molecules}.values()]
    bulk = crystal.conventional.copy()
    bulk.set_array(ADSORBATE, np.zeros(len(bulk), dtype=bool))
    bulk.info = {
        'family': 'adsorption',
        'phase': crystal.conventional.info['phase'],
        'reason': f'{crystal.label}, the crystal of the surface, as bulk',
        'parameters': {'reference': 'bulk', 'material': crystal.label},
    }
    return [*frames, bulk]


def _clean(surface: Surface, parameters: Adsorption) -> Atoms:
    atoms = with_vacuum(make_slab(surface.stack, surface.termination), parameters.vacuum)
    atoms.set_array(ADSORBATE, np.zeros(len(atoms), dtype=bool))
    atoms.info = {
        'family': 'adsorption',
        'phase': surface.stack.label,
        'reason': f'{surface.stack.label} without molecules, ending in {surface.termination.label}',
        'vacuum_axes': [2],
        'parameters': {
            'reference': 'clean slab',
            'surface': surface.stack.label,
            'termination': surface.termination.label,
            'planes': surface.termination.number,
        },
    }
    return atoms


def in_box(molecule: Atoms) -> Atoms:
    """Return a molecule on its own in a periodic box, with vacuum on all sides."""
    atoms = Atoms(molecule.numbers, molecule.positions)
    atoms.set_array(ADSORBATE, np.ones(len(atoms), dtype=bool))
    atoms.center(vacuum=BOX / 2)
    atoms.pbc = True
    atoms.info = {
        'family': 'adsorption',
        'phase': molecule.info['formula'],
        'reason': f'{molecule.info["name"]} on its own',
        'vacuum_axes': [0, 1, 2],
        'parameters': {'reference': 'molecule', 'molecule': molecule.info['name']},
    }
    return atoms


def _nothing_fits(surfaces: list[Surface], molecules: list[Atoms], parameters: Adsorption) -> str:
    names = ', '.join(molecule.info['name'] for molecule in molecules)
    cell = surfaces[0].repeats
    if parameters.heights is not None:
        body = oriented(molecules[0], _allowed(molecules[0], parameters)[0], np.random.default_rng(0))
        body.positions[:, :2] += surfaces[0].sites[0].xy
        offset = contact_offset(surfaces[0].slab, body, bonding=False)
        touching = float(body.positions[:, 2].min() + offset - surfaces[0].top)
        return (
            f'{KEY}.heights: {names} overlaps the surface at {", ".join(f"{h:g}" for h in parameters.heights)} Å '
            f'(it touches at {touching:.2f} Å), or its neighbours: raise the heights or repeats'
        )
    return (
        f'{KEY}.coverages: {" or ".join(map(str, parameters.coverages))} {names} do not fit on {cell[0]} x {cell[1]} '
        f'cells of {surfaces[0].stack.label}: lower coverages, or raise repeats to [{cell[0] + 1}, {cell[1] + 1}]'
    )
