"""Figure of the simulations."""

from __future__ import annotations

import numpy as np

from ...figures import Figure, figure, line
from . import Simulation


def energies(runs: list[Simulation]) -> Figure | None:
    """Draw the energy of simulations over time, each from its start."""
    traces = []
    for index, run in enumerate(runs):
        if run.get('energies'):
            above = (1e3 * (np.array(run['energies']) - run['energies'][0])).tolist()
            traces.append(line(run['times'], above, f'{run["ensemble"].upper()} {run["temperature"]:.0f} K', index % 6))
    return figure(traces, 'time (ps)', 'energy from the start (meV/atom)')
