"""spglib, asked in one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def call_spglib(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any | None:
    """Return what a function of spglib finds, None where it finds no symmetry, as where atoms overlap.

    Whether spglib says so by None or raises depends on its version, and on which libraries were imported before:
    phonopy and ASE change it for everybody.
    """
    from spglib import SpglibError

    try:
        return function(*arguments, **keywords)
    except SpglibError:
        return None
