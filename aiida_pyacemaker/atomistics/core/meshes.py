"""How many k-points there are along a reciprocal vector."""

from __future__ import annotations

import numpy as np

#: The numbers of points along an axis: closed under doubling.
NUMBERS = tuple(sorted({2**k for k in range(10)} | {3 * 2**k for k in range(9)}))
#: Relative; a cell is not refined because its vectors were rounded.
TOLERANCE = 1e-6


def mesh_numbers(reciprocal: np.ndarray, distance: float) -> tuple[int, int, int]:
    """Return the smallest allowed numbers of points whose distance along each vector is not larger than asked.

    :param reciprocal: (3, 3), vectors in rows, in 1/Å with the factor of 2 pi.
    :param distance: in 1/Å.
    """
    wanted = np.linalg.norm(reciprocal, axis=1) / distance
    index = np.searchsorted(NUMBERS, wanted * (1 - TOLERANCE))
    first, second, third = (int(NUMBERS[min(k, len(NUMBERS) - 1)]) for k in index)
    return first, second, third
