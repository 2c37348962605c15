"""The figures of the validation report, as the dictionaries that plotly.js draws.

Colours are names that the page replaces by those of its theme: `@0` to `@5` of the traces, `@ink`, `@mute`, `@grid`.
A function returns None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import units

Figure = dict[str, Any]
#: Points of a curve that is drawn from its formula.
FINE = 100
#: How far above the lowest energy the curves of pairs and compressions are shown at first (eV).
HEIGHT = 10.0


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


def parity(arrays: dict[str, Any], key: str) -> Figure | None:
    """Draw predictions against labels.

    :param arrays: what :func:`.errors.error_arrays` returns.
    :param key: `energy`, `forces` or `stress`.
    """
    name, unit, factor = next(row[1:] for row in LABELS if row[0] == key)
    found = arrays.get(key) or {}
    if not found.get('reference'):
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


def distribution(arrays: dict[str, Any]) -> Figure | None:
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


def gamma(arrays: dict[str, Any]) -> Figure | None:
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
        shapes=[_upright(1.0)],
    )


def _upright(x: float) -> Figure:
    look = {'color': '@mute', 'dash': 'dot', 'width': 1}
    return {'type': 'line', 'yref': 'paper', 'x0': x, 'x1': x, 'y0': 0, 'y1': 1, 'line': look}


# Crystals -------------------------------------------------------------------------------------------------------------


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


def eos(columns: dict[str, dict[str, Any]]) -> Figure | None:
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
            fine = np.linspace(volumes.min(), volumes.max(), FINE)
            for place, (scale, curve) in enumerate(zip((1e3, 1.0), birch_murnaghan(fit, fine), strict=True)):
                axes = {'xaxis': 'x2', 'yaxis': 'y2'} if place else {}
                look = {'showlegend': False, 'hoverinfo': 'skip', **axes}
                traces.append(line(fine.tolist(), (scale * curve).tolist(), title, index, **look))
        shapes += [_upright(kink) for kink in found.get('kinks') or []]
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


def phonons(found: dict[str, Any]) -> Figure | None:
    """Draw the bands along the path and, beside them, the density of states; below zero: imaginary."""
    paths = [path for path in found.get('paths') or [] if path['distances']]
    bands: list[tuple[list[float | None], list[float | None]]] = []
    ticks: list[tuple[float, str]] = []
    start = 0.0
    for path in paths:
        length = np.array(path['distances']) - path['distances'][0] + start
        rows = np.array(path['frequencies'])
        bands = bands or [([], []) for _ in range(rows.shape[1])]
        for band, (x, y) in enumerate(bands):
            x += [*length.tolist(), None]
            y += [*rows[:, band].tolist(), None]
        for place, name in zip((length[0], length[-1]), path['labels'], strict=True):
            if ticks and abs(ticks[-1][0] - place) < 1e-9:
                name = ticks[-1][1] if ticks[-1][1] == name else f'{ticks.pop()[1]}|{name}'
                ticks = [tick for tick in ticks if abs(tick[0] - place) > 1e-9]
            ticks.append((float(place), name))
        start = float(length[-1])
    traces = [line(x, y, '', 0, showlegend=False, hovertemplate='%{y:.3f} THz<extra></extra>') for x, y in bands]
    dos = found.get('dos') or {}
    split = 0.8 if dos.get('density') else 1.0
    if dos.get('density'):
        look = {'fill': 'tozerox', 'xaxis': 'x2', 'showlegend': False}
        traces.append(line(dos['density'], dos['frequencies'], 'density of states', 0, **look))
    edges = {'color': '@grid', 'width': 1}
    return figure(
        traces,
        '',
        'frequency (THz)',
        400,
        xaxis={
            'domain': [0, split - 0.02 if split < 1 else 1],
            'tickvals': [place for place, _ in ticks],
            'ticktext': [name for _, name in ticks],
            'showgrid': False,
            'range': [0, start],
        },
        xaxis2={'domain': [split, 1], 'showticklabels': False, 'title': {'text': 'DOS'}, 'anchor': 'y'},
        yaxis={'zeroline': True},
        shapes=[
            {'type': 'line', 'yref': 'paper', 'x0': place, 'x1': place, 'y0': 0, 'y1': 1, 'line': edges}
            for place, _ in ticks
        ],
    )


def thermal(found: dict[str, Any]) -> Figure | None:
    """Draw heat capacity and entropy against temperature, in units of Boltzmann's constant per atom."""
    table = found.get('thermal') or {}
    if not table.get('temperatures'):
        return None
    traces = [
        line(table['temperatures'], table[key], name, index)
        for index, (key, name) in enumerate((('heat_capacity', 'heat capacity'), ('entropy', 'entropy')))
        if table.get(key)
    ]
    return figure(traces, 'temperature (K)', 'per atom (k<sub>B</sub>)')


