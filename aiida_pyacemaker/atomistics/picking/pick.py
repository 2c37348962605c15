"""Choice of n configurations out of many: at random, farthest point or D-optimality, per cost if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms

from ..core.cost import frame_costs
from ..core.parameters import Count, Section, parameter
from ..potential.potential import AcePotential
from ..subsets.farthest_point import farthest_point
from ..subsets.maxvol import maxvol
from .descriptors import ace_features, soap_features


class Selection(Section):
    """Choice of the structures that are labelled, out of more candidates."""

    method: Literal['none', 'random', 'farthest_point', 'maxvol'] = parameter(
        'How structures are chosen out of the candidates: the first ones, at random, as different as possible '
        '(farthest point), or for the best determined potential (D-optimality by MaxVol).',
        default='none',
    )
    descriptor: Literal['soap', 'ace'] = parameter(
        'What structures are compared by: SOAP, or the B-projections of a potential that exists already.',
        default='soap',
    )
    oversampling: Count = parameter(
        'Candidates that are generated per structure that is chosen.', default=4, ge=1, le=1000
    )
    cost_exponent: float = parameter(
        'Structures are chosen per cost, which is the number of valence electrons to this power; 0 ignores the cost, '
        '2.5 is usual for plane waves.',
        default=0.0,
        ge=0.0,
        le=4.0,
    )


def pick(
    frames: Sequence[Atoms],
    n: int,
    selection: Selection,
    rng: np.random.Generator,
    features: np.ndarray | None = None,
    anchors: Sequence[int] = (),
    potential: AcePotential | None = None,
) -> list[int]:
    """Choose n frames.

    :param rng: used by the method `random` only; the others give the same for the same frames.
    :param features: (n_frames, n_features); computed by the descriptor if not given.
    :param anchors: indices of frames that are in already, neither chosen again nor counted: the choice completes them.
    :param potential: for the descriptor `ace`.
    :returns: n different indices, in the order of choice.
    :raises ValueError: if there are fewer than n frames, or the descriptor cannot be computed.
    """
    anchors = sorted({int(index) for index in anchors})
    left = np.setdiff1d(np.arange(len(frames)), anchors)
    if not 0 <= n <= len(left):
        raise ValueError(
            f'structures.selection: {n} structures are to be chosen, but there are {len(left)} candidates; '
            f'ask for at most {len(left)}, or raise the numbers of the families or structures.selection.oversampling'
        )
    costs = frame_costs(frames, selection.cost_exponent) if selection.cost_exponent > 0 and len(frames) else None
    if n == 0:
        return []
    if selection.method == 'none':
        return [int(index) for index in left[:n]]
    if selection.method == 'random':
        weights = None if costs is None else (1 / costs[left]) / np.sum(1 / costs[left])
        return [int(index) for index in rng.choice(left, n, replace=False, p=weights)]
    vectors = _features(frames, selection, potential) if features is None else np.asarray(features)
    if vectors.ndim != 2 or len(vectors) != len(frames) or not np.isfinite(vectors.sum()):
        raise ValueError(
            f'structures.selection: the features have the shape {vectors.shape} or hold NaN; '
            f'they are finite numbers of shape ({len(frames)}, n_features)'
        )
    choose = farthest_point if selection.method == 'farthest_point' else maxvol
    return [int(index) for index in choose(vectors, n, start=anchors, costs=costs)]


def _features(frames: Sequence[Atoms], selection: Selection, potential: AcePotential | None) -> np.ndarray:
    if selection.descriptor == 'soap':
        return soap_features(frames)
    if potential is None:
        raise ValueError(
            'structures.selection.descriptor: ace needs a potential, and there is none yet; use soap instead'
        )
    return ace_features(frames, potential)
