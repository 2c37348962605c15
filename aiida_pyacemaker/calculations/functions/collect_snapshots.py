"""Calcfunction that puts the frames of several simulations together."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def collect_snapshots(
    structures: ConfigurationsData, starts: orm.Dict, **sets: ConfigurationsData
) -> ConfigurationsData:
    """Return the frames of all simulations in one set, with what their atoms have from the starting cells.

    :param structures: the starting cells.
    :param starts: which of them each simulation started in, by the name of its set.
    :param sets: the frames of each simulation, in the alphabetical order of their names.
    """
    from aiida_pyacemaker.atomistics.lammps.outcome import keep_arrays

    cells, numbers, frames = structures.get_frames(), starts.get_dict(), []
    for name in sorted(sets):
        for atoms in sets[name].get_frames():
            keep_arrays(atoms, cells[numbers[name]])
            frames.append(atoms)
    return ConfigurationsData(frames)
