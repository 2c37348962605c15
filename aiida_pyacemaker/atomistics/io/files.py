"""The user's own structures: files of any format that ASE reads, folders and globs of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.formats import UnknownFileTypeError

from ..checks.moments import MOMENTS
from ..checks.overlap import overlapping
from ..checks.vacuum import vacuum_axes
from ..core.errors import InputError
from .moments import check_formula, find_moments, is_magnetic_cif, read_magnetic_cif

#: Å of vacuum between a molecule and its periodic images, if its file has no cell.
VACUUM = 10.0
#: Å³; a cell of less has no volume.
SMALLEST_VOLUME = 1e-3
#: Name of the arrays of a file that are kept, besides magnetic moments; all others, labels among them, belong to where
#: the file came from.
KEPT_ARRAYS = ('oxidation_states',)


class UnknownFormatError(InputError):
    """A file is of no format that ASE recognises."""


def read_structures(
    paths: Iterable[str | os.PathLike], elements: list[str] | None = None, key: str = 'files'
) -> list[Atoms]:
    """Read all structures of files, folders (all structure files directly in them) and globs (`**` for all depths).

    Labels are left behind: they belong to another method than the one that will label the rest. Magnetic moments are
    kept, which the labels start from (see :mod:`.moments`). A molecule without a
    cell gets a box with vacuum around it; everything becomes periodic in all directions, as plane-wave codes are.
    Files come in the order of the paths, within a folder or glob in natural order (`a2` before `a10`), each once.

    :param elements: if given, other elements are refused.
    :param key: under which the paths were given, for the messages.
    :returns: frames with info `family` 'user', `phase` (stem of the file), `split` 'train', `file`, `index` (in the
        file), `reason`, `parameters`, and `vacuum_axes` where there is vacuum.
    :raises InputError: naming the file, if it is missing, empty, unreadable, or holds a structure that is of no use.
    """
    frames = []
    for path, found in _found_in(paths, key):
        for index, atoms in enumerate(found):
            checked = own_structure(atoms, key, f'structure file {path}, structure {index}', elements)
            checked.info.update(
                family='user',
                phase=path.stem,
                split='train',
                file=path.name,
                index=index,
                reason=f'given by the user: structure {index} of {path.name}',
                parameters={'file': path.name, 'index': index},
            )
            frames.append(checked)
    return frames


def read_file(path: Path, key: str = 'files') -> list[Atoms]:
    """Read all structures of one file as they are.

    :param key: under which the path was given, for the messages.
    :raises InputError: naming the key and the file, if it is missing, empty, unreadable or without a structure.
    """
    if not path.is_file():
        what = 'is a folder: name the file' if path.is_dir() else 'does not exist'
        raise InputError(key, f'structure file {path} {what}')
    if not path.read_bytes().strip():
        raise InputError(key, f'structure file {path} is empty', 'put a structure in, or take it out of the list')
    if is_magnetic_cif(path):
        found = read_magnetic_cif(path, key)
        check_formula(found, path, key)
        return found
    try:
        # a name may have an @, which ASE takes for an index
        found = cast('list[Atoms]', read(path, index=':', do_not_split_by_at_sign=True))
    except UnknownFileTypeError as exception:
        raise UnknownFormatError(
            key,
            f'structure file {path} cannot be read: it is of no format that ASE recognises',
            'convert it to extxyz or CIF',
        ) from exception
    except Exception as exception:  # ASE's readers raise anything
        raise InputError(key, f'structure file {path} cannot be read: {exception!r}') from exception
    if not found:
        raise InputError(key, f'structure file {path} has no structure in it')
    for index, atoms in enumerate(found):
        _refuse_partial_occupancy(atoms, key, f'structure file {path}, structure {index},')
    if path.suffix.lower() == '.cif':
        check_formula(found, path, key)
    return found


def list_files(paths: Iterable[str | os.PathLike], key: str = 'files') -> list[Path]:
    """Return the files that paths, folders and globs stand for, each once.

    :param key: under which the paths were given, for the messages.
    :raises InputError: if a folder or glob has no file.
    """
    return list(dict.fromkeys(path for given in paths for path in _expanded(given, key)[0]))


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Key that sorts numbers within names by value."""
    parts = re.findall(r'\d+|\D+', str(path))
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts]


