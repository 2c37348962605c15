"""How sure a linear potential is: the posterior of its coefficients, calibrated on configurations it had not seen.

Two things make a prediction wrong. The coefficients are known only as well as the data fix them: a Gaussian posterior,
whose spread on a force is u. And no coefficients reproduce the labels exactly, because the basis is finite; with many
data this misfit is nearly all of the error, the posterior knows nothing of it, and it is far larger in a melt than in a
cold crystal. So the standard deviation of a force is written as

    s² = a² + b² u² + c² |F|²

with the force F that is predicted, which tells melt from crystal. The three factors are fitted to cross-validated
residuals (maximum likelihood), and one more factor makes 95 % of those residuals lie within 1.96 s (split conformal
prediction, V. Vovk et al., Algorithmic Learning in a Random World, 2005). The same is done for energies per atom. On
the posterior of linear ACE: C. van der Oord et al., npj Comput. Mater. 9, 168 (2023).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from scipy.optimize import minimize

from ..ace.rows import DesignMatrix, FrameRows
from ..core.frame import info
from ..core.processes import forked_map
from ..metrics.errors import BAND
from ..potential.posterior import (
    POSTERIOR,
    ErrorModel,
    Posterior,
    Prediction,
    energy_features,
    error_features,
    force_features,
)

if TYPE_CHECKING:
    from ..potential.potential import AceCalculator, AcePotential
    from .equations import Solution, Target

#: So many configurations, and atoms of them, are looked at to calibrate, however many there are: the 95 % quantile of
#: 12,000 force components is known to 0.2 %, that of 500 energies to 1 %.
MAX_CONFIGURATIONS = 500
MAX_ATOMS = 4000
#: The constant part of the error never falls below this part of the root mean square residual: an atom on which every
#: force is zero by symmetry is no proof of a perfect fit.
FLOOR = 0.01
#: Fewer residuals than this say nothing about a 95 % quantile.
MIN_RESIDUALS = 20


# Calibration ----------------------------------------------------------------------------------------------------------


def calibrate(
    store: Any,
    frames: list[Atoms],
    targets: list[Target],
    solution: Solution,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Posterior | None:
    """Return the posterior of a fit, calibrated on what each fold of its cross-validation had not seen.

    :param store: gives the rows of a configuration: `store.get(atoms)`.
    :param solution: the fit, with its folds.
    :param seed: of the choice of `MAX_CONFIGURATIONS` and `MAX_ATOMS`, where there are more.
    :returns: None where there are too few residuals: an error bar that nothing supports is worse than none.
    """
    residuals = _cross_validated(store, frames, targets, solution, np.random.default_rng(seed))
    energy, forces = residuals['energy'], residuals['forces']
    if 3 * len(forces) < MIN_RESIDUALS:
        report(f'no error bars: {3 * len(forces)} cross-validated forces, at least {MIN_RESIDUALS} are needed')
        return None
    return Posterior(
        coefficients=solution.coefficients,
        factor=solution.factor,
        energy=fit_error_model(*energy.T) if len(energy) >= MIN_RESIDUALS else None,
        forces=fit_error_model(forces[:, :3], forces[:, 3], forces[:, 4]),
        inflation=max(get_inflation(table[:, :-2], table[:, -2]) for table in residuals.values()),
    )


def _cross_validated(
    store: Any, frames: list[Atoms], targets: list[Target], solution: Solution, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return tables of residuals, spread and size: energies (m, 3), stress components (l, 3), atoms (k, 3 + 2)."""
    known = np.concatenate([fold.members for fold in solution.folds]) if solution.folds else np.zeros(0, dtype=int)
    looked_at = set(generator.permutation(known)[:MAX_CONFIGURATIONS].tolist())
    counting = [_counting(target) if index in looked_at else [] for index, target in enumerate(targets)]
    total = sum(map(len, counting))
    kept = generator.random(total) < MAX_ATOMS / max(total, 1)
    chosen = [np.asarray(found, dtype=int)[part] for found, part in zip(counting, _split(kept, counting), strict=True)]
    energy, forces, stress = [np.zeros((0, 3))], [np.zeros((0, 5))], [np.zeros((0, 3))]
    for fold in solution.folds:
        n = len(fold.coefficients)
        for index in sorted(looked_at.intersection(fold.members.tolist())):
            target, atoms, rows = targets[index], chosen[index], store.get(frames[index])
            if target.energy is not None and target.energy_weight > 0:
                residual = (rows.energy @ fold.coefficients - target.energy) / len(frames[index])
                features = energy_features(rows.energy, rows.forces, fold.coefficients, fold.factor)
                energy.append(np.append(residual, features)[None])
            if target.stress is not None and target.stress_weight > 0 and rows.stress is not None:
                predicted, spread = rows.stress @ fold.coefficients, np.linalg.norm(rows.stress @ fold.factor, axis=1)
                stress.append(np.column_stack([predicted - target.stress, spread, predicted]))
            if len(atoms):
                part = rows.forces.reshape(-1, 3, n)[atoms].reshape(-1, n)
                residuals = (part @ fold.coefficients).reshape(-1, 3) - target.forces[atoms]
                forces.append(np.column_stack([residuals, *force_features(part, fold.coefficients, fold.factor)]))
    tables = {'energy': energy, 'forces': forces, 'stress': stress}
    return {name: np.concatenate(table) for name, table in tables.items()}


