"""Tests of the oracle `teacher`, through `LabelWorkChain` and AiiDA."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.workflows.oracles import load_oracle

LabelWorkChain = WorkflowFactory('pyacemaker.label')
PARAMETERS = {
    'oracle': 'teacher',
    'teacher': {'calculator': 'emt', 'batch': 3},
    'max_concurrent': 2,
    'max_failed_fraction': 0.5,
}


@pytest.fixture
def copper():
    """Return rattled cells of copper, two of them held out, and xenon, which EMT does not know."""
    frames = []
    for seed in range(6):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.info |= {'family': 'rattled', 'split': 'test' if seed in (1, 4) else 'train'}
        frames.append(atoms)
    return [*frames, bulk('Xe', cubic=True)]


def test_batches(worker_code, copper):
    """Batches hold one split only; every label is there, is EMT's, and names the calculation that made it."""
    configurations = ConfigurationsData(copper).store()
    builder = LabelWorkChain.get_builder_from_protocol(worker_code, configurations, PARAMETERS)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)

    train, test = outputs['train'].get_frames(), outputs['test'].get_frames()
    assert (len(train), len(test)) == (4, 2)
    for atoms, original in zip([*train, *test], [copper[k] for k in (0, 2, 3, 5, 1, 4)], strict=True):
        original.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(original.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), original.get_forces(), atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(), original.get_stress(), atol=1e-9)
        assert atoms.info['family'] == 'rattled'
        assert atoms.info['settings']['calculator'] == 'emt'
        job = orm.load_node(atoms.info['calculation'])
        assert job.process_label == 'TeacherCalculation'
        assert job.inputs.configurations.uuid == configurations.uuid

    results = outputs['results'].get_dict()
    assert (results['number_labelled'], results['number_failed']) == (6, 1)
    assert results['failures'][0]['index'] == 6
    assert 'No EMT-potential for Xe' in results['failures'][0]['message']
    # 0, 2, 3; 5 and xenon; 1, 4
    jobs = node.base.links.get_outgoing(link_label_filter='label_%').all_link_labels()
    assert sorted(jobs) == ['label_0000', 'label_0001', 'label_0005']


def test_killed_job(worker_code, aiida_code_installed, fake_executable, tmp_path, copper):
    """A job that is killed runs once more; its labels are there. What it worked in is removed."""
    flag = tmp_path / 'was here'
    script = f'[ -e "{flag}" ] || {{ touch "{flag}"; kill -9 $$; }}; exec "{worker_code.filepath_executable}" "$@"'
    code = aiida_code_installed(label='teacher', filepath_executable=str(fake_executable('worker', script)))
    configurations = ConfigurationsData([atoms for atoms in copper if atoms.info.get('split') == 'test'])
    outputs, node = run_get_node(LabelWorkChain.get_builder_from_protocol(code, configurations, PARAMETERS))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    assert len(outputs['test']) == 2
    (job,) = node.base.links.get_outgoing(link_label_filter='label_%').all_nodes()
    assert [child.exit_status for child in job.called if isinstance(child, orm.CalcJobNode)] == [302, 0]
    assert all(child.outputs.remote_folder.is_empty for child in job.called if isinstance(child, orm.CalcJobNode))


def test_model_file(aiida_profile, worker_code, copper, tmp_path):
    """All jobs share one node of the model file; its folders are in no node."""
    path = tmp_path / 'my.eam.alloy'
    path.write_text('a potential')
    parameters = {'elements': ['Cu'], 'pair_style': 'eam/alloy', 'pair_coeff': '* * my.eam.alloy Cu'}
    section = {'calculator': 'lammps', 'model': str(path), 'parameters': parameters, 'batch': 3}
    oracle = load_oracle({**PARAMETERS, 'teacher': section})
    configurations = ConfigurationsData(copper).store()
    builders = []
    for indices in oracle.get_jobs(copper):
        builders.append(oracle.get_builder(worker_code, configurations, indices, None, {}))
        builders[-1].job.model.store()
    assert len({builder.job.model.uuid for builder in builders}) == 1
    assert builders[0].job.parameters.get_dict()['teacher']['model'] == 'my.eam.alloy'
    path.write_text('another potential')
    builder = oracle.get_builder(worker_code, configurations, [0], None, {})
    assert builder.job.model.uuid != builders[0].job.model.uuid


@pytest.mark.parametrize(
    ('section', 'message'),
    (
        ({'calculator': 'emmt'}, r"label.teacher.calculator: 'emmt' cannot be a teacher"),
        ({'batch': '200'}, r'label.teacher.batch'),
        (
            {'calculator': 'mace', 'model': '/no/such.model', 'trust_model': True},
            r'label.teacher.model: there is no file',
        ),
    ),
)
def test_bad_parameters(worker_code, copper, section, message):
    """What cannot run is refused before anything is submitted, by the name of the key."""
    parameters = {**PARAMETERS, 'teacher': section}
    with pytest.raises(ValueError, match=message):
        LabelWorkChain.get_builder_from_protocol(worker_code, ConfigurationsData(copper), parameters)
