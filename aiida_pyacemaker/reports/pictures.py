"""Pictures of a run and of a fit: gamma on the way, errors and cost, predictions against labels, what gave the fit."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aiida_pyacemaker.atomistics.core.frame import energy_counts, forces_count, is_isolated_atom
from aiida_pyacemaker.atomistics.explorers.walker import EndReason
from aiida_pyacemaker.atomistics.metrics.errors import BAND, error_metrics, force_errors, rank_correlation

if TYPE_CHECKING:
    from aiida import orm
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

    from .rows import IterationRow, Json, RunStatus, Trajectory

    #: What :func:`~aiida_pyacemaker.reports.trajectories.read_series` returns.
    Series = dict[str, np.ndarray]

#: Points that are drawn at most: more hide each other.
MAX_POINTS = 5000
#: Walkers in one picture; the others are in further ones.
MAX_PANELS = 6
#: Points of a series of a trajectory: more are finer than the picture.
MAX_SERIES = 4000
#: The axis of gamma ends at this many times the threshold of a halt: what is above (the proof that a potential breaks
#: down reaches billions) is an arrow at the edge with the number beside it.
GAMMA_HEADROOM = 10.0
#: Numbers at a logarithmic axis at most.
MAX_TICKS = 8
#: Where leaving out this share of the values makes an axis so many times shorter, they are outside, and told.
FAR_SHARE, FAR = 0.02, 10.0
#: With more iterations than these the points are small.
MANY_ITERATIONS = 25
#: Rows in which the names of stages stand, and the height of one in points.
NAME_ROWS, NAME_HEIGHT = 2, 8
#: Height of these rows relative to the rest of the axis, and what is behind a text that stands on curves.
NAME_SHARE = 0.2
BEHIND_TEXT = {'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.75, 'pad': 0.3}


def draw_dynamics(trajectories: list[Trajectory], series: list[Series], folder: Path) -> list[str]:
    """Draw gamma, temperature and halts of each walker over the simulated time, joined over the resumptions.

    :param trajectories: what :func:`aiida_pyacemaker.reports.trajectories.find_trajectories` returns.
    :param series: of each what :func:`aiida_pyacemaker.reports.trajectories.read_series` returns.
    :param folder: where the pictures go, PNG.
    :returns: their names: `dynamics.png`, `dynamics_2.png` and so on, each of at most :data:`MAX_PANELS` walkers.
    """
    from matplotlib.figure import Figure

    walkers: dict[int, list[tuple[Trajectory, Series]]] = {}
    for trajectory, found in zip(trajectories, series, strict=True):
        walkers.setdefault(trajectory.walker, []).append((trajectory, found))
    names, numbers = [], sorted(walkers)
    for first in range(0, len(numbers), MAX_PANELS):
        shown = numbers[first : first + MAX_PANELS]
        figure = Figure(figsize=(11, 1 + 2.2 * len(shown)), layout='constrained')
        panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for axes, number in zip(panels, shown, strict=True):
            handles = _draw_walker(axes, walkers[number])
            axes.set_title(f'walker {number}', loc='left', fontsize='medium')
        panels[-1].set_xlabel('Simulated time, all starts of a walker one after the other (ps)')
        figure.legend(
            handles=handles, loc='outside upper right', ncols=len(handles), fontsize='small', columnspacing=1.2
        )
        figure.draw_without_rendering()  # now it is known how wide a name is
        for axes in panels:
            _spread_names(axes)
            _thin_peaks(axes)
        names.append(f'dynamics{f"_{first // MAX_PANELS + 1}" if first else ""}.png')
        figure.savefig(folder / names[-1], dpi=150)
    return names


def _draw_walker(axes: Axes, walker: list[tuple[Trajectory, Series]]) -> list[Line2D]:
    """Draw the trajectories of a walker one after the other; return what the legend shows."""
    warmth, begin, limits, former = axes.twinx(), 0.0, {}, None
    highest = _find_highest(walker)
    axes.set_zorder(warmth.get_zorder() + 1)
    axes.patch.set_visible(False)
    for number, (trajectory, series) in enumerate(walker):
        time, gamma = _thin(series['watch_time'], np.maximum(series['gamma'], 1e-2))
        axes.semilogy(begin + time, np.minimum(gamma, highest), color='C0', linewidth=0.8)
        if len(gamma) and gamma.max() > highest:
            peak = int(np.argmax(gamma))
            axes.plot(begin + time[peak], highest, 'C0^', markersize=7, clip_on=False)
            axes.annotate(f'{gamma[peak]:.0e}', (begin + time[peak], highest), (-5, -9), textcoords='offset points',
                          ha='right', fontsize='x-small', color='C0', bbox=BEHIND_TEXT, gid='peak')  # fmt: skip
        warmth.plot(begin + series['time'], series['temperature'], color='C1', linewidth=0.8, alpha=0.7)
        end = begin + max((float(times[-1]) for times in (time, series['time']) if len(times)), default=0.0)
        if number % 2:
            warmth.axvspan(begin, end, color='0.94', zorder=-1)  # of the axes below, or it hides what they show
        for halt in trajectory.halts:
            axes.axvline(begin + halt.time, color='C3' if EndReason(halt.reason).is_resumable else 'C4', alpha=0.7)
        text = ' '.join(filter(None, (trajectory.stage, trajectory.program)))
        if text != former:  # a stage that goes on after a halt has its name once
            axes.text(begin, 1, text, transform=axes.get_xaxis_transform(), va='top', fontsize='x-small',
                      bbox=BEHIND_TEXT, gid='stage')  # fmt: skip
        former = text
        limits |= {key: trajectory.simulations[-1].parameters.get(key) for key in ('gamma_select', 'gamma_halt')}
        begin = end
    for limit, style in zip(limits.values(), (':', '--'), strict=True):
        if limit:
            axes.axhline(limit, color='gray', linestyle=style, linewidth=0.8)
    if highest < np.inf:  # the names of stages have room above
        lowest = axes.get_ylim()[0]
        axes.set_ylim(lowest, highest * (highest / lowest) ** NAME_SHARE)
    _plain_ticks(axes)
    axes.set_xlim(0, 1.005 * begin or 1.0)  # a halt at the very end is to be seen
    axes.set_ylabel('largest gamma')
    warmth.set_ylabel('temperature (K)')
    warmth.set_ylim(0, warmth.get_ylim()[1] * (1 + NAME_SHARE))
    return _dynamics_legend()


def _find_highest(walker: list[tuple[Trajectory, Series]]) -> float:
    """Return the gamma at which the axis of a walker ends, infinite where no threshold is known."""
    halts = [trajectory.simulations[-1].parameters.get('gamma_halt') for trajectory, _ in walker]
    return GAMMA_HEADROOM * max((limit for limit in halts if limit), default=np.inf)


def _spread_names(axes: Axes) -> None:
    """Put names of stages that would stand over each other into rows below, and leave out those that find no place.

    One that would end outside of the panel ends at its right edge.

    :param axes: a panel that was drawn once.
    """
    from matplotlib.transforms import ScaledTranslation

    ends, edge = [-np.inf] * NAME_ROWS, axes.get_window_extent().x1
    for text in (text for text in axes.texts if text.get_gid() == 'stage'):
        box = text.get_window_extent()
        if box.x1 > edge:
            text.set(x=axes.get_xlim()[1], horizontalalignment='right')
            box = box.translated(edge - box.x1, 0)
        row = next((row for row, end in enumerate(ends) if box.x0 > end), None)
        if row is None:
            text.set_visible(False)
            continue
        ends[row] = box.x1 + 0.3 * box.height
        right = 2 if text.get_horizontalalignment() == 'left' else -2
        shift = ScaledTranslation(right / 72, -(2 + row * NAME_HEIGHT) / 72, text.figure.dpi_scale_trans)
        text.set_transform(text.get_transform() + shift)


def _thin_peaks(axes: Axes) -> None:
    """Leave out the numbers at arrows that would stand over a larger one.

    :param axes: a panel that was drawn once.
    """
    peaks = sorted((text for text in axes.texts if text.get_gid() == 'peak'), key=lambda text: -float(text.get_text()))
    kept: list[Bbox] = []
    for text in peaks:
        box = text.get_window_extent()
        text.set_visible(not any(box.overlaps(other) for other in kept))
        if text.get_visible():
            kept.append(box)


def _dynamics_legend() -> list[Line2D]:
    """Return the lines that the legend of the dynamics explains."""
    from matplotlib.lines import Line2D

    entries = (
        ('C0', '-', 'gamma'),
        ('C1', '-', 'temperature'),
        ('C3', '-', 'halt by gamma: learned, resumed'),
        ('C4', '-', 'ended otherwise: starts over'),
        ('gray', ':', 'learned above'),
        ('gray', '--', 'halts above'),
    )
    lines = [Line2D([], [], color=color, linestyle=style, label=label) for color, style, label in entries]
    return [*lines, Line2D([], [], color='C0', linestyle='', marker='^', label='gamma beyond the axis')]


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a series with at most :data:`MAX_SERIES` points: of each stretch its highest, so that no peak is lost."""
    if len(x) <= MAX_SERIES:
        return x, y
    edges = np.linspace(0, len(x), MAX_SERIES + 1).astype(int)
    highest = np.array([start + np.argmax(y[start:stop]) for start, stop in pairwise(edges)])
    return x[highest], y[highest]


