"""A fitted potential: a directory with the ACE basis, the active set, and everything else that makes the energy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ..baselines import Baseline, baseline_from_dict
from ..core.errors import MissingEngineError
from ..core.plain import Json
from .posterior import POSTERIOR

if TYPE_CHECKING:
    from .posterior import Posterior

YAML = 'potential.yaml'
YACE = 'potential.yace'
ASI = 'potential.asi'
METADATA = 'metadata.json'


class AcePotential:
    """Total energy = reference energies of the free atoms + baseline + ACE.

    The directory holds `potential.yaml` (B-basis), `potential.yace` (for fast LAMMPS runs), `potential.asi` (inverse of
    the linear active set) and `metadata.json` (elements, cutoff, number_of_functions, baseline, reference_energies,
    generation, fit, parameters, seed, versions). A linear one also has `posterior.npz`, its error bars.
    """

    FILES = (YAML, YACE, ASI, METADATA)

    def __init__(self, directory: str | os.PathLike[str]):
        """:raises ValueError: if a file of the potential is missing or broken."""
        self.directory = Path(directory)
        for name in self.FILES:
            if not (self.directory / name).is_file():
                raise ValueError(f'{self.directory} is not a potential: it has no {name}')
        try:
            self.metadata: Json = json.loads((self.directory / METADATA).read_text())
            self.elements: list[str] = self.metadata['elements']
            self.reference_energies: dict[str, float] = self.metadata['reference_energies']
            self.baseline: Baseline = baseline_from_dict(self.metadata['baseline'])
        except (json.JSONDecodeError, KeyError, TypeError) as exception:
            raise ValueError(f'{METADATA} of {self.directory} is broken: {exception!r}') from exception

    @staticmethod
    def write_metadata(directory: str | os.PathLike[str], metadata: Json) -> None:
        """Write `metadata.json`, always the same bytes for the same content."""
        text = json.dumps(metadata, indent=2, sort_keys=True, allow_nan=False)
        Path(directory, METADATA).write_text(text + '\n')

    @cached_property
    def basis(self) -> Any:
        """The `pyace.ACEBBasisSet`, coefficients included."""
        return self.read_basis()

    def read_basis(self) -> Any:
        """Return a new `pyace.ACEBBasisSet`, which the caller may change."""
        try:
            from pyace import ACEBBasisSet
        except ImportError as exception:
            raise MissingEngineError('python-ace is missing: pip install python-ace (not "pyace")') from exception
        return ACEBBasisSet(str(self.directory / YAML))

    @cached_property
    def posterior(self) -> Posterior | None:
        """How sure the potential is, where it says so.

        :raises ValueError: if the file is broken.
        """
        from .posterior import Posterior

        return Posterior.load(self.directory) if (self.directory / POSTERIOR).is_file() else None

    def calculator(self, coefficients: np.ndarray | None = None, gamma: bool = True) -> AceCalculator:
        """Return an ASE calculator; its `results['gamma']` is the extrapolation grade per atom.

        :param coefficients: other coefficients for the same functions, such as drawn from the posterior.
        :param gamma: False: without the extrapolation grade, several times faster, unless with other coefficients.
        """
        return AceCalculator(self, coefficients, gamma)

    def gamma(self, frames: list[Atoms]) -> list[np.ndarray]:
        """Return the extrapolation grade per atom of every frame."""
        calculator = self.calculator()
        grades = []
        for atoms in frames:
            calculator.calculate(atoms.copy())
            grades.append(calculator.results['gamma'])
        return grades

    def check_elements(self, frames: list[Atoms]) -> None:
        """:raises ValueError: if a frame has an element that the potential does not know."""
        for index, atoms in enumerate(frames):
            unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
            if unknown:
                raise ValueError(
                    f'configuration {index} ({atoms.get_chemical_formula()}) has {unknown[0]}, which is not in the '
                    f'potential of {", ".join(self.elements)}'
                )


class AceCalculator(Calculator):
    """Energy (eV), forces (eV/Å), stress (eV/Å³) and gamma of an :class:`AcePotential`."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(
        self, potential: AcePotential, coefficients: np.ndarray | None = None, gamma: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.potential, self.gamma = potential, gamma
        from pyace import PyACECalculator

        if not gamma and coefficients is None:
            self.ace = PyACECalculator(str(potential.directory / YACE), recursive_evaluator=True, recursive=True)
            return
        basis = potential.basis if coefficients is None else potential.read_basis()
        if coefficients is not None:
            basis.basis_coeffs = coefficients
        self.ace = PyACECalculator(basis)
        if gamma:
            self.ace.set_active_set(str(potential.directory / ASI))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ('energy',),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        frame = self.atoms
        self.potential.check_elements([frame])
        self.ace.calculate(right_handed(frame))
        energy, forces, stress = self.potential.baseline.evaluate(frame)
        references = self.potential.reference_energies
        energy += sum(references[symbol] for symbol in frame.get_chemical_symbols())
        energy += self.ace.results['energy']
        self.results = {
            'energy': energy,
            'free_energy': energy,
            'forces': forces + self.ace.results['forces'],
        }
        if self.gamma:
            self.results['gamma'] = self.ace.results['gamma'].copy()
        if 'stress' in self.ace.results:
            self.results['stress'] = stress + self.ace.results['stress']


def right_handed(atoms: Atoms) -> Atoms:
    """Return the same lattice, with two cell vectors exchanged if it is left-handed, which python-ace refuses."""
    if atoms.cell.handedness >= 0:
        return atoms
    same: Atoms = atoms.copy()
    same.set_cell(atoms.cell.array[[1, 0, 2]])
    same.pbc = atoms.pbc[[1, 0, 2]]
    return same
