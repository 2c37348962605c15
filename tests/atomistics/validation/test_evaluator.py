"""Single points and relaxations in several processes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.core.plain import plain
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, ProcessDiedError, identify

EMT_SECTION = {'calculator': 'emt'}


def die(calculator, number):
    os._exit(number)


def double(calculator, number):
    time.sleep(0.05 * (3 - number))
    return 2 * number


def test_processes_do_not_change_the_results(al_potential_directory):
    """Order and numbers are those of one process, also where another frame fails."""
    frames = [bulk('Al', a=3.9 + 0.05 * k) for k in range(6)] + [bulk('Si')]
    found = []
    for processes in (1, 2):
        with Evaluator(al_potential_directory, processes) as evaluator:
            assert evaluator.elements == ['Al'] and evaluator.cutoff == 5.0
            found.append(evaluator.try_evaluate(frames))
            assert evaluator.map(double, [(k,) for k in range(3)]) == [0, 2, 4]
            with evaluator.purpose('stability'):
                evaluator.evaluate(frames[:1])
            assert evaluator.seconds['stability'] > 0
    for one, two in zip(*found, strict=True):
        if isinstance(one, str):
            assert one == two and 'Si' in one
        else:
            np.testing.assert_array_equal(labels(one)['stress'], labels(two)['stress'])
    assert isinstance(found[0][-1], str)


def test_threads_share_the_processes():
    """One kills a process: the others are told so, and succeed when asked again."""
    with Evaluator(EMT_SECTION, 2) as evaluator:

        def ask(function):
            try:
                return evaluator.map(function, [(k,) for k in range(3)])
            except ProcessDiedError:
                return 'died'

        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(ask, [double, die, double]))
        assert found[1] == 'died' and all(result in ([0, 2, 4], 'died') for result in found)
        assert ask(double) == [0, 2, 4]


def test_relaxation_keeps_the_symmetry_and_the_start():
    """A cubic crystal stays cubic; the energy of the start and the labels of the end are told."""
    start = bulk('Cu', a=3.8, cubic=True)
    relaxed = Evaluator(EMT_SECTION).relax([start], cell=True, symmetry=True)[0]
    assert relaxed.info['relaxed']
    lengths, angles = relaxed.cell.lengths(), relaxed.cell.angles()
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-12)
    np.testing.assert_allclose(angles, 90, rtol=1e-12)
    assert lengths[0] == pytest.approx(3.59, abs=0.005)
    assert np.abs(labels(relaxed)['stress']).max() < 1e-5
    start.calc = EMT()
    assert relaxed.info['unrelaxed_energy'] == pytest.approx(start.get_potential_energy())
    stopped = Evaluator(EMT_SECTION).relax([start], cell=True, steps=1)[0]
    assert not stopped.info['relaxed']


def test_a_calculator_stays_in_its_process():
    assert 'energy' in labels(Evaluator(EMT()).evaluate([bulk('Cu')])[0])
    with pytest.raises(ValueError, match='cannot be shared'):
        Evaluator(EMT(), 2)


def test_labels_that_are_no_numbers_are_told():
    """Two atoms at the same place."""
    found = Evaluator({'calculator': 'lj'}).try_evaluate([Atoms('Ar2', np.zeros((2, 3)), cell=[9] * 3, pbc=True)])
    assert isinstance(found[0], str)


def test_what_a_potential_is(al_potential_directory):
    found = identify(al_potential_directory)
    assert found['kind'] == 'ace' and found['number_of_functions'] == 30 and found['versions']['python-ace']
    section = {
        'calculator': 'lammps',
        'parameters': {'elements': ['Al'], 'pair_style': 'zero 5', 'pair_coeff': ['* *']},
    }
    assert identify(section)['elements'] == ['Al']
    with pytest.raises(ValueError, match='not a potential'):
        identify(al_potential_directory.parent)


def test_plain():
    assert plain({'a': np.arange(2), 'b': (np.float64(1), float('nan'))}) == {'a': [0, 1], 'b': [1.0, None]}
