"""A package of somebody else, with a plug-in for each socket, is installed; no file of ours knows of it.

It is installed into a folder of its own, as `pip install stranger` would do it into the environment, and everything
runs in processes that find it there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ase.io import read

REPOSITORY = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name('stranger')
COMMAND = str(Path(sys.prefix) / 'bin' / 'aiida-pyacemaker')

#: A tiny loop: the stranger's oracle labels the stranger's structures, the stranger's explorer explores, and the
#: stranger's property is judged.
RUNFILE = {
    'system': {'elements': ['Al']},
    'protocol': 'fast',
    'codes': {'worker': 'pyacemaker-worker@localhost', 'python': 'python@localhost'},
    'structures': {
        'helix': {'scales': [1.05, 1.15]},
        'eos': {'number': 3},
        'strain': {'number': 1},
        'shear': {'number': 1},
        'rattle': {'number': 8, 'amplitude': [0.05, 0.15], 'atoms': 4},
        'squeeze': {'number': 0},
        'vacancy': {'number': 0},
        'surface': {'number': 0},
        'test': {'number': 2},
    },
    'label': {'oracle': 'emt', 'emt': {'batch': 8}},
    'train': {'cutoff': 5.0, 'number_of_functions': 20, 'max_functions': None, 'production': None},
    'explore': {
        'explorer': 'walk',
        'walk': {'amplitude': 0.02},
        'walkers': 1,
        'atoms': 4,
        'stages': [{'name': 'long', 'share': 1.0}],
        'steps': 50,
        'temperature': [300, 900],
        'gamma_halt': 3.0,
    },
    'embed': {'candidates_per_halt': 5, 'select_per_halt': 2},
    'validate': {
        'energy_rmse': 0.1,
        'force_rmse': 0.5,
        'test_per_round': 1,
        'train_per_round': 1,
        'properties': ['eos', 'bond'],
        'bond': {'reach': 5.0},
    },
    'budget': {'max_iterations': 2},
}

LOOP = """\
import sys
from pathlib import Path

from aiida import load_profile, orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory

from aiida_pyacemaker import load_runfile
from aiida_pyacemaker.setup.codes import ensure_code, ensure_computer
from aiida_pyacemaker.setup.engines import find_worker
from aiida_pyacemaker.setup.profile import ensure_profile

profile, _ = ensure_profile('stranger')
profile.set_option('runner.poll.interval', 1)
load_profile('stranger', allow_switch=True)
computer = ensure_computer()[0]
computer.set_minimum_job_poll_interval(0)
ensure_code('pyacemaker-worker', find_worker, computer, exact=False)
orm.InstalledCode(
    label='python', computer=computer, filepath_executable=sys.executable, default_calc_job_plugin='stranger.walk'
).store()
builder = WorkflowFactory('pyacemaker.active_learning').get_builder_from_runfile(load_runfile(Path(sys.argv[1])))
_, node = run_get_node(builder)
print('ended', node.pk, node.exit_status, node.exit_message)
"""


@pytest.fixture(scope='session')
def stranger(make_once, tmp_path_factory) -> dict[str, str]:
    """Return an environment in which the stranger's package is installed, with no AiiDA profile."""

    def install(folder: Path) -> None:
        source = folder / 'source'
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns('__pycache__', 'build', '*.egg-info'))
        options = ['--no-deps', '--no-index', '--no-build-isolation', '--quiet', '--target', str(folder / 'site')]
        subprocess.run([sys.executable, '-m', 'pip', 'install', *options, str(source)], check=True)

    site = make_once('stranger', install)[0] / 'site'
    paths = [str(site), *filter(None, [os.environ.get('PYTHONPATH')])]
    aiida = tmp_path_factory.mktemp('stranger')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'AIIDA_PATH': str(aiida)}


@pytest.fixture
def call(stranger, tmp_path):
    """Return a function that runs a command in an empty folder and returns what it prints."""

    def function(*command: str | Path, status: int = 0) -> str:
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, env=stranger, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return function


@pytest.fixture
def runfile(tmp_path) -> Path:
    """Return the run file of the tiny loop."""
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(RUNFILE))
    return path


