"""Calcfunction that compares a potential with the oracle of its labels in the same cells."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def compare_cells(suite: orm.Dict, cells: ConfigurationsData, **labelled: ConfigurationsData) -> orm.Dict:
    """Return ``crystals``: of each, what potential and oracle say of each property in the same cells.

    :param suite: results of ``pyacemaker.pace_validate``, with ``same_cells``.
    :param cells: the cells of it, with the labels of the potential.
    :param labelled: the same with the labels of the oracle, in as many nodes as there are, suspicious ones among them.
    """
    from aiida_pyacemaker.atomistics.validation import same_cells

    content = suite.get_dict()
    points = [atoms for _, node in sorted(labelled.items()) for atoms in node.get_frames()]
    found = same_cells.compare_cells(content, content['same_cells'], cells.get_frames(), points)
    return orm.Dict({'crystals': found})
