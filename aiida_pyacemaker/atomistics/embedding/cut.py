"""The atoms in a box as a periodic cell, and what must be mended where it closes on itself."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import NotRequired, TypedDict

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from ..checks.charge import OXIDATION_STATES, TOLERANCE
from .box import Box, weights
from .environments import Region

#: Arrays of a cut cell: row of the atom in the region (-1: merged), and what an atom is.
ROW = 'region_row'
ROLE = 'embedding_role'
CORE = 2
SHELL = 1
BOUNDARY = 0
#: Pairs closer than this times the shortest distance of the pair in the parent are one atom twice; up to the second
#: they clash: one goes if there are too many atoms, else they are pushed apart.
SAME_ATOM_RATIO = 0.5
CLASH_RATIO = 0.8
#: Atoms are put into voids if they are no closer than this times that distance; if atoms are missing, the second.
VOID_RATIO = 0.9
TIGHT_VOID_RATIO = 0.75
#: Turns of pushing, Å from the faces within which atoms are pushed, and from the core within which they are not.
PUSH_TURNS = 30
PUSH_DEPTH = 1.5
NEIGHBOUR = 3.0
#: Å beyond the faces from which voids are filled.
FILL_DEPTH = 1.5
#: Å around the core in which no atom is moved, merged or removed.
SHELL_WIDTH = 2.0
#: Ions removed at most to balance the charge.
MAX_REMOVED = 8


class UnbalancedError(ValueError):
    """The charge of a cut cell cannot be balanced."""


class Mended(TypedDict):
    """Numbers of atoms that were merged, removed, filled in, and removed to balance the charge; the charge of ions."""

    merged: int
    removed: int
    filled: int
    removed_for_charge: int
    charge: NotRequired[float]


def cut(region: Region, box: Box, core_radius: float, states: np.ndarray | None = None) -> Atoms:
    """Return the atoms of a region (seen along the axes of the box) inside a box as a periodic cell.

    :param states: oxidation states of the atoms of the region.
    :returns: with arrays `region_row` and `embedding_role`, and info `embedding_centre`.
    """
    inside = box.contains(region.positions)
    cell = Atoms(region.numbers[inside], region.positions[inside] - box.low, cell=box.edges, pbc=True)
    cell.set_array(ROW, np.flatnonzero(inside))
    distance = np.linalg.norm(region.positions[inside], axis=1)
    role = np.where(distance <= core_radius, CORE, np.where(distance <= core_radius + SHELL_WIDTH, SHELL, BOUNDARY))
    cell.set_array(ROLE, role.astype(int))
    if states is not None:
        cell.set_array(OXIDATION_STATES, states[inside].astype(float))
    cell.info['embedding_centre'] = (-box.low).tolist()
    return cell


def mend(
    cell: Atoms,
    region: Region,
    box: Box,
    core_radius: float,
    *,
    max_atoms: int | None = None,
    density: float | None = None,
    states: np.ndarray | None = None,
) -> tuple[Atoms, Mended]:
    """Merge or remove clashing atoms, fill voids, push apart what is still too close, and balance the charge.

    :param cell: what `cut` gave. :param region: the same.
    :param density: of the parent (atoms/Å³): as many atoms are aimed at; None where vacuum lies in the box.
    :param states: oxidation states of the region.
    :returns: the cell and a report: numbers `merged`, `removed`, `filled`, `removed_for_charge`, and `charge`.
    :raises UnbalancedError: if the charge cannot be balanced.
    """
    shortest = shortest_pairs(region)
    share = {int(z): float((region.numbers == z).mean()) for z in np.unique(region.numbers)}
    target = None if density is None else round(density * float(np.prod(box.edges)))
    cell, merged, removed = _without_clashes(cell, shortest, share, core_radius, target)
    most = len(region.index) if max_atoms is None else max_atoms
    cell, filled = _fill(cell, region, box, shortest, states, min(most, target or most), VOID_RATIO)
    if target is not None:
        cell, more = _fill(cell, region, box, shortest, states, min(most, target), TIGHT_VOID_RATIO)
        filled += more
    cell = push(cell, shortest, core_radius)
    report: Mended = {'merged': merged, 'removed': removed, 'filled': filled, 'removed_for_charge': 0}
    if states is not None:
        cell, report['removed_for_charge'] = balance(cell)
        report['charge'] = float(cell.arrays[OXIDATION_STATES].sum())
    return cell, report


def shortest_pairs(region: Region) -> dict[tuple[int, int], float]:
    """Shortest distance (Å) of every pair of species in a region, the closest 0.5 % left out."""
    first, second = region.tree.query_pairs(4.5, output_type='ndarray').T
    distance = np.linalg.norm(region.positions[first] - region.positions[second], axis=1)
    pair = np.sort(np.column_stack([region.numbers[first], region.numbers[second]]), axis=1)
    found = {}
    for one, two in combinations_with_replacement(np.unique(region.numbers).tolist(), 2):
        mine = distance[(pair == (one, two)).all(axis=1)]
        found[one, two] = found[two, one] = float(np.quantile(mine, 0.005)) if len(mine) else 4.5
    return found


def _pairs(cell: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of atoms of an orthorhombic cell closer than a cutoff, and the vectors from first to second."""
    edges = cell.cell.lengths()
    first, second = cKDTree(cell.positions % edges % edges, boxsize=edges).query_pairs(cutoff, output_type='ndarray').T
    vector = cell.positions[second] - cell.positions[first]
    return first, second, vector - edges * np.rint(vector / edges)


