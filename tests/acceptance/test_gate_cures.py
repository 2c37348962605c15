"""Bad potentials fail for the right reason, and what the gate asks for cures them; a good one passes (`-m slow`)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import REPOSITORY


@pytest.fixture(scope='module')
def rounds() -> dict[str, list[dict[str, str]]]:
    """Return the table of the benchmark, by potential."""
    script = REPOSITORY / 'tests' / 'benchmarks' / 'bench_gate.py'
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    table = [[cell.strip() for cell in line.strip('|').split('|')] for line in done.stdout.splitlines() if '|' in line]
    rows = [dict(zip(table[0], row, strict=True)) for row in table[2:]]
    return {name: [row for row in rows if row['potential'] == name] for name in {row['potential'] for row in rows}}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['five structures', 'hole', 'imaginary mode'])
def test_a_bad_potential_is_cured(rounds, name):
    """It fails by the fault that it was given, and one round of what is asked for removes that fault."""
    first, second, *_ = rounds[name]
    assert first['verdict'] == 'FAIL' and first['expected fault'].endswith('there')
    assert second['expected fault'].endswith('no')
    assert rounds[name][-1]['verdict'] != 'FAIL'


@pytest.mark.slow
def test_a_good_potential_passes(rounds):
    (only,) = rounds['good']
    assert only['verdict'] == 'PASS'
