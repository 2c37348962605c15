"""Free surfaces of a crystal: slabs without a dipole, in neutral terminations where ions are charged."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from pydantic import Field

from ..checks.moments import MOMENTS
from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter, require
from .common import (
    NotApplicableError,
    charges,
    disturb,
    family_of,
    label,
    moments_of,
    record,
    remembered,
    require_solid,
    vacuum_axes,
)

#: Largest Miller index of the planes that are cut when none are named.
HIGHEST_INDEX = 1
#: Phases without planes, of which every cut would be another termination.
IRREGULAR_PHASES = ('amorphous',)
#: Free space (Å) along the normal that tells a slab from a bulk: a check of what comes out of the library.
TOLERANCE = 0.2

Miller = Annotated[list[Count], Field(min_length=3, max_length=3)]


class Surface(Section):
    """Free surfaces cut from a bulk crystal, first as cut, then rattled and strained in their plane."""

    number: Count = parameter('Slabs per phase.', default=0, ge=0)
    miller: list[Miller] | None = parameter(
        'Miller indices (of the conventional cell) of the planes, used in turn; null: those with indices up to 1.',
        default=None,
        min_length=1,
    )
    thickness: Positive = parameter('Least thickness of the slab.', unit='Å', default=7.0)
    vacuum: Positive = parameter('Vacuum between slabs.', unit='Å', default=12.0)
    max_atoms: Count = parameter('Slabs with more atoms are left out.', default=64, ge=1)


def surface(parent: Atoms, parameters: Surface, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a slab of the parent: planes in turn, then their terminations; after all of them rattled ones.

    Slabs are symmetric or stoichiometric, and without a dipole along the normal where oxidation states are set.

    :raises NotApplicableError: if the parent is no bulk crystal, or no plane of it has such a slab.
    :raises ValueError: for the Miller indices 0 0 0.
    """
    require_solid(parent, 'surface')
    family = family_of(parent)
    if vacuum_axes(parent) or (family is not None and not family.cuttable):
        raise NotApplicableError(f'structures.surface: {label(parent)} is no bulk crystal')
    if str(parent.info.get('phase')).endswith(IRREGULAR_PHASES):
        raise NotApplicableError(f'structures.surface: {label(parent)} has no planes to be cut along')
    planes = parameters.miller
    for plane in planes or []:
        if not any(plane):
            raise InputError(
                'surface.miller',
                '[0, 0, 0] is no plane',
                'give for example [1, 0, 0] or [1, 1, 1]',
            )
    what = ('slabs', str(planes), parameters.thickness, parameters.vacuum, parameters.max_atoms)
    slabs, rejected = remembered(what, parent, lambda: _slabs(parent, parameters))
    if not slabs:
        raise NotApplicableError(f'structures.surface: {label(parent)} has no slab to offer: {rejected}')
    atoms = slabs[index % len(slabs)].copy()
    own = atoms.info.pop('cut')
    atoms.info = {**parent.info, **atoms.info}
    if index >= len(slabs):
        disturb(atoms, rng)
    return record(atoms, parent, 'surface', own)


def _slabs(parent: Atoms, parameters: Surface) -> tuple[list[Atoms], str]:
    """All slabs of the parent, the first termination of each plane first; and why the others are none."""
    conventional = _conventional(parent)
    planes = [tuple(plane) for plane in parameters.miller] if parameters.miller else _low_index_planes(conventional)
    terminations, rejected = [], []
    for plane in planes:
        found, reasons = _terminations(parent, conventional, plane, parameters)
        terminations.append(found)
        rejected += [f'{_name(plane)} {reason}' for reason in reasons]
    most = max(map(len, terminations), default=0)
    slabs = [found[turn] for turn in range(most) for found in terminations if turn < len(found)]
    return slabs, '; '.join(dict.fromkeys(rejected)) or 'no termination was found'


def _name(plane: tuple[int, ...]) -> str:
    return f'({("" if min(plane) >= 0 and max(plane) < 10 else " ").join(map(str, plane))})'


def _conventional(parent: Atoms) -> Any:
    """The conventional cell as a pymatgen structure; ions carry their charges, magnetic atoms their moments."""
    analyzer = require('pymatgen.symmetry.analyzer', 'structures.surface').SpacegroupAnalyzer
    return analyzer(_structure(parent), symprec=0.01).get_conventional_standard_structure()


