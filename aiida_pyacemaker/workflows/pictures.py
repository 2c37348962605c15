"""Pictures of a run and of a fit: errors over the iterations, predictions against labels, and what gave the fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_pyacemaker.atomistics.configurations import energy_counts, forces_count
from aiida_pyacemaker.atomistics.validation.errors import (
    BAND,
    error_metrics,
    force_errors,
    is_isolated_atom,
    rank_correlation,
)

if TYPE_CHECKING:
    from aiida import orm
    from ase import Atoms
    from matplotlib.axes import Axes

#: Points that are drawn at most: more hide each other.
MAX_POINTS = 5000


def draw_learning(status: dict[str, Any], target: str | os.PathLike) -> None:
    """Draw the errors on held-out configurations, and the number of labels, against the iteration.

    The held-out set grows, so an error may rise though the potential got better: the third panel shows its size.

    :param status: what :func:`aiida_pyacemaker.workflows.report.get_status` returns.
    :param target: the picture, PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, ScalarFormatter

    rows = status['generations']
    measured = [row for row in rows if row['energy_rmse'] is not None]
    figure = Figure(figsize=(7, 6), layout='constrained')
    above, middle, below = figure.subplots(3, 1, sharex=True)
    for axes, key, name in ((above, 'energy_rmse', 'energy (meV/atom)'), (middle, 'force_rmse', 'force (meV/Å)')):
        axes.semilogy([row['iteration'] for row in measured], [row[key] * 1e3 for row in measured], 'o-')
        if status['criteria'].get(key):
            axes.axhline(status['criteria'][key] * 1e3, color='gray', linestyle='--', label='wanted')
            axes.legend(loc='upper right')
        axes.set_ylabel(name)
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # more would be printed over each other
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(ScalarFormatter())
    above.set_title('Errors (RMSE) on the held-out configurations of the time')
    for key, name in (('labels_train', 'trained on'), ('labels_test', 'held out')):
        counts = np.cumsum([row[key] or 0 for row in rows])
        below.step([row['iteration'] for row in rows], counts, 'o-', where='post', label=name)
    below.legend(loc='center right')
    below.set_ylabel('labels')
    below.set_xlabel('iteration')
    for axis in (below.xaxis, below.yaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.savefig(target, dpi=150)


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
        left.plot(energies[:, 0] - energies[:, 0].mean(), 1e3 * (energies[:, 1] - energies[:, 0]), 'o', markersize=4)
    left.axhline(0, color='gray', linewidth=1)
    left.set_xlabel('Labelled energy, relative (eV/atom)')
    left.set_ylabel('Error of the energy (meV/atom)')
    families = {name: found['forces'] for name, found in metrics['by_family'].items() if found['forces']}
    right.barh(list(families), [1e3 * found['rmse'] for found in families.values()])
    right.plot([1e3 * found['p95'] for found in families.values()], list(families), 'k|', markersize=12, label='95 %')
    right.set_xlabel('Force error, RMSE (meV/Å)')
    right.legend()
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
    left.legend(loc='lower right')
    _scatter(right, gamma, error)
    right.set_xlabel('Extrapolation grade gamma')
    right.set_ylabel('True error of a force (eV/Å)')
    for axes, values, name in ((left, deviation, 'error bar'), (right, gamma, 'gamma')):
        rank = rank_correlation(values, error)
        axes.set_title(f'Rank correlation of {name} and error: {"-" if rank is None else f"{rank:.2f}"}')
    figure.savefig(target, dpi=150)
    return True


def draw_pareto(pareto: list[dict[str, Any]], target: str | os.PathLike) -> None:
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
        ladders: dict[tuple, list[dict[str, Any]]] = {}
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
    figure.legend(*axes.get_legend_handles_labels(), loc='outside right upper')
    figure.savefig(target, dpi=150)


def draw_learning_curve(curve: list[dict[str, Any]], target: str | os.PathLike) -> None:
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
    axes.legend()
    figure.savefig(target, dpi=150)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw at most `MAX_POINTS` points on two logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    used = np.flatnonzero((x > 0) & (y > 0))
    used = used[:: max(1, len(used) // MAX_POINTS)]
    axes.loglog(x[used], y[used], 'o', markersize=2, alpha=0.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter(NullFormatter())
