"""Calcfunction that makes the structures that a judgement asks for."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData


@calcfunction
def make_requested(
    results: orm.Dict, content: orm.Dict, seed: orm.Int, number: orm.Int | None = None
) -> ConfigurationsData:
    """Return structures that cure what the gate has found wrong, to be labelled and learned.

    :param results: the verdict of ``judge``, with ``requests``.
    :param content: what was judged: the crystals at their equilibrium.
    :param seed: of everything random.
    :param number: structures at most.
    """
    from aiida_pyacemaker.atomistics.validation.requests import make_structures
    from aiida_pyacemaker.atomistics.validation.suite import crystals_of

    requests, most = results.get_dict()['requests'], None if number is None else number.value
    return ConfigurationsData(make_structures(requests, crystals_of(content.get_dict()), seed.value, most))
