"""Error bars of linear potentials: the calibration by itself, and on potentials that were really fitted."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix, FrameRows
from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.fitting.equations import Fold, Target
from aiida_pyacemaker.atomistics.fitting.posterior import (
    add_uncertainty,
    calibrate,
    committee,
    fit_error_model,
    get_inflation,
    with_error_bars,
)
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.metrics.errors import BAND, uncertainty_metrics
from aiida_pyacemaker.atomistics.potential.posterior import POSTERIOR, Posterior, force_features
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.suite import measure

from ..conftest import quiet


@pytest.mark.parametrize('tail', ['normal', 't'])
def test_band_holds_where_errors_differ(tail):
    """Errors that grow with the spread and the force, of either tail: 95 % in the band, among the small ones too."""
    rng = np.random.default_rng(3)
    spread, size = rng.lognormal(-4, 1, 4000), rng.lognormal(-1, 1.5, 4000)
    true = np.sqrt(0.01**2 + (3 * spread) ** 2 + (0.02 * size) ** 2)
    draw = rng.standard_normal((4000, 3)) if tail == 'normal' else rng.standard_t(4, (4000, 3))
    errors = draw * true[:, None]
    model = fit_error_model(errors[::2], spread[::2], size[::2])
    deviation = model(spread[1::2], size[1::2])
    inside = np.abs(errors[1::2]) <= BAND * deviation[:, None]
    assert 0.94 < inside.mean() < 0.96
    thirds = np.array_split(np.argsort(deviation), 3)
    assert all(0.91 < inside[part].mean() < 0.985 for part in thirds)


def test_perfect_fit_and_symmetric_atoms_give_finite_bars():
    zeros = np.zeros(100)
    model = fit_error_model(np.zeros((100, 3)), zeros, zeros)
    assert np.all(np.isfinite(model(zeros, zeros)))
    half = np.repeat([0.0, 1.0], 50)
    model = fit_error_model(0.1 * half[:, None], half, half)
    assert model(np.zeros(1), np.zeros(1))[0] > 0


def test_committee_is_wide_enough_where_the_data_are_dense():
    """A misfit that is the same everywhere asks most where the posterior's spread is least."""
    rng = np.random.default_rng(2)
    spread = np.repeat([0.01, 0.02, 0.05, 0.1, 0.2], 1000)
    misfit = 0.05 * rng.standard_normal((5000, 3))
    assert get_inflation(misfit, spread) == pytest.approx(5, rel=0.05)
    assert get_inflation(spread[:, None] * rng.standard_normal((5000, 3)), spread) == pytest.approx(1, rel=0.05)
    assert get_inflation(misfit[:0], spread[:0]) == 1.0 and get_inflation(misfit, 0 * spread) == 1.0