def _found_in(paths: Iterable[str | os.PathLike], key: str) -> Iterable[tuple[Path, list[Atoms]]]:
    """Yield the files that the paths stand for, each once, with their structures."""
    seen = set()
    for given in paths:
        files, certain = _expanded(given, key)
        structures = 0
        for path in files:
            real = os.path.realpath(path)
            try:
                found = [] if real in seen else read_file(path, key)
            except UnknownFormatError:
                if certain:
                    raise
                continue  # a folder may hold notes beside structures
            structures += 1
            seen.add(real)
            if found:
                yield path, found
        if not structures:
            raise InputError(key, f'{given} has no structure file in it')


def _expanded(given: str | os.PathLike, key: str) -> tuple[list[Path], bool]:
    """Return the files of a path, and whether all of them have to be structures."""
    path = Path(given).expanduser()
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith('.')]
        if not files:
            raise InputError(key, f'the folder {path} has no file in it')
        return sorted(files, key=natural), False
    if path.exists() or not glob.has_magic(str(path)):
        return [path], True
    files = [Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)]
    if not files:
        raise InputError(key, f'{given} matches no file')
    return sorted(files, key=natural), False


def own_structure(atoms: Atoms, key: str, name: str, elements: list[str] | None = None) -> Atoms:
    """Return a structure of the user's as the generator has it: periodic, without labels, vacuum marked in its info.

    :param key: under which it was given, for the messages.
    :param name: which structure it is, for the messages.
    :raises InputError: if it is of no use.
    """
    if len(atoms) == 0:
        raise InputError(key, f'{name} has no atoms')
    if not atoms.numbers.all():
        raise InputError(key, f'{name} has an atom that is no element (X)', 'name its element or remove it')
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(elements)) if elements is not None else []
    if unknown:
        raise InputError(key, f'{name} has {unknown[0]}', 'add it to system.elements or remove the structure')
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise InputError(key, f'{name} has positions or a cell that are not finite numbers')
    # A plane-wave code is periodic in all directions, whatever the file says.
    checked = _boxed(atoms, key, name)
    if overlapping(checked):
        raise InputError(key, f'{name} has overlapping atoms')
    axes = vacuum_axes(checked)
    if axes:
        checked.info['vacuum_axes'] = [int(axis) for axis in axes]
    return checked


def _boxed(atoms: Atoms, key: str, name: str) -> Atoms:
    """Return a periodic copy without labels; where the file has no axis of the cell, one with vacuum along it.

    :raises InputError: if the file says that it is periodic along an axis that it does not have.
    """
    checked = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    for array in KEPT_ARRAYS:
        if array in atoms.arrays:
            checked.arrays[array] = atoms.arrays[array].copy()
    moments = find_moments(atoms, key, name)
    if moments is not None:
        checked.set_array(MOMENTS, moments)
    missing = [axis for axis in range(3) if not atoms.cell.array[axis].any()]
    if abs(np.linalg.det(atoms.cell.complete().array)) < SMALLEST_VOLUME:
        raise InputError(key, f'{name} has a cell without volume: its axes lie in one plane')
    if not missing:
        return checked
    if atoms.pbc[missing].any():
        raise InputError(key, f'{name} has no cell but says that it is periodic', 'give the cell')
    checked.set_cell(checked.cell.complete())
    checked.center(vacuum=VACUUM / 2, axis=missing)
    return checked


def _refuse_partial_occupancy(atoms: Atoms, key: str, name: str) -> None:
    """:raises InputError: if a site of the file holds less than one atom, or more than one element."""
    for shares in (atoms.info.get('occupancy') or {}).values():
        if len(shares) > 1 or abs(sum(shares.values()) - 1) > 1e-3:
            mix = ', '.join(f'{element} {float(share):g}' for element, share in shares.items())
            raise InputError(
                key,
                f'{name} has a site with partial occupancy ({mix})',
                'give ordered structures, or occupy the lattice with structures.alloy.lattice_files',
            )
