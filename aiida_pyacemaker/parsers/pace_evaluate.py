"""Parser of `PaceEvaluateCalculation`."""

from __future__ import annotations

from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class PaceEvaluateParser(ConfigurationsParser):
    """Parse a prediction: errors and the predicted labels."""

    OUTPUT = 'predictions'
