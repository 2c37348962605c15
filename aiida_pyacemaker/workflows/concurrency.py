"""How many jobs run at a time: here as many as there are cores, elsewhere that is for the scheduler."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aiida import orm

#: Jobs at a time where a scheduler decides which of them run.
JOBS_IN_QUEUE = 20


def count_local_cores(code: orm.AbstractCode) -> int | None:
    """Return the cores that jobs of a code share; None where a scheduler, or another computer, shares them out.

    Those that this process may use: the daemon of a container or of a batch job may have fewer than the machine.
    """
    computer = code.computer
    if computer is None or computer.transport_type != 'core.local' or computer.scheduler_type != 'core.direct':
        return None
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cores_of_job(options: Mapping[str, Any]) -> int:
    """Return how many cores a job occupies, by AiiDA's ``metadata.options``."""
    resources = options.get('resources') or {}
    processes = resources.get('tot_num_mpiprocs')
    if processes is None:
        processes = (resources.get('num_machines') or 1) * (resources.get('num_mpiprocs_per_machine') or 1)
    return int(processes) * int(resources.get('num_cores_per_mpiproc') or 1)


def jobs_at_a_time(wanted: int | None, code: orm.AbstractCode, options: Mapping[str, Any]) -> int:
    """Return how many jobs run at the same time.

    :param wanted: ``label.max_concurrent``; None: as many as the cores of this computer hold, one at least, and
        :data:`JOBS_IN_QUEUE` where there is a scheduler.
    :param options: ``metadata.options`` of a job.
    """
    if wanted is not None:
        return wanted
    cores = count_local_cores(code)
    return JOBS_IN_QUEUE if cores is None else max(1, cores // cores_of_job(options))
