"""The run file: one YAML file that says what the user wants, completed from a protocol and checked as a whole."""

from .errors import RunFileError
from .explain import iterate_fields, iterate_sections
from .reading import (
    default_codes,
    load_protocols,
    load_runfile,
    protocol_defaults,
    read_fit_parameters,
    resolve_runfile,
)
from .sections import RunFile

__all__ = [
    'RunFile',
    'RunFileError',
    'default_codes',
    'iterate_fields',
    'iterate_sections',
    'load_protocols',
    'load_runfile',
    'protocol_defaults',
    'read_fit_parameters',
    'resolve_runfile',
]
