"""Error metrics, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.metrics.errors import (
    MAX_POINTS,
    WORST,
    error_arrays,
    error_metrics,
    gamma_against_error,
    surprise,
    uncertainty_metrics,
)


def pair(energy: float, force: float, family: str, mask: bool = False) -> tuple[Atoms, Atoms]:
    frame = bulk('Al', cubic=True)
    frame.info['family'] = family
    if mask:
        frame.set_array('force_weights', np.array([1.0, 0.0, 0.0, 0.0]))
        frame.info['energy_weight'] = 0.0
    predicted = frame.copy()
    set_labels(frame, -10.0, np.zeros((4, 3)), np.zeros(6))
    forces = np.zeros((4, 3))
    forces[1:] = force
    predicted.set_array('gamma', np.array([0.1, 0.6, 3.0, 1e3]))
    return frame, set_labels(predicted, -10.0 + energy, forces, np.full(6, 0.01))


def test_metrics():
    pairs = [pair(0.4, 0.2, 'rattled'), pair(-0.8, 0.0, 'eos'), pair(99.0, 50.0, 'halted', mask=True)]
    isolated = Atoms('Al', info={'family': 'isolated_atom'})
    pairs.append((set_labels(isolated, 5.0, np.zeros((1, 3))), set_labels(isolated.copy(), 0.0, np.ones((1, 3)))))
    metrics = error_metrics(*map(list, zip(*pairs, strict=True)))
    assert metrics['n_frames'] == 3 and metrics['n_atoms'] == 12
    assert metrics['energy']['rmse'] == pytest.approx(np.sqrt((0.1**2 + 0.2**2) / 2))
    assert metrics['energy']['mae'] == pytest.approx(0.15) and metrics['energy']['max'] == pytest.approx(0.2)
    assert metrics['forces']['rmse'] == pytest.approx(np.sqrt(9 * 0.2**2 / 27))
    assert metrics['stress']['mae'] == pytest.approx(0.01)
    assert {axis: found['max'] for axis, found in metrics['force_components'].items()} == dict.fromkeys('xyz', 0.2)
    assert metrics['force_magnitude']['max'] == pytest.approx(0.2 * np.sqrt(3))
    assert metrics['by_element'] == {'Al': metrics['forces']}
    assert set(metrics['by_family']) == {'rattled', 'eos', 'halted'}
    assert metrics['by_family']['halted']['energy'] is None
    assert metrics['by_family']['halted']['forces']['max'] == 0.0


def test_nothing_to_compare():
    metrics = error_metrics([], [])
    assert metrics['energy'] is None and metrics['n_frames'] == 0
    assert gamma_against_error([], []) == []
    with pytest.raises(ValueError, match='cannot be compared'):
        error_metrics([bulk('Al')], [])


def test_elements_apart():
    """A force is counted for the element that it acts on."""
    frame = Atoms('AlCuAl', np.eye(3), cell=[9] * 3, pbc=True)
    predicted = frame.copy()
    forces = np.array([[0.1, 0, 0], [0, 0.4, 0], [0, 0, 0.3]])
    set_labels(frame, 0.0, np.zeros((3, 3)))
    set_labels(predicted, 0.0, forces)
    metrics = error_metrics([frame], [predicted])
    assert {element: found['max'] for element, found in metrics['by_element'].items()} == {'Al': 0.3, 'Cu': 0.4}
    assert [metrics['force_components'][axis]['max'] for axis in 'xyz'] == [0.1, 0.4, 0.3]


def test_arrays():
    """What is drawn: masked labels are not, the worst are, and the distribution is that of the statistics."""
    pairs = [pair(0.4, 0.2, 'rattled'), pair(-0.8, 0.0, 'eos'), pair(99.0, 50.0, 'halted', mask=True)]
    frames, predictions = map(list, zip(*pairs, strict=True))
    arrays, metrics = error_arrays(frames, predictions), error_metrics(frames, predictions)
    assert arrays['energy']['group'] == ['rattled', 'eos'] and arrays['forces']['group'] == ['Al'] * 27
    assert arrays['energy']['reference'] == pytest.approx([0, 0], abs=1e-12)  # less what is common to the element
    assert arrays['energy']['predicted'] == pytest.approx([0.1, -0.2])
    assert arrays['gamma']['error'] == pytest.approx([0, *[0.2 * np.sqrt(3)] * 3, *[0] * 5])
    for key in ('energy', 'forces', 'stress', 'force_magnitude'):
        found = arrays['cdf'][key]
        assert np.interp(0.95, found['fraction'], found['error']) == pytest.approx(metrics[key]['p95'])
        assert found['error'][-1] == pytest.approx(metrics[key]['max'])
    json.dumps(arrays)
    assert error_arrays([], [])['cdf'] == {}


def test_thousands_of_arrows():
    """Of many labels the worst are drawn, and the rest evenly."""
    pairs = [pair(0.0, 0.001 * index, 'rattled') for index in range(400)]
    arrays = error_arrays(*map(list, zip(*pairs, strict=True)))
    errors = np.abs(np.subtract(arrays['forces']['predicted'], arrays['forces']['reference']))
    assert len(errors) == MAX_POINTS and arrays['forces']['total'] == 4800
    assert np.sum(errors > 0.3765) >= WORST and np.median(errors) == pytest.approx(0.15, abs=0.03)


def test_gamma_against_error():
    frame, predicted = pair(0.0, 0.2, 'rattled')
    table = gamma_against_error([frame], [predicted])
    assert [row['gamma_from'] for row in table] == [0.0, 0.5, 2.0, 100.0]
    assert table[0]['rmse'] == 0.0 and table[1]['max'] == pytest.approx(0.2 * np.sqrt(3))
    assert table[-1]['gamma_to'] is None


def test_surprise():
    """By hand, from new labels alone; the masked atoms and frames that nobody predicted do not count."""
    frames = []
    for mask in (False, True):
        frame, predicted = pair(0.4, 0.2, 'halted', mask=mask)
        for name, values in (('gamma', predicted.arrays['gamma']), ('predicted_forces', predicted.get_forces())):
            frame.set_array(name, values)
        frame.info['predicted_energy'] = predicted.get_potential_energy()
        frames.append(frame)
    assert surprise([pair(0.4, 0.2, 'halted')[0]]) is None and surprise([]) is None
    found = surprise([*frames, pair(0.4, 0.2, 'halted')[0]])
    assert found['n_frames'] == 2 and found['n_atoms'] == 5 and found['gamma_max'] == 1e3
    assert found['energy']['rmse'] == pytest.approx(0.1) and found['energy']['max'] == pytest.approx(0.1)
    assert found['forces']['rmse'] == pytest.approx(np.sqrt(9 * 0.2**2 / 15))
    assert 0.8 < found['rank_correlation'] < 1


def test_uncertainty_metrics():
    """By hand: 9 of 12 components inside, gamma ranks the errors, masked atoms do not count."""
    frame, predicted = pair(0.4, 0.0, 'rattled')
    forces = np.array([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]])
    set_labels(predicted, -9.6, forces)
    predicted.set_array('force_std', np.array([0.4, 0.3, 0.2, 0.1]))
    predicted.info['energy_std'] = 0.06
    metrics = uncertainty_metrics([frame], [predicted])
    assert metrics['forces']['coverage'] == 0.75 and metrics['forces']['n'] == 12
    assert metrics['forces']['rank_correlation'] == {'posterior': pytest.approx(-1), 'gamma': pytest.approx(1)}
    assert metrics['energy'] == {'coverage': 1.0, 'n': 1, 'rank_correlation': {'posterior': None, 'gamma': None}}
    assert metrics['by_family'] == {'rattled': 0.75}
    masked = pair(99.0, 50.0, 'halted', mask=True)
    masked[1].set_array('force_std', np.full(4, 0.01))
    metrics = uncertainty_metrics([masked[0]], [masked[1]])
    assert metrics['forces']['coverage'] == 1 and metrics['forces']['n'] == 3 and metrics['energy'] is None
    del masked[1].arrays['force_std']
    assert uncertainty_metrics([masked[0]], [masked[1]]) is None
