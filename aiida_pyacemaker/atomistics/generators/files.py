"""Structures from the user's own files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms


def read_structures(paths: Iterable[str | os.PathLike], elements: Iterable[str] | None = None) -> list[Atoms]:
    """Read all structures of some files, in any format that ASE knows.

    :param paths: the files; each must hold at least one structure.
    :param elements: chemical symbols that may occur; None for any.
    :returns: the structures, without calculators, with ``info`` ``family`` 'own' and ``parent`` the name of the file.
    :raises ValueError: if a file is missing, empty or unreadable, or a structure is not finite, not periodic in three
        directions or holds another element; the message names file, structure and remedy.
    """
    return [atoms for path in paths for atoms in read_file(Path(path), elements)]


def read_file(path: Path, elements: Iterable[str] | None = None) -> list[Atoms]:
    """Read the structures of one file; see :func:`read_structures`."""
    from ase.io import read

    remedy = 'give a file with at least one structure, or take it out of structures.files'
    if not path.is_file():
        raise ValueError(f'there is no structure file `{path}`; check structures.files')
    if not path.read_bytes().strip():
        raise ValueError(f'the structure file `{path}` is empty; {remedy}')
    try:
        frames = read(path, index=':')
    except Exception as exception:  # ASE's readers raise whatever their parsers raise
        reason = f'{type(exception).__name__}: {exception}'.splitlines()[0]
        raise ValueError(f'ASE cannot read the structure file `{path}` ({reason}); check its content') from None
    if not frames:
        raise ValueError(f'the structure file `{path}` holds no structure; {remedy}')
    structures = []
    for index, frame in enumerate(frames):
        check_structure(frame, f'structure {index} of `{path}`', elements)
        atoms = Atoms(frame.get_chemical_symbols(), positions=frame.positions, cell=frame.cell, pbc=True)
        atoms.info = {'family': 'own', 'parent': path.name}
        structures.append(atoms)
    return structures


def check_structure(atoms: Atoms, name: str, elements: Iterable[str] | None = None) -> None:
    """Refuse a structure that no periodic calculation could use.

    :param name: what to call it in the message.
    :param elements: chemical symbols that may occur; None for any.
    :raises ValueError: with the remedy.
    """
    if len(atoms) == 0:
        raise ValueError(f'{name} has no atoms; remove it')
    name = f'{name} ({atoms.get_chemical_formula()})'
    foreign = [] if elements is None else sorted(set(atoms.get_chemical_symbols()) - set(elements))
    if foreign:
        raise ValueError(f'{name} holds {", ".join(foreign)}, which system.elements lacks; add it there')
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise ValueError(f'{name} has positions or a cell that are not finite numbers; correct the file')
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(f'{name} is not periodic in three directions; give it a cell, vacuum included')
