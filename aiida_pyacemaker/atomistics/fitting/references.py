"""Zeros of energy: the free atoms, and what makes the energies of different settings comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from ase import Atoms

from ..core.frame import energy_counts, get_weight, is_isolated_atom, labels, set_labels
from ..labelling.settings import Settings, differences, get_scale, group_by_settings
from ..potential.potential import AcePotential

Energies = dict[str, float]


class EnergyScale(TypedDict):
    """How far the energies of one kind of `settings` lie from those of the first: `offsets`, eV per atom of each
    element, none in the first."""

    settings: Settings | None
    offsets: Energies


def reference_energies(
    frames: list[Atoms], elements: list[str], parent: AcePotential | None, settings: Settings | None = None
) -> tuple[Energies, dict[str, str]]:
    """Return the energy per free atom (eV) of every element, and where each comes from.

    The kinds are 'isolated_atom', 'parent' and 'least_squares' (which also serves elements without any data: 0 eV).
    Energies of weight zero are not looked at. Free atoms of other settings are no reference, nor is a parent of others.

    :param frames: with all energies on one scale, see :func:`align_energies`.
    :param settings: those that the scale belongs to.
    """
    own = [atoms for atoms in frames if not differences(settings, get_scale(atoms))]
    energies = {element: value for element, value in free_atoms(own).items() if element in elements}
    kinds = dict.fromkeys(energies, 'isolated_atom')
    if parent is not None and not differences(parent.metadata.get('settings'), settings):
        for element in elements:
            if element not in energies and element in parent.reference_energies:
                energies[element], kinds[element] = parent.reference_energies[element], 'parent'
    missing = [element for element in elements if element not in energies]
    energies |= least_squares(frames, {element: energies.get(element, 0.0) for element in elements}, missing)
    kinds |= dict.fromkeys(missing, 'least_squares')
    return {el: energies[el] for el in elements}, {el: kinds[el] for el in elements}


def energy_scales(frames: list[Atoms], elements: list[str]) -> list[EnergyScale]:
    """Return how far the energies of each kind of settings lie from those of the first.

    The first is the one with the most free atoms, then with the most energies. The offset of an element is the
    difference of its free atoms where both have one. Elsewhere it is that of the energies per atom, by least squares
    over the compositions: as good as the two groups hold alike configurations, so label the free atoms with both.

    :param frames: labelled frames, free atoms included.
    :returns: for each kind its ``settings`` and ``offsets`` (eV per atom of each element, zero in the first).
    """
    groups = [
        (group.settings, [frames[index] for index in group.indices]) for group in group_by_settings(frames, get_scale)
    ]
    groups.sort(key=lambda group: (-len(free_atoms(group[1])), -sum(map(energy_counts, group[1]))))
    base = groups[0][1]
    return [
        {'settings': settings, 'offsets': _offsets(members, base, elements) if members is not base else {}}
        for settings, members in groups
    ]


def align_energies(frames: list[Atoms], scales: Sequence[EnergyScale]) -> list[Atoms]:
    """Return the frames with all energies on the first of the scales; those of the first are not copied.

    :param scales: what :func:`energy_scales` returned; fewer than two change nothing.
    :raises ValueError: if a frame is labelled with settings that no scale is for.
    """
    if len(scales) < 2:
        return frames
    aligned = []
    for index, atoms in enumerate(frames):
        found, settings = labels(atoms), get_scale(atoms)
        scale = next((scale for scale in scales if not differences(scale['settings'], settings)), None)
        if scale is None and 'energy' in found:
            told = '; '.join(differences(scales[0]['settings'], settings))
            raise ValueError(
                f'configuration {index} ({atoms.get_chemical_formula()}) has settings that none of the configurations '
                f'to train on has ({told}): its energy cannot be compared, remove it'
            )
        if scale is None or scale is scales[0] or 'energy' not in found:
            aligned.append(atoms)
        else:
            offset: float = sum(scale['offsets'].get(symbol, 0.0) for symbol in atoms.get_chemical_symbols())
            energy = found['energy'] - offset
            aligned.append(set_labels(atoms.copy(), energy, found.get('forces'), found.get('stress')))
    return aligned


def free_atoms(frames: list[Atoms]) -> Energies:
    """Return the energies (eV) of the free atoms that count, by element; of several that of the greatest weight."""
    counting = [atoms for atoms in frames if is_isolated_atom(atoms) and energy_counts(atoms)]
    counting.sort(key=get_weight)
    return {atoms.get_chemical_symbols()[0]: float(labels(atoms)['energy']) for atoms in counting}


def least_squares(frames: list[Atoms], zero: Energies, missing: list[str]) -> Energies:
    """Return the energies per atom (eV) of elements by weighted least squares over the compositions.

    :param frames: free atoms among them, and energies that do not count, are not used.
    :param zero: energy of every element that is subtracted before.
    :param missing: the elements that are fitted; what the compositions do not decide is shared out evenly.
    """
    counting = [atoms for atoms in frames if energy_counts(atoms) and not is_isolated_atom(atoms)]
    if not counting or not missing:
        return dict.fromkeys(missing, 0.0)
    elements = list(zero)
    counts = np.array([[atoms.get_chemical_symbols().count(el) for el in elements] for atoms in counting], dtype=float)
    sizes = counts.sum(axis=1)
    energies = np.array([labels(atoms)['energy'] for atoms in counting])
    rest = (energies - counts @ np.array([zero[element] for element in elements])) / sizes
    weights = np.array([get_weight(atoms) for atoms in counting])
    shares = counts[:, [elements.index(element) for element in missing]] / sizes[:, None]
    solution = np.linalg.lstsq(weights[:, None] * shares, weights * rest, rcond=None)[0]
    return {element: float(value) for element, value in zip(missing, solution, strict=True)}


def _offsets(frames: list[Atoms], base: list[Atoms], elements: list[str]) -> Energies:
    """Energies per atom of each element in `frames` less those in `base`."""
    free, free_base = free_atoms(frames), free_atoms(base)
    known = {
        element: free[element] - free_base[element] for element in elements if element in free and element in free_base
    }
    level = least_squares(base, dict.fromkeys(elements, 0.0), elements)
    zero = {element: level[element] + known.get(element, 0.0) for element in elements}
    return known | least_squares(frames, zero, [element for element in elements if element not in known])
