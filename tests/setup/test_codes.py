"""The computer and the codes."""

from __future__ import annotations

import shutil
import sys

import pytest
from aiida import orm

from aiida_pyacemaker.setup import checks, codes, engines


@pytest.fixture(autouse=True)
def clean(aiida_profile_clean):
    """Start from an empty profile."""


def test_computer():
    """The computer is made once, configured, without waiting times, with the full path of mpirun."""
    computer, new = codes.ensure_computer()
    assert new
    assert computer.is_configured
    assert computer.get_mpirun_command()[0] == engines.find_mpirun()
    assert computer.get_configuration()['safe_interval'] == 0
    assert computer.get_minimum_job_poll_interval() == 1
    again, new = codes.ensure_computer()
    assert not new
    assert again.pk == computer.pk


def test_computer_unconfigured():
    """A computer that was set up but not configured, as after an interruption, is completed."""
    computer = orm.Computer('localhost', 'localhost', '', 'core.local', 'core.direct', '/tmp').store()
    assert not computer.is_configured
    assert codes.ensure_computer()[1] is False
    assert orm.load_computer('localhost').is_configured


def test_code(pw_engine):
    """A code is made once; one that the user did not name again stays as it is."""
    computer, _ = codes.ensure_computer()
    code, status = codes.ensure_code('pw', lambda: pw_engine, computer, exact=False)
    assert status == 'created'
    assert orm.load_code('pw@localhost').uuid == code.uuid
    assert code.default_calc_job_plugin == 'quantumespresso.pw'
    assert code.prepend_text == pw_engine.prepend_text
    other = engines.Engine('pw.x', pw_engine.executable.parent / 'other', '1')
    again, status = codes.ensure_code('pw', lambda: other, computer, exact=False)
    assert status == 'already there'
    assert again.pk == code.pk


@pytest.mark.parametrize('exact', [True, False])
def test_code_replaced(pw_engine, fake_executable, exact):
    """A code gives up its label if the user names another engine, or if its executable is gone; it is not lost."""
    computer, _ = codes.ensure_computer()
    old_path = fake_executable('pw.x', f'exec "{pw_engine.executable}" "$@"')
    old, _ = codes.ensure_code('pw', lambda: engines.find_pw(old_path), computer, exact=True)
    if not exact:
        old_path.unlink()
    new, status = codes.ensure_code('pw', lambda: pw_engine, computer, exact=exact)
    assert status == 'replaced'
    assert orm.load_code('pw@localhost').pk == new.pk
    assert orm.load_code(f'pw-{old.pk}@localhost').pk == old.pk


def test_probe_code(pw_engine, lammps_engine, fake_executable):
    """Codes are run as their jobs run them: with their environment, whatever is in their path."""
    computer, _ = codes.ensure_computer()
    path = fake_executable("it's pw.x", f'exec "{pw_engine.executable}" "$@"')
    pw, _ = codes.ensure_code('pw', lambda: engines.find_pw(path), computer, exact=True)
    assert pw_engine.version in checks.probe_code(pw, engines.probe_pw)
    lammps, _ = codes.ensure_code('lammps', lambda: lammps_engine, computer, exact=True)
    assert str(lammps_engine.executable) in checks.probe_code(lammps, engines.probe_lammps)
    path.unlink()
    with pytest.raises(engines.EngineError, match='does not exist'):
        checks.probe_code(pw, engines.probe_pw)


def test_teacher_code():
    """The teacher is the worker of another Python environment; one without our package is refused with the remedy."""
    computer, _ = codes.ensure_computer()
    code, status = codes.ensure_code(
        'pyacemaker-teacher', lambda: engines.find_worker(sys.executable), computer, exact=True
    )
    assert status == 'created' and code.default_calc_job_plugin == 'pyacemaker.teacher'
    system = shutil.which('python3', path='/usr/bin:/bin')
    with pytest.raises(engines.EngineError, match='-m pip install aiida-pyacemaker'):
        engines.find_worker(system)
