"""The nonlinear refinement, as far as it needs no TensorFlow: start, problem, coordinates, decision, what can fail."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.basis import build_basis, import_pyace
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.core.errors import MissingEngineError
from aiida_pyacemaker.atomistics.fitting import nonlinear
from aiida_pyacemaker.atomistics.fitting.equations import Solution, Target, accumulate, solve_sums, weigh
from aiida_pyacemaker.atomistics.fitting.tensorpot import CORE, FIT, VALIDATE, Coordinates, read_batches, score
from aiida_pyacemaker.atomistics.fitting.weights import degrees, penalties

from ..conftest import quiet

INNER = {('Al', 'Al'): (1.5, 0.2), ('Al', 'Cu'): (1.5, 0.2), ('Cu', 'Cu'): (1.5, 0.2)}
HYPER = {'energy_weight': 30.0, 'stress_weight': 20.0, 'ridge': 1e-3, 'smoothness': 1.0}


@pytest.fixture(scope='module')
def frames() -> list[Atoms]:
    rng = np.random.default_rng(0)
    found = []
    for k in range(8):
        atoms = bulk('Al', cubic=True) * (2, 1, 1)
        atoms.symbols = rng.choice(['Al', 'Cu'], len(atoms))
        atoms.rattle(0.1, seed=k)
        found.append(atoms)
    return found


@pytest.fixture(scope='module')
def basis():
    found = build_basis(['Al', 'Cu'], 4.5, 12, INNER)
    found.basis_coeffs = np.random.default_rng(1).normal(size=len(found.basis_coeffs))
    return found


@pytest.fixture(scope='module')
def targets(basis, frames) -> list[Target]:
    calculator = import_pyace().PyACECalculator(basis)
    rng = np.random.default_rng(2)
    found = []
    for k, atoms in enumerate(frames):
        calculator.calculate(atoms.copy())
        forces = calculator.results['forces'] + rng.normal(0, 0.01, (len(atoms), 3))
        weights = np.ones(len(atoms))
        found.append(Target(calculator.results['energy'], forces, np.zeros(6), 1.0, weights, 1.0, 'x', f't{k // 2}'))
    return found


@pytest.fixture(scope='module')
def fitted(basis, frames, targets, tmp_path_factory) -> tuple[Solution, np.ndarray]:
    """Solution, and the ridge that the solver really used."""
    store = RowStore(tmp_path_factory.mktemp('rows'), DesignMatrix(basis))
    store.fill(frames, 1, quiet)
    sums = accumulate(store, frames, targets, 1)
    norms = sum(
        weight**2 * np.diag(sums.total(name).matrix)
        for name, weight in (('energy', 30.0), ('forces', 1.0), ('stress', 20.0))
    )
    degree = degrees(basis)
    return solve_sums(sums, degree, HYPER, 1, quiet), 1e-3 * norms * penalties(degree, 1.0)


def test_start_is_the_linear_solution_and_a_pair_density(basis, frames):
    wide = nonlinear.widen(basis, frames)
    assert nonlinear._same(wide, build_basis(['Al', 'Cu'], 4.5, 12, INNER, mode='nonlinear'))
    coefficients = np.array(wide.basis_coeffs)
    np.testing.assert_array_equal(coefficients[::2], basis.basis_coeffs)
    second = coefficients[1::2]
    # one pair function for each neighbour element, for each of two elements
    assert np.count_nonzero(second) == 4
    rows = [DesignMatrix(basis).rows(atoms, forces=False) for atoms in frames]
    for element, part in zip(('Al', 'Cu'), np.split(second, 2), strict=True):
        densities = [
            projection @ part
            for atoms, row in zip(frames, rows, strict=True)
            for symbol, projection in zip(atoms.get_chemical_symbols(), row.projections, strict=True)
            if symbol == element
        ]
        assert np.mean(densities) == pytest.approx(nonlinear.SECOND_DENSITY_START)
    # without the second density nothing has changed
    coefficients[1::2] = 0
    wide.basis_coeffs = coefficients
    found = []
    for one in (basis, wide):
        calculator = import_pyace().PyACECalculator(one)
        calculator.calculate(frames[0].copy())
        found.append((calculator.results['energy'], calculator.results['forces']))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-10)


def test_parent_must_have_the_same_functions(basis, frames):
    wide = nonlinear.widen(basis, frames)
    assert nonlinear._same(wide, wide)
    assert not nonlinear._same(basis, wide)
    assert not nonlinear._same(build_basis(['Al', 'Cu'], 4.5, 13, INNER, mode='nonlinear'), wide)


def test_ridge_is_that_of_the_linear_fit(basis, fitted):
    solution, expected = fitted
    # in units of the noise, of which the posterior covariance knows
    unit = solution.noise['forces']
    np.testing.assert_allclose(nonlinear.ridge(basis, solution) * unit**2, expected, rtol=1e-6)


def test_masks_are_weights_of_zero(frames, targets, fitted):
    solution, _ = fitted
    masked = Target(None, targets[0].forces.copy(), None, 1.0, np.ones(len(frames[0])))
    masked.forces[2:] = np.nan
    masked.force_weights[2:] = 0
    core = [(Atoms('AlCu', [[0, 0, 0], [0, 0, 1.6]]), 0.1)]
    problem = nonlinear.build_problem(4.5, frames, [masked, *targets[1:]], solution, np.array([6, 7]), core)
    assert all(np.isfinite(values).all() for values in problem.values())
    assert problem['part'].tolist() == [FIT] * 6 + [VALIDATE] * 2 + [CORE]
    assert problem['w_energy'][0] == problem['w_stress'][0] == 0
    assert np.all(problem['w_forces'][:2] > 0) and np.all(problem['w_forces'][2 : len(frames[0])] == 0)
    # a force that is wrong by its noise counts 1/2, an energy in the ratio that the linear fit chose
    noise, weighed = solution.noise['forces'], weigh(frames, [masked, *targets[1:]])
    assert problem['w_forces'][0] == pytest.approx(weighed[0].force_weights[0] / noise)
    assert problem['w_energy'][1] == pytest.approx(30 * weighed[1].energy_weight / noise)
    assert problem['w_stress'][1] == pytest.approx(20 * weighed[1].stress_weight / noise)
    assert problem['w_energy'][-1] == problem['w_forces'][-1] == pytest.approx(0.1 / noise)
    assert problem['w_stress'][-1] == 0
    garbage = Target(None, np.where(np.isnan(masked.forces), 1e9, masked.forces), None, 1.0, masked.force_weights)
    again = nonlinear.build_problem(4.5, frames, [garbage, *targets[1:]], solution, np.array([6, 7]), core)
    assert all(np.array_equal(problem[key], again[key]) for key in problem)


def test_batches_hold_every_frame_once(frames, targets, fitted):
    problem = nonlinear.build_problem(4.5, frames, targets, fitted[0], np.array([1, 4]), [])
    batches = read_batches(problem, FIT, 20)
    assert [len(batch['energy']) for batch in batches] == [2, 2, 2]
    found = np.concatenate([batch['energy'] for batch in batches])
    np.testing.assert_array_equal(found, np.delete(problem['energy'], [1, 4]))
    for batch in batches:
        assert batch['first'].max() == batch['second'].max() == len(batch['numbers']) - 1
        # neighbours are atoms of the same frame
        np.testing.assert_array_equal(batch['frame_of_atom'][batch['first']], batch['frame_of_atom'][batch['second']])
    assert len(read_batches(problem, VALIDATE, 20)) == 1


def test_coordinates_make_the_linear_loss_round():
    """With the square root of the covariance, the Hessian of a linear density is the identity."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 6)) * 10.0 ** np.arange(-3, 3)
    factor = np.linalg.cholesky(np.linalg.inv(rows.T @ rows))
    start = rng.normal(size=3 + 12)
    curvature = np.concatenate([[4.0, 0.0, 100.0], np.zeros(12)])
    coordinates = Coordinates(start, 3, factor, curvature)
    assert coordinates.densities == 2
    np.testing.assert_allclose(coordinates.scale, [0.5, 0.0, 0.1])
    y = rng.normal(size=15)
    y[1] = 0
    x = coordinates.to_coefficients(y)
    np.testing.assert_allclose(coordinates.from_coefficients(x), y, atol=1e-8)
    hessian = rows.T @ rows
    pulled = np.zeros((6, 6))
    for k in range(6):
        gradient = np.zeros(15)
        gradient[3::2] = hessian @ (coordinates.to_coefficients(np.eye(15)[3 + k]) - start)[3::2]
        pulled[k] = coordinates.pull(gradient)[coordinates.block(0)]
    np.testing.assert_allclose(pulled, np.eye(6), atol=1e-8)


