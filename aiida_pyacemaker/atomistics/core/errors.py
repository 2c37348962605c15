"""The one exception of this floor that is not a `ValueError`."""

from __future__ import annotations


class MissingEngineError(RuntimeError):
    """An engine that a task needs is not installed; the message names the remedy."""
