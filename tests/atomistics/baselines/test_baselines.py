"""The baseline that is subtracted in training is the baseline that LAMMPS adds."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.baselines import baseline_from_data, baseline_from_dict


def dense_alloy(elements: list[str], skew: bool, repeat: int, seed: int = 0) -> Atoms:
    """A compressed, rattled fcc cell, so that every pair sits somewhere within the baseline's range."""
    rng = np.random.default_rng(seed)
    atoms = bulk('Al', 'fcc', a=3.6, cubic=True).repeat(repeat)
    if skew:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3))), scale_atoms=True)
    atoms.set_chemical_symbols([elements[k % len(elements)] for k in range(len(atoms))])
    atoms.positions += rng.normal(0, 0.25, atoms.positions.shape)
    return atoms


def lines(baseline, elements: list[str]) -> str:
    styles, coeffs = baseline.lammps(elements)
    return '\n'.join([f'pair_style hybrid/overlay {" ".join(styles)}', *baseline.lammps_modify(), *coeffs]) + '\n'


@pytest.mark.parametrize('kind', ['zbl', 'lj'])
@pytest.mark.parametrize(
    ('elements', 'skew', 'repeat'),
    [(['Al'], False, 2), (['Al', 'Cu'], True, 2), (['Al', 'Cu', 'O'], True, 1), (['Cu', 'Al'], True, 1)],
)
def test_equals_lammps(kind, elements, skew, repeat, lammps_single_point):
    loose = dense_alloy(elements, skew, repeat, seed=1)
    baseline = baseline_from_data(kind, elements, [loose])
    atoms = dense_alloy(elements, skew, repeat, seed=2)
    atoms.set_cell(atoms.cell.array * 0.85, scale_atoms=True)
    energy, forces, stress = baseline.evaluate(atoms)
    expected_energy, expected_forces, expected_stress, _ = lammps_single_point(
        atoms, lines(baseline, elements), elements
    )
    assert energy > 0.1
    assert energy == pytest.approx(expected_energy, abs=1e-9)
    np.testing.assert_allclose(forces, expected_forces, atol=1e-9)
    np.testing.assert_allclose(stress, expected_stress, atol=1e-7)


@pytest.mark.parametrize('kind', ['zbl', 'lj'])
def test_forces_and_stress_are_derivatives(kind):
    atoms = dense_alloy(['Al', 'Cu'], True, 1)
    baseline = baseline_from_data(kind, ['Al', 'Cu'], [dense_alloy(['Al', 'Cu'], True, 1, seed=3)])
    atoms.set_cell(atoms.cell.array * 0.9, scale_atoms=True)
    _, forces, stress = baseline.evaluate(atoms)
    step = 1e-5
    for index, axis in ((0, 0), (2, 1)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index, axis] += sign * step
            energies.append(baseline.evaluate(moved)[0])
        assert forces[index, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-5, abs=1e-6)
    for voigt, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(baseline.evaluate(moved)[0])
        expected = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[voigt] == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize('kind', ['zbl', 'lj'])
def test_dict_round_trip_and_repulsion(kind):
    baseline = baseline_from_data(kind, ['Al', 'Cu'], [dense_alloy(['Al', 'Cu'], False, 2)])
    again = baseline_from_dict(baseline.to_dict())
    r = np.linspace(0.5, 3.0, 400)
    for pair in again.pairs:
        energy, slope = again.pair_energy(pair, r[r < again.cutoff(pair)])
        assert np.all(slope < 0)
        np.testing.assert_array_equal(energy, baseline.pair_energy(pair, r[r < again.cutoff(pair)])[0])
        at_cutoff = baseline.pair_energy(pair, np.array([again.cutoff(pair)]))
        assert np.allclose(at_cutoff, 0, atol=1e-12)


def test_ranges_come_from_the_data():
    atoms = dense_alloy(['Al'], False, 2)
    shortest = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)].min()
    baseline = baseline_from_data('zbl', ['Al', 'Cu'], [atoms])
    assert baseline.pairs['Al', 'Al']['shortest'] == pytest.approx(shortest)
    # never seen: covalent radii (Al 1.21, Cu 1.32 Å) scaled as Al-Al is
    assert baseline.pairs['Cu', 'Cu']['shortest'] == pytest.approx(shortest * 1.32 / 1.21)
    r_in, delta = baseline.inner_cutoffs()['Al', 'Al']
    assert 0 < r_in - delta < r_in < shortest
    assert baseline.covers({('Al', 'Al'): shortest}) and not baseline.covers({('Al', 'Al'): 0.8 * shortest})


def test_bad_input():
    atoms = dense_alloy(['Al'], False, 1)
    with pytest.raises(ValueError, match='choose one of lj, zbl'):
        baseline_from_data('morse', ['Al'], [atoms])
    with pytest.raises(ValueError, match='condensed frames'):
        baseline_from_data('zbl', ['Al'], [Atoms('Al', cell=[10] * 3)])
    with pytest.raises(ValueError, match='element Cu'):
        baseline_from_data('zbl', ['Al'], [atoms]).evaluate(Atoms('Cu'))
