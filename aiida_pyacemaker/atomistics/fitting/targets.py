"""What ACE has to give: the labels, less the free atoms and the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ace.store import Evaluation
from .equations import Target
from .training_set import LabelledFrame


def make_targets(
    frames: Sequence[LabelledFrame], references: dict[str, float], baseline: Sequence[Evaluation]
) -> list[Target]:
    """Return the targets of labelled frames.

    What does not count is absent or zero, whatever the label is: nothing after this sees it.

    :param references: energy of the free atoms (eV). :param baseline: energy (eV), forces (eV/Å), stress (eV/Å³).
    """
    pairs = enumerate(zip(frames, baseline, strict=True))
    return [make_target(frame, references, given, f'configuration {index}') for index, (frame, given) in pairs]


def make_target(frame: LabelledFrame, references: dict[str, float], baseline: Evaluation, name: str) -> Target:
    """Return the target of one frame, which has a `name` of its own; see :func:`make_targets`."""
    energy, push, stress = baseline
    target = Target(
        None, None, None, frame.weight, frame.force_weights, frame.weight, frame.group, frame.trajectory or name
    )
    if frame.energy is not None:
        free = sum(references[symbol] for symbol in frame.atoms.get_chemical_symbols())
        target.energy = frame.energy - free - energy
        if frame.stress is not None and frame.atoms.pbc.all():
            target.stress = frame.stress - stress
    target.forces = np.where(frame.counting[:, None], frame.forces - push, 0.0)
    return target
