"""What a linear fit has to be told beside its data: weights of the quantities, ridge and smoothness of the prior.

Weights. If all errors were independent noise, the most probable weight of a row would be one over the standard
deviation of its label. But the errors of a good fit are those of the model, and the hundreds of forces in a
configuration err together, so that energies come off badly; as if each quantity had one label, the other extreme,
spoils the forces. The geometric mean is taken: the weight of a quantity of N labels with the standard deviation s is
N^(-1/4) / s, relative to that of the forces. Measured by `tests/benchmarks/bench_weights.py`.

Configurations. What is far above the convex hull of the energies (melts, compressed cells) has larger errors and is
met less often than what is near it, as in pacemaker's energy-based weights (A. Bochkarev et al., Phys. Rev. Mater. 6,
013804 (2022)): at d above the hull the weight is 1 / sqrt(1 + (d / 0.4 eV/atom)²). And an energy per atom or a stress
averages over the errors of its atoms: its weight goes with the root of their number.

Prior. A coefficient is expected within a Gaussian around zero, in units of the size that its function has in the data,
and narrower for functions that oscillate faster (radial index n, angular momentum l): the algebraic smoothness prior of
ACEpotentials.jl (W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023)). Its width and its smoothness are those with
which configurations of trajectories or structures that were left out are predicted best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull

#: Where the search starts, and what is taken where there is nothing to validate on.
ENERGY_WEIGHT = 100.0
STRESS_WEIGHT = 100.0
RIDGE = 1e-9
SMOOTHNESS = 1.0
#: Between the noise of independent labels (0) and one row per quantity (1/2).
POWER = 0.25
#: Weights are never chosen beyond these, however few labels there are.
WEIGHT_BOUNDS = (0.1, 1e4)
#: Decimal logarithms between which the ridge is chosen: below, the fit would follow the rounding of its equations.
RIDGE_BOUNDS = (-13.0, -2.0)
#: Distance above the hull (eV/atom) from which on the weight falls as its inverse; the smallest weight. Silicon, 300
#: functions, random tenths left out, for 0.2 / 0.4 / none: energies 2.46 / 2.24 / 1.99 meV/atom, forces 64 / 62 / 60
#: meV/Å; below 0.1 eV/atom 0.48 / 0.53 / 0.62 and 21 / 24 / 28. The alloy and the salt go the same way, by less.
HULL_SCALE = 0.4
MIN_HULL_WEIGHT = 0.05
#: Weights by the hull are powers of two to this: a hull that moves a little changes few of them.
HULL_STEP = 0.25
#: Number of atoms of a cell whose energy and stress have the weight of their quantity.
ATOMS = 32
#: Dimensions of the compositions up to which a convex hull is cheap.
MAX_DIMENSIONS = 4
#: Smoothnesses that are tried.
SMOOTHNESSES = (0.0, 1.0, 2.0)
#: A per cent of the stress counts as much in the validation as half a per cent of the energy or of the forces.
SHARES = {'energy': 1.0, 'forces': 1.0, 'stress': 0.5}
#: Part of the mean square error of all folds below which one fold is not asked to come: it may hold perfect crystals.
FLOOR = 1e-6


@dataclass(frozen=True)
class Hyperparameters:
    """`energy_weight` multiplies a row of energy per atom (eV/atom), `stress_weight` a row of stress (eV/Å³), where a
    row of force (eV/Å) counts 1. `ridge` is that of columns of unit norm, on the average over the functions;
    `smoothness` the power of the degree of a function (see :func:`degrees`) that multiplies its square root."""

    energy_weight: float = ENERGY_WEIGHT
    stress_weight: float = STRESS_WEIGHT
    ridge: float = RIDGE
    smoothness: float = SMOOTHNESS

    def row_weights(self) -> dict[str, float]:
        """Factor of the rows of each quantity."""
        return {'energy': self.energy_weight, 'forces': 1.0, 'stress': self.stress_weight}

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


NAMES = tuple(Hyperparameters().to_dict())


def given_hyperparameters(options: Mapping[str, float | None]) -> tuple[Hyperparameters, list[str]]:
    """Return those given as numbers, completed by starting values, and the names of those to be chosen (`None`).

    :raises ValueError: naming what is not a number from zero on.
    """
    fixed = {}
    for name in NAMES:
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (np.isfinite(value) and value >= 0):
            raise ValueError(f'{name} is {value!r}: give a number that is not negative, or null to have it chosen')
        fixed[name] = float(value)
    return Hyperparameters(**fixed), [name for name in NAMES if name not in fixed]


def hull_weights(compositions: np.ndarray, energies: np.ndarray, scale: float | None = None) -> np.ndarray:
    """Return the weights of configurations by their distances above the convex hull.

    :param compositions: (m, k), shares of the elements. :param energies: (m,), eV/atom; NaN where there is none, which
        gives the weight 1.
    :param scale: eV/atom, by default `HULL_SCALE`; 0: all weights are 1.
    """
    scale = HULL_SCALE if scale is None else scale
    weights, known = np.ones(len(energies)), np.isfinite(energies)
    if scale and known.any():
        above = above_hull(compositions[known], energies[known])
        steps = np.round(np.log2(1 / np.sqrt(1 + (above / scale) ** 2)) / HULL_STEP)
        weights[known] = np.maximum(2.0 ** (HULL_STEP * steps), MIN_HULL_WEIGHT)
    return weights


def above_hull(compositions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Return how far (m,) energies are above the lower convex hull over the compositions.

    :param compositions: (m, k), shares of the elements. :param energies: (m,), eV/atom.
    """
    centred = compositions - compositions.mean(axis=0)
    # the compositions lie in a space of fewer dimensions: shares add up to one, and some ratios may be fixed
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[sizes > 1e-6 * np.sqrt(len(energies))].T
    slopes = np.linalg.lstsq(np.c_[places, np.ones(len(places))], energies, rcond=None)[0]
    energies = energies - np.c_[places, np.ones(len(places))] @ slopes
    if places.shape[1] == 0 or places.shape[1] > MAX_DIMENSIONS:
        return energies - energies.min()
    if len(np.unique(np.c_[places, energies], axis=0)) < places.shape[1] + 2:
        return np.zeros(len(energies))  # so few are all on it
    # joggled: fitted planes and equal configurations are no error
    planes = ConvexHull(np.c_[places, energies], qhull_options='QJ').equations
    planes = planes[planes[:, -2] < -1e-9]
    hull = -(places @ planes[:, :-2].T + planes[:, -1]) / planes[:, -2]
    return np.maximum(energies - hull.max(axis=1), 0.0)


