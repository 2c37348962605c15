"""The example of distilling, as a newcomer runs it: SevenNet in an environment of its own (`pytest -m slow`)."""

from __future__ import annotations

import re
import time

import pytest

TIME_LIMIT = 20 * 60


@pytest.fixture(scope='module')
def teacher_python(newcomer) -> str:
    """Return the Python of an environment that has the teachers and our package."""
    folder = newcomer.clone / '.venv-teacher'
    newcomer.run('bash', '-c', f'VENV="{folder}"; source setup_profiles/environment.sh; make_environment teachers')
    return str(folder / 'bin' / 'python')


@pytest.mark.slow
def test_distill(newcomer, teacher_python):
    """One command: a potential within the criteria that is orders of magnitude faster than its teacher."""
    newcomer.run('bash', 'setup_profiles/quickstart.sh', '--setup-only')
    newcomer.run('aiida-pyacemaker', 'setup', 'codes', '--teacher-python', teacher_python)
    start = time.monotonic()
    printed = newcomer.run('python', 'examples/distill/distill.py').stdout
    print(printed)
    assert time.monotonic() - start < TIME_LIMIT

    (errors,) = re.findall(r'^all +\d+ +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)$', printed, re.MULTILINE)
    energy_rmse, _, force_rmse, _, forces = map(float, errors)
    assert energy_rmse < 5
    assert force_rmse < min(100, 0.15 * forces)
    costs = re.findall(r'^ +(32|108|256) +(\d+) +(\d+) +(\d+)$', printed, re.MULTILINE)
    assert len(costs) == 3
    assert all(int(faster) > 50 for *_, faster in costs)
