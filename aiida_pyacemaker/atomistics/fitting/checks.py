"""Data that no fit can use, and data that a fit would follow to the wrong place."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from ..ace.active_set import ActiveSet
from ..core.configurations import check_labelled
from ..core.frame import energy_counts, labels
from ..labelling.settings import differences
from .units import label_problems, length_problem

if TYPE_CHECKING:
    from .training_set import LabelledFrame

#: Positions and cells that are equal to this (Å) are the same configuration.
SAME_TOLERANCE = 1e-5
#: Labels of the same configuration may differ by this: eV/atom, eV/Å.
ENERGY_SPREAD = 0.005
FORCE_SPREAD = 0.1
#: Root mean square force (eV/Å) of the median configuration above which the unit is in doubt; energy of a condensed
#: atom below and above that of a free one (eV): the largest cohesive energy is 8.9 eV.
LARGE_FORCE = 20.0
COHESION = (-15.0, 15.0)
#: Stress times volume per atom (eV) above which the unit is in doubt: 100 GPa in copper are 7 eV.
LARGE_STRESS = 10.0
#: Part of the functions that the data may leave open without a warning.
MAX_OPEN_SHARE = 0.05
#: So many configurations are named in a message.
MAX_NAMED = 5


def find_warnings(frames: list[LabelledFrame], test: list[LabelledFrame], elements: list[str]) -> list[str]:
    """Return warnings about data that can be used, but hardly are what is wanted.

    :raises ValueError: if labels contradict each other, or units are wrong.
    """
    fitted = [frame for frame in frames if frame.is_fitted]
    keys = [_key(frame.atoms) for frame in frames]
    repeated = _check_repeated(frames, keys)
    return [*repeated, *_shared_with_test(keys, test), *_check_units(fitted), *_strange(frames, fitted, elements)]


def check_support(sets: dict[str, ActiveSet]) -> list[str]:
    """Return warnings about elements whose functions the data do not determine: too few configurations, only symmetric
    ones, or functions that depend linearly on each other."""
    warnings = []
    for element, entry in sets.items():
        size = len(entry.inverse)
        if MAX_OPEN_SHARE * size < entry.unsupported < size:
            warnings.append(
                f'the data leave {entry.unsupported} of the {size} functions of {element} open (zero or collinear in '
                'all environments): add configurations of low symmetry, or take a smaller number_of_functions'
            )
    return warnings


def check_group(name: str, frames: list[Atoms], elements: list[str]) -> None:
    """:raises ValueError: if a label that counts is missing or NaN, an element is foreign, or a cell cannot be used."""
    try:
        check_labelled(frames)
    except ValueError as exception:
        raise ValueError(f'{name} data: {exception}') from exception
    for index, atoms in enumerate(frames):
        about = f'{name} data: configuration {index} ({atoms.get_chemical_formula()})'
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(elements))
        if unknown:
            raise ValueError(
                f'{about} has {unknown[0]}, which is not in elements ({", ".join(elements)}): add it there, or remove '
                'the configuration'
            )
        if atoms.pbc.any() and not atoms.pbc.all():
            raise ValueError(
                f'{about} is periodic in some directions only, which python-ace does not know: make it fully periodic, '
                'with vacuum'
            )
        if atoms.pbc.all() and abs(np.linalg.det(atoms.cell.array)) < 1e-3:
            raise ValueError(f'{about} is periodic, but its cell has no volume: give it one, or make it not periodic')
        stress = labels(atoms).get('stress')
        if stress is not None and energy_counts(atoms) and not np.all(np.isfinite(stress)):
            raise ValueError(f'{about} has NaN or infinite stress: label it again, or leave the stress out')


def _key(atoms: Atoms) -> bytes:
    """Hash of what a configuration is, up to rounding."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (
        atoms.numbers,
        atoms.pbc,
        np.rint(np.concatenate([atoms.cell.array, atoms.positions]) / SAME_TOLERANCE),
    ):
        digest.update((array + 0).tobytes())
    return digest.digest()


def _check_repeated(frames: list[LabelledFrame], keys: list[bytes]) -> list[str]:
    """Warn of configurations that are there twice.

    :raises ValueError: if their labels, of the same settings, contradict each other.
    """
    first: dict[bytes, int] = {}
    repeated = []
    for index, key in enumerate(keys):
        before = first.setdefault(key, index)
        if before == index:
            continue
        repeated.append(index)
        told = _contradiction(frames[before], frames[index])
        if told:
            raise ValueError(
                f'training data: configurations {before} and {index} '
                f'({frames[index].atoms.get_chemical_formula()}) are the same, and their {told}: keep the right one'
            )
    if not repeated:
        return []
    return [
        f'training data: {_count(repeated)} there before, with the same labels: each counts as often as it is there; '
        'remove the copies'
    ]


