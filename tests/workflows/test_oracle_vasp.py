"""Tests of the oracle VASP with aiida-vasp, but without VASP: a script stands where its binary would be.

Everything else is real: the WorkChain, INCAR, KPOINTS, POSCAR and POTCAR, the parser. What the script leaves behind was
written by ``vasp_files.py``.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk
from ase.io import read
from ase.units import GPa, Ry
from vasp_files import write_outputs, write_potentials

from aiida_pyacemaker.calculations.functions.get_structure import get_structure
from aiida_pyacemaker.calculations.readers import vasp as reader
from aiida_pyacemaker.workflows.oracles import load_oracle
from aiida_pyacemaker.workflows.oracles.vasp import VaspOracle

LabelWorkChain = WorkflowFactory('pyacemaker.label')
ConfigurationsData = DataFactory('pyacemaker.configurations')
ENERGY = -12.3456
STRESS = np.array([[50.0, 2.0, 3.0], [2.0, 40.0, 4.0], [3.0, 4.0, 30.0]])  # kbar, compressed


@pytest.fixture
def potential_family(aiida_profile, tmp_path):
    """Return the label of a family of made-up potentials, stored as ``aiida-vasp potcar uploadfamily`` does."""
    potcar = DataFactory('vasp.potcar')
    folder = write_potentials(tmp_path / 'made up', {'Al': 240.3, 'Cu': 295.4, 'Fe_pv': 293.2})
    potcar.upload_potcar_family(folder, 'made up', 'not for calculations', stop_if_existing=False)
    return 'made up'


@pytest.fixture
def parameters(potential_family):
    """Return the section `label` of a run file."""
    return {
        'oracle': 'vasp',
        'vasp': {'potential_family': potential_family, 'potential_mapping': {'Fe': 'Fe_pv'}, 'incar': {'NCORE': 2}},
        'kpoints_distance': 0.5,
        'smearing': 'cold',
        'degauss': 0.02,
        'max_concurrent': 1,
        'max_failed_fraction': 0.0,
        'max_wallclock_seconds': 600,
    }


@pytest.fixture
def alloy():
    """Return a cell whose elements alternate, so that their order matters."""
    atoms = bulk('Al', a=4.0, cubic=True)
    atoms.symbols[:] = ['Al', 'Fe', 'Al', 'Fe']
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture
def vasp_code(aiida_code_installed, fake_executable, tmp_path):
    """Return a factory of codes that keep the input files, and leave prepared output files behind."""

    def factory(prepared):
        kept = tmp_path / 'kept'
        kept.mkdir()
        script = fake_executable(
            'vasp_std',
            f'cp INCAR KPOINTS POSCAR POTCAR "{kept}" && cp "{prepared}"/* . && cat stdout.txt',
        )
        # A label of its own: the fixture returns the code of another test that has the same one.
        label = f'vasp-{tmp_path.name}'
        code = aiida_code_installed(label=label, default_calc_job_plugin='vasp.vasp', filepath_executable=str(script))
        return code, kept

    return factory


def run_label(vasp_code, parameters, atoms, tmp_path, **output):
    """Label one configuration by outputs that were prepared."""
    prepared = tmp_path / 'prepared'
    forces = np.random.default_rng(1).normal(size=(len(atoms), 3)).round(6)
    write_outputs(prepared, atoms, ENERGY, forces, STRESS, **output)
    code, kept = vasp_code(prepared)
    builder = LabelWorkChain.get_builder_from_protocol(code, ConfigurationsData([atoms]), parameters)
    outputs, node = run_get_node(builder)
    return outputs, node, kept, forces


def test_label(vasp_code, parameters, alloy, tmp_path):
    """A configuration goes through aiida-vasp's WorkChain, files and parser, and comes back with its label."""
    outputs, node, kept, forces = run_label(vasp_code, parameters, alloy, tmp_path, moments=[0.0, 2.25, 0.01, 2.2])
    assert node.is_finished_ok, node.exit_message

    incar = dict(line.split(' = ') for line in (kept / 'INCAR').read_text().splitlines() if ' = ' in line)
    incar = {key.strip(): value.strip() for key, value in incar.items()}
    assert {key: incar[key] for key in ('NSW', 'IBRION', 'ISMEAR', 'NCORE', 'GGA', 'PREC')} == {
        'NSW': '0', 'IBRION': '-1', 'ISMEAR': '1', 'NCORE': '2', 'GGA': 'PE', 'PREC': 'Accurate',
    }  # fmt: skip
    assert float(incar['SIGMA']) == pytest.approx(0.02 * Ry)
    assert float(incar['ENCUT']) == round(1.3 * 293.2)
    assert (incar['ISPIN'], incar['MAGMOM'].split()) == ('2', ['0.0', '3.0', '0.0', '3.0'])
    assert [line.split() for line in (kept / 'KPOINTS').read_text().splitlines()[2:4]] == [['Gamma'], ['4'] * 3]
    written = read(kept / 'POSCAR', format='vasp')
    assert written.get_chemical_symbols() == alloy.get_chemical_symbols()
    assert np.allclose(written.positions, alloy.positions, atol=1e-8)
    # One POTCAR per run of equal elements in POSCAR, as VASP reads them.
    titles = [line.split()[3] for line in (kept / 'POTCAR').read_text().splitlines() if 'TITEL' in line]
    assert titles == ['Al', 'Fe_pv', 'Al', 'Fe_pv']

    label = outputs['train'].get_frames()[0]
    assert label.get_potential_energy() == pytest.approx(ENERGY)
    assert np.allclose(label.get_forces(), forces)
    assert np.allclose(label.get_stress(), -0.1 * GPa * np.array([50.0, 40.0, 30.0, 4.0, 3.0, 2.0]))
    assert label.get_array('magnetic_moments') == pytest.approx([0.0, 2.25, 0.01, 2.2])
    assert orm.load_node(label.info['calculation']).process_label == 'VaspCalculation'
    settings = label.info['settings']
    assert {key: settings[key] for key in ('oracle', 'version', 'xc', 'encut', 'kpoints_distance', 'degauss')} == {
        'oracle': 'vasp', 'version': '6.4.2', 'xc': 'PBE', 'encut': 381, 'kpoints_distance': 0.5, 'degauss': 0.02,
    }  # fmt: skip
    assert set(settings['pseudos']) == {'Al', 'Fe'} and 'incar' not in settings
    # Licensed files do not stay in the graph.
    calculation = orm.load_node(label.info['calculation'])
    assert 'POTCAR' not in calculation.base.repository.list_object_names()
    assert 'INCAR' in calculation.base.repository.list_object_names()
    job = outputs['results']['jobs'][0]
    assert (job['wall_seconds'], job['core_hours']) == pytest.approx((7.2, 7.2 / 3600))
    check_refused(alloy, {name: calculation.outputs[name] for name in VaspOracle.outputs})


