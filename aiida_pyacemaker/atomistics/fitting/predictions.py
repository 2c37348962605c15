"""What a potential says about configurations, and what its gamma is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from ..configurations import forces_count, set_labels
from ..potential import AcePotential
from ..validation.errors import is_isolated_atom
from .active_set import ActiveSet
from .rows import FrameRows
from .store import Evaluation

#: Above this median gamma on held-out rattled cells the active set is called degenerate.
DEGENERATE_GAMMA = 10.0


def predict(potential: AcePotential, frames: list[Atoms]) -> list[Atoms]:
    """Return copies of the frames with predicted labels, gamma per atom and `gamma_max` (over atoms without a mask)."""
    calculator = potential.calculator()
    predictions = []
    for atoms in frames:
        predicted = atoms.copy()
        calculator.calculate(predicted)
        results = calculator.results
        set_labels(predicted, results['energy'], results['forces'], results.get('stress'))
        predictions.append(with_gamma(predicted, results['gamma'].copy()))
    return predictions


def predict_from_rows(
    atoms: Atoms,
    rows: FrameRows,
    coefficients: np.ndarray,
    sets: dict[str, ActiveSet],
    references: dict[str, float],
    baseline: Evaluation,
) -> Atoms:
    """Return what :func:`predict` returns for a frame, from the rows of a linear potential; much cheaper."""
    predicted = atoms.copy()
    symbols = atoms.get_chemical_symbols()
    energy, forces, stress = baseline
    energy = energy + float(rows.energy @ coefficients) + sum(references[symbol] for symbol in symbols)
    forces = forces + (rows.forces @ coefficients).reshape(-1, 3)
    stress = None if rows.stress is None else stress + rows.stress @ coefficients
    set_labels(predicted, energy, forces, stress)
    return with_gamma(predicted, get_gamma(symbols, rows.projections, sets))


def get_gamma(symbols: list[str], projections: list[np.ndarray], sets: dict[str, ActiveSet]) -> np.ndarray:
    """Return the extrapolation grade of each atom (n,)."""
    gamma, species = np.zeros(len(symbols)), np.array(symbols)
    for element in set(symbols):
        atoms = np.flatnonzero(species == element)
        table = np.array([projections[atom] for atom in atoms]) @ sets[element].inverse
        gamma[atoms] = np.abs(table).max(axis=1)
    return gamma


def with_gamma(predicted: Atoms, gamma: np.ndarray) -> Atoms:
    """Put the extrapolation grade onto a frame, in place, and return it."""
    predicted.set_array('gamma', gamma)
    counting = forces_count(predicted)
    predicted.info['gamma_max'] = float(gamma[counting if counting.any() else slice(None)].max())
    return predicted


def cold_start(predictions: list[Atoms]) -> dict[str, Any] | None:
    """Gamma on unseen frames: a set of too few low-symmetry cells shows here, before any simulation."""
    largest = [atoms.info['gamma_max'] for atoms in predictions if not is_isolated_atom(atoms)]
    if not largest:
        return None
    median = float(np.median(largest))
    return {
        'median_gamma': median,
        'max_gamma': float(max(largest)),
        'degenerate': median > DEGENERATE_GAMMA,
        'n_frames': len(largest),
    }


def largest_gamma(predictions: list[Atoms]) -> float:
    """Return the largest gamma over the environments that may enter the active set."""
    return max((float(a.arrays['gamma'][forces_count(a)].max(initial=0.0)) for a in predictions), default=0.0)
