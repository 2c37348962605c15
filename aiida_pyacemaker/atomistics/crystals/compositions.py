"""Compositions of an alloy: grids of the simplex, limits per element, and which cell can carry a composition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, zip_longest
from math import comb

import numpy as np

from ..core.errors import InputError

Repeats = tuple[int, int, int]
#: A cell carries a composition if every atomic fraction is met to within this.
TOLERANCE = 0.005
#: The finest grid that is tried when limits leave no point of the asked grid.
FINEST_GRID = 64
#: More points of a grid than this are neither sorted nor searched for a finer grid.
MAX_GRID_POINTS = 50_000


@dataclass(frozen=True)
class Limits:
    """Allowed atomic fractions (low, high) per element, in the order of the elements."""

    elements: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, elements: Sequence[str], given: dict[str, list[float]] | None, key: str) -> Limits:
        """:raises ValueError: naming the key, if limits are no limits or no composition can meet them."""
        low, high = np.zeros(len(elements)), np.ones(len(elements))
        for element, pair in (given or {}).items():
            if element not in elements:
                raise InputError(
                    key,
                    f'{element!r} is not in system.elements',
                    'add it there or remove it',
                )
            if len(pair) != 2 or not 0 <= pair[0] <= pair[1] <= 1:
                raise InputError(
                    f'{key}.{element}',
                    f'{pair} is no range of fractions',
                    'give [least, most] with 0 <= least <= most <= 1',
                )
            low[elements.index(element)], high[elements.index(element)] = pair
        if low.sum() > 1 + 1e-9:
            raise InputError(
                key,
                f'the least fractions add up to {low.sum():g}',
                'lower them to 1 in sum, or less',
            )
        if high.sum() < 1 - 1e-9:
            raise InputError(
                key,
                f'the largest fractions add up to {high.sum():g}',
                'raise them to 1 in sum, or more',
            )
        return cls(tuple(elements), low, high)

    def allow(self, composition: dict[str, float], tolerance: float = 1e-9) -> bool:
        fractions = np.array([composition.get(element, 0.0) for element in self.elements])
        return bool((fractions >= self.low - tolerance).all() and (fractions <= self.high + tolerance).all())

    def centre(self) -> dict[str, float]:
        """The composition in the middle of the limits: equal shares if there are none."""
        room = self.high - self.low
        share = (1 - self.low.sum()) / room.sum() if room.sum() > 0 else 0.0
        fractions = self.low + share * room
        return {element: float(x) for element, x in zip(self.elements, fractions, strict=True) if x > 0}


def divisions_of(step: float) -> int:
    """Parts into which a step divides one.

    :raises ValueError: if it is no whole number of parts.
    """
    divisions = round(1 / step)
    if abs(divisions * step - 1) > 1e-6:
        raise InputError('step', f'{step:g} does not divide 1', f'the nearest that does is {1 / divisions:g}')
    return divisions


def grid(limits: Limits, divisions: int) -> Iterator[dict[str, float]]:
    """Mixed compositions on a grid of the simplex: the centre first, then all binaries, ternaries... of the elements.

    Every subsystem gets its most even composition before any gets its second. Where the limits leave no point of the
    grid, a finer one is taken.
    """
    centre = limits.centre()
    if len(centre) > 1:
        yield centre
    while True:
        empty = True
        for composition in _points(limits.elements, divisions):
            if limits.allow(composition):
                empty = False
                if composition != centre:
                    yield composition
        if not empty or 2 * divisions > FINEST_GRID or comb(2 * divisions, len(limits.elements) - 1) > MAX_GRID_POINTS:
            return
        divisions *= 2


def _points(elements: Sequence[str], divisions: int) -> Iterator[dict[str, float]]:
    for size in range(2, min(len(elements), divisions) + 1):
        systems = list(combinations(elements, size))
        ways: Iterable[tuple[int, ...]] = _partitions(divisions, size)
        if comb(divisions - 1, size - 1) <= MAX_GRID_POINTS:  # else unsorted: so many are never all used
            ways = sorted(ways, key=lambda parts: (max(parts), parts))
        for parts in ways:
            for system in systems:
                yield {element: part / divisions for element, part in zip(system, parts, strict=True)}


def _partitions(total: int, size: int) -> Iterator[tuple[int, ...]]:
    """Ordered ways to write a whole number as a sum of `size` whole numbers, each at least one."""
    for cuts in combinations(range(1, total), size - 1):
        edges = (0, *cuts, total)
        yield tuple(right - left for left, right in pairwise(edges))


def normalised(composition: dict[str, float], elements: Sequence[str], key: str) -> dict[str, float]:
    """Return a given composition without zeros, adding up to one, in the order of the elements.

    :raises ValueError: naming the key, if it does not add up to one or names other elements.
    """
    other = sorted(set(composition) - set(elements))
    if other:
        raise InputError(
            key,
            f'{other[0]!r} is not in system.elements',
            'add it there or remove it',
        )
    total = sum(composition.values())
    if min(composition.values(), default=-1) < 0 or abs(total - 1) > 0.011:
        near = {element: round(x / total, 4) for element, x in composition.items()} if total > 0 else {elements[0]: 1.0}
        raise InputError(
            key, f'fractions must be at least 0 and add up to 1, which {composition} does not', f'take {near}'
        )
    return {element: composition[element] / total for element in elements if composition.get(element, 0) > 0}


def counts(composition: dict[str, float], atoms: int) -> dict[str, int]:
    """Whole numbers of atoms nearest to a composition, adding up to `atoms` (largest remainders)."""
    exact = np.array(list(composition.values())) * atoms
    whole = np.floor(exact + 1e-9).astype(int)
    # stable, so that of equal remainders the first element comes first whatever the machine
    for index in np.argsort(-np.round(exact - whole, 9), kind='stable')[: atoms - int(whole.sum())]:
        whole[index] += 1
    return {element: int(n) for element, n in zip(composition, whole, strict=True)}


def error(composition: dict[str, float], atoms: int) -> float:
    """Largest difference between a composition and what `atoms` atoms can make of it; 1 if an element would vanish."""
    found = counts(composition, atoms)
    if min(found.values()) == 0:
        return 1.0
    return max(abs(n / atoms - composition[element]) for element, n in found.items())


def carrying(composition: dict[str, float], shapes: dict[int, Repeats]) -> tuple[tuple[int, int, int], float]:
    """Return the repeats of a cell that carry a composition, and the largest difference of an atomic fraction.

    The smallest cell that meets the composition to within `TOLERANCE`, a compact one before one that is more than four
    times as long as wide (`shapes` has the compact ones first); else the cell that comes nearest.

    :param shapes: of `shapes_of`.
    """
    best, smallest = None, np.inf
    for atoms, repeats in shapes.items():
        wrong = error(composition, atoms)
        if wrong <= TOLERANCE:
            return repeats, wrong
        if wrong < smallest - 1e-9:
            best, smallest = repeats, wrong
    if best is None:
        raise ValueError(f'{len(composition)} elements do not fit into cells of {", ".join(map(str, shapes))} atoms')
    return best, smallest


def shapes_of(lengths: Sequence[float], sites: int, least: int, most: int) -> dict[int, Repeats]:
    """Supercells to choose from: number of atoms -> repeats, the most compact of that size; in the order of choice.

    :param lengths: of the axes of the cell that is repeated, in Å.
    :param sites: its number of atoms; `least` and `most` are those of the supercell.
    """
    best: dict[int, tuple[float, Repeats]] = {}
    for repeats in _repeats(max(most // sites, 1)):
        sides = np.array(repeats) * np.array(lengths)
        shape = (round(float(sides.max() / sides.min()), 6), repeats)
        atoms = sites * int(np.prod(repeats))
        if atoms >= least:
            best[atoms] = min(best.get(atoms, shape), shape)
    order = sorted(best, key=lambda atoms: (best[atoms][0] > 4, atoms))
    return {atoms: best[atoms][1] for atoms in order}


def _repeats(most: int) -> list[Repeats]:
    return [
        (i, j, k) for i in range(1, most + 1) for j in range(1, most // i + 1) for k in range(1, most // (i * j) + 1)
    ]


def interleaved(*sequences: Sequence) -> Iterator:
    """Items of the sequences in turn, until all are used up."""
    absent = object()
    for items in zip_longest(*sequences, fillvalue=absent):
        yield from (item for item in items if item is not absent)
