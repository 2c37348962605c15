"""The user's own structures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from ..checks.overlap import overlapping


def read_structures(paths: Iterable[str | os.PathLike], elements: list[str] | None = None) -> list[Atoms]:
    """Read all structures of all files, in any format ASE knows.

    Labels are left behind: they belong to another method than the one that will label the rest.

    :param elements: if given, other elements are refused.
    :returns: frames with info `family` 'user', `split` 'train' and `file`.
    :raises ValueError: naming the file, if it is missing, empty, unreadable, or holds a structure that is of no use.
    """
    frames = []
    for path in map(Path, paths):
        if not path.is_file():
            raise ValueError(f'structure file {path} does not exist')
        if not path.read_bytes().strip():
            raise ValueError(f'structure file {path} is empty: put a structure in, or take it out of the list')
        try:
            found = read(path, index=':')
        except Exception as exception:  # ASE's readers raise anything
            raise ValueError(f'structure file {path} cannot be read: {exception!r}') from exception
        if not found:
            raise ValueError(f'structure file {path} has no structure in it')
        for index, atoms in enumerate(found):
            frames.append(_checked(atoms, f'{path}, structure {index}', elements))
            frames[-1].info['file'] = path.name
    return frames


def _checked(atoms: Atoms, name: str, elements: list[str] | None) -> Atoms:
    if len(atoms) == 0:
        raise ValueError(f'structure file {name} has no atoms')
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(elements)) if elements is not None else []
    if unknown:
        raise ValueError(f'structure file {name} has {unknown[0]}: add it to system.elements or remove the structure')
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise ValueError(f'structure file {name} has positions or a cell that are not finite numbers')
    if atoms.cell.rank < 3:
        raise ValueError(f'structure file {name} has no cell: give one, with vacuum around a molecule')
    if overlapping(atoms):
        raise ValueError(f'structure file {name} has overlapping atoms')
    # A plane-wave code is periodic in all directions, whatever the file says.
    checked = Atoms(atoms.get_chemical_symbols(), atoms.positions, cell=atoms.cell, pbc=True)
    checked.info.update(family='user', split='train')
    return checked
