"""Stacking faults of fcc and hcp elements: one half of a slab slips over the other along a close-packed plane.

The planes (111) or (0001) are cut by :mod:`~....crystals.slabs`; the upper half of a slab is displaced along the
shortest vector that brings it back to close-packed sites, by 0 to 1 of it, and the slab relaxes along the normal only.
Its surfaces cancel:

.. math:: \\gamma(u) = (E(u) - E(0)) / A

The end of the path is the intrinsic fault (of hcp the one that slip makes, I2), the highest point the unstable one. Of
copper and aluminium (EAM) slabs of 8 to 20 planes give the same within 0.2 mJ/m², and a path of ten points the same
barrier within 0.2 %.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCartesian

from ....crystals.slabs import Crystal, as_crystal, make_slab, stack_planes, terminations, with_vacuum
from ....variants import NotApplicableError
from ...defects import MAX_STEPS, energies, outcome, require_crystal
from ...evaluator import Evaluator
from . import StackingFault, StackingFaultResult

#: mJ/m² of 1 eV/Å².
MILLIJOULE = 1e23 / units.J
#: eV/Å at which relaxations end: 1 mJ/m² of aluminium are 4e-4 eV in a cell.
MAX_FORCE = 1e-3
#: Parts of the way at which the slab is relaxed: the start, where the highest point may be, the end.
PATH = (0.0, 0.4, 0.5, 0.6, 0.7, 1.0)
#: Space groups of the close-packed crystals.
FCC = 225
HCP = 194
#: Space group -> atoms in the primitive cell, kind of the fault, close-packed plane and its name.
FAULTS = {FCC: (1, 'fcc intrinsic', (1, 1, 1), '(111)'), HCP: (2, 'hcp I2', (0, 0, 1), '(0001)')}
#: c/a of crystals whose basal plane is close-packed enough: Be 1.57 to Cd 1.89; graphite and the like are not.
CLOSE_PACKED_RATIOS = (1.4, 2.0)


def plan(crystal: Atoms, parameters: StackingFault) -> list[Atoms]:
    """Return the slab slipped by the parts `PATH` of the way, or its ends, to be relaxed along z, the constraint set.

    Their info has `kind`, `plane`, `slip` (part of the way) and `area` (Å²).

    :raises NotApplicableError: for what is no fcc or hcp element.
    """
    require_crystal(crystal, 'stacking_fault')
    bare = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    bulk = as_crystal(bare, 'crystal', 'stacking_fault')
    kind, miller, plane = _close_packed(bulk)
    stack = stack_planes(bulk, miller, parameters.layers)
    slab = make_slab(stack, terminations(stack, parameters.layers)[0])
    slab = with_vacuum(slab, parameters.vacuum)
    slab = slab[np.argsort(slab.positions[:, 2])]
    half = len(slab) // 2
    shift = _shortest(slab.positions[half, :2] - slab.positions[half - 1, :2], stack.vectors)
    frames = []
    for slip in PATH if parameters.path else (PATH[0], PATH[-1]):
        frame = slab.copy()
        frame.positions[half:, :2] += slip * shift
        frame.set_constraint(FixCartesian(range(len(frame)), mask=(True, True, False)))
        frame.info |= {'property': 'stacking_fault', 'kind': kind, 'plane': plane, 'slip': slip, 'area': stack.area}
        frames.append(frame)
    return frames


def analyse(crystal: Atoms, relaxed: list[Atoms], parameters: StackingFault) -> StackingFaultResult:
    """Return `kind`, `plane`, `intrinsic`, `unstable` (mJ/m²; None without a barrier), `path`: slips and energies.

    :param relaxed: the frames of :func:`plan`, relaxed.
    :raises ValueError: if one did not relax.
    """
    _, after = energies(relaxed, 'stacking_fault')
    info = relaxed[0].info
    curve = (after - after[0]) / info['area'] * MILLIJOULE
    slips = [frame.info['slip'] for frame in relaxed]
    found = {
        'kind': info['kind'],
        'plane': info['plane'],
        'intrinsic': float(curve[-1]),
        'unstable': _maximum(np.array(slips), curve),
        'n_atoms': len(relaxed[0]),
        'path': {'slips': slips, 'energies': curve.tolist()},
    }
    return outcome(found)


def run(crystal: Atoms, evaluator: Evaluator, parameters: StackingFault) -> StackingFaultResult:
    """Relax and analyse: see :func:`relax` and :func:`analyse`."""
    return analyse(crystal, relax(crystal, evaluator, parameters), parameters)


def relax(crystal: Atoms, evaluator: Evaluator, parameters: StackingFault) -> list[Atoms]:
    """Return the frames of :func:`plan` relaxed."""
    return evaluator.relax(plan(crystal, parameters), force=MAX_FORCE, steps=MAX_STEPS)


def _close_packed(bulk: Crystal) -> tuple[str, tuple[int, int, int], str]:
    atoms, kind, miller, plane = FAULTS.get(bulk.space_group, (0, '', (0, 0, 0), ''))
    lengths = bulk.conventional.cell.lengths()
    if len(bulk.primitive) != atoms or (
        bulk.space_group == HCP and not CLOSE_PACKED_RATIOS[0] < lengths[2] / lengths[0] < CLOSE_PACKED_RATIOS[1]
    ):
        raise NotApplicableError(
            f'stacking_fault: {bulk.label} is neither fcc nor hcp with one kind of close-packed planes: only of these '
            'stacking faults are looked at'
        )
    return kind, miller, plane


def _shortest(vector: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Return the shortest vector that differs from a given one by a lattice vector, in the plane."""
    images = np.array([[i, j] for i in range(-2, 3) for j in range(-2, 3)]) @ lattice + vector
    return images[np.argmin(np.round(np.linalg.norm(images, axis=1), 6))]


def _maximum(slips: np.ndarray, curve: np.ndarray) -> float | None:
    """Return the height of the barrier: of the parabola through its three highest points; None if there is none."""
    top = int(np.argmax(curve))
    if not 0 < top < len(curve) - 1:
        return None
    a, b, c = np.polyfit(slips[top - 1 : top + 2], curve[top - 1 : top + 2], 2)
    return float(c - b**2 / (4 * a))
