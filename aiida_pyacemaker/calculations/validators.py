"""Validators of ports by the sections of the science floor, where the parameters are declared."""

from __future__ import annotations

from collections.abc import Callable

from aiida import orm

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.validation import read_section


def section_validator(section: type[Section]) -> Callable[[orm.Dict, object], str | None]:
    """Return the validator of a port that holds the keys of a section.

    :returns: a function that returns None, or a message with the key, what is wrong with it, and the remedy.
    """

    def validate(value: orm.Dict | None, _: object = None) -> str | None:
        try:
            if value is not None:
                read_section(section, value.get_dict())
        except InputError as exception:
            return str(exception)
        return None

    return validate
