"""What a potential says of a crystal: lattice constants and elastic constants."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

#: Strain of the central differences: large against the noise of a relaxation, small against anharmonicity.
STRAIN = 0.005
#: Forces (eV/Å) at which a relaxation ends, and its largest number of steps.
FORCE, STEPS = 1e-3, 200
#: Upper half of the elastic tensor that is reported, in Voigt notation from 1.
CONSTANTS = ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3), (4, 4), (5, 5), (6, 6))


def crystal_properties(calculator: Calculator, atoms: Atoms) -> dict[str, float]:
    """Relax a crystal and strain it.

    :param atoms: the crystal, near its minimum, its cell vectors along the axes as far as they can be.
    :returns: `a`, `b`, `c` (Å), `volume` (Å³/atom), and in GPa `C11`, `C22`, ... `C66` (ions relaxed) and the
        `bulk_modulus` (Voigt average).
    :raises ValueError: if it does not relax, as a crystal that the potential does not hold together.
    """
    crystal = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=calculator)
    _relax(crystal, FrechetCellFilter(crystal))
    lengths = crystal.cell.lengths()
    tensor = elastic_tensor(calculator, crystal)
    found = {'a': lengths[0], 'b': lengths[1], 'c': lengths[2], 'volume': crystal.get_volume() / len(crystal)}
    found |= {f'C{i}{j}': tensor[i - 1, j - 1] for i, j in CONSTANTS}
    return {name: float(value) for name, value in {**found, 'bulk_modulus': tensor[:3, :3].mean()}.items()}


def elastic_tensor(calculator: Calculator, crystal: Atoms) -> np.ndarray:
    """Return the elastic tensor (6, 6) in GPa of a relaxed crystal: central differences of the stress.

    The ions are relaxed in every strained cell. Voigt order xx, yy, zz, yz, xz, xy.

    :raises ValueError: if a strained cell does not relax.
    """
    columns = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * STRAIN / 2
            strain[j, i] += sign * STRAIN / 2
            strained = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
            strained.set_cell(crystal.cell.array @ strain, scale_atoms=True)
            strained.calc = calculator
            _relax(strained, strained)
            ends.append(strained.get_stress())
        columns.append((ends[0] - ends[1]) / (2 * STRAIN))
    tensor = np.array(columns).T / units.GPa
    return (tensor + tensor.T) / 2


def _relax(crystal: Atoms, what: Atoms | FrechetCellFilter) -> None:
    if not BFGS(what, logfile=None).run(fmax=FORCE, steps=STEPS):
        raise ValueError(
            f'{crystal.get_chemical_formula()} does not relax in {STEPS} steps: the potential does not hold this '
            'crystal together; look at its errors on such configurations first'
        )
