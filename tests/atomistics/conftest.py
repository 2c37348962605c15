"""Fixtures of the science floor: a real LAMMPS, and aluminium and Al-Cu labelled by EMT."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io.lammpsdata import write_lammps_data

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.atomistics.lammps.files import read_dump, read_log
from aiida_pyacemaker.atomistics.lammps.outcome import Outcome, read_outcome
from aiida_pyacemaker.atomistics.potential.potential import AcePotential


def label(atoms: Atoms) -> Atoms:
    """Label a frame with EMT, in place."""
    atoms.calc = EMT()
    stress = atoms.get_stress() if atoms.pbc.all() else None
    return set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), stress)


def quiet(message: str) -> None:
    """Report nothing."""


@pytest.fixture(scope='session')
def initial_frames() -> list[Atoms]:
    """The initial aluminium set of the generator, labelled; training and test frames."""
    structures = Structures(
        pristine={'number': 0}, eos={'number': 7}, strain={'number': 4}, shear={'number': 3},
        rattle={'number': 10, 'atoms': 8}, vacancy={'number': 2, 'atoms': 16}, test={'number': 4},
    )  # fmt: skip
    return [label(atoms) for atoms in generate(['Al'], structures, seed=42).frames]


@pytest.fixture(scope='session')
def training(initial_frames) -> list[Atoms]:
    return [atoms for atoms in initial_frames if atoms.info['split'] == 'train']


@pytest.fixture(scope='session')
def testing(initial_frames) -> list[Atoms]:
    return [atoms for atoms in initial_frames if atoms.info['split'] == 'test']


@pytest.fixture(scope='session')
def trained(training, testing, make_once) -> tuple[AcePotential, dict]:
    """An aluminium potential of 100 functions and the results of its training."""
    parameters = {'elements': ['Al'], 'number_of_functions': 100}
    directory, results = make_once(
        'trained',
        lambda folder: train(training, FitJob(**parameters), folder / 'potential', test=testing, report=quiet),
    )
    return AcePotential(directory / 'potential'), results


@pytest.fixture(scope='session')
def alloy(make_once) -> AcePotential:
    """A small Al-Cu potential, with a pair of different ranges."""

    def fit(directory: Path) -> None:
        structures = Structures(
            number=40, alloy={'lattices': ['fcc'], 'ordered': False, 'atoms': 8},
            rattle={'number': 24, 'atoms': 8}, shear={'number': 0}, vacancy={'number': 4, 'atoms': 16},
        )  # fmt: skip
        frames = [label(atoms) for atoms in generate(['Al', 'Cu'], structures, seed=1).frames]
        parameters = FitJob(elements=['Cu', 'Al'], number_of_functions=40, cutoff=5.0)
        training = [atoms for atoms in frames if atoms.info['split'] == 'train']
        train(training, parameters, directory / 'potential', report=quiet)

    return AcePotential(make_once('alloy', fit)[0] / 'potential')


@pytest.fixture
def run_lammps(lmp, tmp_path) -> Callable:
    """Run an input text in a directory; return the completed process."""

    def run(text: str, directory: Path = tmp_path) -> subprocess.CompletedProcess:
        executable, environment = lmp
        (directory / 'in.lammps').write_text(text)
        return subprocess.run(
            [executable, '-in', 'in.lammps', '-log', 'log.lammps', '-screen', 'none'],
            cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def lammps_single_point(run_lammps, tmp_path) -> Callable:
    """Energy (eV), forces (eV/Å), stress (eV/Å³, Voigt) and gamma (or None) of a frame by the given pair lines."""

    def single_point(atoms: Atoms, lines: str, elements: list[str], directory: Path = tmp_path, gamma: bool = False):
        # LAMMPS wants the cell lower triangular: rotate the frame there, and the forces back.
        cell, rotation = atoms.cell.standard_form()
        rotated = Atoms(atoms.get_chemical_symbols(), atoms.positions @ rotation.T, cell=cell, pbc=True)
        write_lammps_data(directory / 'structure.data', rotated, specorder=elements, masses=True, reduce_cell=False)
        fix = 'fix gamma all pair 1 pace/extrapolation gamma 1\n' if gamma else ''
        done = run_lammps(
            'units metal\natom_style atomic\natom_modify map yes sort 0 0\nboundary p p p\nbox tilt large\n'
            f'read_data structure.data\n{lines}{fix}'
            f'dump d all custom 1 out.dump id type x y z fx fy fz {"f_gamma" if gamma else ""}\n'
            'dump_modify d sort id format float %.17g\n'
            'thermo_style custom step pe pxx pyy pzz pyz pxz pxy\nthermo_modify format float %.17g\nrun 0\n',
            directory,
        )
        log = read_log(directory / 'log.lammps')
        assert done.returncode == 0, log['errors']
        table = [row.split() for row in (directory / 'out.dump').read_text().splitlines()[9:]]
        forces = np.array([row[5:8] for row in table], dtype=float) @ rotation
        xx, yy, zz, yz, xz, xy = (log['thermo'][name][-1] for name in ('Pxx', 'Pyy', 'Pzz', 'Pyz', 'Pxz', 'Pxy'))
        bar = 1.602176634e6  # eV/Å³ in bar; the pressure is minus the stress
        tensor = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / bar
        tensor = rotation.T @ tensor @ rotation
        stress = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        frame = read_dump(directory / 'out.dump', elements)[-1]
        return log['thermo']['PotEng'][-1], forces, stress, frame.arrays.get('gamma')

    return single_point


# Simulations under the watch, run as the CalcJob runs them, without AiiDA


@dataclass
class Simulation:
    """What a simulation was, and what came of it."""

    directory: Path
    dynamics: WatchedDynamics
    potential: AcePotential
    content: str

    @property
    def outcome(self) -> Outcome:
        return read_outcome(self.directory, self.dynamics, self.potential.metadata['elements'], self.content)


@pytest.fixture
def al(al_potential_directory) -> AcePotential:
    """The small aluminium potential."""
    return AcePotential(al_potential_directory)


@pytest.fixture
def cell() -> Atoms:
    """A small periodic cell of aluminium."""
    return bulk('Al', 'fcc', a=4.0, cubic=True).repeat((2, 2, 1))


@pytest.fixture
def simulate(lmp, tmp_path, al, cell) -> Callable[..., Simulation]:
    """Return a function that runs a simulation, fresh or resumed from another one."""
    executable, environment = lmp

    def run(
        parameters: dict[str, Any],
        atoms: Atoms = cell,
        *,
        resume: Simulation | None = None,
        potential: AcePotential = al,
        edit: Callable[[str], str] = str,
        unchecked: dict[str, Any] | None = None,
    ) -> Simulation:
        # What no section accepts stands for the simulations that go wrong all the same.
        dynamics = WatchedDynamics(**parameters).model_copy(update=unchecked)
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        for name in script.POTENTIAL:
            shutil.copy(potential.directory / name, directory / name)
        if resume:
            shutil.copy(resume.outcome.restart, directory / script.RESTART_IN)
        else:
            script.write_structure(directory / script.STRUCTURE, atoms, potential.metadata['elements'], dynamics)
        text = script.write_script(dynamics, potential.metadata, resume=resume is not None)
        (directory / 'input.in').write_text(edit(text))
        done = subprocess.run(
            [executable, '-in', 'input.in', '-log', 'none'],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Simulation(directory, dynamics, potential, done.stdout)

    return run