@pytest.mark.parametrize(
    ('errors', 'max_cost', 'kept', 'why'),
    [
        ({'energy': 0.001, 'forces': 0.04}, None, True, 'is kept: energy 1 meV/atom, forces 40 meV/Å against'),
        ({'energy': 0.001, 'forces': 0.04}, 9.0, False, 'it costs 10 µs/atom/step, more than 9'),
        ({'energy': 0.00199, 'forces': 0.0995}, None, False, 'gains too little'),
        ({'energy': 0.0005, 'forces': 0.12}, None, False, 'its forces error is larger'),
        ({'energy': float('nan'), 'forces': 0.04}, None, False, 'not finite'),
    ],
)
def test_it_has_to_win(errors, max_cost, kept, why):
    metrics = {
        'linear': {'energy': 0.002, 'forces': 0.1},
        'refined': errors,
        'decided_on': 'held_out',
        'cost_us': {'linear': 8.0, 'refined': 10.0},
    }
    found = nonlinear.decide(metrics, max_cost)
    assert found[0] is kept
    assert why in found[1]


def test_score_has_no_units():
    """Twice the energy error costs what twice the force error costs."""
    base = score({'energy': 1e-3, 'forces': 0.1, 'stress': 1e-4})
    assert score({'energy': 2e-3, 'forces': 0.1, 'stress': 1e-4}) - base == pytest.approx(np.log(2))
    assert score({'energy': 1e-3, 'forces': 0.2, 'stress': 1e-4}) - base == pytest.approx(np.log(2))
    assert score({'energy': 1e-3, 'forces': 0.1, 'stress': 2e-4}) - base == pytest.approx(np.log(2) / 2)


