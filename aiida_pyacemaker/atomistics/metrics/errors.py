"""Errors of predicted against labelled frames."""

from __future__ import annotations

import itertools
from typing import Any, TypedDict, cast

import numpy as np
from ase import Atoms

from ..core.frame import energy_counts, forces_count, group_name, is_isolated_atom, labels

#: Half-width of the 95 % band in standard deviations of a normal distribution.
BAND = 1.959964


class Statistics(TypedDict):
    """Of absolute errors: root mean square, mean, largest, 95th percentile."""

    rmse: float
    mae: float
    max: float
    p95: float


class FamilyErrors(TypedDict):
    """Errors of one family; see :class:`ErrorMetrics`."""

    energy: Statistics | None
    forces: Statistics | None
    stress: Statistics | None
    n_frames: int


class ErrorMetrics(TypedDict):
    """Errors of energy (eV/atom), of force components (eV/Å) and of stress components (eV/Å³), None without data.

    Of forces also by component (`x`, `y`, `z`), of their length, and of the components on the atoms of each element.
    """

    energy: Statistics | None
    forces: Statistics | None
    stress: Statistics | None
    force_components: dict[str, Statistics | None]
    force_magnitude: Statistics | None
    by_element: dict[str, Statistics | None]
    by_family: dict[str, FamilyErrors]
    n_frames: int
    n_atoms: int


class Coverage(TypedDict):
    """How good error bars are: part of the errors within 1.96 standard deviations, their number, and Spearman's rank
    correlation of their size with `posterior` and `gamma` (None where there is nothing to rank)."""

    coverage: float
    n: int
    rank_correlation: dict[str, float | None]


class UncertaintyMetrics(TypedDict):
    """Error bars of force components and of energies; `by_family`: coverage of the forces."""

    forces: Coverage
    energy: Coverage | None
    by_family: dict[str, float]


class Surprise(TypedDict):
    """How new labels differ from their predictions; see :func:`surprise`."""

    forces: Statistics | None
    energy: Statistics | None
    rank_correlation: float | None
    gamma_max: float | None
    n_frames: int
    n_atoms: int


class GammaClass(TypedDict):
    """Force errors (norm, eV/Å) of the atoms whose gamma is from `gamma_from` to `gamma_to` (None: no end)."""

    gamma_from: float
    gamma_to: float | None
    n_atoms: int
    rmse: float
    max: float


def statistics(differences: np.ndarray) -> Statistics | None:
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


def error_metrics(frames: list[Atoms], predictions: list[Atoms]) -> ErrorMetrics:
    """Compare labelled frames with the same frames predicted.

    Single isolated atoms are left out (their energy is the reference), and so are labels of weight zero: energies and
    stresses with `info['energy_weight'] == 0`, forces on atoms with `force_weights == 0`.

    :raises ValueError: if the two lists do not belong together.
    """
    if len(frames) != len(predictions):
        raise ValueError(f'{len(frames)} configurations cannot be compared with {len(predictions)} predictions')
    pairs = [pair for pair in zip(frames, predictions, strict=True) if not is_isolated_atom(pair[0])]
    families = sorted({group_name(frame) for frame, _ in pairs})
    by_family = {}
    for family in families:
        chosen = [pair for pair in pairs if group_name(pair[0]) == family]
        by_family[family] = {**_compare(_gather(chosen)), 'n_frames': len(chosen)}
    n_atoms = sum(len(frame) for frame, _ in pairs)
    found = _gather(pairs)
    metrics = {
        **_compare(found),
        **_compare_forces(found),
        'by_family': by_family,
        'n_frames': len(pairs),
        'n_atoms': n_atoms,
    }
    return cast(ErrorMetrics, metrics)


def _gather(pairs: list[tuple[Atoms, Atoms]]) -> dict[str, np.ndarray]:
    """Return the labels that count, each as (reference, predicted).

    :returns: `energy` (2, n) per atom, `forces` (2, m, 3), `stress` (2, k, 6), and whose they are: `shares` (n, number
        of elements) of the energies, `families` (n), `elements` (m).
    """
    symbols = sorted({symbol for frame, _ in pairs for symbol in frame.symbols})
    found: dict[str, list[Any]] = {'energy': [], 'forces': [], 'stress': []}
    shares, families, elements = [], [], []
    for frame, predicted in pairs:
        true, guess = labels(frame), labels(predicted)
        both, whole, counting = true.keys() & guess.keys(), energy_counts(frame), forces_count(frame)
        if whole and 'energy' in both:
            found['energy'].append([value['energy'] / len(frame) for value in (true, guess)])
            shares.append([np.mean(frame.symbols == symbol) for symbol in symbols])
            families.append(group_name(frame))
        if 'forces' in both:
            found['forces'] += list(np.stack([value['forces'][counting] for value in (true, guess)], axis=1))
            elements += [frame.symbols[index] for index in np.flatnonzero(counting)]
        if whole and 'stress' in both:
            found['stress'].append([true['stress'], guess['stress']])
    shapes = {'energy': (), 'forces': (3,), 'stress': (6,)}
    arrays = {key: np.array(found[key]).reshape(-1, 2, *shape).swapaxes(0, 1) for key, shape in shapes.items()}
    who = {'families': np.array(families), 'elements': np.array(elements)}
    return {**arrays, **who, 'shares': np.array(shares).reshape(len(shares), len(symbols))}


def _compare(found: dict[str, np.ndarray]) -> dict[str, Statistics | None]:
    return {key: statistics((found[key][1] - found[key][0]).ravel()) for key in ('energy', 'forces', 'stress')}


class _ForceErrors(TypedDict):
    force_components: dict[str, Statistics | None]
    force_magnitude: Statistics | None
    by_element: dict[str, Statistics | None]