def _contradiction(one: LabelledFrame, other: LabelledFrame) -> str | None:
    """Return which labels of two equal configurations differ by how much; of what counts in both."""
    if differences(one.settings, other.settings):
        return None
    if one.energy is not None and other.energy is not None:
        spread = abs(one.energy - other.energy) / len(one.atoms)
        if spread > ENERGY_SPREAD:
            return f'energies differ by {1000 * spread:.0f} meV/atom'
    both = one.counting & other.counting
    spread = float(np.abs(one.forces - other.forces)[both].max(initial=0.0))
    return f'forces differ by up to {spread:.2g} eV/Å' if spread > FORCE_SPREAD else None


def _shared_with_test(keys: list[bytes], test: list[LabelledFrame]) -> list[str]:
    known = set(keys)
    shared = [index for index, frame in enumerate(test) if not frame.is_free_atom and _key(frame.atoms) in known]
    return [f'test data: {_count(shared)} trained on: their errors tell nothing; remove them'] if shared else []


def _check_units(fitted: list[LabelledFrame]) -> list[str]:
    """:raises ValueError: if a wrong unit or sign is certain."""
    problem = length_problem([frame.atoms for frame in fitted])
    if problem:
        raise ValueError(f'training data: {problem}')
    certain, strange = label_problems(fitted)
    if certain:
        raise ValueError(f'training data: {certain[0]}')
    return [f'training data: {text}' for text in strange]


def _strange(frames: list[LabelledFrame], fitted: list[LabelledFrame], elements: list[str]) -> list[str]:
    """What is allowed, and hardly ever meant."""
    warnings = []
    if len(fitted) == 1:
        warnings.append('training data: one configuration only; weights cannot be chosen by validation, add more')
    there = {symbol for frame in fitted for symbol in set(frame.atoms.get_chemical_symbols())}
    for element in elements:
        if element not in there:
            warnings.append(
                f'training data: no configuration holds {element}: nothing is known about it, and gamma will say so; '
                'add configurations with it, or take it out of elements'
            )
    return warnings + _magnitudes(fitted) + _cohesion(frames, fitted)


def _magnitudes(fitted: list[LabelledFrame]) -> list[str]:
    """Forces and stresses of a size that hardly any material has."""
    warnings, forces, stresses = [], [], []
    for frame in fitted:
        if frame.counting.any():
            forces.append(_rms(frame.forces[frame.counting]))
        if frame.stress is not None:
            stresses.append(_rms(frame.stress) * frame.atoms.get_volume() / len(frame.atoms))
    if len(forces) > 1 and not any(forces):
        warnings.append('training data: all forces are exactly zero: were they computed?')
    if forces and np.median(forces) > LARGE_FORCE:
        warnings.append(
            f'training data: the forces of the median configuration are {np.median(forces):.3g} eV/Å (root mean '
            'square): are energies and forces in eV and Å, or in kcal/mol or kJ/mol?'
        )
    if stresses and np.median(stresses) > LARGE_STRESS:
        warnings.append(
            f'training data: the stress of the median configuration times its volume is {np.median(stresses):.3g} eV '
            'per atom: is it in eV/Å³, or in GPa or kbar?'
        )
    return warnings


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _cohesion(frames: list[LabelledFrame], fitted: list[LabelledFrame]) -> list[str]:
    """Compare with free atoms, where there are some of all elements of a configuration."""
    free = {
        frame.atoms.get_chemical_symbols()[0]: frame.energy
        for frame in frames
        if frame.is_free_atom and frame.energy is not None
    }
    found = [
        (frame.energy - sum(free[symbol] for symbol in frame.atoms.get_chemical_symbols())) / len(frame.atoms)
        for frame in fitted
        if frame.energy is not None and set(frame.atoms.get_chemical_symbols()) <= set(free)
    ]
    if not found or COHESION[0] < np.median(found) < COHESION[1]:
        return []
    return [
        f'training data: an atom of the median configuration has {np.median(found):.4g} eV more than a free one, where '
        f'{COHESION[0]:.0f} to 0 are usual: are the energies in eV, and the free atoms of the same calculation?'
    ]


def _count(indices: list[int]) -> str:
    named = ', '.join(map(str, indices[:MAX_NAMED])) + (', ...' if len(indices) > MAX_NAMED else '')
    return f'{len(indices)} configuration{"s are" if len(indices) > 1 else " is"} ({named})'
