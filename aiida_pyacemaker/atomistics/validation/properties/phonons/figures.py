"""Figures of phonons."""

from __future__ import annotations

import numpy as np

from ...figures import Figure, figure, line
from . import PhononResult


def phonons(found: PhononResult) -> Figure | None:
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


def thermal(found: PhononResult) -> Figure | None:
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
