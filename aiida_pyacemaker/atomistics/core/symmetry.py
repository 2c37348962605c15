"""The one door to spglib."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def call_spglib(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any | None:
    """Return what a function of spglib finds; None where it finds no symmetry, for example because atoms overlap.

    Whether spglib says so by None or raises depends on its version, and on which libraries were imported before:
    phonopy and ASE change this setting for the whole process.
    """
    from spglib import SpglibError

    try:
        return function(*arguments, **keywords)
    except SpglibError:
        return None
