"""Tests of `LabelWorkChain` with the real pw.x."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk

LabelWorkChain = WorkflowFactory('pyacemaker.label')
ConfigurationsData = DataFactory('pyacemaker.configurations')


@pytest.fixture
def aluminium():
    """Return a compressed, a rattled and an impossible cell: two atoms in the same place."""
    compressed = bulk('Al', a=3.9, cubic=True)
    rattled = bulk('Al', a=4.05, cubic=True)
    rattled.rattle(0.1, seed=1)
    rattled.info['split'] = 'test'
    impossible = Atoms('Al2', positions=[[0, 0, 0], [0, 0, 0]], cell=[4, 4, 4], pbc=True)
    return [compressed, rattled, impossible]


def test_labels_and_failures(pw_code, aluminium, label_parameters):
    """Labels carry provenance and ASE's signs; a failed calculation costs one configuration and is named."""
    configurations = ConfigurationsData(aluminium)
    builder = LabelWorkChain.get_builder_from_protocol(pw_code, configurations, label_parameters)
    outputs, node = run_get_node(builder)

    assert node.is_finished_ok, node.exit_message
    results = outputs['results'].get_dict()
    assert (results['number_labelled'], results['number_failed']) == (2, 1)
    assert results['failures'][0]['index'] == 2
    assert results['failures'][0]['message']

    compressed = outputs['train'].get_frames()[0]
    assert len(outputs['train']) == len(outputs['test']) == 1
    assert np.all(compressed.get_stress()[:3] < -0.02)  # eV/Å^3, negative when compressed
    assert np.abs(compressed.get_forces()).max() < 1e-3
    rattled = outputs['test'].get_frames()[0]
    assert 0.1 < np.abs(rattled.get_forces()).max() < 5.0
    assert orm.load_node(rattled.info['calculation']).process_label == 'PwCalculation'


def test_quota(pw_code, aluminium, label_parameters):
    """More failures than the quota allows fail the batch, but not before what was labelled is in the outputs."""
    configurations = ConfigurationsData([aluminium[0], aluminium[2]])
    parameters = {**label_parameters, 'max_failed_fraction': 0.2}
    builder = LabelWorkChain.get_builder_from_protocol(pw_code, configurations, parameters)
    outputs, node = run_get_node(builder)

    assert node.exit_status == LabelWorkChain.exit_codes.ERROR_TOO_MANY_FAILURES.status
    assert '1 of 2' in node.exit_message
    assert len(outputs['train']) == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'kpoints_distance': -0.1}, 'label.kpoints_distance'),
        ({'ecutrho': None}, 'label.ecutrho'),
        ({'max_concurrent': 0}, 'label.max_concurrent'),
    ],
)
def test_bad_parameters(pw_code, aluminium, label_parameters, changes, message):
    """What cannot run is refused before anything is submitted, by the name of the key."""
    configurations = ConfigurationsData(aluminium[:1])
    with pytest.raises(ValueError, match=message):
        LabelWorkChain.get_builder_from_protocol(pw_code, configurations, {**label_parameters, **changes})


def test_costliest_first(pw_code, label_parameters, generate_workchain):
    """The queue starts with the largest cells."""
    cells = [bulk('Al', cubic=True), bulk('Al', cubic=True).repeat((1, 1, 2)), bulk('Al')]
    builder = LabelWorkChain.get_builder_from_protocol(pw_code, ConfigurationsData(cells), label_parameters)
    process = generate_workchain(LabelWorkChain, builder)
    assert process.queue == [1, 0, 2]
