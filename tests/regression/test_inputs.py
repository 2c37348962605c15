"""Every input of an engine: the files that calculations write, what is copied beside them, and what is retrieved."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.plugins import CalculationFactory
from ase.build import bulk, fcc111

from . import api, cases
from .serialise import plain

PROGRAMS = ['heat', 'melt', 'cool', 'compress', 'deform', 'hop']
NO_WALKER = ('nvt', 'compress')
UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')


def about(prepared) -> dict:
    """Return what is copied, linked, run and retrieved."""
    info = prepared.info
    (code,) = info.codes_info
    return plain(
        {
            'prepend_text': info.get('prepend_text'),
            'command': code.cmdline_params,
            'stdin': code.get('stdin_name'),
            'stdout': code.stdout_name,
            'stderr': code.get('stderr_name'),
            'join_files': code.get('join_files'),
            'copied': [[source, target] for _, source, target in info.local_copy_list or []],
            'linked': [target for _, _, target in info.get('remote_symlink_list') or []],
            'retrieved': list(info.retrieve_list),
            'retrieved_temporarily': list(info.get('retrieve_temporary_list') or []),
        }
    )


def as_text(files: dict[str, str], leave: tuple[str, ...] = ()) -> str:
    """Return files one after the other."""
    parts = [f'=== {name}\n{content}' for name, content in sorted(files.items()) if name not in leave]
    return UUID.sub('UUID', '\n'.join(parts))


# LAMMPS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def simulation(prepare, codes, potential):
    """Return a function that gives the input of a simulation."""

    def function(parameters, atoms=cases.CELL, **inputs):
        if 'restart' not in inputs:
            inputs['structure'] = orm.StructureData(ase=atoms)
        process = CalculationFactory('pyacemaker.lammps_pace')
        return prepare(
            process, code=codes['lammps'], potential=potential, parameters=orm.Dict(parameters), **inputs,
            metadata={'label': 'iteration_01 walker_00'},
        )  # fmt: skip

    return function


def restart_file(potential, codes, **results) -> orm.SinglefileData:
    """Return a restart file as a simulation leaves it."""
    folder = cases.OUTPUTS / 'lammps_completed'
    node = orm.CalcJobNode(computer=codes['lammps'].computer, process_type='aiida.calculations:pyacemaker.lammps_pace')
    node.base.links.add_incoming(potential, link_type=LinkType.INPUT_CALC, link_label='potential')
    node.store()
    if results:
        told = orm.Dict(results)
        told.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='results')
        told.store()
    restart = orm.SinglefileData(folder / 'final.restart')
    restart.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label='restart')
    return restart.store()


@pytest.mark.parametrize(
    ('ensemble', 'program'),
    # nothing is compressed at constant volume
    [(ensemble, program) for ensemble in ('npt', 'nvt') for program in PROGRAMS if (ensemble, program) != NO_WALKER],
)
def test_programs(file_regression, simulation, program, ensemble):
    """The script of each program as it is planned for aluminium."""
    content = api.resolve({'system': {'elements': ['Al']}, 'explore': {'ensemble': ensemble, 'programs': [program]}})
    cell = cases.CELL.copy()
    cell.info['operation'] = 'hop' if program == 'hop' else 'supercell'
    walker = api.plan(content['explore'], [cell], ['Al'], 0, 42001)[0]
    assert walker['program'] == program
    prepared = simulation(walker['parameters'], cell)
    file_regression.check(as_text(prepared.files), extension='.txt')


@pytest.mark.parametrize(
    ('name', 'parameters'),
    [
        ('least', {'temperature': [300, 300], 'steps': 1000}),
        ('tilting', {'temperature': [300, 600], 'steps': 1000, 'coupling': 'tri', 'pressure': [0, 2]}),
        (
            'shear',
            {'temperature': [300, 300], 'steps': 1000, 'deform': {'kind': 'shear', 'axis': 'xz', 'rate': 0.01}},
        ),
        ('distances', {'temperature': [300, 300], 'steps': 1000, 'min_distances': {'Al-Al': 1.21}}),
        ('isotropic', {'temperature': [300, 300], 'steps': 1000, 'coupling': 'iso', 'timestep': 2.0, 'seed': 1}),
        ('gamma', {**cases.SHORT, 'temperature': [9, 9], 'gamma_select': 1.5, 'gamma_halt': 4, 'gamma_extreme': 8}),
    ],
    ids=['least', 'tilting', 'shear', 'distances', 'isotropic', 'gamma'],
)
def test_simulation(data_regression, file_regression, simulation, name, parameters):
    """Parameters that no program has by default."""
    prepared = simulation(parameters, bulk('Al', a=4.0) if name == 'tilting' else cases.CELL)
    data_regression.check({'folders': prepared.folders, **about(prepared)})
    file_regression.check(as_text(prepared.files), extension='.txt')


def test_slab(file_regression, simulation):
    """What has vacuum keeps its volume."""
    content = api.resolve({'system': {'elements': ['Al']}})
    slab = fcc111('Al', (2, 2, 3), vacuum=8.0, periodic=True)
    walkers = api.plan(content['explore'], [slab], ['Al'], 1, 1)
    file_regression.check(as_text(simulation(walkers[0]['parameters'], slab).files), extension='.txt')


@pytest.mark.parametrize('known', [True, False])
def test_restart(data_regression, file_regression, simulation, potential, codes, known):
    """A simulation that resumes, compared with the volume with which the former one began."""
    results = {'reference_volume_per_atom': 15.5} if known else {}
    restart = restart_file(potential, codes, **results)
    prepared = simulation({'temperature': [300, 600], 'steps': 1000, 'soft_start': 100}, restart=restart)
    data_regression.check({'folders': prepared.folders, **about(prepared)})
    file_regression.check(as_text(prepared.files), extension='.txt')


@pytest.fixture
def alloy_potential(aiida_profile, potential, tmp_path):
    """Return a node that says it is a potential of several elements, for scripts that need one; it fits nothing."""
    from aiida.plugins import DataFactory

    for name in ('potential.yaml', 'potential.yace', 'potential.asi', 'metadata.json'):
        (tmp_path / name).write_bytes((cases.POTENTIAL / name).read_bytes())
    metadata = json.loads((tmp_path / 'metadata.json').read_text())
    metadata['elements'] = ['Al', 'Cu']
    (pair,) = metadata['baseline']['pairs']
    pairs = (['Al', 'Al'], ['Al', 'Cu'], ['Cu', 'Cu'])
    metadata['baseline']['pairs'] = [{**pair, 'elements': elements} for elements in pairs]
    metadata['reference_energies'] = {'Al': 0.0, 'Cu': 0.0}
    (tmp_path / 'metadata.json').write_text(json.dumps(metadata))
    return DataFactory('pyacemaker.potential').from_directory(tmp_path).store()


def test_swap(data_regression, file_regression, prepare, codes, alloy_potential):
    """Atoms of an alloy change places, and the pairs of all elements are watched."""
    atoms = cases.CELL.copy()
    atoms.symbols[:4] = 'Cu'
    explore = {'programs': ['heat'], 'swap': {'every': 50, 'attempts': 10, 'temperature': 800.0}}
    content = api.resolve({'system': {'elements': ['Al', 'Cu']}, 'explore': explore})
    walker = api.plan(content['explore'], [atoms], ['Al', 'Cu'], 1, 42001)[0]
    assert walker['parameters']['swap']
    prepared = prepare(
        CalculationFactory('pyacemaker.lammps_pace'),
        code=codes['lammps'],
        potential=alloy_potential,
        structure=orm.StructureData(ase=atoms),
        parameters=orm.Dict(walker['parameters']),
    )
    data_regression.check(plain(walker))
    file_regression.check(as_text(prepared.files, leave=('SHA256SUMS',)), extension='.txt')


@pytest.mark.parametrize('program', list(cases.MELTINGS))
@pytest.mark.parametrize('lattice', ['fcc', 'bcc', 'hcp'])
def test_melting(data_regression, file_regression, prepare, codes, potential, configurations, program, lattice):
    """The script of each simulation of the search for a melting point, in boxes of different shape."""
    crystal = {'fcc': bulk('Al', a=4.0), 'bcc': bulk('Al', 'bcc', a=3.2), 'hcp': bulk('Al', 'hcp', a=2.9)}[lattice]
    keys, state = cases.MELTINGS[program]
    parameters = api.next_melting(keys, crystal, state)
    inputs = {'restart': restart_file(potential, codes)} if program == 'extend' else {}
    prepared = prepare(
        CalculationFactory('pyacemaker.lammps_melting'),
        code=codes['lammps'],
        potential=potential,
        crystal=configurations([crystal]),
        parameters=orm.Dict(parameters),
        **inputs,
    )
    found = {'parameters': plain(parameters)}
    if lattice == 'fcc':
        found['about'] = about(prepared)
    data_regression.check(found)
    # lattices differ in their boxes
    if lattice == 'fcc' or program == 'coexist':
        leave = () if program == 'coexist' else ('structure.data',)
        file_regression.check(as_text(prepared.files, leave), extension='.txt')


def test_no_melting():
    """What has no melting point that could be found is refused."""
    slab = fcc111('Al', (2, 2, 3), vacuum=8.0, periodic=True)
    skew = bulk('Al', a=4.0)
    skew.set_cell(np.array([[3.0, 0.1, 0.2], [0.7, 3.1, 0.3], [0.9, 0.5, 2.7]]), scale_atoms=True)
    assert api.melting_refusal({}, slab)
    assert api.melting_refusal({}, skew)


# The worker -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['pace_train', 'pace_select', 'pace_evaluate', 'pace_validate', 'teacher'])
def test_worker(data_regression, prepare, codes, configurations, potential, name):
    """The task file of each calculation of the worker."""
    inputs = cases.tasks(configurations, potential)[name]
    inputs |= {'parameters': orm.Dict(inputs['parameters'])} if 'parameters' in inputs else {}
    prepared = prepare(CalculationFactory(f'pyacemaker.{name}'), code=codes['worker'], **inputs)
    task = plain(json.loads(prepared.files.pop('task.json')))
    data_regression.check(
        {'task': task, 'files': sorted(prepared.files), 'folders': prepared.folders, 'about': about(prepared)}
    )


def test_train_continued(data_regression, prepare, codes, configurations, potential, tmp_path):
    """A fit that continues another one, in whose folder it finds rows."""
    inputs = cases.tasks(configurations, potential)['pace_train']
    inputs['parameters'] = orm.Dict(inputs['parameters'])
    remote = orm.RemoteData(computer=codes['worker'].computer, remote_path=str(tmp_path))
    prepared = prepare(
        CalculationFactory('pyacemaker.pace_train'),
        code=codes['worker'],
        potential=potential,
        parent_folder=remote,
        **inputs,
    )
    data_regression.check({'folders': prepared.folders, **about(prepared)})


def test_teacher_with_model(data_regression, prepare, codes, configurations, tmp_path):
    """A teacher with a model file."""
    (tmp_path / 'cu.eam').write_text('not a model\n')
    keys = {'elements': ['Cu'], 'pair_style': 'eam', 'pair_coeff': ['* * cu.eam']}
    teacher = {'calculator': 'lammps', 'model': 'cu.eam', 'parameters': keys}
    prepared = prepare(
        CalculationFactory('pyacemaker.teacher'),
        code=codes['worker'],
        configurations=configurations([bulk('Cu')]),
        model=orm.SinglefileData(tmp_path / 'cu.eam'),
        parameters=orm.Dict({'teacher': teacher}),
    )
    data_regression.check({'task': plain(json.loads(prepared.files['task.json'])), 'about': about(prepared)})


#: Parameters that are refused, and the key that has to be named.
REFUSED = [
    ('lammps_pace', {'steps': 100}, 'temperature'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'gamma_evry': 5}, 'gamma_evry'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 101}, 'steps'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'gamma_halt': 50, 'gamma_extreme': 5}, 'gamma_extreme'),
    ('lammps_pace', {'temperature': 300, 'steps': 100}, 'temperature'),
    ('lammps_pace', {'temperature': [0, 2], 'steps': 100}, 'temperature'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'swap': {'every': 1}}, 'swap'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'deform': {'kind': 'shear', 'axis': 'x', 'rate': 1}}, 'axis'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'min_distances': {'Al': 1}}, 'min_distances'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'ensemble': 'nve'}, 'ensemble'),
    ('lammps_pace', {'temperature': [1, 2], 'steps': 100, 'max_volume_ratio': 1.0}, 'max_volume_ratio'),
    ('lammps_melting', {'program': 'heat'}, 'temperature'),
    ('pace_train', {}, 'elements'),
    ('pace_train', {'elements': ['Xx']}, 'elements'),
    ('pace_train', {'elements': ['Al'], 'cutof': 5}, 'cutof'),
    ('pace_train', {'elements': ['Al'], 'cutoff': -1}, 'cutoff'),
    ('pace_train', {'elements': ['Al'], 'mode': 'cubic'}, 'mode'),
    ('pace_select', {'candidates': ['x']}, 'candidates'),
    ('pace_select', {'select_per_halt': -1}, 'select_per_halt'),
    ('pace_validate', {'properties': ['colour']}, 'properties'),
    ('pace_validate', {'settings': {'eos': {'points': 'many'}}}, 'eos.points'),
    ('teacher', {}, 'teacher'),
    ('teacher', {'teacher': {'calculator': 'emt'}, 'indices': [1, 1]}, 'indices'),
]


@pytest.mark.parametrize(('name', 'parameters', 'key'), REFUSED)
def test_refused(aiida_profile, name, parameters, key):
    """What is wrong is refused, and named."""
    message = api.refusal(name, parameters)
    assert key in message


# DFT ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['al', 'fe', 'fe_moments', 'nacl', 'slab', 'polar_slab', 'atom', 'large'])
def test_pw_input(file_regression, instantiate, prepare, codes, configurations, pseudos, name):
    """The input of pw.x, by the oracle and the work chain that heals."""
    atoms = cases.structures()[name]
    oracle = api.load_oracle({'oracle': 'qe', 'pseudo_family': pseudos, 'kpoints_distance': 0.3, 'degauss': 0.01})
    structure = api.make_structure(atoms, tagged=True)
    builder = oracle.get_builder(codes['pw'], configurations([atoms]), [0], structure, {})
    chain = instantiate(builder)
    steps = ('setup', 'validate_geometry', 'validate_pseudos', 'validate_kpoints', 'prepare_process')
    for step in steps:
        assert getattr(chain, step)() is None
    inputs = {key: value for key, value in chain.ctx.inputs.items() if key != 'parameters'}
    metadata = {'options': dict(inputs.pop('metadata').options)}
    parameters, settings = chain.ctx.inputs.parameters, inputs.pop('settings', None)
    inputs |= {'settings': orm.Dict(settings)} if settings else {}
    prepared = prepare(
        CalculationFactory('quantumespresso.pw'), parameters=orm.Dict(parameters), metadata=metadata, **inputs
    )
    text = prepared.files['aiida.in']
    if len(atoms) > 10:
        text = text[: text.index('ATOMIC_POSITIONS')] + text[text.index('K_POINTS') :]
    command = ' '.join(prepared.info.codes_info[0].cmdline_params)
    file_regression.check(f'{text}\n! {command}\n! {metadata["options"]["environment_variables"]}\n', extension='.in')


@pytest.mark.parametrize('name', ['al', 'alfe', 'fe', 'fe_moments', 'slab', 'polar_slab', 'atom', 'nacl'])
def test_incar(data_regression, name):
    """The tags of INCAR."""
    atoms = cases.structures()[name]
    section = {'potential_family': 'made up', 'incar': {'NCORE': 4, 'EDIFF': 1e-7}}
    found = {
        'usual': api.incar(atoms, section, 300.0, 'cold', 0.02, 'auto', True),
        'plain': api.incar(atoms, {'potential_family': 'x'}, 400.0, 'gaussian', 0.01, 'none', False),
    }
    data_regression.check(plain(found))
