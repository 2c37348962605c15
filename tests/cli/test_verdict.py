"""The verdict of the gate in `status`, in `report`, and in the project folder with which `launch --wait` ends."""

from __future__ import annotations

import json

import pytest
from aiida import orm
from click.testing import CliRunner
from run_graph import RunGraph, build_first_iteration

from aiida_pyacemaker.atomistics.validation.gate import judge
from aiida_pyacemaker.atomistics.validation.report import write_report
from aiida_pyacemaker.cli.launch import finish
from aiida_pyacemaker.cli.report import cmd_report
from aiida_pyacemaker.cli.status import cmd_status
from aiida_pyacemaker.data.configurations import ConfigurationsData

PAIR = {'distances': [1.5, 2.0, 2.9], 'energies': [3.0, 1.0, 0.0], 'shortest': 1.5}
HOLE = {'distance': 2.0, 'energy': 1.0, 'bottom': 1.6, 'depth': 3.0, 'pressure': 10.0}


def add_verdict(graph: RunGraph, iteration: int, tmp_path, hole: bool) -> None:
    """Add the gate as a step: what is found by hand, the verdict and the report real."""
    crystal = {'name': 'Al fcc', 'formula': 'Al', 'space_group': 'Fm-3m (225)', 'n_atoms': 1, 'numbers': [13]}
    pair = {**PAIR, 'monotone': not hole, 'hole': HOLE if hole else None}
    content = {'crystals': [{**crystal, 'pairs': {'pairs': {'Al-Al': pair}}}]}
    verdict = judge(content, {}, graph.run.inputs.parameters['validate'])
    path = tmp_path / 'validation_report.html'
    write_report(content, verdict, None, None, None, path)
    step = graph.work(
        'ValidateWorkChain', {'potential': graph.potential}, graph.run, f'iteration_{iteration:02d}_validate'
    )
    results = orm.Dict(verdict)
    outputs = {'results': results, 'report': orm.SinglefileData(path)}
    graph.function('judge', {'potential': graph.potential}, step, 'judge', {'results': results})
    graph.function('validation_report', {'results': results}, step, 'report', {'result': outputs['report']})
    if hole:
        outputs['requested'] = ConfigurationsData(graph.frames[:3])
        graph.function('make_requested', {'results': results}, step, 'requested', {'result': outputs['requested']})
    else:
        outputs['deployed'] = orm.Str('Al-v3').store()
    graph.finish(step, outputs)


@pytest.fixture(scope='module')
def graph(new_run_graph, tmp_path_factory) -> RunGraph:
    """Return a run that was judged twice, and is still going."""
    graph = new_run_graph()
    build_first_iteration(graph)
    add_verdict(graph, 3, tmp_path_factory.mktemp('bad'), hole=True)
    return graph


def invoke(command, *arguments) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def squeezed(text: str) -> str:
    return ' '.join(text.split())


def test_verdict(graph, tmp_path, capsys):
    """What has failed and what would cure it; then, of a better potential, that it is deployed and as what."""
    pk = graph.run.pk
    text = squeezed(invoke(cmd_status, pk))
    assert 'verdict FAIL' in text and 'Al-Al' in text and '3 structures would cure it (iteration 3)' in text
    found = json.loads(invoke(cmd_status, pk, '--json'))['validation']
    assert found['verdict'] == 'FAIL' and found['failed'] == ['pair_barrier'] and found['deployed'] is None

    add_verdict(graph, 4, tmp_path, hole=False)
    assert 'verdict PASS: all 1 checks are met; deployed as Al-v3 (iteration 4)' in squeezed(invoke(cmd_status, pk))
    invoke(cmd_report, pk, '-o', tmp_path / 'report')
    told = 'Verdict of the gate: PASS: all 1 checks are met; deployed as Al-v3 (see validation_report.html)'
    assert told in (tmp_path / 'report' / 'report.md').read_text()
    report = orm.Dict({'state': 'converged', 'reason': '', 'iterations': []})
    graph.finish(graph.run, {'potential': graph.potential, 'report': report})
    finish(graph.run, tmp_path / 'export')
    printed = capsys.readouterr().out
    assert 'Al-v3' in printed and f'The verdict:   {tmp_path}/export/validation_report.html' in printed
    for folder in ('report', 'export'):
        assert '<strong>PASS</strong>' in (tmp_path / folder / 'validation_report.html').read_text(encoding='utf-8')
    readme = (tmp_path / 'export' / 'README.txt').read_text()
    assert 'Al-v3: PASS: all 1 checks are met.' in readme and 'validation_report.html' in readme
