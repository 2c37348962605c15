"""Tests of the schema of what a frame carries."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import aiida_pyacemaker
from aiida_pyacemaker.atomistics.core import frame
from aiida_pyacemaker.atomistics.core.frame import ARRAYS, PER_ATOM, Info, describe_keys

PACKAGE = Path(aiida_pyacemaker.__file__).parent
#: Names under which the info of a frame is written to, and functions that return it.
HOLDERS = ('info', 'infos')


def _is_info(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):  # info(atoms)[...]
        return isinstance(node.func, ast.Name) and node.func.id in HOLDERS
    return isinstance(node, ast.Attribute) and node.attr in HOLDERS


def _texts(nodes: list[ast.expr | None]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _dict_keys(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node) if isinstance(node, ast.BinOp) else [node]:
        if isinstance(part, ast.Dict):
            yield from _texts(part.keys)


def written_keys(tree: ast.AST) -> Iterator[str]:
    """Yield the literal keys that a module writes into the info of frames."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and _is_info(node.value):
            yield from _texts([node.slice])
        elif isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Attribute) and _is_info(target) for target in targets):
                yield from _dict_keys(node.value)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and _is_info(node.func.value):
                if node.func.attr == 'update':
                    yield from (keyword.arg for keyword in node.keywords if keyword.arg)
                    for argument in node.args:
                        yield from _dict_keys(argument)
                elif node.func.attr == 'setdefault':
                    yield from _texts(node.args[:1])
            for keyword in node.keywords:
                if keyword.arg == 'info':
                    yield from _dict_keys(keyword.value)


@pytest.mark.parametrize(
    'source',
    (
        "atoms.info['odd'] = 1",
        "info(atoms)['odd'] = 1",
        "atoms.info.setdefault('odd', 1)",
        'atoms.info.update(odd=1)',
        "atoms.info.update({'odd': 1})",
        "atoms.info |= {'odd': 1}",
        "atoms.info = {'odd': 1} | other",
        "Atoms('Al', info={'odd': 1})",
    ),
)
def test_written_keys(source):
    """The search finds every way in which a key is written."""
    assert list(written_keys(ast.parse(source))) == ['odd']


def test_schema_is_complete():
    """The package writes no key into `info` that the schema does not know."""
    unknown = {
        f'{path.relative_to(PACKAGE)}: {key}'
        for path in PACKAGE.rglob('*.py')
        for key in written_keys(ast.parse(path.read_text()))
        if key not in Info.__annotations__
    }
    assert not unknown


def test_descriptions():
    """Every key and every array says what it is and who writes it, as the documentation shows."""
    keys = list(describe_keys())
    assert [name for name, _, _ in keys] == list(Info.__annotations__)
    assert ('split', 'str') in [(name, kind) for name, kind, _ in keys]
    assert ARRAYS.keys() == PER_ATOM.keys()
    for key in [*(key for _, _, key in keys), *ARRAYS.values()]:
        assert key.meaning.endswith('.') and key.writer


def test_defaults():
    """A frame that says nothing is of an unknown family, is trained on, and counts fully."""
    atoms = Atoms('Al2', [[0, 0, 0], [0, 0, 2.5]])
    assert (frame.get_family(atoms), frame.get_split(atoms), frame.group_name(atoms)) == ('unknown', 'train', 'unknown')
    assert frame.get_weight(atoms) == frame.get_energy_weight(atoms) == 1.0
    assert frame.energy_counts(atoms) and frame.forces_count(atoms).all() and frame.get_trajectory(atoms) is None
    frame.info(atoms).update(weight=0.5, energy_weight=0.0, role='halted', parent='uuid')
    atoms.set_array('force_weights', np.array([1.0, 0.0]))
    assert frame.get_energy_weight(atoms) == 0 and not frame.energy_counts(atoms)
    assert frame.forces_count(atoms).tolist() == [True, False]
    assert frame.get_trajectory(atoms) == 'trajectory uuid'
