"""What `aiida-pyacemaker doctor` checks: each thing that a run needs, found and run, or what helps."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from . import codes, engines
from .engines import Engine, EngineError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.orm import Computer, InstalledCode

    from aiida_pyacemaker.atomistics.core.plugins import CodePort


#: How the engine behind each code is asked whether it works.
PROBES = {'pw': engines.probe_pw, 'lammps': engines.probe_lammps, 'pyacemaker-worker': engines.probe_worker}


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    :param name: what was checked.
    :param ok: whether it works.
    :param detail: version and place, or what is wrong.
    :param remedy: what helps.
    :param needed: whether the main job needs it.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ''
    needed: bool = True

    def to_dict(self) -> dict:
        """Return the check for JSON."""
        return asdict(self)


def run_checks(profile_name: str) -> Iterator[Check]:
    """Yield all checks. They change nothing and start nothing that stays.

    :param profile_name: profile to check; it need not exist.
    """
    yield check_python()
    yield from check_dependencies()
    yield _check('python-ace', lambda: f'{engines.find_python_ace()} (imports as pyace)')
    yield check_nonlinear()
    profile = load_profile(profile_name)
    if isinstance(profile, Check):
        # without a profile there are no codes: say what `setup` will find
        yield _check('pw.x', lambda: _describe(engines.find_pw()))
        yield _check('lmp', lambda: _describe(engines.find_lammps()))
        yield _check('pyacemaker-worker', lambda: _describe(engines.find_worker()))
        yield profile
        return
    yield Check('profile', True, _describe_profile(profile))
    yield check_daemon(profile)
    yield from check_codes(profile)
    yield check_pseudos(profile)


def _check(name: str, function: Callable[[], str], *, remedy: str = '') -> Check:
    """Turn a function that returns a description or raises into a check."""
    try:
        return Check(name, True, function())
    except EngineError as exception:
        return Check(name, False, exception.problem, exception.remedy or remedy)
    except Exception as exception:
        return Check(name, False, str(exception).strip() or type(exception).__name__, remedy)


def _describe(engine: Engine) -> str:
    return f'{engine.version}, {engine.executable}'


def check_python() -> Check:
    """Check the version of Python."""
    version = '.'.join(str(number) for number in sys.version_info[:3])
    detail = f'{version}, {sys.executable}'
    return Check('python', sys.version_info >= (3, 11), detail, 'make the environment with Python 3.11 or newer')


def check_dependencies() -> Iterator[Check]:
    """Check the package and each of its requirements by the version that is installed."""
    import aiida_pyacemaker

    name = 'aiida-pyacemaker'
    yield Check(name, True, f'{aiida_pyacemaker.__version__}, {Path(aiida_pyacemaker.__file__).parent}')
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        yield Check(f'{name} (installation)', False, 'not installed', f'run `{sys.executable} -m pip install {name}`')
        return
    for requirement in requirements:
        if requirement.marker is None:  # the rest belongs to extras
            yield check_requirement(str(requirement))


def check_requirement(line: str) -> Check:
    """Check one requirement such as `aiida-core>=2.9`."""
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    remedy = f"run `{sys.executable} -m pip install '{requirement}'`"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(requirement.name, False, 'not installed', remedy)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(requirement.name, False, f'{version}, but {requirement.specifier} is needed', remedy)
    return Check(requirement.name, True, version)


def check_nonlinear() -> Check:
    """Check what only nonlinear fits need."""
    try:
        detail = metadata.version('tensorpotential')
    except metadata.PackageNotFoundError:
        remedy = f"run `{sys.executable} -m pip install 'aiida-pyacemaker[nonlinear]'`"
        return Check('tensorpotential', False, 'not installed: only needed for `train.mode: nonlinear`', remedy, False)
    return Check('tensorpotential', True, detail, needed=False)


def load_profile(name: str) -> Profile | Check:
    """Load the profile and open its storage, or return the check that says why that fails."""
    from aiida.common.exceptions import MissingConfigurationError
    from aiida.manage.configuration import get_config
    from aiida.manage.configuration import load_profile as aiida_load_profile
    from aiida.manage.manager import get_manager

    setup = 'run `aiida-pyacemaker setup all`' + ('' if name == 'pyacemaker' else f' with `--profile {name}`')
    try:
        config = get_config()
    except MissingConfigurationError:
        return Check('profile', False, 'there is no AiiDA profile yet', setup)
    if name not in config.profile_names:
        known = ', '.join(config.profile_names) or 'none'
        return Check('profile', False, f'there is no AiiDA profile `{name}` (there are: {known})', setup)
    try:
        profile = aiida_load_profile(name, allow_switch=True)
        get_manager().get_profile_storage()
    except Exception as exception:
        return Check('profile', False, f'`{name}` cannot be opened: {exception}', f'run `verdi -p {name} status`')
    return profile


def _describe_profile(profile: Profile) -> str:
    broker = profile.process_control_backend or 'no broker'
    return f'{profile.name} ({profile.storage_backend}, {broker})'


def check_daemon(profile: Profile) -> Check:
    """Check that the daemon runs, from this environment and with the package as it is now."""
    from .profile import daemon_client, why_restart

    start = f'run `aiida-pyacemaker setup daemon{_profile_option(profile)}`'
    try:
        client = daemon_client(profile)
    except ValueError as exception:
        problem, _, remedy = str(exception).rpartition(': ')
        return Check('daemon', False, problem, remedy)
    if not client.is_daemon_running:
        return Check('daemon', False, 'not running', start)
    reason = why_restart(client)
    if reason is not None:
        return Check('daemon', False, f'running, but {reason}', start)
    return Check('daemon', True, f'running, process {client.get_daemon_pid()}')


def check_codes(profile: Profile) -> Iterator[Check]:
    """Check the computer and run each code the way a job does."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    option = _profile_option(profile)
    try:
        computer = orm.load_computer(codes.COMPUTER)
    except NotExistent:
        yield Check(
            'computer', False, f'there is no `{codes.COMPUTER}`', f'run `aiida-pyacemaker setup computer{option}`'
        )
        return
    if not computer.is_configured:
        remedy = f'run `aiida-pyacemaker setup computer{option}`'
        yield Check('computer', False, f'`{computer.label}` is not configured', remedy)
        return
    yield Check('computer', True, f'{computer.label} ({computer.transport_type}, {computer.scheduler_type})')
    for label, probe in PROBES.items():
        name = f'{label}@{computer.label}'
        code = codes.load_code(label, computer)
        setup = f'run `aiida-pyacemaker setup engines codes{option}`'
        if code is None:
            yield Check(name, False, 'there is no such code', setup)
        else:
            yield _check(name, lambda code=code, probe=probe: probe_code(code, probe), remedy=setup)
    for label, port in codes.list_codes().items():
        if label not in PROBES:
            yield check_further_code(label, port, computer)


