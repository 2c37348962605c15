"""Translations that map the surroundings of a point onto themselves, and boxes whose axes lie along them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from .environments import Region

#: Å: grid of the map of displacements; three bins across count together.
BIN_WIDTH = 0.4
#: A displacement is a translation if it maps at least this share of the sampled atoms onto atoms of their species.
MIN_SHARE = 0.3
#: Atoms whose displacements are taken.
SAMPLED_ATOMS = 120
#: cos of the angle by which two axes may miss the right one, and of the one by which a translation misses its axis.
SQUARE_COSINE = 0.03
ALIGNED_COSINE = 0.9998


def translations(
    region: Region, shell: tuple[float, float], low: float, high: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors (k, 3) with lengths in [low, high] (Å) that map atoms of a shell onto atoms, and their shares.

    A map of the displacements between atoms of the same species: where displacements heap up is a translation of the
    lattice, of one of the lattices, or of what two of them have in common; without a lattice there is none.

    :param shell: Å from the point: where the atoms are taken from.
    """
    distance = np.linalg.norm(region.positions, axis=1)
    pool = np.flatnonzero((distance >= shell[0]) & (distance <= shell[1]))
    if len(pool) < 4:
        return np.zeros((0, 3)), np.zeros(0)
    sample = rng.choice(pool, min(SAMPLED_ATOMS, len(pool)), replace=False)
    difference = _differences(region, sample, low, high)
    size = int(np.ceil(2 * (high + 2 * BIN_WIDTH) / BIN_WIDTH))
    bins = ((difference + high + 2 * BIN_WIDTH) / BIN_WIDTH).astype(np.int64)
    code = np.ravel_multi_index(tuple(bins.T), (size,) * 3)
    counts = np.bincount(code, minlength=size**3).reshape((size,) * 3).astype(np.float32)
    share = uniform_filter(counts, 3, mode='constant') * (27 / len(sample))
    peaks = np.argwhere((share > MIN_SHARE) & (share == maximum_filter(share, 3, mode='constant')))
    if not len(peaks):
        return np.zeros((0, 3)), np.zeros(0)
    # the mean displacement of a peak: that of its 27 bins
    owner = np.full(counts.shape, -1)
    for step in np.indices((3, 3, 3)).reshape(3, -1).T - 1:
        owner[tuple((peaks + step).T)] = np.arange(len(peaks))
    mine = owner.ravel()[code]
    member = mine >= 0
    number = np.bincount(mine[member], minlength=len(peaks))
    sums = [np.bincount(mine[member], difference[member, axis], minlength=len(peaks)) for axis in range(3)]
    vectors = np.array(sums).T / np.maximum(number, 1)[:, None]
    found = number > 0
    return vectors[found], np.minimum(share[tuple(peaks.T)], 1.0)[found]


def _differences(region: Region, sample: np.ndarray, low: float, high: float) -> np.ndarray:
    parts = []
    for number in np.unique(region.numbers[sample]):
        mine = region.positions[sample[region.numbers[sample] == number]]
        vectors = (region.positions[region.numbers == number][None] - mine[:, None]).reshape(-1, 3)
        square = np.einsum('ij,ij->i', vectors, vectors)
        parts.append(vectors[(square >= low**2) & (square <= high**2)])
    return np.concatenate(parts)


def lattice_frames(vectors: np.ndarray, shares: np.ndarray, maximum: int) -> list[np.ndarray]:
    """Return frames (3, 3) (orthonormal rows) whose axes lie along translations, the best first.

    Frames with translations along all three axes, those with two (grain boundaries), those with one (a wire, a
    dislocation line), in the order of the shares that they map, then of the number of translations along the axes.
    """
    if not len(vectors):
        return []
    lengths = np.linalg.norm(vectors, axis=1)
    order = np.lexsort((lengths, -np.round(shares, 1)))[:160]
    unit = _leading(vectors[order] / lengths[order, None])
    unit = unit[_first_of_each(unit)]
    first, second = np.nonzero(np.triu(np.abs(unit @ unit.T) < SQUARE_COSINE, 1))
    frames = _orthonormal(unit[first], unit[second])
    skew = np.abs(np.einsum('fi,fi->f', unit[first], unit[second]))
    if not len(frames):
        skew = np.zeros(1)
        helper = np.eye(3)[np.abs(unit[0]).argmin()]
        frames = _orthonormal(unit[:1], np.cross(unit[0], helper)[None])
    # how well, and by how many translations, each axis of each frame is served
    along = np.abs(np.einsum('fai,vi->fav', frames, vectors / lengths[:, None])) > ALIGNED_COSINE
    best = np.where(along, shares, 0).max(axis=2).sum(axis=1)
    rank = np.lexsort((-along.sum(axis=(1, 2)), np.round(skew, 2), -np.round(best, 1)))
    kept: list[np.ndarray] = []
    for row in rank:
        if not any(_same_frame(frames[row], other) for other in kept):
            kept.append(frames[row])
        if len(kept) == maximum:
            break
    return kept


def _leading(vectors: np.ndarray) -> np.ndarray:
    """Of a vector and its opposite the one whose largest component is positive."""
    largest = np.abs(vectors).argmax(axis=1)
    return vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]


def _first_of_each(unit: np.ndarray) -> np.ndarray:
    """Which directions are no repetition of an earlier one."""
    same = np.abs(unit @ unit.T) > 1 - SQUARE_COSINE**2
    return ~np.triu(same, 1).any(axis=0)


def _orthonormal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Frames (k, 3, 3) nearest to pairs of almost orthogonal directions (k, 3)."""
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    third = np.cross(first, second)
    third /= np.linalg.norm(third, axis=1, keepdims=True)
    plus, minus = first + second, first - second
    plus /= np.linalg.norm(plus, axis=1, keepdims=True)
    minus /= np.linalg.norm(minus, axis=1, keepdims=True)
    # plus and minus are exactly orthogonal: half of the error goes to each direction
    return np.stack([(plus + minus) / np.sqrt(2), (plus - minus) / np.sqrt(2), third], axis=1)


def _same_frame(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one @ other.T).max(axis=1) > 1 - SQUARE_COSINE**2).all())
