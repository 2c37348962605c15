"""Variants of a structure: strained, rattled, with defects, cut open."""

from __future__ import annotations


class NotApplicableError(ValueError):
    """The parent is not of a kind on which the operation can act."""
