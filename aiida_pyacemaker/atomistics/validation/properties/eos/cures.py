"""Cells of other volumes."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....checks.overlap import covalent_distance
from ....variants.squeeze import MIN_CONTACT_RATIO
from ....variants.supercell import supercell
from ...property import Request
from ...requests import CELL_ATOMS, STRUCTURES_PER_REQUEST

#: Crystals are compressed to this share of their volume, or of the largest that is asked for, if that is smaller: no
#: simulation goes beyond, and labels of what is denser are those of overlapping cores.
DENSEST = 0.5


def compressed(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Cells of volumes evenly in a range, each a little rattled, so that forces tell, too."""
    volume = parent.get_volume() / len(parent)
    low, high = request.get('volume') or (0.8 * volume, 1.2 * volume)
    low = max(low, DENSEST * min(volume, high), least_volume(parent))
    frames = []
    for wanted in np.linspace(low, max(high, low), STRUCTURES_PER_REQUEST):
        atoms = supercell(parent, CELL_ATOMS // 4)
        atoms.set_cell(atoms.cell.array * (wanted / volume) ** (1 / 3), scale_atoms=True)
        atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
        atoms.info['parameters'] = {'volume': round(float(wanted), 3)}
        frames.append(atoms)
    return frames


def least_volume(parent: Atoms) -> float:
    """Return the volume (Å³/atom) at which the nearest atoms are as close as a label can be trusted."""
    from ase.neighborlist import neighbor_list

    first, second, distances = neighbor_list('ijd', parent, 6.0)
    if not len(first):
        return 0.0
    symbols = np.array(parent.get_chemical_symbols())
    least = [
        MIN_CONTACT_RATIO * covalent_distance((symbols[i], symbols[j])) for i, j in zip(first, second, strict=True)
    ]
    return float((np.array(least) / distances).max() ** 3) * parent.get_volume() / len(parent)
