"""Labels of a ``TeacherCalculation``."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels


def read(frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
    """Return the labelled configurations of one job by their indices.

    :param frames: all configurations of the batch.
    :param index: the first configuration of the job.
    :param nodes: ``labelled``, the output of the job.
    :raises ValueError: if a label belongs to another structure.
    """
    found, creator = {}, nodes['labelled'].creator
    for labelled in nodes['labelled'].get_frames():
        k = labelled.info['index']
        if not 0 <= k < len(frames) or not _same(frames[k], labelled):
            raise ValueError(
                f'Configuration {k}: the label of the job of configuration {index} is of another structure.'
            )
        atoms = frames[k]
        atoms.info['settings'] = labelled.info['settings']
        if creator is not None:
            atoms.info['calculation'] = creator.uuid
        found[k] = set_labels(atoms, **labels(labelled))
    return found


def _same(one: Atoms, other: Atoms) -> bool:
    if not np.array_equal(one.numbers, other.numbers):
        return False
    return np.allclose(one.positions, other.positions) and np.allclose(one.cell.array, other.cell.array)
