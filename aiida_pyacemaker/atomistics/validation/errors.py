"""Errors of predicted against labelled frames."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from ase import Atoms

from ..configurations import energy_counts, forces_count, group_name, labels

#: Half-width of the 95 % band in standard deviations of a normal distribution.
BAND = 1.959964


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


def uncertainty_metrics(frames: list[Atoms], predictions: list[Atoms]) -> dict[str, Any] | None:
    """Compare the errors with what the predictions say of their own uncertainty. Labels of weight zero are left out.

    :param predictions: the frames predicted, with `force_std` (and `gamma`) per atom and the info `energy_std`.
    :returns: None without `force_std`; else `forces` and `energy` (None without it), each with `coverage` (part of the
        errors within +-1.96 standard deviations: 0.95 at best), `n` and `rank_correlation` (Spearman, of the norm of an
        atom's force error or of the energy error per atom) with `posterior` and `gamma` (None where there is nothing to
        rank); and `by_family`: coverage of the forces.
    """
    pairs = [
        (frame, predicted)
        for frame, predicted in zip(frames, predictions, strict=True)
        if 'force_std' in predicted.arrays and 'forces' in labels(frame) and not is_isolated_atom(frame)
    ]
    if not pairs:
        return None
    table = np.concatenate([force_errors(*pair) for pair in pairs])
    families = np.repeat([group_name(frame) for frame, _ in pairs], [forces_count(frame).sum() for frame, _ in pairs])
    inside = np.abs(table[:, :3]) <= BAND * table[:, 3:4]
    size = np.linalg.norm(table[:, :3], axis=1)
    ranks = {'posterior': rank_correlation(table[:, 3], size), 'gamma': rank_correlation(table[:, 4], size)}
    return {
        'forces': {'coverage': float(inside.mean()), 'n': inside.size, 'rank_correlation': ranks},
        'energy': _energy_uncertainty(pairs),
        'by_family': {family: float(inside[families == family].mean()) for family in sorted(set(families.tolist()))},
    }


def force_errors(frame: Atoms, predicted: Atoms) -> np.ndarray:
    """Return of each atom whose forces count: the three errors, `force_std` (all eV/Å) and gamma (NaN if unknown)."""
    counting = forces_count(frame)
    errors = (labels(predicted)['forces'] - labels(frame)['forces'])[counting]
    gamma = predicted.arrays.get('gamma', np.full(len(frame), np.nan))[counting]
    return np.column_stack([errors, predicted.arrays['force_std'][counting], gamma])


def surprise(frames: list[Atoms]) -> dict[str, Any] | None:
    """Compare new labels with what the potential that chose the frames said of them; what has no weight is left out.

    :param frames: labelled, with the array `predicted_forces` (eV/Å) and the info `predicted_energy` (eV); those
        without are left out.
    :returns: None where there are none; else `forces` (eV/Å, per component) and `energy` (eV/atom; None without any),
        each with rmse, mae, max and p95, `rank_correlation` (Spearman, of gamma with the norm of an atom's force error;
        None where there is nothing to rank), `gamma_max`, `n_frames` and `n_atoms`.
    """
    chosen = [
        atoms
        for atoms in frames
        if 'predicted_forces' in atoms.arrays and 'forces' in labels(atoms) and not is_isolated_atom(atoms)
    ]
    counting = [forces_count(atoms) for atoms in chosen]
    if not any(count.any() for count in counting):
        return None
    pairs = list(zip(chosen, counting, strict=True))
    errors = np.concatenate([(a.arrays['predicted_forces'] - labels(a)['forces'])[count] for a, count in pairs])
    gamma = np.concatenate([a.arrays.get('gamma', np.full(len(a), np.nan))[count] for a, count in pairs])
    energies = [
        (atoms.info['predicted_energy'] - labels(atoms)['energy']) / len(atoms)
        for atoms in chosen
        if energy_counts(atoms) and 'energy' in labels(atoms) and 'predicted_energy' in atoms.info
    ]
    return {
        'forces': statistics(errors.ravel()),
        'energy': statistics(np.array(energies)),
        'rank_correlation': rank_correlation(gamma, np.linalg.norm(errors, axis=1)),
        'gamma_max': float(np.nanmax(gamma)) if np.isfinite(gamma).any() else None,
        'n_frames': len(chosen),
        'n_atoms': len(errors),
    }


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Return Spearman's rank correlation, None if one of the two does not vary or is unknown."""
    from scipy.stats import spearmanr

    if len(left) < 3 or not np.all(np.isfinite(left)) or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)


def _energy_uncertainty(pairs: list[tuple[Atoms, Atoms]]) -> dict[str, Any] | None:
    rows = []
    for frame, predicted in pairs:
        true, guess = labels(frame), labels(predicted)
        if energy_counts(frame) and 'energy' in true and 'energy' in guess and 'energy_std' in predicted.info:
            gamma = float(np.max(predicted.arrays.get('gamma', np.nan)))
            error = abs(guess['energy'] - true['energy']) / len(frame)
            rows.append((error, predicted.info['energy_std'], gamma))
    if not rows:
        return None
    error, deviation, gamma = np.array(rows).T
    ranks = {'posterior': rank_correlation(deviation, error), 'gamma': rank_correlation(gamma, error)}
    return {'coverage': float(np.mean(error <= BAND * deviation)), 'n': len(rows), 'rank_correlation': ranks}


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
