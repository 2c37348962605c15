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

#: Rows per pool. Measured on 20,000 x 150 and 100,000 x 300: a quarter or four times as many take up to twice as long.
POOL = 2048
#: Rows per block where a whole table is passed through.
BLOCK = 4096


class Criterion(Protocol):
    """What a row is worth. Every chosen row leaves a direction; the worth of a row follows from all of them."""

    @property
    def directions(self) -> np.ndarray:
        """The directions (n_chosen, n_features) so far."""

    def add(self, row: np.ndarray) -> None:
        """Take a row (n_features,) as chosen."""

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
        return int(self._rows.shape[1])

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
    :param least: rows whose gain (before the division by the cost) is not larger than this are not chosen.
    :returns: indices in the order of choice.
    """
    search = _Search(table, criterion, worth, costs, least)
    search.free[list(taken)] = False
    n = min(n, int(search.free.sum()))
    while len(search.chosen) < n and search.choose_from_pool(n):
        pass
    return search.chosen


class _Search:
    """The state of a greedy choice."""

    def __init__(self, table: Table, criterion: Criterion, worth: np.ndarray, costs: np.ndarray | None, least: float):
        self._table = table
        self._criterion = criterion
        self._worth = worth
        self._costs = costs
        self._least = least
        # how many directions the worth of each row knows
        self._seen = np.full(len(table), len(criterion.directions))
        self.free = np.ones(len(table), dtype=bool)
        self.chosen: list[int] = []

    def choose_from_pool(self, n: int) -> bool:
        """Choose among the most promising rows, up to n in all, while no other row can be better.

        Every call makes progress: either a row is chosen, or the worth of some row of the pool was out of date.

        :returns: whether anything may be left to gain.
        """
        pool, limit = self._pool()
        rows = self._table[pool]
        self._refresh(pool, rows)
        while len(self.chosen) < n:
            scores = self._scores(pool)
            best = int(np.argmax(scores))
            if scores[best] < limit or np.isneginf(scores[best]):
                break
            first = len(self._criterion.directions)
            self._criterion.add(rows[best])
            self.chosen.append(int(pool[best]))
            self.free[pool[best]] = False
            self._worth[pool] = self._criterion.lower(rows, self._worth[pool], first)
        self._seen[pool] = len(self._criterion.directions)
        return not np.isneginf(max(limit, scores[best]))

    def _scores(self, index: np.ndarray | slice) -> np.ndarray:
        """Gain per cost, or at most that where the worth is out of date."""
        gains = self._criterion.gain(self._worth[index])
        scores = gains if self._costs is None else gains / self._costs[index]
        return np.where(self.free[index] & (gains > self._least), scores, -np.inf)

    def _pool(self) -> tuple[np.ndarray, float]:
        """Return the rows of the highest scores, in order, and the highest score of the others."""
        scores = self._scores(slice(None))
        if len(scores) <= POOL:
            return np.arange(len(scores)), -np.inf
        order = np.argpartition(-scores, POOL)
        return np.sort(order[:POOL]), float(scores[order[POOL]])

    def _refresh(self, pool: np.ndarray, rows: np.ndarray) -> None:
        """Bring the worth of the pool up to date: one matrix product per group that knows as many directions."""
        known = self._seen[pool]
        for first in np.unique(known):
            if first < len(self._criterion.directions):
                group = np.flatnonzero(known == first)
                index = pool[group]
                self._worth[index] = self._criterion.lower(rows[group], self._worth[index], int(first))
