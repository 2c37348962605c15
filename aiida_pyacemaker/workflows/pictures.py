"""Pictures of a run: errors and labels over the iterations, and predictions against labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_pyacemaker.atomistics.configurations import energy_counts, forces_count

if TYPE_CHECKING:
    from ase import Atoms


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