def degrees(basis: Any) -> np.ndarray:
    """Return how fast each function of a basis oscillates: the sum of n and l over its factors, 1 for the slowest.

    The order is that of the columns of the rows: by element, pairs first.
    """
    found = []
    for one, more in zip(basis.basis_rank1, basis.basis, strict=True):
        found += [sum(function.ns) + sum(function.ls) for function in (*one, *more)]
    return np.array(found, dtype=float)


def penalties(degree: np.ndarray, smoothness: float) -> np.ndarray:
    """Return by how much more than an average function each one is penalised (n,); the geometric mean is 1."""
    logarithms = 2 * smoothness * np.log(degree)
    return np.exp(logarithms - logarithms.mean())


def balanced(start: Hyperparameters, free: list[str], noise: dict[str, tuple[float, int]]) -> Hyperparameters:
    """Return the hyperparameters with the free weights as the noise wants them.

    :param noise: quantity -> standard deviation (eV/atom, eV/Å, eV/Å³) and number of labels, of those that are there.
    """
    if 'forces' not in noise:
        return start
    deviation, count = noise['forces']
    changed = {}
    for quantity in ('energy', 'stress'):
        if f'{quantity}_weight' in free and quantity in noise:
            other, number = noise[quantity]
            weight = deviation / max(other, 1e-300) * (count / number) ** POWER
            changed[f'{quantity}_weight'] = float(np.clip(weight, *WEIGHT_BOUNDS))
    return replace(start, **changed)


def objective(squares: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> float:
    """Return the scale-free error of a validation: the sum over the quantities of the mean logarithm of the error.

    The logarithm of each fold is taken separately: a fold that holds a phase which nothing else resembles, and which no
    prior could predict, does not outweigh the others.

    :param squares: quantity -> weighted sum of squared errors of each fold (k,).
    :param labels: quantity -> sum of the squared weights in each fold (k,).
    """
    total = 0.0
    for name, share in SHARES.items():
        present = labels[name] > 0
        if not present.any():
            continue
        error, number = squares[name][present], labels[name][present]
        mean = error / number + FLOOR * error.sum() / number.sum()
        total += share / 2 * float(number @ np.log(np.maximum(mean, 1e-300))) / number.sum()
    return total


def choose(
    start: Hyperparameters,
    free: list[str],
    balance: Callable[[Hyperparameters], Hyperparameters],
    validate: Callable[[Hyperparameters], float],
) -> tuple[Hyperparameters, int]:
    """Choose the free hyperparameters; deterministic, with some 25 validations.

    Weights, then the ridge, then the smoothness together with the ridge, then the weights and the ridge once more: the
    weights hardly depend on the rest.

    :param balance: returns its argument with weights that suit the residuals of its fit.
    :param validate: returns the error of what is left out, to be minimised.
    :returns: the best ones, and how many were validated.
    """
    tried: dict[Hyperparameters, float] = {}

    def best(candidates: list[Hyperparameters]) -> Hyperparameters:
        for candidate in candidates:
            if candidate not in tried:
                tried[candidate] = validate(candidate)
        return min(candidates, key=tried.__getitem__)

    def around(centre: Hyperparameters, *steps: float) -> list[Hyperparameters]:
        """The centre, and those whose ridge differs by some decades."""
        if 'ridge' not in free:
            return [centre]
        exponents = [np.log10(centre.ridge) + step for step in (0.0, *steps)]
        return [replace(centre, ridge=10.0 ** float(np.clip(each, *RIDGE_BOUNDS))) for each in exponents]

    found = best(around(balance(start), -4.0, -2.0, 2.0, 4.0, 6.0))
    found = best(around(balance(found), -1.0, 1.0))
    if 'smoothness' in free:
        found = best([each for value in SMOOTHNESSES for each in around(replace(found, smoothness=value), -1.0, 1.0)])
    found = best(around(balance(found), -1.0, -0.5, 0.5, 1.0))
    return best(around(found, -0.25, 0.25)), len(tried)
