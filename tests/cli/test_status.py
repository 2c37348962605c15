"""Tests of `aiida-pyacemaker status`."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.lammps.watch import WATCH
from aiida_pyacemaker.cli.status import cmd_status, format_progress, format_time
from aiida_pyacemaker.reports.queries import get_running_tree
from aiida_pyacemaker.reports.status import get_status


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
        'walker 0 (short heat): completed at step 6000 of 6000; resumed after 1 halt (1800)',
        'walker 1 (short cool): completed at step 6000 of 6000',
        '1  walker 0 halted by gamma at step 1800 of 6000, gamma 7.5, walker 1 completed 6000 steps; 3 labels',
        '2  walker 0 completed 6000 steps',
        f'potential   {node.outputs.potential.pk}',
    ):
        assert text in result.output
    rows = [line.split() for line in result.output.splitlines() if line.strip().endswith('passed')]
    assert rows == [['1', '-', '1', '30', '3', '1', '0', '1', '7.50', '-', '2.10', '33.0', 'passed']]
    assert len(result.output.splitlines()) <= 40
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
    assert 'waits for   1 PwCalculation waiting' in result.output
    assert 'walker 0 (short heat): gamma at step 1800 of 6000' in result.output
    progress = format_progress(node)
    assert progress.startswith('iteration 01 label, labels 9 of 12 done, 1 failed, 2 left')
    assert 'generation 0: 12.00 meV/atom, 90.0 meV/Å' in progress


def test_json(finished_graph, invoke):
    """``--json`` gives the same, for programs."""
    node = finished_graph.run
    result = invoke(node.pk, '--json')
    status = json.loads(result.stdout)
    assert status == json.loads(json.dumps(get_status(node).to_json()))
    assert status['state'] == 'converged'
    assert [row['generation'] for row in status['generations']] == [0, 1, None]
    assert [row['number_halted'] for row in status['generations']] == [None, 1, 0]
    assert status['generations'][0]['labels_failed'] == 1
    assert status['walkers'][0]['gamma_max'] == 1.25
    assert [halt['step'] for halt in status['trajectories'][0]['halts']] == [1800]


def test_exploring(exploring_graph, invoke, tmp_path):
    """A run that explores: its stage, what it waits for, where its simulations are now, what it learned."""
    graph = exploring_graph
    lines = ['# checks', '0 0.9 0 300 1 0 0', '2500 1.3 0 512 1 0 0', '5000 1.4 0']  # the last one is being written
    (tmp_path / WATCH).write_text('\n'.join(lines))
    graph.computer.configure()
    (explore,) = get_running_tree(graph.run)
    running = orm.load_node(explore.children[0].pk)
    running.set_remote_workdir(str(tmp_path))
    output = ' '.join(invoke().output.split())
    for text in (
        'stage long (2 of 2), round 2, 1 of 2 seeds clean',
        'waits for 2 simulations: 1 LammpsPaceCalculation waiting',
        'walker 0 (long heat): running at step 2500 of 6000, 512 K, gamma 1.30, about',
        'walker 1 (long cool): gamma at step 1800 of 6000',
        '1 all walkers start anew: round 1: walker 0 halted by gamma at step 1800 of 6000, gamma 7.5, walker 1 ended '
        'by atoms too close to each other at step 1800 of 6000; 3 labels to learn from, 1 label held out (64 atoms); '
        'error there 182 meV/Å, rank correlation with gamma 0.71; generation 1 with 30 functions',
        '4 all walkers start anew: round 2: walker 0 running, walker 1 halted by gamma',
    ):
        assert text in output
    running.pause()
    running.set_process_status('Pausing after failed transport task: no space left on device')
    output = ' '.join(invoke().output.split())
    remedy = f'no space left on device; mend that, then: verdi process play {running.pk}'
    assert remedy in output and remedy in format_progress(graph.run)
    assert 'long (2 of 2), round 2' in format_progress(graph.run)
    assert 'walker 0 running at step 2500 of 6000' in format_progress(graph.run)


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
