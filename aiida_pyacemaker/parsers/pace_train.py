"""Parser of `PaceTrainCalculation`."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData
from aiida_pyacemaker.parsers.worker import WorkerParser


class PaceTrainParser(WorkerParser):
    """Parse a fit: metrics, the potential, and what it predicts of the test configurations."""

    TEST_PREDICTIONS = 'test_predictions.npz'

    def parse_product(self, product: Path) -> dict[str, orm.Data]:
        """Return the potential that the fit wrote, and its predictions if there was a test set."""
        nodes: dict[str, orm.Data] = {'potential': AcePotentialData.from_directory(product)}
        if (product / self.TEST_PREDICTIONS).is_file():
            nodes['predictions'] = ConfigurationsData.from_file(product / self.TEST_PREDICTIONS)
        return nodes
