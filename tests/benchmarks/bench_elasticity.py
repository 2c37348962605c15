"""Elastic constants against really relaxed cells, and equations of state of potentials of many kinds.

First table, a crystal of every Laue class: single points (all strains and displacements that symmetry leaves), the
largest part of a constant that is due to the ions (clamped against relaxed), the largest difference from the constants
by relaxing the ions in every strained cell, and CPU times. The crystals are ordered alloys on fcc and hcp lattices with
EMT, and BC8 silicon with Stillinger-Weber, turned anyhow.

Second table: the bulk modulus at equilibrium by the stress, and by how much those of Birch-Murnaghan and Vinet differ
when they are fitted to 5, 10 and 20 % of the volume; the roughness of the curve as it is, with a jump of 1 % of the
bulk modulus put into its pressure, and with a step of 0.3 meV/atom put into its energy. The limits in
`properties/eos/compute.py` are chosen by it.

Run as `python tests/benchmarks/bench_elasticity.py [POTENTIAL...]`, with folders of ACE potentials of one element or of
NaCl for the second table; with `--quick` for three classes and four potentials.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases.elasticity import CLASSES, build, relaxed_stress, settle, shipped, with_fault

from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, make_calculator
from aiida_pyacemaker.atomistics.validation.properties.elasticity.compute import analyse, plan
from aiida_pyacemaker.atomistics.validation.properties.elasticity.stiffness import KELVIN
from aiida_pyacemaker.atomistics.validation.properties.eos import compute as eos
from aiida_pyacemaker.atomistics.validation.properties.eos.compute import MAX_JUMP, MAX_MISMATCH

STRAIN = 0.005


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


def measure_elasticity(laue: str) -> list[Any]:
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


#: Description and crystal.
CASES: dict[str, tuple[Any, Atoms]] = {
    'Cu EMT': ({'calculator': 'emt'}, bulk('Cu')),
    'Al EMT': ({'calculator': 'emt'}, bulk('Al')),
    'Al_mm': (('eam/fs', 'Al_mm.eam.fs', 'Al'), bulk('Al')),
    'Si.sw': (('sw', 'Si.sw', 'Si'), bulk('Si')),
    'Si.tersoff': (('tersoff', 'Si.tersoff', 'Si'), bulk('Si')),
    'Al_zhou': (('eam/alloy', 'Al_zhou.eam.alloy', 'Al'), bulk('Al')),
    'Cu_mishin1': (('eam/alloy', 'Cu_mishin1.eam.alloy', 'Cu'), bulk('Cu')),
    'Cu_u3': (('eam', 'Cu_u3.eam', 'Cu'), bulk('Cu')),
    'Fe_mm': (('eam/fs', 'Fe_mm.eam.fs', 'Fe'), bulk('Fe')),
    'Mg_mm': (('eam/fs', 'Mg_mm.eam.fs', 'Mg'), bulk('Mg')),
    'NiAlH_jea': (('eam/alloy', 'NiAlH_jea.eam.alloy', 'Ni'), bulk('Ni')),
}
SALT = bulk('NaCl', 'rocksalt', a=5.6)


def crystal_of(elements: list[str]) -> Atoms:
    """Return the crystal of an ACE potential."""
    return SALT if sorted(elements) == ['Cl', 'Na'] else bulk(elements[0])


def measure_eos(name: str, description: Any, atoms: Atoms) -> list[Any]:
    """Return a row of the table."""
    description = shipped(*description) if isinstance(description, tuple) else description
    crystal = settle(atoms, make_calculator(description))
    with Evaluator(description) as evaluator:
        labelled = evaluator.evaluate(eos.plan(crystal))
    found = eos.analyse(crystal, labelled)
    volumes, energies, pressures = (np.array(found[key]) for key in ('volumes', 'energies', 'pressures'))
    middle, step = len(volumes) // 2, volumes[1] - volumes[0]
    by_stress = -volumes[middle] * np.dot((1, -8, 8, -1), pressures[middle + np.array([-2, -1, 1, 2])]) / (12 * step)
    row = [name, by_stress]
    for width in (0.05, 0.1, 0.2):
        near = np.abs(volumes / volumes[middle] - 1) < width + 1e-6
        for form in ('birchmurnaghan', 'vinet'):
            bulk_modulus = EquationOfState(volumes[near], energies[near], eos=form).fit(warn=False)[2] / units.GPa
            row.append(100 * (bulk_modulus / by_stress - 1))
    place, modulus = volumes[middle - 9] + step / 3, by_stress * units.GPa
    rough = [
        eos.analyse(crystal, with_fault(labelled, place, energy, pressure))['roughness']
        for energy, pressure in ((0, 0), (0, 0.01 * modulus), (3e-4, 0))
    ]
    return [*row, *rough, found['pressure_check']]


def print_elasticity(classes: tuple[str, ...]) -> None:
    """Print the first table."""
    headers = (
        'class', 'found', 'cell', 'constants', 'single points', 'largest (GPa)', 'by ions (GPa)',
        'against relaxing (GPa)', '(%)', 'asymmetry (GPa)', 'energy check (GPa)', 'lowest eigenvalue (GPa)',
        'CPU (s)', 'CPU of relaxing (s)',
    )  # fmt: skip
    print(tabulate([measure_elasticity(laue) for laue in classes], headers, floatfmt='.3g', tablefmt='github'))


def print_eos(cases: dict[str, tuple[Any, Atoms]]) -> None:
    """Print the second table."""
    headers = [
        'potential', 'B0 by stress (GPa)', 'BM 5 % (%)', 'Vinet', 'BM 10 %', 'Vinet', 'BM 20 %', 'Vinet',
        'roughness', 'with a jump of 1 % B0', 'with a step of 0.3 meV', 'pressure check (GPa)',
    ]  # fmt: skip
    print(
        f'roughness 1: a fourth difference of {MAX_JUMP} B0, or a jump of {MAX_MISMATCH} B0 between the two pressures'
    )
    rows = [measure_eos(name, *case) for name, case in cases.items()]
    print(tabulate(rows, headers, floatfmt='.2f', tablefmt='github'))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('potentials', nargs='*')
    parser.add_argument('--quick', action='store_true')
    options = parser.parse_args()
    print_elasticity(('-1', '-3m', 'm-3') if options.quick else CLASSES)
    cases = dict(list(CASES.items())[:4] if options.quick else CASES)
    for path in options.potentials:
        cases[f'ACE {path.rstrip("/").rpartition("/")[2]}'] = (path, crystal_of(AcePotential(path).elements))
    print_eos(cases)


if __name__ == '__main__':
    main()
