"""Parser of `PaceTrainCalculation`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_pyacemaker.data.potential import AcePotentialData
from aiida_pyacemaker.parsers.worker import WorkerParser


class PaceTrainParser(WorkerParser):
    """Parse a fit: metrics and the potential."""

    def parse_product(self, product: Path) -> tuple[str, orm.Data]:
        """Return the potential that the fit wrote."""
        return 'potential', AcePotentialData.from_directory(product)
