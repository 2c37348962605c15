"""Calcfunction that holds back a part of a data set."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.io.datasets import split
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def split_configurations(
    configurations: ConfigurationsData, shares: orm.List, seed: orm.Int, order: orm.Str
) -> dict[str, ConfigurationsData]:
    """Return the configurations to train on as `train`, all that is held back, if anything, as `held_back`.

    The info `split` of what is held back is 'validation' or 'test'.

    :param shares: of the configurations to hold back; see :func:`aiida_pyacemaker.atomistics.io.datasets.split`.
    """
    parts = split(configurations.get_frames(), shares.get_list(), seed.value, order.value)
    held = []
    for name in ('validation', 'test'):
        for atoms in parts[name]:
            atoms.info['split'] = name
            held.append(atoms)
    nodes = {'train': parts['train'], 'held_back': held}
    return {name: ConfigurationsData(frames) for name, frames in nodes.items() if frames}
