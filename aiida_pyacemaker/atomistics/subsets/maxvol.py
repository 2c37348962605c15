"""D-optimality: the rows that pin down a linear model best, by MaxVol and greedy completion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.blas import dger, idamax

from .farthest_point import farthest_point
from .greedy import BLOCK, Table, greedy

#: Unit information known beforehand, relative to the largest row: what is smaller than the square root of this part of
#: it is noise. The same as the unit rows of the active set (1e-4), squared.
RIDGE = 1e-8
#: Columns smaller than this part of the largest are zero up to rounding, as for the active set.
ZERO = 1e-12
#: Eigenvalues of the Gram matrix of columns of unit size below this part of the largest are zero up to rounding.
NULL_EIGENVALUE = 1e-13
#: MaxVol ends when no exchange of one row makes the determinant larger by more than this factor.
TOLERANCE = 1.001
#: Below this gain in ln det a row adds nothing that D-optimality can see: farthest point takes over.
SMALL_GAIN = 1e-6
#: MaxVol looks at so many rows at a time beside those chosen.
ROWS_PER_EXCHANGE = 2048
#: Exchanges are reversible up to rounding only: no more passes through the table than this.
MAX_PASSES = 50


class Information:
    """Worth of a row x: its leverage x M^-1 x^T, where M is the information matrix of the rows chosen.

    Choosing x multiplies det M by 1 + x M^-1 x^T, and (Sherman and Morrison) takes (x' . u)^2 from the leverage of
    every other row x', with u = M^-1 x^T / sqrt(1 + x M^-1 x^T).
    """

    def __init__(self, inverse: np.ndarray, capacity: int):
        self._inverse = inverse
        self._directions = np.empty((capacity, len(inverse)))
        self._number = 0

    @property
    def directions(self) -> np.ndarray:
        return self._directions[: self._number]

    def worth(self, rows: np.ndarray) -> np.ndarray:
        """Leverage (n,) of rows (n, n_features) with regard to all rows chosen."""
        return np.einsum('ij,ij->i', rows @ self._inverse, rows)

    def add(self, row: np.ndarray) -> None:
        product = self._inverse @ row
        direction = product / np.sqrt(1.0 + row @ product)
        self._inverse -= np.outer(direction, direction)
        self._directions[self._number] = direction
        self._number += 1

    def lower(self, rows: np.ndarray, worth: np.ndarray, first: int) -> np.ndarray:
        products = rows @ self.directions[first:].T
        return np.maximum(worth - np.einsum('ij,ij->i', products, products), 0.0)

    def gain(self, worth: np.ndarray) -> np.ndarray:
        """Gain in ln det M."""
        return np.log1p(worth)


def maxvol(
    vectors: np.ndarray, n: int, start: Sequence[int] | None = None, costs: np.ndarray | None = None
) -> list[int]:
    """Choose n rows for the largest determinant of their information matrix sum x^T x.

    As many rows as the table has rank: MaxVol, the exchange of rows until none makes the determinant larger
    (S. A. Goreinov et al., in: Matrix Methods, World Scientific (2010), 247). More: greedy completion (A. Mikhalev,
    I. V. Oseledets, Linear Algebra Appl. 538, 187 (2018)). Fewer, with a `start` or with costs: greedy throughout,
    for the largest gain in ln det per cost, which for few rows is the choice of a column-pivoted QR of the transpose.
    Where nothing gains, farthest point takes over.

    :param vectors: (n_rows, n_features); MaxVol works on one copy in single precision, the greedy choice without any.
    :param start: indices of rows that are in already, and not counted in n.
    :param costs: (n_rows,), positive.
    :returns: min(n, n_rows - len(start)) indices in the order of choice.
    """
    vectors = np.asarray(vectors)
    taken = list(start or [])
    n = min(n, len(vectors) - len(set(taken)))
    if n <= 0:
        return []
    chosen: list[int] = []
    if not taken and costs is None and n >= min(vectors.shape):
        chosen = _square_and_more(whiten(vectors), n)
    if not chosen:
        chosen = _greedy(Table(vectors), n, taken, costs)
    if len(chosen) < n:
        chosen += farthest_point(vectors, n - len(chosen), start=taken + chosen, costs=costs)
    return chosen


def whiten(vectors: np.ndarray) -> np.ndarray:
    """Return the rows in coordinates that are orthogonal and of mean square 1, null space left out (n_rows, rank).

    Which rows span the largest volume does not depend on a transformation of the columns, but rounding does: now
    single precision, half the memory of the table, is enough.
    """
    table = Table(vectors)
    gram = np.zeros((table.width, table.width))
    for _, rows in table.blocks():
        gram += rows.T @ rows
    scale = np.sqrt(np.diag(gram) / len(vectors))
    used = scale > ZERO * scale.max(initial=0.0)
    if not used.any():
        return np.empty((len(vectors), 0), dtype=np.float32)
    scale = scale[used]
    values, modes = eigh(gram[np.ix_(used, used)] / np.outer(scale, scale) / len(vectors))
    keep = values > NULL_EIGENVALUE * values.max()
    transform = np.zeros((table.width, int(keep.sum())))
    transform[used] = modes[:, keep] / np.sqrt(values[keep]) / scale[:, None]
    whitened = np.empty((len(vectors), transform.shape[1]), dtype=np.float32)
    for part, rows in table.blocks():
        whitened[part] = rows @ transform
    return whitened


def _square_and_more(rows: np.ndarray, n: int) -> list[int]:
    """Choose n of whitened rows by MaxVol and completion; none if n is less than their rank."""
    if not 0 < rows.shape[1] <= n:
        return []
    chosen, leverages = square_maxvol(rows)
    if len(chosen) in (0, n):
        return chosen
    known = rows[chosen].astype(float)
    information = Information(np.linalg.inv(known.T @ known), n)
    return chosen + greedy(Table(rows), n - len(chosen), information, leverages, taken=chosen, least=SMALL_GAIN)


def square_maxvol(rows: np.ndarray, tolerance: float = TOLERANCE) -> tuple[list[int], np.ndarray]:
    """Choose as many rows as there are columns such that no row has a coefficient above `tolerance` in those chosen.

    It starts from the greedy choice, which is near the end, and then looks at all rows only to find out which few may
    still be worth an exchange.

    :param rows: (n_rows, n_columns) of full column rank, columns of similar size and independent.
    :returns: the indices, none if the rows are of lower rank; and the leverages (n_rows,) of all rows: the sums of
        their squared coefficients.
    """
    chosen = np.array(_greedy(Table(rows), rows.shape[1], [], None))
    if len(chosen) < rows.shape[1]:
        return [], np.zeros(len(rows))
    for _ in range(MAX_PASSES):
        inverse = np.linalg.inv(rows[chosen].astype(float))
        grades, leverages = _grades(rows, inverse)
        if grades.max() <= tolerance:
            break
        grades[chosen] = 0.0
        pool = np.sort(np.argsort(-grades, kind='stable')[:ROWS_PER_EXCHANGE])
        chosen = exchange(chosen, pool, rows[pool] @ inverse, tolerance)
    else:
        leverages = _grades(rows, np.linalg.inv(rows[chosen].astype(float)))[1]
    return [int(index) for index in chosen], leverages


def _grades(rows: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest absolute value, and sum of squares, of the coefficients of every row."""
    inverse = inverse.astype(rows.dtype)
    grades, leverages = np.empty((2, len(rows)))
    for begin in range(0, len(rows), BLOCK):
        part = slice(begin, begin + BLOCK)
        coefficients = rows[part] @ inverse
        leverages[part] = np.einsum('ij,ij->i', coefficients, coefficients)
        grades[part] = np.maximum(coefficients.max(axis=1), -coefficients.min(axis=1))
    return grades, leverages


def exchange(chosen: np.ndarray, pool: np.ndarray, coefficients: np.ndarray, tolerance: float) -> np.ndarray:
    """Exchange chosen rows for rows of the pool until no exchange multiplies the determinant by more than tolerance.

    :param chosen: (n,) indices of rows; :param pool: (n_pool,) indices of others.
    :param coefficients: C (n_pool, n) of the pool in the chosen rows: with row i in place of the j-th, |det| is
        multiplied by |C_ij|.
    :returns: (n,) indices.
    """
    candidates = np.concatenate([chosen, pool])
    chosen = chosen.copy()
    # Fortran's order, in which BLAS looks for the largest and updates in place
    coefficients = np.asfortranarray(np.vstack([np.eye(len(chosen)), coefficients]))
    entries = coefficients.reshape(-1, order='F')
    for _ in range(20 * len(candidates)):
        j, i = divmod(int(idamax(entries)), len(candidates))
        largest = coefficients[i, j]
        if abs(largest) <= tolerance:
            break
        chosen[j] = candidates[i]
        column, row = coefficients[:, j].copy(), coefficients[i].copy()
        row[j] -= 1.0
        dger(-1.0 / largest, column, row, a=coefficients, overwrite_a=1)
    return chosen


def _greedy(table: Table, n: int, taken: list[int], costs: np.ndarray | None) -> list[int]:
    """Choose up to n rows from nothing but a ridge and the rows taken."""
    squares = table.map(lambda rows, _: np.einsum('ij,ij->i', rows, rows))
    largest = float(squares.max(initial=0.0))
    if largest == 0.0:
        return []
    known = table[np.array(taken, dtype=int)]
    matrix = RIDGE * largest * np.eye(known.shape[1]) + known.T @ known
    information = Information(np.linalg.inv(matrix), n)
    worth = table.map(lambda rows, _: information.worth(rows)) if taken else squares / (RIDGE * largest)
    return greedy(table, n, information, worth, costs, taken=taken, least=SMALL_GAIN)
