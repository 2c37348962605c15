"""The same crystal in six cells: how far its energy per atom differs, with our k-points and with those of AiiDA.

Run as `python tests/benchmarks/bench_kpoints.py [Al|Si ...] [--protocol balanced] [--cutoff 24]`: the primitive cell,
the conventional one, the primitive one repeated 2x1x1 and 2x2x2, and two sheared bases of it, each computed by the real
`pw.x` with the distance of k-points and the smearing of a protocol. "AiiDA" is what `PwBaseWorkChain` makes of the same
distance (`create_kpoints_from_distance` of aiida-quantumespresso). A mesh that both make of a cell is computed once.

Measured with pw.x 6.7, `balanced` (0.20 1/Å, cold, 0.02 Ry), largest difference between the six cells in meV/atom:

- Al, 24 Ry: ours 0.04 (16x16x16 in the primitive cell), AiiDA's 13.2 (14x14x14; 1783 k-points instead of our 145 in the
  sheared basis). The error of the meshes themselves against 32x32x32 is -5 (ours) and +8 meV/atom (AiiDA's): the Fermi
  surface of aluminium is not converged at this distance, and only equal k-points make energies equal.
- Si, 12 Ry: ours 0.07, AiiDA's 1.9.

At another volume (Al, 3.95 Å) the conventional cell, the only one of the six whose k-points are others, is 2.2 meV/atom
from the primitive one; at 0.04 Ry and 4.05 Å 1.5 meV/atom.

The cutoff is the one of the pseudopotential unless `--cutoff` is given: the error of k-points does not depend on it,
the time does. `--reference N` adds the primitive cell with N points along each axis.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.io.espresso import write_espresso_in
from ase.units import Ry

from aiida_pyacemaker.atomistics.labelling.kpoints import kpoints_mesh
from aiida_pyacemaker.runfile import resolve_runfile
from aiida_pyacemaker.setup.engines import find_pw
from aiida_pyacemaker.setup.pseudos import HINTS, fetch_pseudo_dojo

CRYSTALS = {'Al': 4.05, 'Si': 5.43}
SHEARS = {'sheared': [[1, 0, 0], [1, 1, 0], [0, 0, 1]], 'sheared twice': [[1, 0, 0], [0, 1, 0], [-1, 1, 1]]}


@dataclass
class Result:
    """Energy in eV/atom, number of irreducible k-points, seconds."""

    energy: float
    points: int
    seconds: float


def get_cells(element: str) -> dict[str, Atoms]:
    """The six cells of a crystal."""
    primitive = bulk(element, a=CRYSTALS[element])
    return {
        'primitive': primitive,
        'conventional': bulk(element, a=CRYSTALS[element], cubic=True),
        '2x1x1': primitive.repeat((2, 1, 1)),
        '2x2x2': primitive.repeat((2, 2, 2)),
        **{name: make_supercell(primitive, shear) for name, shear in SHEARS.items()},
    }


def get_aiida_mesh(atoms: Atoms, distance: float) -> tuple[int, int, int]:
    """The mesh that aiida-quantumespresso makes, in a profile that lives in memory."""
    from aiida import load_profile, orm
    from aiida.storage.sqlite_temp import SqliteTempBackend
    from aiida_quantumespresso.calculations.functions.create_kpoints_from_distance import create_kpoints_from_distance

    load_profile(SqliteTempBackend.create_profile('bench'), allow_switch=True)
    structure = orm.StructureData(ase=atoms)
    kpoints = create_kpoints_from_distance(structure, orm.Float(distance), orm.Bool(False))
    return tuple(kpoints.get_kpoints_mesh()[0])


def run_pw(atoms: Atoms, mesh: tuple[int, int, int], cutoff: float, label: dict) -> Result:
    """Compute a cell with pw.x as the oracle does."""
    engine, pseudos = find_pw(), fetch_pseudo_dojo()
    keywords = {
        'control': {'calculation': 'scf', 'pseudo_dir': str(pseudos), 'tprnfor': True, 'tstress': True},
        'system': {
            'ecutwfc': cutoff,
            'ecutrho': 4 * cutoff,
            'occupations': 'smearing',
            'smearing': label['smearing'],
            'degauss': label['degauss'],
        },
        'electrons': {'conv_thr': 2e-10 * len(atoms), 'mixing_beta': 0.4},
    }
    names = {element: f'{element}.upf' for element in set(atoms.get_chemical_symbols())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'pw.in'
        with path.open('w') as handle:
            write_espresso_in(handle, atoms, input_data=keywords, pseudopotentials=names, kpts=mesh)
        start = time.perf_counter()
        command = f'{engine.prepend_text}\n{engine.executable} -in pw.in'
        output = subprocess.run(['bash', '-c', command], cwd=folder, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    energy = re.findall(r'^!\s+total energy\s+=\s+(\S+) Ry', output, re.MULTILINE)
    if not energy:
        raise SystemExit(f'pw.x failed:\n{output[-2000:]}')
    points = int(re.search(r'number of k points=\s+(\d+)', output).group(1))
    return Result(float(energy[-1]) * Ry / len(atoms), points, seconds)


def bench(element: str, label: dict, cutoff: float, reference: int | None) -> None:
    """Compute and print the table of one crystal."""
    distance, done = label['kpoints_distance'], {}
    ways = {'ours': kpoints_mesh, 'AiiDA': get_aiida_mesh}
    energies: dict[str, list[float]] = {way: [] for way in ways}
    print(
        f'\n{element}, {distance} 1/Å, {label["smearing"]} {label["degauss"]} Ry, {cutoff:g} Ry (difference from first)'
    )
    cells = get_cells(element)
    for name, atoms in cells.items():
        line = f'{name:14s} {len(atoms):2d} atoms'
        for way, get_mesh in ways.items():
            mesh = tuple(int(n) for n in get_mesh(atoms, distance))
            if (name, mesh) not in done:
                done[name, mesh] = run_pw(atoms, mesh, cutoff, label)
            result = done[name, mesh]
            energies[way].append(result.energy)
            change = 1e3 * (result.energy - energies[way][0])
            shape = 'x'.join(map(str, mesh))
            line += f' | {way} {shape:9s} {result.points:4d} k {change:+8.3f} meV/atom {result.seconds:6.1f} s'
        print(line, flush=True)
    for way, values in energies.items():
        print(f'{way:6s} largest difference {1e3 * np.ptp(values):.3f} meV/atom')
    if reference:
        result = run_pw(cells['primitive'], (reference,) * 3, cutoff, label)
        errors = {way: 1e3 * (np.array(values) - result.energy) for way, values in energies.items()}
        for way, values in errors.items():
            print(f'{way:6s} error against {reference}^3: {values.min():+.2f} to {values.max():+.2f} meV/atom')


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('elements', nargs='*', default=list(CRYSTALS))
    parser.add_argument('--protocol', default='balanced')
    parser.add_argument('--cutoff', type=float)
    parser.add_argument('--reference', type=int)
    arguments = parser.parse_args()
    for element in arguments.elements:
        content = {'protocol': arguments.protocol, 'system': {'elements': [element]}}
        label = resolve_runfile(content).label.model_dump()
        bench(element, label, arguments.cutoff or 2.0 * HINTS[element][1], arguments.reference)


if __name__ == '__main__':
    main()