def draw_learning(status: RunStatus, target: str | os.PathLike) -> None:
    """Draw the errors on held-out configurations, the number of labels, and what they cost, against the iteration.

    The held-out set grows, so an error may rise though the potential got better: the third panel shows its size.

    :param status: what :func:`aiida_pyacemaker.reports.status.get_status` returns.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure

    rows = status.generations
    figure = Figure(figsize=(9, 8), layout='constrained')
    energy, force, labels, cost = figure.subplots(4, 1, sharex=True)
    _draw_errors(energy, rows, 'energy_rmse', 'energy (meV/atom)', status.criteria)
    _draw_errors(force, rows, 'force_rmse', 'force (meV/Å)', status.criteria)
    energy.set_title('Errors (RMSE) on the held-out configurations of the time')
    for key, name in (('labels_train', 'trained on'), ('labels_test', 'held out')):
        counts = np.cumsum([getattr(row, key) or 0 for row in rows])
        labels.step([row.iteration for row in rows], counts, 'o-', where='post', label=name)
    _legend_outside(labels)
    labels.set_ylabel('labels')
    _draw_cost(cost, rows)
    cost.set_xlabel('iteration')
    for axis in (cost.xaxis, labels.yaxis):
        axis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    labels.set_ylim(bottom=0)
    if rows:  # a single one would have an axis of hundredths
        cost.set_xlim(rows[0].iteration - 0.5, rows[-1].iteration + 0.5)
    if len(rows) > MANY_ITERATIONS:
        for line in (line for axes in figure.axes for line in axes.lines):
            line.set_markersize(line.get_markersize() / 2)
    figure.savefig(target, dpi=150)


def _draw_errors(axes: Axes, rows: list[IterationRow], key: str, name: str, criteria: Json) -> None:
    """Draw one kind of error: held out, trained on, of forces on what was labelled where gamma was high, and wanted."""
    kinds = [(key, 'o-', 'held out'), (f'train_{key}', '.:', 'trained on')]
    for column, style, label in kinds:
        points = [(row.iteration, getattr(row, column)) for row in rows]
        found = [(iteration, value * 1e3) for iteration, value in points if value is not None]
        if found:
            axes.semilogy(*zip(*found, strict=True), style, label=label)
    if key == 'force_rmse':
        surprises = [(row.iteration, row.surprise_force_rmse) for row in rows]
        found = [(iteration, rmse * 1e3) for iteration, rmse in surprises if rmse is not None]
        if found:
            axes.semilogy(*zip(*found, strict=True), 'C3x', label='on new labels, before learning them')
    if criteria.get(key):
        axes.axhline(criteria[key] * 1e3, color='gray', linestyle='--', label='wanted')
    _legend_outside(axes)
    axes.set_ylabel(name)
    _plain_ticks(axes)


def _legend_outside(axes: Axes) -> None:
    """Put the legend beside the axes: inside it would hide points of some run."""
    axes.legend(loc='upper left', bbox_to_anchor=(1.01, 1.0), fontsize='small')


def _plain_ticks(axes: Axes, names: str = 'y') -> None:
    """Write plain numbers at logarithmic axes, two to eight, whatever part of a decade or number of decades is seen.

    :param axes: with its data and limits.
    :param names: which axes: `x`, `y` or `xy`.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    for name in names:
        axis, (low, high) = getattr(axes, f'{name}axis'), sorted(getattr(axes, f'get_{name}lim')())
        if axis.get_scale() != 'log':  # nothing was drawn
            continue
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        for factors in ((1, 2, 5), (1,)):
            ticks = np.sort(np.outer(powers, factors).ravel())
            ticks = ticks[(ticks >= low) & (ticks <= high)]
            if len(ticks) <= MAX_TICKS:
                break
        ticks = ticks[:: max(1, -(-len(ticks) // MAX_TICKS))]
        if len(ticks) < 3:
            ticks = MaxNLocator(4).tick_values(low, high)
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter('{x:g}')


def _find_view(values: np.ndarray) -> tuple[float, float] | None:
    """Return the ends of an axis without the few values that are so far away that nothing else could be seen.

    :returns: None where all can be shown.
    """
    ordered = np.sort(values)
    left_out = max(1, int(FAR_SHARE * len(ordered)))
    if len(ordered) < 10:
        return None
    ranges = ordered[len(ordered) - left_out - 1 :] - ordered[: left_out + 1]
    first = int(np.argmin(ranges))
    low, high = ordered[first], ordered[first + len(ordered) - left_out - 1]
    if not 0 < FAR * (high - low) < ordered[-1] - ordered[0]:
        return None
    near = values[(values >= low - (high - low)) & (values <= high + (high - low))]
    margin = 0.05 * (near.max() - near.min())
    return float(near.min() - margin), float(near.max() + margin)


def _tell_outside(axes: Axes, values: np.ndarray, view: tuple[float, float]) -> None:
    """Say above a panel how many points are outside of it, and how far they reach."""
    outside = values[((values < view[0]) | (values > view[1])).reshape(len(values), -1).any(axis=1)]
    reach = ' to '.join(dict.fromkeys(f'{value:.3g}' for value in (outside.min(), outside.max())))
    axes.set_title(f'{axes.get_title()}\n{len(outside)} outside, {reach}'.strip())


def _draw_cost(axes: Axes, rows: list[IterationRow]) -> None:
    """Draw the atoms labelled so far, and the core-hours of the labels where they are known."""
    iterations = [row.iteration for row in rows]
    axes.step(iterations, np.cumsum([row.atoms_labelled or 0 for row in rows]), 'o-', where='post')
    axes.set_ylabel('atoms labelled', color='C0')
    axes.set_ylim(bottom=0)
    hours = np.cumsum([row.core_hours or 0 for row in rows])
    if hours.any():
        right = axes.twinx()
        right.step(iterations, hours, '.--', where='post', color='C1')
        right.set_ylabel('core-hours', color='C1')
        right.set_ylim(0, 1.3 * hours[-1])  # lower than the atoms, or the one would hide the other


def draw_parity(reference: list[Atoms], predictions: list[Atoms], target: str | os.PathLike) -> None:
    """Draw predicted against labelled energies and forces, those that count.

    :param reference: held-out configurations with their labels.
    :param predictions: the same configurations with the labels that the potential predicts.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure

    pairs = [(left, right) for left, right in zip(reference, predictions, strict=True) if len(left) > 1]
    counting = [(a, b) for a, b in pairs if energy_counts(a)]
    energies = np.array([[atoms.get_potential_energy() / len(atoms) for atoms in pair] for pair in counting])
    forces = np.concatenate(
        [np.stack([atoms.get_forces()[forces_count(a)].ravel() for atoms in (a, b)], axis=1) for a, b in pairs]
    )
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    for axes, values, name, unit, factor in (
        (figure.add_subplot(121), energies, 'energy, relative', 'eV/atom', ('meV/atom', 1e3)),
        (figure.add_subplot(122), forces, 'force component', 'eV/Å', ('meV/Å', 1e3)),
    ):
        if not len(values):
            axes.set_title(f'no {name.split(",")[0]} that counts')
            continue
        if values is energies:
            values = energies - energies[:, :1].mean()
        error = np.sqrt(np.mean((values[:, 1] - values[:, 0]) ** 2)) * factor[1]
        axes.plot(*values.T, 'o', markersize=4, alpha=0.6)
        limits = [values.min(), values.max()]
        axes.plot(limits, limits, color='gray', linewidth=1)
        axes.set_xlabel(f'Labelled {name} ({unit})')
        axes.set_ylabel(f'ACE {name} ({unit})')
        axes.set_title(f'RMSE {error:.2f} {factor[0]}')
        farther = np.abs(values - np.median(values)).argmax(axis=1)  # of a label and its prediction
        view = _find_view(np.take_along_axis(values, farther[:, None], axis=1)[:, 0])
        if view is not None:
            axes.set(xlim=view, ylim=view)
            _tell_outside(axes, values, view)
        axes.locator_params(nbins=5)
    figure.savefig(target, dpi=150)


def draw_fit(node: orm.WorkChainNode, target: str | os.PathLike) -> list[str]:
    """Draw what there is to see of a finished fit: held-out errors and error bars, Pareto front, learning curve.

    :param node: a finished :class:`~aiida_pyacemaker.workflows.train.TrainWorkChain`.
    :param target: an existing folder.
    :returns: the names of the pictures, PNG.
    """
    results, folder, written = node.outputs.results.get_dict(), Path(target), []
    if 'predictions' in node.outputs and 'test' in node.inputs.job:
        reference, predictions = node.inputs.job.test.get_frames(), node.outputs.predictions.get_frames()
        draw_parity(reference, predictions, folder / 'parity.png')
        draw_residuals(reference, predictions, folder / 'residuals.png')
        written += ['parity.png', 'residuals.png']
        if draw_uncertainty(reference, predictions, folder / 'uncertainty.png'):
            written.append('uncertainty.png')
    if len(results.get('pareto') or []) > 1:
        draw_pareto(results['pareto'], folder / 'pareto.png')
        written.append('pareto.png')
    if len(results.get('learning_curve') or []) > 1:
        draw_learning_curve(results['learning_curve'], folder / 'learning_curve.png')
        written.append('learning_curve.png')
    return written


def draw_residuals(reference: list[Atoms], predictions: list[Atoms], target: str | os.PathLike) -> None:
    """Draw the error of each energy against the energy, and the force error of each family.

    :param reference: held-out configurations with their labels.
    :param predictions: the same configurations as predicted.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure

    metrics = error_metrics(reference, predictions)
    pairs = [
        (a, b)
        for a, b in zip(reference, predictions, strict=True)
        if energy_counts(a) and not is_isolated_atom(a) and a.calc is not None
    ]
    energies = np.array([[atoms.get_potential_energy() / len(atoms) for atoms in pair] for pair in pairs]).reshape(
        -1, 2
    )
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    if len(energies):
        energy = energies[:, 0] - energies[:, 0].mean()
        left.plot(energy, 1e3 * (energies[:, 1] - energies[:, 0]), 'o', markersize=4)
        view = _find_view(energy)
        if view is not None:
            left.set_xlim(view)
            _tell_outside(left, energy, view)
    left.axhline(0, color='gray', linewidth=1)
    left.set_xlabel('Labelled energy, relative (eV/atom)')
    left.set_ylabel('Error of the energy (meV/atom)')
    families = {name: found['forces'] for name, found in metrics['by_family'].items() if found['forces']}
    right.barh(list(families), [1e3 * found['rmse'] for found in families.values()])
    right.plot([1e3 * found['p95'] for found in families.values()], list(families), 'k|', markersize=12, label='95 %')
    right.set_xlabel('Force error, RMSE (meV/Å)')
    right.legend(loc='lower right', bbox_to_anchor=(1, 1), borderaxespad=0.2, fontsize='small')
    figure.savefig(target, dpi=150)


def draw_uncertainty(reference: list[Atoms], predictions: list[Atoms], target: str | os.PathLike) -> bool:
    """Draw the true errors of forces against their predicted standard deviation, and against gamma.

    :param reference: held-out configurations with their labels.
    :param predictions: the same configurations as predicted, with `force_std` and gamma.
    :param target: the picture, PNG.
    :returns: False, and no picture, where the predictions say nothing of their errors.
    """
    from matplotlib.figure import Figure

    pairs = [
        (a, b)
        for a, b in zip(reference, predictions, strict=True)
        if 'force_std' in b.arrays and not is_isolated_atom(a)
    ]
    table = np.concatenate([force_errors(a, b) for a, b in pairs]) if pairs else np.zeros((0, 5))
    if not len(table):
        return False
    error, deviation, gamma = np.linalg.norm(table[:, :3], axis=1), table[:, 3], table[:, 4]
    inside = np.abs(table[:, :3]) <= BAND * deviation[:, None]
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    _scatter(left, np.repeat(deviation, 3), np.abs(table[:, :3]).ravel())
    line = np.array([deviation[deviation > 0].min(initial=1.0), deviation.max()])
    left.plot(line, BAND * line, color='C3', label=f'95 % band: {100 * inside.mean():.1f} % inside')
    left.set_xlabel('Predicted standard deviation (eV/Å)')
    left.set_ylabel('True error of a force component (eV/Å)')
    left.legend(loc='upper center', bbox_to_anchor=(0.5, -0.14))
    _scatter(right, gamma, error)
    right.set_xlabel('Extrapolation grade gamma')
    right.set_ylabel('True error of a force (eV/Å)')
    for axes, values, name in ((left, deviation, 'error bar'), (right, gamma, 'gamma')):
        rank = rank_correlation(values, error)
        axes.set_title(f'Rank correlation of {name} and error: {"-" if rank is None else f"{rank:.2f}"}')
        _plain_ticks(axes, 'xy')
    figure.savefig(target, dpi=150)
    return True


def draw_pareto(pareto: list[Json], target: str | os.PathLike) -> None:
    """Draw the validation errors of the bases that were tried against what they cost in a simulation.

    :param pareto: the results' entry of that name: `cutoff` (Å), `factor` of the order, `n_configurations`,
        `number_of_functions`, `cost_us`, `energy_rmse`, `force_rmse`, `chosen`.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout='constrained')
    panels = zip(
        figure.subplots(1, 2), ('energy_rmse', 'force_rmse'), ('energy (meV/atom)', 'force (meV/Å)'), strict=True
    )
    for axes, key, name in panels:
        ladders: dict[tuple, list[Json]] = {}
        for rung in pareto:
            ladders.setdefault(tuple(rung.get(name) for name in ('cutoff', 'factor', 'n_configurations')), []).append(
                rung
            )
        for (cutoff, factor, _), rungs in ladders.items():
            rungs = sorted(rungs, key=lambda rung: rung['cost_us'])
            costs, errors = [rung['cost_us'] for rung in rungs], [1e3 * rung[key] for rung in rungs]
            final = any(rung.get('chosen') for rung in rungs)
            label = f'{cutoff:g} Å' + (f', order factor {factor:g}' if factor is not None else '')
            axes.loglog(costs, errors, 'o-', label=label + (', more data' if final and len(ladders) > 1 else ''))
        for rung in pareto:
            if rung.get('chosen'):
                number = rung['number_of_functions']
                axes.plot(rung['cost_us'], 1e3 * rung[key], 'k*', markersize=14, label=f'chosen, {number} functions')
        axes.set_xlabel('Cost (µs per atom and step, one core)')
        axes.set_ylabel(f'Validation RMSE, {name}')
        _plain_ticks(axes, 'xy')
    figure.legend(*axes.get_legend_handles_labels(), loc='outside right upper')
    figure.savefig(target, dpi=150)


def draw_learning_curve(curve: list[Json], target: str | os.PathLike) -> None:
    """Draw the validation errors of the chosen basis against the number of configurations it is fitted to.

    :param curve: the results' entry `learning_curve`: `n_configurations`, `energy_rmse`, `force_rmse`.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout='constrained')
    axes = figure.subplots()
    for key, name in (('energy_rmse', 'energy (meV/atom)'), ('force_rmse', 'force (meV/Å)')):
        points = [(entry['n_configurations'], 1e3 * entry[key]) for entry in curve if entry.get(key)]
        if points:
            axes.loglog(*zip(*points, strict=True), 'o-', label=name)
    axes.set_xlabel('Configurations')
    axes.set_ylabel('Validation RMSE')
    _plain_ticks(axes, 'xy')
    _legend_outside(axes)
    figure.savefig(target, dpi=150)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw at most `MAX_POINTS` points on two logarithmic axes."""
    used = np.flatnonzero((x > 0) & (y > 0))
    used = used[:: max(1, len(used) // MAX_POINTS)]
    axes.loglog(x[used], y[used], 'o', markersize=2, alpha=0.3)
