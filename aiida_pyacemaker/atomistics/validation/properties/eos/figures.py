"""Figures of the equation of state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import units

from ...figures import Figure, dots, figure, line, upright
from . import EosResult

#: Points of a curve that is drawn from its formula.
CURVE_POINTS = 100


def birch_murnaghan(fit: dict[str, float], volumes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energies above the minimum (eV/atom) and pressures (GPa) of a Birch-Murnaghan curve of third order.

    F. Birch, Phys. Rev. 71, 809 (1947).

    :param fit: `v0` (Å³/atom), `b0` (GPa), `b0_prime`.
    """
    x = (fit['v0'] / volumes) ** (2 / 3)
    slope = fit['b0_prime']
    energies = 9 / 16 * fit['v0'] * fit['b0'] * units.GPa * ((x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x))
    pressures = 1.5 * fit['b0'] * (x**3.5 - x**2.5) * (1 + 0.75 * (slope - 4) * (x - 1))
    return energies, pressures


def eos(columns: Mapping[str, EosResult]) -> Figure | None:
    """Draw energy and pressure against volume, the potential and whatever else knows them.

    :param columns: title -> section `eos`, the one that is judged first.
    """
    traces, shapes = [], []
    for index, (title, found) in enumerate(columns.items()):
        volumes, fit = np.array(found['volumes']), found.get('birch_murnaghan') or {}
        known = all(fit.get(key) for key in ('v0', 'b0', 'b0_prime'))
        zero = fit['e0'] if known and fit.get('e0') is not None else min(found['energies'])
        energies = (1e3 * (np.array(found['energies']) - zero)).tolist()
        traces.append(dots(volumes.tolist(), energies, title, index))
        if found.get('pressures'):
            hidden = {'xaxis': 'x2', 'yaxis': 'y2', 'showlegend': False}
            traces.append(dots(volumes.tolist(), found['pressures'], title, index, **hidden))
        if known:
            fine = np.linspace(volumes.min(), volumes.max(), CURVE_POINTS)
            for place, (scale, curve) in enumerate(zip((1e3, 1.0), birch_murnaghan(fit, fine), strict=True)):
                axes = {'xaxis': 'x2', 'yaxis': 'y2'} if place else {}
                look = {'showlegend': False, 'hoverinfo': 'skip', **axes}
                traces.append(line(fine.tolist(), (scale * curve).tolist(), title, index, **look))
        shapes += [upright(kink) for kink in found.get('kinks') or []]
    return figure(
        traces,
        '',
        'energy above the minimum (meV/atom)',
        560,
        grid={'rows': 2, 'columns': 1, 'pattern': 'independent', 'roworder': 'top to bottom', 'ygap': 0.12},
        xaxis={'domain': [0, 1]},
        xaxis2={'matches': 'x', 'title': {'text': 'volume (Å³/atom)'}},
        yaxis2={'title': {'text': 'pressure (GPa)'}},
        shapes=shapes,
    )
