"""How different structures are: volumes, space groups, coordination shells."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from ..core.symmetry import call_spglib

#: Tolerance (Å) of the space groups: what thermal displacements break counts as broken.
SYMPREC = 0.01
#: Shells are counted up to this distance (Å).
SHELL_CUTOFF = 6.0
#: Width of a shell (Å).
SHELL_WIDTH = 0.1


def spread(frames: list[Atoms]) -> dict[str, Any]:
    """Return how much of configuration space the frames cover.

    :returns: `volume_per_atom` (smallest and largest in Å³, of frames without vacuum; None if all have), `space_groups`
        (international symbol -> number of frames), `coordination_shells` (how many distances, 0.1 Å wide and counted
        per pair of elements, occur up to 6 Å), `formulas` and `atoms` (smallest and largest number).
    """
    # a list, or the array that some file formats make of it
    bulk = [atoms for atoms in frames if not len(atoms.info.get('vacuum_axes', ())) and atoms.pbc.all()]
    volumes = [atoms.get_volume() / len(atoms) for atoms in bulk]
    groups: dict[str, int] = {}
    for atoms in frames:
        name = space_group(atoms)
        groups[name] = groups.get(name, 0) + 1
    return {
        'volume_per_atom': (float(min(volumes)), float(max(volumes))) if volumes else None,
        'space_groups': dict(sorted(groups.items(), key=lambda item: -item[1])),
        'coordination_shells': len(coordination_shells(frames)),
        'formulas': len({atoms.get_chemical_formula(empirical=True) for atoms in frames}),
        'atoms': (min(map(len, frames)), max(map(len, frames))) if frames else None,
    }


def space_group(atoms: Atoms) -> str:
    """Return the international symbol of the space group, `P1` where spglib finds none."""
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    name = call_spglib(spglib.get_spacegroup, cell, symprec=SYMPREC)
    return name.partition(' ')[0] if name else 'P1'


def coordination_shells(frames: list[Atoms]) -> set[tuple[int, int, int]]:
    """Return the shells that occur: (atomic number, atomic number, index of the distance in steps of 0.1 Å)."""
    shells: set[tuple[int, int, int]] = set()
    for atoms in frames:
        first, second, distances = neighbor_list('ijd', atoms, SHELL_CUTOFF)
        if not len(first):
            continue
        pairs = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]]), axis=0)
        rows = np.stack([*pairs, (distances / SHELL_WIDTH).astype(int)], axis=1)
        shells.update(map(tuple, np.unique(rows, axis=0).tolist()))
    return shells
