"""The exported files of a fit of three elements: LAMMPS gives what Python gives, with and without gamma."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.lammps.files import pair_lines
from aiida_pyacemaker.atomistics.potential.potential import YACE, AcePotential

ELEMENTS = ['Ag', 'Au', 'Cu']
#: eV/Å³ in bar, exact and as LAMMPS has it in its metal units.
EXACT, LAMMPS = 1.602176634e6, 1.6021765e6


def alloys(number: int, seed: int) -> list[Atoms]:
    """Random alloys in strained, rattled fcc cells of 4 and 8 atoms, all smaller than twice the cutoff."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(number):
        atoms = bulk('Ag', 'fcc', a=4.0, cubic=True).repeat((1, 1, 1 + index % 2))
        atoms.set_chemical_symbols(list(rng.choice(ELEMENTS, len(atoms))))
        deformation = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        atoms.calc = EMT()
        frames.append(set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    return frames


@pytest.fixture(scope='module')
def potential(tmp_path_factory) -> AcePotential:
    directory = tmp_path_factory.mktemp('three') / 'potential'
    parameters = {'elements': ELEMENTS, 'number_of_functions': 40, 'cutoff': 5.0}
    train(alloys(24, seed=1), FitJob(**parameters), directory, report=lambda message: None)
    return AcePotential(directory)


@pytest.mark.parametrize('yace', [None, YACE])
@pytest.mark.parametrize('index', range(2))
def test_lammps_gives_what_python_gives(index, yace, potential, lammps_single_point, tmp_path):
    for name in potential.FILES:
        shutil.copy(potential.directory / name, tmp_path / name)
    atoms = alloys(2, seed=2)[index]
    # a pair within the range of the baseline, so that both parts of the potential act
    atoms.set_distance(0, 1, 1.9, mic=True)
    calculator = potential.calculator()
    calculator.calculate(atoms)
    found = calculator.results
    baseline, _, _ = potential.baseline.evaluate(atoms)
    assert baseline > 0.1
    lines = pair_lines(potential.metadata, yace=yace)
    energy, forces, stress, _ = lammps_single_point(atoms, lines, ELEMENTS, tmp_path)
    reference = sum(potential.reference_energies[symbol] for symbol in atoms.get_chemical_symbols())
    assert found['energy'] - reference == pytest.approx(energy, abs=1e-8)
    np.testing.assert_allclose(found['forces'], forces, atol=1e-8, rtol=0)
    np.testing.assert_allclose(found['stress'], stress * EXACT / LAMMPS, atol=1e-8, rtol=0)
