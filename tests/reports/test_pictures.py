"""Tests of the pictures of a run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from aiida import orm
from aiida.common import AttributeDict
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.figure import Figure

from aiida_pyacemaker.reports.pictures import (
    draw_dynamics,
    draw_fit,
    draw_learning,
    draw_learning_curve,
    draw_pareto,
    draw_parity,
    draw_uncertainty,
)
from aiida_pyacemaker.reports.rows import IterationRow


@pytest.fixture
def figures(monkeypatch):
    """Return the list of the figures that were saved."""
    saved = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, target, **kwargs: saved.append(self))
    return saved


def label(error, embedded):
    """Return a cell of which one atom is off by an error, masked where it is embedded."""
    atoms = bulk('Cu', cubic=True)
    forces = np.linspace(-1, 1, 12).reshape(4, 3)
    forces[3] += error
    atoms.calc = SinglePointCalculator(atoms, energy=4 * error, forces=forces)
    if embedded:
        atoms.info['energy_weight'] = 0
        atoms.set_array('force_weights', np.array([1.0, 1.0, 1.0, 0.0]))
    return atoms


def test_parity_counts_what_counts(figures):
    """What is masked is not in the picture, as it is not in the errors that are reported."""
    draw_parity([label(0, False), label(0, True)], [label(0.01, False), label(5, True)], 'parity.png')
    energy, force = figures[0].axes
    assert energy.get_title() == 'RMSE 10.00 meV/atom'
    assert force.get_title() == f'RMSE {10 * np.sqrt(3 / 21):.2f} meV/Å'


def test_parity_without_energies(figures):
    """Embedded cells alone have no energies to draw."""
    draw_parity([label(0, True)], [label(5, True)], 'parity.png')
    energy, force = figures[0].axes
    assert energy.get_title() == 'no energy that counts'
    assert force.get_title() == 'RMSE 0.00 meV/Å'


def test_uncertainty(figures):
    """The share inside the band is that of the components that count."""
    reference, predictions = [label(0, False), label(0, True)], [label(0.5, False), label(5, True)]
    assert not draw_uncertainty(reference, predictions, 'uncertainty.png') and not figures
    for atoms in predictions:
        atoms.set_array('force_std', np.full(4, 0.1))
        atoms.set_array('gamma', np.array([0.1, 0.2, 0.3, 4.0]))
    assert draw_uncertainty(reference, predictions, 'uncertainty.png')
    left, right = figures[0].axes
    assert left.get_legend().get_texts()[0].get_text() == f'95 % band: {100 * 18 / 21:.1f} % inside'
    assert 'gamma' in right.get_title()


def test_fit(tmp_path):
    """Every picture that is named is there, and what a fit does not have is not drawn."""
    pareto = [
        {'cutoff': 5.0, 'number_of_functions': n, 'cost_us': n / 10, 'energy_rmse': 1 / n, 'force_rmse': 3 / n}
        for n in (50, 100)
    ]
    pareto[1]['chosen'] = True
    curve = [{'n_configurations': n, 'energy_rmse': 0.1 / n, 'force_rmse': 1 / n} for n in (10, 20)]
    predictions = [label(0.5, False)]
    predictions[0].set_array('force_std', np.full(4, 0.1))
    node = fit_node({'pareto': pareto, 'learning_curve': curve}, [label(0, False)], predictions)
    names = draw_fit(node, tmp_path)
    assert names == ['parity.png', 'residuals.png', 'uncertainty.png', 'pareto.png', 'learning_curve.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert draw_fit(fit_node({}), tmp_path) == []


def fit_node(results, test=None, predictions=None):
    """Return what `draw_fit` looks at of a finished fit."""
    nodes = {name: SimpleNamespace(get_frames=lambda found=found: found) for name, found in
             (('test', test), ('predictions', predictions)) if found}  # fmt: skip
    outputs = AttributeDict({'results': orm.Dict(results), **{k: v for k, v in nodes.items() if k == 'predictions'}})
    job = AttributeDict({k: v for k, v in nodes.items() if k == 'test'})
    return SimpleNamespace(outputs=outputs, inputs=SimpleNamespace(job=job))


def trajectory(stage, gammas, halted):
    """Return a trajectory of a picosecond with some values of gamma, and what was recorded of it."""
    times = np.linspace(0, 1, len(gammas))
    simulation = SimpleNamespace(parameters={'gamma_select': 2.0, 'gamma_halt': 5.0})
    halts = [SimpleNamespace(time=1.0, reason='gamma')] if halted else []
    shown = SimpleNamespace(walker=0, stage=stage, program=None, halts=halts, simulations=[simulation])
    recorded = {'watch_time': times, 'gamma': np.array(gammas), 'time': times, 'temperature': 300 + 0 * times}
    return shown, recorded


@pytest.mark.parametrize('number', [1, 4, 30])
def test_dynamics_can_be_read(figures, tmp_path, number):
    """Names of stages do not stand over each other, and a proof with a gamma of a billion leaves the rest visible."""
    stages = ['smoke', 'warm', 'production run', 'proof'] * number
    gammas = [[0.5, 2, 6], [0.4, 1.5, 3], [0.5, 0.7, 0.9], [1, 100, 3e9]] * number
    pairs = [trajectory(stage, values, values[-1] > 5) for stage, values in zip(stages, gammas, strict=True)]
    draw_dynamics(*map(list, zip(*pairs[:number], strict=True)), tmp_path)
    (figure,) = figures
    panel = figure.axes[0]
    figure.draw_without_rendering()
    names = [text for text in panel.texts if text.get_gid() == 'stage' and text.get_visible()]
    boxes = [name.get_window_extent() for name in names]
    assert names and names[0].get_text() == 'smoke'
    peaks = [text.get_window_extent() for text in panel.texts if text.get_gid() == 'peak' and text.get_visible()]
    boxes += peaks
    assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index])
    assert all(box.x1 <= panel.get_window_extent().x1 for box in boxes)
    assert len(peaks) == (number >= 4) or number > 4
    assert panel.get_ylim()[1] < 1000
    assert any('3e+09' in text.get_text() for text in panel.texts) == (number >= 4)


@pytest.mark.parametrize('number', [1, 12])
def test_learning_hides_no_points(figures, number):
    """No legend stands on the data."""
    rows = [
        IterationRow(iteration=k, energy_rmse=5e-3 / (k + 1), force_rmse=0.1 / (k + 1), train_energy_rmse=1e-3,
                     train_force_rmse=0.02, labels_train=10, labels_test=2, atoms_labelled=90, core_hours=0.1,
                     surprise={'forces': {'rmse': 0.5}})
        for k in range(number)
    ]  # fmt: skip
    draw_learning(SimpleNamespace(generations=rows, criteria={'energy_rmse': 2e-3, 'force_rmse': 0.05}), 'l.png')
    (figure,) = figures
    figure.draw_without_rendering()
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert len(legends) == 3
    cost, hours = figure.axes[3:]
    assert all(tick == int(tick) for tick in cost.get_xticks())
    (atoms,), (dashed,) = cost.lines, hours.lines
    points = [axes.transData.transform(line.get_xydata()) for axes, line in ((cost, atoms), (hours, dashed))]
    assert np.abs(points[0][:, 1] - points[1][:, 1]).max() > atoms.get_markersize() * figure.dpi / 72
    for legend in legends:
        assert not legend.get_window_extent().overlaps(legend.axes.get_window_extent())
        assert figure.bbox.x1 >= legend.get_window_extent().x1


def test_parity_shows_all_but_a_few_that_are_far(figures):
    """One cell with an energy of 100 eV/atom leaves the others to be seen, and is told; one at 1 eV/atom is shown."""
    for far, told in ((100, 1), (1, 0)):
        energies = [*np.linspace(0, 0.8, 30), far]
        reference = [label(energy, False) for energy in energies]
        draw_parity(reference, [label(energy + 0.001, False) for energy in energies], 'parity.png')
        axes = figures[-1].axes[0]
        assert axes.get_xlim()[1] - axes.get_xlim()[0] < 2
        title, *outside = axes.get_title().splitlines()
        assert title == 'RMSE 1.00 meV/atom'
        assert len(outside) == told and all(text.startswith('1 outside') for text in outside)


@pytest.mark.parametrize('reach', [1.05, 2.5, 1e3, 1e9])
def test_logarithmic_axes_have_numbers(figures, reach):
    """Two to eight plain numbers that do not touch, for a part of a decade as for nine of them."""
    values = np.geomspace(0.0061, 0.0061 * reach, 5)
    rungs = [{'cutoff': 5.0, 'number_of_functions': 60, 'cost_us': 1e3 * value, 'energy_rmse': value,
              'force_rmse': value} for value in values]  # fmt: skip
    draw_pareto(rungs, 'pareto.png')
    draw_learning_curve([{**rung, 'n_configurations': 10 + k} for k, rung in enumerate(rungs)], 'curve.png')
    for figure in figures:
        figure.draw_without_rendering()
        for axes in figure.axes:
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                numbers = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                boxes = [number.get_window_extent() for number in numbers]
                assert 2 <= len(boxes) <= 9
                assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
                assert not any('10' in number.get_text() and '^' in number.get_text() for number in numbers)