def _counting(target: Target) -> np.ndarray:
    """Return the indices of the atoms whose forces count."""
    if target.forces is None:
        return np.zeros(0, dtype=int)
    return np.flatnonzero(np.ones(len(target.forces)) if target.force_weights is None else target.force_weights)


def fit_error_model(residuals: np.ndarray, spread: np.ndarray, size: np.ndarray) -> ErrorModel:
    """Fit the factors by maximum likelihood, and the scale so that 95 % of the residuals lie in the band.

    :param residuals: (n,), or (n, d) where d residuals share one standard deviation.
    :param spread: (n,). :param size: (n,).
    """
    residuals = residuals.reshape(len(spread), -1)
    features, square = error_features(spread, size), np.mean(residuals**2, axis=1)
    mean = max(float(square.mean()), 1e-200)
    square = square / mean
    # each feature alone explaining the mean is the unit of its factor; a feature that is zero everywhere gets none
    averages = features.mean(axis=0)
    unit = np.divide(1.0, averages, out=np.zeros(3), where=averages > 0)
    floor = np.array([FLOOR**2, 0.0, 0.0])

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        parts = np.exp(logarithms)
        variance = features @ (unit * (parts + floor))
        slope = (1 / variance - square / variance**2) @ features
        return float(np.sum(np.log(variance) + square / variance)), slope * unit * parts

    found = minimize(loss, np.log([0.1, 0.5, 0.5]), jac=True, method='L-BFGS-B', bounds=[(-20, 5)] * 3)
    factors = np.sqrt(mean * unit * (np.exp(found.x) + floor))
    deviation = np.sqrt(features @ factors**2)
    return ErrorModel(factors, _quantile(np.abs(residuals) / deviation[:, None]) / BAND)


def get_inflation(residuals: np.ndarray, spread: np.ndarray) -> float:
    """Return by how much to widen the posterior for its spread to cover 95 % of the residuals; at least 1.

    Separately in each fifth of spreads: misfit is most, beside the spread, where that is smallest, and there are the
    crystals whose properties a committee is asked for.

    :param residuals: (n, d). :param spread: (n,); what is zero by symmetry does not count.
    """
    used = spread > 1e-6 * spread.max(initial=0.0)
    order = np.flatnonzero(used)[np.argsort(spread[used])]
    classes = np.array_split(order, min(5, len(order) // MIN_RESIDUALS)) if len(order) >= MIN_RESIDUALS else []
    needed = [_quantile(np.abs(residuals[part]) / spread[part, None]) / BAND for part in classes]
    return max([1.0, *needed])


def _quantile(values: np.ndarray) -> float:
    """Return the 95 % quantile with the correction of conformal prediction for few values."""
    level = min(1.0, 0.95 * (1 + 1 / values.size))
    return float(np.quantile(values, level))


def _split(values: np.ndarray, like: list[Any]) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(part) for part in like])[:-1])


# Use ------------------------------------------------------------------------------------------------------------------


def add_uncertainty(
    potential: AcePotential,
    frames: list[Atoms],
    processes: int = 2,
    rows: Callable[[Atoms], FrameRows] | None = None,
) -> None:
    """Put the per-atom array `force_std` (eV/Å) and the info `energy_std` (eV/atom) onto frames, in place.

    Nothing happens where the potential has no posterior.

    :param rows: gives the rows of a frame, where they are known already.
    """
    posterior = potential.posterior
    if posterior is None:
        return
    get_rows = rows or DesignMatrix(potential.basis).rows
    bare = [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc) for atoms in frames]

    def predict(atoms: Atoms) -> Prediction:
        found = get_rows(atoms)
        return posterior.predict(found.energy, found.forces)

    predictions = forked_map(predict, bare, processes)
    for atoms, prediction in zip(frames, predictions, strict=True):
        atoms.set_array('force_std', prediction.force_std)
        if prediction.energy_std is not None:
            info(atoms)['energy_std'] = prediction.energy_std


def committee(potential: AcePotential, size: int = 16, seed: int = 0) -> list[AceCalculator]:
    """Return calculators of potentials drawn from the widened posterior; all with the same baseline and references.

    :raises ValueError: if the potential has no posterior.
    """
    if potential.posterior is None:
        raise ValueError(f'the potential has no {POSTERIOR}, so there is nothing to draw from: fit it again (linear)')
    return [potential.calculator(coefficients) for coefficients in potential.posterior.sample(size, seed)]


def with_error_bars(
    potential: AcePotential, measure: Callable[[AceCalculator], dict[str, float]], size: int = 16, seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """Return name -> {'value', 'std'} of what `measure` finds with the potential, and how far the committee spreads.

    `std` is None where more than half of the committee fails: then the data do not settle this property at all.

    :param measure: such as `lambda calculator: measure(calculator, atoms)` of `validation.suite`; a
        ValueError of it is a failure of that member.
    :raises ValueError: if it fails for the potential itself, or the potential has no posterior.
    """
    value, drawn = measure(potential.calculator()), []
    for calculator in committee(potential, size, seed):
        with contextlib.suppress(ValueError):
            drawn.append(measure(calculator))
    bars = {}
    for name in value:
        deviations = np.array([found[name] - value[name] for found in drawn if name in found])
        known = 2 * len(deviations) > size
        bars[name] = {'value': float(value[name]), 'std': float(np.sqrt(np.mean(deviations**2))) if known else None}
    return bars
