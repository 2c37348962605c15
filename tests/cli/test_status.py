"""Tests of `aiida-pyacemaker status`."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_pyacemaker.cli.status import cmd_status, format_progress, format_time
from aiida_pyacemaker.workflows.report import get_status


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs the command."""
    return lambda *arguments: CliRunner().invoke(cmd_status, [str(argument) for argument in arguments])


def test_finished(finished_graph, invoke):
    """A finished run: its verdict, the table of errors, the last simulations; it fits one screen."""
    node = finished_graph.run
    result = invoke(node.pk)
    assert result.exit_code == 0, result.output
    for text in (
        f'ActiveLearningWorkChain<{node.pk}>  Al  fast',
        'state       converged',
        'iteration   2 of at most 8',
        'labels      11 of 12 done, 1 failed, 0 left (0 running), budget 80',
        'wanted: 5 meV/atom and 50 meV/Å',
        'completed at step 6000 of 6000, largest gamma 1.25',
        f'potential   {node.outputs.potential.pk}',
    ):
        assert text in result.output
    rows = [line.split() for line in result.output.splitlines() if line.strip().endswith('passed')]
    assert rows == [['1', '1', '3', '1', '0', '1', '7.50', '2.10', '33.0', 'passed']]
    assert len(result.output.splitlines()) <= 30
    assert 'Runs now' not in result.output


def test_running(running_graph, invoke):
    """A running run: the tree of what runs with readable labels, how much DFT is left. The newest is the default."""
    node = running_graph.run
    result = invoke()
    assert result.exit_code == 0, result.output
    assert f'ActiveLearningWorkChain<{node.pk}>' in result.output
    assert 'state       running' in result.output
    assert 'labels      9 of 12 done, 1 failed, 2 left (1 running)' in result.output
    lines = result.output.splitlines()
    tree = lines[lines.index('Runs now') + 1 :][:3]
    assert [line.split()[0] for line in tree] == ['iteration_01_label', 'label_0002', 'iteration_01']
    assert 'PwCalculation' in tree[2]
    assert 'halted by gamma at step 2300 of 6000, largest gamma 7.50' in result.output
    progress = format_progress(node)
    assert progress.startswith('iteration 01 label, labels 9 of 12 done, 1 failed, 2 left')
    assert 'generation 0: 12.00 meV/atom, 90.0 meV/Å' in progress


def test_json(finished_graph, invoke):
    """``--json`` gives the same, for programs."""
    node = finished_graph.run
    result = invoke(node.pk, '--json')
    status = json.loads(result.stdout)
    assert status == json.loads(json.dumps(get_status(node)))
    assert status['state'] == 'converged'
    assert [row['generation'] for row in status['generations']] == [0, 1, None]
    assert [row['number_halted'] for row in status['generations']] == [None, 1, 0]
    assert status['generations'][0]['labels_failed'] == 1
    assert status['walkers'][0]['gamma_max'] == 1.25


def test_not_converged(new_run_graph, invoke):
    """A run that ended without convergence says so, with its exit status and message."""
    graph = new_run_graph()
    report = orm.Dict({'state': 'budget_exhausted', 'reason': 'budget.max_labels', 'iterations': []})
    node = graph.finish(graph.run, {'report': report}, ok=False)
    result = invoke(node.uuid)
    assert 'state       budget_exhausted [500]' in result.output
    assert 'budget.max_labels is used up' in result.output


def test_other_node(finished_graph, invoke):
    """A node of another kind is refused."""
    result = invoke(finished_graph.potential.pk)
    assert result.exit_code == 1
    assert 'is a AcePotentialData, not a run of the active learning loop' in result.output


def test_format_time():
    """Durations read as people say them."""
    assert [format_time(seconds) for seconds in (5.9, 65, 3725)] == ['5 s', '1 min 05 s', '1 h 02 min']
