"""Validators of ports by the sections of the science floor, where the parameters are declared."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, get_args

from aiida import orm
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Section

Validator = Callable[[orm.Dict, object], str | None]


def section_validator(section: type[Section]) -> Validator:
    """Return the validator of a port `parameters` that holds what a section declares.

    :param section: the section.
    :returns: a function that returns None, or a message with the key and what is wrong with it.
    """

    def validate(value: orm.Dict | None, _: object = None) -> str | None:
        return None if value is None else explain_section(section, value.get_dict())

    return validate


def explain_section(section: type[Section], content: dict[str, Any]) -> str | None:
    """Return what is wrong with the content of a section, its first error; None if nothing is."""
    try:
        section.model_validate(content)
    except ValidationError as exception:
        return explain_error(section, exception.errors()[0])
    return None


def explain_error(section: type[Section], error: Any) -> str:
    """Return an error of pydantic as a sentence that names the key.

    :param section: the section that was validated. :param error: of `ValidationError.errors()`.
    """
    # A branch of a union comes as a part of the location that is no key.
    location = [str(part) for part in error['loc'] if not (isinstance(part, str) and '[' in part)]
    key, kind = '.'.join(location), error['type']
    if kind == 'extra_forbidden':
        known = _keys(section, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        remedy = f'did you mean `{near[0]}`?' if near else f'known keys: {", ".join(known)}.'
        return f'`{key}` is not a known parameter; {remedy}'
    if kind == 'missing':
        return f'the parameter `{key}` is missing.'
    ours = error.get('ctx', {}).get('error')
    if isinstance(ours, InputError):
        return f'the parameter `{".".join(part for part in (key, ours.key) if part)}` is wrong: {ours.explanation}.'
    message = error['msg'].removeprefix('Value error, ')
    what = message.replace('Input should', 'must', 1) if message.startswith('Input should') else f'is wrong: {message}'
    return f'the parameter `{key}` {what}, but is {error["input"]!r}.'


def _keys(section: type[Section], location: list[str]) -> list[str]:
    """Return the keys of the section below others."""
    for part in location:
        field = section.model_fields.get(part)
        annotations = () if field is None else (field.annotation, *get_args(field.annotation))
        nested = [one for one in annotations if isinstance(one, type) and issubclass(one, Section)]
        if not nested:
            return []
        section = nested[0]
    return [field.alias or name for name, field in section.model_fields.items()]
