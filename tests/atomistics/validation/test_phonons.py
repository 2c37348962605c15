"""Phonons against ASE's own, energies of displaced cells and sums over modes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.phonons import Phonons

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.phonons import PhononParameters as Parameters
from aiida_pyacemaker.atomistics.validation.properties.phonons.compute import analyse, plan
from aiida_pyacemaker.atomistics.validation.requests import make_structures

SMALL = Parameters(max_atoms=35, mesh=30.0)
#: THz per root of eV/(Å² u)
THZ = 1e-12 * units.second / (2 * np.pi)


def look(atoms: Atoms, parameters: Parameters = SMALL) -> dict:
    """Relax a crystal with EMT and return its phonons, through JSON."""
    evaluator = Evaluator(EMT())
    crystal = evaluator.relax([atoms], cell=not np.any(atoms.info.get('slab')))[0]
    found = analyse(crystal, evaluator.evaluate(plan(crystal, parameters)), parameters)
    return json.loads(json.dumps(found, allow_nan=False))


@pytest.fixture(scope='module')
def copper() -> dict:
    return look(bulk('Cu'), Parameters(max_atoms=64))


@pytest.fixture(scope='module')
def simple_cubic() -> dict:
    return look(bulk('Cu', 'sc', a=2.4), Parameters(max_atoms=64, mesh=30.0))


def at(found: dict, name: str) -> list[float]:
    """Frequencies (THz) at a point of the path."""
    return next(path['frequencies'][-1] for path in found['paths'] if path['labels'][1] == name)


def test_frequencies_are_those_of_ase(copper, tmp_path):
    crystal = Evaluator(EMT()).relax([bulk('Cu')], cell=True)[0]
    other = Phonons(crystal, EMT(), supercell=(4, 4, 4), delta=0.01, name=str(tmp_path / 'phonons'))
    other.run()
    other.read(acoustic=True)
    points = crystal.cell.bandpath('XLW', npoints=3)
    energies = other.band_structure(np.array([points.special_points[name] for name in 'XLW']))
    for name, expected in zip('XLW', energies / units._hplanck * units._e * 1e-12, strict=True):
        np.testing.assert_allclose(at(copper, name), np.sort(expected), rtol=1e-3)


def test_a_stable_crystal(copper):
    assert copper['status'] == 'ok' and copper['stable'] and copper['imaginary'] == [] and copper['message'] == ''
    assert copper['n_displacements'] == 1 and copper['n_atoms'] == 64
    assert abs(copper['min_frequency']) < 1e-4, 'the acoustic sum rule is imposed'
    assert 1e-5 < copper['border'] < 0.02, 'a cell of 10 Å is short'
    assert [path['labels'][0] for path in copper['paths']][:1] == ['Γ']
    a = (4 * abs(np.linalg.det(copper['primitive']['cell']))) ** (1 / 3)
    assert copper['paths'][0]['distances'][-1] == pytest.approx(1 / a), 'Γ-X is 1/a'


def test_density_of_states_and_heat_capacity_belong_together(copper):
    frequencies, density = np.array(copper['dos']['frequencies']), np.array(copper['dos']['density'])
    assert np.trapezoid(density, frequencies) == pytest.approx(3, rel=0.01)
    thermal, real = copper['thermal'], frequencies > 0.1
    frequencies, modes = frequencies[real], density[real]
    for index in (6, 20):
        x = units._hplanck * frequencies * 1e12 / (units._k * thermal['temperatures'][index])
        capacity = np.trapezoid(modes * x**2 * np.exp(x) / np.expm1(x) ** 2, frequencies)
        entropy = np.trapezoid(modes * (x / np.expm1(x) - np.log(-np.expm1(-x))), frequencies)
        free = np.trapezoid(modes * (x / 2 + np.log(-np.expm1(-x))), frequencies)
        kelvin = thermal['temperatures'][index] * units.kB
        assert thermal['heat_capacity'][index] == pytest.approx(capacity, rel=0.01)
        assert thermal['entropy'][index] == pytest.approx(entropy, rel=0.02)
        assert thermal['free_energy'][index] == pytest.approx(free * kelvin, abs=0.003)


@pytest.mark.parametrize('which', ['rotated', 'repeated'])
def test_cell_and_orientation_do_not_matter(which):
    crystal = bulk('Cu', cubic=True)
    if which == 'rotated':
        crystal.rotate(30, (1, 2, 3), rotate_cell=True)
    else:
        crystal = bulk('Cu').repeat((1, 2, 1))
    found, usual = look(crystal), look(bulk('Cu'))
    assert found['n_displacements'] == usual['n_displacements'] == 1
    np.testing.assert_allclose(at(found, 'X'), at(usual, 'X'), rtol=1e-4)


def test_imaginary_modes_are_those_along_which_the_energy_falls(simple_cubic):
    assert not simple_cubic['stable'] and simple_cubic['imaginary']
    assert 'imaginary' in simple_cubic['message']
    worst = simple_cubic['imaginary'][0]
    assert worst['frequency'] == pytest.approx(simple_cubic['min_frequency'], rel=0.02)
    for mode in simple_cubic['imaginary']:
        cell = Atoms(mode['numbers'], mode['positions'], cell=mode['cell'], pbc=True)
        pattern = np.array(mode['displacements'])
        assert np.abs(np.array(mode['supercell']) @ mode['q'] % 1).round(6).max() in (0.0, 1.0)
        assert np.linalg.norm(pattern, axis=1).max() == pytest.approx(1)
        energies = []
        for amplitude in (-0.01, 0.0, 0.01):
            moved = cell.copy()
            moved.positions += amplitude * pattern
            moved.calc = EMT()
            energies.append(moved.get_potential_energy())
        curvature = (energies[0] + energies[2] - 2 * energies[1]) / 0.01**2
        square = curvature / (cell.get_masses()[:, None] * pattern**2).sum()
        assert -np.sqrt(-square) * THZ == pytest.approx(mode['frequency'], rel=0.005)


def test_modes_of_several_elements():
    found = look(bulk('NiAl', 'cesiumchloride', a=2.9))
    mode = found['imaginary'][0]
    assert sorted(set(mode['numbers'])) == [13, 28]
    cell = Atoms(mode['numbers'], mode['positions'], cell=mode['cell'], pbc=True, calculator=EMT())
    before = cell.get_potential_energy()
    cell.positions += 0.05 * np.array(mode['displacements'])
    assert cell.get_potential_energy() < before


def test_modes_become_structures(simple_cubic):
    mode = simple_cubic['imaginary'][0]
    crystal = bulk('Cu', 'sc', a=2.4)
    made = make_structures([{'kind': 'mode', 'crystal': 0, 'reason': 'unstable', **mode}], [crystal], seed=1)
    assert made and all(len(atoms) == len(mode['numbers']) for atoms in made)


def test_noisy_forces_are_no_instability():
    crystal = Evaluator(EMT()).relax([bulk('Cu')], cell=True)[0]
    noise = np.random.default_rng(2)
    noisy = []
    for atoms in Evaluator(EMT()).evaluate(plan(crystal, SMALL)):
        forces = labels(atoms)['forces']
        noisy.append(set_labels(atoms.copy(), forces=forces + noise.normal(0, 5e-4, forces.shape)))
    found = analyse(crystal, noisy, SMALL)
    assert found['sum_rule'] > 1e-4 and found['tolerance'] > 0.01 * found['max_frequency']
    assert found['stable']


def test_a_layer_has_a_path_in_its_plane():
    slab = fcc111('Cu', (1, 1, 2), vacuum=8.0)
    slab.pbc, slab.info['slab'] = True, True
    found = look(slab)
    assert np.diag(found['supercell'])[2] == 1 and found['stable']
    assert max(abs(q[2]) for path in found['paths'] for q in path['q']) == 0.0
    assert {name for path in found['paths'] for name in path['labels']} == {'Γ', 'M', 'K'}


def test_a_molecule_has_no_phonons():
    atoms = molecule('H2O', vacuum=6.0)
    atoms.pbc = True
    with pytest.raises(ValueError, match='no phonons'):
        plan(atoms, SMALL)


@pytest.mark.parametrize(('number', 'message'), [(0, '0 labelled supercells, 1 are needed'), (1, 'no finite forces')])
def test_missing_forces_are_told(number, message):
    planned = plan(bulk('Cu'), SMALL)
    with pytest.raises(ValueError, match=message):
        analyse(bulk('Cu'), planned[:number], SMALL)
