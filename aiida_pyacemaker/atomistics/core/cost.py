"""What a label costs: how the time of a DFT calculation grows with the configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

#: The time of a plane-wave calculation grows with a power of the number of electrons between 2 (k-points fewer as
#: the cell grows) and 3 (orthogonalisation).
EXPONENT = 2.5
#: Number of the noble gas before each row of the periodic table.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def valence_electrons(number: int) -> int:
    """Return how many electrons of an element (atomic number) pseudopotentials usually treat.

    By rule, not by table, since only rough ratios count: all beyond the noble gas, without filled f shells and, after
    zinc, cadmium, and mercury, without filled d shells; with the eight semicore electrons of the groups up to nickel's,
    from sodium on.
    """
    core = max(gas for gas in _NOBLE if gas < number)
    outer = number - core
    if core >= 54 and 2 < outer < 18:
        return outer + 8  # lanthanides and actinides, f electrons included
    if core >= 54 and outer >= 18:
        outer -= 14
    if core >= 18 and outer > 12:
        return outer - 10
    semicore = core >= 10 and (outer <= 2 or (core >= 18 and outer <= 10))
    return outer + (8 if semicore else 0)


def frame_costs(frames: Sequence[Atoms], exponent: float = EXPONENT, count: str = 'electrons') -> np.ndarray:
    """Relative costs (n_frames,) of the labels: (number of valence electrons, or of atoms)^exponent, mean 1.

    :param count: 'electrons' or 'atoms'.
    """
    if count not in ('electrons', 'atoms'):
        raise ValueError(f"count is {count!r}: it is 'electrons' or 'atoms'")
    if count == 'atoms':
        sizes = np.array([len(atoms) for atoms in frames], dtype=float)
    else:
        table = {int(z): valence_electrons(int(z)) for z in np.unique(np.concatenate([a.numbers for a in frames]))}
        sizes = np.array([sum(table[int(z)] for z in atoms.numbers) for atoms in frames], dtype=float)
    costs = sizes**exponent
    return costs / costs.mean()
