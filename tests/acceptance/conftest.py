"""A newcomer's machine: a fresh clone, an empty AIIDA_PATH, and nothing of the environment that runs the tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Newcomer:
    """A clone and the environment to run its commands in."""

    clone: Path
    environment: dict[str, str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command in the clone; names that its environment has are taken from there."""
        own = self.clone / '.venv' / 'bin' / command[0]
        first = str(own) if own.exists() else command[0]
        result = subprocess.run(
            [first, *command[1:]], cwd=self.clone, env=self.environment, capture_output=True, text=True
        )
        assert not check or result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
        return result

    def python(self, script: str) -> str:
        """Run Python code with the profile loaded, and return what it prints."""
        path = self.clone.parent / 'script.py'
        path.write_text(script)
        return self.run('verdi', '-p', 'pyacemaker', 'run', str(path)).stdout


@pytest.fixture(scope='session')
def newcomer(tmp_path_factory):
    """Return a fresh clone with nothing set up; its daemon is stopped in the end."""
    folder = tmp_path_factory.mktemp('newcomer')
    clone = folder / 'aiida-pyacemaker'
    subprocess.run(['git', 'clone', '-q', str(REPOSITORY), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ('VIRTUAL_ENV', 'LAMMPS_PLUGIN_PATH')}
    machine = Newcomer(clone, {**environment, 'AIIDA_PATH': str(folder / 'aiida')})
    yield machine
    machine.run('verdi', '-p', 'pyacemaker', 'daemon', 'stop', check=False)
