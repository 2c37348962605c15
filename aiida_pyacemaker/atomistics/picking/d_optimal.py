"""D-optimality for whole frames: every atom of a frame is a row, and all rows of a frame come together.

:mod:`..subsets.maxvol` does the same for a table with one row per candidate, and is fast there.
"""

from __future__ import annotations

import numpy as np

from ..subsets.farthest_point import farthest_point
from ..subsets.maxvol import SMALL_GAIN
from .descriptors import features

#: Element -> coefficients (n_atoms of it, n_functions) of a frame in the active set.
Rows = dict[str, np.ndarray]


class Knowledge:
    """Information matrix M of what is known, per element, in the coordinates of the active set, where it begins as 1.

    :param sizes: functions per element.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        self._inverse = {element: np.eye(size) for element, size in sizes.items()}

    def add(self, rows: Rows) -> None:
        """M <- M + C^T C for a frame that is learned, on the inverse (Woodbury)."""
        for element, coefficients in rows.items():
            half = coefficients @ self._inverse[element]
            core = np.eye(len(half)) + half @ coefficients.T
            updated = self._inverse[element] - half.T @ np.linalg.solve(core, half)
            self._inverse[element] = 0.5 * (updated + updated.T)

    def gain(self, rows: Rows) -> float:
        """What a frame would add to ln det M: ln det(1 + C M^-1 C^T), summed over the elements."""
        total = 0.0
        for element, coefficients in rows.items():
            product = coefficients @ self._inverse[element] @ coefficients.T
            total += np.linalg.slogdet(np.eye(len(product)) + product)[1]
        return float(total)

    def gamma(self, rows: Rows) -> float:
        """Gamma that the worst atom of a frame is left with once all that was added is learned.

        Learning shrinks its coefficients c as it shrinks their length: by the square root of c M^-1 c^T / c c^T.
        """
        grades = [0.0]
        for element, coefficients in rows.items():
            before = np.einsum('ij,ij->i', coefficients, coefficients)
            after = np.einsum('ij,jk,ik->i', coefficients, self._inverse[element], coefficients)
            shrunk = np.sqrt(np.maximum(after, 0.0) / np.maximum(before, np.finfo(float).tiny))
            grades.append(float((np.abs(coefficients).max(axis=1) * shrunk).max()))
        return max(grades)


def d_optimal(
    rows: list[Rows], n: int, sizes: dict[str, int], start: list[int] | None = None, least_gamma: float | None = None
) -> list[int]:
    """Choose n frames greedily for the largest determinant of the information matrix.

    Adding a frame with coefficients C to a set with information matrix M multiplies det M by det(1 + C M^-1 C^T): the
    volume MaxVol maximises, for whole frames instead of atoms. Where no frame gains, farthest point takes over.

    :param rows: from :class:`~.descriptors.Environments`. :param sizes: functions per element.
    :param start: frames that are in already, and not counted in n.
    :param least_gamma: frames that would be left with less, once those chosen are learned, are not chosen: then there
        may be fewer than n.
    :returns: indices in the order of choice.
    """
    knowledge = Knowledge(sizes)
    taken = list(start or [])
    for index in taken:
        knowledge.add(rows[index])
    chosen: list[int] = []
    left = [index for index in range(len(rows)) if index not in taken]
    while len(chosen) < n:
        if least_gamma is not None:
            # what is known stays known
            left = [index for index in left if knowledge.gamma(rows[index]) >= least_gamma]
        if not left:
            break
        gains = [knowledge.gain(rows[index]) for index in left]
        if max(gains) < SMALL_GAIN:
            chosen += farthest_point(features(rows), n - len(chosen), start=taken + chosen)
            break
        best = left.pop(int(np.argmax(gains)))
        knowledge.add(rows[best])
        chosen.append(best)
    return chosen
