"""Calcfunction that makes the cells in which simulations start."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.structures import get_frames


@calcfunction
def starting_configurations(parameters: orm.Dict, **own: orm.Data) -> ConfigurationsData:
    """Return ideal structures, one of each phase before a second of any.

    :param parameters: dictionary with ``elements``, ``structures`` (the section of the run file), ``seed``, ``atoms``,
        the least number of atoms in a cell, ``number``, how many cells at most, and, optionally, ``max_atoms`` and
        ``hop``, whether cells with a vacancy come with them.
    :param own: the user's own structures, under any names: StructureData, TrajectoryData or ConfigurationsData.
    """
    from aiida_pyacemaker.atomistics.generators.generate import starting_cells
    from aiida_pyacemaker.atomistics.generators.plan import Structures

    values = parameters.get_dict()
    cells = starting_cells(
        values['elements'],
        Structures(**values.get('structures', {})),
        values['seed'],
        values['atoms'],
        values['number'],
        own=get_frames(own, values.get('structures', {}).get('moments')),
        max_atoms=values.get('max_atoms'),
        hop=values.get('hop', False),
    )
    return ConfigurationsData(cells)
