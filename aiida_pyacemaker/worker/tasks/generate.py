"""Make an initial set: `configurations.npz`, the user's own structures, if any -> `generated.npz`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...atomistics.core.configurations import save_configurations
from ...atomistics.core.validation import read_section
from ...atomistics.generators.generate import generate
from ...atomistics.generators.limits import Limits
from ...atomistics.generators.parameters import InitialSet
from ..files import CONFIGURATIONS, read_frames, say

#: Seconds between two lines of progress.
TELL_EVERY = 5.0


def run(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return how many structures there are, a row for each family, and what is other than asked for."""
    section = read_section(InitialSet, parameters)
    own = read_frames(directory / CONFIGURATIONS) if (directory / CONFIGURATIONS).is_file() else []
    told = time.monotonic()

    def progress(done: int, wanted: int) -> None:
        nonlocal told
        if done == wanted or time.monotonic() - told > TELL_EVERY:
            say(f'{done} of {wanted} variants')
            told = time.monotonic()

    say(f'ideal structures of {", ".join(section.elements)}; amorphous ones take minutes')
    made = generate(
        section.elements,
        section.structures,
        section.seed,
        own=own,
        cutoff=section.cutoff,
        limits=Limits.from_dict(section.limits),
        progress=progress,
    )
    save_configurations(directory / 'generated.npz', made.frames)
    return {'number_of_configurations': len(made.frames), 'table': made.table(), 'notes': made.notes}
