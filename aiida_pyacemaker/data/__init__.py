"""Node types of the plugin."""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Where each of them is; it is imported when it is first used, see the package itself.
_EXPORTS = {'AcePotentialData': 'potential', 'ConfigurationsData': 'configurations'}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_EXPORTS[name]}'), name)
