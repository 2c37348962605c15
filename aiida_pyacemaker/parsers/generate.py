"""Parser of `GenerateCalculation`."""

from __future__ import annotations

from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class GenerateParser(ConfigurationsParser):
    """Parse an initial set: its configurations, and how they came about."""
