"""How weights and prior are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.fitting.equations import Target, accumulate, solve_sums
from aiida_pyacemaker.atomistics.fitting.weights import (
    Hyperparameters,
    above_hull,
    balanced,
    choose,
    degrees,
    given_hyperparameters,
    hull_weights,
    objective,
    penalties,
)

START = Hyperparameters()
ALL = ['energy_weight', 'stress_weight', 'ridge', 'smoothness']


def test_numbers_are_taken_as_they_are():
    given, free = given_hyperparameters({'ridge': 0, 'energy_weight': 7, 'smoothness': None})
    assert (given.ridge, given.energy_weight, given.stress_weight) == (0.0, 7.0, START.stress_weight)
    assert free == ['stress_weight', 'smoothness']


@pytest.mark.parametrize('value', [-1.0, float('nan'), float('inf'), 'auto', True])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=r'stress_weight .* null to have it chosen'):
        given_hyperparameters({'stress_weight': value})


def test_fast_functions_are_penalised_more():
    cutoffs = dict.fromkeys((('Al', 'Al'), ('Al', 'Cu'), ('Cu', 'Cu')), (1.7, 0.5))
    basis = build_basis(['Al', 'Cu'], 5.0, 25, cutoffs)
    degree = degrees(basis)
    assert len(degree) == 50 and degree.min() == 1
    firsts = [function.ns[0] for function in basis.basis_rank1[0]]
    assert list(degree[: len(firsts)]) == firsts
    found = penalties(degree, 1.0)
    assert np.exp(np.log(found).mean()) == pytest.approx(1)
    assert found[3] / found[0] == pytest.approx((degree[3] / degree[0]) ** 2)
    assert np.all(penalties(degree, 0.0) == 1)


def test_weights_are_between_noise_and_number():
    noise = {'energy': (0.002, 100), 'forces': (0.1, 160_000), 'stress': (0.001, 10_000)}
    found = balanced(START, ['energy_weight', 'ridge'], noise)
    assert found == replace(START, energy_weight=pytest.approx(50 * 1600**0.25))
    assert balanced(START, ALL, noise).stress_weight == pytest.approx(100 * 2)
    assert balanced(START, ALL, {'energy': (0.0, 5), 'forces': (0.1, 10)}).energy_weight == 1e4
    assert balanced(START, ALL, {'energy': (0.1, 5)}) == START


def test_objective_knows_no_units():
    labels = {name: np.array([4.0, 8.0]) for name in ('energy', 'forces', 'stress')}
    squares = {'energy': np.array([1e-6, 4e-6]), 'forces': np.array([0.1, 0.2]), 'stress': np.array([1e-5, 1e-4])}
    first = objective(squares, labels)
    better = squares | {'energy': 0.81 * squares['energy'], 'forces': 1.21 * squares['forces']}
    kilo = {'energy': 1e6 * squares['energy'], 'forces': squares['forces'], 'stress': squares['stress']}
    assert objective(kilo, labels) - first == pytest.approx(np.log(1000))
    assert objective(better, labels) - first == pytest.approx(np.log(0.9) + np.log(1.1))
    nothing = {**labels, 'stress': np.zeros(2)}
    assert np.isfinite(objective(squares, nothing))
    # perfect crystals in one fold: no error there, and no infinite reward
    perfect = squares | {'forces': np.array([0.0, 0.2])}
    assert objective(perfect, labels) > first - 8


def test_the_minimum_is_found():
    def validate(hyper: Hyperparameters) -> float:
        return (np.log10(hyper.ridge) + 6.3) ** 2 + (hyper.smoothness - 2) ** 2

    def balance(hyper: Hyperparameters) -> Hyperparameters:
        return replace(hyper, energy_weight=30.0)

    found, tried = choose(START, ALL, balance, validate)
    assert np.log10(found.ridge) == pytest.approx(-6.3, abs=0.3)
    assert found.smoothness == 2 and found.energy_weight == 30 and tried < 30
    assert choose(START, ALL, balance, validate) == (found, tried)
    fixed, _ = choose(replace(START, ridge=1e-3), ['smoothness'], lambda hyper: hyper, validate)
    assert (fixed.ridge, fixed.smoothness) == (1e-3, 2.0)


def test_hull_of_one_element_is_the_lowest_energy():
    assert np.allclose(above_hull(np.ones((3, 1)), np.array([-3.0, -3.5, -1.0])), [0.5, 0.0, 2.5])


def test_hull_of_a_binary():
    shares = np.array([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 1.0])
    energies = np.array([-1.0, -1.2, -2.0, -1.9, -2.1, -3.0, -2.8])
    expected = [0.0, 0.3, 0.0, 0.1, 0.4, 0.0, 0.2]
    assert np.allclose(above_hull(np.c_[shares, 1 - shares], energies), expected)


def test_hull_of_a_ternary_does_not_depend_on_the_references():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 200)
    shares[:3] = np.eye(3)
    energies = 0.3 * rng.random(200) - shares[:, 0] * shares[:, 1]
    energies[:3] = 0.0
    found = above_hull(shares, energies)
    assert np.all(found >= 0) and found[:3] == pytest.approx(0, abs=1e-6)
    assert np.allclose(found, above_hull(shares, energies + shares @ [5.0, -3.0, 100.0]), atol=1e-6)
    # nothing lies above the hull by more than it lies above the plane through the elements, or the lowest of all
    assert np.all(found <= energies - energies.min() + 1e-6)


@pytest.mark.parametrize('elements', [2, 3, 7])
def test_hull_of_few_or_equal_compositions(elements):
    """A single composition, two of them, and more elements than a hull is made for."""
    rng = np.random.default_rng(1)
    one = np.tile(rng.dirichlet(np.ones(elements)), (5, 1))
    assert above_hull(one, np.arange(5.0)) == pytest.approx(np.arange(5.0))
    two = np.concatenate([one, np.tile(rng.dirichlet(np.ones(elements)), (5, 1))])
    assert above_hull(two, np.tile(np.arange(5.0), 2)) == pytest.approx(np.tile(np.arange(5.0), 2))
    many = above_hull(rng.dirichlet(np.ones(elements), 50), rng.random(50))
    assert np.all(many >= 0) and many.min() < 1e-6


def test_hull_weights_fall_with_the_distance():
    energies = np.array([-4.0, -3.7, -3.6, -3.0, 40.0, np.nan])
    found = hull_weights(np.ones((6, 1)), energies)
    assert found[0] == found[5] == 1 and found[4] == 0.05
    assert found[2] == pytest.approx(1 / np.sqrt(2)) and np.all(np.diff(found[:5]) < 0)
    assert np.all(hull_weights(np.ones((6, 1)), energies, 0) == 1)
    assert np.all(hull_weights(np.ones((2, 1)), np.full(2, np.nan)) == 1)
    # a hull that moves by a millielectronvolt changes nothing here
    moved = np.where(np.arange(6) == 0, energies - 1e-3, energies)
    assert np.array_equal(hull_weights(np.ones((6, 1)), moved), found)


@pytest.fixture(scope='module')
def sums(tmp_path_factory: pytest.TempPathFactory):
    """Equations of copper cells labelled by EMT, cold to hot, and of others that are not fitted."""
    found, frames, targets = [], [], []
    for seed in range(70):
        atoms = bulk('Cu', cubic=True, a=3.5 + 0.004 * seed).repeat((2, 1, 1))
        atoms.rattle(0.02 + 0.02 * (seed % 5), seed=seed)
        atoms.calc = EMT()
        labels = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        targets.append(Target(*labels, fold=f'parent {seed // 2}'))
        frames.append(atoms)
    design = DesignMatrix(build_basis(['Cu'], 5.5, 60, {('Cu', 'Cu'): (1.5, 0.3)}))
    store = RowStore(tmp_path_factory.mktemp('rows'), design)
    for part in (slice(0, None, 2), slice(1, None, 2)):
        found.append(accumulate(store, frames[part], targets[part], 1))
    return (*found, degrees(design.basis))


def test_automatic_choice_beats_fixed_ones(sums):
    train, test, degree = sums

    def error(options: dict) -> tuple[float, float]:
        found = solve_sums(train, degree, options, 1, lambda message: None).coefficients
        totals = [test.total(name) for name in ('energy', 'forces')]
        return tuple(np.sqrt(total.squares(found) / total.weight) for total in totals)

    fixed = {'stress_weight': 0.0, 'ridge': 1e-9, 'smoothness': 0.0}
    automatic = error({})
    for others in (error({'energy_weight': 1.0, **fixed}), error({'energy_weight': 100.0, **fixed})):
        assert np.prod(automatic) < np.prod(others)
    # equal weights: forces a little better, energies many times worse
    equal = error({'energy_weight': 1.0, **fixed})
    assert automatic[0] < 0.7 * equal[0] and automatic[1] < 1.15 * equal[1]