def pairs(found: dict[str, dict[str, Any]]) -> Figure | None:
    """Draw the energy of pairs of atoms against their distance.

    :param found: pair -> `distances` (Å), `energies` (eV), and `hole`, whose rim is marked.
    """
    traces, rims = [], []
    for index, (name, pair) in enumerate(found.items()):
        traces.append(line(pair['distances'], pair['energies'], name, index % 6, mode='lines+markers'))
        if pair.get('hole'):
            where = pair['hole']['distance']
            rims.append(
                (mark(traces[-1], where, f'{name}: hole below {where:.2f} Å'), pair['hole'].get('depth') or 0.0)
            )
            traces.append(rims[-1][0])
    return figure(traces, 'distance (Å)', 'energy (eV)', yaxis={'range': _view(traces, rims)}) if traces else None


def compression(found: dict[str, Any]) -> Figure | None:
    """Draw the energy of the crystal as it is compressed to half its bond length; the rim of a hole is marked."""
    if not found.get('energies'):
        return None
    traces, rims = [line(found['scales'], found['energies'], 'crystal', 0, mode='lines+markers')], []
    if found.get('hole'):
        rims.append((mark(traces[0], found['hole']['scale'], 'rim of the hole'), found['hole'].get('depth') or 0.0))
        traces.append(rims[0][0])
    title = 'bond length / that of the crystal'
    return figure(traces, title, 'energy (eV/atom)', yaxis={'range': _view(traces, rims)}, showlegend=bool(rims))


def mark(curve: Figure, where: float, name: str) -> Figure:
    """Return a cross on the point of a curve that is nearest to a place."""
    place = int(np.argmin(np.abs(np.array(curve['x']) - where)))
    look = {'symbol': 'x', 'size': 12, 'color': curve['line']['color']}
    return dots([curve['x'][place]], [curve['y'][place]], name, marker=look)


def _view(traces: list[Figure], rims: list[tuple[Figure, float]]) -> list[float]:
    """Return the range of energies with the minimum and the onset of the repulsion, or the holes as far as they go.

    :param rims: mark and depth of each hole.
    """
    values = np.array([value for trace in traces for value in trace['y']])
    low, high = float(values.min()), float(values.max())
    top = min(high, low + HEIGHT)
    if rims:
        edges = [rim['y'][0] for rim, _ in rims]
        top = min(high, max(edge + min(max(depth, 0.5), HEIGHT) for edge, (_, depth) in zip(edges, rims, strict=True)))
        low = max(low, min(edges) - HEIGHT)
    return [low - 0.05 * (top - low), top + 0.05 * (top - low)]


def energies(runs: list[dict[str, Any]]) -> Figure | None:
    """Draw the energy of simulations over time, each from its start."""
    traces = []
    for index, run in enumerate(runs):
        if run.get('energies'):
            above = (1e3 * (np.array(run['energies']) - run['energies'][0])).tolist()
            traces.append(line(run['times'], above, f'{run["ensemble"].upper()} {run["temperature"]:.0f} K', index % 6))
    return figure(traces, 'time (ps)', 'energy from the start (meV/atom)')


def melting(found: dict[str, Any]) -> Figure | None:
    """Draw the temperature of the coexistence of solid and liquid, and how much of it is solid, over time."""
    track = found.get('track') or {}
    if not track.get('times'):
        return None
    traces = [line(track['times'], track['temperatures'], 'temperature (K)', 1)]
    layout = {}
    if track.get('solid'):
        traces.append(line(track['times'], track['solid'], 'solid part', 0, yaxis='y2'))
        layout['yaxis2'] = {'overlaying': 'y', 'side': 'right', 'range': [0, 1], 'title': {'text': 'solid part'}}
    return figure(traces, 'time (ps)', 'temperature (K)', **layout)
