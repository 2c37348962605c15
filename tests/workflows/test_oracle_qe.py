"""Tests of the oracle Quantum ESPRESSO: the inputs that it makes, and labels of the real pw.x."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111

from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.labelling.magnetism import kind_tags
from aiida_pyacemaker.calculations.functions.get_structure import make_structure
from aiida_pyacemaker.calculations.readers.qe import read
from aiida_pyacemaker.data.structures import get_frames
from aiida_pyacemaker.workflows.oracles import load_oracle

LabelWorkChain = WorkflowFactory('pyacemaker.label')
ConfigurationsData = DataFactory('pyacemaker.configurations')


@pytest.fixture
def get_builder(pw_code, label_parameters):
    """Return a factory of builders of one frame, with some parameters changed."""

    def factory(atoms: Atoms, others: tuple[Atoms, ...] = (), structure=None, **changes):
        oracle = load_oracle({**label_parameters, **changes})
        structure = structure or make_structure(atoms, 0)
        return oracle.get_builder(pw_code, ConfigurationsData([atoms, *others]), [0], structure, {})

    return factory


def system(builder) -> dict:
    """The namelist SYSTEM of a builder."""
    return builder.pw.parameters.get_dict()['SYSTEM']


def test_magnetic_builder(get_builder):
    """Iron is spin-polarised with a ferromagnetic start, and has bands enough for its smearing."""
    found = system(get_builder(bulk('Fe', a=2.87)))

    assert found['nspin'] == 2
    assert found['starting_magnetization']['Fe'] == pytest.approx(3 / 16, abs=1e-4)
    assert found['nbnd'] == 15  # 1.3 * 16 / 2 + 4, rounded up
    assert 'nspin' not in system(get_builder(bulk('Fe', a=2.87), spin='none'))
    assert 'nspin' not in system(get_builder(bulk('Al')))


def test_kinds_of_moments(get_builder):
    """Iron that remembers two moments has two kinds, with a start and a pseudopotential for each."""
    atoms = bulk('Fe', a=2.87, cubic=True)
    atoms.set_array('magnetic_moments', np.array([2.4, -1.1]))
    structure = orm.StructureData(
        ase=Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True, tags=kind_tags(atoms))
    )
    builder = get_builder(atoms, structure=structure)
    starts = system(builder)['starting_magnetization']
    assert set(starts) == set(builder.pw.pseudos) == {kind.name for kind in builder.pw.structure.kinds}
    assert starts == {'Fe1': pytest.approx(2.4 / 16, abs=1e-4), 'Fe2': pytest.approx(-1.1 / 16, abs=1e-4)}


def test_free_atom(get_builder):
    """A free atom has the moment of Hund's rule, fixed, and Gamma only, whose functions are real."""
    builder = get_builder(Atoms('Fe', cell=[12] * 3, pbc=False))
    assert system(builder)['tot_magnetization'] == 4.0
    assert system(builder)['starting_magnetization'] == {'Fe': 0.25}
    assert builder.kpoints.get_kpoints_mesh()[0] == [1, 1, 1]
    assert builder.pw.settings.get_dict() == {'GAMMA_ONLY': True}


def test_slab_and_molecule(get_builder):
    """The dipole correction comes with an adsorbate on one side, and with nothing else."""
    slab = fcc111('Al', (1, 1, 3), vacuum=7.0)
    slab.pbc = True
    assert not {'edir', 'assume_isolated'} & set(system(get_builder(slab)))
    add_adsorbate(slab, 'Si', 2.0)
    builder = get_builder(slab)
    assert builder.pw.parameters.get_dict()['CONTROL']['dipfield'] is True
    assert (system(builder)['edir'], system(builder)['eamp']) == (3, 0.0)
    assert 'settings' not in builder.pw or 'GAMMA_ONLY' not in builder.pw.settings.get_dict()
    assert 'edir' not in system(get_builder(slab, dipole_correction=False))


def test_cutoffs_are_those_of_the_batch(get_builder):
    """Aluminium beside copper has copper's cutoffs: the energies of a batch can be compared."""
    changes = {'ecutwfc': None, 'ecutrho': None}
    alone = system(get_builder(bulk('Al'), **changes))
    beside = system(get_builder(bulk('Al'), others=(bulk('Cu'),), **changes))
    assert (alone['ecutwfc'], beside['ecutwfc']) == (40, 92)


def test_one_node_per_mesh(get_builder):
    """The node of a mesh is used again, so that inputs do not multiply."""
    first = get_builder(bulk('Al', a=4.0)).kpoints.store()
    assert get_builder(bulk('Al', a=4.01)).kpoints.pk == first.pk


def test_thresholds_follow_the_atoms(pw_code, label_parameters):
    """Whatever structure of a batch comes first, a free atom has the same input, and the cache finds it again."""
    cells = [bulk('Al', cubic=True).repeat((3, 1, 1)), Atoms('Al', cell=[8] * 3), bulk('Al')]
    configurations = ConfigurationsData(cells)
    found = []
    for order in ([0, 1, 2], [1], [2, 1]):
        oracle = load_oracle(label_parameters)
        builders = {k: oracle.get_builder(pw_code, configurations, [k], make_structure(cells[k], k), {}) for k in order}
        found.append(builders[1].pw.parameters.get_dict())
    assert found[0] == found[1] == found[2]
    assert found[0]['ELECTRONS']['conv_thr'] == 2e-10
    first = load_oracle(label_parameters).get_builder(pw_code, configurations, [0], make_structure(cells[0], 0), {})
    assert first.pw.parameters.get_dict()['ELECTRONS']['conv_thr'] == 2.4e-9


