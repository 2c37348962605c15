"""Calcfunction that says which crystals a potential is judged on."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.structures import get_frames


@calcfunction
def choose_crystals(parameters: orm.Dict, dataset: ConfigurationsData, **own: orm.Data) -> ConfigurationsData:
    """Return the crystals that matter most, one of each phase: the user's own first, then those of lowest energy.

    :param parameters: dictionary with ``elements``, ``structures`` (the section of the run file), ``seed``, and
        ``number``, how many crystals at most.
    :param dataset: what was labelled. If there is no crystal in it, ideal structures are made as for simulations.
    :param own: the user's own structures, under any names: StructureData, TrajectoryData or ConfigurationsData.
    """
    from aiida_pyacemaker.atomistics.generators.generate import starting_cells
    from aiida_pyacemaker.atomistics.generators.plan import Structures
    from aiida_pyacemaker.atomistics.validation.choose import choose_crystals as choose

    values = parameters.get_dict()
    number = values['number']
    found = choose(dataset.get_frames(), number)
    if not found:
        structures = Structures(**values.get('structures', {}))
        frames = get_frames(own, structures.moments)
        cells = starting_cells(values['elements'], structures, values['seed'], 1, number, own=frames)
        found = choose(cells, number) or cells
    return ConfigurationsData(found)
