"""Oracles: the engines that label, exchangeable by the entry point group ``pyacemaker.oracles``."""

from __future__ import annotations

from .base import Oracle, load_oracle

__all__ = ['Oracle', 'load_oracle']
