"""What a linear fit has to be told beside its data: weights of the quantities, ridge and smoothness of the prior.

Errors of energies (eV/atom), forces (eV/Å) and stresses (eV/Å³) have nothing in common, so they are compared by the
scale-free sum of the logarithms of the cross-validated root mean square errors: a per cent of one is worth a per cent
of the other. Where that sum is smallest, the residuals are balanced: in its gradient every quantity has the weight
1/(number of rows x mean square error).

The prior of a coefficient is a Gaussian around zero, in units of the size that its function has in the data, and
narrower for functions that oscillate faster (radial index n, angular momentum l, correlation order): the algebraic
smoothness prior of ACEpotentials.jl (W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

#: Where the search starts, and what is taken where there is nothing to cross-validate.
ENERGY_WEIGHT, STRESS_WEIGHT, RIDGE, SMOOTHNESS = 100.0, 100.0, 1e-9, 1.0
#: A per cent of the stress counts as much as half a per cent of the energy or of the forces.
SHARES = {'energy': 1.0, 'forces': 1.0, 'stress': 0.5}
#: Decimal logarithms between which the weights and the ridge are searched, and bounds of the smoothness. The normal
#: equations are known to 1e-16 relative: a smaller ridge would fit their rounding.
BOUNDS = {'energy_weight': (-1.0, 5.0), 'stress_weight': (-1.0, 6.0), 'ridge': (-13.0, -1.0), 'smoothness': (0.0, 4.0)}
#: First steps of the search.
STEPS = {'energy_weight': 0.5, 'stress_weight': 0.5, 'ridge': 1.0, 'smoothness': 0.75}


@dataclass(frozen=True)
class Hyperparameters:
    """`energy_weight` multiplies a row of energy per atom (eV/atom), `stress_weight` a row of stress (eV/Å³), where a
    row of force (eV/Å) counts 1. `ridge` is that of columns of unit norm, `smoothness` the power of the degree of a
    function that multiplies its square root."""

    energy_weight: float = ENERGY_WEIGHT
    stress_weight: float = STRESS_WEIGHT
    ridge: float = RIDGE
    smoothness: float = SMOOTHNESS

    def row_weights(self) -> dict[str, float]:
        """Factor of the rows of each quantity."""
        return {'energy': self.energy_weight, 'forces': 1.0, 'stress': self.stress_weight}

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def given_hyperparameters(options: dict[str, Any]) -> tuple[Hyperparameters, list[str]]:
    """Return those given as numbers, completed by starting values, and the names of those to be searched (`None`).

    :raises ValueError: naming what is out of range.
    """
    names = list(BOUNDS)
    given = {name: options.get(name) for name in names}
    for name, value in given.items():
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise ValueError(f'{name} is {value}: it must be zero or positive, or null to have it chosen')
    fixed = {name: float(value) for name, value in given.items() if value is not None}
    return Hyperparameters(**fixed), [name for name in names if name not in fixed]


def degrees(basis: Any) -> np.ndarray:
    """Return how fast each function of a basis oscillates: the sum of n and l over its factors, 1 for the slowest.

    The order is that of the columns of the rows: by element, pairs first.
    """
    found = []
    for one, more in zip(basis.basis_rank1, basis.basis, strict=True):
        found += [sum(function.ns) + sum(function.ls) for function in (*one, *more)]
    return np.array(found, dtype=float)


def penalties(degree: np.ndarray, smoothness: float) -> np.ndarray:
    """Return by how much more than a slow function each one is penalised (squared, (n,))."""
    return degree ** (2 * smoothness)


def objective(rmse: dict[str, float]) -> float:
    """Return the scale-free sum of logarithms of errors; quantities that are NaN (not there) are left out."""
    return sum(SHARES[name] * np.log(max(value, 1e-300)) for name, value in rmse.items() if not np.isnan(value))


def search(
    evaluate: Callable[[Hyperparameters], float], start: Hyperparameters, free: list[str], max_evaluations: int = 60
) -> tuple[Hyperparameters, int]:
    """Minimise `evaluate` over the free hyperparameters by Nelder and Mead's method, in logarithms; deterministic.

    :returns: the best ones seen, and how many were tried.
    """
    if not free:
        return start, 0

    def at(point: np.ndarray) -> Hyperparameters:
        values = {n: float(v) if n == 'smoothness' else 10.0 ** float(v) for n, v in zip(free, point, strict=True)}
        return replace(start, **values)

    origin = [getattr(start, name) if name == 'smoothness' else np.log10(getattr(start, name)) for name in free]
    bounds = np.array([BOUNDS[name] for name in free])
    origin = np.clip(origin, bounds[:, 0], bounds[:, 1])
    simplex = np.vstack([origin, origin + np.diag([STEPS[name] for name in free])])
    found = minimize(
        lambda point: evaluate(at(point)),
        origin,
        method='Nelder-Mead',
        bounds=bounds,
        options={'maxfev': max_evaluations, 'xatol': 0.05, 'fatol': 1e-3, 'initial_simplex': simplex},
    )
    return at(found.x), int(found.nfev)
