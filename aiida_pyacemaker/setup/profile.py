"""The AiiDA profile and its daemon."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .engines import run_program

if TYPE_CHECKING:
    from aiida.engine.daemon.client import DaemonClient
    from aiida.manage.configuration import Profile
    from aiida.manage.configuration.config import Config

#: Options of the profile. A `daemon restart` can outrun the default time limit of 2 s; finished DFT, fits and
#: simulations are never computed again. The end of a process is broadcast; that a runner also looks for it now and then
#: costs 3 ms of CPU per process that waits: with one look per second, 20 s of CPU for an hour of DFT.
OPTIONS = {
    'daemon.timeout': 30,
    'runner.poll.interval': 10,
    'caching.enabled_for': [
        'aiida.calculations:quantumespresso.pw',
        'aiida.calculations:pyacemaker.generate',
        'aiida.calculations:pyacemaker.lammps_melting',
        'aiida.calculations:pyacemaker.lammps_pace',
        'aiida.calculations:pyacemaker.pace_evaluate',
        'aiida.calculations:pyacemaker.pace_select',
        'aiida.calculations:pyacemaker.pace_train',
        'aiida.calculations:pyacemaker.pace_validate',
        'aiida.calculations:pyacemaker.teacher',
    ],
}


#: Seconds between the starts of the broker and of the workers of a daemon, at most.
BROKER_SECONDS = 10.0
#: Within this time workers of a daemon that starts listen to the broker: 3 to 6 s are usual.
LISTEN_SECONDS = 40.0


def ensure_profile(name: str) -> tuple[Profile, bool]:
    """Load the profile, after creating it if it does not exist: SQLite, and a ZeroMQ broker that lives in the daemon.

    Other profiles, and the user's default profile if there is one, stay as they are. Options that are set already
    are kept.

    :return: the profile, and whether it was created now.
    :raises ValueError: if the name is not a valid one.
    """
    from aiida.manage.configuration import get_config, load_profile

    config = get_config(create=True)
    create = name not in config.profile_names
    if create:
        create_profile(config, name)
    changed = create
    for option, value in OPTIONS.items():
        if config.get_option(option, scope=name, default=False) is None:
            config.set_option(option, value, scope=name)
            changed = True
    if config.default_profile_name is None:
        config.set_default_profile(name)
        changed = True
    if changed:
        config.store()
    return load_profile(name, allow_switch=True), create


def create_profile(config: Config, name: str) -> None:
    """Create the profile, its storage and its user."""
    from aiida.manage.configuration import create_profile as aiida_create_profile
    from aiida.plugins import BrokerFactory

    if not name or not all(letter.isalnum() or letter in '-_.' for letter in name) or name.startswith('-'):
        raise ValueError(f'`{name}` is no name for a profile: use letters, digits, `-`, `_` and `.`')
    broker = 'core.zeromq'
    aiida_create_profile(
        config,
        name=name,
        email=config.get_option('autofill.user.email') or 'aiida@localhost',
        first_name=config.get_option('autofill.user.first_name'),
        last_name=config.get_option('autofill.user.last_name'),
        institution=config.get_option('autofill.user.institution'),
        storage_backend='core.sqlite_dos',
        storage_config={},
        broker_backend=broker,
        broker_config=BrokerFactory(broker).get_default_config(),
    )
    let_readers_be(config.get_profile(name))


def let_readers_be(profile: Profile) -> None:
    """Switch the SQLite database to write-ahead logging, in which neither readers nor writers block each other.

    With SQLite's default, a query of more than 5 s in one terminal makes the daemon's next write fail with `database is
    locked`, after which its worker cannot go on. The mode is kept in the file.
    """
    import sqlite3
    from contextlib import closing

    from aiida.storage.sqlite_dos.backend import FILENAME_DATABASE

    path = Path(profile.storage_config['filepath']) / FILENAME_DATABASE
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA journal_mode=WAL')


def daemon_client(profile: Profile) -> DaemonClient:
    """Return the client of the profile's daemon.

    :raises ValueError: if the profile has no broker and so cannot have a daemon.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.engine.daemon.client import get_daemon_client

    if profile.process_control_backend is None:
        raise ValueError(
            f'the profile `{profile.name}` has no message broker and so no daemon: '
            f'run `verdi profile configure-broker core.zeromq {profile.name}`'
        )
    try:
        return get_daemon_client(profile.name)
    except ConfigurationError as exception:
        raise ValueError(str(exception)) from exception


def ensure_daemon(profile: Profile) -> str:
    """Make sure that a daemon runs, with the code of this environment as it is now.

    :return: 'already there', 'started', or 'restarted: why'.
    :raises ValueError: if it does not start.
    """
    client = daemon_client(profile)
    if not is_running(client):
        forget_broker(profile)
        start_daemon(profile)
        revive_processes()
        return 'started'
    reason = why_restart(client)
    if reason is None:
        return 'already there'
    _verdi_daemon(profile.name, 'stop')
    start_daemon(profile)
    revive_processes()
    return f'restarted: {reason}'


