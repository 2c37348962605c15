"""Surfaces and the sites on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import spglib
from ase import Atoms

from ....core.errors import InputError
from ....core.parameters import require
from ....core.symmetry import call_spglib
from ....crystals.slabs import (
    Crystal,
    Stack,
    Termination,
    choose_terminations,
    lateral_distances,
    make_slab,
    read_miller,
    stack_planes,
    surfaces_by_stability,
    with_vacuum,
)
from .section import MIN_SPACING, MIN_WIDTH, Adsorption

#: Å below the highest atom to which atoms belong to the surface of an element, and to that of a compound.
SURFACE_DEPTH = (0.9, 1.5)
#: Å by which the distances to its two surface atoms may differ at a bridge site.
BRIDGE_TOLERANCE = 0.15
#: Å by which the distances to its surface atoms may differ at a hollow site.
HOLLOW_TOLERANCE = 0.35


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


def make_surfaces(crystal: Crystal, molecules: list[Atoms], parameters: Adsorption) -> list[Surface]:
    """Return the surfaces asked for, each termination one.

    :raises ValueError: naming the planes or terminations there are.
    """
    layers, symmetric = parameters.layers, parameters.symmetric
    if parameters.miller is None:
        stable = surfaces_by_stability(crystal, layers, symmetric)
        if not stable:
            raise InputError(
                'miller',
                f'no low-index plane of {crystal.label} is free of a dipole',
                'name planes',
            )
        stacks = stable[:1]
    else:
        planes = [read_miller(indices, crystal, 'miller') for indices in parameters.miller]
        stacks = [stack_planes(crystal, miller, layers) for miller in dict.fromkeys(planes)]
    key = 'miller' if parameters.terminations is None else 'terminations'
    width = max([MIN_WIDTH, *(MIN_SPACING + float(molecule.get_all_distances().max()) for molecule in molecules)])
    surfaces = [
        _surface(stack, termination, parameters, width)
        for stack in stacks
        for termination in choose_terminations(stack, layers, parameters.terminations, symmetric, key)
    ]
    if not any(surface.sites for surface in surfaces):
        raise InputError('sites', f'{stacks[0].label} has no sites of the kind {", ".join(parameters.sites)}')
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
    near = np.flatnonzero(distances < distances.min() + (HOLLOW_TOLERANCE if kind == 'hollow' else BRIDGE_TOLERANCE))
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
        if lateral_distances(*delta, stack.vectors, 2.0).min() < BRIDGE_TOLERANCE:
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


def _mirror(slab: Atoms) -> tuple[np.ndarray, np.ndarray] | None:
    """Return an operation (matrix, translation; Cartesian) that turns a slab upside down onto itself; None without."""
    thick = with_vacuum(slab, 15.0)
    found = call_spglib(
        spglib.get_symmetry, (thick.cell.array, thick.get_scaled_positions(), thick.numbers), symprec=1e-3
    )
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
