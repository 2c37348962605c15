"""Variants of a structure: strained, rattled, with defects, cut open."""

from __future__ import annotations


class NotApplicable(ValueError):
    """The parent is not of a kind on which the operation can act."""
