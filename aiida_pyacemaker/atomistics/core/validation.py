"""What was given, read as a section: every error says the dotted key, what is wrong with it, and what helps."""

from __future__ import annotations

import difflib
import functools
import types
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .errors import InputError
from .parameters import Section

S = TypeVar('S', bound=Section)

#: What is wrong with a value, by pydantic's type of the error and with the names of its context.
EXPLANATIONS = {
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
}


def read_section(section: type[S], given: Any, prefix: str = '', context: dict[str, Any] | None = None) -> S:
    """Return what was given as a section.

    :param given: mapping of the keys of the section.
    :param prefix: dotted key of the section in the run file, such as `label.vasp`; empty for the section alone.
    :param context: what the validators of the section ask for.
    :raises InputError: naming the first key that is wrong, and the remedy.
    """
    try:
        return section.model_validate(given, context=context)
    except ValidationError as exception:
        # a key that is misspelt explains why another one is missing
        errors = sorted(exception.errors(), key=lambda error: error['type'] != 'extra_forbidden')
        error = _explain(errors[0], section)
        raise (error.under(prefix) if prefix else error) from None


def explain(exception: ValidationError, model: type[BaseModel]) -> list[InputError]:
    """Return everything that is wrong, in the order of the model.

    :param model: what was validated; the keys of the errors are relative to it.
    """
    return [_explain(error, model) for error in exception.errors()]


# Keys and sections of a model -----------------------------------------------------------------------------------------


def iterate_fields(model: type[BaseModel], prefix: str = '') -> Iterator[tuple[str, FieldInfo]]:
    """Yield ``(dotted key, field)`` of all keys that hold a value, section by section."""
    for name, field in model.model_fields.items():
        key, section = f'{prefix}{field.alias or name}', _section(field)
        if section is not None:
            yield from iterate_fields(section, f'{key}.')
        else:
            yield key, field


def iterate_sections(model: type[BaseModel], prefix: str = '') -> Iterator[tuple[str, type[Section]]]:
    """Yield ``(dotted key, model)`` of all sections."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            key = f'{prefix}{field.alias or name}'
            yield key, section
            yield from iterate_sections(section, f'{key}.')


@functools.cache
def nullable_sections(model: type[BaseModel], prefix: str = '') -> frozenset[str]:
    """Return the dotted keys of all sections that may be left out as a whole, by null."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        section, key = _section(field), f'{prefix}{field.alias or name}'
        if section is not None:
            found |= nullable_sections(section, f'{key}.')
            found |= {key} if type(None) in get_args(field.annotation) else set()
    return frozenset(found)


def choices(annotation: Any) -> list[str]:
    """Return the choices of the first ``Literal`` inside an annotation."""
    arguments = get_args(annotation)
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return list(arguments)
    return next((found for found in (choices(argument) for argument in arguments) if found), [])


def nearest(word: str, known: list[str]) -> str:
    """Return the question whether the nearest of the known words was meant; empty if none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'; did you mean `{close[0]}`?' if close else ''


def _branches(annotation: Any) -> list[Any]:
    """Return what a value may be: the branches of a union, each without what annotates it."""
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for argument in get_args(annotation) for branch in _branches(argument)]
    return [annotation]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _section(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, also where it may be left out; None for a value, or a list of sections."""
    return next((branch for branch in _branches(field.annotation) if _is_section(branch)), None)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a section by the names that users write."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


# Errors ---------------------------------------------------------------------------------------------------------------


