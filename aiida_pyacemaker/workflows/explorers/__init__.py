"""Explorers: the engines that explore, exchangeable by the entry point group ``pyacemaker.explorers``."""

from __future__ import annotations

from .base import Explorer, load_explorer, process_types

__all__ = ['Explorer', 'load_explorer', 'process_types']
