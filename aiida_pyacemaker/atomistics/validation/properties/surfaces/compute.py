"""Energies of low-index surfaces, relaxed.

Slabs have the composition of the crystal, no dipole, and the lattice constants of the crystal in their plane, so that
the crystal itself is the exact reference:

.. math:: \\gamma = (E - N e) / 2A

with the energy :math:`e` of the crystal per atom. Where the two sides of a slab differ that is the mean of both (half
of what it costs to cleave the crystal). The cells are 1x1: surfaces relax, but do not reconstruct. Of copper and
aluminium (EAM) slabs of 8 to 30 Å give the same within 0.1 %.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from ase import Atoms, units

from ....core.frame import labels
from ....core.meshes import mesh_numbers
from ....crystals.slabs import (
    Crystal,
    Miller,
    Stack,
    Termination,
    as_crystal,
    make_slab,
    proposed,
    stack_planes,
    surfaces_by_stability,
    terminations,
    with_vacuum,
)
from ....labelling.kpoints import Mesh, kpoints_mesh
from ....variants import NotApplicableError
from ...defects import MAX_FORCE, MAX_STEPS, energies, outcome, require_crystal
from ...evaluator import Evaluator
from . import Surfaces, SurfacesResult

#: J/m² of 1 eV/Å².
JOULE = 1e20 / units.J
#: First cubic space group.
FIRST_CUBIC_GROUP = 195
#: Planes of the slabs by which surfaces are ranked.
RANKING_PLANES = 4


def plan(crystal: Atoms, parameters: Surfaces, within: list[Atoms] | None = None) -> list[Atoms]:
    """Return slabs, to be relaxed. Their info has `miller` (hkl; hkil of hexagonal ones), `termination`, `area` (Å²).

    :param within: gets for each slab the crystal in a cell of the same plane, see :func:`plan_cells`.
    :raises NotApplicableError: for molecules and layers, and where no plane has a slab without a dipole.
    """
    space = require_crystal(crystal, 'surfaces')
    if space.kind not in ('bulk', 'porous'):
        raise NotApplicableError(f'surfaces: {crystal.get_chemical_formula()} is a {space.kind}, with vacuum around it')
    bulk = as_crystal(Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True), 'crystal', 'surfaces')
    slabs: list[Atoms] = []
    too_large: list[list[int]] = []
    for ranked in surfaces_by_stability(bulk, RANKING_PLANES):
        if len(slabs) == parameters.number:
            break
        cut = _cut(ranked, parameters)
        if cut is None:
            continue
        stack, termination = cut
        slab = with_vacuum(make_slab(stack, termination), parameters.vacuum)
        if within is not None:
            within.append(_period(stack))
        slab.info |= {
            'property': 'surfaces',
            'miller': _usual(stack.miller, bulk),
            'termination': termination.label,
            'area': stack.area,
        }
        slab.arrays.pop('oxidation_states', None)
        if len(slab) > parameters.max_atoms:
            too_large.append(slab.info['miller'])
            if within is not None:
                within.pop()
        else:
            slabs.append(slab)
    if not slabs:
        raise NotApplicableError(
            f'surfaces: {bulk.label} has no low-index plane along which it can be cut into slabs of at most '
            f'{parameters.max_atoms} atoms of its own composition without a dipole'
        )
    slabs[0].info['left_out'] = too_large
    return slabs


def analyse(crystal: Atoms | list[Atoms], relaxed: list[Atoms], parameters: Surfaces) -> SurfacesResult:
    """Return `surfaces`: miller (list), energy and unrelaxed (J/m²), n_atoms, termination, thickness (Å).

    :param crystal: labelled; or of each slab the crystal that it is cut from.
    :param relaxed: the slabs of :func:`plan`, relaxed.
    :raises ValueError: if one did not relax.
    """
    crystals = [crystal] * len(relaxed) if isinstance(crystal, Atoms) else crystal
    surfaces = []
    for whole, slab, before, after in zip(crystals, relaxed, *energies(relaxed, 'surfaces'), strict=True):
        reference = labels(whole)['energy'] / len(whole)
        unrelaxed, energy = (
            (total - len(slab) * reference) / (2 * slab.info['area']) * JOULE for total in (before, after)
        )
        surfaces.append(
            {
                'miller': slab.info['miller'],
                'energy': float(energy),
                'unrelaxed': float(unrelaxed),
                'n_atoms': len(slab),
                'termination': slab.info['termination'],
                'thickness': float(np.ptp(slab.positions[:, 2])),
            }
        )
    left_out = relaxed[0].info['left_out']
    message = f'planes of which a slab has more than {parameters.max_atoms} atoms: {left_out}' if left_out else ''
    return outcome({'surfaces': surfaces}, message)


def run(crystal: Atoms, evaluator: Evaluator, parameters: Surfaces) -> SurfacesResult:
    """Relax and analyse: see :func:`plan` and :func:`analyse`."""
    return analyse(crystal, evaluator.relax(plan(crystal, parameters), force=MAX_FORCE, steps=MAX_STEPS), parameters)


def plan_cells(crystal: Atoms, parameters: Surfaces) -> list[Atoms]:
    """Return the slabs of :func:`plan`, each followed by the crystal in a cell with the same lattice in the plane.

    With the same k-points along the plane the errors of these cancel, those of a primitive cell would not.
    """
    crystals: list[Atoms] = []
    slabs = plan(crystal, parameters, crystals)
    return [frame for pair in zip(slabs, crystals, strict=True) for frame in pair]


def relax_cells(crystal: Atoms, evaluator: Evaluator, parameters: Surfaces) -> list[Atoms]:
    """Return the frames of :func:`plan_cells`, the slabs relaxed; the crystal is where the potential has it."""
    planned = plan_cells(crystal, parameters)
    slabs = evaluator.relax(planned[::2], force=MAX_FORCE, steps=MAX_STEPS)
    return [frame for pair in zip(slabs, evaluator.evaluate(planned[1::2]), strict=True) for frame in pair]


def analyse_cells(labelled: list[Atoms], parameters: Surfaces) -> SurfacesResult:
    """Return what :func:`analyse` says of the frames of :func:`relax_cells`."""
    return analyse(labelled[1::2], labelled[::2], parameters)


def meshes_of_cells(cells: list[Atoms], distance: float) -> list[Mesh]:
    """Return the k-points of the frames of :func:`plan_cells`: along the plane the same for slab and crystal."""
    meshes: list[Mesh] = []
    for slab, whole in zip(cells[::2], cells[1::2], strict=True):
        first, second, _ = kpoints_mesh(slab, distance)
        third = mesh_numbers(2 * np.pi * np.linalg.inv(whole.cell.array).T, distance)[2]
        meshes += [(first, second, 1), (first, second, third)]
    return meshes


def _period(stack: Stack) -> Atoms:
    """Return the crystal of a stack in a cell of three lattice vectors, two of which are those of the stack."""
    number = len(stack.atoms) * stack.period // len(stack.planes)
    positions = stack.atoms.positions
    # the stack is made of equal periods, one after the other
    found = Atoms(
        stack.atoms.numbers[:number], positions[:number], pbc=True,
        cell=[*stack.atoms.cell.array[:2], positions[number] - positions[0]],
    )  # fmt: skip
    found.info['property'] = 'surfaces'
    return found


def _usual(miller: Miller, bulk: Crystal) -> list[int]:
    """Return the indices by which a plane goes: (100) for (001) of a cubic crystal, four of a hexagonal one."""
    h, k, l = sorted(miller, reverse=True) if bulk.space_group >= FIRST_CUBIC_GROUP else miller  # noqa: E741
    return [h, k, -h - k, l] if bulk.hexagonal else [h, k, l]


def _cut(ranked: Stack, parameters: Surfaces) -> tuple[Stack, Termination] | None:
    """Return the pile of planes and where it is cut: of the crystal's composition, and breaking the fewest bonds."""
    layers = ceil(parameters.thickness / ranked.spacing) + 1
    stack = stack_planes(ranked.crystal, ranked.miller, layers)
    usable = [option for option in proposed(terminations(stack, layers), stack) if option.stoichiometric]
    return (stack, usable[0]) if usable else None
