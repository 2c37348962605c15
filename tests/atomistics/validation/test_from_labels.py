"""Equation of state and elastic constants of an oracle's labels, against what is found of the same potential."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.from_labels import analyse, plan
from aiida_pyacemaker.atomistics.validation.properties.elasticity import compute as elasticity
from aiida_pyacemaker.atomistics.validation.properties.eos import compute as eos


@pytest.fixture(scope='module')
def evaluator():
    with Evaluator(EMT()) as evaluator:
        yield evaluator


@pytest.fixture
def copper():
    """Copper, far from its equilibrium."""
    return bulk('Cu', a=3.7, cubic=True)


def test_same_as_of_a_potential(evaluator, copper):
    """Two rounds of single points find what the modules find of the relaxed crystal, in any order."""
    water = molecule('H2O', vacuum=5)
    labelled = evaluator.evaluate(plan([water, copper], 'eos'))
    known = analyse([water, copper], labelled[::-1])
    assert known[1]['elasticity']['status'] == 'failed' and 'nothing is labelled' in known[1]['elasticity']['message']
    labelled += evaluator.evaluate(plan([water, copper], 'elasticity', known=known))
    nothing, found = analyse([water, copper], labelled)

    assert all(nothing[name]['status'] == 'not_applicable' for name in ('equilibrium', 'eos', 'elasticity'))
    (relaxed,) = evaluator.relax([bulk('Cu', a=3.6)], cell=True)
    constants = elasticity.analyse(relaxed, evaluator.evaluate(elasticity.plan(relaxed)))['constants']
    for name, value in constants.items():
        assert found['elasticity']['constants'][name] == pytest.approx(value, rel=2e-3)
    a = np.cbrt(4 * relaxed.get_volume())
    assert found['equilibrium']['a'] == pytest.approx(a, rel=1e-4)
    assert found['equilibrium']['strain'] == pytest.approx(1 - a / 3.7, rel=1e-3)
    assert found['equilibrium']['pressure'] == pytest.approx(_pressure(evaluator, copper), rel=0.02)
    fit = eos.analyse(relaxed, evaluator.evaluate(eos.plan(relaxed)))['birch_murnaghan']
    assert found['eos']['birch_murnaghan']['b0'] == pytest.approx(fit['b0'], rel=0.02)


def _pressure(evaluator, crystal):
    (atoms,) = evaluator.evaluate([crystal])
    return -atoms.get_stress()[:3].mean() * 160.21766


def test_kpoints_are_those_of_the_crystal(copper):
    """The mesh belongs to the crystal and not to its volume; all that is strained shares one, twice as dense."""
    meshes = {tuple(atoms.info['kpoints_mesh']) for atoms in plan([copper], 'eos', kpoints_distance=0.2)}
    assert meshes == {(16, 16, 16)}
    assert all(len(atoms) == 1 for atoms in plan([copper], 'eos'))
    known = analyse([copper], Evaluator(EMT()).evaluate(plan([copper], 'eos')))
    strained = plan([copper], 'elasticity', kpoints_distance=0.2, known=known)
    assert {tuple(atoms.info['kpoints_mesh']) for atoms in strained} == {(32, 32, 32)}


def test_lost_labels(evaluator, copper):
    """A label that is missing is said, and costs the property."""
    labelled = evaluator.evaluate(plan([copper], 'eos'))
    (found,) = analyse([copper], labelled[:-2])
    assert found['eos']['status'] == 'failed' and '2 of 17 configurations have no label' in found['eos']['message']
    assert 'no equation of state' in found['elasticity']['message']
