"""Short-range repulsive baselines: energy, forces, stress, and the LAMMPS lines that reproduce them."""

from __future__ import annotations

from ase import Atoms

from ..checks.overlap import Pair, covalent_distance, element_pairs, shortest_distances
from .base import Baseline
from .lennard_jones import LennardJones
from .zbl import ZBL

__all__ = ('ZBL', 'Baseline', 'LennardJones', 'baseline_from_data', 'baseline_from_dict', 'baseline_from_distances')

BASELINES: dict[str, type[Baseline]] = {'lj': LennardJones, 'zbl': ZBL}


def baseline_from_dict(values: dict) -> Baseline:
    """Make a baseline from what its `to_dict` returned.

    :raises ValueError: if the kind is unknown.
    """
    return _class_of(values.get('kind')).from_dict(values)


def baseline_from_data(kind: str, elements: list[str], frames: list[Atoms]) -> Baseline:
    """Make a baseline whose ranges come from the shortest distances in the data.

    A pair that the data never show within 6 Å gets the sum of its covalent radii times the smallest ratio of shortest
    distance to covalent radii among the pairs that were seen.

    :param kind: 'zbl' or 'lj'.
    :raises ValueError: if the kind is unknown or no two atoms are within 6 Å of each other in the data.
    """
    return baseline_from_distances(kind, elements, shortest_distances(frames))


def baseline_from_distances(kind: str, elements: list[str], shortest: dict[Pair, float]) -> Baseline:
    """Make a baseline from the shortest distances (Å) in the data; see :func:`baseline_from_data`."""
    cls = _class_of(kind)
    pairs = element_pairs(elements)
    seen = {pair: distance for pair, distance in shortest.items() if pair in pairs}
    if not seen:
        raise ValueError('no two atoms are within 6 Å of each other in the data: baseline ranges need condensed frames')
    ratio = min(distance / covalent_distance(pair) for pair, distance in seen.items())
    return cls.from_distances({pair: seen.get(pair, ratio * covalent_distance(pair)) for pair in pairs})


def _class_of(kind: str | None) -> type[Baseline]:
    if kind not in BASELINES:
        raise ValueError(f'unknown baseline {kind!r}: choose one of {", ".join(sorted(BASELINES))}')
    return BASELINES[kind]
