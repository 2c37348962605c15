"""The normal equations against dense linear algebra, and against themselves when data are added."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix, FrameRows
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.fitting import equations
from aiida_pyacemaker.atomistics.fitting.equations import Target, accumulate, assign_folds, solve, solve_sums, weigh
from aiida_pyacemaker.atomistics.fitting.weights import degrees, penalties

CUTOFFS = dict.fromkeys((('Al', 'Al'), ('Al', 'Cu'), ('Cu', 'Cu')), (1.7, 0.5))
GIVEN = {'energy_weight': 30.0, 'stress_weight': 20.0, 'ridge': 1e-8, 'smoothness': 1.0}
PLAIN = {**GIVEN, 'hull_scale': 0}
FUNCTIONS = 25


def quiet(message: str) -> None:
    """Report nothing."""


class CountingStore(RowStore):
    """Counts how often rows are asked for."""

    asked = 0

    def get(self, atoms: Atoms, forces: bool = True) -> FrameRows:
        self.asked += 1
        return super().get(atoms, forces)


@pytest.fixture(scope='module')
def design() -> DesignMatrix:
    return DesignMatrix(build_basis(['Al', 'Cu'], 5.0, FUNCTIONS, CUTOFFS))


@pytest.fixture(scope='module')
def frames() -> list[Atoms]:
    made = []
    for index in range(24):
        atoms = bulk('Al', cubic=True, a=3.9 + 0.02 * index).repeat((1 + index % 2, 1, 1))
        atoms.numbers[: index % 4] = 29
        atoms.rattle(0.12, seed=index)
        made.append(atoms)
    return [*made, Atoms('AlCu2', [[0, 0, 0], [2.5, 0, 0], [0, 2.6, 0.1]])]


@pytest.fixture(scope='module')
def store(design: DesignMatrix, frames: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> RowStore:
    made = RowStore(tmp_path_factory.mktemp('rows'), design)
    made.fill(frames, processes=1, report=quiet)
    return made


@pytest.fixture(scope='module')
def targets(store: RowStore, frames: list[Atoms]) -> list[Target]:
    """Labels of known coefficients with noise, of which some are missing or masked."""
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=store.number_of_functions) / 10
    made = []
    for index, atoms in enumerate(frames):
        rows = store.get(atoms)
        energy = float(rows.energy @ coefficients) + 0.002 * len(atoms) * rng.normal()
        forces = (rows.forces @ coefficients).reshape(-1, 3) + 0.1 * rng.normal(size=(len(atoms), 3))
        stress = None if rows.stress is None else rows.stress @ coefficients + 0.001 * rng.normal(size=6)
        weights = np.where(np.arange(len(atoms)) == index % 5, 0.0, 1.0 + index % 2)
        made.append(Target(energy, forces, stress, 1.0, weights, 1.0, fold=f'parent {index // 3}'))
    made[2].energy = None
    made[3].energy_weight = 0.0
    made[4].stress = None
    made[5].force_weights = None
    return made


def dense(store: RowStore, frames: list[Atoms], targets: list[Target]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weighted rows and labels of each quantity, without the weight of the quantity."""
    found = {name: ([], []) for name in equations.QUANTITIES}
    for atoms, target in zip(frames, weigh(frames, targets, 0), strict=True):
        rows = store.get(atoms)
        parts = {
            'energy': (rows.energy[None, :] / len(atoms), target.energy, target.energy_weight, 1 / len(atoms)),
            'forces': (rows.forces.astype(float), target.forces, target.force_weights, 1.0),
            'stress': (rows.stress, target.stress, target.stress_weight, 1.0),
        }
        for name, (values, label, weight, scale) in parts.items():
            if label is None:
                continue
            label = np.ravel(label) * scale
            weight = np.ones(len(atoms)) if weight is None else np.ravel(weight)
            weight = np.repeat(weight, len(label) // len(weight))
            found[name][0].append(values * weight[:, None])
            found[name][1].append(label * weight)
    return {name: (np.concatenate(rows), np.concatenate(labels)) for name, (rows, labels) in found.items()}


def dense_solution(parts: dict, prior: np.ndarray) -> np.ndarray:
    """Least squares with rows for the prior appended: an orthogonal factorisation, no normal equations."""
    weights = {'energy': GIVEN['energy_weight'], 'forces': 1.0, 'stress': GIVEN['stress_weight']}
    rows = np.concatenate([weights[name] * parts[name][0] for name in parts] + [np.diag(np.sqrt(prior))])
    labels = np.concatenate([weights[name] * parts[name][1] for name in parts] + [np.zeros(len(prior))])
    return np.linalg.lstsq(rows, labels, rcond=None)[0]


def prior_of(store: RowStore, parts: dict) -> np.ndarray:
    weights = {'energy': GIVEN['energy_weight'], 'forces': 1.0, 'stress': GIVEN['stress_weight']}
    norms = sum((weights[name] * parts[name][0] ** 2 * weights[name]).sum(axis=0) for name in parts)
    return GIVEN['ridge'] * norms * penalties(degrees(store.design.basis), GIVEN['smoothness'])


def test_solution_is_that_of_dense_least_squares(store, frames, targets):
    parts = dense(store, frames, targets)
    solution = solve(store, frames, targets, PLAIN, processes=1, report=quiet)
    expected = dense_solution(parts, prior_of(store, parts))
    scale = np.abs(expected).max()
    assert np.abs(solution.coefficients - expected).max() < 1e-6 * scale
    for name, (rows, labels) in parts.items():
        sums = accumulate(store, frames, targets, 1, hull_scale=0)
        residual = rows @ solution.coefficients - labels
        assert sums.total(name).squares(solution.coefficients) == pytest.approx(residual @ residual, rel=1e-6)
    assert solution.hyperparameters == GIVEN and solution.validation['trials'] == 0


def test_covariance_is_the_inverse_of_the_normal_matrix(store, frames, targets):
    parts = dense(store, frames, targets)
    solution = solve(store, frames, targets, PLAIN, processes=1, report=quiet)
    weights = {'energy': GIVEN['energy_weight'], 'forces': 1.0, 'stress': GIVEN['stress_weight']}
    matrix = sum(weights[name] ** 2 * rows.T @ rows for name, (rows, _) in parts.items())
    matrix += np.diag(prior_of(store, parts))
    product = solution.factor @ solution.factor.T @ matrix / solution.noise['forces'] ** 2
    assert np.abs(product - np.eye(len(product))).max() < 1e-3
    assert solution.noise['forces'] == pytest.approx(0.1, rel=0.2)


def test_folds_are_the_fits_without_their_members(store, frames, targets):
    solution = solve(store, frames, targets, PLAIN, processes=2, report=quiet)
    assert sorted(np.concatenate([fold.members for fold in solution.folds])) == list(range(len(frames)))
    prior = prior_of(store, dense(store, frames, targets))
    squares, labels = 0.0, accumulate(store, frames, targets, 1, hull_scale=0).total('energy').weight
    for fold in solution.folds:
        kept = [index for index in range(len(frames)) if index not in fold.members]
        parts = dense(store, [frames[index] for index in kept], [targets[index] for index in kept])
        expected = dense_solution(parts, prior)
        assert np.abs(fold.coefficients - expected).max() < 1e-5 * np.abs(expected).max()
        left = dense(store, [frames[index] for index in fold.members], [targets[index] for index in fold.members])
        squares += np.sum((left['energy'][0] @ expected - left['energy'][1]) ** 2)
    assert solution.validation['rmse']['energy'] == pytest.approx(np.sqrt(squares / labels), rel=1e-4)


def test_same_bits_for_any_number_of_processes(store, frames, targets, monkeypatch):
    monkeypatch.setattr(equations, 'MIN_BLOCK_ROWS', 30)
    monkeypatch.setattr(equations, 'BLOCK', 0)
    one, two = (accumulate(store, frames, targets, processes) for processes in (1, 2))
    for name in equations.QUANTITIES:
        assert np.array_equal(one.total(name).matrix, two.total(name).matrix)
        assert np.array_equal(one.total(name).vector, two.total(name).vector)


def test_what_a_former_fit_summed_is_not_read_again(design, frames, targets, tmp_path, monkeypatch):
    monkeypatch.setattr(equations, 'MIN_BLOCK_ROWS', 30)
    monkeypatch.setattr(equations, 'BLOCK', 0)
    old = CountingStore(tmp_path / 'old', design)
    accumulate(old, frames[:-4], targets[:-4], 1, hull_scale=0)
    assert old.asked == len(frames) - 4
    new = CountingStore(tmp_path / 'new', design, parent=tmp_path / 'old')
    # energies and stresses may move with the references: they are no part of what is remembered
    moved = [Target(**{**vars(target)}) for target in targets]
    for target, atoms in zip(moved, frames, strict=True):
        target.energy = None if target.energy is None else target.energy + 0.3 * len(atoms)
    continued = accumulate(new, frames, moved, 1, hull_scale=0)
    assert new.asked < 12
    scratch = accumulate(RowStore(tmp_path / 'scratch', design), frames, moved, 1, hull_scale=0)
    for name in equations.QUANTITIES:
        assert np.array_equal(continued.total(name).matrix, scratch.total(name).matrix)
        assert np.array_equal(continued.total(name).vector, scratch.total(name).vector)


def test_other_forces_or_masks_are_summed_anew(design, frames, targets, tmp_path, monkeypatch):
    monkeypatch.setattr(equations, 'MIN_BLOCK_ROWS', 10)
    monkeypatch.setattr(equations, 'BLOCK', 0)
    store = RowStore(tmp_path, design)
    before = accumulate(store, frames, targets, 1).total('forces')
    changed = [Target(**{**vars(target)}) for target in targets]
    changed[7].forces = changed[7].forces + 0.1
    changed[8].force_weights = np.zeros(len(frames[8]))
    after = accumulate(store, frames, changed, 1).total('forces')
    assert after.count < before.count
    assert not np.allclose(after.vector, before.vector)


def test_some_columns_are_a_smaller_basis(store, frames, targets):
    sums, degree = accumulate(store, frames, targets, 1, hull_scale=0), degrees(store.design.basis)
    chosen = np.arange(0, sums.size, 2)
    part = solve_sums(sums.columns(chosen), degree[chosen], GIVEN, 1, quiet)
    parts = {name: (rows[:, chosen], labels) for name, (rows, labels) in dense(store, frames, targets).items()}
    prior = GIVEN['ridge'] * penalties(degree[chosen], 1.0)
    prior = prior * sum(
        (GIVEN.get(f'{name}_weight', 1.0) ** 2 * parts[name][0] ** 2).sum(axis=0) for name in equations.QUANTITIES
    )
    expected = dense_solution(parts, prior)
    assert np.abs(part.coefficients - expected).max() < 1e-6 * np.abs(expected).max()


def test_automatic_choice_repeats_itself(store, frames, targets):
    sums, degree = accumulate(store, frames, targets, 1), degrees(store.design.basis)
    chosen = solve_sums(sums, degree, {}, 2, quiet)
    again = solve_sums(sums, degree, chosen.hyperparameters, 1, quiet)
    assert np.array_equal(chosen.coefficients, again.coefficients)
    assert 10 < chosen.validation['trials'] < 40 and again.validation['trials'] == 0
    assert chosen.noise['forces'] == pytest.approx(0.1, rel=0.2)
    assert 0.001 < chosen.noise['energy'] < 0.02


def test_core_rows_pull_to_zero(store, frames, targets):
    dimer = store.get(Atoms('Al2', [[0, 0, 0], [0, 0, 2.0]]))
    free = solve(store, frames, targets, PLAIN, 1, quiet)
    held = solve(store, frames, targets, PLAIN, 1, quiet, core=[(dimer, 1e3)])
    assert np.abs(dimer.forces @ held.coefficients).max() < 1e-2 * np.abs(dimer.forces @ free.coefficients).max()


def test_functions_without_data_get_no_coefficient(store, frames, targets):
    """No configuration holds copper: all its functions are zero in the data."""
    pure = [atoms.copy() for atoms in frames[:8]]
    for atoms in pure:
        atoms.symbols[:] = 'Al'
    solution = solve(store, pure, targets[:8], {}, 1, quiet)
    assert np.all(solution.coefficients[FUNCTIONS:] == 0) and np.all(solution.factor[FUNCTIONS:] == 0)
    assert np.any(solution.coefficients[:FUNCTIONS] != 0)


@pytest.mark.parametrize('number', [1, 2])
def test_few_and_equal_configurations_and_no_ridge(store, frames, targets, number):
    """Equations of rank far below the number of functions: finite all the same."""
    solution = solve(store, [frames[1]] * number, [targets[1]] * number, {'ridge': 0.0}, 1, quiet)
    assert np.all(np.isfinite(solution.coefficients)) and np.all(np.isfinite(solution.factor))
    assert len(solution.folds) == (0 if number == 1 else 2)
    assert solution.noise['forces'] < 0.1


def test_energies_or_forces_alone(store, frames, targets):
    for name in ('energy', 'forces'):
        kept = {'energy': None, 'forces': None, 'stress': None}
        alone = [Target(**{**vars(target), **kept, name: getattr(target, name)}) for target in targets]
        solution = solve(store, frames, alone, {}, 1, quiet)
        assert list(solution.noise) == [name]


def test_folds_keep_together_and_stay_where_they_are(targets):
    keys = [target.fold for target in targets]
    before, after = assign_folds(targets[:20]), assign_folds(targets)
    assert len(after) == 5
    for members in after:
        outside = {keys[index] for index in range(len(keys)) if index not in members}
        assert not outside & {keys[index] for index in members}
    for old, new in zip(before, after, strict=True):
        assert set(old) <= set(new)
    same = [Target(0.0, np.zeros((2, 3)), fold='one trajectory') for _ in range(7)]
    assert sorted(map(len, assign_folds(same))) == [1, 1, 1, 2, 2]


def test_no_label_that_counts_is_an_error(store, frames, targets):
    masked = [Target(None, target.forces, None, force_weights=np.zeros(len(target.forces))) for target in targets]
    with pytest.raises(ValueError, match='all weights are zero'):
        solve(store, frames, masked, {}, 1, quiet)


def test_size_and_hull_weigh_configurations(frames, targets):
    plain, weighed = weigh(frames, targets, 0), weigh(frames, targets)
    assert plain[1].energy_weight == pytest.approx(np.sqrt(8 / 32) * targets[1].energy_weight)
    assert plain[1].stress_weight == pytest.approx(np.sqrt(8 / 32) * targets[1].stress_weight)
    assert np.array_equal(plain[1].force_weights, targets[1].force_weights)
    factors = np.array(
        [after.stress_weight / before.stress_weight for after, before in zip(weighed, plain, strict=True)]
    )
    assert factors[2] == 1 and 0.05 <= factors.min() < 0.5 and factors.max() == 1
    for factor, after, before in zip(factors, weighed, plain, strict=True):
        assert np.allclose(after.force_weights, factor * before.force_weights)
