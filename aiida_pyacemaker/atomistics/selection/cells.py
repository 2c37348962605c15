"""Cells that can be labelled, out of frames that are too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping
from ..embedding.cut import UnbalancedError
from ..embedding.embed import embed
from ..embedding.parameters import Embedding
from ..potential.potential import AcePotential
from .parameters import Selection

#: Of frames that must be cut first so many times the number of training frames: a cut takes seconds.
CUT_POOL = 3


class Cells:
    """Cuts cells out of frames that are too large to be labelled whole."""

    def __init__(
        self, potential: AcePotential, selection: Selection, rng: np.random.Generator, report: Callable[[str], None]
    ) -> None:
        self.potential, self.selection, self.rng, self.report = potential, selection, rng, report
        self.parameters = Embedding(**{name: getattr(selection, name) for name in Embedding.model_fields})

    def halted(self, frames: list[Atoms]) -> list[Atoms]:
        """Cells around the uncertain atoms of large frames; small frames as they are."""
        cells = []
        for atoms in frames:
            if len(atoms) <= self.selection.max_atoms:
                cells.append(atoms)
                continue
            gamma = self._gamma(atoms)
            if gamma.max() > self.selection.gamma_select:
                cells += self._cut(atoms, 'halted', gamma=gamma)
            else:
                cells += self._cut(atoms, 'halted', centers=[int(gamma.argmax())])
        return cells

    def trajectory(self, frames: list[Atoms]) -> list[Atoms]:
        """Cells from a few of the large frames: around random atoms to test on, around the worst ones to learn."""
        small = [atoms for atoms in frames if len(atoms) <= self.selection.max_atoms]
        large = [atoms for atoms in frames if len(atoms) > self.selection.max_atoms]
        test = self.selection.number_of_test
        order = self.rng.permutation(len(large))[: test + CUT_POOL * self.selection.number_of_train]
        for place, index in enumerate(order):
            atoms = large[index]
            if place < test:
                small += self._cut(atoms, 'random atom', centers=[int(self.rng.integers(len(atoms)))])
            else:
                small += self.worst([atoms])
        return small

    def worst(self, frames: list[Atoms]) -> list[Atoms]:
        """Cells around the most extrapolating atom of large frames; small frames as they are."""
        cells = []
        for atoms in frames:
            if len(atoms) <= self.selection.max_atoms:
                cells.append(atoms)
            else:
                cells += self._cut(atoms, 'worst atom', centers=[int(self._gamma(atoms).argmax())])
        return cells

    def _gamma(self, atoms: Atoms) -> np.ndarray:
        return atoms.arrays['gamma'] if 'gamma' in atoms.arrays else self.potential.gamma([atoms])[0]

    def _cut(self, atoms: Atoms, operation: str, **what: Any) -> list[Atoms]:
        try:
            cells = embed(
                atoms, **what, threshold=self.selection.gamma_select, parameters=self.parameters,
                max_atoms=self.selection.max_atoms, calculator=self.potential.calculator(), rng=self.rng,
            )  # fmt: skip
        except UnbalancedError as exception:
            self.report(f'{atoms.info["parent"]}: no cell could be cut of {len(atoms)} atoms: {exception}')
            return []
        kept = [cell for cell in cells if not overlapping(cell)]
        for cell in kept:
            keep_moments(cell, atoms)
            cell.info['operation'] = operation
            done = cell.info['embedding']
            self.report(
                f'{len(cell)} of {len(atoms)} atoms cut around atom {done["centre"]}, {cell.info["core"]} of them in '
                f'the core{"".join(f", {what}" for what in done["given_up"])}'
            )
        return kept


def keep_moments(cell: Atoms, parent: Atoms) -> None:
    """Give the atoms of a cell the magnetic moments they had in the frame it was cut from, in place.

    Atoms that were made at the seam have the mean of their element.
    """
    moments = parent.arrays.get('magnetic_moments')
    if moments is None:
        return
    index = cell.arrays['parent_index']
    means = {number: moments[parent.numbers == number].mean() for number in set(parent.numbers.tolist())}
    kept = [moments[i] if i >= 0 else means[number] for i, number in zip(index, cell.numbers, strict=True)]
    cell.set_array('magnetic_moments', np.array(kept))
