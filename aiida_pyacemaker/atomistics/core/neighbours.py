"""The one door to the finders of neighbours, which differ in speed and in what they return.

- :func:`neighbour_pairs`: the neighbour list of ASE, for any cell; for anything that is not done often.
- :func:`points_in_spheres`: that of pymatgen, a few times as fast; for the rows of a fit.
- :func:`~..checks.pairs.periodic_pairs`: our own, for many small cells, as the checks of generated ones need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list


class Neighbours(NamedTuple):
    """Pairs (m,): atom, neighbour, image of the cell that the neighbour is in (m, 3)."""

    first: np.ndarray
    second: np.ndarray
    images: np.ndarray


def neighbour_pairs(
    quantities: str, atoms: Atoms, cutoff: float | Sequence[float] | Mapping[tuple[str, str], float], **options: Any
) -> Any:
    """Return quantities of the pairs of atoms closer than a cutoff (Å), ordered by the first atom.

    :param quantities: letters of :func:`ase.neighborlist.neighbor_list`: `i`, `j` atoms, `d` distance, `D` vector,
        `S` image.
    :param cutoff: of all pairs, a radius of each atom, or by pair of elements.
    """
    return neighbor_list(quantities, atoms, cutoff, **options)


def points_in_spheres(positions: np.ndarray, cell: np.ndarray, periodic: bool, cutoff: float) -> Neighbours:
    """Return the pairs of points closer than a cutoff (Å), each point with itself among them, in no order.

    :param positions: (n, 3), Å, contiguous. :param cell: (3, 3), Å, contiguous; needed even where nothing is periodic.
    """
    from pymatgen.optimization.neighbors import find_points_in_spheres

    directions = np.full(3, periodic, dtype=np.int64)
    first, second, images, _ = find_points_in_spheres(positions, positions, cutoff, directions, cell)
    return Neighbours(first, second, images)