def problem(n_frames: int = 120, n: int = 8, noise: float = 0.05):
    """A linear problem of known noise without any physics: store, frames, targets and solution."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(n)
    frames = [bulk('Al', cubic=True) for _ in range(n_frames)]
    rows = [
        FrameRows(rng.standard_normal(n), rng.standard_normal((12, n)), None, [np.zeros(n)] * 4)
        for _ in range(n_frames)
    ]
    known = {id(atoms): row for atoms, row in zip(frames, rows, strict=True)}
    targets = [
        Target(row.energy @ truth, (row.forces @ truth + noise * rng.standard_normal(12)).reshape(4, 3)) for row in rows
    ]

    def fit(indices):
        matrix = np.concatenate([rows[k].forces for k in indices])
        vector = np.concatenate([targets[k].forces.ravel() for k in indices])
        factor = np.linalg.inv(np.linalg.cholesky(matrix.T @ matrix)).T
        return factor @ factor.T @ matrix.T @ vector, noise * factor

    parts = np.array_split(rng.permutation(n_frames), 5)
    folds = [Fold(part, *fit(np.setdiff1d(np.arange(n_frames), part))) for part in parts]
    coefficients, factor = fit(range(n_frames))
    solution = SimpleNamespace(coefficients=coefficients, factor=factor, folds=folds)
    return SimpleNamespace(get=lambda atoms: known[id(atoms)]), frames, targets, solution


def test_known_noise_is_found():
    posterior = calibrate(*problem(), report=quiet)
    std = posterior.forces(np.zeros(1), np.ones(1))[0]
    assert std == pytest.approx(0.05, rel=0.15)


def test_masked_labels_do_not_count():
    """What has the weight zero may be anything."""
    store, frames, targets, solution = problem()
    expected = calibrate(store, frames, targets, solution, report=quiet)
    for target in targets:
        target.forces = np.vstack([target.forces, np.full((1, 3), np.nan)])
        target.force_weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
        target.energy_weight, target.energy = 0.0, np.nan
    found = calibrate(store, frames, targets, solution, report=quiet)
    assert found.energy is None
    np.testing.assert_allclose(found.forces(np.ones(1), np.ones(1)), expected.forces(np.ones(1), np.ones(1)), rtol=0.05)


def test_too_few_residuals_give_no_bars():
    store, frames, targets, solution = problem()
    solution.folds = []
    messages = []
    assert calibrate(store, frames, targets, solution, report=messages.append) is None
    assert 'no error bars' in messages[0]


def test_spread_does_not_depend_on_the_orientation(trained, testing):
    potential, _ = trained
    posterior, design = potential.posterior, DesignMatrix(potential.basis)
    atoms = max(testing, key=len).copy()
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    rows = [design.rows(frame) for frame in (atoms, turned)]
    first, second = (posterior.predict(found.energy, found.forces) for found in rows)
    np.testing.assert_allclose(first.force_std, second.force_std, rtol=1e-6)
    assert first.energy_std == pytest.approx(second.energy_std, rel=1e-6)


def test_file(trained, tmp_path):
    potential, _ = trained
    potential.posterior.save(tmp_path)
    read = Posterior.load(tmp_path)
    np.testing.assert_array_equal(read.factor, potential.posterior.factor)
    np.testing.assert_array_equal(read.sample(3, seed=2), potential.posterior.sample(3, seed=2))
    assert read.energy(np.ones(1), np.ones(1)) == potential.posterior.energy(np.ones(1), np.ones(1))
    (tmp_path / POSTERIOR).write_bytes(b'not an archive')
    with pytest.raises(ValueError, match='is broken'):
        Posterior.load(tmp_path)
    with open(tmp_path / POSTERIOR, 'wb') as handle:
        np.savez(handle, coefficients=np.zeros(3), factor=np.eye(4), forces=np.ones(4), inflation=1.0)
    with pytest.raises(ValueError, match='do not belong together'):
        Posterior.load(tmp_path)


def test_posterior_belongs_to_the_potential(trained):
    """The coefficients in the file are those of the potential, in the same order."""
    potential, _ = trained
    np.testing.assert_allclose(potential.posterior.coefficients, potential.basis.basis_coeffs, rtol=1e-12)


def test_predictions_carry_error_bars(trained, testing, tmp_path):
    potential, results = trained
    predicted = predict(potential, testing)
    add_uncertainty(potential, predicted, processes=2)
    alone = predict(potential, testing)
    add_uncertainty(potential, alone, processes=1)
    for left, right in zip(predicted, alone, strict=True):
        np.testing.assert_array_equal(left.arrays['force_std'], right.arrays['force_std'])
    metrics = uncertainty_metrics(testing, predicted)
    assert metrics == results['uncertainty']
    assert 0.8 < metrics['forces']['coverage'] <= 1
    assert metrics['forces']['rank_correlation']['posterior'] > 0
    save_configurations(tmp_path / 'predictions.npz', predicted)
    np.testing.assert_array_equal(
        load_configurations(tmp_path / 'predictions.npz')[0].arrays['force_std'], predicted[0].arrays['force_std']
    )


def test_without_posterior(trained, testing, tmp_path):
    """A potential of another origin has no error bars, and works."""
    for name in AcePotential.FILES:
        shutil.copy(trained[0].directory / name, tmp_path / name)
    potential = AcePotential(tmp_path)
    predicted = predict(potential, testing[:1])
    add_uncertainty(potential, predicted)
    assert 'force_std' not in predicted[0].arrays and uncertainty_metrics(testing[:1], predicted) is None
    with pytest.raises(ValueError, match='nothing to draw from'):
        committee(potential)


def test_committee_spreads_as_the_posterior_says(trained, testing):
    """Forces of drawn potentials, baseline included, scatter about the potential's by the widened spread."""
    potential, _ = trained
    atoms = max(testing, key=len)
    rows = DesignMatrix(potential.basis).rows(atoms)
    spread, _ = force_features(rows.forces, potential.posterior.coefficients, potential.posterior.factor)
    drawn = [calculator.get_forces(atoms.copy()) for calculator in committee(potential, size=12, seed=1)]
    reference = potential.calculator().get_forces(atoms.copy())
    found = np.sqrt(np.mean((np.array(drawn) - reference) ** 2))
    assert found == pytest.approx(potential.posterior.inflation * np.sqrt(np.mean(spread**2)), rel=0.25)


def test_error_bars_of_a_crystal(trained):
    potential, _ = trained
    found = with_error_bars(potential, lambda calculator: measure(calculator, bulk('Al', cubic=True)), size=4)
    assert found['a']['value'] == pytest.approx(3.99, abs=0.03)  # EMT
    assert 0 < found['a']['std'] < 0.1
    assert found['C11']['value'] == pytest.approx(53, rel=0.4) and found['C11']['std'] > 0
