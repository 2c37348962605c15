"""Tests of `collect_labels`, on a real DFT calculation."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.calculations.functions.collect_labels import collect_labels
from aiida_pyacemaker.calculations.functions.confirm_labels import confirm_labels
from aiida_pyacemaker.calculations.functions.get_structure import get_structure
from aiida_pyacemaker.data.configurations import ConfigurationsData

PwCalculation = CalculationFactory('quantumespresso.pw')
QE = 'qe'
COMPRESSION = 3.6
EXPANSION = 4.5


@pytest.fixture
def configurations(aiida_profile):
    """Return a compressed, an expanded and a sheared crystal of two atoms, with one atom off its place."""
    frames = []
    for index, lattice in enumerate((COMPRESSION, EXPANSION)):
        atoms = bulk('Al', 'bcc', a=lattice * 0.8, cubic=True)
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + np.array([[0, 0.04, 0], [0, 0, 0], [0, 0, 0]])), scale_atoms=True
        )
        atoms.positions[1] += [0.15, 0.0, 0.05]
        atoms.info.update({'family': 'sheared', 'split': ('train', 'test')[index]})
        frames.append(atoms)
    frames.append(frames[0].copy())
    return ConfigurationsData(frames).store()


@pytest.fixture
def run_pw(pw_code, pseudo_family):
    """Return a function that computes a structure with pw.x, coarsely."""

    def function(structure):
        builder = PwCalculation.get_builder()
        builder.code = pw_code
        builder.structure = structure
        builder.pseudos = orm.load_group(pseudo_family).get_pseudos(structure=structure)
        builder.kpoints = orm.KpointsData()
        builder.kpoints.set_kpoints_mesh([3, 3, 3])
        builder.parameters = orm.Dict(
            {
                'CONTROL': {'calculation': 'scf', 'tprnfor': True, 'tstress': True},
                'SYSTEM': {
                    'ecutwfc': 16.0,
                    'ecutrho': 64.0,
                    'occupations': 'smearing',
                    'smearing': 'cold',
                    'degauss': 0.05,
                },
                'ELECTRONS': {'conv_thr': 1e-7},
            }
        )
        builder.metadata.options.resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        builder.metadata.options.withmpi = False
        outputs, node = run_get_node(builder)
        assert node.is_finished_ok, (node.exit_status, node.exit_message)
        return outputs, node

    return function


def test_labels_of_pw(configurations, run_pw):
    """Labels have the units and signs of ASE, belong to the structure that was sent, and tell where they are from."""
    nodes, calculations = {}, {}
    for index in (0, 1):
        structure = get_structure(configurations, orm.Int(index))
        outputs, calculations[index] = run_pw(structure)
        nodes[f'parameters_{index:04d}'] = outputs['output_parameters']
        nodes[f'trajectory_{index:04d}'] = outputs['output_trajectory']
    collected, function = collect_labels.run_get_node(configurations, QE, **nodes)
    assert function.is_finished_ok
    assert sorted(collected) == ['test', 'train']
    assert len(collected['train']) == len(collected['test']) == 1
    (compressed,), (expanded,) = collected['train'].get_frames(), collected['test'].get_frames()

    for index, atoms in enumerate((compressed, expanded)):
        sent = configurations.get_structure_ase(index)
        np.testing.assert_array_equal(atoms.positions, sent.positions)
        assert atoms.info['calculation'] == calculations[index].uuid
        assert atoms.info['family'] == 'sheared'
        log = calculations[index].outputs.retrieved.get_object_content('aiida.out')
        total = next(line for line in log.splitlines() if line.startswith('!'))
        assert atoms.get_potential_energy() == pytest.approx(float(total.split()[-2]) * 13.605693, abs=1e-3)
        # Newton's third law, and an atom that was moved is pulled back.
        np.testing.assert_allclose(atoms.get_forces().sum(axis=0), 0, atol=1e-3)
    assert compressed.get_forces()[1, 0] < -0.1

    # ASE: the stress is dE/dstrain per volume, so it is negative where the crystal wants to expand.
    assert np.all(compressed.get_stress()[:3] < -0.05)
    assert np.all(expanded.get_stress()[:3] > 0.005)
    pressure = -compressed.get_stress()[:3].mean() / 6.241509e-3
    log = calculations[0].outputs.retrieved.get_object_content('aiida.out')
    reported = float(next(line for line in log.splitlines() if 'P=' in line).split('P=')[1]) / 10
    assert pressure == pytest.approx(reported, abs=0.1)

    # From any label back to the calculation, in one query.
    query = orm.QueryBuilder()
    query.append(ConfigurationsData, filters={'uuid': collected['train'].uuid}, tag='labels')
    query.append(PwCalculation, with_descendants='labels', project='uuid')
    assert {uuid for (uuid,) in query.all()} == {node.uuid for node in calculations.values()}

    # The same outputs for the wrong configuration.
    nodes['parameters_0001'], nodes['trajectory_0001'] = nodes['parameters_0000'], nodes['trajectory_0000']
    with pytest.raises(ValueError, match='Configuration 1: the calculation is of another structure'):
        collect_labels(configurations, QE, **nodes)


def test_bad_outputs(configurations):
    """Outputs that are unknown, incomplete or without labels are refused."""
    trajectory = orm.ArrayData({'forces': np.zeros((1, 2, 3))}).store()
    parameters = orm.Dict({'energy': -1.0}).store()
    with pytest.raises(ValueError, match='`other_0000` names no output'):
        collect_labels(configurations, QE, other_0000=parameters)
    with pytest.raises(ValueError, match='`parameters_0003` names no output of 3 configurations'):
        collect_labels(configurations, QE, parameters_0003=parameters)
    with pytest.raises(
        ValueError, match=r'Configuration 1: .*`parameters` and `trajectory`.* are needed, got parameters'
    ):
        collect_labels(configurations, QE, parameters_0001=parameters)
    with pytest.raises(ValueError, match='has no energy or no forces'):
        collect_labels(configurations, QE, parameters_0001=orm.Dict({}), trajectory_0001=trajectory)
    short = orm.ArrayData({'forces': np.zeros((1, 1, 3))})
    with pytest.raises(ValueError, match='is of 1 atoms, the configuration has 2'):
        collect_labels(configurations, QE, parameters_0001=parameters, trajectory_0001=short)


def outputs_of(index, energy, forces):
    """Return the outputs of a calculation, as `collect_labels` takes them."""
    trajectory = orm.ArrayData({'forces': np.asarray(forces, dtype=float)[None]})
    return {f'parameters_{index:04d}': orm.Dict({'energy': energy}), f'trajectory_{index:04d}': trajectory}


def test_suspects_are_kept_apart(configurations):
    """Labels that cannot be right are flagged and in no training set; the others of the batch are not lost."""
    pulled, absurd = [[9.0, 0, 0], [-9.0, 0, 0]], [[60.0, 0, 0], [-60.0, 0, 0]]
    nodes = outputs_of(0, -8.0, np.full((2, 3), np.nan)) | outputs_of(1, -8.0, absurd) | outputs_of(2, -8.0, pulled)
    collected = collect_labels(configurations, QE, **nodes)
    assert sorted(collected) == ['suspect', 'train']
    assert len(collected['train']) == 1
    broken, large = collected['suspect'].get_frames()
    assert broken.info['flags'] == ['forces not finite']
    assert labels(broken) == {'energy': -8.0}
    assert large.info['flags'] == ['force 60 eV/Å on atom 0 (limit 50)']
    assert large.info['split'] == 'test'
    np.testing.assert_array_equal(large.get_forces(), absurd)
    assert collected['suspect'].base.attributes.get('number_flagged') == 2

    limits = orm.Dict({'max_force': 5.0})
    collected = collect_labels(configurations, QE, limits=limits, **nodes)
    assert [atoms.info['flags'][0] for atoms in collected['suspect']][2:] == ['force 9 eV/Å on atom 0 (limit 5)']
    with pytest.raises(ValueError, match=r'label.max_force: -1 is wrong, it must be above 0'):
        collect_labels(configurations, QE, limits=orm.Dict({'max_force': -1}), **nodes)


def test_confirm_labels(configurations):
    """Confirmed labels are a set to train on and say that they were confirmed; what has no label cannot be."""
    absurd = [[60.0, 0, 0], [-60.0, 0, 0]]
    nodes = outputs_of(0, -8.0, np.full((2, 3), np.nan)) | outputs_of(1, -8.0, absurd)
    suspect = collect_labels(configurations, QE, **nodes)['suspect']
    confirmed, function = confirm_labels.run_get_node(suspect, orm.List([1]))
    assert function.is_finished_ok
    (atoms,) = confirmed.get_frames()
    assert atoms.info['flags'] == ['force 60 eV/Å on atom 0 (limit 50)', 'confirmed']
    np.testing.assert_array_equal(atoms.get_forces(), absurd)
    with pytest.raises(ValueError, match=r'Configuration 0 cannot be confirmed: .* has no forces'):
        confirm_labels(suspect, orm.List([0]))
    with pytest.raises(ValueError, match='no configuration 2: the set has 2'):
        confirm_labels(suspect, orm.List([2]))
    with pytest.raises(ValueError, match='nothing to confirm'):
        confirm_labels(suspect, orm.List([]))
