"""Tests of what the texts of pw.x say about a failure, and of the steps of the ladder."""

from __future__ import annotations

import math

import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.labelling.healing import (
    find_overlap,
    next_diagonalization,
    next_mixing_beta,
    read_accuracies,
    read_failure,
    read_negative_density,
    read_version,
)

RULE = ' ' + 78 * '%'


def stopped(routine: str, message: str) -> str:
    """Return how pw.x writes that it stops."""
    return f'{RULE}\n     Error in routine {routine} (1):\n     {message}\n{RULE}\n\n     stopping ...\n'


@pytest.mark.parametrize(
    ('routine', 'message', 'kind'),
    [
        ('readpp', 'file ./pseudo/Al.upf not readable', 'pseudopotential'),
        ('setup', 'too few bands', 'bands'),
        ('check_atoms', 'atoms #   1 and #   2 overlap!', 'geometry'),
        ('mp_start_pools', 'invalid number of pools, out of range', 'pools'),
        ('electrons', 'charge is wrong: smearing is needed', 'occupations'),
        ('davcio', 'error while writing from file "./out/aiida.wfc1"', 'disk'),
        (' set_occupations', ' smearing colder unknown', ''),
    ],
)
def test_own_words(routine, message, kind):
    """What pw.x 6.7 writes when it stops is told apart, wherever it is written, and its reason is kept."""
    for texts in ({'stdout': stopped(routine, message)}, {'crash': stopped(routine, message)}):
        failure = read_failure(**texts)
        assert failure.kind == kind
        assert ' '.join(message.split()) in failure.message


@pytest.mark.parametrize(
    ('stderr', 'kind'),
    [
        ("In file 'scf_mod.f90', line 138: Error allocating 9818320 bytes: Cannot allocate memory", 'memory'),
        ('slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0', 'memory'),
        ('At line 761 of file xmltools.f90\nFortran runtime error: End of file', 'pseudopotential'),
        ('forrtl: No space left on device', 'disk'),
        ('_aiidasubmit.sh: line 9: 12345 Killed  pw.x -in aiida.in', ''),
    ],
)
def test_words_of_others(stderr, kind):
    """The reason may stand only in what the scheduler or the Fortran library says; a mere kill is no reason."""
    failure = read_failure(stdout='     Estimated max dynamical RAM per process > 40 MB\n', stderr=stderr)
    assert failure.kind == kind
    assert bool(failure.message) == bool(kind)


def test_numbers():
    """Accuracies, also those too large to print; the negative density of the last step, not of the start."""
    text = (
        '     Program PWSCF v.6.7MaX starts on\n'
        '     negative rho (up, down):  5.998E-01 3.999E-01\n'
        '     iteration #  1\n     estimated scf accuracy    <  ************ Ry\n'
        '     iteration #  2\n     negative rho (up, down):  1.000E-02 2.000E-02\n'
        '     estimated scf accuracy    <          4.2E-09 Ry\n'
    )
    assert read_version(text) == (6, 7)
    assert read_accuracies(text) == [math.inf, 4.2e-09]
    assert read_negative_density(text) == pytest.approx(0.03)
    assert read_negative_density(text.partition('iteration')[0]) == 0
    assert read_version('') == (0, 0)


def test_mixing_goes_down():
    """From whatever the input has, in steps that are worth a calculation."""
    assert [next_mixing_beta(beta) for beta in (1.5, 0.7, 0.4, 0.3, 0.1, 0.05)] == [0.7, 0.3, 0.1, 0.1, None, None]


def test_diagonalizations_of_the_version():
    """Only what this pw.x has, each once."""
    assert next_diagonalization(['david'], (0, 0)) == 'cg'
    assert next_diagonalization(['david', 'cg'], (6, 1)) is None
    assert next_diagonalization(['david', 'cg'], (6, 7)) == 'ppcg'
    assert next_diagonalization(['david', 'cg', 'ppcg'], (7, 4)) == 'paro'
    assert next_diagonalization(['david', 'cg', 'ppcg', 'paro'], (7, 4)) is None


def test_overlap():
    """Atoms in the same place, images included, and cells that are none; a hard collision is a structure."""
    assert find_overlap(bulk('Al')) is None
    assert find_overlap(Atoms('Al2', [[0, 0, 0], [1.5, 0, 0]], cell=[8, 8, 8], pbc=True)) is None
    assert find_overlap(Atoms('H2', [[0, 0, 0], [0.74, 0, 0]], cell=[8, 8, 8], pbc=True)) is None
    message = find_overlap(Atoms('AlFe', [[0.1, 0, 0], [7.9, 0, 0]], cell=[8, 8, 8], pbc=True))
    assert 'Al (atom 0) and Fe (atom 1) are 0.20 Å apart' in message
    assert 'volume' in find_overlap(Atoms('Al', cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True))
    assert 'finite' in find_overlap(Atoms('Al', [[math.nan, 0, 0]], cell=[4, 4, 4], pbc=True))
    assert find_overlap(Atoms('Al', cell=[0.3, 4, 4], pbc=True)) is not None