def _limits(numbers: np.ndarray, first: np.ndarray, second: np.ndarray, shortest: dict) -> np.ndarray:
    return np.array([shortest[int(numbers[i]), int(numbers[j])] for i, j in zip(first, second, strict=True)])


def _without_clashes(
    cell: Atoms,
    shortest: dict[tuple[int, int], float],
    share: dict[int, float],
    core_radius: float,
    target: int | None,
) -> tuple[Atoms, int, int]:
    """Merge clashing atoms of one species to their mean, by influence; remove one of two different ones."""
    merged = removed = 0
    while True:
        first, second, vector = _pairs(cell, CLASH_RATIO * max(shortest.values()))
        numbers, role = cell.numbers, cell.arrays[ROLE]
        ratio = np.linalg.norm(vector, axis=1) / _limits(numbers, first, second, shortest)
        limit = CLASH_RATIO if target is None or len(cell) > target else SAME_ATOM_RATIO
        ratio[(np.minimum(role[first], role[second]) != BOUNDARY) | (ratio >= limit)] = np.inf
        if not np.isfinite(ratio.min(initial=np.inf)):
            return cell, merged, removed
        worst = int(ratio.argmin())
        i, j = int(first[worst]), int(second[worst])
        if role[i] == role[j] and numbers[i] == numbers[j]:
            own, other = weights(cell.positions[[i, j]] - cell.info['embedding_centre'], core_radius) ** 2
            cell.positions[i] += vector[worst] * other / (own + other)
            cell.arrays[ROW][i] = -1
            del cell[j]
            merged += 1
            continue
        if role[i] != role[j]:
            drop = i if role[i] < role[j] else j
        else:  # of two species the one of which the cell has more than its share
            excess = [(numbers == numbers[k]).mean() - share[int(numbers[k])] for k in (i, j)]
            drop = i if excess[0] >= excess[1] else j
        del cell[drop]
        removed += 1


def _fill(
    cell: Atoms,
    region: Region,
    box: Box,
    shortest: dict[tuple[int, int], float],
    states: np.ndarray | None,
    most: int,
    ratio: float,
) -> tuple[Atoms, int]:
    """Put atoms from just beyond the faces into voids of the boundary, nearest first, until there are `most`."""
    beyond = np.maximum(box.low - region.positions, region.positions - box.low - box.edges)
    near = (
        (beyond.max(axis=1) <= FILL_DEPTH) & ~box.contains(region.positions) & ~(beyond[:, box.vacuum] > 0).any(axis=1)
    )
    rows = np.flatnonzero(near)
    filled = 0
    for row in rows[np.argsort(beyond[rows].max(axis=1))]:
        if len(cell) >= most:
            break
        point, number = (region.positions[row] - box.low) % box.edges, int(region.numbers[row])
        # worth it where the atom is missed more than it disturbs on the other side, or atoms are missing
        if ratio == VOID_RATIO and np.linalg.norm(region.positions[row]) > np.linalg.norm(point + box.low):
            continue
        vector = cell.positions - point
        distance = np.linalg.norm(vector - box.edges * np.rint(vector / box.edges), axis=1)
        if (distance < ratio * np.array([shortest[number, int(other)] for other in cell.numbers])).any():
            continue
        extra = Atoms([number], [point])
        extra.set_array(ROW, np.array([row]))
        extra.set_array(ROLE, np.array([BOUNDARY]))
        if states is not None:
            extra.set_array(OXIDATION_STATES, states[row : row + 1].astype(float))
        cell.extend(extra)
        filled += 1
    return cell, filled


