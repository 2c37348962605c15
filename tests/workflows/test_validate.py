"""Tests of the judgement as a WorkChain: a real one of a small potential, and what becomes of its verdict."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.labelling.teachers import Teacher
from aiida_pyacemaker.runfile import resolve_runfile
from aiida_pyacemaker.workflows.deploy import EXTRA_PRODUCTION, deploy

AcePotentialData = DataFactory('pyacemaker.potential')
ConfigurationsData = DataFactory('pyacemaker.configurations')
ValidateWorkChain = WorkflowFactory('pyacemaker.validate')


@pytest.fixture
def parameters():
    """Return a run file that looks at little, and asks for no more than a fit to few frames can give."""
    validate = {'properties': ['eos', 'pairs'], 'energy_rmse': 1.0, 'force_rmse': 10.0}
    gate = {name: {'limit': None, 'fail': None} for name in ('stress_rmse', 'pair_barrier', 'dimer_hole')}
    gate['compression_barrier'] = {'limit': None, 'fail': None}
    content = {'protocol': 'fast', 'system': {'elements': ['Al']}, 'validate': {**validate, 'gate': gate}}
    return resolve_runfile(content).to_dict()


def judge(worker_code, al_potential, al_frames, parameters):
    """Judge the potential on the frames that it was fitted to."""
    crystal = bulk('Al', cubic=True)
    crystal.info['must_be_stable'] = True
    builder = ValidateWorkChain.get_builder_from_protocol(
        {'worker': worker_code},
        al_potential,
        ConfigurationsData([crystal]),
        parameters,
        test_set=ConfigurationsData(al_frames[-4:]),
        deploy=True,
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return outputs, outputs['results'].get_dict()


def test_judgement(aiida_profile_clean, worker_code, al_potential, al_frames, parameters):
    """A potential is looked at, judged, reported and deployed; with another criterion it fails, and asks."""
    outputs, verdict = judge(worker_code, al_potential, al_frames, parameters)
    assert {'energy_rmse', 'force_rmse', 'eos_kinks'} <= {check['name'] for check in verdict['checks']}
    assert verdict['verdict'] == 'PASS', verdict['summary']
    assert outputs['deployed'].value == al_potential.base.extras.get(EXTRA_PRODUCTION)['name'] == 'Al-v1'
    assert 'PASS' in outputs['report'].get_content()
    assert outputs['content']['crystals'][0]['eos']['status'] == 'ok'
    assert len(outputs['predictions']) == 4

    parameters['validate']['gate']['force_rmse']['fail'] = parameters['validate']['force_rmse'] = 1e-9
    outputs, verdict = judge(worker_code, al_potential, al_frames, parameters)
    assert verdict['verdict'] == 'FAIL'
    assert 'deployed' not in outputs
    assert {atoms.info['operation'] for atoms in outputs['requested'].get_frames()} == {'rattle'}


def test_versions(aiida_profile_clean, al_potential_directory, tmp_path):
    """Every other potential is the next version; the same one, or a copy of it, stays the version that it is."""
    verdict = {'verdict': 'CONDITIONAL', 'summary': 'a warning'}
    nodes = [AcePotentialData.from_directory(al_potential_directory).store() for _ in range(2)]
    assert [deploy(node, verdict) for node in nodes] == ['Al-v1', 'Al-v1']
    folder = shutil.copytree(al_potential_directory, tmp_path / 'other', ignore=shutil.ignore_patterns('SHA256SUMS'))
    (folder / 'metadata.json').write_text((folder / 'metadata.json').read_text() + '\n')
    other = AcePotentialData.from_directory(folder).store()
    assert deploy(other, verdict) == 'Al-v2'
    assert deploy(nodes[0], verdict) == 'Al-v1'
    group = orm.load_group('pyacemaker/production/Al')
    assert len(group.nodes) == 3
    assert other.label == 'Al-v2'
    assert other.base.extras.get('production')['verdict'] == 'CONDITIONAL'


def test_same_cells(aiida_profile_clean, worker_code, al_potential, parameters):
    """What the potential has relaxed is labelled by the oracle as it is, compared, told, and in no verdict."""
    names = ['vacancy', 'stacking_fault']
    parameters['validate'] |= {'properties': names, 'references': [*names, 'phonons']}
    parameters['label'] |= {'oracle': 'teacher', 'teacher': Teacher(calculator='emt').model_dump()}
    inputs = ({'worker': worker_code, 'teacher': worker_code}, al_potential, ConfigurationsData([bulk('Al')]))
    builder = ValidateWorkChain.get_builder_from_protocol(*inputs, parameters)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    steps = {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
    assert {'suite', 'cells', 'compare_cells'} <= set(steps)
    found = outputs['content'].get_dict()['crystals'][0]['same_cells']
    assert sorted(found) == sorted(names), 'what is not looked at is not compared'
    energies = {}
    for atoms in steps['suite'].outputs.cells.get_frames():
        own = atoms.get_potential_energy()
        atoms.calc = EMT()
        energies[atoms.info['operation'], atoms.info['number']] = own, atoms.get_potential_energy()
        assert np.abs(atoms.get_forces()).max() < 1.0
    number = found['vacancy']['atoms'][0]
    perfect, vacancy = (energies['vacancy', k] for k in (0, 1))
    (row,) = found['vacancy']['rows']
    for key, whole, part in zip(('potential', 'dft'), perfect, vacancy, strict=True):
        assert row[key] == pytest.approx(part - (number - 1) / number * whole, abs=1e-6)
    assert abs(row['potential'] - row['dft']) > 1e-4, 'a fit to other frames is not its teacher'
    assert 0 < found['stacking_fault']['forces']['rmse'] < 0.2
    assert 'Beside DFT in the same cells' in outputs['report'].get_content()
    assert not [check for check in outputs['results'].get_dict()['checks'] if 'dft' in check['name']]