def test_conformance(call):
    """All four plug-ins pass the tests that ours pass."""
    call(
        sys.executable,
        '-c',
        'from aiida_pyacemaker.testing.explorers import check_explorer\n'
        'from aiida_pyacemaker.testing.families import check_family\n'
        'from aiida_pyacemaker.testing.oracles import check_oracle\n'
        'from aiida_pyacemaker.testing.properties import check_property\n'
        'from stranger.bond import BondProperty\n'
        "check_family('helix', ['Al'])\n"
        "check_explorer('walk', {'gamma_halt': 3.0})\n"
        "check_oracle('emt')\n"
        'check_property(BondProperty)\n',
    )


def test_run_file_knows_the_sections(call, runfile):
    """The keys are checked and explained like ours."""
    script = 'import sys; from aiida_pyacemaker import load_runfile; print(load_runfile(sys.argv[1]).to_dict())'
    resolved = call(sys.executable, '-c', script, runfile)
    assert "'helix': {" in resolved and "'walk': {'amplitude': 0.02}" in resolved
    runfile.write_text(yaml.safe_dump({**RUNFILE, 'structures': {'helix': {'vacum': 8.0}}}))
    script = (
        'import sys; from aiida_pyacemaker import RunFileError, load_runfile\n'
        'try: load_runfile(sys.argv[1])\nexcept RunFileError as exception: print(exception)'
    )
    message = call(sys.executable, '-c', script, runfile)
    assert 'structures.helix.vacum' in message and 'vacuum' in message


def test_generate(call, runfile, tmp_path):
    """Structures of the family are made without AiiDA."""
    call(COMMAND, 'generate', runfile, '-o', 'structures.extxyz')
    frames = read(tmp_path / 'structures.extxyz', ':')
    assert any(atoms.info['family'] == 'helix' and atoms.info['reason'].startswith('wire of Al') for atoms in frames)


def test_validate(call, tmp_path):
    """The property is computed, judged, shown and cited."""
    output = call(COMMAND, 'validate', 'emt', '--elements', 'Al', '--properties', 'eos,bond', '-o', 'found')
    assert 'PASS' in output
    report = (tmp_path / 'found' / 'validation_report.html').read_text()
    for text in ('Nearest neighbours', 'The shortest bond is 2.8', 'length of the shortest bond', 'B. Cordero'):
        assert text in report


def test_doctor(call):
    """Codes that only a plug-in runs are asked for by name."""
    call(sys.executable, '-c', "from aiida_pyacemaker.setup.profile import ensure_profile; ensure_profile('doctor')")
    call(COMMAND, 'setup', 'computer', '--profile', 'doctor')
    output = call(COMMAND, 'doctor', '--profile', 'doctor', status=1)
    assert 'python@localhost' in output and 'A Python that has this package' in output


def test_reference(call):
    """The reference of the run file, written by the build of the documentation, has the sections and their keys."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import generate_reference as g; print('\\n'.join(g.run_file()))"
    )
    pages = call(sys.executable, '-c', script, REPOSITORY / 'docs' / '_ext')
    for key in ('structures.helix.scales', 'label.emt.batch', 'explore.walk.amplitude', 'validate.bond.reach'):
        assert f'| `{key}` |' in pages
    assert 'codes.python' in pages and 'bond_deviation' in pages


def test_loop(call, runfile, lammps_engine):
    """A loop with a real fit runs with all four; status, report and lineage tell of them."""
    script = runfile.with_name('loop.py')
    script.write_text(LOOP)
    ended = call(sys.executable, script, runfile).splitlines()[-1].split()
    assert ended[0] == 'ended' and ended[2] == '0', ended
    options = [ended[1], '--profile', 'stranger']
    status = call(COMMAND, 'status', *options)
    assert 'walker 0 (long walk): step 50 of 50' in status and 'all 4 checks are met' in status
    call(COMMAND, 'report', *options, '-o', 'report')
    assert 'Nearest neighbours' in (runfile.parent / 'report' / 'validation_report.html').read_text()
    assert 'TeacherCalculation' in call(COMMAND, 'lineage', *options)
