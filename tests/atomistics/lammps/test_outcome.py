"""What LAMMPS left is read: whole, cut short, and when it says that something went wrong."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.atomistics.lammps.outcome import keep_arrays, read_checks, read_outcome, thin_out

HOT = {
    'steps': 300, 'thermo_every': 50, 'dump_every': 50, 'seed': 7, 'temperature': [3000, 3000], 'ensemble': 'nvt',
    'gamma_select': 2.0, 'gamma_halt': 4.0, 'halt_after': 2,
}  # fmt: skip
HEAD = 'LAMMPS (22 Jul 2025)\n'


def test_halt(simulate):
    """A halted simulation says why in a sentence, and its frames say what they are."""
    simulation = simulate(HOT)
    outcome = simulation.outcome
    results = outcome.results
    assert outcome.failure is None and results['halted'] and results['reason'] == 'gamma'
    assert results['gamma_threshold'] == 4.0 and results['wall_time_seconds'] > 0
    assert results['atom_steps_per_second'] > 0 and '20' in results['lammps_version']
    frame = outcome.halted
    assert frame.info['role'] == frame.info['family'] == 'halted' and frame.info['selected']
    assert results['atoms_above_select'] == (frame.arrays['gamma'] > 2.0).sum()
    assert results['temperature_final'] == pytest.approx(frame.info['temperature'])
    expected = f'gamma was above 4 on 2 checks in a row: {results["halt_value"]:.2f} at step {results["step"]} of 300'
    assert results['diagnosis'].startswith(expected) and results['diagnosis'].endswith('Al the worst')
    assert outcome.restart.is_file() and outcome.violation is None
    for atoms in outcome.trajectory:
        assert 0 < atoms.info['step'] < results['step'] and atoms.info['ended'] == 'gamma'
        assert atoms.info.get('selected', False) == (atoms.info['gamma_max'] > 2.0)
    assert all(
        len(values) == len(outcome.thermo['watch_step']) for name, values in outcome.thermo.items() if 'watch' in name
    )
    assert outcome.thermo['watch_step'][-1] == results['step']


def test_killed(simulate, tmp_path):
    """A simulation that was killed is a failure that says how far it came, wherever the files end."""
    simulation = simulate({**HOT, 'gamma_halt': 1e6})
    cut = simulation.content.index('Loop time')
    for name in (script.RESTART, script.LAST):
        (simulation.directory / name).unlink()
    checks = simulation.directory / script.WATCH
    text = checks.read_text()
    for end in (1, 30, len(text) // 2):
        checks.write_text(text[:-end])
        outcome = read_outcome(simulation.directory, simulation.dynamics, ['Al'], simulation.content[:cut])
        code, message = outcome.failure
        assert code == 'ERROR_INCOMPLETE' and 0 < int(message) <= 300
        assert outcome.results is None and len(outcome.thermo['watch_step']) > 5
    whole = read_outcome(simulation.directory, simulation.dynamics, ['Al'], simulation.content)
    assert whole.failure[0] == 'ERROR_OUTPUT_BROKEN' and 'restart file' in whole.failure[1]


def test_no_gamma(simulate):
    """Before November 2023 LAMMPS computed a gamma of zero: such a run is never taken for a safe one."""
    simulation = simulate({**HOT, 'gamma_halt': 1e6})
    path = simulation.directory / script.WATCH
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith('#')]
    path.write_text(''.join(' '.join([row[0], '0', *row[2:]]) + '\n' for row in rows))
    assert simulation.outcome.failure[0] == 'ERROR_NO_GAMMA'


@pytest.mark.parametrize(
    ('line', 'checks', 'code', 'reason'),
    (
        ('ERROR: Lost atoms: original 16 current 15 (src/thermo.cpp:494)', 2, None, 'lost_atoms'),
        ('ERROR on proc 0: Non-numeric atom coords - simulation unstable', 2, None, 'crashed'),
        ('ERROR: Non-numeric pressure - simulation unstable', 2, None, 'crashed'),
        ('ERROR on proc 3: Neighbor list overflow, boost neigh_modify one', 2, None, 'crashed'),
        ('ERROR: Domain too large for neighbor bins', 2, None, 'crashed'),
        # It broke before the potential had a say.
        ('ERROR: Non-numeric atom coords - simulation unstable', 0, 'ERROR_LAMMPS', None),
        ('ERROR: Illegal fix npt command', 2, 'ERROR_LAMMPS', None),
        (
            "ERROR: Unrecognized pair style 'pace/extrapolation' is part of the ML-PACE package",
            0,
            'ERROR_NO_ML_PACE',
            None,
        ),
        ('ERROR: Unknown pair style pace/extrapolation', 0, 'ERROR_NO_ML_PACE', None),
        ('', 2, 'ERROR_INCOMPLETE', None),
    ),
)
def test_errors(tmp_path, line, checks, code, reason):
    """What LAMMPS says went wrong: the potential's fault is an outcome, all else a failure."""
    rows = [f'{10 * k} 1.5 2 300 1.0 0 0\n' for k in range(checks)]
    (tmp_path / script.WATCH).write_text('# head\n' + ''.join(rows))
    thermo = '   Step   Temp   PotEng   Press   Volume\n 0 300 -1 0 256\n'
    outcome = read_outcome(tmp_path, WatchedDynamics(**HOT), ['Al'], f'{HEAD}{thermo}{line}\n')
    assert (outcome.failure or (None,))[0] == code
    assert (outcome.results or {}).get('reason') == reason
    if reason:
        assert outcome.results['step'] == 10 and outcome.results['gamma_max'] == 1.5
        assert line.split(' (')[0] in outcome.results['diagnosis'] and outcome.restart is None


