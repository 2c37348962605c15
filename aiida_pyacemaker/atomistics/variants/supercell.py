"""Supercells: small ones, the cheapest to label, and wide ones, in which no atom sees its own image."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from ..checks.supercell import perpendicular_widths
from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter
from .common import label, periodic_axes, record, remembered

#: Lattice vectors that are tried as axes of a wide supercell are at most this much longer than the width,
MAX_LENGTH_RATIO = 1.3
#: and no more than this many, the shortest.
MAX_VECTORS = 72


class Supercell(Section):
    """How large the cells are to which the operations are applied."""

    mode: Literal['small', 'wide'] = parameter(
        'Small cells of as many atoms as each operation asks for, the cheapest to label; or wide ones, whose every '
        'perpendicular width exceeds `width`.',
        default='small',
    )
    width: Positive | None = parameter(
        'Perpendicular width that wide cells must exceed; null: twice the cutoff of the potential.',
        unit='Å',
        default=None,
    )
    max_atoms: Count = parameter('Most atoms that a wide cell may have.', default=256, ge=1)


class Pristine(Section):
    """The parent as it is."""

    number: Count = parameter('Undisturbed structures per phase.', default=1, ge=0)


def pristine(parent: Atoms, parameters: Pristine, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return the parent as it is."""
    return record(parent.copy(), parent, 'pristine', {})


def enlarge(parent: Atoms, parameters: Supercell, cutoff: float | None) -> Atoms:
    """Return the parent of the size that the section asks for: as it is ('small') or as a wide supercell.

    :param cutoff: radius of the potential (Å); needed where `width` is null.
    :raises ValueError: if the width is not known, or `max_atoms` too few.
    """
    if parameters.mode == 'small':
        return parent.copy()
    width = parameters.width
    if width is None and cutoff is not None:
        width = 2 * cutoff
    if width is None:
        raise InputError('supercell.width', 'the cutoff is not known here', 'give the width in Å')
    return wide_supercell(parent, width, parameters.max_atoms)


def supercell(parent: Atoms, atoms: int) -> Atoms:
    """Repeat the parent, always along its shortest axis without vacuum, until it has at least `atoms` atoms.

    Along each axis the supercell is a whole number of parent cells, so that meshes of k-points can be commensurate
    between cells of different size. Of equal axes the last is repeated first: (1, 1, 2), (1, 2, 2), (2, 2, 2).
    A molecule in a box is never repeated.
    """
    if len(parent) >= atoms or not periodic_axes(parent):
        return parent.copy()
    repeated = remembered(('supercell', atoms), parent, lambda: _repeat(parent, atoms)).copy()
    repeated.info = dict(parent.info)
    return repeated


def _repeat(parent: Atoms, atoms: int) -> Atoms:
    axes = periodic_axes(parent)
    repeats = np.ones(3, dtype=int)
    lengths = parent.cell.lengths()
    while len(parent) * repeats.prod() < atoms:
        current = np.round(repeats * lengths, 6)
        repeats[min(axes, key=lambda axis: (current[axis], -axis))] += 1
    return parent.repeat(repeats.tolist())


def wide_supercell(parent: Atoms, width: float, max_atoms: int) -> Atoms:
    """Return the smallest supercell found whose perpendicular widths (axes with vacuum apart) all exceed `width`.

    Integer combinations of the axes are tried too, not only repetitions, so a skewed parent (a primitive cell, say)
    gets a compact cell. By V >= w1 w2 w3 the ideal is a cube; lattice vectors little longer than `width` are combined.

    :param width: Å.
    :raises ValueError: if it takes more than `max_atoms` atoms; says how wide such a cell can be.
    """
    matrix = remembered(('wide', width), parent, lambda: _wide_matrix(parent, width))
    size = len(parent) * round(abs(np.linalg.det(matrix)))
    if size > max_atoms:
        raise InputError(
            'supercell.max_atoms',
            f'{label(parent)} needs {size} atoms to be wider than {width:.2f} Å in every direction, {max_atoms} '
            f'are allowed; with these {_widest(parent, width, max_atoms)}',
        )
    atoms = make_supercell(parent, matrix)
    atoms.info = dict(parent.info)
    axes = periodic_axes(parent)
    # ASE's construction is checked: what leaves here is wide, and holds every atom once
    assert len(atoms) == size and (perpendicular_widths(atoms.cell.array)[axes] > width).all()
    return atoms


