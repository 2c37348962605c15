"""References by real DFT: run with `pytest -m slow tests/acceptance/test_dft_reference.py`."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from ase.build import bulk

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.runfile import resolve_runfile

ReferenceWorkChain = WorkflowFactory('pyacemaker.reference')


@pytest.mark.slow
def test_aluminium(pw_code, pseudo_family):
    """Aluminium with sparse k-points: one mesh of k-points each, one bulk modulus by energies and stresses."""
    runfile = resolve_runfile({'protocol': 'fast', 'system': {'elements': ['Al']}})
    settings = {'kpoints_distance': 0.42, 'ecutwfc': 16.0, 'ecutrho': 64.0, 'degauss': 0.05, 'noise': None}
    label = {**runfile.to_dict()['label'], **settings, 'pseudo_family': pseudo_family, 'max_concurrent': 1}
    crystals = ConfigurationsData([bulk('Al', a=4.05, cubic=True)])
    outputs, node = run_get_node(ReferenceWorkChain.get_builder_from_protocol({'pw': pw_code}, crystals, label))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    (aluminium,) = outputs['results'].get_dict()['crystals']
    print(json.dumps(aluminium, indent=1))
    batches = [child for child in node.called if child.process_label == 'LabelWorkChain']
    for batch in batches:
        results = batch.outputs.results.get_dict()
        print(results['number_of_configurations'], 'labels', results['wall_time_seconds'], 's')
    calculations = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    assert len({tuple(child.inputs.kpoints.get_kpoints_mesh()[0]) for child in calculations}) == 2
    fit, constants = aluminium['eos']['birch_murnaghan'], aluminium['elasticity']['constants']
    assert aluminium['equilibrium']['a'] == pytest.approx(4.04, abs=0.05)
    assert fit['b0'] == pytest.approx((constants['C11'] + 2 * constants['C12']) / 3, rel=0.1)
    assert aluminium['elasticity']['born']['stable']
