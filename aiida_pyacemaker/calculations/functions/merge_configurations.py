"""Calcfunction that puts sets of configurations together."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.labelling.settings import check_consistent
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def merge_configurations(mix_settings: orm.Bool | None = None, **sets: ConfigurationsData) -> ConfigurationsData:
    """Return all configurations of the sets in one, in the alphabetical order of the names of the sets.

    :param mix_settings: whether labels of different settings may stand in one set; they may not by default.
    :param sets: the sets, under any names.
    :raises ValueError: if labels of different settings meet. Configurations without labels never do.
    """
    frames = [atoms for name in sorted(sets) for atoms in sets[name].get_frames()]
    if not mix_settings:
        check_consistent(frames)
    return ConfigurationsData(frames)
