"""Validators of ports by the sections of the science floor, where the parameters are declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiida import orm

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.validation import read_section


def section_validator(section: type[Section]) -> Callable[[orm.Dict, object], str | None]:
    """Return the validator of a port that holds the keys of a section.

    :returns: a function that returns None, or a message with the key, what is wrong with it, and the remedy.
    """

    def validate(value: orm.Dict | None, _: object = None) -> str | None:
        return None if value is None else explain_section(section, value.get_dict())

    return validate


def explain_section(section: type[Section], content: dict[str, Any]) -> str | None:
    """Return what is wrong with the content of a section; None if nothing is."""
    try:
        read_section(section, content)
    except InputError as exception:
        return str(exception)
    return None
