"""What the basis sees in a configuration: the rows of the linear problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ..core.neighbours import points_in_spheres
from .basis import functions_per_element, import_pyace


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
    """Computes the rows of the linear problem, those of `pyace.linearacefit.LinearACEDataset` and the stress.

    The basis is python-ace's, the sums over neighbours are done by :mod:`.kernel`. Making one imports numba and
    compiles the kernel (or reads it from numba's cache), so do that before processes are forked.
    """

    def __init__(self, basis: Any):
        import_pyace()
        from . import kernel

        self.basis = basis
        kernel.warm_up()
        self._kernel = kernel
        self._plan, self._splines = kernel.make_plan(basis)
        self._numbers = np.full(len(chemical_symbols), -1)
        for symbol, index in basis.elements_to_index_map.items():
            self._numbers[atomic_numbers[symbol]] = index
        self._cutoffs = np.array(basis.radial_functions.cut, dtype=float)
        self._sizes = list(functions_per_element(basis).values())
        self._shifts = np.concatenate([[0], np.cumsum(self._sizes)])

    @property
    def number_of_functions(self) -> int:
        return int(self._shifts[-1])

    def rows(self, atoms: Atoms, forces: bool = True, stress: bool = False) -> FrameRows:
        """Rows of one frame.

        :param stress: whether to return them where the frame is periodic; they come with the forces at no cost.
        :raises ValueError: if the frame is periodic in some directions only (python-ace knows all or none), has an
            element that the basis has not, or atoms on top of each other.
        """
        elements = self._elements(atoms)
        # the kernel has the atoms by element
        order = np.argsort(elements, kind='stable')
        elements = elements[order]
        stress = stress and bool(atoms.pbc.all())
        found, sums = self._kernel.evaluate(
            self._plan, self._splines, len(self._sizes), elements, *self._neighbours(atoms[order], elements),
            forces or stress,
        )  # fmt: skip
        projections = [row[: self._sizes[element]] for element, row in zip(elements, found, strict=True)]
        energy = np.zeros(self.number_of_functions)
        for element, (begin, end) in enumerate(zip(self._shifts[:-1], self._shifts[1:], strict=True)):
            energy[begin:end] = found[elements == element, : end - begin].sum(axis=0)
        back = np.argsort(order)
        places, virials = self._kernel.places(elements, len(self._sizes))
        return FrameRows(
            energy,
            np.take(sums.T, places[back].ravel(), axis=0) if forces else None,
            -sums.T[virials].sum(axis=0) / atoms.get_volume() if stress else None,
            [projections[place] for place in back],
        )

    def _elements(self, atoms: Atoms) -> np.ndarray:
        """Return the number of each atom's element in the basis."""
        if atoms.pbc.any() and not atoms.pbc.all():
            raise ValueError(
                f'{atoms.get_chemical_formula()} is periodic in some directions only, which python-ace does not know: '
                'make it fully periodic, with vacuum'
            )
        elements = self._numbers[atoms.numbers]
        if (elements < 0).any():
            unknown = atoms.symbols[int(np.argmax(elements < 0))]
            known = ', '.join(self.basis.elements_name)
            raise ValueError(f'{atoms.get_chemical_formula()} has {unknown}, the basis has {known} only')
        return elements

    def _neighbours(self, atoms: Atoms, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where the neighbours of each atom begin, which atoms they are, and the vectors to them (Å)."""
        positions = np.ascontiguousarray(atoms.positions, dtype=float)
        cell = np.ascontiguousarray(atoms.cell.array, dtype=float)
        periodic = bool(atoms.pbc.all())
        if not periodic:
            # the finder sorts points by a cell even where there is none
            positions = positions - positions.min(axis=0)
            cell = np.diag(positions.max(axis=0) + 1.0)
        centres, others, images = points_in_spheres(positions, cell, periodic, float(self._cutoffs.max()))
        vectors = positions[others] + images @ cell - positions[centres]
        distances = np.linalg.norm(vectors, axis=1)
        itself = (centres == others) & ~images.any(axis=1)
        near = ~itself & (distances < self._cutoffs[elements[centres], elements[others]])
        # nearer than the first node python-ace does not compute either
        if (distances[near] * self._splines.scale.min() < 1).any():
            raise ValueError(f'{atoms.get_chemical_formula()} has atoms on top of each other: remove one of them')
        order = np.flatnonzero(near)
        order = order[np.lexsort((others[order], centres[order]))]
        starts = np.searchsorted(centres[order], np.arange(len(atoms) + 1))
        return starts, others[order], vectors[order]

    def all_rows(self, frames: list[Atoms], forces: bool = True, processes: int = 2) -> list[FrameRows]:
        """Rows of many frames, in order, by `processes` processes."""
        from ..core.processes import bare, forked_map  # which imports this module

        return list(forked_map(lambda atoms: self.rows(atoms, forces), [bare(atoms) for atoms in frames], processes))
