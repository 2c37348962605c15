"""Which element is on which site of a lattice: at random, with short-range order, or special quasirandom (icet)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from ..core.errors import InputError
from ..core.parameters import require

#: Neighbours of the first shell are at most so much farther than the nearest (c/a of hcp; bcc's second: 1.155).
FIRST_SHELL = 1.1
#: Range of the pairs that a special quasirandom structure gets right, in nearest-neighbour distances.
PAIR_RANGE = 1.8
#: Range of the triplets that it gets right, in the same units.
TRIPLETS = 1.1
#: Monte Carlo steps per site towards a short-range order, at most.
STEPS_PER_SITE = 60
#: Deviation of the Warren-Cowley parameters that is near enough.
ORDER_TOLERANCE = 0.01
#: Temperature of that walk at its start, in units of the deviation.
WARMTH = 0.02
#: Batches of random occupations that may hold nothing new before all are taken as found.
BATCHES = 50


def random_occupations(numbers: np.ndarray, number: int, rng: np.random.Generator, arrangements: int) -> np.ndarray:
    """Return different arrangements of the atomic numbers at random, shape (at most `number`, sites).

    :param arrangements: how many there are.
    """
    number = min(number, arrangements)
    kept: dict[bytes, np.ndarray] = {}
    for _ in range(BATCHES):
        missing = number - len(kept)
        if missing <= 0:
            break
        batch = rng.permuted(np.tile(numbers, (missing, 1)), axis=1)
        for row in batch:
            kept.setdefault(row.tobytes(), row)
    return np.array(list(kept.values()), dtype=numbers.dtype).reshape(-1, len(numbers))


def special_quasirandom(cell: Atoms, counts: dict[str, int], steps: int, seed: int) -> np.ndarray:
    """Return the atomic numbers (sites,) of a special quasirandom structure on the sites of a cell.

    Zunger et al., Phys. Rev. Lett. 65, 353 (1990); annealing of icet: van de Walle et al., Calphad 42, 13 (2013).

    :raises ValueError: if icet gives back another composition or lattice.
    :raises MissingLibraryError: without icet.
    """
    icet = require('icet', 'occupation: sqs')
    structures = require('icet.tools.structure_generation', 'occupation: sqs')
    empty = cell.copy()
    empty.set_atomic_numbers([atomic_numbers[next(iter(counts))]] * len(cell))
    empty.info = {}
    nearest = _nearest(empty)
    space = icet.ClusterSpace(empty, [PAIR_RANGE * nearest, TRIPLETS * nearest], list(counts))
    found = structures.generate_sqs_from_supercells(
        space,
        [empty],
        {element: n / len(cell) for element, n in counts.items()},
        n_steps=steps,
        random_seed=seed,
    )
    symbols = found.get_chemical_symbols()
    if {element: symbols.count(element) for element in counts} != counts or not (
        np.allclose(found.positions, cell.positions) and np.allclose(found.cell.array, cell.cell.array)
    ):
        raise InputError('occupation', f'icet found no special quasirandom structure of {counts}')
    return found.numbers.copy()


@dataclass(frozen=True)
class FirstShell:
    """How often each site is a nearest neighbour of each other, periodic images counted: (sites, sites)."""

    neighbours: np.ndarray

    @classmethod
    def of(cls, cell: Atoms) -> FirstShell:
        first, second = neighbor_list('ij', cell, FIRST_SHELL * _nearest(cell))
        table = np.zeros((len(cell), len(cell)))
        np.add.at(table, (first, second), 1.0)
        return cls(table)

    def warren_cowley(self, numbers: np.ndarray) -> dict[tuple[int, int], float]:
        """Return alpha = 1 - P(j next to i) / c_j per pair of atomic numbers i <= j (Phys. Rev. 77, 669, 1950)."""
        kinds = np.unique(numbers)
        alphas = self._alphas(numbers, kinds)
        return {
            (int(kinds[a]), int(kinds[b])): float(alphas[a, b]) for a in range(len(kinds)) for b in range(a, len(kinds))
        }

    def drive(self, numbers: np.ndarray, targets: dict[tuple[int, int], float], rng: np.random.Generator) -> np.ndarray:
        """Return the occupation after swaps of unlike atoms that bring alpha near to the targets, the best one met.

        A Metropolis walk in the deviation (root of the mean square), cooled to zero. It is limited: alpha of a finite
        cell takes few values, so what cannot be reached is only come near to.
        """
        kinds = np.unique(numbers)
        index = {int(kind): place for place, kind in enumerate(kinds)}
        rows, columns = np.array([(index[i], index[j]) for i, j in targets]).T
        wanted = np.array(list(targets.values()))

        def deviation(state: np.ndarray) -> float:
            off = self._alphas(state, kinds)[rows, columns] - wanted
            return math.sqrt(off @ off / len(off))

        state, steps = numbers.copy(), STEPS_PER_SITE * len(numbers)
        now = deviation(state)
        best, least = state.copy(), now
        swaps = rng.integers(len(numbers), size=(steps, 2))
        chances = rng.random(steps)
        for step, (one, other) in enumerate(swaps):
            if least <= ORDER_TOLERANCE:
                break
            if state[one] == state[other]:
                continue
            state[[one, other]] = state[[other, one]]
            new = deviation(state)
            temperature = WARMTH * (1 - step / steps)
            if new <= now or chances[step] < math.exp((now - new) / temperature):
                now = new
                if new < least:
                    best, least = state.copy(), new
            else:
                state[[one, other]] = state[[other, one]]
        return best

    def _alphas(self, numbers: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Warren-Cowley parameters of all pairs of kinds (kinds, kinds)."""
        sites = (numbers[:, None] == kinds).astype(float)
        pairs = sites.T @ self.neighbours @ sites
        # symmetric also where sites have different numbers of neighbours: relative to the ends of bonds of each kind
        ends = pairs.sum(1)
        return 1 - pairs * ends.sum() / np.outer(ends, ends)


def _nearest(cell: Atoms) -> float:
    """Nearest-neighbour distance in Å."""
    reach = 2.0 * (cell.get_volume() / len(cell)) ** (1 / 3)
    return float(neighbor_list('d', cell, reach).min())
