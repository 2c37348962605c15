"""What a user imports from `aiida_pyacemaker` itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aiida_pyacemaker


@pytest.mark.parametrize('name', aiida_pyacemaker.__all__)
def test_exported_names_exist(name):
    exported = getattr(aiida_pyacemaker, name)
    assert exported.__name__ == name
    assert name in dir(aiida_pyacemaker)


def test_unknown_names_are_refused():
    assert not hasattr(aiida_pyacemaker, 'no_such_thing')
    with pytest.raises(ImportError, match='no_such_thing'):
        from aiida_pyacemaker import no_such_thing  # noqa: F401


def test_importing_the_package_imports_nothing_else():
    """`aiida-pyacemaker --help` and completion in the shell stay quick."""
    script = 'import aiida_pyacemaker, sys; print(*sys.modules)'
    modules = subprocess.run([sys.executable, '-c', script], check=True, capture_output=True, text=True).stdout.split()
    assert not {'aiida', 'numpy', 'ase', 'pydantic', 'scipy'} & set(modules)


def test_type_checkers_see_the_same_names():
    """Type checkers of other packages use the annotations of this one (PEP 561), and read the stub."""
    folder = Path(aiida_pyacemaker.__file__).parent
    assert (folder / 'py.typed').is_file()
    imported = re.findall(r'^from \.([\w.]+) import (\w+) as \2$', (folder / '__init__.pyi').read_text(), re.MULTILINE)
    assert {name: module for module, name in imported} == aiida_pyacemaker._EXPORTS