def _compare_forces(found: dict[str, np.ndarray]) -> _ForceErrors:
    true, guess = found['forces']
    elements = found['elements']
    return {
        'force_components': {axis: statistics(guess[:, k] - true[:, k]) for k, axis in enumerate('xyz')},
        'force_magnitude': statistics(np.linalg.norm(guess, axis=1) - np.linalg.norm(true, axis=1)),
        'by_element': {el: statistics((guess - true)[elements == el].ravel()) for el in sorted(set(elements.tolist()))},
    }


#: Points of a parity plot at most, and how many of them are the worst.
MAX_POINTS = 2000
WORST = 200
#: Parts of the labels at which the distribution of the errors is told: every hundredth, the last one finer.
LEVELS = np.concatenate([np.linspace(0, 0.99, 100), np.linspace(0.991, 1, 10)])


class Points(TypedDict):
    """Points of a parity plot, and of how many labels they are chosen."""

    reference: list[float]
    predicted: list[float]
    group: list[str] | None
    total: int


class ErrorArrays(TypedDict):
    """See :func:`error_arrays`."""

    energy: Points
    forces: Points
    stress: Points
    cdf: dict[str, dict[str, list[float]]]
    gamma: dict[str, list[float]]


def error_arrays(frames: list[Atoms], predictions: list[Atoms]) -> ErrorArrays:
    """Return what parity plots, distributions of the errors and errors against gamma are drawn of, as JSON knows it.

    What counts is the same as in :func:`error_metrics`. Energies are per atom, less what a sum over the elements gives
    by least squares, so that compositions can be drawn together.

    :returns: `energy` (eV/atom), `forces` (eV/Å, per component) and `stress` (eV/Å³), each with `reference`,
        `predicted` and `group` (family of an energy, element of a force), at most :data:`MAX_POINTS`, the worst
        :data:`WORST` among them, and `total`, how many there are; `cdf`: of the three, and of `force_magnitude`, the
        error below which is what `fraction` of the labels; `gamma`: `gamma` and `error` (norm, eV/Å) per atom.
    """
    pairs = [pair for pair in zip(frames, predictions, strict=True) if not is_isolated_atom(pair[0])]
    found = _gather(pairs)
    energy = found['energy']
    if energy.size:
        energy = energy - found['shares'] @ np.linalg.lstsq(found['shares'], energy[0], rcond=None)[0]
    values = {'energy': energy, **{key: found[key].reshape(2, -1) for key in ('forces', 'stress')}}
    magnitude = np.linalg.norm(found['forces'], axis=2)
    gamma, error = gamma_and_error(frames, predictions)
    shown = _thin(error)
    return {
        'energy': _points(energy, found['families']),
        'forces': _points(values['forces'], np.repeat(found['elements'], 3)),
        'stress': _points(values['stress'], None),
        'cdf': {
            key: {'error': np.quantile(np.abs(value[1] - value[0]), LEVELS).tolist(), 'fraction': LEVELS.tolist()}
            for key, value in {**values, 'force_magnitude': magnitude}.items()
            if value.size
        },
        'gamma': {'gamma': gamma[shown].tolist(), 'error': error[shown].tolist()},
    }


def _points(value: np.ndarray, group: np.ndarray | None) -> Points:
    shown = _thin(np.abs(value[1] - value[0]))
    return {
        'reference': value[0][shown].tolist(),
        'predicted': value[1][shown].tolist(),
        'group': None if group is None else group[shown].tolist(),
        'total': value.shape[1],
    }


def _thin(errors: np.ndarray) -> np.ndarray:
    """Return at most :data:`MAX_POINTS` indices, in their order: those of the largest errors, and some of the rest."""
    if len(errors) <= MAX_POINTS:
        return np.arange(len(errors))
    order = np.argsort(-errors, kind='stable')
    rest = np.linspace(WORST, len(errors) - 1, MAX_POINTS - WORST).astype(int)
    return np.sort(order[np.concatenate([np.arange(WORST), rest])])


def uncertainty_metrics(frames: list[Atoms], predictions: list[Atoms]) -> UncertaintyMetrics | None:
    """Compare the errors with what the predictions say of their own uncertainty. Labels of weight zero are left out.

    :param predictions: the frames predicted, with `force_std` (and `gamma`) per atom and the info `energy_std`.
    :returns: None without `force_std`. Ranked are the norm of an atom's force error and the energy error per atom.
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


def surprise(frames: list[Atoms]) -> Surprise | None:
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


def _energy_uncertainty(pairs: list[tuple[Atoms, Atoms]]) -> Coverage | None:
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


def gamma_against_error(frames: list[Atoms], predictions: list[Atoms]) -> list[GammaClass]:
    """Force error of the atoms by classes of gamma: what a threshold for gamma is worth. Masked atoms are left out.

    :returns: the classes that have atoms.
    """
    grades, errors = gamma_and_error(frames, predictions)
    table: list[GammaClass] = []
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


def gamma_and_error(frames: list[Atoms], predictions: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Return gamma and the norm of the force error (eV/Å) of the atoms whose forces count and whose gamma is known."""
    gamma, error = [np.zeros(0)], [np.zeros(0)]
    for frame, predicted in zip(frames, predictions, strict=True):
        true, guess = labels(frame), labels(predicted)
        if 'forces' in true and 'forces' in guess and 'gamma' in predicted.arrays and not is_isolated_atom(frame):
            counting = forces_count(frame)
            gamma.append(predicted.arrays['gamma'][counting])
            error.append(np.linalg.norm(guess['forces'] - true['forces'], axis=1)[counting])
    return np.concatenate(gamma), np.concatenate(error)
