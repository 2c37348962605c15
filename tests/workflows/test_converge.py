"""Tests of `ConvergeWorkChain` with the real pw.x."""

from __future__ import annotations

import pytest
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pyacemaker.atomistics.labelling import convergence
from aiida_pyacemaker.atomistics.labelling.convergence import QUANTITIES, TUNABLE, excess

ConvergeWorkChain = WorkflowFactory('pyacemaker.converge')
ConfigurationsData = DataFactory('pyacemaker.configurations')


def test_aluminium(pw_code, pseudo_family, monkeypatch):
    """Of the settings of aluminium the smearing is chosen, and the noise of all is measured; few labels are enough."""
    monkeypatch.setattr(convergence, 'CELLS', (2, 2))
    wanted = {'energy': 0.2, 'force': 1.0, 'stress': 30.0}
    given = {'ecutwfc': 20.0, 'ecutrho': 80.0, 'kpoints_distance': 1.0}
    label = {'pseudo_family': pseudo_family, 'noise': wanted, 'max_concurrent': 2, **given}
    builder = ConvergeWorkChain.get_builder_from_protocol(
        {'pw': pw_code}, ConfigurationsData([bulk('Al', a=4.05)]), ['Al'], label
    )
    outputs, node = run_get_node(builder)

    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert results['reached'] and excess(results['noise'], wanted) <= 1
    assert set(results['settings']) == set(TUNABLE)
    assert {key: results['settings'][key] for key in given} == given
    assert results['settings']['degauss'] == 0.05 and all(results[name]['force'] > 0 for name in ('cutoff', 'kpoints'))
    assert all(results['noise'][name] >= (results['kpoints'][name] or 0) for name in QUANTITIES)
    assert results['character'] == {'gap': False, 'magnetic': False}
    assert results['core_hours'] > 0


@pytest.mark.parametrize(
    'change, problem',
    [({'noise': None}, 'label.noise'), ({'oracle': 'teacher', 'teacher': {'calculator': 'emt'}}, 'no settings')],
)
def test_nothing_to_measure(pw_code, change, problem):
    """Without a noise that is wanted, or with an oracle that has nothing to tighten, nothing is submitted."""
    noise = {'energy': 0.001, 'force': 0.01, 'stress': 0.1}
    with pytest.raises(ValueError, match=problem):
        ConvergeWorkChain.get_builder_from_protocol(
            {'pw': pw_code}, ConfigurationsData([bulk('Al')]), ['Al'], {'noise': noise, **change}
        )
