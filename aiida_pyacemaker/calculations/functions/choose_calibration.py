"""Calcfunction that chooses what the expensive one of two tiers labels first."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.labelling import tiers as physics
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def choose_calibration(
    configurations: ConfigurationsData, teacher: ConfigurationsData, tiers: orm.Dict
) -> ConfigurationsData:
    """Return the configurations that go to the expensive tier whatever comes, in the order of the batch.

    What is held out and free atoms, what the teacher could not label, and the configurations of the calibration.

    :param configurations: the batch.
    :param teacher: those of its training configurations that the teacher has labelled.
    :param tiers: the section ``label.tiers``.
    """
    labelled = {physics.key(atoms): atoms for atoms in teacher if not physics.is_expensive(atoms)}
    number = physics.Tiers.model_validate(tiers.get_dict()).calibration
    chosen = physics.choose_calibration(list(labelled.values()), number)
    cheap = set(labelled) - {list(labelled)[index] for index in chosen}
    frames = configurations.get_frames()
    return ConfigurationsData(
        [atoms for atoms in frames if physics.is_expensive(atoms) or physics.key(atoms) not in cheap]
    )
