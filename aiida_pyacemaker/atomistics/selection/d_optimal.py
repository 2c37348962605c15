"""D-optimality for whole frames: every atom of a frame is a row, and all rows of a frame come together.

:mod:`.maxvol` does the same for a table with one row per candidate, and is fast there.
"""

from __future__ import annotations

import numpy as np

from .descriptors import features
from .farthest_point import farthest_point
from .maxvol import SMALL_GAIN


def d_optimal(
    rows: list[dict[str, np.ndarray]], n: int, sizes: dict[str, int], start: list[int] | None = None
) -> list[int]:
    """Choose n frames greedily for the largest determinant of the information matrix.

    Adding a frame with coefficients C to a set with information matrix M multiplies det M by det(1 + C M^-1 C^T): the
    volume MaxVol maximises, for whole frames instead of atoms. Where no frame gains, farthest point takes over.

    :param rows: from :class:`Environments`. :param sizes: functions per element.
    :param start: frames that are in already, and not counted in n.
    :returns: indices in the order of choice.
    """
    inverse = {element: np.eye(size) for element, size in sizes.items()}
    taken = list(start or [])
    for index in taken:
        _add_information(inverse, rows[index])
    chosen: list[int] = []
    left = [index for index in range(len(rows)) if index not in taken]
    while left and len(chosen) < n:
        gains = np.array([_gain(inverse, rows[index]) for index in left])
        if gains.max() < SMALL_GAIN:
            chosen += farthest_point(features(rows), n - len(chosen), start=taken + chosen)
            break
        best = left.pop(int(np.argmax(gains)))
        _add_information(inverse, rows[best])
        chosen.append(best)
    return chosen


def _gain(inverse: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> float:
    """ln det(1 + C M^-1 C^T), summed over the elements."""
    total = 0.0
    for element, coefficients in rows.items():
        product = coefficients @ inverse[element] @ coefficients.T
        total += np.linalg.slogdet(np.eye(len(product)) + product)[1]
    return float(total)


def _add_information(inverse: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> None:
    """M <- M + C^T C, on the inverse (Woodbury)."""
    for element, coefficients in rows.items():
        half = coefficients @ inverse[element]
        core = np.eye(len(half)) + half @ coefficients.T
        updated = inverse[element] - half.T @ np.linalg.solve(core, half)
        inverse[element] = 0.5 * (updated + updated.T)