def push(cell: Atoms, shortest: dict[tuple[int, int], float], core_radius: float) -> Atoms:
    """Push atoms near the faces apart that are neighbours only across a face, and closer than in the parent.

    Of two the one with less influence on the core gives way.
    """
    edges = cell.cell.lengths()
    inside = cell.positions % edges
    from_centre = cell.positions - cell.info['embedding_centre']
    influence = weights(from_centre, core_radius) ** 4
    free = (np.linalg.norm(from_centre, axis=1) > core_radius + NEIGHBOUR) & (
        np.minimum(inside, edges - inside).min(axis=1) < PUSH_DEPTH
    )
    for _ in range(PUSH_TURNS):
        first, second, vector = _pairs(cell, CLASH_RATIO * max(shortest.values()))
        across = np.abs(cell.positions[second] - cell.positions[first] - vector).max(axis=1, initial=0.0) > 1e-6
        distance = np.linalg.norm(vector, axis=1)
        lacking = CLASH_RATIO * _limits(cell.numbers, first, second, shortest) - distance
        close = across & (lacking > 0.01) & (free[first] | free[second])
        if not close.any():
            break
        first, second = first[close], second[close]
        step = vector[close] * (lacking[close] / np.maximum(distance[close], 0.1))[:, None]
        share = influence[second] / (influence[first] + influence[second])
        share = np.where(free[first], np.where(free[second], share, 1.0), 0.0)[:, None]
        np.add.at(cell.positions, first, -share * step)
        np.add.at(cell.positions, second, (1 - share) * step)
    return cell


def balance(cell: Atoms) -> tuple[Atoms, int]:
    """Remove as few ions of the boundary, those farthest from the core first, as make the cell neutral.

    :returns: the cell and how many were removed.
    :raises UnbalancedError: if no few ions do.
    """
    states = cell.arrays[OXIDATION_STATES]
    charge = float(states.sum())
    if abs(charge) < TOLERANCE:
        return cell, 0
    free = np.flatnonzero(cell.arrays[ROLE] == BOUNDARY)
    edges = cell.cell.lengths()
    vector = cell.positions[free] - np.array(cell.info['embedding_centre'])
    distance = np.linalg.norm(vector - edges * np.rint(vector / edges), axis=1)
    queues = {
        state: free[np.round(states[free], 3) == state][np.argsort(-distance[np.round(states[free], 3) == state])]
        for state in np.unique(np.round(states[free], 3)) if state != 0
    }  # fmt: skip
    limits = [range(min(len(queue), MAX_REMOVED) + 1) for queue in queues.values()]
    found = [
        numbers for numbers in product(*limits)
        if abs(sum(n * q for n, q in zip(numbers, queues, strict=True)) - charge) < TOLERANCE
        and sum(numbers) <= MAX_REMOVED
    ]  # fmt: skip
    if not found:
        raise UnbalancedError(
            f'the cut cell {cell.get_chemical_formula()} has the charge {charge:+.2f}, which the removal of up to '
            f'{MAX_REMOVED} boundary ions does not balance: raise embed.max_atoms or embed.buffer'
        )
    numbers = min(found, key=sum)
    gone = np.concatenate([queue[:n] for n, queue in zip(numbers, queues.values(), strict=True)]).astype(int)
    del cell[gone.tolist()]
    return cell, len(gone)
