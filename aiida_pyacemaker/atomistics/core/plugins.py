"""Plug-ins by entry point: what a socket (oracle, explorer, family, property) finds, in this package and in others."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import InputError

#: The groups of entry points of the four sockets.
ORACLES = 'pyacemaker.oracles'
EXPLORERS = 'pyacemaker.explorers'
FAMILIES = 'pyacemaker.families'
PROPERTIES = 'pyacemaker.properties'


@dataclass(frozen=True)
class CodePort:
    """A code that a plug-in runs: a key of the section `codes` of a run file.

    :param help: which program it is, and what for.
    :param fallback: key of the code that is taken where none is named; None: it has to be named.
    :param plugin: the CalcJob that set-up makes the code for.
    """

    help: str
    fallback: str | None = None
    plugin: str | None = None


@functools.cache
def find_plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, sorted, those of this package first; nothing is imported yet.

    The metadata of a package have no order, so where an order matters the plug-ins bring it.

    :raises InputError: if two packages give a plug-in the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (not _is_ours(entry), entry.name)):
        if entry.name in found:
            both = f'{found[entry.name].value} and {entry.value}'
            raise InputError(
                group, f'two plug-ins are called {entry.name!r}: {both}', 'uninstall one of their packages'
            )
        found[entry.name] = entry
    return found


def _is_ours(entry: EntryPoint) -> bool:
    return entry.value.startswith('aiida_pyacemaker.')


@functools.cache
def load_plugins(group: str) -> dict[str, Any]:
    """Import and return all plug-ins of a group by name."""
    return {name: load_plugin(group, name, group) for name in find_plugins(group)}


def load_plugin(group: str, name: str, key: str) -> Any:
    """Import and return one plug-in.

    :param key: of the run file where its name was given, for the message.
    :raises InputError: if there is none of this name, or it cannot be imported.
    """
    known = find_plugins(group)
    if name not in known:
        raise InputError(key, f'there is no plug-in {name!r}', f'known are {", ".join(known)}')
    try:
        return known[name].load()
    except (ImportError, AttributeError) as exception:
        problem = f'the plug-in {name!r} ({known[name].value}) cannot be imported: {exception}'
        raise InputError(key, problem, 'repair or uninstall its package') from exception
