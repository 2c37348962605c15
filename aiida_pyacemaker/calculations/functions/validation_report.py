"""Calcfunction that writes the report of a judgement."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiida import orm
from aiida.engine import calcfunction

from aiida_pyacemaker.data.configurations import ConfigurationsData

FILENAME = 'validation_report.html'


@calcfunction
def validation_report(
    results: orm.Dict,
    content: orm.Dict,
    references: orm.Dict,
    provenance: orm.Dict,
    test_set: ConfigurationsData | None = None,
    predictions: ConfigurationsData | None = None,
) -> orm.SinglefileData:
    """Return one HTML file for people that needs nothing else.

    :param results: the verdict of ``judge``; ``content`` and ``references`` are its other results.
    :param provenance: tables by their titles, and what else is to be cited.
    :param test_set: the labelled configurations that are held out, and ``predictions`` of the same.
    """
    from aiida_pyacemaker.atomistics.metrics.errors import error_arrays
    from aiida_pyacemaker.atomistics.validation.report import write_report

    measured = test_set is not None and predictions is not None
    arrays = error_arrays(test_set.get_frames(), predictions.get_frames()) if measured else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILENAME
        write_report(content.get_dict(), results.get_dict(), references.get_dict(), arrays, provenance.get_dict(), path)
        return orm.SinglefileData(path)
