"""Linear least squares for the ACE coefficients."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from .basis import functions_per_element, import_pyace


@dataclass
class FrameRows:
    """What the basis sees in one frame.

    `energy` (n_functions,) sums the B-projections over atoms; `forces` (3 n_atoms, n_functions) are the force
    components; `projections` are the B-projections of each atom (ragged: as many as its element has functions).
    """

    energy: np.ndarray
    forces: np.ndarray | None
    projections: list[np.ndarray]


class DesignMatrix:
    """Computes the rows of the linear problem; the same numbers as `pyace.linearacefit.LinearACEDataset`.

    Own loop, because that class returns silently with rows of zeros when a child process dies, and throws away the
    projections per atom, which the active set needs again.
    """

    def __init__(self, basis: Any):
        import_pyace()
        from pyace import ACEBEvaluator, ACECalculator

        self.basis = basis
        self._evaluator = ACEBEvaluator(basis)
        self._calculator = ACECalculator(self._evaluator)
        self._sizes = list(functions_per_element(basis).values())
        self._shifts = np.concatenate([[0], np.cumsum(self._sizes)])

    @property
    def number_of_functions(self) -> int:
        return int(self._shifts[-1])

    def rows(self, atoms: Atoms, forces: bool = True) -> FrameRows:
        """Rows of one frame.

        :raises ValueError: if the frame is periodic in some directions only (python-ace knows all or none).
        """
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment

        environment = aseatoms_to_atomicenvironment(
            atoms, cutoff=self.basis.cutoffmax, elements_mapper_dict=self.basis.elements_to_index_map
        )
        self._calculator.compute(environment, compute_projections=True, compute_b_grad=forces)
        n_atoms = len(atoms)
        projections = [np.array(p, dtype=float).ravel() for p in self._calculator.projections[:n_atoms]]
        energy = np.zeros(self.number_of_functions)
        for species, values in zip(environment.species_type[:n_atoms], projections, strict=True):
            energy[self._shifts[species] : self._shifts[species] + len(values)] += values
        gradient = None
        if forces:
            # (n_atoms, n_functions, 3) -> force components as rows
            gradient = np.array(self._calculator.forces_bfuncs)[:n_atoms].transpose(0, 2, 1)
            gradient = np.ascontiguousarray(gradient).reshape(3 * n_atoms, -1)
        return FrameRows(energy, gradient, projections)

    def all_rows(self, frames: list[Atoms], forces: bool = True, processes: int = 2) -> list[FrameRows]:
        """Rows of many frames, in order, by `processes` processes."""
        bare = [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc) for atoms in frames]
        processes = min(processes, len(frames))
        if processes <= 1:
            return [self.rows(atoms, forces) for atoms in bare]
        # fork: the children inherit the basis, which cannot be pickled.
        global _shared
        _shared = (self, bare, forces)
        try:
            with multiprocessing.get_context('fork').Pool(processes) as pool:
                return pool.map(_shared_rows, range(len(bare)), chunksize=max(1, len(bare) // (8 * processes)))
        finally:
            _shared = None


_shared: tuple[DesignMatrix, list[Atoms], bool] | None = None


def _shared_rows(index: int) -> FrameRows:
    design, frames, forces = _shared
    return design.rows(frames[index], forces)


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
