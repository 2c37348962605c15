"""Compare the potential of the newest run with DFT at the run's own settings: `verdi run check_potential.py [LMP]`.

Prints one JSON object: equilibrium lattice constant and bulk modulus of fcc aluminium from the potential and from fresh
DFT calculations at volumes that were not trained on, the held-out errors, and the energies of a pair of atoms pushed
together in LAMMPS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk
from ase.eos import EquationOfState
from ase.io.lammpsdata import write_lammps_data
from ase.units import GPa

from aiida_pyacemaker.atomistics.lammps.files import pair_lines
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

LabelWorkChain = WorkflowFactory('pyacemaker.label')
DISTANCES = np.linspace(2.8, 0.8, 21)


def equilibrium(cells, energies):
    """Return lattice constant (Å) and bulk modulus (GPa) of cubic cells by a Birch–Murnaghan fit."""
    volume, _, modulus = EquationOfState([cell.get_volume() for cell in cells], energies, eos='birchmurnaghan').fit()
    return volume ** (1 / 3), modulus / GPa


def main():
    """Print the comparison."""
    query = orm.QueryBuilder().append(WorkflowFactory('pyacemaker.active_learning'), tag='run')
    run = query.order_by({'run': {'id': 'desc'}}).first(flat=True)
    parameters = run.inputs.parameters.get_dict()
    cells = [bulk('Al', a=4.04 * scale, cubic=True) for scale in (0.973, 0.983, 0.992, 1.004, 1.013, 1.023)]

    builder = LabelWorkChain.get_builder_from_protocol(
        run.inputs.codes.pw, DataFactory('pyacemaker.configurations')(cells), parameters['label']
    )
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    labelled = outputs['train'].get_frames()

    with tempfile.TemporaryDirectory() as folder:
        run.outputs.potential.write(folder)
        potential = AcePotential(folder)
        predicted = [cell.copy() for cell in labelled]
        for cell in predicted:
            cell.calc = potential.calculator()
        a_dft, b_dft = equilibrium(labelled, [cell.get_potential_energy() for cell in labelled])
        a_ace, b_ace = equilibrium(predicted, [cell.get_potential_energy() for cell in predicted])
        energies = [pair_energy(folder, potential.metadata, distance) for distance in DISTANCES]
    last = [entry for entry in run.outputs.report['iterations'] if 'energy_rmse' in entry][-1]
    result = {
        'lattice_constant': {'dft': a_dft, 'ace': a_ace, 'error_percent': 100 * (a_ace / a_dft - 1)},
        'bulk_modulus': {'dft': b_dft, 'ace': b_ace, 'error_percent': 100 * (b_ace / b_dft - 1)},
        'energy_rmse': last['energy_rmse'],
        'force_rmse': last['force_rmse'],
        'pair': {'distances': DISTANCES.tolist(), 'energies': energies},
    }
    print(json.dumps(result))


def pair_energy(folder, metadata, distance):
    """Return the energy (eV) of two atoms at a distance (Å), from LAMMPS itself."""
    atoms = Atoms('Al2', positions=[[0, 0, 0], [distance, 0, 0]], cell=[20, 20, 20], pbc=True)
    write_lammps_data(Path(folder) / 'pair.data', atoms, specorder=['Al'], masses=True, units='metal')
    script = (
        'units metal\natom_style atomic\nboundary p p p\nread_data pair.data\n'
        f'{pair_lines(metadata)}\nthermo_style custom pe fmax\nrun 0\nprint "PAIR $(pe:%.12g)"\n'
    )
    Path(folder, 'in.pair').write_text(script)
    code = orm.load_code('lammps@localhost')
    exports = [line.removeprefix('export ').split('=', 1) for line in code.prepend_text.splitlines() if '=' in line]
    environment = {**os.environ, **{key: value.strip('\'"') for key, value in exports}}
    command = [str(code.filepath_executable), '-in', 'in.pair', '-log', 'none']
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return next(float(line.split()[1]) for line in result.stdout.splitlines() if line.startswith('PAIR'))


if __name__ == '__main__':
    sys.exit(main())
