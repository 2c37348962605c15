"""Conformance tests of the sockets: any plug-in, ours or a stranger's, is run through them before it is believed.

One function for each socket, imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    'check_explorer': 'explorers',
    'check_family': 'families',
    'check_oracle': 'oracles',
    'check_property': 'properties',
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_EXPORTS[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
