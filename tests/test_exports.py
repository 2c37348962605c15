"""What a user imports from `aiida_pyacemaker` itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aiida_pyacemaker
from aiida_pyacemaker import testing

SOCKETS = ('Oracle', 'Explorer', 'Family', 'Property')


@pytest.mark.parametrize(
    'package, name',
    [(package, name) for package in (aiida_pyacemaker, testing) for name in package.__all__],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_exported_names_exist(package, name):
    exported = getattr(package, name)
    assert exported.__name__ == name
    assert name in dir(package)


@pytest.mark.parametrize('socket', SOCKETS)
def test_each_socket_has_its_test(socket):
    assert socket in aiida_pyacemaker.__all__
    assert f'check_{socket.lower()}' in testing.__all__


def test_unknown_names_are_refused():
    assert not hasattr(aiida_pyacemaker, 'no_such_thing')
    with pytest.raises(ImportError, match='no_such_thing'):
        from aiida_pyacemaker import no_such_thing  # noqa: F401


def test_importing_the_package_imports_nothing_else():
    """`aiida-pyacemaker --help` and completion in the shell stay quick."""
    assert not {'aiida', 'numpy', 'ase', 'pydantic', 'scipy'} & modules_after('import aiida_pyacemaker.testing')


def test_plugins_are_written_without_aiida():
    """The module of a plug-in is imported whenever a run file is read."""
    assert not {'aiida'} & modules_after(f'from aiida_pyacemaker import {", ".join(SOCKETS)}')


def modules_after(statement: str) -> set[str]:
    """Return the modules that a new Python has imported after a statement."""
    script = f'import sys; {statement}; print(*sys.modules)'
    command = [sys.executable, '-c', script]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize('package', [aiida_pyacemaker, testing])
def test_type_checkers_see_the_same_names(package):
    """Type checkers of other packages use the annotations of this one (PEP 561), and read the stub."""
    folder = Path(package.__file__).parent
    imported = re.findall(r'^from \.([\w.]+) import (\w+) as \2$', (folder / '__init__.pyi').read_text(), re.MULTILINE)
    assert {name: module for module, name in imported} == package._EXPORTS


def test_annotations_are_shared():
    assert (Path(aiida_pyacemaker.__file__).parent / 'py.typed').is_file()
