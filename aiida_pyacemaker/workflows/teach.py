"""WorkChain that labels a batch of configurations with a teacher."""

from __future__ import annotations

from aiida.plugins import CalculationFactory

from .worker_base import WorkerBaseWorkChain

TeacherCalculation = CalculationFactory('pyacemaker.teacher')


class TeachWorkChain(WorkerBaseWorkChain):
    """Label configurations with a teacher: a job that was killed is run once more, so its labels are not lost."""

    _process_class = TeacherCalculation
