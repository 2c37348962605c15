"""Calcfunction that puts sets of configurations together."""

from __future__ import annotations

from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def merge_configurations(**sets: ConfigurationsData) -> ConfigurationsData:
    """Return all configurations of the sets in one, in the alphabetical order of the names of the sets.

    :param sets: the sets, under any names.
    """
    return ConfigurationsData([atoms for name in sorted(sets) for atoms in sets[name].get_frames()])
