"""Sections of parameters: what a key means, its unit, its default and its limits, said once.

The run file is made of these sections, and its reference documentation is generated from them.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import InputError, MissingLibraryError


class Section(BaseModel):
    """A group of keys: no unknown keys, no silent conversion of types, no NaN."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True, allow_inf_nan=False, serialize_by_alias=True)


SectionType = TypeVar('SectionType', bound=Section)


def read_section(section: type[SectionType], content: Any, key: str) -> SectionType:
    """Return a section from plain values, as a node or a file holds them.

    :param key: of the section, such as `label.teacher`, for the message.
    :raises InputError: naming the first key that is wrong.
    """
    try:
        return section.model_validate(content)
    except ValidationError as exception:
        error = exception.errors()[0]
        cause = error.get('ctx', {}).get('error')
        if not isinstance(cause, InputError):
            cause = InputError('', error['msg'].removeprefix('Value error, '))
        raise cause.under('.'.join((key, *map(str, error['loc'])))) from None


def parameter(description: str, unit: str | None = None, **constraints: Any) -> Any:
    """A key whose description and unit also become the reference documentation.

    :param constraints: what `pydantic.Field` takes: `default`, `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`...
    """
    return Field(description=description, json_schema_extra={'unit': unit} if unit else None, **constraints)


def _whole_number(value: Any) -> Any:
    """Let `1e5` stand for an integer, as people write numbers of steps."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
