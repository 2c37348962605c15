"""The figures of the validation report, as the dictionaries that plotly.js draws.

Colours are names that the page replaces by those of its theme: `@0` to `@5` of the traces, `@ink`, `@mute`, `@grid`.
A function returns None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from ase import units

from ..metrics.errors import ErrorArrays
from .property import Figure


def figure(traces: list[Figure], x: str, y: str, height: int = 340, **layout: Any) -> Figure | None:
    """Return a figure with titles of the axes; None without traces.

    :param x: title of the axis; the same for `y`.
    :param layout: further keys of the layout, those of an axis joined to the titles.
    """
    if not traces:
        return None
    axes = {'xaxis': {'title': {'text': x}}, 'yaxis': {'title': {'text': y}}}
    for name, axis in axes.items():
        axis.update(layout.pop(name, {}))
    return {'data': traces, 'layout': {'height': height, **axes, **layout}}


def line(x: Iterable[float], y: Iterable[float], name: str, color: int | str = 0, **keys: Any) -> Figure:
    """Return a curve."""
    color = f'@{color}'
    given = {'color': color, 'width': 1.6, **keys.pop('line', {})}
    return {'type': 'scatter', 'mode': 'lines', 'x': list(x), 'y': list(y), 'name': name, 'line': given, **keys}


def dots(x: Iterable[float], y: Iterable[float], name: str, color: int | str = 0, **keys: Any) -> Figure:
    """Return points."""
    marker = {'color': f'@{color}', 'size': 6, **keys.pop('marker', {})}
    return {'type': 'scatter', 'mode': 'markers', 'x': list(x), 'y': list(y), 'name': name, 'marker': marker, **keys}


# Errors ---------------------------------------------------------------------------------------------------------------

#: What is drawn of the labels: key, name, unit for people, factor to it.
LABELS = (
    ('energy', 'Energy', 'meV/atom', 1e3),
    ('forces', 'Forces', 'eV/Å', 1.0),
    ('stress', 'Stress', 'GPa', 1 / units.GPa),
)


def parity(arrays: ErrorArrays, key: Literal['energy', 'forces', 'stress']) -> Figure | None:
    """Draw predictions against labels.

    :param arrays: what :func:`~..metrics.errors.error_arrays` returns.
    :param key: `energy`, `forces` or `stress`.
    """
    name, unit, factor = next(row[1:] for row in LABELS if row[0] == key)
    found = arrays.get(key)
    if not found or not found.get('reference'):
        return None
    x, y = (factor * np.array(found[side]) for side in ('reference', 'predicted'))
    groups = np.array(found['group']) if found.get('group') else np.full(len(x), name)
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
    traces = [line(ends, ends, 'equal', 'mute', line={'width': 1}, hoverinfo='skip', showlegend=False)]
    for index, group in enumerate(sorted(set(groups.tolist()))):
        mine = groups == group
        look = {'size': 5, 'opacity': 0.65}
        traces.append(dots(x[mine].tolist(), y[mine].tolist(), group, index % 6, marker=look))
    several = len(traces) > 2
    return figure(traces, f'{name}, label ({unit})', f'predicted ({unit})', 380, showlegend=several)


def distribution(arrays: ErrorArrays) -> Figure | None:
    """Draw which part of the labels has at most which error, in units of its 95th percentile."""
    traces, names = [], {'force_magnitude': ('Length of forces', 'eV/Å', 1.0)}
    names |= {key: (name, unit, factor) for key, name, unit, factor in LABELS}
    for index, (key, (name, unit, factor)) in enumerate(sorted(names.items())):
        found = (arrays.get('cdf') or {}).get(key)
        if found is None:
            continue
        errors, fraction = factor * np.array(found['error']), np.array(found['fraction'])
        p95 = float(np.interp(0.95, fraction, errors))
        shown = errors > 0
        text = f'{name}: 95 % below {p95:.3g} {unit}'
        traces.append(
            line(
                (errors / (p95 or 1))[shown].tolist(),
                (100 * fraction)[shown].tolist(),
                text,
                index,
                customdata=errors[shown].tolist(),
                hovertemplate=f'%{{y:.1f}} % below %{{customdata:.3g}} {unit}<extra>{name}</extra>',
            )
        )
    level = {'type': 'line', 'xref': 'paper', 'x0': 0, 'x1': 1, 'y0': 95, 'y1': 95}
    return figure(
        traces,
        'absolute error / its 95th percentile',
        'part of the labels (%)',
        xaxis={'type': 'log', 'range': [-2, 1]},
        yaxis={'range': [0, 101]},
        shapes=[{**level, 'line': {'color': '@mute', 'dash': 'dot', 'width': 1}}],
    )


def gamma(arrays: ErrorArrays) -> Figure | None:
    """Draw the error of the forces against gamma, atom by atom."""
    found = arrays.get('gamma') or {}
    if not found.get('gamma'):
        return None
    look = {'size': 5, 'opacity': 0.55}
    trace = dots(np.maximum(found['gamma'], 1e-3).tolist(), found['error'], 'atoms', 0, marker=look)
    return figure(
        [trace],
        'gamma',
        'error of the force (eV/Å)',
        xaxis={'type': 'log'},
        yaxis={'type': 'log'},
        showlegend=False,
        shapes=[upright(1.0)],
    )


def upright(x: float) -> Figure:
    """Return a dotted line from the bottom to the top."""
    look = {'color': '@mute', 'dash': 'dot', 'width': 1}
    return {'type': 'line', 'yref': 'paper', 'x0': x, 'x1': x, 'y0': 0, 'y1': 1, 'line': look}
