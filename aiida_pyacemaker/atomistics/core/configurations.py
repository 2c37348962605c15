"""Frames (`list[ase.Atoms]`) as ragged arrays in one npz file, and back.

What a frame carries, and in which units, is said in :mod:`.frame`.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import IO, Any

import numpy as np
from ase import Atoms

from .frame import (
    PER_ATOM,
    energy_counts,
    forces_count,
    labels,
    set_labels,
)


def save_configurations(target: str | os.PathLike[str] | IO[bytes], frames: list[Atoms]) -> None:
    """Write frames to an npz file; the same frames always give the same bytes.

    :param target: path or binary file object.
    :raises ValueError: if the info of a frame cannot be written as JSON, or a per-atom array has the wrong length.
    """
    found = [labels(atoms) for atoms in frames]
    n_atoms = np.array([len(atoms) for atoms in frames], dtype=np.int64)
    arrays = {
        'n_atoms': n_atoms,
        'numbers': _join([atoms.numbers for atoms in frames], np.int64, ()),
        'positions': _join([atoms.positions for atoms in frames], np.float64, (3,)),
        'cells': np.array([atoms.cell.array for atoms in frames], dtype=np.float64).reshape(-1, 3, 3),
        'pbc': np.array([atoms.pbc for atoms in frames], dtype=bool).reshape(-1, 3),
        'energy': np.array([label.get('energy', np.nan) for label in found], dtype=np.float64),
        'forces': _optional([label.get('forces') for label in found], n_atoms, (3,)),
        'stress': _optional([label.get('stress') for label in found], np.ones_like(n_atoms), (6,)),
        'info': np.frombuffer(_info_to_json(frames), dtype=np.uint8),
    }
    for name, shape in PER_ATOM.items():
        arrays[name] = _optional([atoms.arrays.get(name) for atoms in frames], n_atoms, shape)
    # np.savez appends '.npz' to a path without that suffix: an open file keeps the name that was asked for.
    if isinstance(target, (str, os.PathLike)):
        with open(target, 'wb') as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
    else:
        np.savez(target, **arrays)  # type: ignore[arg-type]


def load_configurations(source: str | os.PathLike[str] | IO[bytes]) -> list[Atoms]:
    """Read frames written by :func:`save_configurations`.

    :param source: path or binary file object.
    :raises ValueError: if the file is not such an npz file.
    """
    try:
        with np.load(source, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        return _frames_from_arrays(arrays)
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, TypeError) as exception:
        raise ValueError(f'{source} is not a configurations file: {exception}') from exception


def check_labelled(frames: list[Atoms]) -> None:
    """Check that every frame has a finite energy and finite forces, as far as they count.

    What has the weight zero may be anything: the forces on masked atoms, the energy of a cell cut out of a larger one.

    :raises ValueError: naming the first frame that has not.
    """
    for index, atoms in enumerate(frames):
        name = f'configuration {index} ({atoms.get_chemical_formula()})'
        found = labels(atoms)
        for key in ('energy', 'forces') if energy_counts(atoms) else ('forces',):
            if key not in found:
                raise ValueError(f'{name} has no {key}: label it, or remove it from the data set')
        if np.shape(found['forces']) != (len(atoms), 3):
            raise ValueError(f'{name} has forces of shape {np.shape(found["forces"])}, not {(len(atoms), 3)}')
        counting = {'forces': found['forces'][forces_count(atoms)]}
        if energy_counts(atoms):
            counting['energy'] = found['energy']
        for key, value in counting.items():
            if not np.all(np.isfinite(value)):
                raise ValueError(f'{name} has NaN or infinite {key}: label it again, or remove it from the data set')
        if not np.all(np.isfinite(atoms.positions)) or not np.all(np.isfinite(atoms.cell.array)):
            raise ValueError(f'{name} has NaN or infinite positions or cell: remove it from the data set')


def _frames_from_arrays(arrays: dict[str, np.ndarray]) -> list[Atoms]:
    n_atoms = arrays['n_atoms']
    splits = np.cumsum(n_atoms)[:-1]
    infos = json.loads(arrays['info'].tobytes().decode())
    if len(infos) != len(n_atoms) or int(n_atoms.sum()) != len(arrays['positions']):
        raise ValueError('its arrays do not belong together')
    # an array that a file of an earlier version lacks is absent everywhere
    stored = {name: arrays.get(name, np.zeros(0)) for name in ('forces', *PER_ATOM)}
    per_atom = {name: np.split(values, splits) if values.size else None for name, values in stored.items()}
    numbers, positions = np.split(arrays['numbers'], splits), np.split(arrays['positions'], splits)
    frames = []
    for index, info in enumerate(infos):
        atoms = Atoms(numbers[index], positions[index], cell=arrays['cells'][index], pbc=arrays['pbc'][index])
        atoms.info.update(info)
        values = {name: None if split is None else split[index].copy() for name, split in per_atom.items()}
        # NaN marks absence; a label that is NaN only in part is kept, for `check_labelled` to find.
        values = {name: None if value is None or np.isnan(value).all() else value for name, value in values.items()}
        stress = arrays['stress'][index].copy() if arrays['stress'].size else np.full(6, np.nan)
        energy = float(arrays['energy'][index])
        for name in PER_ATOM:
            if values[name] is not None:
                atoms.set_array(name, values[name])
        set_labels(
            atoms,
            energy=None if np.isnan(energy) else energy,
            forces=values['forces'],
            stress=None if np.isnan(stress).all() else stress,
        )
        frames.append(atoms)
    return frames


def _join(parts: list[np.ndarray], dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=dtype) for part in parts]) if parts else np.zeros((0, *shape), dtype)


def _optional(parts: list[Any], lengths: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Join parts of which some are `None` (filled with NaN); nothing at all is stored as an array of size zero."""
    if all(part is None for part in parts):
        return np.zeros((0, *shape))
    filled = []
    for index, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        expected = (length, *shape)
        value = np.full(expected, np.nan) if part is None else np.asarray(part, dtype=float)
        if value.size != np.prod(expected):
            raise ValueError(f'configuration {index} has an array of shape {value.shape} where {expected} is needed')
        filled.append(value.reshape(expected))
    return np.concatenate(filled)


def _info_to_json(frames: list[Atoms]) -> bytes:
    try:
        return json.dumps([atoms.info for atoms in frames], sort_keys=True, default=_plain).encode()
    except TypeError as exception:
        raise ValueError(f'the info of a configuration cannot be stored: {exception}') from exception


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays into what JSON knows."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f'{value!r} of type {type(value).__name__} is not JSON')
