"""Perpendicular widths of cells: the distances between opposite faces."""

from __future__ import annotations

import numpy as np
from ase import Atoms


def perpendicular_widths(cells: np.ndarray) -> np.ndarray:
    """Distances between opposite faces.

    :param cells: (..., 3, 3) in Å, lattice vectors as rows, not singular.
    :returns: (..., 3) in Å; the volume over the area of the face that the other two vectors span.
    """
    return 1 / np.linalg.norm(np.linalg.inv(cells), axis=-2)


def smallest_width(atoms: Atoms) -> float:
    """Smallest perpendicular width (Å) along the periodic axes; infinite for a frame without any."""
    widths = perpendicular_widths(atoms.cell.complete().array)
    return float(min(widths[atoms.pbc], default=np.inf))
