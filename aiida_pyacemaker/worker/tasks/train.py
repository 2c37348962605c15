"""Fit: `configurations.npz` (and `test.npz`, a parent in `potential/` and `rows_parent/`) -> `potential_out/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...atomistics.core.validation import read_section
from ...atomistics.fitting.parameters import FitJob
from ...atomistics.fitting.train import FitResult, train
from ..files import CONFIGURATIONS, POTENTIAL, read_frames, read_potential, say

TEST = 'test.npz'


def run(directory: Path, parameters: dict[str, Any]) -> FitResult:
    """Return what :func:`~aiida_pyacemaker.atomistics.fitting.train.train` returns."""
    job = read_section(FitJob, parameters)
    test = read_frames(directory / TEST) if (directory / TEST).exists() else None
    parent = read_potential(directory) if (directory / POTENTIAL).exists() else None
    frames = read_frames(directory / CONFIGURATIONS)
    former = directory / 'rows_parent'
    return train(
        frames, job, directory / 'potential_out', parent=parent, test=test, report=say,
        rows=directory / 'rows', parent_rows=former if former.is_dir() else None,
    )  # fmt: skip
