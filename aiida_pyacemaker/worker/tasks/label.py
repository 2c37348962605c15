"""Label with a teacher: `configurations.npz` (and a model file in `model/`) -> `labelled.npz`."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import Any

from ...atomistics.core.configurations import save_configurations
from ...atomistics.labelling.teachers import get_settings, label_frames, read_teacher
from ..files import CONFIGURATIONS, read_frames, say
from ..main import versions


def run(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Label those that `indices` names, all by default.

    The info `index` of what is labelled, and the `index` of a failure, count in `configurations.npz`.

    :raises ValueError: if an index is out of range, or nothing at all could be labelled.
    """
    frames = read_frames(directory / CONFIGURATIONS)
    indices = parameters.get('indices') or list(range(len(frames)))
    if not all(isinstance(index, int) and 0 <= index < len(frames) for index in indices):
        raise ValueError(f'`indices`: {CONFIGURATIONS} has {len(frames)} configurations, counted from 0')
    teacher = read_teacher(parameters.get('teacher'))
    model = next((directory / 'model').iterdir(), None) if (directory / 'model').is_dir() else None
    start = perf_counter()
    labelled, failures = label_frames([frames[index] for index in indices], teacher, say, model)
    seconds = perf_counter() - start
    if not labelled:
        raise ValueError(f'none of {len(indices)} configurations could be labelled: {failures[0]["message"]}')
    for item in (*failures, *(atoms.info for atoms in labelled)):
        item['index'] = indices[item['index']]
    save_configurations(directory / 'labelled.npz', labelled)
    return {
        'number_of_configurations': len(indices),
        'number_labelled': len(labelled),
        'number_failed': len(failures),
        'failures': failures,
        'settings': get_settings(teacher, model),
        'wall_time_seconds': seconds,
        'seconds_per_atom': seconds / sum(len(frames[index]) for index in indices),
        'threads': int(os.environ['OMP_NUM_THREADS']),
        'versions': versions(),
    }
