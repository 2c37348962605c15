"""Tests of the simulations of a run, joined over their resumptions."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_pyacemaker.reports.trajectories import find_simulations, find_trajectories, read_frames, read_series


@pytest.fixture(scope='module')
def trajectories(exploring_graph):
    """Return the trajectories of a run whose walker 0 halted twice, and whose walker 1 broke down."""
    return find_trajectories(exploring_graph.run)


def test_chains(trajectories):
    """A walker that halts by gamma goes on where it was; one that broke down, and every new round, begins anew."""
    found = [
        (trajectory.walker, trajectory.number, trajectory.stage, trajectory.iterations, trajectory.end)
        for trajectory in trajectories
    ]
    assert found == [
        (0, 1, 'short', [1, 2, 3], 'completed'),
        (0, 2, 'long', [4], 'running'),
        (1, 1, 'short', [1], 'overlap'),
        (1, 2, 'long', [4], 'gamma'),
    ]
    first = trajectories[0]
    assert [(halt.step, halt.time, halt.reason) for halt in first.halts] == [
        (1800, pytest.approx(3.6), 'gamma'),
        (3600, pytest.approx(7.2), 'gamma'),
    ]
    assert (first.step, first.steps, first.time) == (6000, 6000, pytest.approx(12.0))
    assert first.program == 'heat'
    assert trajectories[1].time == 0


def test_series(trajectories):
    """Gamma and temperature are one series over all resumptions, in ps."""
    series = read_series(trajectories[0])
    assert series['watch_time'][[0, -1]] == pytest.approx([0, 12.0])
    assert np.all(np.diff(series['watch_time']) >= 0)
    assert series['temperature'][-1] == pytest.approx(900)
    assert np.flatnonzero(series['gamma'] > 5).size == 2
    assert all(not len(values) for values in read_series(trajectories[1]).values())  # it still runs


def test_frames(trajectories):
    """The frames of all resumptions are one trajectory, each step once, halts named; no broken frame is among them."""
    frames = read_frames(trajectories[0])
    assert [atoms.info['step'] for atoms in frames] == [100, 1800, 1900, 3600, 3700, 6000]
    assert [atoms.info['step'] for atoms in frames if 'halted' in atoms.info] == [1800, 3600]
    assert [atoms.info['iteration'] for atoms in frames] == [1, 1, 2, 2, 3, 3]
    assert frames[-1].info['time'] == pytest.approx(12.0)
    assert [atoms.info['step'] for atoms in read_frames(trajectories[2])] == [100]


def test_continued_run(exploring_graph, new_run_graph):
    """A run that resumes the simulations of a former one has their whole trajectories, and no others of it."""
    former = exploring_graph
    graph = type(former)(former.frames, former.potential_directory)
    graph.potential, graph.restarts = former.potential, {1: former.restarts[1]}
    graph.explore(5, {1: 'completed'}, stage='long')
    assert len(find_simulations(graph.run)) == 1
    (trajectory,) = find_trajectories(graph.run)
    assert (trajectory.walker, trajectory.iterations, trajectory.end) == (1, [4, 5], 'completed')
    assert [halt.step for halt in trajectory.halts] == [1800]
