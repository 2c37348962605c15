"""Nodes, builders, frames and processes as plain content without what differs from run to run."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

DIGITS = 7


def number(value: float, digits: int = DIGITS) -> float | str:
    """Return a number with so many significant digits; what is almost zero is zero."""
    if not math.isfinite(value):
        return str(value)
    return float(f'{value:.{digits}g}') if abs(value) > 1e-13 else 0.0


def plain(value: Any, digits: int = DIGITS) -> Any:
    """Return nested dictionaries and lists of numbers and text, with rounded numbers, and paths without folders."""
    if isinstance(value, dict):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), digits)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, digits) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return number(float(value), digits)
    if isinstance(value, (Path,)):
        return value.name
    if isinstance(value, Atoms):
        return describe_frame(value, digits)
    if value is None:
        return None
    text = str(value)
    return f'<path>/{Path(text).name}' if text.startswith('/') and '\n' not in text else text


def line(value: Any, digits: int = DIGITS) -> str:
    """Return plain content in one line, whatever the order of its keys."""
    return json.dumps(plain(value, digits), sort_keys=True, ensure_ascii=False)


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what of nested dictionaries is other than in others, or lacks there; what is only there is named."""
    changed: dict[str, Any] = {key: '(lacks)' for key in other if key not in one}
    for key, value in one.items():
        if isinstance(value, dict) and isinstance(other.get(key), dict):
            inner = differences(value, other[key])
            changed |= {key: inner} if inner else {}
        elif key not in other or value != other[key]:
            changed[key] = value
    return changed


def checksum(values: Any, decimals: int = 6) -> str:
    """Return a short hash of numbers rounded to so many decimals."""
    rounded = np.round(np.asarray(values, dtype=float), decimals) + 0.0
    return hashlib.sha256(rounded.tobytes()).hexdigest()[:16]


def summarise_frame(atoms: Atoms, decimals: int = 5) -> str:
    """Return one line that says what a frame is."""
    info = atoms.info
    words = [info.get(key, '-') for key in ('family', 'operation', 'phase', 'split')]
    numbers = checksum(np.concatenate([atoms.positions, atoms.cell.array]), decimals)
    return ' '.join(map(str, [atoms.get_chemical_formula(), *words, numbers]))


def describe_frame(atoms: Atoms, digits: int = DIGITS) -> dict[str, Any]:
    """Return everything of a frame but what is only of this run."""
    skipped = ('parent', 'calculation', 'uuid')
    arrays = {name: array for name, array in atoms.arrays.items() if name not in ('numbers', 'positions')}
    found = {
        'formula': atoms.get_chemical_formula(),
        'cell': atoms.cell.array,
        'pbc': atoms.pbc.tolist(),
        'positions': atoms.positions,
        'info': {key: value for key, value in sorted(atoms.info.items()) if key not in skipped},
        'arrays': dict(sorted(arrays.items())),
        'labels': {} if atoms.calc is None else dict(sorted(atoms.calc.results.items())),
    }
    return plain(found, digits)


def describe_array(array: np.ndarray, digits: int = 5) -> dict[str, Any]:
    """Return shape, and some numbers, of an array."""
    array = np.asarray(array)
    if array.dtype.kind not in 'fiu':
        return {'shape': list(array.shape)}
    flat = array.ravel()
    ends = {'first': flat[0], 'last': flat[-1], 'mean': flat.mean()} if flat.size else {}
    return {'shape': list(array.shape), **plain(ends, digits)}


def describe_node(node: orm.Data, digits: int = DIGITS) -> Any:
    """Return type and content of a node."""
    kind = type(node).__name__
    if isinstance(node, (orm.Dict, orm.List)):
        content = node.get_dict() if isinstance(node, orm.Dict) else node.get_list()
        return {'type': kind, 'content': plain(content, digits)}
    if isinstance(node, (orm.Int, orm.Float, orm.Str, orm.Bool)):
        return {'type': kind, 'value': plain(node.value, digits)}
    if isinstance(node, orm.AbstractCode):
        return {'type': kind, 'label': node.label}
    if isinstance(node, orm.StructureData):
        kinds = [site.kind_name for site in node.sites]
        return {'type': kind, 'label': node.label, 'kinds': kinds, 'frame': describe_frame(node.get_ase(), digits)}
    if isinstance(node, orm.KpointsData):
        return {'type': kind, 'mesh': plain(node.get_kpoints_mesh()), 'label': node.label}
    if isinstance(node, orm.SinglefileData) and hasattr(node, 'element'):
        return {'type': kind, 'element': node.element, 'filename': node.filename, 'md5': node.md5}
    if isinstance(node, orm.SinglefileData):
        return {'type': kind, 'filename': node.filename, 'empty': not node.get_content(mode='rb')}
    if isinstance(node, orm.ArrayData):
        attributes = {key: node.base.attributes.get(key) for key in ('units',) if key in node.base.attributes.keys()}
        arrays = {name: describe_array(node.get_array(name)) for name in sorted(node.get_arraynames())}
        return {'type': kind, **plain(attributes), 'arrays': arrays}
    if hasattr(node, 'get_frames'):
        extras = {key: value for key, value in node.base.extras.all.items() if not key.startswith('_')}
        return {'type': kind, 'attributes': plain(node.base.attributes.all, digits), 'extras': plain(extras, digits)}
    if hasattr(node, 'generation'):
        keys = ('elements', 'cutoff', 'number_of_functions', 'generation', 'baseline')
        attributes = {key: node.base.attributes.get(key) for key in keys}
        return {'type': kind, 'files': sorted(node.filenames), 'attributes': plain(attributes, digits)}
    return {'type': kind}


def describe_value(value: Any, digits: int = DIGITS) -> Any:
    """Return what an input is: a node, a namespace, or a plain value."""
    if isinstance(value, orm.Node):
        return describe_node(value, digits)
    if hasattr(value, 'items'):
        return {str(key): describe_value(item, digits) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [describe_value(item, digits) for item in value]
    return plain(value, digits)


def describe_builder(builder: Any) -> dict[str, Any]:
    """Return all inputs of a builder, its process class first."""
    return {
        'process': builder.process_class.__name__,
        'inputs': describe_value(builder._inputs(prune=True)),
    }
