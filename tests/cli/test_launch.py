"""Tests of `aiida-pyacemaker launch`."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk
from click.testing import CliRunner
from run_graph import build_finished

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.cli import launch
from aiida_pyacemaker.reports.queries import EXTRA_RUNFILE
from aiida_pyacemaker.runfile import load_runfile, resolve_runfile

ConfigurationsData = DataFactory('pyacemaker.configurations')
ALUMINIUM = Path(__file__).resolve().parents[2] / 'examples' / 'aluminium.yaml'


@pytest.fixture
def invoke(aiida_profile, tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(launch.cmd_launch, [str(argument) for argument in arguments])


@pytest.fixture
def submit(monkeypatch):
    """Submit without a daemon: as the engine does it, inputs are validated and the node is stored, but nothing runs."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    def store(builder):
        return instantiate_process(get_manager().get_runner(), builder).node

    monkeypatch.setattr('aiida.engine.submit', store)


def count_nodes() -> int:
    """Return how many processes the profile has."""
    return orm.QueryBuilder().append(orm.ProcessNode).count()


def test_prepare_only(aiida_profile_clean, pw_code, lammps_code, worker_code, pseudo_family, invoke, tmp_path):
    """All is checked on the real engines, the complete run file is printed, and nothing is submitted."""
    result = invoke(ALUMINIUM, 'explore.steps=2000', '--prepare-only')
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)['explore']['steps'] == 2000
    (tmp_path / 'complete.yaml').write_text(result.stdout)
    assert load_runfile(tmp_path / 'complete.yaml') == load_runfile(ALUMINIUM, ['explore.steps=2000'])
    for text in (
        f'pw: pw@localhost <{pw_code.pk}>',
        f'pseudopotentials: {pseudo_family}',
        'initial structures: ',
        'process: ActiveLearningWorkChain',
    ):
        assert text in result.stdout
    assert count_nodes() == 0


def test_submit(aiida_profile_clean, pw_code, lammps_code, worker_code, pseudo_family, invoke, submit, monkeypatch):
    """What is submitted has the complete run file as its input, and can be recognised by `--once`."""
    monkeypatch.setattr('aiida_pyacemaker.cli.preflight.check_daemon', lambda: None)
    result = invoke(ALUMINIUM, 'seed=7')
    assert result.exit_code == 0, result.output
    (node,) = orm.QueryBuilder().append(orm.WorkChainNode).all(flat=True)
    assert f'Submitted ActiveLearningWorkChain<{node.pk}>.' in result.output
    assert f'Follow it with:  aiida-pyacemaker status {node.pk}' in result.output
    runfile = load_runfile(ALUMINIUM, ['seed=7'])
    expected = runfile.to_dict()
    expected['label']['pseudo_family'] = pseudo_family
    expected['embed']['max_atoms'] = 32
    assert node.inputs.parameters.get_dict() == expected
    assert node.base.extras.get(EXTRA_RUNFILE) == runfile.content_hash()
    assert f'started already: ActiveLearningWorkChain<{node.pk}>' in invoke(ALUMINIUM, 'seed=7', '--once').output


def test_example_script(aiida_profile_clean, pw_code, lammps_code, worker_code, pseudo_family, submit, capsys):
    """examples/launch.py does the same in a few lines, for `verdi run`."""
    script = ALUMINIUM.with_name('launch.py')
    assert len(script.read_text().splitlines()) <= 60
    runpy.run_path(str(script))['main'](str(ALUMINIUM), 'explore.walkers=3')
    (node,) = orm.QueryBuilder().append(orm.WorkChainNode).all(flat=True)
    assert node.inputs.parameters['explore']['walkers'] == 3
    assert f'ActiveLearningWorkChain<{node.pk}>' in capsys.readouterr().out


def test_restart(new_run_graph, pw_code, lammps_code, worker_code, pseudo_family, invoke, submit, monkeypatch):
    """A former run is continued from its last potential and data."""
    graph = new_run_graph()
    former = build_finished(graph)
    monkeypatch.setattr('aiida_pyacemaker.cli.preflight.check_daemon', lambda: None)
    result = invoke(ALUMINIUM, '--restart-from', former.pk, '--prepare-only')
    assert result.exit_code == 0, result.output
    assert f'continued from: potential <{graph.potential.pk}>' in result.output
    assert 'labels to start from: 8' in result.output
    result = invoke(ALUMINIUM, '--restart-from', 999999)
    assert result.exit_code == 1
    assert 'there is no node 999999' in result.output


