"""Errors of predicted against labelled frames."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from ase import Atoms

from ..configurations import energy_counts, forces_count, group_name, labels


def statistics(differences: np.ndarray) -> dict[str, float] | None:
    """Return rmse, mae, max and p95 (95th percentile) of the absolute differences, `None` if there are none."""
    if differences.size == 0:
        return None
    size = np.abs(differences)
    return {
        'rmse': float(np.sqrt(np.mean(size**2))),
        'mae': float(size.mean()),
        'max': float(size.max()),
        'p95': float(np.percentile(size, 95)),
    }


def error_metrics(frames: list[Atoms], predictions: list[Atoms]) -> dict[str, Any]:
    """Compare labelled frames with the same frames predicted.

    Single isolated atoms are left out (their energy is the reference), and so are labels of weight zero: energies and
    stresses with `info['energy_weight'] == 0`, forces on atoms with `force_weights == 0`.

    :returns: `energy` (eV/atom), `forces` (eV/Å, per component), `stress` (eV/Å³, per component), each with rmse, mae,
        max, p95 or `None` without data; `by_family` (the same three per family), `n_frames`, `n_atoms`.
    :raises ValueError: if the two lists do not belong together.
    """
    if len(frames) != len(predictions):
        raise ValueError(f'{len(frames)} configurations cannot be compared with {len(predictions)} predictions')
    pairs = [
        (frame, predicted) for frame, predicted in zip(frames, predictions, strict=True) if not is_isolated_atom(frame)
    ]
    families = sorted({group_name(frame) for frame, _ in pairs})
    by_family = {}
    for family in families:
        chosen = [pair for pair in pairs if group_name(pair[0]) == family]
        by_family[family] = {**_compare(chosen), 'n_frames': len(chosen)}
    n_atoms = sum(len(frame) for frame, _ in pairs)
    return {**_compare(pairs), 'by_family': by_family, 'n_frames': len(pairs), 'n_atoms': n_atoms}


def is_isolated_atom(atoms: Atoms) -> bool:
    """Return whether a frame is a free atom: its energy is the reference, it is nothing to fit."""
    return len(atoms) == 1 and (atoms.info.get('family') == 'isolated_atom' or not atoms.pbc.any())


def _compare(pairs: list[tuple[Atoms, Atoms]]) -> dict[str, Any]:
    energy, forces, stress = [], [], []
    for frame, predicted in pairs:
        true, guess = labels(frame), labels(predicted)
        whole = energy_counts(frame)
        if whole and 'energy' in true and 'energy' in guess:
            energy.append((guess['energy'] - true['energy']) / len(frame))
        if 'forces' in true and 'forces' in guess:
            forces.append((guess['forces'] - true['forces'])[forces_count(frame)].ravel())
        if whole and 'stress' in true and 'stress' in guess:
            stress.append(guess['stress'] - true['stress'])
    return {
        'energy': statistics(np.array(energy)),
        'forces': statistics(np.concatenate(forces) if forces else np.zeros(0)),
        'stress': statistics(np.array(stress).ravel()),
    }


#: Edges of the classes of gamma in `gamma_against_error`.
GAMMA_EDGES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0, np.inf)


def gamma_against_error(frames: list[Atoms], predictions: list[Atoms]) -> list[dict[str, float | int | None]]:
    """Force error of the atoms by classes of gamma: what a threshold for gamma is worth. Masked atoms are left out.

    :returns: per class `gamma_from`, `gamma_to` (None: no end), `n_atoms`, `rmse` and `max` of the force error's norm
        (eV/Å); classes without atoms are left out.
    """
    gamma, error = [], []
    for frame, predicted in zip(frames, predictions, strict=True):
        true, guess = labels(frame), labels(predicted)
        if 'forces' in true and 'forces' in guess and 'gamma' in predicted.arrays and not is_isolated_atom(frame):
            counting = forces_count(frame)
            gamma.append(predicted.arrays['gamma'][counting])
            error.append(np.linalg.norm(guess['forces'] - true['forces'], axis=1)[counting])
    if not gamma:
        return []
    grades, errors = np.concatenate(gamma), np.concatenate(error)
    table = []
    for low, high in itertools.pairwise(GAMMA_EDGES):
        inside = (grades >= low) & (grades < high)
        if inside.any():
            table.append(
                {
                    'gamma_from': low,
                    'gamma_to': None if np.isinf(high) else high,
                    'n_atoms': int(inside.sum()),
                    'rmse': float(np.sqrt(np.mean(errors[inside] ** 2))),
                    'max': float(errors[inside].max()),
                }
            )
    return table
