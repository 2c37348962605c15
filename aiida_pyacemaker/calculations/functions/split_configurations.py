"""Calcfunction that holds back a part of a data set."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.datasets import split
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def split_configurations(
    configurations: ConfigurationsData, fraction: orm.Float, seed: orm.Int
) -> dict[str, ConfigurationsData]:
    """Return the configurations to train on as `train`, those held back as `test` if there are any.

    :param fraction: of the configurations to hold back; see :func:`aiida_pyacemaker.atomistics.datasets.split`.
    """
    parts = zip(('train', 'test'), split(configurations.get_frames(), fraction.value, seed.value), strict=True)
    return {name: ConfigurationsData(frames) for name, frames in parts if frames}