def check_further_code(label: str, port: CodePort, computer: Computer) -> Check:
    """Look for a code that only some runs need, and whose engine cannot be asked whether it works."""
    name, code = f'{label}@{computer.label}', codes.load_code(label, computer)
    if code is not None:
        return Check(name, True, f'{code.filepath_executable}, not run', needed=False)
    plugin = f' for the plugin {port.plugin}' if port.plugin else ''
    remedy = f'if you need it, make it{plugin} with `verdi code create core.code.installed`'
    return Check(name, False, f'there is no such code: {port.help}', remedy, needed=False)


def working_codes(profile_name: str) -> dict[str, str]:
    """Return the description of every code on `localhost` that works, by label; none if there is no such profile.

    An engine that the user once named is found again this way.
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    if isinstance(load_profile(profile_name), Check):
        return {}
    try:
        computer = orm.load_computer(codes.COMPUTER)
    except NotExistent:
        return {}
    working = {}
    for label, probe in PROBES.items():
        code = codes.load_code(label, computer)
        if code is not None:
            with contextlib.suppress(EngineError):
                working[label] = probe_code(code, probe)
    return working


def probe_code(code: InstalledCode, probe: Callable[[Path], Engine]) -> str:
    """Run a code on this machine with the environment that its jobs get, and describe it.

    :raises EngineError: if it does not work.
    """
    executable = str(code.filepath_executable)
    if code.computer.transport_type != 'core.local':
        return f'{executable} on another machine: not run'
    if not Path(executable).is_file():
        raise EngineError(f'`{executable}` does not exist')
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / 'run.sh'
        lines = [
            '#!/bin/bash',
            code.computer.get_prepend_text() or '',
            code.prepend_text,
            f'exec {shlex.quote(executable)} "$@"',
        ]
        script.write_text('\n'.join(lines) + '\n')
        script.chmod(0o755)
        try:
            engine = probe(script)
        except EngineError as exception:
            raise EngineError(exception.problem.replace(str(script), executable), exception.remedy) from exception
    return f'{engine.version}, {executable}'


def check_pseudos(profile: Profile) -> Check:
    """Check that there is a pseudopotential family that a run file gets by default."""
    from aiida_pyacemaker.data.pseudos import known_families

    families = known_families()
    if not families:
        remedy = f'run `aiida-pyacemaker setup pseudos{_profile_option(profile)}`'
        return Check('pseudopotentials', False, 'no family that we know is installed', remedy)
    label, elements = next(iter(families.items()))
    return Check('pseudopotentials', True, f'{label} ({len(elements)} elements)')


def _profile_option(profile: Profile) -> str:
    return '' if profile.name == 'pyacemaker' else f' --profile {profile.name}'
