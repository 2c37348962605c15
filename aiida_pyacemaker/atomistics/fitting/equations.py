"""The normal equations of the linear fit."""

from __future__ import annotations

import numpy as np
from ase import Atoms


class NormalEquations:
    """Sums A^T W² A and A^T W² b row block by row block, and solves with a ridge on the scaled columns."""

    def __init__(self, size: int):
        self.matrix = np.zeros((size, size))
        self.vector = np.zeros(size)

    def add(self, rows: np.ndarray, target: np.ndarray, weights: np.ndarray | float = 1.0) -> None:
        """Add rows (m, size) with targets (m,); `weights` multiply the rows, so their squares count in the loss."""
        weights = np.broadcast_to(np.asarray(weights, dtype=float), target.shape)
        used = weights > 0
        weighted = rows[used] * weights[used, None]
        self.matrix += weighted.T @ weighted
        self.vector += weighted.T @ (target[used] * weights[used])

    def solve(self, ridge: float) -> tuple[np.ndarray, float]:
        """Return the coefficients and the condition number of the scaled matrix, ridge included.

        Columns are scaled to unit norm, so that one dimensionless `ridge` suits all of them: minimise
        |W (A c - b)|² + ridge |D c|² with D the column norms. A column of zeros gets the coefficient 0.
        """
        norms = np.sqrt(np.diag(self.matrix))
        used = norms > 1e-12 * max(norms.max(), 1e-300)
        norms = norms[used]
        scaled = self.matrix[np.ix_(used, used)] / np.outer(norms, norms)
        values, vectors = np.linalg.eigh(scaled)
        values = np.clip(values, 0, None) + ridge
        coefficients = np.zeros(len(used))
        coefficients[used] = vectors @ ((vectors.T @ (self.vector[used] / norms)) / values) / norms
        return coefficients, float(values.max() / values.min())


def frame_weights(atoms: Atoms, energy_weight: float) -> tuple[float, np.ndarray]:
    """Weight of the energy-per-atom row and of the 3n force rows of a frame.

    `info['weight']` multiplies all rows, `info['energy_weight']` the energy row, `arrays['force_weights']` the
    force rows of each atom; all default to 1.

    :raises ValueError: if a weight is negative or not finite.
    """
    weight = float(atoms.info.get('weight', 1.0))
    energy = weight * energy_weight * float(atoms.info.get('energy_weight', 1.0))
    forces = weight * np.repeat(np.asarray(atoms.arrays.get('force_weights', np.ones(len(atoms))), dtype=float), 3)
    if not np.isfinite(energy) or energy < 0 or not np.all(np.isfinite(forces)) or np.any(forces < 0):
        raise ValueError(f'{atoms.get_chemical_formula()} has a negative or NaN weight: weights are 0 or positive')
    return energy, forces
