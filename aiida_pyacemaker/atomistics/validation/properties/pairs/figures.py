"""Figures of pairs and compressions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...figures import Figure, dots, figure, line
from . import Compression, Pair

#: How far above the lowest energy the curves of pairs and compressions are shown at first (eV).
HEIGHT = 10.0


def pairs(found: Mapping[str, Pair]) -> Figure | None:
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


def compression(found: Compression) -> Figure | None:
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
