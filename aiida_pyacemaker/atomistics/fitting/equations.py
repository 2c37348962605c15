"""The linear problem: its normal equations, block by block, and their solution with a posterior.

Every quantity (energy per atom, forces, stress) and every fold of the cross-validation has its own Gram matrix, so any
weights, any ridge and every left-out fold cost a Cholesky factorisation and no more reading of rows. A block of
configurations that a former fit has seen as a whole is remembered by the store: a continued fit pays for its new data.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from scipy.linalg import cho_solve, eigh, lapack

from ..ace.rows import FrameRows
from ..ace.store import configuration_key
from ..core.processes import forked_map
from .weights import (
    ATOMS,
    Hyperparameters,
    balanced,
    choose,
    degrees,
    given_hyperparameters,
    hull_weights,
    objective,
    penalties,
)

if TYPE_CHECKING:
    from ..ace.store import RowStore

#: Folds of the cross-validation.
FOLDS = 5
#: Force rows of a block, in numbers of functions: what is remembered of a block is a tenth of its rows.
BLOCK = 16
MIN_BLOCK_ROWS = 4096
#: Rows that are multiplied at once, in numbers (8 bytes each).
CHUNK = 8_000_000
#: Of the labels of a quantity, the part that no parameter is spent on is never thought to be smaller: rounding.
MIN_LEFT = 1e-4
#: Ridge below which the rounding of the equations, not the data, would fix coefficients.
ROUNDING = 1e-13
QUANTITIES = ('energy', 'forces', 'stress')


@dataclass
class Target:
    """What ACE has to give for one configuration: labels less references and baseline.

    `energy` (eV), `forces` (n_atoms, 3) (eV/Å), `stress` (6,) (eV/Å³, Voigt); None where there is no label. The weights
    multiply the rows, so their squares count; 0 is a mask. `group` is the family, for statistics. Configurations of the
    same `fold` (a trajectory, a parent structure) are never both fitted and validated on.
    """

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None = None
    energy_weight: float = 1.0
    force_weights: np.ndarray | None = None
    stress_weight: float = 1.0
    group: str = ''
    fold: str = ''


@dataclass
class Fold:
    """The solution without the configurations `members` (indices); see :class:`Solution`."""

    members: np.ndarray
    coefficients: np.ndarray
    factor: np.ndarray


@dataclass
class Solution:
    """Coefficients (n,) with their posterior covariance `factor` @ `factor`.T.

    `noise`: standard deviation of a label by quantity, as the cross-validation (else the fit itself) found it, in
    eV/atom, eV/Å, eV/Å³; an average by weights, so that of a configuration near the hull. `hyperparameters` repeat the
    fit without a search if given as its options. `validation`: cross-validated root mean square errors, what was
    searched. `folds`: the solutions without each fold. `condition` is that of the scaled matrix, ridge included.
    """

    coefficients: np.ndarray
    factor: np.ndarray
    noise: dict[str, float]
    hyperparameters: dict[str, float]
    validation: dict[str, Any]
    condition: float
    folds: list[Fold] = field(default_factory=list)


@dataclass
class Moments:
    """Sums over weighted rows a and targets b: a a^T (n, n), a b (n,), b², weights²; and the number of rows."""

    matrix: np.ndarray
    vector: np.ndarray
    square: float = 0.0
    weight: float = 0.0
    count: int = 0

    @classmethod
    def zeros(cls, size: int) -> Moments:
        return cls(np.zeros((size, size)), np.zeros(size))

    @classmethod
    def of(cls, rows: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Moments:
        """:param rows: (m, n). :param target: (m,). :param weights: (m,), rows of weight 0 are not looked at."""
        used = weights > 0
        weighted = rows[used] * weights[used, None]
        values = target[used] * weights[used]
        return cls(
            weighted.T @ weighted,
            weighted.T @ values,
            float(values @ values),
            float(weights @ weights),
            int(used.sum()),
        )

    def add(self, other: Moments) -> None:
        self.matrix += other.matrix
        self.vector += other.vector
        self.square += other.square
        self.weight += other.weight
        self.count += other.count

    def squares(self, coefficients: np.ndarray) -> float:
        """Return the weighted sum of squared residuals."""
        value = coefficients @ (self.matrix @ coefficients - 2 * self.vector) + self.square
        return max(float(value), 1e-30 * self.square)

    def columns(self, indices: np.ndarray) -> Moments:
        return Moments(
            self.matrix[np.ix_(indices, indices)], self.vector[indices], self.square, self.weight, self.count
        )


@dataclass
class Sums:
    """The normal equations: `moments[quantity][fold]`, those of the core rows, and the members of each fold."""

    moments: dict[str, list[Moments]]
    core: Moments
    members: list[np.ndarray]

    @property
    def size(self) -> int:
        return len(self.core.vector)

    def total(self, quantity: str) -> Moments:
        """Sum over the folds."""
        total = Moments.zeros(self.size)
        for moments in self.moments[quantity]:
            total.add(moments)
        return total

    def columns(self, indices: np.ndarray) -> Sums:
        """Return the equations of some of the functions only: what a smaller basis would give."""
        moments = {name: [each.columns(indices) for each in folds] for name, folds in self.moments.items()}
        return Sums(moments, self.core.columns(indices), self.members)


def solve(
    store: RowStore,
    frames: Sequence[Atoms],
    targets: Sequence[Target],
    options: Mapping[str, Any],
    processes: int = 2,
    report: Callable[[str], None] = print,
    core: Sequence[tuple[FrameRows, float]] = (),
) -> Solution:
    """Fit the coefficients to all targets.

    :param store: gives the rows of every frame, see :class:`~..ace.store.RowStore`.
    :param options: energy_weight, stress_weight, ridge, smoothness (numbers are taken as they are, None is chosen by
        grouped cross-validation), see :class:`~.weights.Hyperparameters`; hull_scale, see :func:`accumulate`; noise of
        the labels, `energy` (eV/atom), `force` (eV/Å), `stress` (GPa), below which no error is taken to be.
    :param core: rows whose energy and forces are driven to zero, with their weights: a prior, no data.
    :raises ValueError: if an option is out of range, or no label counts.
    """
    start = perf_counter()
    sums = accumulate(store, frames, targets, processes, core, options.get('hull_scale'))
    report(f'normal equations of {sum(total_count(sums).values())} labels: {perf_counter() - start:.1f} s')
    return solve_sums(sums, degrees(store.design.basis), options, processes, report)


def total_count(sums: Sums) -> dict[str, int]:
    """Return how many labels of each quantity count."""
    return {name: sum(each.count for each in folds) for name, folds in sums.moments.items()}


# --- accumulation -------------------------------------------------------------------------------------------------


def accumulate(
    store: RowStore,
    frames: Sequence[Atoms],
    targets: Sequence[Target],
    processes: int = 2,
    core: Sequence[tuple[FrameRows, float]] = (),
    hull_scale: float | None = None,
) -> Sums:
    """Sum the normal equations; the same bits whatever the number of processes.

    The weights of the targets are multiplied by those of :func:`~.weights.hull_weights`, and those of energies and
    stresses by the root of the number of atoms.

    :param hull_scale: eV/atom above the hull; None is the default, 0 none.
    :raises ValueError: if no label counts.
    """
    size = store.number_of_functions
    members = assign_folds(targets)
    targets = weigh(frames, targets, hull_scale)
    sums = Sums(
        {name: [Moments.zeros(size) for _ in members] for name in QUANTITIES}, core_moments(core, size), members
    )
    blocks = list(_blocks(frames, members, max(BLOCK * size, MIN_BLOCK_ROWS)))

    def compute(block: _Block) -> list[Moments]:
        parts = [(frames[index], targets[index]) for index in block.members]
        return [_pack(moments) for moments in _block_moments(store, parts, block.complete)]

    for block, found in zip(blocks, forked_map(compute, blocks, processes), strict=True):
        for name, moments in zip(QUANTITIES, found, strict=True):
            if moments.count:
                sums.moments[name][block.fold].add(_unpack(moments))
    if not any(total_count(sums).values()):
        raise ValueError('no label of the training data counts: all weights are zero; give some configurations weight')
    return sums


def weigh(frames: Sequence[Atoms], targets: Sequence[Target], hull_scale: float | None = None) -> list[Target]:
    """Return the targets with the weights by which they count, those of quantities apart; see :func:`accumulate`."""
    elements = sorted({number for atoms in frames for number in np.unique(atoms.numbers)})
    shares = np.array([[np.mean(atoms.numbers == number) for number in elements] for atoms in frames])
    energies = [
        np.nan if target.energy is None or not target.energy_weight else target.energy / len(atoms)
        for atoms, target in zip(frames, targets, strict=True)
    ]
    weights = hull_weights(shares, np.array(energies), hull_scale)
    weighed = []
    for atoms, target, weight in zip(frames, targets, weights, strict=True):
        size, ones = float(np.sqrt(len(atoms) / ATOMS)), np.ones(len(atoms))
        forces = ones if target.force_weights is None else np.asarray(target.force_weights, dtype=float)
        changed = {
            'energy_weight': weight * size * target.energy_weight,
            'stress_weight': weight * size * target.stress_weight,
            'force_weights': weight * forces,
        }
        weighed.append(replace(target, **changed))
    return weighed


def assign_folds(targets: Sequence[Target], number: int = FOLDS) -> list[np.ndarray]:
    """Return the members (indices) of each fold of the cross-validation.

    What belongs together stays together; each newcomer goes to the fold that has the fewest labels so far, so that
    configurations that are appended later leave the others where they are. If all belong together, every configuration
    stands for itself.

    :returns: at most `number` folds; a single one means that there is nothing to validate on.
    """
    keys: list[str | int] = [target.fold for target in targets]
    if len(set(keys)) < 2:
        keys = list(range(len(targets)))
    number = min(number, len(set(keys)))
    where: dict[Any, int] = {}
    filled = np.zeros(number)
    folds: list[list[int]] = [[] for _ in range(number)]
    for index, (key, target) in enumerate(zip(keys, targets, strict=True)):
        fold = where.setdefault(key, int(np.argmin(filled)))
        filled[fold] += 1 if target.forces is None else np.size(target.forces)
        folds[fold].append(index)
    return [np.array(found, dtype=int) for found in folds]


def core_moments(core: Sequence[tuple[FrameRows, float]], size: int) -> Moments:
    """Normal equations that drive the energy per atom and the forces of some frames to zero."""
    total = Moments.zeros(size)
    for rows, weight in core:
        n_atoms = len(rows.forces) // 3
        for part in (rows.energy[None, :] / n_atoms, np.asarray(rows.forces, dtype=float)):
            total.add(Moments.of(part, np.zeros(len(part)), np.full(len(part), float(weight))))
    return total


@dataclass
class _Block:
    """Configurations of one fold that are summed together; it is `complete` if later ones would open a new block."""

    fold: int
    members: list[int]
    complete: bool


def _blocks(frames: Sequence[Atoms], folds: list[np.ndarray], max_rows: int) -> Iterator[_Block]:
    for fold, indices in enumerate(folds):
        members, rows = [], 0
        for index in indices:
            members.append(int(index))
            rows += 3 * len(frames[index])
            if rows >= max_rows:
                yield _Block(fold, members, True)
                members, rows = [], 0
        if members:
            yield _Block(fold, members, False)


def _block_moments(store: RowStore, parts: list[tuple[Atoms, Target]], complete: bool) -> list[Moments]:
    """Moments of energies, forces and stresses of a block.

    What is remembered depends on the forces and their weights, but not on energies and stresses: references, and so the
    energies to fit, may move with every new configuration.
    """

    def compute() -> dict[str, np.ndarray]:
        return _block_arrays(store, parts)

    arrays = store.remember('gram', _content(parts), compute) if complete else compute()
    targets = [target for _, target in parts]
    square, weight, count = arrays['scalars']
    forces = Moments(arrays['matrix'], arrays['vector'], float(square), float(weight), int(count))
    sizes = np.array([len(atoms) for atoms, _ in parts])
    energies = np.array([0.0 if target.energy is None else target.energy for target in targets]) / sizes
    weights = np.array([0.0 if target.energy is None else target.energy_weight for target in targets])
    energy = Moments.of(arrays['energy'] / sizes[:, None], energies, weights)
    periodic = [target for (atoms, target) in parts if atoms.pbc.all()]
    stresses = [np.zeros(6) if target.stress is None else np.asarray(target.stress) for target in periodic]
    weights = np.repeat([0.0 if target.stress is None else float(target.stress_weight) for target in periodic], 6)
    stress = Moments.of(arrays['stress'], np.concatenate([*stresses, np.zeros(0)]), weights)
    return [energy, _unpack(forces), stress]


def _block_arrays(store: RowStore, parts: list[tuple[Atoms, Target]]) -> dict[str, np.ndarray]:
    """Rows of energies (m, n) and stresses (6 m, n), and the moments of the forces, packed."""
    size = store.number_of_functions
    forces, energies, stresses, pending = Moments.zeros(size), [], [np.zeros((0, size))], []
    for atoms, target in parts:
        rows = store.get(atoms)
        energies.append(rows.energy)
        if atoms.pbc.all():
            stresses.append(rows.stress)
        if target.forces is not None:
            label = np.asarray(target.forces, dtype=float).ravel()
            pending.append((rows.forces, label, np.repeat(target.force_weights, 3)))
        if sum(part[0].size for part in pending) > CHUNK:
            _flush(forces, pending)
    _flush(forces, pending)
    packed = _pack(forces)
    return {
        'energy': np.array(energies),
        'stress': np.concatenate(stresses),
        'matrix': packed.matrix,
        'vector': packed.vector,
        'scalars': np.array([packed.square, packed.weight, packed.count]),
    }


def _flush(moments: Moments, pending: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
    if pending:
        rows, target, weights = (np.concatenate(parts) for parts in zip(*pending, strict=True))
        moments.add(Moments.of(rows.astype(float), target, weights))
        pending.clear()


def _content(parts: list[tuple[Atoms, Target]]) -> str:
    """Hash of the configurations, the forces and their weights."""
    digest = hashlib.blake2b(digest_size=16)
    for atoms, target in parts:
        digest.update(configuration_key(atoms).encode())
        for array in (target.forces, target.force_weights):
            digest.update(b'-' if array is None else np.asarray(array, dtype=float).tobytes())
    return digest.hexdigest()


def _pack(moments: Moments) -> Moments:
    """Keep the upper triangle of the matrix."""
    triangle = moments.matrix[np.triu_indices(len(moments.vector))]
    return Moments(triangle, moments.vector, moments.square, moments.weight, moments.count)


def _unpack(moments: Moments) -> Moments:
    size = len(moments.vector)
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = moments.matrix
    matrix += np.triu(matrix, 1).T
    return Moments(matrix, moments.vector, moments.square, moments.weight, moments.count)


# --- solution -----------------------------------------------------------------------------------------------------


def solve_sums(
    sums: Sums,
    degree: np.ndarray,
    options: Mapping[str, Any],
    processes: int = 2,
    report: Callable[[str], None] = print,
) -> Solution:
    """Choose the hyperparameters and solve.

    :param degree: (n,), how fast each function oscillates, see :func:`~.weights.degrees`.
    :param options: see :func:`solve`.
    :raises ValueError: if an option is out of range.
    """
    start = perf_counter()
    hyper, free = given_hyperparameters(options)
    problem = Problem(sums, degree, processes, options.get('noise'))
    tried = 0
    if free:
        balance = functools.partial(problem.balance, free=free)
        if problem.validates:
            hyper, tried = choose(hyper, free, balance, problem.validate)
        else:
            hyper = balance(hyper)
    solution = problem.solve(hyper)
    solution.validation.update(trials=tried, seconds=perf_counter() - start)
    report(_describe(solution, tried))
    return solution


class Problem:
    """The equations, ready to be solved with many hyperparameters."""

    def __init__(self, sums: Sums, degree: np.ndarray, processes: int, label_noise: Mapping[str, float] | None = None):
        given = label_noise or {}
        #: standard deviations that no label is taken to be below, eV/atom, eV/Å and eV/Å³
        self.floor = {
            'energy': given.get('energy', 0.0),
            'forces': given.get('force', 0.0),
            'stress': given.get('stress', 0.0) * GPa,
        }
        self.sums, self.degree, self.processes = sums, degree, max(1, processes)
        self.totals = {name: sums.total(name) for name in QUANTITIES}
        self.names = [name for name in QUANTITIES if self.totals[name].count]
        self.validates = len(sums.members) > 1
        norms = sum(np.diag(total.matrix) / max(total.matrix.trace(), 1e-300) for total in self.totals.values())
        #: a function that is zero in all data gets the coefficient 0
        self.used = norms > 1e-24 * norms.max()
        self._left_out: tuple[Any, list[tuple[np.ndarray, np.ndarray]]] = (None, [])

    def normal(self, hyper: Hyperparameters, folds: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and vector of the normal equations, of all data or of some folds; without the ridge."""
        matrix, vector = self.sums.core.matrix.copy(), self.sums.core.vector.copy()
        weights = hyper.row_weights()
        for name in self.names:
            # summed again: a difference from the total would lose the digits that a small ridge needs
            parts = [self.totals[name]] if folds is None else [self.sums.moments[name][fold] for fold in folds]
            for part in parts:
                if part.count:
                    matrix += weights[name] ** 2 * part.matrix
                    vector += weights[name] ** 2 * part.vector
        return matrix, vector

    def fit(self, hyper: Hyperparameters, folds: Sequence[int] | None = None) -> np.ndarray:
        """Coefficients (n,) of a fit to all data or to some folds; the prior is always that of all data."""
        matrix, vector = self.normal(hyper, folds)
        return _Factor(matrix, self.ridge(hyper), self.used).solve(vector)

    def left_out(self, hyper: Hyperparameters) -> list[tuple[np.ndarray, np.ndarray]]:
        """The normal equations without each fold; kept, because only the ridge changes most of the time."""
        key = (hyper.energy_weight, hyper.stress_weight)
        if self._left_out[0] != key:
            self._left_out = (None, [])
            number = len(self.sums.members)
            others = [[other for other in range(number) if other != fold] for fold in range(number)]
            self._left_out = (key, self._map(lambda fold: self.normal(hyper, others[fold]), number))
        return self._left_out[1]

    def ridge(self, hyper: Hyperparameters) -> np.ndarray:
        """Diagonal of the prior: the ridge in units of the squared column norms of all data."""
        norms = np.diag(self.sums.core.matrix).copy()
        for name, weight in hyper.row_weights().items():
            norms += weight**2 * np.diag(self.totals[name].matrix)
        return np.maximum(hyper.ridge * penalties(self.degree, hyper.smoothness), ROUNDING) * norms

    def balance(self, hyper: Hyperparameters, free: list[str], repeats: int = 3) -> Hyperparameters:
        """Return the hyperparameters with those of the weights that are free as the residuals want them."""
        if not any(name.endswith('_weight') for name in free):
            return hyper
        for _ in range(repeats):
            matrix, vector = self.normal(hyper)
            factor = _Factor(matrix, self.ridge(hyper), self.used)
            coefficients = factor.solve(vector)
            hyper = balanced(hyper, free, {name: self._noise(name, hyper, factor, coefficients) for name in self.names})
        return hyper

    def _noise(self, name: str, hyper: Hyperparameters, factor: _Factor, coefficients: np.ndarray) -> tuple[float, int]:
        """Standard deviation of a label that is left out alone, and the number of labels.

        Generalised cross-validation (G. H. Golub, M. Heath, G. Wahba, Technometrics 21, 215 (1979)): the residual is
        divided by the part of the labels that no parameter was spent on. So a few energies of large weight, which the
        coefficients can meet exactly, do not pass for exact ones.
        """
        total = self.totals[name]
        spent = hyper.row_weights()[name] ** 2 * factor.trace(total.matrix)
        left = max(1 - spent / total.count, MIN_LEFT)
        # what is left out has the noise of the labels in it, so that it is a floor and nothing to be added
        return max(self._rmse(name, total.squares(coefficients)) / left, self.floor[name]), total.count

    def validate(self, hyper: Hyperparameters) -> float:
        """Return the error of what is left out, see :func:`~.weights.objective`."""
        return objective(*self.errors(hyper))

    def errors(self, hyper: Hyperparameters) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the weighted squares of the errors in each fold when it is left out, and the sums of squared weights,
        by quantity; those of the fit itself where there is a single fold."""
        left_out = self.coefficients_left_out(hyper) if self.validates else [self.fit(hyper)]
        return self._squares(left_out)

    def coefficients_left_out(self, hyper: Hyperparameters) -> list[np.ndarray]:
        """Solve without each fold."""
        ridge, equations = self.ridge(hyper), self.left_out(hyper)

        def one(fold: int) -> np.ndarray:
            matrix, vector = equations[fold]
            return _Factor(matrix, ridge, self.used).solve(vector)

        return self._map(one, len(equations))

    def _squares(self, coefficients: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Weighted squares of the errors in each fold, and sums of squared weights, by quantity."""
        squares, labels = {}, {}
        for name, folds in self.sums.moments.items():
            labels[name] = np.array([fold.weight for fold in folds])
            pairs = zip(folds, coefficients, strict=True)
            squares[name] = np.array([fold.squares(found) if fold.count else 0.0 for fold, found in pairs])
        return squares, labels

    def solve(self, hyper: Hyperparameters) -> Solution:
        """Solve with all data, and without each fold."""
        left_out = self.coefficients_left_out(hyper) if self.validates else []
        ridge = self.ridge(hyper)
        matrix, vector = self.normal(hyper)
        factor = _Factor(matrix, ridge, self.used)
        coefficients = factor.solve(vector)
        fitted = {name: self._rmse(name, self.totals[name].squares(coefficients)) for name in self.names}
        noise = dict(fitted)
        if left_out:
            squares, _ = self._squares(left_out)
            noise = {name: self._rmse(name, squares[name].sum()) for name in self.names}
        # the noise of a row of weight 1, which is one of forces wherever there are forces
        name = 'forces' if 'forces' in self.names else self.names[0]
        scale = noise[name] * max(hyper.row_weights()[name], 1e-300)
        roots = self._map(lambda fold: _Factor(self.left_out(hyper)[fold][0], ridge, self.used).root(), len(left_out))
        folds = [
            Fold(members, found, scale * root)
            for members, found, root in zip(self.sums.members[: len(left_out)], left_out, roots, strict=True)
        ]
        validation = {'rmse': noise if left_out else None, 'train_rmse': fitted, 'folds': len(folds)}
        self._left_out = (None, [])
        return Solution(
            coefficients, scale * factor.root(), noise, hyper.to_dict(), validation, factor.condition(), folds
        )

    def _rmse(self, name: str, squares: float) -> float:
        return float(np.sqrt(squares / self.totals[name].weight))

    def _map(self, function: Callable[[int], Any], number: int) -> list[Any]:
        """Apply to 0 .. number - 1 by threads: linear algebra leaves the interpreter's lock alone."""
        if self.processes == 1 or number < 2:
            return [function(index) for index in range(number)]
        with ThreadPoolExecutor(self.processes) as pool:
            return list(pool.map(function, range(number)))