def test_errors_know_masks(basis, frames, targets):
    expected = nonlinear.errors_of(basis, frames, targets)
    assert expected['energy'] == pytest.approx(0, abs=1e-9)
    assert expected['forces'] == pytest.approx(0.01, rel=0.1)
    broken = targets[0].forces.copy()
    broken[3] = 1e6
    weights = np.ones(len(frames[0]))
    weights[3] = 0
    masked = [Target(None, broken, None, 1.0, weights), *targets[1:]]
    assert nonlinear.errors_of(basis, frames, masked)['forces'] == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ('program', 'message'),
    [
        ('', 'ended with status 0'),
        ('import sys; sys.exit("no memory")', 'ended with status 1: no memory'),
        ('{write}; raise SystemExit("crashed after writing")', 'crashed after writing'),
    ],
)
def test_a_file_is_no_proof(tmp_path, program, message):
    """A potential or a result that lies there does not mean that this problem was solved."""
    (tmp_path / 'options.json').write_text(json.dumps({'digest': 'this'}))
    (tmp_path / 'result.json').write_text(json.dumps({'digest': 'another'}))
    (tmp_path / 'refined.yaml').write_text('of another fit')
    write = f'open({str(tmp_path / "result.json")!r}, "w").write({json.dumps({"digest": "this"})!r})'
    with pytest.raises(RuntimeError, match=message):
        nonlinear.run_optimiser([sys.executable, '-c', program.format(write=write)], tmp_path, quiet)


def test_nothing_to_validate_on(basis, frames, targets, fitted, tmp_path):
    if importlib.util.find_spec('tensorpotential') is None:
        with pytest.raises(MissingEngineError, match=r'install the extra aiida-pyacemaker\[nonlinear\]'):
            nonlinear.refine(basis, frames, targets, fitted[0], nonlinear.RefinementOptions(), tmp_path)
    else:
        solution = Solution(**{**vars(fitted[0]), 'folds': []})
        found = nonlinear.refine(basis, frames, targets, solution, nonlinear.RefinementOptions(), tmp_path)
        assert found.basis is basis and not found.kept and 'nothing to validate on' in found.why
