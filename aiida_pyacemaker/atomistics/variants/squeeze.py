"""Two atoms pushed together inside a crystal: short distances as simulations meet them, sooner or later."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from ..checks.overlap import covalent_distance
from ..core.parameters import Count, Section, parameter
from .common import DISPLACEMENT, NotApplicableError, record, require_solid
from .supercell import supercell

#: Å within which the partner of an atom is looked for: more than any crystal needs.
PARTNER_CUTOFF = 8.0
#: No two atoms come closer than this part of the sum of their covalent radii: `structures.checks` would refuse them.
MIN_CONTACT_RATIO = 0.72


class Squeeze(Section):
    """Cells in which two atoms are closer than they ever are in the crystal.

    A fit says nothing of distances that no data show, and a hole there swallows atoms: the pair of a hot liquid that
    comes too close once is lost. A few such cells keep them apart.
    """

    number: Count = parameter('Cells with a squeezed pair per phase.', default=0, ge=0)
    closest: float = parameter('Smallest distance, as a fraction of that before.', default=0.65, gt=0.0, lt=1.0)
    farthest: float = parameter('Largest distance, as a fraction of that before.', default=0.86, gt=0.0, lt=1.0)
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=16, ge=2)


def squeeze(parent: Atoms, parameters: Squeeze, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a supercell in which an atom and the nearest one of a kind are pushed towards each other.

    Kinds of pairs come in turn, and so do distances, from the smallest to the largest.

    :raises NotApplicableError: for molecules, or where no two atoms are near each other.
    """
    require_solid(parent, 'squeeze')
    atoms = supercell(parent, parameters.atoms)
    atoms.positions += rng.normal(0.0, DISPLACEMENT, atoms.positions.shape)
    pairs = nearest_pairs(atoms)
    if not pairs:
        raise NotApplicableError(f'structures.squeeze: {parent.info.get("phase", "the parent")} has no two atoms near')
    kind = sorted(pairs)[index % len(pairs)]
    turn = index // len(pairs)
    turns = max(2, -(-total // len(pairs)))
    chosen = pairs[kind][rng.integers(len(pairs[kind]))]
    before = float(np.linalg.norm(chosen[2]))
    smallest = max(parameters.closest * before, MIN_CONTACT_RATIO * covalent_distance(kind))
    distance = float(np.linspace(smallest, max(parameters.farthest * before, smallest), turns)[turn % turns])
    _push(atoms, *chosen, distance)
    own = {'pair': '-'.join(kind), 'distance': round(distance, 4)}
    return record(atoms, parent, 'squeeze', own)


def closer(parent: Atoms, pair: tuple[str, str], distance: float, rng: np.random.Generator) -> Atoms:
    """Return a disturbed copy in which an atom and the nearest one of a kind are so far (Å) apart.

    :param pair: their elements.
    :raises NotApplicableError: if there is no such pair.
    """
    atoms = parent.copy()
    atoms.positions += rng.normal(0.0, DISPLACEMENT, atoms.positions.shape)
    found = nearest_pairs(atoms).get((min(pair), max(pair)))
    if not found:
        raise NotApplicableError(f'{parent.info.get("phase", "the parent")} has no {"-".join(pair)} near each other')
    _push(atoms, *found[rng.integers(len(found))], distance)
    return record(atoms, parent, 'squeeze', {'pair': '-'.join(sorted(pair)), 'distance': round(float(distance), 4)})


def _push(atoms: Atoms, first: int, second: int, vector: np.ndarray, distance: float) -> None:
    """Move two atoms, `vector` (Å) apart, along it until they are at a distance (Å), in place."""
    share = 0.5 * (1 - distance / float(np.linalg.norm(vector)))
    atoms.positions[first] += share * vector
    atoms.positions[second] -= share * vector


def nearest_pairs(atoms: Atoms) -> dict[tuple[str, str], list[tuple[int, int, np.ndarray]]]:
    """Each atom with the nearest other one of each element, and the vector (Å) to it, by kind of pair."""
    first, second, vectors, distances = neighbor_list('ijDd', atoms, PARTNER_CUTOFF)
    symbols = np.array(atoms.get_chemical_symbols())
    found: dict[tuple[str, str], list[tuple[int, int, np.ndarray]]] = {}
    for kind in combinations_with_replacement(sorted(set(symbols)), 2):
        for index in np.flatnonzero(symbols == kind[0]):
            near = np.flatnonzero((first == index) & (second != index) & (symbols[second] == kind[1]))
            if len(near):
                best = near[distances[near].argmin()]
                found.setdefault(kind, []).append((int(index), int(second[best]), vectors[best]))
    return found
