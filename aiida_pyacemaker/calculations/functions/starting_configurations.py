"""Calcfunction that makes the cells in which simulations start."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def starting_configurations(parameters: orm.Dict) -> ConfigurationsData:
    """Return one perfect cell for each prototype.

    :param parameters: dictionary with ``elements``, ``prototypes`` (list, or None for the ground state) and ``atoms``,
        the least number of atoms in a cell.
    """
    from aiida_pyacemaker.atomistics.generators.bulk import starting_cell

    values = parameters.get_dict()
    prototypes = values['prototypes'] or [None]
    return ConfigurationsData([starting_cell(values['elements'], name, values['atoms']) for name in prototypes])
