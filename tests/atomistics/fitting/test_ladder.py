"""The ladder: what it tries, what it chooses, the cap of the cost, the learning curve."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule

from aiida_pyacemaker.atomistics.ace.basis import Order, build_basis, columns
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.baselines import baseline_from_data
from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.fitting import ladder
from aiida_pyacemaker.atomistics.fitting.equations import Target, accumulate, solve_sums
from aiida_pyacemaker.atomistics.fitting.weights import degrees

from ..conftest import label, quiet

ELEMENTS = ['Al']


@pytest.fixture(scope='module')
def data():
    """Rattled aluminium of several volumes by EMT: frames, targets, inner cutoffs."""
    frames = []
    for seed in range(24):
        atoms = bulk('Al', a=3.9 + 0.02 * (seed % 12), cubic=True).repeat((2, 1, 1))
        atoms.rattle(0.02 + 0.02 * (seed % 6), seed=seed)
        frames.append(label(atoms))
    baseline = baseline_from_data('zbl', ELEMENTS, frames)
    targets = []
    for index, atoms in enumerate(frames):
        found, (energy, forces, stress) = labels(atoms), baseline.evaluate(atoms)
        targets.append(
            Target(found['energy'] - energy, found['forces'] - forces, found['stress'] - stress, 1.0,
                   np.ones(len(atoms)), 1.0, 'rattle', str(index % 8))
        )  # fmt: skip
    return frames, targets, baseline.inner_cutoffs()


@pytest.fixture(scope='module')
def choice(data):
    frames, targets, inner_cutoffs = data
    return ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(), 1, quiet)


def test_chosen_is_what_pays(choice, data):
    assert sum(rung['chosen'] for rung in choice.pareto) == 1
    chosen = next(rung for rung in choice.pareto if rung['chosen'])
    assert chosen['score'] == min(rung['score'] for rung in choice.pareto)
    assert (chosen['cutoff'], chosen['number_of_functions']) == (choice.cutoff, choice.number_of_functions)
    assert len({rung['cutoff'] for rung in choice.pareto}) >= 2
    assert len({rung['factor'] for rung in choice.pareto}) >= 2
    place = [r for r in choice.pareto if (r['cutoff'], r['factor']) == (choice.cutoff, choice.order.factor)]
    costs = [rung['cost_us'] for rung in place]
    assert costs == sorted(costs)


def test_choice_as_json_builds_the_basis(choice, data):
    values = json.loads(json.dumps(choice.to_dict()))
    basis = build_basis(ELEMENTS, inner_cutoffs=data[2], **values)
    assert len(basis.basis_coeffs) == choice.number_of_functions
    assert basis.cutoffmax == choice.cutoff


def test_same_choice_on_a_slower_machine(choice, data, monkeypatch):
    frames, targets, inner_cutoffs = data
    monkeypatch.setattr(ladder, 'measure_cost', lambda basis, atoms: 1e4)
    again = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(), 2, quiet)
    assert again.to_dict() == choice.to_dict()
    assert [r['force_rmse'] for r in again.pareto] == [r['force_rmse'] for r in choice.pareto]


def test_cap_of_the_cost(data, monkeypatch):
    frames, targets, inner_cutoffs = data
    # the speed of a busy machine differs from one moment to the next
    monkeypatch.setattr(ladder, 'measure_cost', lambda basis, atoms: 50.0)
    free = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(), 1, quiet)
    cap = 1.1 * min(rung['cost_us'] for rung in free.pareto)
    capped = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(max_cost=cap), 1, quiet)
    assert capped.cost_us <= cap
    with pytest.raises(ValueError, match=r'max_cost is 0.001 µs/atom/step, but the cheapest basis here costs'):
        ladder.choose_basis(
            frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(max_cost=1e-3, cutoff=4.0), 1, quiet
        )


def test_what_is_given_is_taken(data):
    frames, targets, inner_cutoffs = data
    options = ladder.BasisOptions(cutoff=4.4, number_of_functions=45)
    found = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, options, 1, quiet)
    assert (found.cutoff, found.number_of_functions, found.pareto) == (4.4, 45, [])
    found = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, ladder.BasisOptions(cutoff=4.4), 1, quiet)
    assert {rung['cutoff'] for rung in found.pareto} == {4.4}
    least = ladder.BasisOptions(cutoff=4.4, min_functions=45)
    found = ladder.choose_basis(frames, targets, ELEMENTS, inner_cutoffs, least, 1, quiet)
    assert min(rung['number_of_functions'] for rung in found.pareto) == 50


def test_a_single_configuration_and_no_forces(data):
    frames, targets, inner_cutoffs = data
    found = ladder.choose_basis(
        frames[:1], targets[:1], ELEMENTS, inner_cutoffs, ladder.BasisOptions(cutoff=4.4), 1, quiet
    )
    assert found.number_of_functions == ladder.RUNGS[0]
    energies = [replace(target, forces=None, stress=None) for target in targets[:8]]
    found = ladder.choose_basis(
        frames[:8], energies, ELEMENTS, inner_cutoffs, ladder.BasisOptions(cutoff=4.4), 1, quiet
    )
    assert found.pareto[0]['force_rmse'] is None and found.pareto[0]['energy_rmse'] > 0


def test_cutoffs_hold_the_same_numbers_of_neighbours():
    crystal = [bulk('Al', cubic=True).repeat(2)]
    crystal[0].rattle(0.05, seed=0)
    cutoffs = ladder.candidate_cutoffs(crystal)
    scaled = crystal[0].copy()
    scaled.set_cell(scaled.cell * 1.1, scale_atoms=True)
    np.testing.assert_allclose(ladder.candidate_cutoffs([scaled])[:3], np.array(cutoffs[:3]) * 1.1, atol=0.1)
    for number, cutoff in zip(ladder.NEIGHBOURS, cutoffs, strict=False):
        assert 0.8 * number < ladder.mean_neighbours(crystal, cutoff) < 1.25 * number
    assert ladder.candidate_cutoffs([molecule('CH4')]) == [ladder.FALLBACK]


def test_cost_model_grows_with_neighbours_and_functions(data):
    """How well it agrees with the evaluator is measured by the benchmark, not here: times depend on the machine."""

    def cost(cutoff: float, number: int) -> float:
        basis = build_basis(ELEMENTS, cutoff, number, data[2], order=Order())
        return ladder.cost_model(columns(basis), ladder.mean_neighbours([atoms], cutoff))

    atoms = bulk('Al', cubic=True).repeat(3)
    assert 0 < cost(4.5, 50) < cost(6.0, 50) < cost(6.0, 250)
    assert ladder.measure_cost(build_basis(ELEMENTS, 4.5, 30, data[2]), atoms) > 0


def test_sample_is_even_over_the_folds(data):
    frames, targets, _ = data
    members = ladder.sample(frames, targets, max_atoms=64)
    assert sum(len(frames[index]) for index in members) == 64
    assert {targets[index].fold for index in members} == {str(fold) for fold in range(8)}
    assert ladder.sample(frames, targets, max_atoms=10**6) == list(range(len(frames)))


def test_learning_curve_falls_to_the_error_of_the_fit(data):
    frames, targets, inner_cutoffs = data
    basis = build_basis(ELEMENTS, 5.0, 40, inner_cutoffs)
    store = ladder._RowsOnDemand(DesignMatrix(basis))
    sums = accumulate(store, frames, targets, 1)
    solution = solve_sums(sums, degrees(basis), {}, 1, quiet)
    curve = ladder.learning_curve(sums, degrees(basis), solution.hyperparameters, len(frames))
    assert [point['n_configurations'] for point in curve] == [5, 10, 14, 19]
    assert curve[0]['force_rmse'] > curve[-1]['force_rmse']
    # the last point leaves one fold out, as the cross-validation of the fit does
    np.testing.assert_allclose(curve[-1]['force_rmse'], solution.validation['rmse']['forces'], rtol=0.1)
    np.testing.assert_allclose(curve[-1]['energy_rmse'], solution.validation['rmse']['energy'], rtol=0.1)
