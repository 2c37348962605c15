"""What the properties of relaxed defects (vacancies, surfaces, stacking faults) have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from ..checks.pairs import periodic_pairs
from ..checks.vacuum import Vacuum, ball_radii, detect_vacuum
from ..core.frame import labels
from ..variants import NotApplicableError
from ..variants.common import family_of

#: eV/Å at which relaxations end. What is left of the energy is second order in the force: with a force constant of
#: 5 eV/Å² it is 3e-6 eV for an atom, 3e-4 eV for a hundred.
MAX_FORCE = 5e-3
#: Largest number of steps of a relaxation.
MAX_STEPS = 300
#: Å between covalent balls: atoms farther apart are not bonded. Lead, whose atoms touch least of all metals, has 0.6 Å,
#: iodine 0.7 Å from molecule to molecule.
BOND = 0.7


def require_crystal(crystal: Atoms, what: str) -> Vacuum:
    """Return what free space there is in a crystal.

    :param what: the property, for the message.
    :raises NotApplicableError: for a molecule, or a crystal that is made of molecules.
    """
    space = detect_vacuum(crystal)
    if space.kind == 'cluster':
        raise NotApplicableError(f'{what}: {crystal.get_chemical_formula()} is a molecule, not a crystal')
    family = family_of(crystal)
    if (family is not None and not family.is_solid) or _has_molecules(crystal):
        raise NotApplicableError(f'{what}: {crystal.get_chemical_formula()} is made of molecules, not of atoms or ions')
    return space


def _has_molecules(crystal: Atoms) -> bool:
    """Return whether bonds hold the atoms together in finite groups of more than one (a noble gas has none)."""
    if detect_vacuum(crystal, gap=BOND).kind != 'cluster':
        return False
    radii = ball_radii(crystal.numbers)
    first, second, _, distances = periodic_pairs(
        crystal.positions, crystal.cell.array, crystal.pbc, 2 * radii.max() + BOND
    )
    return bool((distances < radii[first] + radii[second] + BOND).any())


def energies(relaxed: list[Atoms], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies (eV) before and after the relaxation.

    :raises ValueError: if a configuration did not relax, or its energy is no number.
    """
    before = np.array([float(atoms.info['unrelaxed_energy']) for atoms in relaxed])
    after = np.array([float(labels(atoms)['energy']) for atoms in relaxed])
    lost = [k for k, atoms in enumerate(relaxed) if not atoms.info['relaxed'] or not np.isfinite(after[k])]
    if lost:
        raise ValueError(
            f'{what}: {relaxed[lost[0]].get_chemical_formula()} does not relax in {MAX_STEPS} steps: the potential '
            'does not hold the defect together; add such structures to its data'
        )
    return before, after


def outcome(found: dict[str, Any], message: str = '') -> dict[str, Any]:
    """Return the section of a property that was found."""
    return {'status': 'ok', 'message': message, **found}
