"""The atoms in a box as a periodic cell, and what must be mended where it closes on itself."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from ..checks.charge import OXIDATION_STATES, TOLERANCE
from .box import Box
from .environments import Region

#: Arrays of a cut cell: index of the atom in the parent (-1: merged), and what an atom is.
PARENT_INDEX, ROLE = 'parent_index', 'embedding_role'
CORE, SHELL, BOUNDARY = 2, 1, 0
#: Pairs closer than this times the shortest distance of the pair in the parent clash; atoms are put into voids if they
#: are no closer than the second to all others.
CLASH, VOID = 0.8, 0.9
#: Å beyond the faces from which voids are filled.
FILL = 1.5
#: Å around the core in which no atom is moved, merged or removed.
SHELL_WIDTH = 2.0
#: Ions removed at most to balance the charge.
MOST_REMOVED = 8


def cut(region: Region, box: Box, core_radius: float, states: np.ndarray | None = None) -> Atoms:
    """Return the atoms of a region (seen along the axes of the box) inside a box as a periodic cell.

    :param states: oxidation states of the atoms of the region.
    :returns: with arrays `parent_index` and `embedding_role`, and info `embedding_centre`.
    """
    inside = box.contains(region.positions)
    cell = Atoms(region.numbers[inside], region.positions[inside] - box.low, cell=box.edges, pbc=True)
    cell.set_array(PARENT_INDEX, region.index[inside].astype(int))
    distance = np.linalg.norm(region.positions[inside], axis=1)
    role = np.where(distance <= core_radius, CORE, np.where(distance <= core_radius + SHELL_WIDTH, SHELL, BOUNDARY))
    cell.set_array(ROLE, role.astype(int))
    if states is not None:
        cell.set_array(OXIDATION_STATES, states[inside].astype(float))
    cell.info['embedding_centre'] = (-box.low).tolist()
    return cell


def mend(
    cell: Atoms, region: Region, box: Box, max_atoms: int | None = None, states: np.ndarray | None = None
) -> tuple[Atoms, dict[str, Any]]:
    """Merge or remove clashing atoms, fill voids at the boundary, balance the charge.

    :param cell: what `cut` gave. :param region: the same. :param states: oxidation states of the region.
    :returns: the cell and a report: numbers `merged`, `removed`, `filled`, `removed_for_charge`, and `charge`.
    :raises ValueError: if the charge cannot be balanced.
    """
    shortest = shortest_pairs(region)
    share = {int(z): float((region.numbers == z).mean()) for z in np.unique(region.numbers)}
    cell, merged, removed = _without_clashes(cell, shortest, share)
    cell, filled = _fill(cell, region, box, shortest, states)
    report: dict[str, Any] = {'merged': merged, 'removed': removed, 'filled': filled, 'removed_for_charge': 0}
    if states is not None:
        cell, report['removed_for_charge'] = balance(cell)
        report['charge'] = float(cell.arrays[OXIDATION_STATES].sum())
    if max_atoms is not None and len(cell) > max_atoms:
        report['above_max_atoms'] = len(cell) - max_atoms
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


def _without_clashes(
    cell: Atoms, shortest: dict[tuple[int, int], float], share: dict[int, float]
) -> tuple[Atoms, int, int]:
    """Merge clashing atoms of one species to their mean position, remove one of two different ones."""
    merged = removed = 0
    while True:
        first, second, vector = _pairs(cell, CLASH * max(shortest.values()))
        distance = np.linalg.norm(vector, axis=1)
        numbers, role = cell.numbers, cell.arrays[ROLE]
        limit = CLASH * np.array(
            [shortest[int(numbers[i]), int(numbers[j])] for i, j in zip(first, second, strict=True)]
        )
        free = np.minimum(role[first], role[second]) == BOUNDARY
        ratio = np.where(free & (distance < limit), distance / np.maximum(limit, 1e-9), np.inf)
        if not len(ratio) or not np.isfinite(ratio.min()):
            return cell, merged, removed
        worst = int(ratio.argmin())
        i, j = int(first[worst]), int(second[worst])
        if role[i] == role[j] and numbers[i] == numbers[j]:
            cell.positions[i] += vector[worst] / 2
            cell.arrays[PARENT_INDEX][i] = -1
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
    cell: Atoms, region: Region, box: Box, shortest: dict[tuple[int, int], float], states: np.ndarray | None
) -> tuple[Atoms, int]:
    """Put atoms from just beyond the faces into voids of the boundary."""
    beyond = np.maximum(box.low - region.positions, region.positions - box.low - box.edges)
    near = (beyond.max(axis=1) <= FILL) & ~box.contains(region.positions) & ~(beyond[:, box.vacuum] > 0).any(axis=1)
    rows = np.flatnonzero(near)
    rows = rows[np.argsort(beyond[rows].max(axis=1))]
    filled = 0
    edges = box.edges
    positions, numbers = list(cell.positions % edges), list(cell.numbers)
    limits = {number: VOID * np.array([shortest[number, k] if (number, k) in shortest else 0 for k in range(119)])
              for number in map(int, np.unique(region.numbers))}  # fmt: skip
    for row in rows:
        point, number = (region.positions[row] - box.low) % edges, int(region.numbers[row])
        vector = np.array(positions) - point
        distance = np.linalg.norm(vector - edges * np.rint(vector / edges), axis=1)
        if (distance < limits[number][np.array(numbers)]).any():
            continue
        extra = Atoms([number], [point])
        for name, values in cell.arrays.items():
            if name in (PARENT_INDEX, ROLE):
                extra.set_array(name, np.array([region.index[row] if name == PARENT_INDEX else BOUNDARY]))
            elif name == OXIDATION_STATES:
                extra.set_array(name, states[row : row + 1].astype(values.dtype))
        cell.extend(extra)
        positions.append(point)
        numbers.append(number)
        filled += 1
    return cell, filled


def balance(cell: Atoms) -> tuple[Atoms, int]:
    """Remove as few ions of the boundary, those farthest from the core first, as make the cell neutral.

    :returns: the cell and how many were removed.
    :raises ValueError: if no few ions do.
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
    limits = [range(min(len(queue), MOST_REMOVED) + 1) for queue in queues.values()]
    found = [
        numbers for numbers in product(*limits)
        if abs(sum(n * q for n, q in zip(numbers, queues, strict=True)) - charge) < TOLERANCE
        and sum(numbers) <= MOST_REMOVED
    ]  # fmt: skip
    if not found:
        raise ValueError(
            f'the cut cell {cell.get_chemical_formula()} has the charge {charge:+.2f}, which the removal of up to '
            f'{MOST_REMOVED} boundary ions does not balance: raise embed.max_atoms or embed.buffer'
        )
    numbers = min(found, key=sum)
    gone = np.concatenate([queue[:n] for n, queue in zip(numbers, queues.values(), strict=True)]).astype(int)
    del cell[gone.tolist()]
    return cell, len(gone)
