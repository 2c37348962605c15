"""Parser of `PaceValidateCalculation`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class PaceValidateParser(ConfigurationsParser):
    """Parse what was found of crystals, and the relaxed crystals."""

    OUTPUT = 'crystals'

    def parse_product(self, product: Path) -> dict[str, orm.Data]:
        """Return the relaxed crystals, and the cells for the oracle where there are any."""
        nodes = super().parse_product(product)
        cells = product.with_name(self.node.process_class.FILENAME_CELLS)
        return {**nodes, 'cells': ConfigurationsData.from_file(cells)} if cells.exists() else nodes
