"""Simulations that hold, and those that must end early: with potentials that have just that fault."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential

from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.stability import StabilityParameters as Parameters
from aiida_pyacemaker.atomistics.validation.properties.stability.compute import run, simulate

SHORT = Parameters(temperatures=[300.0], hot=1500.0, atoms=16, steps=200)


class Swirl(EMT):
    """EMT, and forces that turn each atom around its site: no energy has them as its gradient."""

    sites, strength = None, 0.4

    def calculate(self, atoms=None, *args, **kwargs):
        super().calculate(atoms, *args, **kwargs)
        self.sites = atoms.positions.copy() if self.sites is None else self.sites
        x, y, _ = (atoms.positions - self.sites).T
        self.results['forces'] = self.results['forces'] + self.strength * np.stack([-y, x, 0 * x], axis=1)


def argon() -> tuple[Atoms, LennardJones]:
    return bulk('Ar', cubic=True, a=5.26), LennardJones(sigma=3.4, epsilon=0.0104, rc=6.5, smooth=True)


def test_runs_of_a_good_potential():
    found = run(bulk('Cu', cubic=True), Evaluator(EMT()), SHORT)
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert [one['ensemble'] for one in found['runs']] == ['nve', 'nvt', 'npt'] and found['message'] == ''
    for one in found['runs']:
        assert one['completed'] and one['reason'] == 'completed' and one['steps'] == 200 and one['n_atoms'] == 16
        assert 1.7 < one['shortest'] < 2.55
        assert one['mean_temperature'] == pytest.approx(one['temperature'], rel=0.3)
        assert len(one['energies']) == len(one['times']) <= 100
        assert one['times'][-1] == pytest.approx(200 * one['timestep'] / 1000)
    constant, _, free = found['runs']
    assert abs(constant['drift']) < 0.002 and 0 < constant['drift_error'] < 0.001
    assert np.ptp(constant['energies']) < 1e-4
    assert free['drift'] is None and free['volume_ratio'] > 1.0, 'it expands'


def test_a_drift_is_that_of_the_forces():
    start = bulk('Cu', cubic=True).repeat((2, 2, 1))
    parameters = Parameters(steps=300, timestep=2.0)
    good = simulate(EMT(), start, 'nve', 300.0, parameters)
    bad = simulate(Swirl(), start, 'nve', 300.0, parameters)
    assert abs(good['drift']) < 1e-3
    assert abs(bad['drift']) > 0.5
    settled = slice(len(bad['times']) // 4, None)
    slope = np.polyfit(bad['times'][settled], bad['energies'][settled], 1)[0]
    assert bad['drift'] == pytest.approx(slope * 1000, rel=0.1), 'eV/atom/ns from eV/atom and ps'


def test_a_hole_at_short_distance_ends_the_run():
    soft = MorsePotential(epsilon=0.3, r0=2.5, rho0=0.8, rcut1=4.0, rcut2=5.0)
    one = simulate(soft, bulk('Cu', cubic=True).repeat((2, 1, 1)), 'nve', 900.0, SHORT)
    assert not one['completed'] and one['reason'] == 'collapse' and one['drift'] is None and one['steps'] < 200
    assert one['shortest'] < 1.32 and 'Cu-Cu came as close as' in one['message']


def test_a_crystal_above_its_boiling_point_evaporates():
    atoms, calculator = argon()
    one = simulate(calculator, atoms, 'npt', 900.0, SHORT)
    assert not one['completed'] and one['reason'] == 'evaporation' and 'volume grew' in one['message']


def test_a_start_that_releases_energy_ends_the_run():
    one = simulate(EMT(), bulk('Cu', cubic=True, a=4.7).repeat((2, 1, 1)), 'nve', 300.0, SHORT)
    assert one['reason'] == 'temperature' and 'the temperature rose to' in one['message']
    one = simulate(EMT(), bulk('Cu', cubic=True, a=5.2).repeat((2, 1, 1)), 'nvt', 300.0, SHORT)
    assert one['reason'] in ('energy', 'temperature') and not one['completed']


def test_temperatures_suit_the_crystal():
    atoms, calculator = argon()
    short = Parameters(atoms=4, steps=100)
    hot = {one['ensemble']: one['temperature'] for one in run(atoms, Evaluator(calculator), short)['runs']}
    assert 42 < hot['nvt'] / 2 < 168, 'argon melts at 84 K'
    hot = {one['ensemble']: one['temperature'] for one in run(bulk('Cu', cubic=True), Evaluator(EMT()), short)['runs']}
    assert 679 < hot['nvt'] / 2 < 2716, 'copper melts at 1358 K'
    assert hot['npt'] == pytest.approx(0.4 * hot['nvt'], abs=15)


def test_a_calculator_that_fails_ends_the_run():
    class Fragile(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.calls = getattr(self, 'calls', 0) + 1
            if self.calls > 20:
                raise RuntimeError('lost atoms')

    one = simulate(Fragile(), bulk('Cu', cubic=True), 'nve', 300.0, SHORT)
    assert one['reason'] == 'crash' and not one['completed'] and 'lost atoms' in one['message']


def test_energies_that_are_no_numbers_end_the_run():
    class Broken(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.calls = getattr(self, 'calls', 0) + 1
            self.results['energy'] = np.nan if self.calls > 20 else self.results['energy']

    one = simulate(Broken(), bulk('Cu', cubic=True), 'nve', 300.0, SHORT)
    assert one['reason'] == 'crash' and 'no longer numbers' in one['message']
    json.dumps(one, allow_nan=False)


def test_time_ends_a_run_without_fault():
    parameters = Parameters(steps=100000, seconds=0.2)
    one = simulate(EMT(), bulk('Cu', cubic=True), 'nve', 300.0, parameters)
    assert one['completed'] and one['reason'] == 'time' and one['steps'] < 100000 and one['message'] == ''


def test_a_molecule_has_no_volume_to_relax():
    atoms = molecule('CO', vacuum=4.0)
    atoms.pbc = True
    found = run(atoms, Evaluator(EMT()), Parameters(temperatures=[100.0], hot=200.0, atoms=2, steps=100))
    assert [one['ensemble'] for one in found['runs']] == ['nve', 'nvt']
    assert found['runs'][0]['n_atoms'] == 2


def test_a_primitive_cell_is_simulated_in_its_conventional_shape():
    parameters = Parameters(temperatures=[300.0], hot=500.0, atoms=8, steps=100)
    one = run(bulk('Cu'), Evaluator(EMT()), parameters)['runs'][0]
    assert one['n_atoms'] == 8 and one['displacement'] < 0.3


def test_a_fitted_potential_conserves_energy(trained):
    potential, _ = trained
    atoms = bulk('Al', cubic=True, a=4.0)
    one = simulate(Evaluator(potential.directory).map(_calculator, [()])[0], atoms, 'nve', 300.0, SHORT)
    assert one['completed'] and abs(one['drift']) < 0.01
    assert one['timestep'] == pytest.approx(0.3 * np.sqrt(26.98), rel=0.01)
    assert one['displacement'] < 0.5 * 2.86 and one['mean_temperature'] < 600.0
    assert one['energies'][0] == pytest.approx(_start(potential, atoms), abs=1e-6)


def _calculator(calculator):
    return calculator


def _start(potential, atoms: Atoms) -> float:
    """Energy per atom at the start: that of the crystal and of twice the temperature, but for the momentum."""
    still = atoms.copy()
    still.calc = potential.calculator()
    return still.get_potential_energy() / 4 + 1.5 * units.kB * 600.0
