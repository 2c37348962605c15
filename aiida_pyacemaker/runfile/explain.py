"""Errors of pydantic, explained: which key, what is wrong with it, and the remedy."""

from __future__ import annotations

import difflib
import functools
from typing import Any, get_args, get_origin

from pydantic import (
    BaseModel,
)

from aiida_pyacemaker.atomistics.core.parameters import Section

from .sections import RunFile


def _section(field: Any) -> type[Section] | None:
    """Return the section that a field holds, also where it may be left out; None for a value, or a list of sections."""
    if get_origin(field.annotation) is list:
        return None
    for annotation in (field.annotation, *get_args(field.annotation)):
        if isinstance(annotation, type) and issubclass(annotation, Section):
            return annotation
    return None


def iterate_fields(model: type[BaseModel] = RunFile, prefix: str = ''):
    """Yield ``(dotted key, field)`` of all keys that hold a value, section by section."""
    for name, field in model.model_fields.items():
        key = f'{prefix}{field.alias or name}'
        section = _section(field)
        if section is not None:
            yield from iterate_fields(section, f'{key}.')
        else:
            yield key, field


def iterate_sections(model: type[BaseModel] = RunFile, prefix: str = ''):
    """Yield ``(dotted key, model)`` of all sections."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            key = f'{prefix}{field.alias or name}'
            yield key, section
            yield from iterate_sections(section, f'{key}.')


@functools.cache
def _nullable_sections(model: type[BaseModel] = RunFile, prefix: str = '') -> frozenset[str]:
    """Return the dotted keys of all sections that may be left out as a whole, by null."""
    found = set()
    for name, field in model.model_fields.items():
        section, key = _section(field), f'{prefix}{field.alias or name}'
        if section is not None:
            found |= _nullable_sections(section, f'{key}.')
            found |= {key} if type(None) in get_args(field.annotation) else set()
    return frozenset(found)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'; did you mean `{close[0]}`?' if close else ''


def _unknown_key(location: tuple[str | int, ...]) -> str:
    """Explain an unknown key by the nearest known one: in its own section first, then anywhere, else list them."""
    *parents, word = [str(part) for part in location]
    prefix = '.'.join(parents)
    section = dict(iterate_sections()).get(prefix, RunFile)
    close = difflib.get_close_matches(word, _keys(section), n=1, cutoff=0.6)
    if close:
        return f'unknown key; did you mean `{".".join([*parents, close[0]])}`?'
    # of keys with the same name the shallowest, and of those the first
    every = sorted((key for key, _ in iterate_fields()), key=lambda key: -key.count('.'))
    everywhere = {key.rpartition('.')[2]: key for key in every}
    close = difflib.get_close_matches(word, list(everywhere), n=1, cutoff=0.6)
    if close:
        return f'unknown key; did you mean `{everywhere[close[0]]}`?'
    nearest = difflib.get_close_matches(word, _keys(section), n=1, cutoff=0.0)
    others = ', '.join(_keys(section))
    return f'unknown key; the nearest one is `{".".join([*parents, nearest[0]])}`; known are {others}'


def _explain(error: dict[str, Any]) -> tuple[str, str]:
    """Turn an error of pydantic into ``(location, what is wrong and the remedy)``."""
    # Branches of a union (`float | None`) come as an extra last part of the location, which is no key.
    location = tuple(part for part in error['loc'] if not (isinstance(part, str) and '[' in part))
    dotted = '.'.join(str(part) for part in location)
    kind, value, context = error['type'], error.get('input'), error.get('ctx', {})
    if kind == 'extra_forbidden':
        return dotted, _unknown_key(location)
    if kind == 'missing':
        remedy = 'for example [Al]' if dotted in ('system', 'system.elements') else 'give it a value'
        return ('system.elements' if dotted == 'system' else dotted), f'missing; {remedy}'
    fields = dict(iterate_fields())
    parents = ('.'.join(str(part) for part in location[:end]) for end in range(len(location), 0, -1))
    key = next(
        (parent for parent in parents if parent in fields), None
    )  # the items of a list have no field of their own
    meaning = _meaning(fields[key]) if key else ''
    if kind in ('model_type', 'model_attributes_type'):
        if dotted == 'system' and value is None:
            return 'system.elements', 'missing; for example [Al]'
        section = dict(iterate_sections()).get(dotted, RunFile)
        return dotted, f'{value!r} is not a section; known keys of it are {", ".join(_keys(section))}'
    if kind == 'literal_error':
        choices = _choices(fields[key].annotation) if key else []
        near = _nearest(str(value), choices)
        return dotted, f'{value!r} is not one of {", ".join(choices)}{near}'
    wrong = {
        'greater_than': 'must be above {gt:g}',
        'greater_than_equal': 'must be at least {ge:g}',
        'less_than': 'must be below {lt:g}',
        'less_than_equal': 'must be at most {le:g}',
        'too_short': 'has {actual_length} items, at least {min_length} needed',
        'too_long': 'has {actual_length} items, at most {max_length} allowed',
        'string_too_short': 'must not be empty',
        'finite_number': 'must be a finite number',
        'float_type': 'must be a number',
        'int_type': 'must be a whole number',
        'list_type': 'must be a list',
        'string_type': 'must be text',
        'bool_type': 'must be true or false',
    }.get(kind)
    if wrong is None:  # our own checks, whose message is complete
        return dotted, error['msg'].removeprefix('Value error, ')
    return dotted, f'{value!r} is wrong, it {wrong.format(**context)}{meaning}'


def _meaning(field: Any) -> str:
    unit = (field.json_schema_extra or {}).get('unit')
    return f' ({field.description.rstrip(".")}{f", in {unit}" if unit else ""})'


def _choices(annotation: Any) -> list[str]:
    """Return the choices of the first ``Literal`` inside an annotation."""
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return list(arguments)
    return next((found for found in (_choices(argument) for argument in arguments) if found), [])
