"""Molecules on surfaces: sites, orientations, heights, coverages, and a layer of solvent.

Sites are found by pymatgen (Delaunay triangulation: J. H. Montoya and K. A. Persson, npj Comput. Mater. 3, 14 (2017))
and classified again here by the surface atoms next to them: on square surfaces pymatgen calls hollows bridges.

Molecules are neutral. On a slab with oxidation states the atoms of a molecule get those of its formula (H 1, O -2 in
water; 0 in O2), which sum to zero; where a formula has none, the whole frame goes without.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase import Atoms

from ....core.errors import InputError
from ....crystals.slabs import (
    Crystal,
    contact_offset,
    fingerprint,
    is_new,
    make_slab,
    with_vacuum,
)
from ...family import Family
from .molecules import check_orientations, materials, oriented, solvent_of
from .placement import ADSORBATE, allowed_orientations, build, placements
from .section import Adsorption
from .surfaces import Surface, make_surfaces

#: Å; empty space around a molecule on its own.
MOLECULE_VACUUM = 8.0
#: Placements in a row that fail before the rest is given up.
MAX_FAILURES_IN_A_ROW = 150


class AdsorptionFamily(Family[Adsorption]):
    """Molecules on surfaces."""

    name = 'adsorption'
    help = 'Molecules on surfaces.'
    Parameters = Adsorption
    order = 60
    has_adsorbates = True
    cuttable = False
    file_keys = ('slab', 'molecules')

    def parents(self, elements: list[str], section: Adsorption, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return molecules on surfaces: first all sites, orientations, heights and coverages in turn, then random ones.

        :param elements: all elements of the run file.
        :param number: how many structures at most.
        :returns: frames with family, phase ('CO/Pt(111)'), reason, parameters and `vacuum_axes` in the info, and the
            array `adsorbate`, true for the atoms of molecules. The second to fourth are the clean slab ('Pt(111)'),
            the molecule in a box ('CO') and the bulk crystal.
        :raises ValueError: if a molecule, plane, termination or orientation does not exist or nothing fits.
        """
        crystal, molecules = materials(elements, section)
        solvent = solvent_of(elements, section)
        surfaces = make_surfaces(crystal, molecules, section)
        check_orientations(molecules, section)
        frames: list[Atoms] = []
        known: list[np.ndarray] = []
        made: Counter = Counter()
        failures = 0
        for surface, placement in placements(surfaces, molecules, section, number, rng):
            if len(frames) >= number or failures >= MAX_FAILURES_IN_A_ROW:
                break
            failures += 1
            wet = solvent is not None and (not placement.molecules or made[surface.stack.label] % 2 == 1)
            atoms = build(surface, placement, section, solvent if wet else None, rng)
            if atoms is not None and is_new(fingerprint(atoms), known):
                made[surface.stack.label] += 1
                failures = 0
                frames.append(atoms)
        if not frames:
            raise _nothing_fits(surfaces, molecules, section)
        if section.references:
            frames[1:1] = _references(crystal, surfaces, [*molecules, *([solvent] if solvent else [])], section)
        return frames[:number]


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
    atoms.center(vacuum=MOLECULE_VACUUM / 2)
    atoms.pbc = True
    atoms.info = {
        'family': 'adsorption',
        'phase': molecule.info['formula'],
        'reason': f'{molecule.info["name"]} on its own',
        'vacuum_axes': [0, 1, 2],
        'parameters': {'reference': 'molecule', 'molecule': molecule.info['name']},
    }
    return atoms


def _nothing_fits(surfaces: list[Surface], molecules: list[Atoms], parameters: Adsorption) -> InputError:
    names = ', '.join(molecule.info['name'] for molecule in molecules)
    cell = surfaces[0].repeats
    if parameters.heights is not None:
        body = oriented(molecules[0], allowed_orientations(molecules[0], parameters)[0], np.random.default_rng(0))
        body.positions[:, :2] += surfaces[0].sites[0].xy
        offset = contact_offset(surfaces[0].slab, body, bonding=False)
        touching = float(body.positions[:, 2].min() + offset - surfaces[0].top)
        given = ', '.join(f'{height:g}' for height in parameters.heights)
        return InputError(
            'heights',
            f'{names} overlaps the surface at {given} Å (it touches at {touching:.2f} Å), or its neighbours',
            'raise the heights or repeats',
        )
    return InputError(
        'coverages',
        f'{" or ".join(map(str, parameters.coverages))} {names} do not fit on {cell[0]} x {cell[1]} cells of '
        f'{surfaces[0].stack.label}',
        f'lower coverages, or raise repeats to [{cell[0] + 1}, {cell[1] + 1}]',
    )