def calculations(node) -> list[orm.CalcJobNode]:
    """The calculations of a batch, in the order in which they were made."""
    found = [called for called in node.called_descendants if isinstance(called, orm.CalcJobNode)]
    return sorted(found, key=lambda calculation: calculation.pk)


def test_free_atom_is_computed_once(pw_code, label_parameters):
    """The same free atom twice in the queue: one calculation runs, which alone has a cost, and both have its label."""
    atom = Atoms('Al', positions=[[3.0] * 3], cell=[6] * 3, info={'family': 'isolated_atom'})
    configurations = ConfigurationsData([atom, atom])
    with enable_caching():
        outputs, node = run_get_node(
            LabelWorkChain.get_builder_from_protocol(pw_code, configurations, {**label_parameters, 'max_concurrent': 1})
        )
    assert node.is_finished_ok, node.exit_message
    first, second = calculations(node)
    assert (first.base.caching.get_cache_source(), second.base.caching.get_cache_source()) == (None, first.uuid)
    costs = [job['core_hours'] for job in outputs['results']['jobs']]
    assert costs[0] > 0 and costs[1] == 0.0
    labelled = outputs['train'].get_frames()[0]
    assert labelled.arrays['magnetic_moments'][0] > 0.5
    expected = {'oracle': 'qe', 'xc': 'PBE', 'ecutwfc': 12.0, 'kpoints_distance': 0.6, 'degauss': 0.05, 'spin': 'auto'}
    assert labelled.info['settings'].items() >= expected.items()
    assert set(labelled.info['settings']['pseudos']) == {'Al'}


def test_corrected_slab_is_labelled(pw_code, label_parameters, get_builder):
    """pw.x accepts the dipole correction that we ask for; its labels have no stress, and that is no failure."""
    slab = fcc111('Al', (1, 1, 2), vacuum=6.0)
    add_adsorbate(slab, 'Si', 1.8, 'fcc')
    slab.pbc = True
    _, node = run_get_node(get_builder(slab, kpoints_distance=0.8))
    assert node.is_finished_ok, node.exit_message
    labelled = read([slab], 0, load_oracle(label_parameters).get_labels(node))[0]
    assert set(labels(labelled)) == {'energy', 'forces'}
    stdout = calculations(node)[-1].outputs.retrieved.base.repository.get_object_content('aiida.out')
    assert 'Computed dipole along edir(3)' in stdout


def test_moments_are_read_and_remembered(pw_code, label_parameters, get_builder):
    """The label of iron has its moments, per kind, from which the next calculation starts."""
    atoms = bulk('Fe', a=2.87)
    builder = get_builder(atoms, ecutwfc=40.0, ecutrho=160.0)
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    oracle = load_oracle(label_parameters)
    labelled = read([atoms], 0, oracle.get_labels(node))[0]
    assert 1.0 < labelled.arrays['magnetic_moments'][0] < 3.5
    assert labelled.info['settings']['kpoints_distance'] == 0.6
    cost = oracle.get_cost(node)
    assert (cost['electrons'], cost['atoms']) == (16.0, 1)
    assert cost['core_hours'] == pytest.approx(cost['wall_seconds'] / 3600)  # one process
    assert 1.0 < labelled.info['total_magnetization'] <= labelled.info['absolute_magnetization'] < 3.5
    again = system(get_builder(labelled))['starting_magnetization']['Fe']
    assert again == pytest.approx(labelled.arrays['magnetic_moments'][0] / 16, abs=1e-3)


def test_antiferromagnet_is_labelled(pw_code, label_parameters):
    """Kinds of one element with opposite moments stay antiferromagnetic; a ferromagnetic start is another label.

    Of the two, of expanded iron, that of higher energy is set apart, with the reason.
    """
    cell = bulk('Fe', a=3.0, cubic=True)
    node = orm.StructureData(ase=Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True, tags=[1, 2])).store()
    (afm,) = get_frames({'iron': node}, {'Fe1': 3.0, 'Fe2': -3.0})
    fm = afm.copy()
    fm.arrays['magnetic_moments'] = np.array([3.0, 3.0])
    coarse = {'ecutwfc': 30.0, 'ecutrho': 120.0, 'kpoints_distance': 0.8, 'max_concurrent': 1}
    outputs, node = run_get_node(
        LabelWorkChain.get_builder_from_protocol(
            pw_code, ConfigurationsData([afm, fm]), {**label_parameters, **coarse, 'max_failed_fraction': 0.0}
        )
    )
    assert node.is_finished_ok, outputs['results'].get_dict()['failures']
    kinds = [{kind.name for kind in calculation.inputs.structure.kinds} for calculation in calculations(node)]
    assert kinds == [{'Fe1', 'Fe2'}, {'Fe'}]
    # at this cutoff the stress of both is beyond all reason, too
    up_and_down, up = outputs['suspects']['train'].get_frames()
    assert up.get_chemical_symbols() == up_and_down.get_chemical_symbols() == ['Fe', 'Fe']
    assert abs(up_and_down.info['total_magnetization']) < 0.05 and up_and_down.info['absolute_magnetization'] > 1.0
    assert up_and_down.arrays['magnetic_moments'].sum() == pytest.approx(0.0, abs=0.05)
    assert up.info['total_magnetization'] > 3.0
    assert up.get_potential_energy() < up_and_down.get_potential_energy()
    assert not any('spin state' in reason for reason in up.info['flags'])
    assert any('the same structure with' in reason for reason in up_and_down.info['flags'])
