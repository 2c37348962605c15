"""Greedy choice of rows from a large table, exact and lazy.

In farthest point and in D-optimality alike, what a row is worth can only fall as others are chosen. So a worth computed
long ago is still an upper bound, and rows whose bound lies below the best known worth need not be looked at (lazy
evaluation: M. Minoux, Optimization Techniques, Lecture Notes in Control and Information Sciences 7, 234 (1978)). The
rows are looked at in pools of the most promising, so that the work is done by matrix products on data that stay in the
cache; the choice is that of the plain greedy algorithm. Beside the table itself, memory is O(N).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

#: Rows per pool: so many of 300 numbers fill the cache of one core.
POOL = 1024
#: Rows per block where a whole table is passed through.
BLOCK = 4096


class Criterion(Protocol):
    """What a row is worth. Every chosen row leaves a direction; the worth of a row follows from all of them."""

    directions: np.ndarray

    def add(self, row: np.ndarray, worth: float) -> None:
        """Take a row (n_features,) as chosen, at its present worth."""

    def lower(self, rows: np.ndarray, worth: np.ndarray, first: int) -> np.ndarray:
        """Return the worth (n,) of rows (n, n_features), which hitherto knew the directions before `first`."""

    def gain(self, worth: np.ndarray) -> np.ndarray:
        """Return what is gained by a choice; grows with the worth."""


class Table:
    """Rows of numbers, less `shift`, read in double precision a part at a time."""

    def __init__(self, rows: np.ndarray, shift: np.ndarray | None = None):
        self._rows = rows
        self._shift = shift

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def width(self) -> int:
        return self._rows.shape[1]

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        rows = np.asarray(self._rows[index], dtype=float)
        return rows if self._shift is None else rows - self._shift

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Pass through the table: (slice, rows)."""
        for begin in range(0, len(self), BLOCK):
            part = slice(begin, min(begin + BLOCK, len(self)))
            yield part, self[part]

    def map(self, function: Callable[[np.ndarray, slice], np.ndarray]) -> np.ndarray:
        """Return one number per row (N,), by a function of a block of rows and its slice."""
        values = np.empty(len(self))
        for part, rows in self.blocks():
            values[part] = function(rows, part)
        return values


def greedy(
    table: Table,
    n: int,
    criterion: Criterion,
    worth: np.ndarray,
    costs: np.ndarray | None = None,
    taken: Sequence[int] = (),
    least: float = -np.inf,
) -> list[int]:
    """Choose up to n rows, each of the largest gain per cost at its time.

    :param worth: (N,) of all rows, with regard to the present directions of the criterion; changed in place.
    :param costs: (N,), positive; 1 for all if not given.
    :param taken: rows that cannot be chosen.
    :param least: ends when no gain (before the division by the cost) is larger than this.
    :returns: indices in the order of choice.
    """
    seen = np.full(len(table), len(criterion.directions))
    free = np.ones(len(table), dtype=bool)
    free[list(taken)] = False
    chosen: list[int] = []
    n = min(n, int(free.sum()))
    while len(chosen) < n:
        pool, limit = _pool(_scores(criterion, worth, costs, free))
        rows = table[pool]
        _refresh(criterion, rows, worth, seen, pool)
        picked, exhausted = _choose_within(criterion, rows, worth, costs, free, pool, limit, n - len(chosen), least)
        seen[pool] = len(criterion.directions)
        chosen += picked
        if exhausted:
            break
    return chosen


def _scores(criterion: Criterion, worth: np.ndarray, costs: np.ndarray | None, free: np.ndarray) -> np.ndarray:
    gains = criterion.gain(worth)
    return np.where(free, gains if costs is None else gains / costs, -np.inf)


def _pool(scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rows of the highest scores, in order, and the highest score of the others."""
    if len(scores) <= POOL:
        return np.arange(len(scores)), -np.inf
    order = np.argpartition(-scores, POOL)
    return np.sort(order[:POOL]), float(scores[order[POOL]])


def _refresh(criterion: Criterion, rows: np.ndarray, worth: np.ndarray, seen: np.ndarray, pool: np.ndarray) -> None:
    """Bring the worth of the pool up to date: one matrix product per group that knows as many directions."""
    for first in np.unique(seen[pool]):
        if first < len(criterion.directions):
            group = np.flatnonzero(seen[pool] == first)
            worth[pool[group]] = criterion.lower(rows[group], worth[pool[group]], int(first))


def _choose_within(
    criterion: Criterion,
    rows: np.ndarray,
    worth: np.ndarray,
    costs: np.ndarray | None,
    free: np.ndarray,
    pool: np.ndarray,
    limit: float,
    n: int,
    least: float,
) -> tuple[list[int], bool]:
    """Choose in the pool while its best is at least as good as any row outside can be.

    :returns: the rows chosen, and whether nothing is left to gain anywhere.
    """
    picked: list[int] = []
    while len(picked) < n:
        scores = _scores(criterion, worth[pool], None if costs is None else costs[pool], free[pool])
        best = int(np.argmax(scores))
        if scores[best] < limit:
            return picked, False
        index = int(pool[best])
        if criterion.gain(worth[index]) <= least:
            # With costs, the best per cost may gain nothing only if nothing does: gains of 0 or less come last.
            return picked, True
        first = len(criterion.directions)
        criterion.add(rows[best], float(worth[index]))
        free[index] = False
        picked.append(index)
        worth[pool] = criterion.lower(rows, worth[pool], first)
    return picked, False
