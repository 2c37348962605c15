"""Oracles: the engines that label, exchangeable by the entry point group ``pyacemaker.oracles``."""

from __future__ import annotations

from .base import EngineOracle, JobCost, JobFailure, Oracle, load_oracle

__all__ = ['EngineOracle', 'JobCost', 'JobFailure', 'Oracle', 'load_oracle']
