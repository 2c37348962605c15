"""Calcfunction that makes the initial configurations."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.structures import get_frames


@calcfunction
def generate_configurations(parameters: orm.Dict, **own: orm.Data) -> ConfigurationsData:
    """Return the initial configurations, unlabelled, each with family, phase, operation, parent and split in its info.

    What was refused, and why, is in the extras of the node that is returned.

    :param parameters: ``elements`` (list of symbols), ``structures`` (the section of the run file, see
        :class:`aiida_pyacemaker.atomistics.generators.plan.Structures`), ``seed`` and, optionally, ``cutoff`` in Å and
        ``limits`` (see :class:`aiida_pyacemaker.atomistics.generators.limits.Limits`).
    :param own: the user's own structures, under any names: StructureData, TrajectoryData or ConfigurationsData.
    """
    from aiida_pyacemaker.atomistics.generators.generate import generate
    from aiida_pyacemaker.atomistics.generators.limits import Limits
    from aiida_pyacemaker.atomistics.generators.plan import Structures

    values = parameters.get_dict()
    generation = generate(
        values['elements'],
        Structures(**values.get('structures', {})),
        values['seed'],
        own=get_frames(own),
        cutoff=values.get('cutoff'),
        limits=Limits.from_dict(values.get('limits')),
    )
    configurations = ConfigurationsData(generation.frames)
    configurations.base.extras.set('generation', {'table': generation.table(), 'notes': generation.notes})
    return configurations
