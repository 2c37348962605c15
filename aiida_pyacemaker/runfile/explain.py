"""The keys of the run file, and what is wrong with one, for people."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from aiida_pyacemaker.atomistics.core import validation
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Section

from .sections import RunFile

#: What users have to say; everything else has a default.
ELEMENTS = 'system.elements'


def iterate_fields() -> Iterator[tuple[str, FieldInfo]]:
    """Yield ``(dotted key, field)`` of all keys of a run file that hold a value, those of plug-ins included."""
    return validation.iterate_fields(RunFile)


def iterate_sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield ``(dotted key, model)`` of all sections of a run file, those of plug-ins included."""
    return validation.iterate_sections(RunFile)


def nullable_sections() -> frozenset[str]:
    """Return the dotted keys of all sections that may be left out as a whole, by null."""
    return validation.nullable_sections(RunFile)


def explain(exception: ValidationError) -> list[InputError]:
    """Return everything that is wrong with a run file."""
    found = validation.explain(exception, RunFile)
    for position, error in enumerate(exception.errors()):
        left_out = error['type'] == 'missing' or (error['type'] == 'model_type' and error['input'] is None)
        if left_out and found[position].key in ('system', ELEMENTS):
            found[position] = InputError(ELEMENTS, 'missing', 'for example [Al]')
    return found
