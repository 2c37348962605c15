"""Stand-ins for structures that take long to make, while a set is only planned.

A plan wants to know how many structures there will be, of which elements and how large. Amorphous networks and crystals
of random symmetry take seconds to minutes; within :func:`sketching` whoever makes them returns :func:`sketch` instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from ase import Atoms

#: Info key of stand-ins.
SKETCH = 'sketch'

_sketching: ContextVar[bool] = ContextVar('sketching', default=False)


@contextmanager
def sketching() -> Iterator[None]:
    """Have structures that take long to make replaced by stand-ins, in this context only."""
    token = _sketching.set(True)
    try:
        yield
    finally:
        _sketching.reset(token)


def is_sketching() -> bool:
    """Return whether stand-ins are wanted."""
    return _sketching.get()


def sketch(composition: Mapping[str, int], volume_per_atom: float) -> Atoms:
    """Return atoms on a grid in a cube: right in composition and volume, and in nothing else.

    :param composition: element -> atoms.
    :param volume_per_atom: Å³.
    :returns: a periodic frame with info `sketch`.
    """
    symbols = [symbol for symbol, count in composition.items() for _ in range(count)]
    edge = (len(symbols) * volume_per_atom) ** (1 / 3)
    side = math.ceil(round(len(symbols) ** (1 / 3), 9))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    return Atoms(symbols, scaled_positions=grid[: len(symbols)] / side, cell=[edge] * 3, pbc=True, info={SKETCH: True})
