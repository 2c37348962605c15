"""Look at crystals: `configurations.npz`, `potential/` -> `crystals.npz`, the same relaxed, and `cells.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...atomistics.core.configurations import save_configurations
from ...atomistics.core.validation import read_section
from ...atomistics.validation.same_cells import SameCells, make_cells
from ...atomistics.validation.suite import crystals_of, read_suite, run_suite
from ..files import CONFIGURATIONS, read_frames, read_potential, say


def run(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what :func:`~aiida_pyacemaker.atomistics.validation.suite.run_suite` returns, and `same_cells`."""
    suite = read_suite(parameters)
    potential = read_potential(directory)
    frames = read_frames(directory / CONFIGURATIONS)
    content = run_suite(potential.directory, frames, suite, suite.processes, report=say)
    # the folder of a job says nothing
    content['potential']['name'] = f'ACE of {"-".join(potential.elements)}'
    save_configurations(directory / 'crystals.npz', crystals_of(content))
    if suite.same_cells:
        asked = read_section(SameCells, suite.same_cells)
        cells, content['same_cells'] = make_cells(potential.directory, content, asked, suite.processes, report=say)
        if cells:
            save_configurations(directory / 'cells.npz', cells)
    return content
