"""Strained cells: volume scan, full strain tensors, pure shear. In the plane only where there is vacuum."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ..core.parameters import Count, Section, parameter
from .common import allowed_strain, periodic_axes, random_strain, record, require_periodic, strain_in_place

#: What a volume scan changes, by the number of directions without vacuum.
CHANGES = {1: 'length_change', 2: 'area_change', 3: 'volume_change'}


class Eos(Section):
    """Isotropic volume scan; of slabs and layers the isotropic scan of their area."""

    number: Count = parameter('Structures of the scan per phase.', default=9, ge=0)
    range: float = parameter('Largest change of the volume, as a fraction: ±.', default=0.10, ge=0.0, le=0.5)


class Strain(Section):
    """Random homogeneous strain, all six components."""

    number: Count = parameter('Strained structures per phase.', default=8, ge=0)
    amplitude: float = parameter('Largest component of the strain: ±.', default=0.05, ge=0.0, le=0.2)


class Shear(Section):
    """Random pure shear: the angles change, the volume to first order not; of slabs and layers in the plane."""

    number: Count = parameter('Sheared structures per phase.', default=4, ge=0)
    amplitude: float = parameter('Largest component of the strain: ±.', default=0.05, ge=0.0, le=0.2)


def eos(parent: Atoms, parameters: Eos, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return one point of the scan, V = V0 (1 + x), x evenly within ± range; beyond `total` at random.

    Lengths change by (1 + x)^(1/3), in the directions without vacuum.

    :raises NotApplicableError: for a molecule in a box.
    """
    require_periodic(parent, 'eos')
    width = parameters.range
    if index < total:
        change = float(np.linspace(-width, width, total)[index]) if total > 1 else 0.0
    else:
        change = float(rng.uniform(-width, width))
    length = (1 + change) ** (1 / 3)
    dimensions = len(periodic_axes(parent))
    # what is recorded is what happens to a slab or a wire
    own = {CHANGES[dimensions]: change if dimensions == 3 else round(length**dimensions - 1, 6)}
    return _strained(parent, np.eye(3) * (length - 1), 'eos', own)


def strain(parent: Atoms, parameters: Strain, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return the parent under a random symmetric strain, shear included.

    :raises NotApplicableError: for a molecule in a box.
    """
    require_periodic(parent, 'strain')
    return _strained(parent, random_strain(rng, parameters.amplitude), 'strain')


def shear(parent: Atoms, parameters: Shear, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return the parent under a random symmetric strain without diagonal.

    :raises NotApplicableError: for a molecule in a box, or a wire, which has one direction only.
    """
    require_periodic(parent, 'shear')
    tensor = random_strain(rng, parameters.amplitude)
    if len(periodic_axes(parent)) == 2:
        # only one of the three off-diagonal components lies in the plane: the other shear of a plane stretches one of
        # its directions by what the other one shrinks
        plane = allowed_strain(parent, np.eye(3))
        tensor = allowed_strain(parent, tensor)
        return _strained(parent, tensor - np.trace(tensor) / 2 * plane, 'shear')
    return _strained(parent, tensor - np.diag(np.diag(tensor)), 'shear')


def _strained(parent: Atoms, tensor: np.ndarray, operation: str, own: dict | None = None) -> Atoms:
    atoms = parent.copy()
    strain_in_place(atoms, tensor)
    if own is None:
        applied = allowed_strain(parent, tensor)
        own = {'strain': [round(float(component), 6) for component in applied[np.triu_indices(3)]]}
    return record(atoms, parent, operation, own)