class _Place:
    """Where in a model an error is: pydantic's location followed through sections, lists and unions.

    :param location: as pydantic gives it; for a branch of a union it holds the branch's name, which is no key.
    """

    def __init__(self, model: type[BaseModel], location: tuple[str | int, ...]):
        self.keys: list[str] = []
        #: The innermost section that holds it, and that section's own key.
        self.section, self.section_key = model, ''
        #: The innermost field that the location leads through.
        self.field: FieldInfo | None = None
        #: What may stand at the place; nothing for an unknown key.
        self.branches: list[Any] = [model]
        for part in location:
            self._follow(part)

    def _follow(self, part: str | int) -> None:
        sections = [branch for branch in self.branches if _is_section(branch)]
        known = next((section for section in sections if part in _fields(section)), None)
        items = [get_args(branch) for branch in self.branches if get_origin(branch) in (list, tuple, dict)]
        named = [section for section in sections if section.__name__ == part]
        if known is not None and isinstance(part, str):
            self.section, self.section_key = known, '.'.join(self.keys)
            self.field = _fields(known)[part]
            self.branches = _branches(self.field.annotation)
        elif items and (isinstance(part, int) or get_origin(self.branches[0]) is dict):
            self.branches = [branch for arguments in items for branch in _branches(arguments[-1])]
        elif named and len(self.branches) > 1:
            self.branches = named
            return
        elif len(sections) == 1 and isinstance(part, str) and '[' not in part:
            self.section, self.section_key, self.branches = sections[0], '.'.join(self.keys), []
        else:
            return  # the name of a branch
        self.keys.append(str(part))

    @property
    def key(self) -> str:
        """The dotted key."""
        return '.'.join(self.keys)

    @property
    def holds_section(self) -> bool:
        """Whether a section stands at the place."""
        return any(_is_section(branch) for branch in self.branches)


def _explain(error: ErrorDetails, model: type[BaseModel]) -> InputError:
    """Turn an error of pydantic into one with key, problem and remedy."""
    place = _Place(model, error['loc'])
    kind, value, context = error['type'], error.get('input'), error.get('ctx', {})
    own = context.get('error')
    if isinstance(own, InputError):
        # What a section says is relative to the section, also if it says it of a single field.
        prefix = place.key if place.holds_section or not own.key else place.section_key
        return own.under(prefix) if prefix else own
    if isinstance(own, ValueError):
        return InputError(place.key, str(own))
    if kind == 'extra_forbidden':
        return InputError(place.key, 'unknown key', _nearest_key(model, place))
    if kind == 'missing':
        return InputError(place.key, 'missing', 'give it a value')
    if kind in ('model_type', 'model_attributes_type'):
        section = next(branch for branch in place.branches if _is_section(branch))
        return InputError(
            place.key, f'{value!r} is not a section', f'known keys of it are {", ".join(_fields(section))}'
        )
    if kind == 'literal_error':
        known = choices(place.field.annotation) if place.field else []
        return InputError(place.key, f'{value!r} is not one of {", ".join(known)}{nearest(str(value), known)}')
    if kind in EXPLANATIONS:
        meaning = _meaning(place.field) if place.field else ''
        return InputError(place.key, f'{value!r} is wrong, it {EXPLANATIONS[kind].format(**context)}{meaning}')
    return InputError(place.key, error['msg'])


def _nearest_key(model: type[BaseModel], place: _Place) -> str:
    """Return the remedy for an unknown key: the nearest one of its section, else of all, else the list of them."""
    word, parents = place.keys[-1], place.keys[:-1]
    known = list(_fields(place.section))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean `{".".join([*parents, close[0]])}`?'
    # of keys with the same name the shallowest, and of those the first
    every = sorted((key for key, _ in iterate_fields(model)), key=lambda key: -key.count('.'))
    everywhere = {key.rpartition('.')[2]: key for key in every}
    close = difflib.get_close_matches(word, list(everywhere), n=1, cutoff=0.6)
    if close:
        return f'did you mean `{everywhere[close[0]]}`?'
    if not known:
        return 'there are no keys in this section'
    least = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
    return f'the nearest one is `{".".join([*parents, least])}`; known are {", ".join(known)}'


def _meaning(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    unit = extra.get('unit') if isinstance(extra, dict) else None
    return f' ({(field.description or "").rstrip(".")}{f", in {unit}" if unit else ""})' if field.description else ''
