"""Calcfunction that accepts suspicious labels which the user has confirmed."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.core.configurations import check_labelled
from aiida_pyacemaker.data.configurations import ConfigurationsData

CONFIRMED = 'confirmed'


@calcfunction
def confirm_labels(configurations: ConfigurationsData, indices: orm.List) -> ConfigurationsData:
    """Return the configurations that were confirmed, with one more flag that says so: a set to train on.

    :param configurations: labels that were flagged, the output ``suspect`` of ``collect_labels``.
    :param indices: which of them are right after all, counted from 0.
    :raises ValueError: if there is no such configuration, or it has no energy or no forces.
    """
    frames, chosen = configurations.get_frames(), []
    for index in dict.fromkeys(indices.get_list()):
        if not isinstance(index, int) or not 0 <= index < len(frames):
            raise ValueError(f'There is no configuration {index}: the set has {len(frames)}, counted from 0.')
        atoms = frames[index]
        try:
            check_labelled([atoms])
        except ValueError as exception:
            raise ValueError(f'Configuration {index} cannot be confirmed: {exception}.') from exception
        atoms.info['flags'] = [*atoms.info.get('flags', []), CONFIRMED]
        chosen.append(atoms)
    if not chosen:
        raise ValueError('There is nothing to confirm: name at least one configuration.')
    return ConfigurationsData(chosen)
