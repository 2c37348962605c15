"""Frames (`list[ase.Atoms]`) as ragged arrays in one npz file, and back.

A frame carries its labels in a `SinglePointCalculator` (energy in eV, forces in eV/Å, stress in eV/Å³, Voigt order
xx, yy, zz, yz, xz, xy), optional per-atom arrays `force_weights`, `gamma`, `force_std` (eV/Å), `oxidation_states`,
`magnetic_moments` (Bohr magnetons) and `predicted_forces` ((n, 3), eV/Å, of the potential that chose the frame), and a
JSON-able `info`.
"""

from __future__ import annotations

import json
import os
import zipfile
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

#: What ASE's calculators start from, besides the structure.
INITIAL = ('initial_magmoms', 'initial_charges')
#: Per-atom arrays that are kept, and the shape of what an atom has of each.
PER_ATOM: dict[str, tuple[int, ...]] = {
    'force_weights': (),
    'gamma': (),
    'force_std': (),
    'oxidation_states': (),
    'magnetic_moments': (),
    'predicted_forces': (3,),
}


def labels(atoms: Atoms) -> dict[str, Any]:
    """Return the labels a frame carries, never starting a calculation.

    :param atoms: a frame; labels that were computed for other positions than the present ones do not count.
    :returns: those of `energy` (float, eV), `forces` ((n, 3), eV/Å) and `stress` ((6,), eV/Å³) that are there.
    """
    calculator = atoms.calc
    if calculator is None or not calculator.results:
        return {}
    reference = getattr(calculator, 'atoms', None)
    if reference is None or (not _identical(reference, atoms) and calculator.check_state(atoms)):
        return {}
    results = calculator.results
    return {key: results[key] for key in ('energy', 'forces', 'stress') if results.get(key) is not None}


def group_name(atoms: Atoms) -> str:
    """Return what errors are told apart by: family and operation of a generated frame, or how it was found."""
    return f'{atoms.info.get("family", "unknown")} {atoms.info.get("operation", "")}'.strip()


def set_labels(
    atoms: Atoms, energy: float | None = None, forces: np.ndarray | None = None, stress: np.ndarray | None = None
) -> Atoms:
    """Attach labels to a frame (in place) and return it.

    :param energy: eV. :param forces: (n, 3), eV/Å. :param stress: (6,) Voigt, eV/Å³.
    """
    given = {'energy': energy, 'forces': forces, 'stress': stress}
    given = {key: value for key, value in given.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **given) if given else None
    return atoms


def energy_counts(atoms: Atoms) -> bool:
    """Return whether the energy of a frame is to be fitted: neither `info['weight']` nor `energy_weight` is zero."""
    return float(atoms.info.get('weight', 1.0)) * float(atoms.info.get('energy_weight', 1.0)) != 0


def forces_count(atoms: Atoms) -> np.ndarray:
    """Return of which atoms (n,) the forces are to be fitted: those without a mask in `force_weights`."""
    weights = np.asarray(atoms.arrays.get('force_weights', np.ones(len(atoms))), dtype=float)
    return weights * float(atoms.info.get('weight', 1.0)) != 0


def save_configurations(target: str | os.PathLike | IO[bytes], frames: list[Atoms]) -> None:
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
            np.savez(handle, **arrays)
    else:
        np.savez(target, **arrays)


def load_configurations(source: str | os.PathLike | IO[bytes]) -> list[Atoms]:
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


def _identical(one: Atoms, other: Atoms) -> bool:
    """Return whether no bit of two frames differs, in a hundredth of the time that ASE takes for a comparison.

    Frames with initial magnetic moments or charges are left to ASE.
    """
    if len(one) != len(other) or any(name in atoms.arrays for atoms in (one, other) for name in INITIAL):
        return False
    return (
        one.arrays['positions'].tobytes() == other.arrays['positions'].tobytes()
        and one.arrays['numbers'].tobytes() == other.arrays['numbers'].tobytes()
        and one.cell.array.tobytes() == other.cell.array.tobytes()
        and one.pbc.tobytes() == other.pbc.tobytes()
    )


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


def is_isolated_atom(atoms: Atoms) -> bool:
    """Return whether a frame is a free atom: its energy is the reference, it is nothing to fit."""
    return len(atoms) == 1 and (atoms.info.get('family') == 'isolated_atom' or not atoms.pbc.any())
