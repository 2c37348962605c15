"""Tests of `ReferenceWorkChain`."""

from __future__ import annotations

import pytest
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from ase.build import bulk, molecule

from aiida_pyacemaker.data.configurations import ConfigurationsData

ReferenceWorkChain = WorkflowFactory('pyacemaker.reference')
LABEL = {
    'oracle': 'teacher',
    'teacher': {'calculator': 'emt', 'batch': 50},
    'max_concurrent': 2,
    'max_failed_fraction': 0.5,
    'max_force': 0.001,  # everything is suspicious, and wanted all the same
    'max_energy_deviation': 0.001,
}


def test_reference(worker_code):
    """Equation of state, then constants at its volume, by real jobs; each label is in the graph."""
    crystals = ConfigurationsData([bulk('Cu', a=3.65, cubic=True)])
    sections = {'eos': {'points': 9}, 'energy_rmse': 0.001}
    builder = ReferenceWorkChain.get_builder_from_protocol(
        {'teacher': worker_code, 'lammps': worker_code}, crystals, LABEL, parameters=sections
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    (copper,) = outputs['results'].get_dict()['crystals']
    assert copper['name'] == 'Cu fcc' and len(copper['eos']['volumes']) == 9
    assert copper['equilibrium']['a'] == pytest.approx(3.5898, abs=0.001)
    assert copper['elasticity']['constants'] == pytest.approx({'C11': 172.6, 'C12': 115.4, 'C44': 89.9}, rel=0.01)
    links = node.base.links.get_outgoing().all_link_labels()
    steps = ('eos_planned', 'eos', 'eos_analysed', 'elasticity_planned', 'elasticity', 'elasticity_analysed')
    assert set(steps) <= set(links)


def test_bad_inputs(worker_code):
    """What could not be found is refused before anything is submitted."""
    with pytest.raises(ValueError, match=r'codes\.teacher: is missing'):
        ReferenceWorkChain.get_builder_from_protocol({'pw': worker_code}, ConfigurationsData([bulk('Cu')]), LABEL)
    water = ConfigurationsData([molecule('H2O', vacuum=5)])
    with pytest.raises(ValueError, match='has no volume of its own'):
        ReferenceWorkChain.get_builder_from_protocol({'teacher': worker_code}, water, LABEL)


def test_tiers(worker_code):
    """Of two tiers the expensive one is the reference."""
    tiers = {'expensive': 'teacher', 'reference': {'calculator': 'emt'}}
    label = {**LABEL, 'oracle': 'tiered', 'teacher': {'calculator': 'lj'}, 'tiers': tiers}
    crystals = ConfigurationsData([bulk('Cu')])
    builder = ReferenceWorkChain.get_builder_from_protocol({'teacher': worker_code}, crystals, label)
    assert (builder.label['oracle'], builder.label['teacher']['calculator']) == ('teacher', 'emt')
