"""Pairs of atoms across periodic boundaries, and the lattice that a network of them spans."""

from __future__ import annotations

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from .supercell import perpendicular_widths

#: A cell whose edge is longer than this many times its perpendicular width is replaced by its reduced cell.
MAX_SKEWNESS = 1.6


def reduced_cell(cell: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a cell of the same lattice that is not strongly skewed, and the integers that make it: `new = op @ cell`.

    :param cell: (3, 3) in Å, complete. Cells that are good enough are returned as they are (the reduction takes time).
    """
    if np.all(np.linalg.norm(cell, axis=1) <= MAX_SKEWNESS * perpendicular_widths(cell)):
        return cell, np.eye(3, dtype=int)
    reduced, operation = minkowski_reduce(cell, pbc)
    return np.asarray(reduced), np.asarray(operation)


def add_images(scaled: np.ndarray, pbc: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the periodic images of points that lie in a box of scaled coordinates.

    :param scaled: (n, 3), in [0, 1) along periodic axes.
    :param low, high: (3,) borders of the box along periodic axes (low <= 0, high >= 1).
    :returns: index of the point (m,) and lattice translation (m, 3) of every image; the points themselves come first.
    """
    index, shift = np.arange(len(scaled)), np.zeros((len(scaled), 3), dtype=np.int64)
    for axis in np.flatnonzero(pbc):
        indices, shifts = [index], [shift]
        coordinate = scaled[index, axis]
        for step in range(int(np.floor(low[axis])), int(np.ceil(high[axis]))):
            inside = (coordinate + step >= low[axis]) & (coordinate + step < high[axis])
            if step == 0 or not inside.any():
                continue
            moved = shift[inside]
            moved[:, axis] += step
            indices.append(index[inside])
            shifts.append(moved)
        index, shift = np.concatenate(indices), np.concatenate(shifts)
    return index, shift


def periodic_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of atoms closer than a cutoff, images included, each pair once; O(n).

    :param positions: (n, 3) in Å. :param cell: (3, 3), complete. :param cutoff: Å, may exceed the cell.
    :returns: first (m,), second (m,), shift (m, 3), distance (m,): atom `first` and the image `second + shift @ cell`.
    """
    small, operation = reduced_cell(cell, pbc)
    scaled = positions @ np.linalg.inv(small)
    home = np.where(pbc, np.floor(scaled), 0.0).astype(np.int64)
    scaled = scaled - home
    # Every pair can be moved by one lattice vector so that the lower of its coordinates is in [0, 1) along each axis:
    # images on the upper side are enough, and this representative is the one whose smaller translation is zero.
    high = 1 + cutoff / perpendicular_widths(small) + 1e-9
    index, shift = add_images(scaled, pbc, np.zeros(3), high)
    points = (scaled[index] + shift) @ small
    first, second = cKDTree(points).query_pairs(cutoff, output_type='ndarray').T
    unique = ~np.minimum(shift[first], shift[second]).any(axis=1)
    first, second = first[unique], second[unique]
    distance = np.linalg.norm(points[second] - points[first], axis=1)
    vector = (shift[second] - home[index[second]]) - (shift[first] - home[index[first]])
    return index[first], index[second], vector @ operation, distance


def networks(
    number: int, first: np.ndarray, second: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Connected networks of a periodic graph, and the lattice vectors that connect each with its own images.

    The translation along every closed path of a network is a lattice vector (its winding). Networks whose windings
    have rank 3, 2, 1, 0 are endless in space, sheets, chains, islands.

    :param number: of nodes. :param first, second, shift: edges (m,), (m,), (m, 3) as `periodic_pairs` gives them.
    :returns: label of every node (number,); label -> windings (k, 3), for the networks that have any.
    """
    shape = (number + 1, number + 1)
    _, labels = connected_components(coo_matrix((np.ones(len(first)), (first, second)), shape), directed=False)
    # a root beside the nodes, joined to one node of every network, so that one search finds a tree of each
    root, starts = number, np.unique(labels[:number], return_index=True)[1]
    code = first.astype(np.int64) * number + second
    kept = np.unique(code, return_index=True)[1]  # one edge of each pair of nodes is enough for the tree
    tail, head, move = first[kept], second[kept], shift[kept]
    distinct = tail != head
    tail, head, move = tail[distinct], head[distinct], move[distinct]
    rows = np.concatenate([tail, np.full(len(starts), root)])
    columns = np.concatenate([head, starts])
    search = coo_matrix((np.ones(len(rows)), (rows, columns)), shape).tocsr()
    _, parent = breadth_first_order(search, root, directed=False)
    parent[root] = root
    place = _places(number, parent, tail, head, move)
    winding = place[first] + shift - place[second]
    closed = winding.any(axis=1)
    rows = np.unique(np.column_stack([labels[first[closed]], winding[closed]]), axis=0)
    return labels[:number], {int(k): rows[rows[:, 0] == k, 1:] for k in np.unique(rows[:, 0])}


def _places(number: int, parent: np.ndarray, tail: np.ndarray, head: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Translation (number, 3) of every node relative to the first of its tree, from the edges of the tree."""
    node = np.arange(number)
    above = parent[:number].astype(np.int64)
    forth = np.zeros((number + 1, 3), dtype=np.int64)
    codes = tail.astype(np.int64) * number + head
    order = np.argsort(codes)
    codes = codes[order]
    inner = above < number
    for start, end, sign in ((above, node, 1), (node, above, -1)):
        wanted = start[inner] * number + end[inner]
        where = np.minimum(np.searchsorted(codes, wanted), max(len(codes) - 1, 0))
        found = codes[where] == wanted if len(codes) else np.zeros(len(wanted), dtype=bool)
        forth[node[inner][found]] = sign * move[order[where[found]]]
    # where a node sits = its own step + where its parent sits; doubling the reach each turn
    jump = parent.astype(np.int64)
    while (jump != number).any():
        forth = forth + forth[jump]
        forth[number] = 0
        jump = jump[jump]
    return forth[:number]


def rank_of(windings: np.ndarray) -> int:
    """Rank of integer vectors (k, 3)."""
    return int(np.linalg.matrix_rank(windings)) if len(windings) else 0


def lattice_basis(windings: np.ndarray) -> np.ndarray:
    """Shortest linearly independent ones of integer vectors (k, 3): (rank, 3), shortest first."""
    # of the two signs of a vector the one whose first component is positive
    windings = np.unique(np.where(_leading_sign(windings) < 0, -windings, windings), axis=0)
    basis: list[np.ndarray] = []
    for vector in windings[np.lexsort((*-windings.T[::-1], np.abs(windings).sum(axis=1)))]:
        if np.linalg.matrix_rank(np.array([*basis, vector])) > len(basis):
            basis.append(vector)
    return np.array(basis, dtype=int).reshape(len(basis), 3)


def _leading_sign(vectors: np.ndarray) -> np.ndarray:
    """Sign (k, 1) of the first component of each vector that is not zero."""
    first = (vectors != 0).argmax(axis=1)
    return np.sign(vectors[np.arange(len(vectors)), first])[:, None]
