"""Calcfunction that makes the initial configurations."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def generate_configurations(parameters: orm.Dict) -> ConfigurationsData:
    """Return the initial configurations, unlabelled, each with family, phase and split in its info.

    :param parameters: ``elements`` (list of symbols), ``structures`` (the section of the run file, see
        :func:`aiida_pyacemaker.atomistics.generators.bulk.generate_bulk`) and ``seed``.
    """
    from aiida_pyacemaker.atomistics.generators.bulk import generate_bulk

    values = parameters.get_dict()
    return ConfigurationsData(generate_bulk(values['elements'], values.get('structures', {}), values['seed']))
