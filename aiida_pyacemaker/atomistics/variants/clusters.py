"""Free atoms, dimers and trimers: the zero of energy and the repulsive wall. Made of elements, not of parents."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
from ase import Atoms

from ..checks.overlap import covalent_distance
from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter

#: Side (Å) of the box of a free atom.
BOX_SIDE = 10.0
#: Least free space (Å) between a cluster and its images along each axis. Three values: in a cube or a square prism the
#: degenerate open shells of a dimer are filled in part, and the self-consistency of a plane-wave code oscillates.
FREE_SPACE = (9.5, 10.0, 10.5)
#: Trimers tried for each one wanted.
ATTEMPTS = 200


class Dimer(Section):
    """Two atoms at distances from the repulsive wall to where they hardly feel each other; every pair of elements."""

    number: Count = parameter('Distances per pair of elements.', default=0, ge=0)
    closest: Positive = parameter(
        'Smallest distance, as a fraction of the sum of the covalent radii.', default=0.6, le=1.0
    )
    farthest: Positive = parameter('Largest distance.', unit='Å', default=5.0)
    spacing: Literal['logarithmic', 'uniform'] = parameter(
        'Logarithmic: more of the distances are short ones.', default='logarithmic'
    )


class Trimer(Section):
    """Three atoms at random short distances and angles; every triple of elements."""

    number: Count = parameter('Structures per triple of elements.', default=0, ge=0)
    closest: Positive = parameter(
        'Smallest distance, as a fraction of the sum of the covalent radii.', default=0.6, le=1.0
    )
    farthest: Positive = parameter('Largest distance between two of the atoms.', unit='Å', default=5.0)


def isolated_atom(element: str) -> Atoms:
    """Return a free atom in a box of 10 Å, not periodic."""
    info = {'family': 'isolated_atom', 'phase': 'atom', 'split': 'train'}
    return Atoms(element, [[BOX_SIDE / 2] * 3], cell=[BOX_SIDE] * 3, pbc=False, info=info)


def dimers(elements: list[str], parameters: Dimer, rng: np.random.Generator) -> list[Atoms]:
    """Return the dimers of all pairs of elements, from the shortest distance to the longest, in boxes of one size.

    :raises ValueError: if `farthest` is shorter than the smallest distance of a pair.
    """
    frames = []
    for pair in combinations_with_replacement(_distinct(elements), 2):
        nearest = _nearest(pair, parameters.closest, parameters.farthest, 'dimer')
        grid = np.geomspace if parameters.spacing == 'logarithmic' else np.linspace
        for distance in grid(nearest, parameters.farthest, parameters.number):
            positions = np.array([[0, 0, 0], [0, 0, distance]])
            frames.append(_boxed(pair, positions, (0, 0, parameters.farthest), 'dimer', parameters.closest))
            frames[-1].info['parameters'] = {'distance': float(distance)}
    return frames


def trimers(elements: list[str], parameters: Trimer, rng: np.random.Generator) -> list[Atoms]:
    """Return trimers of all triples of elements: two sides and the angle between them at random.

    The sides are uniform in the logarithm of the length, the angle in its cosine.

    :raises ValueError: if `farthest` is shorter than the smallest distance of a pair.
    """
    frames = []
    for triple in combinations_with_replacement(_distinct(elements), 3):
        for number in range(parameters.number):
            # each element in turn is the one at the corner
            turn = number % 3
            symbols = triple[turn:] + triple[:turn]
            positions = _triangle(symbols, parameters, rng)
            space = (0, parameters.farthest, parameters.farthest)
            frames.append(_boxed(symbols, positions, space, 'trimer', parameters.closest))
            sides = [float(np.linalg.norm(positions[i] - positions[j])) for i, j in ((0, 1), (0, 2), (1, 2))]
            frames[-1].info['parameters'] = {'sides': sides}
    return frames


def _triangle(symbols: tuple[str, ...], parameters: Trimer, rng: np.random.Generator) -> np.ndarray:
    """Positions (3, 3) of a trimer in the plane x = 0, the first atom at the corner."""
    nearest = [
        _nearest((symbols[0], other), parameters.closest, parameters.farthest, 'trimer') for other in symbols[1:]
    ]
    limit = _nearest((symbols[1], symbols[2]), parameters.closest, parameters.farthest, 'trimer')
    for _ in range(ATTEMPTS):
        first, second = (np.exp(rng.uniform(np.log(near), np.log(parameters.farthest))) for near in nearest)
        cosine = rng.uniform(-1.0, 1.0)
        sine = np.sqrt(1 - cosine**2)
        positions = np.array([[0, 0, 0], [0, 0, first], [0, second * sine, second * cosine]])
        if limit <= np.linalg.norm(positions[2] - positions[1]) <= parameters.farthest:
            return positions
    raise InputError(
        'trimer.farthest',
        f'no {"-".join(symbols)} within {parameters.farthest} Å keeps its atoms apart by {parameters.closest} of '
        'the covalent distance',
        f'use at least {2 * max(*nearest, limit):.2f} Å',
    )


def _nearest(pair: tuple[str, ...], closest: float, farthest: float, section: str) -> float:
    """Smallest distance (Å) of a pair."""
    # a hair longer, so that rounding does not make the shortest of them too short for the checks
    nearest = closest * covalent_distance((pair[0], pair[1])) * (1 + 1e-5)
    if farthest <= nearest:
        raise InputError(
            f'{section}.farthest',
            f'{farthest} Å is not longer than the smallest distance of {pair[0]}-{pair[1]}, {nearest:.2f} Å',
            f'raise it, or lower structures.{section}.closest',
        )
    return nearest


def _boxed(
    symbols: tuple[str, ...], positions: np.ndarray, extent: tuple[float, ...], kind: str, closest: float
) -> Atoms:
    """Put a cluster into the middle of a box that is the same for all clusters of a kind: equal cells, equal errors."""
    atoms = Atoms(list(symbols), positions, cell=np.array(FREE_SPACE) + np.array(extent), pbc=True)
    atoms.positions += atoms.cell.lengths() / 2 - (positions.min(axis=0) + positions.max(axis=0)) / 2
    atoms.info.update(
        family=kind,
        operation=kind,
        phase=f'{"-".join(sorted(symbols))} {kind}',
        reason=f'{kind} of {"-".join(symbols)}: the repulsive wall, which no crystal shows',
        split='train',
        allowed_overlap=closest,
        vacuum_axes=[0, 1, 2],
    )
    return atoms


def _distinct(elements: list[str]) -> list[str]:
    return sorted(set(elements))
