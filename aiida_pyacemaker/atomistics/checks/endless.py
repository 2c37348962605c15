"""A quick look at many frames at once: those that are surely bulk need no search for vacuum."""

from __future__ import annotations

import numpy as np

from .batch import Batch
from .vacuum import MIN_GAP, MIN_VOID_DIAMETER, ball_radii

#: Å; spacing of the coarse grid on which voids are sought.
COARSE_SPACING = 2.5
#: Points of it beyond which frames are looked at one by one.
MAX_POINTS = 1000
#: Balls of bonded atoms overlap a little: together they fill at least this share of the sum of their volumes.
MIN_FILLED_SHARE = 0.85


def surely_bulk(batch: Batch, gap: float = MIN_GAP, void: float = MIN_VOID_DIAMETER) -> np.ndarray:
    """Return (b,) which frames are bulk beyond doubt, in the sense of `detect_vacuum`; the others may be.

    Distances are those to the image of rounded scaled coordinates, which may be too long in narrow or skewed cells,
    never too short: contacts may be missed and holes seem larger, so that a frame is then not called bulk.
    """
    bulk = batch.pbc.all(axis=1) & _endless(batch, gap)
    doubtful = np.flatnonzero(bulk & ~_too_dense(batch, void))
    if len(doubtful):
        bulk[doubtful] = _no_void(batch, doubtful, void)
    return bulk


def _too_dense(batch: Batch, void: float) -> np.ndarray:
    """(b,): beside the atoms there is no room for a sphere of that diameter."""
    filled = MIN_FILLED_SHARE * (4 / 3 * np.pi * ball_radii(batch.numbers) ** 3).sum(axis=1)
    return np.abs(np.linalg.det(batch.cells)) - filled < np.pi / 6 * void**3


def _endless(batch: Batch, gap: float) -> np.ndarray:
    """(b,): the network of the first atom and its contacts has windings in three directions (see `pairs.networks`)."""
    radii = ball_radii(batch.numbers)
    (first, second), (shifts, distance) = batch.pairs, batch.nearest
    contact = distance < radii[:, first] + radii[:, second] + gap
    count, size = radii.shape
    joined = np.zeros((count, size, size), dtype=bool)
    joined[:, first, second] = contact
    joined |= joined.transpose(0, 2, 1)
    moves = np.zeros((count, size, size, 3), dtype=np.float32)
    moves[:, first, second] = shifts
    moves[:, second, first] = -shifts
    reached, place = _spread(joined, moves)
    closed = contact & reached[:, first]
    winding = (place[:, first] + shifts - place[:, second]) * closed[:, :, None]
    gram = np.matmul(winding.transpose(0, 2, 1), winding)
    # a lattice vector that is short enough joins the first atom with its own image
    own = np.linalg.norm(batch.cells, axis=2) < 2 * radii[:, :1] + gap
    gram[:, range(3), range(3)] += own
    return np.linalg.det(gram) > 0.5


def _spread(joined: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the first atom along contacts: which atoms are reached (b, n), and in which cell (b, n, 3)."""
    count, size, _ = joined.shape
    reached = np.zeros((count, size), dtype=bool)
    reached[:, 0] = True
    place = np.zeros((count, size, 3), dtype=np.float32)
    fresh = reached
    while fresh.any():
        ways = joined & fresh[:, :, None]
        fresh = ways.any(axis=1) & ~reached
        frame, atom = np.nonzero(fresh)
        origin = ways.argmax(axis=1)[frame, atom]
        place[frame, atom] = place[frame, origin] + moves[frame, origin, atom]
        reached = reached | fresh
    return reached, place


def _no_void(batch: Batch, rows: np.ndarray, void: float) -> np.ndarray:
    """(len(rows),): every point of a coarse grid is too near to an atom for a void anywhere."""
    cells = batch.cells[rows]
    lengths = np.linalg.norm(cells, axis=2)
    shape = np.ceil(lengths.max(axis=0) / COARSE_SPACING).astype(int)
    if shape.prod() > MAX_POINTS:
        return np.zeros(len(rows), dtype=bool)
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
    cover = 0.5 * np.linalg.norm(np.matmul(signs / shape, cells), axis=2).max(axis=1)
    points = np.indices(shape).reshape(3, -1).T / shape
    scaled = np.matmul(batch.positions[rows], np.linalg.inv(cells))
    radii = ball_radii(batch.numbers[rows])
    free = np.empty(len(rows))
    for row in range(len(rows)):
        difference = points[:, None] - scaled[row]
        vectors = (difference - np.rint(difference)) @ cells[row]
        free[row] = (np.sqrt((vectors**2).sum(axis=-1)) - radii[row]).min(axis=1).max()
    return free < void / 2 - cover
