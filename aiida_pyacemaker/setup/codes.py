"""The computer `localhost` and the codes on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .engines import Engine, find_mpirun

if TYPE_CHECKING:
    from aiida.orm import Computer, InstalledCode

    from aiida_pyacemaker.atomistics.core.plugins import CodePort

COMPUTER = 'localhost'
#: Codes that run our own executable have it in their label; all others are called as in a run file's section `codes`.
OWN_PREFIX = 'pyacemaker-'


def list_codes() -> dict[str, CodePort]:
    """Return the codes that a run may need, those of all plug-ins, by the labels that they have on this machine."""
    from aiida_pyacemaker.runfile.sections import get_code_ports

    ours = ('worker', 'teacher')
    return {f'{OWN_PREFIX}{key}' if key in ours else key: port for key, port in get_code_ports().items()}


def ensure_computer(label: str = COMPUTER) -> tuple[Computer, bool]:
    """Return the computer; create it if the loaded profile has none of this label.

    Jobs start at once (no queue) and as many as are submitted: one core each by default. mpirun is the system's, by
    its full path (see :func:`~aiida_pyacemaker.setup.engines.find_mpirun`).

    :return: the computer, and whether it was created now.
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent
    from aiida.manage.configuration import get_config, get_profile

    try:
        computer, created = orm.load_computer(label), False
    except NotExistent:
        computer, created = orm.Computer(label=label, hostname='localhost'), True
        computer.description = 'This machine, without a queue (aiida-pyacemaker setup)'
        computer.transport_type = 'core.local'
        computer.scheduler_type = 'core.direct'
        computer.set_workdir(str(Path(get_config().dirpath) / 'scratch' / get_profile().name))
        computer.set_mpirun_command([find_mpirun(), '-np', '{tot_num_mpiprocs}'])
        computer.set_default_mpiprocs_per_machine(1)
        computer.store()
        computer.set_minimum_job_poll_interval(1)
    if not computer.is_configured:
        # A login shell would read the user's start files for each look at the jobs: 0.1 s, several times per job.
        computer.configure(safe_interval=0, use_login_shell=False)
    return computer, created


def load_code(label: str, computer: Computer) -> InstalledCode | None:
    """Return the newest code of this label on the computer, or ``None``."""
    from aiida import orm

    query = orm.QueryBuilder()
    query.append(orm.Computer, filters={'id': computer.pk}, tag='computer')
    query.append(orm.InstalledCode, filters={'label': label}, with_computer='computer', tag='code')
    query.order_by({'code': {'id': 'desc'}})
    return query.first(flat=True)


def ensure_code(
    label: str, find: Callable[[], Engine], computer: Computer, *, exact: bool
) -> tuple[InstalledCode, str]:
    """Return the code; create it if there is none, or if the one there cannot be right any more.

    A code is part of the provenance of what it computed and cannot be changed: one that is replaced gives up its label.

    :param find: returns the engine that the code is to run.
    :param exact: the code has to run this engine. Otherwise one that was set up before is kept as long as its
        executable exists, and the engine is not looked for.
    :return: the code, and 'already there', 'created' or 'replaced'.
    """
    from aiida import orm

    code = load_code(label, computer)
    if code is not None and not exact and os.access(code.filepath_executable, os.X_OK):
        return code, 'already there'
    engine = find()
    if code is not None:
        if Path(code.filepath_executable) == engine.executable and code.prepend_text == engine.prepend_text:
            return code, 'already there'
        code.label = f'{label}-{code.pk}'
    new = orm.InstalledCode(
        label=label,
        description=f'{engine.name} {engine.version}'[:255],
        computer=computer,
        filepath_executable=str(engine.executable),
        default_calc_job_plugin=list_codes()[label].plugin,
        prepend_text=engine.prepend_text,
    ).store()
    return new, 'created' if code is None else 'replaced'
