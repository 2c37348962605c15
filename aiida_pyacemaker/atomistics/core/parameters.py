"""Sections of parameters: what a key means, its unit, its default and its limits, said once.

The run file is made of these sections, and its reference documentation is generated from them.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import InputError, MissingLibraryError


class Section(BaseModel):
    """A group of keys: no unknown keys, no silent conversion of types, no NaN."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True)


AnySection = TypeVar('AnySection', bound=Section)


def parameter(description: str, unit: str | None = None, **constraints: Any) -> Any:
    """A key whose description and unit also become the reference documentation.

    :param constraints: what `pydantic.Field` takes: `default`, `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`...
    """
    return Field(description=description, json_schema_extra={'unit': unit} if unit else None, **constraints)


def _whole_number(value: Any) -> Any:
    """Let `1e5` stand for an integer, as people write numbers of steps."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_section(section: type[AnySection], given: Mapping[str, Any]) -> AnySection:
    """Return a section made of values.

    :raises InputError: naming the first key that is wrong; for one that is unknown, the nearest that is not.
    """
    try:
        return section.model_validate(given)
    except ValidationError as exception:
        error = exception.errors()[0]
    # a branch of a union comes as a part of the location that is no key
    key = '.'.join(str(part) for part in error['loc'] if not (isinstance(part, str) and '[' in part))
    if error['type'] == 'extra_forbidden':
        known = list(section.model_fields)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        remedy = f'did you mean `{near[0]}`?' if near else f'known are {", ".join(known) or "none"}'
        raise InputError(key, 'is not a known parameter', remedy)
    if error['type'] == 'missing':
        raise InputError(key, 'is missing', 'give it a value')
    ours = error.get('ctx', {}).get('error')
    if isinstance(ours, InputError):
        raise ours.under(key) if key else ours
    message = error['msg'].removeprefix('Value error, ').replace('Input should', 'it must', 1)
    raise InputError(key, f'{error["input"]!r} is wrong', message)


Count = Annotated[int, BeforeValidator(_whole_number)]
Positive = Annotated[float, Field(gt=0)]


def require(module: str, what: str) -> Any:
    """Import and return a module of the extra `structures`.

    :param what: what needs it, for the message.
    :raises MissingLibraryError: with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exception:
        raise MissingLibraryError(
            f'{what} needs {module.partition(".")[0]}, which cannot be imported ({exception}); '
            'install it with: pip install "aiida-pyacemaker[structures]"'
        ) from exception
