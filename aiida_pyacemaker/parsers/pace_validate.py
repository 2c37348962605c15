"""Parser of `PaceValidateCalculation`."""

from __future__ import annotations

from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class PaceValidateParser(ConfigurationsParser):
    """Parse what was found of crystals, and the relaxed crystals."""

    OUTPUT = 'crystals'
