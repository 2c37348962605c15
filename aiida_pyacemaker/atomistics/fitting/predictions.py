"""What a potential says about configurations, and what its gamma is there."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from ase import Atoms

from ..ace.rows import FrameRows
from ..ace.store import Evaluation
from ..core.frame import forces_count, info, is_isolated_atom, set_labels
from ..potential.potential import AcePotential

#: Above this median gamma on held-out rattled cells the active set is called degenerate.
DEGENERATE_GAMMA = 10.0


class ColdStart(TypedDict):
    """Gamma on unseen frames, and whether the active set is `degenerate`."""

    median_gamma: float
    max_gamma: float
    degenerate: bool
    n_frames: int


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
    atoms: Atoms, rows: FrameRows, coefficients: np.ndarray, references: dict[str, float], baseline: Evaluation
) -> Atoms:
    """Return a copy of a frame with the labels that a linear potential predicts, from its rows: much cheaper."""
    energy, forces, stress = baseline
    energy = energy + float(rows.energy @ coefficients) + sum(references[s] for s in atoms.get_chemical_symbols())
    forces = forces + (rows.forces @ coefficients).reshape(-1, 3)
    whole = None if rows.stress is None else stress + rows.stress @ coefficients
    return set_labels(atoms.copy(), energy, forces, whole)


def with_gamma(predicted: Atoms, gamma: np.ndarray) -> Atoms:
    """Put the extrapolation grade onto a frame, in place, and return it."""
    predicted.set_array('gamma', gamma)
    counting = forces_count(predicted)
    info(predicted)['gamma_max'] = float(gamma[counting if counting.any() else slice(None)].max())
    return predicted


def cold_start(predictions: list[Atoms]) -> ColdStart | None:
    """Gamma on unseen frames: a set of too few low-symmetry cells shows here, before any simulation."""
    largest = [info(atoms)['gamma_max'] for atoms in predictions if not is_isolated_atom(atoms)]
    if not largest:
        return None
    median = float(np.median(largest))
    return {
        'median_gamma': median,
        'max_gamma': float(max(largest)),
        'degenerate': median > DEGENERATE_GAMMA,
        'n_frames': len(largest),
    }