def test_numbers_that_are_none(tmp_path):
    """A simulation that died of NaN is one that the potential broke."""
    (tmp_path / script.WATCH).write_text('0 1.5 2 300 1.0 0 0\n')
    thermo = '   Step   Temp   PotEng   Press   Volume\n 0 300 -1 0 256\n 50 nan nan nan 256\n'
    outcome = read_outcome(tmp_path, WatchedDynamics(**HOT), ['Al'], HEAD + thermo)
    assert outcome.results['reason'] == 'crashed' and 'not finite' in outcome.results['diagnosis']


def test_no_log(tmp_path):
    assert read_outcome(tmp_path, WatchedDynamics(**HOT), ['Al'], 'sh: lmp: not found').failure[0] == 'ERROR_NO_LOG'


def test_checks_of_a_running_simulation(tmp_path):
    """Each step counts once, with the last that was said of it; a line cut short is left out."""
    path = tmp_path / script.WATCH
    assert read_checks(path).shape == (0, 7)
    path.write_text('# head\n0 1 0 300 1 0 0\n10 2 0 310 1 0 0\n# head\n10 3 0 310 1 0 0\n20 4 0 3')
    checks = read_checks(path)
    assert checks[:, 0].tolist() == [0, 10] and checks[:, 1].tolist() == [1, 3]


def test_arrays_of_the_start_are_kept():
    """An atom that became another element has what that element had."""
    start = Atoms('Cu2Au2', positions=np.eye(4)[:, :3])
    start.set_array('oxidation_states', np.array([1.0, 1.0, 3.0, 3.0]))
    frame = Atoms('CuAuCuAu', positions=np.eye(4)[:, :3])
    keep_arrays(frame, start)
    assert frame.arrays['oxidation_states'].tolist() == [1, 3, 1, 3]
    assert 'magnetic_moments' not in frame.arrays
    other = Atoms('Cu')
    keep_arrays(other, start)
    assert 'oxidation_states' not in other.arrays


def test_thin_out():
    frames = list(range(10))
    assert thin_out(frames, 20) == frames
    assert thin_out(frames, 4) == [0, 3, 6, 9]
