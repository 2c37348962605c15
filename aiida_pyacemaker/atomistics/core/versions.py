"""Versions of the packages that numbers depend on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable


def version_of(package: str) -> str | None:
    """Return the version of an installed package by the name of its distribution, None if it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str], missing: str) -> dict[str, str]:
    """Return the versions of packages by their names.

    :param missing: what stands for one that is not installed.
    """
    return {name: version_of(name) or missing for name in packages}