def _widest(parent: Atoms, width: float, max_atoms: int) -> str:
    """Say how wide a cell of at most `max_atoms` can be (bisection)."""
    low, high = 0.0, width
    for _ in range(10):
        middle = (low + high) / 2
        fits = len(parent) * round(abs(np.linalg.det(_wide_matrix(parent, middle)))) <= max_atoms
        low, high = (middle, high) if fits else (low, middle)
    return f'about {low:.1f} Å can be reached' if low else f'not even the parent of {len(parent)} atoms fits'


def _wide_matrix(parent: Atoms, width: float) -> np.ndarray:
    """Integer matrix (3, 3) whose product with the cell is the wide cell, determinant > 0."""
    cell, axes = parent.cell.array, periodic_axes(parent)
    diagonal = np.eye(3, dtype=int)
    for axis in axes:
        diagonal[axis, axis] = int(np.floor(perpendicular_widths(cell)[axis] ** -1 * width)) + 1
    candidates = [diagonal[None]]
    vectors = _lattice_vectors(cell, axes, width)
    if len(axes) > 1 and len(vectors) >= len(axes):
        chosen = np.array(list(combinations(range(len(vectors)), len(axes))))
        matrices = np.broadcast_to(np.eye(3, dtype=int), (len(chosen), 3, 3)).copy()
        matrices[:, axes] = vectors[chosen]
        candidates.append(matrices)
    return _best(np.concatenate(candidates), cell, axes, width)


def _lattice_vectors(cell: np.ndarray, axes: list[int], width: float) -> np.ndarray:
    """Integer vectors (m, 3) in the span of the axes, little longer than the width, shortest first, one of ±v."""
    longest = MAX_LENGTH_RATIO * width
    reach = np.zeros(3, dtype=int)
    # within the subspace of the axes: rows of the pseudo-inverse bound the coefficients of a vector of given length
    reach[axes] = np.floor(longest * np.linalg.norm(np.linalg.pinv(cell[axes]), axis=0) + 1e-9)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing='ij'), axis=-1).reshape(-1, 3)
    grid = grid[len(grid) // 2 + 1 :]  # the second half: one of each pair v, -v, without zero
    lengths = np.linalg.norm(grid @ cell, axis=1)
    near = (lengths > width) & (lengths <= longest)
    grid, lengths = grid[near], lengths[near]
    return grid[np.lexsort((*grid.T, np.round(lengths, 6)))][:MAX_VECTORS]


def _best(matrices: np.ndarray, cell: np.ndarray, axes: list[int], width: float) -> np.ndarray:
    """The matrix of the smallest cell that is wide enough; of equal ones the most nearly right-angled."""
    determinants = np.round(np.linalg.det(matrices)).astype(int)
    matrices, determinants = matrices[determinants != 0], determinants[determinants != 0]
    cells = matrices @ cell
    wide = (perpendicular_widths(cells)[:, axes] > width).all(axis=1)
    matrices, cells, sizes = matrices[wide], cells[wide], np.abs(determinants[wide])
    normed = cells / np.linalg.norm(cells, axis=2, keepdims=True)
    skew = np.abs(normed @ normed.transpose(0, 2, 1)).sum(axis=(1, 2))
    best = matrices[np.lexsort((np.round(skew, 6), sizes))[0]].copy()
    for axis in axes:  # a cell that points along its parent's, as far as signs allow
        best[axis] *= 1 if best[axis][np.argmax(np.abs(best[axis]))] > 0 else -1
    if np.linalg.det(best) < 0:
        best[axes[-1]] *= -1
    return best
