"""Choose: `configurations.npz`, `potential/` -> `selected.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...atomistics.core.configurations import save_configurations
from ...atomistics.core.frame import info
from ...atomistics.core.validation import read_section
from ...atomistics.selection.parameters import Selection
from ...atomistics.selection.select import select_configurations
from ..files import CONFIGURATIONS, read_frames, read_potential, say


def run(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return how many of each family were chosen, and their largest gamma."""
    frames = read_frames(directory / CONFIGURATIONS)
    selected = select_configurations(read_potential(directory), frames, read_section(Selection, parameters), report=say)
    save_configurations(directory / 'selected.npz', selected)
    families = [info(atoms)['family'] for atoms in selected]
    return {
        'number_of_configurations': len(selected),
        'families': {family: families.count(family) for family in sorted(set(families))},
        'gamma_max': max((info(atoms)['gamma_max'] for atoms in selected), default=None),
    }
