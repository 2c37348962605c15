"""What ACE has to give: the labels, less the free atoms and the baseline."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ..ace.store import Evaluation
from ..core.frame import (
    energy_counts,
    forces_count,
    get_energy_weight,
    get_force_weights,
    get_trajectory,
    get_weight,
    group_name,
    labels,
)
from .equations import Target


def make_targets(frames: list[Atoms], references: dict[str, float], baseline: list[Evaluation]) -> list[Target]:
    """Return the targets of labelled frames.

    What does not count is absent or zero, whatever the label is: nobody after this sees it. `info['weight']` multiplies
    all rows, `info['energy_weight']` those of energy and stress, `arrays['force_weights']` those of the forces of each
    atom; all are 1 where they are not there.

    :param references: energy of the free atoms (eV). :param baseline: energy (eV), forces (eV/Å), stress (eV/Å³).
    :raises ValueError: if a weight is negative or not finite.
    """
    pairs = enumerate(zip(frames, baseline, strict=True))
    return [make_target(atoms, references, given, f'configuration {index}') for index, (atoms, given) in pairs]


def make_target(atoms: Atoms, references: dict[str, float], baseline: Evaluation, name: str) -> Target:
    """Return the target of one frame, which has a `name` of its own; see :func:`make_targets`."""
    whole, forces = get_weights(atoms)
    found, (energy, push, stress) = labels(atoms), baseline
    target = Target(None, None, None, whole, forces, whole, group_name(atoms), get_trajectory(atoms) or name)
    if energy_counts(atoms):
        free = sum(references[symbol] for symbol in atoms.get_chemical_symbols())
        target.energy = float(found['energy']) - free - energy
        if 'stress' in found and atoms.pbc.all():
            target.stress = np.asarray(found['stress'], dtype=float) - stress
    counting = forces_count(atoms)[:, None]
    target.forces = np.where(counting, np.asarray(found['forces'], dtype=float) - push, 0.0)
    return target


def get_weights(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Return the weight of the energy and stress rows of a frame, and those of the forces (n_atoms,).

    :raises ValueError: if a weight is negative or not finite.
    """
    whole = get_energy_weight(atoms)
    forces = get_weight(atoms) * get_force_weights(atoms)
    if not np.isfinite(whole) or whole < 0 or not np.all(np.isfinite(forces)) or np.any(forces < 0):
        raise ValueError(f'{atoms.get_chemical_formula()} has a negative or NaN weight: weights are 0 or positive')
    return whole, forces
