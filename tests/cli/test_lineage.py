"""Tests of `aiida-pyacemaker lineage`."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory
from ase.build import bulk
from click.testing import CliRunner

from aiida_pyacemaker.cli.lineage import cmd_lineage


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs the command."""
    return lambda *arguments: CliRunner().invoke(cmd_lineage, [str(argument) for argument in arguments])


def test_potential(finished_graph, invoke):
    """A potential reaches all that made it: its parent, the DFT of its data, the simulation that halted."""
    node = finished_graph.run
    result = invoke(finished_graph.potential.pk, '--json')
    assert result.exit_code == 0, result.output
    lineage = json.loads(result.stdout)
    assert lineage['node']['generation'] == 1
    assert [potential['generation'] for potential in lineage['potentials']] == [0]
    assert len(lineage['dft']) == 11
    used = {orm.load_node(calculation['pk']).uuid for calculation in lineage['dft']}
    data = [*node.outputs.dataset.get_frames(), *node.outputs.test_set.get_frames()]
    assert {atoms.info['calculation'] for atoms in data} == used
    assert {calculation['called_as'].split('/')[0] for calculation in lineage['dft']} == {
        'iteration_00_label',
        'iteration_01_label',
    }
    reasons = sorted(simulation['reason'] for simulation in lineage['simulations'])
    assert reasons == ['completed', 'gamma']
    assert {simulation['potential'] for simulation in lineage['simulations']} == {lineage['potentials'][0]['pk']}


def test_first_generation(finished_graph, invoke):
    """The first potential knows nothing of what came after it."""
    last = json.loads(invoke(finished_graph.potential.pk, '--json').stdout)
    first = json.loads(invoke(last['potentials'][0]['pk'], '--json').stdout)
    assert (first['potentials'], first['simulations'], len(first['dft'])) == ([], [], 7)


def test_configurations_and_run(finished_graph, invoke):
    """Configurations and whole runs are followed as well, and people get a text."""
    node = finished_graph.run
    result = invoke(node.outputs.dataset.pk)
    assert result.exit_code == 0, result.output
    assert 'Calculations that labelled, held-out ones included: 10' in result.output
    assert 'made by merge_configurations' in result.output
    result = invoke(node.pk)
    assert f'AcePotentialData<{finished_graph.potential.pk}>  Al  generation 1' in result.output
    assert 'made by PaceTrainCalculation' in result.output
    assert 'gamma at step 1800, largest gamma 7.50' in result.output


def test_wrong_node(aiida_profile, invoke):
    """A node that has no such lineage is refused with what would do."""
    result = invoke(orm.Int(1).store().pk)
    assert result.exit_code == 1
    assert 'lineage starts from a potential, configurations, or a process that made a potential' in result.output


def test_teacher(worker_code, invoke):
    """Jobs of a teacher labelled as DFT does."""
    cells = DataFactory('pyacemaker.configurations')([bulk('Cu', a=a) for a in (3.5, 3.6)])
    builder = CalculationFactory('pyacemaker.teacher').get_builder()
    builder.code, builder.configurations = worker_code, cells
    builder.parameters = orm.Dict({'teacher': {'calculator': 'emt'}})
    results, node = run_get_node(builder)
    result = invoke(results['labelled'].pk)
    assert result.exit_code == 0, result.output
    assert 'Calculations that labelled, held-out ones included: 1' in result.output
    assert f'TeacherCalculation<{node.pk}>  2 configurations' in result.output
