"""Simulations under the watch, on the real engine: what halts them, what they remember, what is computed when."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.atomistics.lammps.files import read_dump

SHORT = {'steps': 300, 'thermo_every': 50, 'dump_every': 50, 'seed': 7}
#: Never halts, never looks twice.
COLD = {**SHORT, 'temperature': [100, 300], 'gamma_halt': 1e6}
#: A melt that the potential does not know.
HOT = {**SHORT, 'temperature': [3000, 3000], 'ensemble': 'nvt', 'gamma_select': 2.0, 'gamma_halt': 4.0}


def test_gamma_is_computed_rarely_while_it_is_low(simulate):
    outcome = simulate(COLD).outcome
    assert outcome.failure is None and outcome.results['reason'] == 'completed'
    # dense at the start, until it was calm for five checks
    assert outcome.thermo['watch_step'].tolist() == [0, 10, 20, 30, 40, 50, 100, 150, 200, 250, 300]
    assert (outcome.thermo['watch_gamma_max'] > 0).all()
    assert [atoms.info['step'] for atoms in outcome.trajectory] == [50, 100, 150, 200, 250, 300]


def test_gamma_is_computed_densely_while_it_is_high(simulate):
    first = simulate({**HOT, 'gamma_halt': 1e6}).outcome
    # A threshold that is crossed on the way, by what was seen on the way.
    steps, gamma = first.thermo['watch_step'], first.thermo['watch_gamma_max']
    assert steps.tolist() == list(range(0, 301, 10)) and gamma.max() > 10
    calm = simulate({**COLD, 'gamma_select': 0.877}).outcome
    steps, gamma = calm.thermo['watch_step'], calm.thermo['watch_gamma_max']
    for step, value, following in zip(steps, gamma, steps[1:], strict=False):
        if value > 0.877:
            assert following == step + 10
    assert 50 in np.diff(steps) and (gamma > 0.877).sum() > 3
    selected = [atoms for atoms in calm.trajectory if atoms.info.get('selected')]
    assert [atoms.info['step'] for atoms in selected] == [step for step in steps[gamma > 0.877] if step > 0]
    assert all(atoms.info['gamma_max'] > 0.877 for atoms in selected)


def test_halt_after_checks_in_a_row(simulate):
    often = {**HOT, 'gamma_halt': 1e6}
    outcome = simulate(often).outcome
    steps, high = outcome.thermo['watch_step'], outcome.thermo['watch_gamma_max'] > 4.0
    for number in (1, 2, 4):
        halted = simulate({**HOT, 'halt_after': number, 'gamma_extreme': 1e6}).outcome
        expected = next(k for k in range(number - 1, len(high)) if high[k - number + 1 : k + 1].all())
        assert halted.results['reason'] == 'gamma' and halted.results['step'] == steps[expected]
        assert halted.halted.info['step'] == halted.results['step'] and not halted.results['extreme']


def test_an_extreme_gamma_halts_at_once(simulate):
    outcome = simulate({**HOT, 'halt_after': 1000, 'gamma_extreme': 8.0}).outcome
    gamma = outcome.thermo['watch_gamma_max']
    assert outcome.results['extreme'] and outcome.results['reason'] == 'gamma'
    assert gamma[-1] > 8.0 and (gamma[:-1] <= 8.0).all()
    assert outcome.results['halt_value'] == pytest.approx(outcome.halted.info['gamma_max'], rel=1e-6)
    assert 'far from what the potential knows' in outcome.results['diagnosis']


def test_gamma_and_energy_are_those_of_python(simulate, al):
    """Also where gamma is computed rarely, and in a resumed simulation."""
    simulation = simulate({**COLD, 'dump_every': 100})
    outcome = simulation.outcome
    assert [atoms.info['step'] for atoms in outcome.trajectory] == [100, 200, 300]
    gamma = dict(zip(outcome.thermo['watch_step'], outcome.thermo['watch_gamma_max'], strict=True))
    for atoms, expected in zip(outcome.trajectory, al.gamma(outcome.trajectory), strict=True):
        np.testing.assert_allclose(atoms.arrays['gamma'], expected, rtol=1e-5)
        assert gamma[atoms.info['step']] == pytest.approx(expected.max(), rel=1e-5)
    last = outcome.trajectory[-1]
    last.calc = al.calculator()
    energy = last.get_potential_energy() - len(last) * al.reference_energies['Al']
    assert energy == pytest.approx(outcome.thermo['potential_energy'][-1], rel=1e-6)


def test_resumed_is_never_broken(simulate):
    """A ramp that is broken and resumed is the ramp that was not: thermostat, barostat and schedule go on."""
    # The mass of LAMMPS's barostat is that of the temperature where a run begins, so only the pressure ramps.
    ramp = {**COLD, 'temperature': [300, 300], 'pressure': [0, 5], 'soft_start': 0}
    whole = simulate(ramp).outcome
    half = simulate({**ramp, 'gamma_halt': 1e-6, 'gamma_extreme': 1e6, 'halt_after': 11})
    assert half.outcome.results['step'] == 100
    resumed = simulate(ramp, resume=half)
    outcome = resumed.outcome
    assert outcome.thermo['step'][0] == outcome.results['start_step'] == 100
    for name in ('temperature', 'potential_energy', 'volume'):
        assert outcome.thermo[name][-1] == pytest.approx(whole.thermo[name][-1], rel=1e-5)
    assert 'fix style: npt, fix ID: dynamics' in resumed.content
    last, expected = outcome.trajectory[-1], whole.trajectory[-1]
    np.testing.assert_allclose(last.get_all_distances(mic=True), expected.get_all_distances(mic=True), atol=1e-4)


def test_soft_start_takes_up_a_jump_in_energy(simulate, cell):
    """A resumed simulation whose potential says something else is brought back to the thermostat in a few steps."""
    parameters = {**COLD, 'temperature': [300, 300], 'ensemble': 'nvt', 'steps': 200, 'gamma_every': 10}
    start = simulate({**parameters, 'gamma_halt': 1e-6, 'gamma_extreme': 1e6, 'halt_after': 1})
    assert start.outcome.results['step'] == 10
    deviation = {}
    for soft in (0, 50):
        # As another potential may do: the atoms are kicked.
        resumed = simulate(
            {**parameters, 'soft_start': soft},
            resume=start,
            edit=lambda text: text.replace('label watch', 'velocity all scale 1500\nlabel watch', 1),
        ).outcome
        assert resumed.thermo['watch_temperature'][0] == pytest.approx(1500)
        deviation[soft] = abs(resumed.thermo['watch_temperature'] - 300)[2:].max()
    assert deviation[50] < 0.5 * deviation[0]


def test_soft_start_ends(simulate):
    parameters = {**COLD, 'steps': 100}
    start = simulate({**parameters, 'gamma_halt': 1e-6, 'gamma_extreme': 1e6, 'halt_after': 1})
    for soft, runs in ((15, [20, 70]), (500, [90])):
        resumed = simulate({**parameters, 'soft_start': soft, 'gamma_every': 10}, resume=start)
        loops = [int(line.split()[8]) for line in resumed.content.splitlines() if line.startswith('Loop time of')]
        assert loops == runs
        assert ('unfix soft' in resumed.content) == (soft == 15) or resumed.outcome.results['reason'] == 'completed'


def test_volume(simulate):
    """A cell that boils away halts by its volume, whatever gamma says, and is no frame to learn."""
    parameters = {**SHORT, 'temperature': [300, 300], 'pressure': [-30, -30], 'steps': 2000, 'gamma_halt': 1e12}
    parameters['dump_every'] = 10
    parameters['gamma_every'] = 10
    outcome = simulate({**parameters, 'max_volume_ratio': 1.1}).outcome
    assert outcome.results['reason'] == 'volume' and outcome.results['halt_value'] > 1.1
    assert outcome.halted is None and outcome.restart is None
    assert outcome.violation.get_volume() / 16 > 1.1 * 16
    assert {atoms.info['ended'] for atoms in outcome.trajectory} == {'volume'}
    small = simulate({**parameters, 'max_volume_ratio': 1.1, 'reference_volume_per_atom': 10.0}).outcome
    assert (small.results['reason'], small.results['step']) == ('volume', 10)


def test_temperature(simulate, cell):
    """A cell that heats up by itself halts by its temperature, but not before it had time to settle."""
    cell.rattle(0.3, seed=1)
    parameters = {**SHORT, 'ensemble': 'nvt', 'temperature': [1, 1], 'steps': 1000, 'gamma_halt': 1e12, 'timestep': 0.1}
    outcome = simulate(parameters, cell).outcome
    assert outcome.results['reason'] == 'temperature' and outcome.results['halt_value'] > 5
    assert outcome.results['step'] > script.SETTLING_STEPS


def test_overlap(simulate):
    """Atoms that come too close end it, and the frame is a violation."""
    outcome = simulate({**HOT, 'gamma_halt': 1e6, 'min_distances': {'Al-Al': 2.3}}).outcome
    assert outcome.results['reason'] == 'overlap' and outcome.results['halt_value'] < 2.3
    distances = outcome.violation.get_all_distances(mic=True) + 10 * np.eye(16)
    assert distances.min() == pytest.approx(outcome.results['halt_value'], abs=1e-6)
    assert 'Al-Al came as close as' in outcome.results['diagnosis']
    assert outcome.halted is None and outcome.restart is None and outcome.violation.info['role'] == 'violation'


def test_distances_are_those_of_the_pair(simulate, alloy):
    """Each pair has a limit of its own, whatever the order in which it is written."""
    atoms = bulk('Al', 'fcc', a=3.8, cubic=True).repeat(2)
    atoms.numbers[::2] = 29
    # Of the first shell, 2.69 Å, only unlike neighbours are forbidden.
    parameters = {**COLD, 'temperature': [1, 1], 'ensemble': 'nvt', 'steps': 100}
    for pair in ('Al-Cu', 'Cu-Al'):
        outcome = simulate({**parameters, 'min_distances': {pair: 2.8}}, atoms, potential=alloy).outcome
        assert outcome.results['reason'] == 'overlap' and outcome.results['diagnosis'].startswith('Al-Cu')
    ordered = atoms.copy()
    ordered.numbers[:] = 13
    ordered.numbers[0] = 29
    outcome = simulate({**parameters, 'min_distances': {'Cu-Cu': 2.8}}, ordered, potential=alloy).outcome
    assert outcome.results['reason'] == 'completed'


@pytest.mark.parametrize(('timestep', 'temperature'), ((50, 6000), (30, 3000)))
def test_a_simulation_that_flies_apart_is_an_outcome(simulate, timestep, temperature):
    """Its frames before that are kept."""
    off = {'gamma_halt': 1e30, 'max_temperature_ratio': 1e30, 'max_volume_ratio': 1e9}
    simulation = simulate({**SHORT, **off, 'temperature': [temperature] * 2}, unchecked={'timestep': float(timestep)})
    outcome = simulation.outcome
    assert outcome.failure is None, outcome.failure
    assert outcome.results['halted'] and outcome.results['reason'] in ('lost_atoms', 'crashed')
    assert outcome.halted is None and outcome.restart is None and outcome.violation is None
    assert outcome.results['diagnosis'].startswith(('atoms were lost', 'the simulation broke'))


def test_exchanges(simulate, alloy):
    """Monte Carlo exchanges move elements, gamma stays that of the atoms as they are, and a restart goes on."""
    atoms = bulk('Al', 'fcc', a=3.9, cubic=True).repeat(2)
    atoms.numbers[:16] = 29
    swap = {'every': 10, 'attempts': 4, 'pairs': [['Cu', 'Al']], 'temperature': 1e5}
    parameters = {**COLD, 'steps': 100, 'dump_every': 50, 'swap': swap}
    simulation = simulate(parameters, atoms, potential=alloy)
    outcome = simulation.outcome
    assert outcome.failure is None and outcome.results['reason'] == 'completed', outcome.failure
    assert outcome.results['swaps_tried'] == 40 and 0 < outcome.results['swaps_accepted'] <= 40
    last = outcome.trajectory[-1]
    assert (last.numbers != atoms.numbers).any() and sorted(last.numbers) == sorted(atoms.numbers)
    for frame, gamma in zip(outcome.trajectory, alloy.gamma(outcome.trajectory), strict=True):
        np.testing.assert_allclose(frame.arrays['gamma'], gamma, rtol=1e-4)
    resumed = simulate({**parameters, 'steps': 200}, resume=simulation, potential=alloy)
    assert 'fix style: atom/swap, fix ID: swap_Cu_Al' in resumed.content
    assert resumed.outcome.results['swaps_tried'] == 80


DEFORMED = {**COLD, 'temperature': [300, 300], 'steps': 200}


@pytest.mark.parametrize(
    ('deform', 'coupling', 'ensemble'),
    (
        ({'kind': 'tension', 'axis': 'x', 'rate': 0.2}, 'aniso', 'npt'),
        ({'kind': 'compression', 'axis': 'z', 'rate': 0.2}, 'tri', 'npt'),
        ({'kind': 'shear', 'axis': 'xy', 'rate': 0.2}, 'aniso', 'npt'),
        ({'kind': 'shear', 'axis': 'xz', 'rate': 0.2}, 'tri', 'npt'),
        ({'kind': 'tension', 'axis': 'y', 'rate': 0.2}, 'aniso', 'nvt'),
    ),
)
def test_deformation(simulate, cell, deform, coupling, ensemble):
    """The strain is rate times time, of the cell at step 0, also when it is resumed; the other axes are free."""
    parameters = {**DEFORMED, 'deform': deform, 'coupling': coupling, 'ensemble': ensemble}
    half = simulate({**parameters, 'gamma_halt': 1e-6, 'gamma_extreme': 1e6, 'halt_after': 9})
    assert half.outcome.results['step'] == 80
    outcome = simulate({**parameters, 'soft_start': 0}, resume=half).outcome
    end = outcome.trajectory[-1].cell.array
    start = cell.cell.array
    row, column = ('xyz'.index(name) for name in (deform['axis'] * 2)[:2][::-1])
    strain = (-0.04 if deform['kind'] == 'compression' else 0.04) * start[row, row]
    assert end[row, column] - start[row, column] == pytest.approx(strain, rel=1e-3)
    others = [k for k in range(3) if k not in (row, column)]
    assert all((abs(end[k, k] - start[k, k]) < 1e-9) == (ensemble == 'nvt') for k in others)


@pytest.mark.parametrize('coupling', ('iso', 'aniso', 'tri'))
def test_tilted_cell(simulate, coupling):
    """A tilted cell is handed over, and its frames are the same crystal in the orientation of LAMMPS."""
    atoms = bulk('Al', 'fcc', a=4.05).repeat(2)
    atoms.rattle(0.05, seed=2)
    parameters = {**COLD, 'coupling': coupling, 'steps': 50}
    simulation = simulate(parameters, atoms)
    first = read_dump(simulation.directory / script.TRAJECTORY, ['Al'])[0]
    np.testing.assert_allclose(first.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-8)
    np.testing.assert_allclose(first.cell.cellpar(), atoms.cell.cellpar(), rtol=1e-10)
    resumed = simulate({**parameters, 'steps': 100}, resume=simulation).outcome
    assert resumed.results['step'] == 100


def test_defaults():
    given = {'temperature': [300, 300], 'steps': 100, 'gamma_every': 5, 'gamma_halt': 3.0, 'seed': None}
    dynamics = WatchedDynamics(**given)
    assert dynamics.gamma_every_dense == 5 and dynamics.seed == 42
    assert dynamics.gamma_select == 3.0 and dynamics.gamma_extreme == 30.0


def test_structure_to_a_stream(cell):
    stream = io.StringIO()
    dynamics = WatchedDynamics(**COLD, deform={'kind': 'shear', 'axis': 'xy', 'rate': 1})
    script.write_structure(stream, cell, ['Al', 'Cu'], dynamics)
    assert 'xy xz yz' in stream.getvalue() and '2 atom types' in stream.getvalue()