def test_labels(
    aiida_profile_clean, pw_code, lammps_code, worker_code, pseudo_family, new_run_graph, invoke, monkeypatch
):
    """Labelled configurations start a run or join a former one; what cannot be compared is refused at once."""
    monkeypatch.setattr('aiida_pyacemaker.cli.preflight.check_daemon', lambda: None)

    def store(settings, symbol='Al', split='train', **labels):
        atoms = bulk(symbol, 'fcc', a=4.05)
        atoms.info |= {'split': split, 'settings': settings}
        return ConfigurationsData([set_labels(atoms, **labels)]).store().pk

    labels = {'energy': -1.0, 'forces': np.zeros((1, 3))}
    good = store({'oracle': 'qe', 'version': '6.7'}, **labels)
    result = invoke(ALUMINIUM, '--labels', good, '--prepare-only')
    assert result.exit_code == 0, result.output
    assert 'labels to start from: 1' in result.output

    graph = new_run_graph()
    former = build_finished(graph)
    unlabelled = store({'oracle': 'qe'})
    for pk, message in {
        unlabelled: 'have no energy or forces',
        store({'oracle': 'qe'}, symbol='Cu', **labels): 'add it to system.elements',
        store({'oracle': 'vasp'}, **labels): 'labelled by vasp, the run labels by qe',
        store(None, **labels): 'labelled by unknown settings',
        former.pk: 'is a WorkChainNode',
        999999: 'labels: no ',
    }.items():
        result = invoke(ALUMINIUM, '--labels', pk)
        assert result.exit_code == 1
        assert message in result.output
    process = WorkflowFactory('pyacemaker.active_learning')
    held_out = store({'oracle': 'qe'}, split='test', **labels)
    builder = process.get_builder_from_runfile(load_runfile(ALUMINIUM), restart_from=former, labels=[good, held_out])
    assert f'labels_{good}' in builder.dataset
    assert list(builder.test_set)[-1] == f'labels_{held_out}'


def test_once(new_run_graph, invoke, tmp_path):
    """A run that finished with the same run file is reported and exported; nothing is computed again."""
    graph = new_run_graph()
    node = build_finished(graph)
    node.base.extras.set(EXTRA_RUNFILE, load_runfile(ALUMINIUM).content_hash())
    before = count_nodes()
    result = invoke(ALUMINIUM, '--once', '--wait')
    assert result.exit_code == 0, result.output
    assert f'A run with this run file has finished already: ActiveLearningWorkChain<{node.pk}>' in result.output
    folder = tmp_path / 'aluminium-potential'
    assert f'The potential: {folder}/potentials/generation_001.yace' in result.output
    assert f'aiida-pyacemaker export {node.pk} DIR' in result.output
    assert (folder / 'potentials' / 'generation_001.yace').is_file()
    again = invoke(ALUMINIUM, '--once')
    assert again.exit_code == 0
    assert 'is there already' in again.output
    assert count_nodes() == before
    # another run file is another run, which fails here because the profile has no codes
    other = invoke(ALUMINIUM, 'seed=7', '--once')
    assert other.exit_code == 1
    assert 'nothing was submitted' in other.output


def test_once_while_running(new_run_graph, invoke):
    """A run that is going on is not started a second time."""
    node = new_run_graph().run
    node.base.extras.set(EXTRA_RUNFILE, resolve_runfile({'system': {'elements': ['Cu']}}).content_hash())
    Path('copper.yaml').write_text('system: {elements: [Cu]}\n')
    result = invoke('copper.yaml', '--once')
    assert result.exit_code == 0, result.output
    assert f'has started already: ActiveLearningWorkChain<{node.pk}>' in result.output
    assert f'Follow it with:  aiida-pyacemaker status {node.pk}' in result.output


def test_follow(new_run_graph, monkeypatch, capsys):
    """A run is followed by a line per change, up to its end."""
    graph = new_run_graph()
    moments = iter([lambda: None, lambda: None, lambda: build_finished(graph)])
    monkeypatch.setattr('time.sleep', lambda _: next(moments)())
    launch.follow(graph.run)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('[')]
    assert len(lines) == 1
    assert 'between two steps, labels 0 of 0 done' in lines[0]


def test_not_converged(new_run_graph, invoke, tmp_path, capsys):
    """A run that ended without a potential says where to look."""
    graph = new_run_graph()
    report = orm.Dict({'state': 'failed', 'reason': 'no labels', 'iterations': []})
    node = graph.finish(graph.run, {'report': report}, ok=False)
    launch.finish(node, tmp_path / 'target')
    assert f'the run left no potential; see `verdi process report {node.pk}`' in capsys.readouterr().err
    assert not (tmp_path / 'target').exists()
