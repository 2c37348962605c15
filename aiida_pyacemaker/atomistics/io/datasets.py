"""Labelled configurations that come from elsewhere: reading them, and holding some back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from ..core.configurations import load_configurations
from ..core.errors import InputError
from ..core.frame import Labels, get_trajectory, info, is_isolated_atom, labels, set_labels
from .files import read_file

#: Names under which data sets carry labels in extended xyz, the usual ones first.
NAMES = {
    'energy': ('energy', 'REF_energy', 'dft_energy', 'DFT_energy', 'E'),
    'forces': ('forces', 'force', 'REF_forces', 'dft_forces', 'DFT_forces'),
    'stress': ('stress', 'REF_stress', 'dft_stress'),
    'virial': ('virial', 'REF_virial', 'virials', 'dft_virial'),
}


def read_labelled(path: Path) -> list[Atoms]:
    """Read the labelled configurations of a file: an npz of this package, or what ASE reads (extxyz, OUTCAR, db...).

    Labels are those of the file's calculator, or arrays and info of the usual :data:`NAMES` (a virial in eV becomes
    minus itself over the volume). A configuration without any periodicity stays so; one that is periodic in some
    directions becomes periodic in all, which is the same as long as its cell holds vacuum.

    :returns: frames with `family`, where the file does not tell it from `config_type` or else its stem.
    :raises ValueError: naming the file, if it cannot be read.
    :raises InputError: naming the configuration that has no labels.
    """
    frames = load_configurations(path) if path.suffix == '.npz' else read_file(path, 'data')
    found = []
    for index, atoms in enumerate(frames):
        given = get_given(atoms)
        if 'energy' not in given and 'forces' not in given:
            problem = f'configuration {index} of {path} has neither energy nor forces'
            raise InputError('data', problem, 'name them `energy` and `forces`')
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=bool(atoms.pbc.any()))
        for name in ('force_weights', 'oxidation_states', 'magnetic_moments'):
            if name in atoms.arrays:
                bare.set_array(name, atoms.arrays[name])
        taken = {name for names in NAMES.values() for name in names}
        bare.info = {key: value for key, value in atoms.info.items() if key not in taken and is_plain(value)}
        info(bare).setdefault('family', str(info(atoms).get('config_type', path.stem)))
        if len(bare) == 1 and not bare.pbc.any():
            info(bare)['family'] = 'isolated_atom'
        found.append(set_labels(bare, **given))
    return found


def get_given(atoms: Atoms) -> Labels:
    """Return the labels that a frame of a file carries, wherever they are."""
    given: dict[str, Any] = {**labels(atoms)}
    n = len(atoms)
    for key, holder, shape in (
        ('energy', atoms.info, ()),
        ('forces', atoms.arrays, (n, 3)),
        ('stress', atoms.info, None),
    ):
        name = next((name for name in NAMES[key] if name in holder), None)
        if key not in given and name is not None:
            value = np.asarray(holder[name], dtype=float)
            given[key] = float(value) if shape == () else voigt(value) if shape is None else value.reshape(shape)
    virial = next((name for name in NAMES['virial'] if name in atoms.info), None)
    if 'stress' not in given and virial is not None and atoms.pbc.all():
        given['stress'] = -voigt(np.asarray(atoms.info[virial], dtype=float)) / atoms.get_volume()
    return cast(Labels, given)


def voigt(tensor: np.ndarray) -> np.ndarray:
    """Return a stress, (6,), (9,) or (3, 3), in Voigt order xx, yy, zz, yz, xz, xy."""
    if tensor.size == 6:
        return tensor.ravel()
    whole = tensor.reshape(3, 3)
    return ((whole + whole.T) / 2)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def is_plain(value: object) -> bool:
    """Return whether a value of info can be kept: text, numbers and lists of them."""
    return isinstance(value, (str, bool, int, float, list, dict, np.ndarray, np.generic))


#: What the parts of a data set are called in the info `split`.
PARTS = ('train', 'validation', 'test')


def split(frames: list[Atoms], shares: Sequence[float], seed: int, order: str = 'random') -> dict[str, list[Atoms]]:
    """Hold back parts of the configurations, whole trajectories of them, see :func:`get_trajectory`.

    Frames of one trajectory resemble each other: held back beside some that were trained on they would tell nothing.
    Free atoms are never held back, and what the info `split` names 'validation' or 'test' always is; if there is any
    such, nothing more is drawn.

    :param shares: what to hold back, as parts of the whole: of `test`, or of `validation` and `test`.
    :param seed: of the draw.
    :param order: 'random', or 'time': the last are `test`, those before them `validation`, all in their order.
    :returns: the frames of `train`, `validation` (empty for one share) and `test`, each in their order.
    :raises InputError: if the shares leave nothing to train on, or there is no such order.
    """
    if not 1 <= len(shares) <= 2 or min(shares) < 0 or sum(shares) >= 1:
        raise InputError('split', f'{list(shares)} are no shares to hold back', 'give one or two, their sum below 1')
    if order not in ('random', 'time'):
        raise InputError('split', f'there is no order `{order}`', 'it is `random` or `time`')
    names = [name if (name := info(atoms).get('split')) in PARTS[1:] else 'train' for atoms in frames]
    if set(names) <= {'train'}:
        wanted = dict(zip(('test', 'validation'), reversed(shares), strict=False))
        names = _draw(frames, wanted, np.random.default_rng(seed) if order == 'random' else None)
    return {part: [atoms for atoms, name in zip(frames, names, strict=True) if name == part] for part in PARTS}


def _draw(frames: list[Atoms], wanted: dict[str, float], rng: np.random.Generator | None) -> list[str]:
    """Return the part of each frame.

    :param wanted: share of each part that is held back.
    :param rng: None: the last go first.
    """
    groups: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames):
        if not is_isolated_atom(atoms):
            groups.setdefault(get_trajectory(atoms) or f'frame {index}', []).append(index)
    left = list(groups.values())[::-1]
    total = sum(map(len, left))
    if rng is not None:
        rng.shuffle(left)
    names = ['train'] * len(frames)
    for part, share in wanted.items():
        held: list[int] = []
        for members in list(left):
            # a group that would overshoot by more than it helps stays
            if share and len(held) + len(members) / 2 <= share * total:
                held += members
                left.remove(members)
            elif rng is None:
                break
        for index in held:
            names[index] = part
    return names
