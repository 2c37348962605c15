"""The complete main job as a newcomer runs it: fresh clone, empty AIIDA_PATH, one command (`pytest -m slow`)."""

from __future__ import annotations

import json
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 25 * 60


@pytest.fixture(scope='module')
def main_job(tmp_path_factory):
    """Run the quickstart of a fresh clone twice, and return the folder, the environment, both times and outputs."""
    folder = tmp_path_factory.mktemp('newcomer')
    clone = folder / 'aiida-pyacemaker'
    subprocess.run(['git', 'clone', '-q', str(REPOSITORY), str(clone)], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ('VIRTUAL_ENV', 'LAMMPS_PLUGIN_PATH')}
    environment['AIIDA_PATH'] = str(folder / 'aiida')
    runs = []
    for _ in range(2):
        start = time.monotonic()
        result = subprocess.run(
            ['bash', 'setup_profiles/quickstart.sh'], cwd=clone, env=environment, capture_output=True, text=True
        )
        runs.append((time.monotonic() - start, result))
    yield clone, environment, runs
    subprocess.run([clone / '.venv/bin/verdi', '-p', 'pyacemaker', 'daemon', 'stop'], env=environment, check=False)


@pytest.mark.slow
def test_main_job(main_job):
    """One command ends with a converged potential in time; a second takes seconds and says there is nothing to do."""
    _, _, ((first, one), (second, two)) = main_job
    assert one.returncode == 0, one.stdout[-5000:] + one.stderr[-5000:]
    assert first < TIME_LIMIT
    assert 'in.lammps' in one.stdout
    assert two.returncode == 0, two.stdout[-5000:] + two.stderr[-5000:]
    assert second < 30


@pytest.mark.slow
def test_potential_against_dft(main_job):
    """The potential agrees with the DFT that made it, and atoms never collapse."""
    clone, environment, _ = main_job
    script = REPOSITORY / 'tests' / 'acceptance' / 'check_potential.py'
    command = [clone / '.venv/bin/verdi', '-p', 'pyacemaker', 'run', str(script)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-5000:]
    measured = json.loads(result.stdout.splitlines()[-1])
    print(json.dumps(measured, indent=1))

    assert abs(measured['lattice_constant']['error_percent']) < 0.5
    assert abs(measured['bulk_modulus']['error_percent']) < 10
    assert measured['energy_rmse'] < 0.005
    assert measured['force_rmse'] < 0.05
    energies = measured['pair']['energies']
    # Distances go from 2.8 Å down to 0.8 Å: below 2 Å each step inwards costs energy, and much of it in the end.
    assert all(inner > outer for outer, inner in pairwise(energies[8:]))
    assert energies[-1] > 20