def start_daemon(profile: Profile) -> None:
    """Start the daemon and wait until a worker of it listens to the broker.

    A worker that reads the address of the broker in the moment in which it is written listens to nothing, for ever;
    then the daemon is started once more.

    :raises ValueError: if no worker listens then.
    """
    for attempt in range(2):
        if attempt:
            _verdi_daemon(profile.name, 'stop')
        _verdi_daemon(profile.name, 'start')
        end = time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < end:
            if count_listeners(profile) != 0:
                return
            time.sleep(0.3)
    raise ValueError(
        f'no worker of the daemon listens to the message broker: see `verdi -p {profile.name} daemon logshow`'
    )


def count_listeners(profile: Profile) -> int | None:
    """Return how many workers of the daemon listen to the ZeroMQ broker of a profile; None for another broker.

    The broker writes it to its status file every few seconds.
    """
    import json

    from aiida.manage.configuration import get_config

    if profile.process_control_backend != 'core.zeromq':
        return None
    try:
        path = Path(get_config().filepaths(profile)['broker_service']['dir']) / 'broker.status'
        return int(json.loads(path.read_text(encoding='utf-8'))['task_subscribers'])
    except (OSError, ValueError, KeyError):
        return 0


def revive_processes() -> None:
    """Have the daemon start the processes that never started: their tasks may have gone to a broker that was killed.

    Whatever waits for such a process would wait forever. A task that comes twice is ignored.
    """
    from aiida.engine import ProcessState
    from aiida.manage.manager import get_manager
    from aiida.orm import ProcessNode, QueryBuilder

    filters = {'attributes.process_state': ProcessState.CREATED.value}
    lost = QueryBuilder().append(ProcessNode, filters=filters, project='id').all(flat=True)
    if lost:
        controller = get_manager().get_process_controller()
        for pk in lost:
            controller.continue_process(pk, nowait=False, no_reply=True)


def is_running(client: DaemonClient) -> bool:
    """Return whether there is a daemon: one that was killed, or went down with the machine, leaves its PID behind."""
    import psutil

    pid = client.get_daemon_pid()
    try:
        return pid is not None and 'start-circus' in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def forget_broker(profile: Profile) -> None:
    """Remove the address of a broker that was killed together with the daemon.

    The broker writes the address of its socket to a file, and removes it at its end unless it is killed. A worker that
    starts before the new broker then connects to the old address, where nothing listens, and waits forever.
    """
    from aiida.manage.configuration import get_config

    folder = get_config().filepaths(profile).get('broker_service', {}).get('dir')
    if folder is not None:
        (Path(folder) / 'broker.sockets').unlink(missing_ok=True)


def why_restart(client: DaemonClient) -> str | None:
    """Return why a running daemon is not good for the package as it is installed here, ``None`` if it is.

    A daemon keeps the modules that it imported when it started.
    """
    import psutil

    import aiida_pyacemaker

    now = time.time()
    try:
        daemon = psutil.Process(client.get_daemon_pid())
        started = daemon.create_time()
        command = daemon.cmdline()
        children = [(child.create_time(), ' '.join(child.cmdline())) for child in daemon.children()]
    except psutil.Error:
        return None
    if not any(Path(word).parent == Path(sys.prefix) / 'bin' for word in command if word.startswith('/')):
        return 'it ran in another Python environment'
    broker = max((begin for begin, line in children if 'daemon broker' in line), default=0.0)
    if any('daemon worker' in line and begin < broker - BROKER_SECONDS for begin, line in children):
        # it was killed alone, and started again at another address
        return 'its workers wait for a message broker that is gone'
    if (
        min((begin for begin, _ in children), default=now) < now - LISTEN_SECONDS
        and count_listeners(client.profile) == 0
    ):
        return 'none of its workers listens to the message broker'
    package = Path(aiida_pyacemaker.__file__).parent
    if max(path.stat().st_mtime for path in package.rglob('*.py')) > started:
        return 'it was started before the package was changed'
    return None


def _verdi_daemon(name: str, action: str) -> None:
    """Run `verdi daemon start` or `stop` in a process of its own, so that the daemon inherits nothing from this one."""
    own = Path(sys.prefix) / 'bin'
    path = os.pathsep.join([str(own), os.environ.get('PATH', '')])
    result = run_program([own / 'verdi', '-p', name, 'daemon', action], environment={'PATH': path}, timeout=120)
    if result.returncode != 0:
        last = ' | '.join((result.stdout + result.stderr).strip().splitlines()[-3:])
        raise ValueError(f'`verdi -p {name} daemon {action}` failed: {last}')
