"""Conformance test of the socket `Family`: does a family of structures keep what its base class promises?

In the tests of a plug-in::

    def test_family():
        check_family('layered', ['C'], {'sheets': 2})
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plugins import FAMILIES, find_plugins, load_plugin
from aiida_pyacemaker.atomistics.generators.family import Family
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures

#: Ideal structures that are made.
NUMBER_OF_IDEALS = 12


def check_family(
    family: str | type[Family],
    elements: list[str],
    section: Mapping[str, Any] | None = None,
    number: int = NUMBER_OF_IDEALS,
) -> None:
    """Run a family through everything that the generator asks of it.

    :param family: name of its entry point, or the class; only what is registered is tried in a run file.
    :param elements: of which it can make structures.
    :param section: values of its section, to be quick.
    :param number: ideal structures that are made.
    :raises AssertionError: saying what is not as it should be.
    """
    kind = load_plugin(FAMILIES, family, 'structures') if isinstance(family, str) else family
    _check_declaration(kind)
    parameters = kind.Parameters(**(section or {}))
    frames = kind().parents(elements, parameters, number, np.random.default_rng(1))
    assert 0 < len(frames) <= number, f'{kind.name}: asked for {number} structures, it made {len(frames)}'
    for index, atoms in enumerate(frames):
        _check_structure(kind, atoms, f'{kind.name}, structure {index}')
    for atoms, rejection in zip(frames, check_frames(frames, Checks(), elements=elements), strict=True):
        assert rejection is None, f'{kind.name}: {atoms.info["phase"]}: {rejection.message}'
    _check_repeatable(kind, elements, parameters, number, frames)
    if isinstance(family, str):
        assert kind.name == family, f'the entry point {family} leads to a family that calls itself {kind.name}'
        _check_import(family)
        _check_run_file(kind, elements, section or {})


def _check_declaration(kind: type[Family]) -> None:
    """It says what it is, and all keys of its section have a meaning and a default."""
    assert isinstance(kind, type) and issubclass(kind, Family), f'{kind} is no subclass of Family'
    assert kind.name.isidentifier() and kind.name.islower(), f'{kind.name!r} is no key of a run file'
    assert kind.help.endswith('.'), f'{kind.name}: `help` is a sentence'
    assert issubclass(kind.Parameters, Section), f'{kind.name}: Parameters is no Section'
    for key, field in kind.Parameters.model_fields.items():
        assert field.description, f'{kind.name}.{key} has no description'
        assert not field.is_required(), f'{kind.name}.{key} has no default: naming the family would not be enough'
    strange = [key for key in kind.file_keys if key not in kind.Parameters.model_fields]
    assert not strange, f'{kind.name}: file_keys names {strange}, which the section does not have'
    assert isinstance(kind().suits(['Al']), bool), f'{kind.name}: `suits` says neither true nor false'


def _check_structure(kind: type[Family], atoms: Atoms, where: str) -> None:
    """A structure says what it is and why it is there, and is periodic."""
    info = atoms.info
    assert info.get('family') == kind.name, f'{where}: its info `family` is {info.get("family")!r}'
    assert isinstance(info.get('phase'), str) and info['phase'], f'{where}: its info has no `phase`'
    assert isinstance(info.get('reason'), str) and info['reason'], f'{where}: its info has no `reason`'
    assert isinstance(info.get('parameters'), dict), f'{where}: its info has no `parameters`'
    assert json.loads(json.dumps(info['parameters'])) is not None, where
    assert atoms.pbc.all(), f'{where}: it is not periodic; a molecule is put into a box'
    assert all(axis in (0, 1, 2) for axis in info.get('vacuum_axes', [])), f'{where}: `vacuum_axes` are 0, 1 or 2'
    if kind.has_adsorbates:
        assert atoms.arrays['adsorbate'].dtype == bool, f'{where}: it does not say which atoms are adsorbed'


def _check_repeatable(
    kind: type[Family], elements: list[str], parameters: Section, number: int, frames: list[Atoms]
) -> None:
    """The same seed makes the same structures, bit for bit."""
    again = kind().parents(elements, parameters, number, np.random.default_rng(1))
    assert len(again) == len(frames), f'{kind.name}: the same seed made {len(frames)} and {len(again)} structures'
    for index, (one, other) in enumerate(zip(frames, again, strict=True)):
        same = one.positions.tobytes() == other.positions.tobytes() and one.cell.array.tobytes() == other.cell.tobytes()
        assert same and one.numbers.tolist() == other.numbers.tolist(), (
            f'{kind.name}: structure {index} is not repeated'
        )
        assert one.info == other.info, f'{kind.name}: what is said of structure {index} is not repeated'


def _check_import(name: str) -> None:
    """The module is imported whenever a run file is read, so it must not import AiiDA."""
    module = find_plugins(FAMILIES)[name].module
    done = subprocess.run(
        [sys.executable, '-c', f'import sys, {module}; sys.exit("aiida" in sys.modules)'], check=False
    )
    assert done.returncode == 0, f'{name}: importing {module} imports AiiDA, or fails'


def _check_run_file(kind: type[Family], elements: list[str], section: Mapping[str, Any]) -> None:
    """It is on where a run file names it, and variants of its structures pass all checks."""
    assert kind.name in Structures.model_fields, f'there is no section structures.{kind.name}'
    structures = Structures.model_validate({kind.name: dict(section), 'number': 40, 'parents': 4, 'subsystems': False})
    try:
        made = generate(elements, structures, seed=1)
    except InputError as exception:
        raise AssertionError(f'{kind.name}: {exception}') from exception
    assert len(made.frames) == 40, f'{kind.name}: {len(made.frames)} structures instead of 40'
    assert {atoms.info['family'] for atoms in made.parents} == {kind.name}
