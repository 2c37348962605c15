"""Tests of `LabelWorkChain` with the real pw.x."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState, run_get_node
from aiida.manage.caching import enable_caching
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
    check_costs(node, results)


def check_costs(node, results):
    """The cost is in the results, in their list of jobs and in extras that a query can add up; scratch is removed."""
    assert results['electrons'] == 2 * 4 * 3
    assert results['atoms'] == 4 + 4 + 2
    assert results['core_hours'] == pytest.approx(results['wall_time_seconds'] / 3600) and results['core_hours'] > 0
    assert results['disk_bytes'] > 10_000
    assert [(job['index'], job['exit_status'] == 0) for job in results['jobs']] == [(0, True), (1, True), (2, False)]
    query = orm.QueryBuilder().append(LabelWorkChain, filters={'id': node.pk}, tag='batch')
    query.append(orm.WorkChainNode, with_incoming='batch', project=['extras.core_hours', 'extras.atoms'])
    hours, atoms = zip(*query.all(), strict=True)
    assert sum(hours) == pytest.approx(results['core_hours'])
    assert sum(atoms) == results['atoms']
    folders = [job.outputs.remote_folder for job in node.called_descendants if isinstance(job, orm.CalcJobNode)]
    assert folders and all(folder.is_empty for folder in folders)


def test_quota(pw_code, aluminium, label_parameters):
    """Once more has failed than the quota allows nothing is submitted; what was labelled is in the outputs."""
    compressed, _, impossible = aluminium
    cheapest = Atoms('Al', cell=[4, 4, 4], pbc=True)  # the costliest go first
    configurations = ConfigurationsData([cheapest, impossible, compressed, impossible])
    parameters = {**label_parameters, 'max_failed_fraction': 0.3, 'max_concurrent': 1}
    builder = LabelWorkChain.get_builder_from_protocol(pw_code, configurations, parameters)
    outputs, node = run_get_node(builder)

    assert node.exit_status == LabelWorkChain.exit_codes.ERROR_TOO_MANY_FAILURES.status
    assert '2 of 4' in node.exit_message
    results = outputs['results'].get_dict()
    counts = [results[f'number_{key}'] for key in ('labelled', 'suspect', 'failed', 'not_submitted')]
    assert counts == [1, 0, 2, 1]
    assert [job['index'] for job in results['jobs']] == [1, 2, 3]
    assert outputs['train'].get_frames()[0].get_chemical_formula() == 'Al4'
    assert any('the 1 jobs that wait are not submitted' in log.message for log in get_reports(node))


def get_reports(node) -> list:
    """Return what a process reported."""
    return orm.Log.collection.get_logs_for(node)


def test_cached(pw_code, label_parameters):
    """A batch that is labelled a second time takes its labels from the cache: they are the same and cost nothing."""
    cells, labels = [bulk('Al', a=4.03)], []
    for _ in range(2):
        builder = LabelWorkChain.get_builder_from_protocol(pw_code, ConfigurationsData(cells), label_parameters)
        with enable_caching(identifier='aiida.calculations:quantumespresso.pw'):
            outputs, node = run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        labels.append((outputs['train'].get_frames()[0].get_potential_energy(), outputs['results']['core_hours']))
    assert labels[0][0] == labels[1][0]
    assert labels[0][1] > 0.0 == labels[1][1]


def test_suspects(worker_code, aluminium):
    """Labels with values that can hardly be are kept apart, by split, and reported with the reason."""
    compressed, rattled, _ = aluminium
    wild = rattled.copy()
    wild.info['split'] = 'train'
    parameters = {
        'oracle': 'teacher',
        'teacher': {'calculator': 'emt'},
        'max_concurrent': 2,
        'max_failed_fraction': 0.0,
        'max_force': 0.2,
    }
    configurations = ConfigurationsData([compressed, wild, rattled])
    outputs, node = run_get_node(LabelWorkChain.get_builder_from_protocol(worker_code, configurations, parameters))

    assert node.is_finished_ok, node.exit_message
    assert (len(outputs['train']), 'test' in outputs) == (1, False)
    for split in ('train', 'test'):
        (atoms,) = outputs['suspects'][split].get_frames()
        assert atoms.info['split'] == split and 'force' in atoms.info['flags'][0]
    results = outputs['results'].get_dict()
    assert (results['number_labelled'], results['number_suspect'], results['number_failed']) == (1, 2, 0)
    assert all('force' in suspect['reason'] for suspect in results['suspects'])
    assert sum('suspicious label' in log.message for log in get_reports(node)) == 2


def add_job(process, index, forces):
    """Add a job that ended well as the engine leaves it, with these forces."""
    child = orm.WorkChainNode()
    child.base.links.add_incoming(process.node, LinkType.CALL_WORK, f'label_{index:04d}')
    child.store()
    trajectory = orm.ArrayData({'forces': forces[None]}).store()
    for name, output in {
        'output_parameters': orm.Dict({'energy': -1.0}).store(),
        'output_trajectory': trajectory,
    }.items():
        output.base.links.add_incoming(child, LinkType.RETURN, name)
    child.set_process_state(ProcessState.FINISHED)
    child.set_exit_status(0)
    return child.pk


def test_unreadable(pw_code, label_parameters, generate_workchain):
    """A job that says it went well, and whose outputs are no label, costs its own configuration only."""
    cells = ConfigurationsData([bulk('Al'), bulk('Al', a=4.1)])
    process = generate_workchain(
        LabelWorkChain, LabelWorkChain.get_builder_from_protocol(pw_code, cells, label_parameters)
    )
    process.setup()
    process.ctx.running = {index: add_job(process, index, np.zeros((atoms, 3))) for index, atoms in enumerate((1, 2))}
    process.ctx.submitted = 2
    process.run_next()
    assert process.should_run_next() is False
    assert process.results() is None  # one of two is what the quota allows

    assert len(process.outputs['train']) == 1
    results = process.outputs['results'].get_dict()
    assert (results['number_labelled'], results['number_failed']) == (1, 1)
    assert 'is of 2 atoms' in results['failures'][0]['message']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'kpoints_distance': -0.1}, 'label.kpoints_distance'),
        ({'ecutrho': None}, 'label: ecutwfc and ecutrho belong together'),
        ({'max_concurrent': 0}, 'label.max_concurrent'),
        ({'max_failed_fraction': 2}, 'label.max_failed_fraction'),
        ({'oracle': 'delphi'}, 'label.oracle'),
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
    process.setup()
    assert process.queue == [1, 0, 2]
