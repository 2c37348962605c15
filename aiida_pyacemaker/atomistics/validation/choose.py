"""Which crystals are judged: those that matter most, of the structures that were labelled."""

from __future__ import annotations

from typing import Any

import spglib
from ase import Atoms

from ..checks.fingerprint import reduced_composition
from ..core.frame import labels
from ..core.symmetry import call_spglib

#: What keeps a structure ideal.
IDEAL = ('pristine', 'eos', 'as given', 'start')
#: Phases without a crystal's order.
DISORDERED = ('random', 'amorphous')
#: Å within which atoms are at equivalent places.
TOLERANCE = 1e-2
#: Atoms of a crystal at most.
MAX_ATOMS = 64
#: How many crystals are looked at where only elements are known.
MAX_CRYSTALS = 3


def choose_crystals(frames: list[Atoms], number: int) -> list[Atoms]:
    """Return the crystals to judge, one of each phase: the user's own first, then those of lowest energy.

    Of each composition the crystal of lowest energy comes before the second of any, and compounds of more elements
    before those of fewer.

    :param frames: labelled or unlabelled structures, of which the ideal ones count, with info `operation`, `family` and
        `phase`; with labels, the best point of a volume scan stands for its phase.
    :param number: crystals at most.
    :returns: bare crystals; info `must_be_stable`: whether it is the user's own, or the lowest in energy of its
        composition.
    """
    best: dict[tuple, tuple[float, Atoms]] = {}
    for atoms in frames:
        if is_crystal(atoms):
            energy = labels(atoms).get('energy')
            energy = float('inf') if energy is None else energy / len(atoms)
            key = (atoms.info.get('family'), atoms.info.get('phase'), reduced_composition(atoms))
            if key not in best or energy < best[key][0]:
                best[key] = (energy, atoms)
    seen: dict[Any, int] = {}
    ranked = []
    for order, (key, (_, atoms)) in enumerate(sorted(best.items(), key=lambda item: item[1][0])):
        rank = seen[key[2]] = seen.get(key[2], -1) + 1
        own = key[0] == 'user'
        ranked.append(((not own, rank, -len(set(atoms.numbers)), order), own or rank == 0, atoms))
    ranked.sort(key=lambda entry: entry[0])
    return [bare(atoms, stable) for _, stable, atoms in ranked[:number]]


def is_crystal(atoms: Atoms) -> bool:
    """Return whether a structure is ideal, ordered, and small enough to be looked at."""
    info = atoms.info
    if info.get('operation') not in IDEAL or not atoms.pbc.any() or len(atoms) > MAX_ATOMS:
        return False
    occupation = (info.get('parameters') or {}).get('occupation')
    if info.get('phase') in DISORDERED or occupation == 'random':
        return False
    return info.get('family') != 'user' or has_symmetry(atoms)


def has_symmetry(atoms: Atoms) -> bool:
    """Return whether there is more than the identity: a frame of somebody's trajectory is no crystal."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = call_spglib(spglib.get_symmetry_dataset, cell, symprec=TOLERANCE)
    return found is not None and found.number > 1


def bare(atoms: Atoms, stable: bool) -> Atoms:
    """Return a structure without labels, and of its info what names it."""
    crystal = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    kept = {key: atoms.info[key] for key in ('family', 'phase', 'vacuum_axes') if key in atoms.info}
    crystal.info = {**kept, 'must_be_stable': stable}
    return crystal


def simple_crystals(elements: list[str]) -> list[Atoms]:
    """Return the ground state of an element, or the most plausible crystals of several, for want of any given."""
    from ..crystals.elements import ground_state
    from ..generators.generate import generate
    from ..generators.plan import Structures
    from ..variants import OPERATIONS

    if len(elements) == 1:
        atoms = ground_state(elements[0])
        atoms.info['must_be_stable'] = True
        return [atoms]
    off = {name: {'number': 0} for name in (*OPERATIONS, 'dimer', 'trimer') if name != 'pristine'}
    return choose_crystals(generate(elements, Structures(**off), seed=0).frames, MAX_CRYSTALS)
