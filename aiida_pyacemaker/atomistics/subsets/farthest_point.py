"""Farthest point: configurations spread as widely as possible in the space of their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .greedy import Table, greedy


class _Distances:
    """Worth of a row: its squared distance to the nearest point chosen."""

    def __init__(self, points: np.ndarray, capacity: int):
        self._points = np.empty((len(points) + capacity, points.shape[1]))
        self._points[: len(points)] = points
        self._number = len(points)

    @property
    def directions(self) -> np.ndarray:
        return self._points[: self._number]

    def add(self, row: np.ndarray) -> None:
        self._points[self._number] = row
        self._number += 1

    def lower(self, rows: np.ndarray, worth: np.ndarray, first: int) -> np.ndarray:
        points = self.directions[first:]
        # |x - p|^2 = |x|^2 - 2 x.p + |p|^2: a matrix product; rounding may leave a tiny negative number
        squares = (np.einsum('ij,ij->i', points, points) - 2.0 * (rows @ points.T)).min(axis=1)
        squares += np.einsum('ij,ij->i', rows, rows)
        return np.minimum(worth, np.maximum(squares, 0.0))

    def gain(self, worth: np.ndarray) -> np.ndarray:
        return worth


def farthest_point(
    vectors: np.ndarray, n: int, start: Sequence[int] | None = None, costs: np.ndarray | None = None
) -> list[int]:
    """Choose n points, each as far as possible from those chosen before and from `start`.

    T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985): the coverage radius is at most twice the smallest possible.
    The first point, if there is no `start`, is the one farthest from the mean. With costs, the largest squared
    distance per cost is chosen.

    :param vectors: (n_points, n_features); never copied as a whole.
    :param start: indices of points that are in already, and not counted in n.
    :param costs: (n_points,), positive.
    :returns: min(n, n_points - len(start)) indices in the order of choice.
    """
    taken = list(start or [])
    vectors = np.asarray(vectors)
    n = min(n, len(vectors) - len(set(taken)))
    if n <= 0:
        return []
    # distances are the same from the mean, and squared norms are then of their size: no digits are lost
    table = Table(vectors, shift=vectors.mean(axis=0, dtype=float))
    chosen: list[int] = []
    if not taken:
        squares = table.map(lambda rows, _: np.einsum('ij,ij->i', rows, rows))
        chosen = [int(np.argmax(squares if costs is None else squares / costs))]
    known = taken + chosen
    distances = _Distances(table[np.array(known)], n)
    worth = table.map(lambda rows, _: distances.lower(rows, np.full(len(rows), np.inf), 0))
    return chosen + greedy(table, n - len(chosen), distances, worth, costs, taken=known)