def _structure(parent: Atoms) -> Any:
    core = require('pymatgen.core', 'structures.surface')
    states, moments = charges(parent), moments_of(parent)
    symbols = list(parent.symbols)
    species: list[Any] = symbols
    if states is not None or moments is not None:
        # atoms with moments in different directions are different species: the cell is that of the magnetic order
        spins = [None] * len(parent) if moments is None else [float(m) for m in np.round(moments, 1)]
        oxidation = [None] * len(parent) if states is None else [float(state) for state in states]
        species = [core.Species(*what) for what in zip(symbols, oxidation, spins, strict=True)]
    return core.Structure(core.Lattice(parent.cell.array), species, parent.get_scaled_positions())


def _low_index_planes(structure: Any) -> list[tuple[int, ...]]:
    surface_module = require('pymatgen.core.surface', 'structures.surface')
    found = surface_module.get_symmetrically_distinct_miller_indices(structure, HIGHEST_INDEX)
    # the planes of fewest non-zero indices first: (100), (110), (111)
    return sorted(
        (tuple(int(i) for i in plane) for plane in found), key=lambda plane: (sum(map(abs, plane)), plane[::-1])
    )


def _terminations(
    parent: Atoms, structure: Any, plane: tuple[int, ...], parameters: Surface
) -> tuple[list[Atoms], list[str]]:
    """The acceptable slabs of a plane, and why the others are not."""
    generator = require('pymatgen.core.surface', 'structures.surface').SlabGenerator
    made = generator(
        structure, plane, parameters.thickness, parameters.vacuum, center_slab=True, primitive=True
    ).get_slabs()
    accepted: list[Atoms] = []
    reasons: list[str] = []
    for slab in made:
        slab = slab.get_orthogonal_c_slab()
        reason = _refused(slab, structure, parameters)
        if reason:
            reasons.append(reason)
            continue
        accepted.append(_atoms(slab, parent, plane, len(accepted)))
    return accepted, reasons


def _refused(slab: Any, structure: Any, parameters: Surface) -> str | None:
    """Why a slab is not acceptable, or None."""
    if len(slab) > parameters.max_atoms:
        return f'has {len(slab)} atoms, structures.surface.max_atoms is {parameters.max_atoms}'
    stoichiometric = slab.composition.reduced_formula == structure.composition.reduced_formula
    if any(getattr(site.specie, 'oxi_state', None) for site in slab):
        if abs(slab.charge) > 1e-4:
            return 'is charged'
        if slab.is_polar():
            return 'is polar'
    elif not stoichiometric and not slab.is_symmetric():
        return 'is neither symmetric nor stoichiometric'
    heights = np.sort(slab.cart_coords[:, 2])
    if slab.lattice.c - (heights[-1] - heights[0]) < parameters.vacuum - TOLERANCE:
        return 'has too little vacuum'
    return None


def _atoms(slab: Any, parent: Atoms, plane: tuple[int, ...], termination: int) -> Atoms:
    """A pymatgen slab as a frame with what is new in its info; phase 'fcc(111)'."""
    name = f'{parent.info.get("phase", "bulk")}{_name(plane)}'
    lattice, positions = slab.lattice.matrix, slab.cart_coords
    atoms = Atoms([site.specie.symbol for site in slab], positions, cell=lattice, pbc=True)
    if charges(parent) is not None:
        atoms.set_array('oxidation_states', np.array([float(site.specie.oxi_state) for site in slab]))
    if moments_of(parent) is not None:
        atoms.set_array(MOMENTS, np.array([float(site.specie.spin or 0.0) for site in slab]))
    # the library's own reduction gives cells that are multiples of the smallest
    atoms.set_cell(minkowski_reduce(atoms.cell, pbc=[True, True, False])[0])
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    atoms.wrap(pbc=[True, True, False], eps=1e-6)
    atoms = atoms[np.lexsort((*atoms.positions.T.round(4)[:2], atoms.positions[:, 2].round(4)))]
    atoms.info = {'phase': name, 'vacuum_axes': [2], 'cut': {'miller': list(plane), 'termination': termination}}
    return atoms