class _Factor:
    """Cholesky factor of the scaled matrix plus ridge, of the functions in use."""

    def __init__(self, matrix: np.ndarray, ridge: np.ndarray, used: np.ndarray):
        self.used = used
        if not used.all():
            matrix, ridge = matrix[np.ix_(used, used)], ridge[used]
        diagonal = np.diag(matrix) + ridge
        diagonal[diagonal <= 0] = 1.0
        self.scale = 1 / np.sqrt(diagonal)
        scaled = matrix * self.scale[:, None]
        scaled *= self.scale
        np.fill_diagonal(scaled, 1.0)
        self.norm = float(np.abs(scaled).sum(axis=0).max())
        # the transposed view is in the order of Fortran: no copy
        self.lower, failed = lapack.dpotrf(scaled.T, lower=1, clean=1, overwrite_a=0)
        if failed:
            self.lower = _semidefinite_root(scaled)

    def solve(self, vector: np.ndarray) -> np.ndarray:
        solution = np.zeros(len(self.used))
        values = cho_solve((self.lower, True), self.scale * vector[self.used], check_finite=False)
        solution[self.used] = self.scale * values
        return solution

    def trace(self, matrix: np.ndarray) -> float:
        """Return the trace of the inverse times a symmetric matrix."""
        if self._inverse is None:
            inverse, _ = lapack.dpotri(self.lower, lower=1)
            self._inverse = np.tril(inverse) * self.scale * self.scale[:, None]
        part = matrix if self.used.all() else matrix[np.ix_(self.used, self.used)]
        return float(2 * np.vdot(self._inverse, part) - np.diag(self._inverse) @ np.diag(part))

    _inverse: np.ndarray | None = None

    def root(self) -> np.ndarray:
        """Return F (n, n) with the inverse of the matrix F F^T."""
        root = np.zeros((len(self.used), len(self.used)))
        inverse, _ = lapack.dtrtri(self.lower, lower=1)
        root[np.ix_(self.used, self.used)] = (inverse * self.scale).T
        return root

    def condition(self) -> float:
        reciprocal, _ = lapack.dpocon(self.lower, self.norm, uplo='L')
        return float(1 / max(reciprocal, 1e-300))


def _semidefinite_root(matrix: np.ndarray) -> np.ndarray:
    """Lower triangular root of a matrix that rounding made indefinite: its smallest eigenvalues are raised."""
    values, vectors = eigh(matrix)
    values = np.maximum(values, 1e-14 * values.max())
    upper = np.linalg.qr((vectors * np.sqrt(values)).T, mode='r')
    # rows of positive diagonal, in the order of Fortran as LAPACK wants it
    return np.asfortranarray((upper * np.sign(np.diag(upper))[:, None]).T)


def _describe(solution: Solution, tried: int) -> str:
    units = {'energy': ('meV/atom', 1e3), 'forces': ('meV/Å', 1e3), 'stress': ('meV/Å³', 1e3)}
    errors = ', '.join(
        f'{name} {units[name][1] * error:.3g} {units[name][0]}' for name, error in solution.noise.items()
    )
    chosen = ', '.join(f'{name} {value:.3g}' for name, value in solution.hyperparameters.items())
    how = f'chosen by {tried} trials' if tried else 'as given'
    kind = 'cross-validated' if solution.folds else 'training'
    return f'{chosen} ({how}); {kind} errors: {errors}'
