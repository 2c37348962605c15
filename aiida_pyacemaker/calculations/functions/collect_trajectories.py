"""Calcfunction that gathers what simulations saw."""

from __future__ import annotations

import re

from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData

ROLES = ('halted', 'trajectory')


@calcfunction
def collect_trajectories(**sets: ConfigurationsData) -> ConfigurationsData:
    """Return the configurations of several simulations in one node, for the selection.

    Each configuration gets the info ``role`` (``halted`` or ``trajectory``, the first part of the name of its set),
    ``walker`` (the number at the end of the name) and ``parent`` (uuid of the set, whose creator is the simulation).

    :param sets: the sets, named such as ``halted_03`` and ``trajectory_03``.
    :raises ValueError: if a name does not start with a role.
    """
    frames = []
    for name in sorted(sets):
        role = name.split('_')[0]
        if role not in ROLES:
            raise ValueError(f'`{name}` does not start with {" or ".join(ROLES)}: rename it, such as `halted_00`.')
        walker = re.search(r'(\d+)$', name)
        for atoms in sets[name].get_frames():
            atoms.info.update({'role': role, 'parent': sets[name].uuid})
            if walker:
                atoms.info['walker'] = int(walker.group(1))
            frames.append(atoms)
    return ConfigurationsData(frames)
