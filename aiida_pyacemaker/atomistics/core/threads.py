"""Threads of numerical libraries; this module imports none of them, since they read these variables when they load."""

from __future__ import annotations

import os

#: Variables that set how many threads a process has.
THREAD_VARIABLES = (
    'OMP_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'MKL_NUM_THREADS',
)


def use_one_thread() -> None:
    """Have one thread per process, unless asked otherwise: we run our own processes, and jobs share a machine."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, '1')
