"""Common cells of two surfaces, found by pymatgen and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ....core.parameters import require
from ....crystals.slabs import (
    Stack,
)

#: Strains at which the nearest match is looked for where there is none within the limits, until there is one.
FAR_STRAINS = (0.003, 0.01, 0.03, 0.1, 0.3)
#: Multiples of the largest area at which it is looked for.
FAR_AREAS = (1.25, 1.5, 2.0)
#: strain² x area² (Å⁴) up to which such a search takes seconds.
FAR_SEARCH = 200.0
#: Area (Å²) up to which such a search takes seconds.
FAR_AREA = 300.0


@dataclass(frozen=True, eq=False)
class Match:
    """A common cell of two surfaces.

    :param film: integer matrix (2, 2): common cell of the film = film @ its in-plane vectors (rows).
    :param substrate: the same for the substrate; its determinant is positive.
    :param strain: the two principal strains of the film, the smaller first.
    :param flipped: whether the film has to be turned upside down (its cell is left-handed in the plane).
    :param twist: degrees by which the film is rotated.
    """

    film: np.ndarray
    substrate: np.ndarray
    strain: tuple[float, float]
    area: float
    flipped: bool
    twist: float

    @property
    def largest(self) -> float:
        return max(map(abs, self.strain))

    @property
    def cells(self) -> tuple[int, int]:
        """Surface cells of film and substrate."""
        return round(abs(np.linalg.det(self.film))), round(np.linalg.det(self.substrate))


def find_matches(film: Stack, substrate: Stack, max_strain: float, max_area: float) -> list[Match]:
    """Return the coherent matches of two surfaces (pymatgen), checked and without duplicates, in order of area.

    :param max_strain: largest principal strain of the film.
    :param max_area: Å².
    """
    zsl = require('pymatgen.analysis.interfaces.zsl', 'the family interface')
    # pymatgen compares lengths and angles; its tolerances are made wide enough for all that the strain allows
    generator = zsl.ZSLGenerator(
        max_area_ratio_tol=2.5 * max_strain,
        max_area=max_area * (1 + 2.5 * max_strain) + 1e-3,
        max_length_tol=1.2 * max_strain,
        max_angle_tol=2.5 * max_strain,
        bidirectional=True,
    )
    vectors = [np.hstack([stack.vectors, np.zeros((2, 1))]) for stack in (film, substrate)]
    found: dict[tuple, Match] = {}
    for raw in generator(*vectors):
        match = _checked(raw, film, substrate)
        if match is None or match.largest > max_strain or match.area > max_area + 1e-6:
            continue
        found.setdefault(_key(match, substrate), match)
    return sorted(found.values(), key=lambda match: (round(match.area, 4), round(match.largest, 6), match.twist))


def _checked(raw, film: Stack, substrate: Stack) -> Match | None:
    """Return a match of pymatgen with its strain computed again; None if it is singular or no supercell at all."""
    upper = np.asarray(raw.film_sl_vectors, float)[:, :2]
    lower = np.asarray(raw.substrate_sl_vectors, float)[:, :2]
    matrices = []
    for cell, stack in ((upper, film), (lower, substrate)):
        exact = cell @ np.linalg.inv(stack.vectors)
        matrix = np.rint(exact).astype(int)
        if np.abs(exact - matrix).max() > 1e-5 or round(np.linalg.det(matrix)) == 0:
            return None
        matrices.append(matrix)
    if np.linalg.det(lower) < 0:
        matrices = [matrix[::-1] for matrix in matrices]
    return _strained(*matrices, film, substrate)


def _strained(film_matrix: np.ndarray, substrate_matrix: np.ndarray, film: Stack, substrate: Stack) -> Match:
    """Return the match of two integer matrices: strain and rotation from the polar decomposition of its deformation."""
    upper, lower = film_matrix @ film.vectors, substrate_matrix @ substrate.vectors
    deformation = np.linalg.solve(upper, lower)  # rows: upper @ deformation = lower
    left, stretches, right = np.linalg.svd(deformation)
    rotation = left @ right
    flipped = bool(np.linalg.det(deformation) < 0)
    strains = tuple(sorted((stretches - 1).tolist()))
    twist = math.degrees(math.atan2(rotation[0, 1], rotation[0, 0]))
    return Match(film_matrix, substrate_matrix, strains, float(np.linalg.det(lower)), flipped, round(twist, 3) + 0.0)


def _key(match: Match, substrate: Stack) -> tuple:
    """Return what equivalent matches have in common: another basis of the same pair of cells is no other match."""
    cell = match.substrate @ substrate.vectors
    metric = np.round(cell @ cell.T, 3)
    shape = (*sorted((metric[0, 0], metric[1, 1])), abs(metric[0, 1]))
    return (*match.cells, *np.round(match.strain, 5), *shape, round(abs(match.twist), 1), match.flipped)


def is_quick(strain: float, area: float) -> bool:
    return (strain * area) ** 2 <= FAR_SEARCH


def nearest_match(pairs: list[tuple[Stack, Stack]], strain: float, area: float, order) -> tuple[str, Match] | None:
    """Return the best match of all pairs of planes within other limits."""
    best = None
    for upper, lower in pairs:
        for match in find_matches(upper, lower, strain, area):
            if best is None or order(match) < order(best[1]):
                best = f'{upper.label}/{lower.label}', match
    return best