def check_refused(alloy, nodes):
    """What is not converged is refused, and the outputs of another structure; periodic images are the same one."""
    misc = nodes['misc'].get_dict()
    misc['run_status']['electronic_converged'] = False
    with pytest.raises(ValueError, match='not converged'):
        reader.read([alloy.copy()], 0, {**nodes, 'misc': orm.Dict(misc)})
    image = alloy.copy()
    image.positions += image.cell[0] - 2 * image.cell[2]
    assert reader.read([image], 0, nodes)[0].get_potential_energy() == pytest.approx(ENERGY)
    moved, swapped = alloy.copy(), alloy.copy()
    moved.positions[2, 1] += 0.01
    swapped.symbols[:2] = ['Fe', 'Al']
    for other, message in ((moved, '0.01 Å'), (swapped, 'AlFeAlFe')):
        with pytest.raises(ValueError, match='Configuration 0.*' + message):
            reader.read([other], 0, nodes)


def test_isolated_atom(parameters, vasp_code, tmp_path):
    """A free atom is computed in its box at Gamma alone, with the moment of Hund's rule, and at the batch's cutoff."""
    atom = Atoms('Al', positions=[[0.0, 0.0, 0.0]], cell=[9.0, 9.5, 10.0], info={'family': 'isolated_atom'})
    configurations = ConfigurationsData([atom, bulk('Cu')]).store()
    code, _ = vasp_code(tmp_path)
    structure = get_structure(configurations, orm.Int(0))
    builder = load_oracle(parameters).get_builder(code, configurations, [0], structure, {'withmpi': True})
    assert builder.kpoints.get_kpoints_mesh()[0] == [1, 1, 1]
    incar = builder.parameters['incar']
    assert (incar['ispin'], incar['magmom'], incar['nupdown'], incar['encut']) == (2, [1.0], 1.0, 384)
    assert builder.potential_mapping.get_dict() == {'Al': 'Al'}
    options = builder.calc.metadata.options
    assert options.withmpi and options.max_wallclock_seconds == 600


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'vasp': None}, 'label.vasp.potential_family'),
        ({'vasp': {'potential_family': 'x', 'incar': {'NSW': 5}}}, r'label.vasp.incar: NSW is not set here'),
        ({'vasp': {'potential_family': 'x', 'functional': 'PW91'}}, 'label.vasp.functional'),
        ({'kpoints_distance': 0}, 'label.kpoints_distance'),
    ],
)
def test_bad_parameters(parameters, changes, message):
    """What cannot run is refused by the name of the key."""
    with pytest.raises(ValueError, match=message):
        load_oracle({**parameters, **changes})


def test_missing_potentials(parameters, potential_family):
    """A family or a potential that is not in the profile is named, with the remedy."""
    oracle = load_oracle(parameters)
    with pytest.raises(ValueError, match=r'label\.vasp\.potential_mapping.*Mg'):
        oracle.get_potentials({'Al', 'Mg'})
    oracle = load_oracle({**parameters, 'vasp': {'potential_family': 'none such'}})
    with pytest.raises(ValueError, match=r'label\.vasp\.potential_family.*uploadfamily'):
        oracle.get_potentials({'Al'})


def test_not_installed(monkeypatch):
    """Without aiida-vasp the oracle says how to install it, before anything is submitted."""
    monkeypatch.setitem(sys.modules, 'aiida_vasp', None)
    with pytest.raises(ValueError, match=r'pip install "aiida-pyacemaker\[vasp\]"'):
        load_oracle({'oracle': 'vasp', 'vasp': {'potential_family': 'any'}})
