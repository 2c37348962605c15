"""Equations of state: fits, faults that are put into a curve, and none found where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from cases.elasticity import settle, shipped, with_fault

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, evaluate, make_calculator
from aiida_pyacemaker.atomistics.validation.properties.elasticity import compute as elasticity
from aiida_pyacemaker.atomistics.validation.properties.eos import Eos
from aiida_pyacemaker.atomistics.validation.properties.eos.compute import analyse, plan

COPPER = 11.565


def curve(volumes: np.ndarray, energies: np.ndarray, pressures: np.ndarray) -> list[Atoms]:
    """Return frames of one atom with energies (eV) and pressures (eV/Å³)."""
    frames = []
    for volume, energy, pressure in zip(volumes, energies, pressures, strict=True):
        frame = Atoms('Cu', cell=np.eye(3) * volume ** (1 / 3), pbc=True)
        frames.append(set_labels(frame, energy, np.zeros((1, 3)), np.array([-pressure] * 3 + [0] * 3)))
    return frames


@pytest.fixture(scope='module')
def copper() -> Atoms:
    return settle(bulk('Cu', cubic=True), EMT())


@pytest.fixture(scope='module')
def labelled(copper) -> list[Atoms]:
    return [evaluate(EMT(), atoms) for atoms in plan(copper)]


def test_the_volumes_are_those_asked_for(copper):
    planned = plan(copper, Eos(range=0.1, points=11))
    ratios = [len(copper) / len(atoms) * atoms.get_volume() / copper.get_volume() for atoms in planned]
    assert ratios == pytest.approx(np.linspace(0.9, 1.1, 11), rel=1e-6)
    assert {len(atoms) for atoms in planned} == {1} and {atoms.info['property'] for atoms in planned} == {'eos'}


def test_copper_agrees_with_its_relaxation_and_its_elastic_constants(copper, labelled):
    found = analyse(copper, labelled)
    elastic = elasticity.analyse(copper, [evaluate(EMT(), atoms) for atoms in elasticity.plan(copper)])
    for name in ('birch_murnaghan', 'vinet'):
        assert found[name]['v0'] == pytest.approx(copper.get_volume() / 4, rel=1e-4)
        assert found[name]['b0'] == pytest.approx(elastic['bulk']['hill'], rel=2e-3)
        assert found[name]['b0_prime'] == pytest.approx(4.2, abs=0.1) and found[name]['rms'] < 1e-5
        assert found[name]['e0'] == pytest.approx(min(found['energies']), abs=1e-6)
    assert (found['smooth'], found['kinks'], found['monotone']) == (True, [], True) and found['roughness'] < 0.1
    assert found['pressure_check'] < 0.01
    assert found['volumes'] == sorted(found['volumes']) and found['pressures'][0] > 30 > 0 > found['pressures'][-1]


def test_the_equations_find_their_own_parameters():
    volumes = np.linspace(16, 24, 41)
    x, modulus, slope = (20 / volumes) ** (1 / 3), 100 * units.GPa, 5.0
    pressures = 1.5 * modulus * (x**7 - x**5) * (1 + 0.75 * (slope - 4) * (x**2 - 1))
    energies = -4 + 9 * 20 * modulus / 16 * ((x**2 - 1) ** 3 * slope + (x**2 - 1) ** 2 * (6 - 4 * x**2))
    found = analyse(Atoms('Cu', cell=[2.8] * 3, pbc=True), curve(volumes, energies, pressures))
    expected = {'v0': 20, 'e0': -4, 'b0': 100, 'b0_prime': 5, 'rms': 0}
    assert found['birch_murnaghan'] == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert found['vinet']['b0'] == pytest.approx(100, rel=2e-3) and found['pressure_check'] < 0.01


@pytest.mark.parametrize('place', [0.903, 1.003, 1.118])
@pytest.mark.parametrize(('step', 'jump'), [(3e-4, 0), (-3e-4, 0), (0, 0.01), (0, -0.01)])
def test_a_kink_is_found_where_it_is(copper, labelled, place, step, jump):
    """A step of 0.3 meV/atom in the energy, or a jump of the pressure by 1 % of the bulk modulus."""
    faulty = with_fault(labelled, place * COPPER, step, jump * 134 * units.GPa)
    found = analyse(copper, faulty)
    assert not found['smooth'] and found['roughness'] > 2
    assert found['kinks'] == [pytest.approx(place * COPPER, abs=0.012 * COPPER)]


def test_two_kinks_are_two(copper, labelled):
    faulty = with_fault(with_fault(labelled, 0.9 * COPPER, 0, 0.02), 1.1 * COPPER, 0, 0.02)
    assert len(analyse(copper, faulty)['kinks']) == 2


def test_an_error_of_the_stress_is_no_kink_but_told(copper, labelled):
    """As Pulay's stress of a plane-wave basis."""
    shifted = [
        set_labels(atoms.copy(), labels(atoms)['energy'], labels(atoms)['forces'], labels(atoms)['stress'] + 0.01)
        for atoms in labelled
    ]
    found = analyse(copper, shifted)
    assert found['smooth'] and found['pressure_check'] == pytest.approx(0.01 / units.GPa, rel=0.02)


@pytest.mark.parametrize('points', [7, 11, 21, 41])
def test_few_points_raise_no_alarm(copper, points):
    found = analyse(copper, [evaluate(EMT(), atoms) for atoms in plan(copper, Eos(points=points))])
    assert found['smooth'] and found['birch_murnaghan']['b0'] == pytest.approx(134.4, rel=0.02)


@pytest.mark.parametrize(
    ('potential', 'element'),
    [(('eam/fs', 'Al_mm.eam.fs'), 'Al'), (('sw', 'Si.sw'), 'Si'), (('eam/alloy', 'NiAlH_jea.eam.alloy'), 'Ni')],
)
def test_potentials_of_many_kinds_are_smooth(potential, element):
    """The aluminium has a bulk modulus that doubles within 10 %, and one below zero; the nickel a knot of its table."""
    description = shipped(*potential, element)
    crystal = settle(bulk(element), make_calculator(description))
    with Evaluator(description) as evaluator:
        found = analyse(crystal, evaluator.evaluate(plan(crystal)))
    assert (found['smooth'], found['monotone']) == (True, True) and 0 < found['roughness'] < 0.5


def test_a_fitted_potential_is_smooth(trained):
    calculator = trained[0].calculator()
    crystal = settle(bulk('Al'), calculator, 1e-4)
    found = analyse(crystal, [evaluate(calculator, atoms) for atoms in plan(crystal)])
    assert found['smooth'] and found['pressure_check'] < 0.1


@pytest.mark.parametrize('depth', [0.05, 1.0])
def test_a_hole_is_seen_and_does_not_move_the_minimum(copper, labelled, depth):
    found = analyse(copper, with_fault(labelled, 0.84 * COPPER, -depth, 0))
    assert not found['monotone'] and found['holes'] == [pytest.approx(0.835 * COPPER, abs=0.01 * COPPER)]
    assert analyse(copper, labelled)['monotone'] and analyse(copper, labelled)['holes'] == []
    assert found['birch_murnaghan'] == analyse(copper, labelled)['birch_murnaghan']


def test_what_cannot_be_done_is_said(copper, labelled):
    with pytest.raises(ValueError, match=r'no minimum near 11\.5\d Å³/atom, it falls until 10\.8'):
        analyse(copper, labelled[:15])
    with pytest.raises(ValueError, match='has no stress'):
        analyse(copper, [*labelled[:-1], set_labels(labelled[-1].copy(), 1.0)])
