"""What the basis sees in a configuration: the rows of the linear problem."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from .basis import functions_per_element, import_pyace

#: Strain of the differences: the error is about 1e-7 of the row.
STRAIN = 2e-4


@dataclass
class FrameRows:
    """What the basis sees in one frame.

    `energy` (n_functions,) sums the B-projections over atoms; `forces` (3 n_atoms, n_functions) are the force
    components; `stress` (6, n_functions) is its derivative by the strain over the volume (1/Å³, Voigt order xx, yy, zz,
    yz, xz, xy), where there is a volume; `projections` are the B-projections of each atom (ragged: as many as its
    element has functions).
    """

    energy: np.ndarray
    forces: np.ndarray | None
    stress: np.ndarray | None
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

    def rows(self, atoms: Atoms, forces: bool = True, stress: bool = False) -> FrameRows:
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
        return FrameRows(energy, gradient, self._stress(atoms) if stress and atoms.pbc.all() else None, projections)

    def _stress(self, atoms: Atoms) -> np.ndarray:
        """Central differences over strains: python-ace has no virial of single functions."""
        rows, voigt = [], [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
        for i, j in voigt:
            ends = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * STRAIN / 2
                strain[j, i] += sign * STRAIN / 2
                strained = Atoms(atoms.numbers, cell=atoms.cell, pbc=True, positions=atoms.positions)
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                ends.append(self.rows(strained, forces=False).energy)
            rows.append((ends[0] - ends[1]) / (2 * STRAIN * atoms.get_volume()))
        return np.array(rows)

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
