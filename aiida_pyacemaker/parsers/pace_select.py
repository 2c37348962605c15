"""Parser of `PaceSelectCalculation`."""

from __future__ import annotations

from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class PaceSelectParser(ConfigurationsParser):
    """Parse a selection: counts and the chosen configurations."""

    OUTPUT = 'configurations'
