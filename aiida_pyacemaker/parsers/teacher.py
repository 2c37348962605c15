"""Parser of `TeacherCalculation`."""

from __future__ import annotations

from aiida_pyacemaker.parsers.worker import ConfigurationsParser


class TeacherParser(ConfigurationsParser):
    """Parse what a teacher labelled: counts and failures, and the labelled configurations."""

    OUTPUT = 'labelled'
