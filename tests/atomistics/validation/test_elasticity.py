"""Elastic constants from single points: real crystals of all Laue classes against cells that are really relaxed."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from cases.elasticity import CLASSES, build, relaxed_stress, settle, shipped

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, evaluate, make_calculator
from aiida_pyacemaker.atomistics.validation.properties.elasticity.compute import (
    analyse,
    find_symmetry,
    plan,
    standard_cell,
)
from aiida_pyacemaker.atomistics.validation.properties.elasticity.stiffness import KELVIN, rotate, symmetrise

from .test_stiffness import point_group


def elasticity(atoms: Atoms, description) -> tuple[dict, list[Atoms]]:
    with Evaluator(description) as evaluator:
        labelled = evaluator.evaluate(plan(atoms))
    return analyse(atoms, labelled), labelled


@pytest.fixture(scope='module')
def copper() -> Atoms:
    return settle(bulk('Cu', cubic=True), EMT(), 1e-4)


@pytest.mark.parametrize('laue', CLASSES)
def test_a_real_crystal_of_each_class(laue):
    """It lies anyhow; the tensor is that of its class in the standard orientation, and of cells whose ions relax."""
    atoms, description = build(laue)
    calculator = make_calculator(description)
    found, labelled = elasticity(settle(atoms, calculator, 1e-3), description)
    tensor, reference = np.array(found['tensor']), labelled[0]
    assert (found['status'], found['message'], found['laue_class']) == ('ok', '', laue)
    assert found['unstable_modes'] == 0 and found['asymmetry'] < 0.05 and found['energy_check'] < 0.5
    assert np.allclose(symmetrise(tensor, point_group(laue)), tensor, atol=1e-2)
    strain = 0.004 * np.array([0.5, -0.3, 0.6, 0.3, -0.35, 0.3])
    stresses = [relaxed_stress(reference, calculator, sign * strain, 1e-3) for sign in (1, -1)]
    expected = tensor * np.outer(KELVIN, KELVIN) @ strain
    assert (stresses[0] - stresses[1]) / 2 == pytest.approx(expected, abs=0.004 * 0.01 * tensor.max())
    if laue == 'm-3':
        # BC8 silicon is no minimum of this potential: stable as long as its ions are held
        assert found['born']['violated'] == ['C44 > 0'] and found['clamped'][3][3] > 40 > 0 > tensor[3, 3]
        assert np.abs(found['soft_strain'][:3]).max() < 1e-3
    else:
        assert found['born']['stable'] and found['debye_temperature'] > 100


def test_silicon_of_stillinger_and_weber():
    """E. R. Cowley, Phys. Rev. Lett. 60, 2379 (1988): 151.4, 76.4, 56.4 GPa, and 109.8 with the ions held."""
    description = shipped('sw', 'Si.sw', 'Si')
    silicon = settle(bulk('Si'), make_calculator(description))
    found, labelled = elasticity(silicon, description)
    assert found['constants'] == pytest.approx({'C11': 151.4, 'C12': 76.4, 'C44': 56.4}, abs=0.1)
    assert found['clamped'][3][3] == pytest.approx(109.8, abs=0.1)
    assert found['energy_check'] < 0.01 and len(labelled) == found['n_points'] == 11


def test_symmetry_saves_cells_and_changes_nothing():
    """Charges that the potential does not know make every atom another one: one mirror plane is left to use."""
    ordered = settle(build('mmm')[0], EMT(), 1e-3)
    found, few = elasticity(ordered, EMT())
    ordered.set_initial_charges(np.linspace(0.1, 0.9, 8))
    alone, many = elasticity(ordered, EMT())
    assert (found['laue_class'], alone['laue_class']) == ('mmm', '2/m') and (len(few), len(many)) == (49, 67)
    values = [np.linalg.eigvalsh(np.array(each['tensor']) * np.outer(KELVIN, KELVIN)) for each in (found, alone)]
    assert values[0] == pytest.approx(values[1], abs=0.05)
    assert alone['debye_temperature'] == pytest.approx(found['debye_temperature'], rel=1e-4)


def test_moments_tell_atoms_apart_and_stay():
    chromium = bulk('Cr', cubic=True)
    chromium.set_initial_magnetic_moments([1.0, -1.0])
    planned = plan(chromium)
    assert len(planned[0]) == 2 and [list(frame.get_initial_magnetic_moments()) for frame in planned] == [[1, -1]] * 11
    assert len(plan(bulk('Cr', cubic=True))[0]) == 1


def test_a_stress_that_is_left_is_told_and_the_tensor_is_a_second_derivative(copper):
    """Derivatives of Cauchy's stress of compressed copper would differ by its pressure: 9 GPa of 120."""
    pressed = copper.copy()
    pressed.set_cell(copper.cell.array * 0.98, scale_atoms=True)
    found, labelled = elasticity(pressed, EMT())
    assert 'not at its equilibrium' in found['message'] and found['residual_stress'][0] == pytest.approx(-9.4, abs=0.5)
    assert found['energy_check'] < 0.1
    # the pressure is dE/dV, and its derivative by volume the bulk modulus, C11 + 2 C12 - P over three
    pressure = -found['residual_stress'][0]
    volumes = [evaluate(EMT(), Atoms(labelled[0], cell=labelled[0].cell * scale)) for scale in (1.001, 0.999)]
    slope = (volumes[0].get_stress()[0] - volumes[1].get_stress()[0]) / (3 * 0.002) / units.GPa
    assert slope == pytest.approx(found['bulk']['voigt'] + pressure / 3, rel=1e-3)


def test_trigonal_crystals_have_a_two_fold_axis_along_x():
    """In P-31m it is not along a: then the axes are turned, so that C14 and not C15 is the constant."""
    atoms = crystal(['Si', 'O'], basis=[(0, 0, 0), (0.35, 0, 0.28)], spacegroup=162, cellpar=[5, 5, 5.4, 90, 90, 120])
    rotations = find_symmetry(standard_cell(atoms)).rotations
    assert any(np.allclose(sign * rotation, np.diag([1, -1, -1])) for rotation in rotations for sign in (1, -1))


def test_monoclinic_axes_are_b_along_y_and_c_along_z():
    cell = standard_cell(build('2/m')[0])
    tensor = np.arange(36.0).reshape(6, 6)
    symmetric = symmetrise(tensor + tensor.T, find_symmetry(cell).rotations)
    two_fold = np.diag([-1.0, 1.0, -1.0])
    assert np.allclose(rotate(symmetric, two_fold), symmetric) and abs(symmetric[0, 3]) < 1e-9


def test_soft_modes_are_told():
    """Layers of copper, each in the middle between two others that are too far away: it falls to one of them."""
    layers = Atoms('Cu2', scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[2.5, 2.5, 7], pbc=True)
    layers.set_initial_charges([0.1, 0.2])
    found, _ = elasticity(layers, EMT())
    assert found['unstable_modes'] == 1 and 'saddle' in found['message']


def test_what_cannot_be_done_is_said(copper):
    with pytest.raises(ValueError, match='H2O is not periodic in three directions'):
        plan(molecule('H2O'))
    labelled = [evaluate(EMT(), atoms) for atoms in plan(copper)]
    with pytest.raises(ValueError, match='need all of the 9 cells, in their order: 8 came'):
        analyse(copper, labelled[:-1])
    labelled[3] = set_labels(labelled[3].copy(), energy=1.0)
    with pytest.raises(ValueError, match='has no forces and no stress'):
        analyse(copper, labelled)
