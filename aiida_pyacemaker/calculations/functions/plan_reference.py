"""Calcfunction that makes the configurations whose labels give a property of crystals."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.atomistics.validation import from_labels
from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def plan_reference(
    crystals: ConfigurationsData, parameters: orm.Dict, known: orm.Dict | None = None
) -> ConfigurationsData:
    """Return the configurations to label, of all crystals together.

    :param crystals: the crystals.
    :param parameters: ``property`` (``eos`` or ``elasticity``); where it is not left out, the ``kpoints_distance`` in
        1/Å, and ``sections``, parameters of the properties by their names.
    :param known: what :func:`~.analyse_reference.analyse_reference` says of them: they are taken at the
        volumes of their equations of state, and those that have none are left out.
    :raises ValueError: if no crystal can have the property.
    """
    values, frames = parameters.get_dict(), crystals.get_frames()
    states = None if known is None else known.get_dict()['crystals']
    planned = from_labels.plan(
        frames, values['property'], values.get('sections'), values.get('kpoints_distance'), known=states
    )
    if not planned:
        raise ValueError('; '.join(filter(None, map(from_labels.why_not, frames))) or 'there is no equation of state')
    return ConfigurationsData(planned)
