"""Parser of `PaceSelectCalculation`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class PaceSelectParser(ConfigurationsParser):
    """Parse a selection: counts and the chosen configurations, if any is worth a label."""

    OUTPUT = 'configurations'

    def parse_product(self, product: Path) -> dict[str, orm.Data]:
        """Return the chosen configurations; nothing where none was chosen, which is no failure."""
        frames = load_configurations(product)
        return {self.OUTPUT: ConfigurationsData(frames)} if frames else {}
