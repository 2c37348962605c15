"""Figure of the melting."""

from __future__ import annotations

from ...figures import Figure, figure, line
from . import MeltingResult


def melting(found: MeltingResult) -> Figure | None:
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
