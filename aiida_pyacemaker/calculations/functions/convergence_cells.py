"""The small cells on which the noise of DFT settings is measured."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def convergence_cells(configurations: ConfigurationsData, elements: orm.List, seed: orm.Int) -> ConfigurationsData:
    """Return small cells of low symmetry, see :func:`~aiida_pyacemaker.atomistics.labelling.convergence.make_cells`.

    :param configurations: the initial structures. :param elements: chemical symbols. :param seed: of the displacements.
    """
    from aiida_pyacemaker.atomistics.labelling.convergence import make_cells

    return ConfigurationsData(make_cells(configurations.get_frames(), elements.get_list(), seed.value))


@calcfunction
def choose_cells(configurations: ConfigurationsData, indices: orm.List) -> ConfigurationsData:
    """Return some of the cells.

    :param configurations: the cells. :param indices: which of them.
    """
    frames = configurations.get_frames()
    return ConfigurationsData([frames[index] for index in indices.get_list()])
