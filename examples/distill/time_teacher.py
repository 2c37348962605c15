"""Print the seconds per step and atom of a teacher in molecular dynamics: time_teacher.py CELLS SECTION STEPS."""

from __future__ import annotations

import json
import sys
from time import perf_counter

from ase import units
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from aiida_pyacemaker.atomistics.labelling.teachers import make_teacher, read_teacher

cells, section, steps = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
calculator = make_teacher(read_teacher(section))
times = []
for atoms in read(cells, ':'):
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=300)
    dynamics = VelocityVerlet(atoms, 1 * units.fs)
    dynamics.run(2)  # the first steps of a torch model are slower
    start = perf_counter()
    dynamics.run(steps)
    times.append((perf_counter() - start) / steps / len(atoms))
print(json.dumps(times))
