"""Data that no fit can use, and data that a fit would follow to the wrong place."""

from __future__ import annotations

import hashlib

import numpy as np
from ase import Atoms

from ..ace.active_set import ActiveSet
from ..core.configurations import check_labelled
from ..core.frame import energy_counts, forces_count, is_isolated_atom, labels
from ..labelling.settings import check_consistent, differences, get_scale
from .units import label_problems, length_problem

#: Positions and cells that are equal to this (Å) are the same configuration.
SAME = 1e-5
#: Labels of the same configuration may differ by this: eV/atom, eV/Å.
ENERGY_SPREAD, FORCE_SPREAD = 0.005, 0.1
#: Root mean square force (eV/Å) of the median configuration above which the unit is in doubt; energy of a condensed
#: atom below and above that of a free one (eV): the largest cohesive energy is 8.9 eV.
LARGE_FORCE, COHESION = 20.0, (-15.0, 15.0)
#: Stress times volume per atom (eV) above which the unit is in doubt: 100 GPa in copper are 7 eV.
LARGE_STRESS = 10.0
#: Part of the functions that the data may leave open without a warning.
OPEN = 0.05
#: So many configurations are named in a message.
NAMED = 5


def check_data(frames: list[Atoms], test: list[Atoms], elements: list[str], mix_settings: bool) -> list[str]:
    """Refuse data that no fit can use.

    :param frames: labelled frames; :param test: others, which are not trained on.
    :param mix_settings: whether labels of different settings may meet.
    :returns: warnings about data that can be used, but hardly are what is wanted.
    :raises ValueError: if there is nothing to fit, a label that counts is missing or NaN, an element is not in
        `elements`, labels are of different settings or contradict each other, or units are wrong.
    """
    for name, group in (('training', frames), ('test', test)):
        _check_group(name, group, elements)
    condensed = get_condensed(frames)
    if not condensed:
        raise ValueError('training data: there is no configuration with more than a free atom')
    if not mix_settings:
        # the numbers in the message go on from the training data to the test data
        check_consistent([*frames, *test])
    keys = [_key(atoms) for atoms in frames]
    repeated = _check_repeated(frames, keys)
    return [*repeated, *_shared_with_test(keys, test), *_check_units(condensed), *_strange(frames, condensed, elements)]


def check_support(sets: dict[str, ActiveSet]) -> list[str]:
    """Return warnings about elements whose functions the data do not determine: too few configurations, only symmetric
    ones, or functions that depend linearly on each other."""
    warnings = []
    for element, entry in sets.items():
        size = len(entry.inverse)
        if OPEN * size < entry.unsupported < size:
            warnings.append(
                f'the data leave {entry.unsupported} of the {size} functions of {element} open (zero or collinear in '
                'all environments): add configurations of low symmetry, or take a smaller number_of_functions'
            )
    return warnings


def get_condensed(frames: list[Atoms]) -> list[Atoms]:
    """Return the frames to fit: all but the free atoms and those of which nothing counts."""
    return [
        atoms for atoms in frames if not is_isolated_atom(atoms) and (energy_counts(atoms) or forces_count(atoms).any())
    ]


def _check_group(name: str, frames: list[Atoms], elements: list[str]) -> None:
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
    for array in (atoms.numbers, atoms.pbc, np.rint(np.concatenate([atoms.cell.array, atoms.positions]) / SAME)):
        digest.update((array + 0).tobytes())
    return digest.digest()


def _check_repeated(frames: list[Atoms], keys: list[bytes]) -> list[str]:
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
                f'training data: configurations {before} and {index} ({frames[index].get_chemical_formula()}) are the '
                f'same, and their {told}: keep the right one'
            )
    if not repeated:
        return []
    return [
        f'training data: {_count(repeated)} there before, with the same labels: each counts as often as it is there; '
        'remove the copies'
    ]


def _contradiction(one: Atoms, other: Atoms) -> str | None:
    """Return which labels of two equal configurations differ by how much; of what counts in both."""
    if differences(get_scale(one), get_scale(other)):
        return None
    first, second = labels(one), labels(other)
    if energy_counts(one) and energy_counts(other):
        spread = abs(first['energy'] - second['energy']) / len(one)
        if spread > ENERGY_SPREAD:
            return f'energies differ by {1000 * spread:.0f} meV/atom'
    both = forces_count(one) & forces_count(other)
    spread = float(np.abs(first['forces'] - second['forces'])[both].max(initial=0.0))
    return f'forces differ by up to {spread:.2g} eV/Å' if spread > FORCE_SPREAD else None


def _shared_with_test(keys: list[bytes], test: list[Atoms]) -> list[str]:
    known = set(keys)
    shared = [index for index, atoms in enumerate(test) if not is_isolated_atom(atoms) and _key(atoms) in known]
    return [f'test data: {_count(shared)} trained on: their errors tell nothing; remove them'] if shared else []


def _check_units(condensed: list[Atoms]) -> list[str]:
    """:raises ValueError: if a wrong unit or sign is certain."""
    problem = length_problem(condensed)
    if problem:
        raise ValueError(f'training data: {problem}')
    certain, strange = label_problems(condensed)
    if certain:
        raise ValueError(f'training data: {certain[0]}')
    return [f'training data: {text}' for text in strange]


def _strange(frames: list[Atoms], condensed: list[Atoms], elements: list[str]) -> list[str]:
    """What is allowed, and hardly ever meant."""
    warnings = []
    if len(condensed) == 1:
        warnings.append('training data: one configuration only; weights cannot be chosen by validation, add more')
    there = {symbol for atoms in condensed for symbol in set(atoms.get_chemical_symbols())}
    for element in elements:
        if element not in there:
            warnings.append(
                f'training data: no configuration holds {element}: nothing is known about it, and gamma will say so; '
                'add configurations with it, or take it out of elements'
            )
    return warnings + _magnitudes(condensed) + _cohesion(frames, condensed)


def _magnitudes(condensed: list[Atoms]) -> list[str]:
    """Forces and stresses of a size that hardly any material has."""
    warnings, forces, stresses = [], [], []
    for atoms in condensed:
        found, counting = labels(atoms), forces_count(atoms)
        if counting.any():
            forces.append(_rms(found['forces'][counting]))
        if 'stress' in found and energy_counts(atoms):
            stresses.append(_rms(found['stress']) * atoms.get_volume() / len(atoms))
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


def _cohesion(frames: list[Atoms], condensed: list[Atoms]) -> list[str]:
    """Compare with free atoms, where there are some of all elements of a configuration."""
    free = {
        a.get_chemical_symbols()[0]: labels(a)['energy'] for a in frames if is_isolated_atom(a) and energy_counts(a)
    }
    found = [
        (labels(atoms)['energy'] - sum(free[symbol] for symbol in atoms.get_chemical_symbols())) / len(atoms)
        for atoms in condensed
        if energy_counts(atoms) and set(atoms.get_chemical_symbols()) <= set(free)
    ]
    if not found or COHESION[0] < np.median(found) < COHESION[1]:
        return []
    return [
        f'training data: an atom of the median configuration has {np.median(found):.4g} eV more than a free one, where '
        f'{COHESION[0]:.0f} to 0 are usual: are the energies in eV, and the free atoms of the same calculation?'
    ]


def _count(indices: list[int]) -> str:
    named = ', '.join(map(str, indices[:NAMED])) + (', ...' if len(indices) > NAMED else '')
    return f'{len(indices)} configuration{"s are" if len(indices) > 1 else " is"} ({named})'
