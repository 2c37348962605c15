"""The complete main job as a newcomer runs it: one command, then the potential against DFT (`pytest -m slow`)."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest

from .conftest import REPOSITORY

TIME_LIMIT = 25 * 60


@pytest.fixture(scope='module')
def main_job(newcomer):
    """Run the quickstart twice, and return the time and the result of each."""
    runs = []
    for _ in range(2):
        start = time.monotonic()
        result = newcomer.run('bash', 'setup_profiles/quickstart.sh', check=False)
        runs.append((time.monotonic() - start, result))
    return runs


@pytest.mark.slow
def test_main_job(main_job):
    """One command ends with a converged potential in time; a second takes seconds and says there is nothing to do."""
    (first, one), (second, two) = main_job
    assert one.returncode == 0, one.stdout[-5000:] + one.stderr[-5000:]
    assert first < TIME_LIMIT
    assert 'in.lammps' in one.stdout
    assert two.returncode == 0, two.stdout[-5000:] + two.stderr[-5000:]
    assert second < 30


@pytest.mark.slow
def test_potential_against_dft(main_job, newcomer):
    """The potential agrees with the DFT that made it, and atoms never collapse."""
    script = REPOSITORY / 'tests' / 'acceptance' / 'check_potential.py'
    result = newcomer.run('verdi', '-p', 'pyacemaker', 'run', str(script))
    measured = json.loads(result.stdout.splitlines()[-1])
    print(json.dumps(measured, indent=1))

    assert abs(measured['lattice_constant']['error_percent']) < 0.5
    assert abs(measured['bulk_modulus']['error_percent']) < 10
    assert measured['energy_rmse'] < 0.005
    assert measured['force_rmse'] < 0.05
    # Distances go from 2.8 Å down to 0.8 Å: below 2 Å each step inwards costs energy, and much of it in the end.
    energies = measured['pair']['energies']
    assert all(inner > outer for outer, inner in pairwise(energies[8:]))
    assert energies[-1] > 20
