"""Simulations under the watch, run as the CalcJob runs them, without AiiDA."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.atomistics.lammps.outcome import Outcome, read_outcome
from aiida_pyacemaker.atomistics.potential.potential import AcePotential


@dataclass
class Simulation:
    """What a simulation was, and what came of it."""

    directory: Path
    parameters: dict[str, Any]
    potential: AcePotential
    content: str

    @property
    def outcome(self) -> Outcome:
        return read_outcome(self.directory, self.parameters, self.potential.metadata['elements'], self.content)


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
    ) -> Simulation:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        for name in script.POTENTIAL:
            shutil.copy(potential.directory / name, directory / name)
        if resume:
            shutil.copy(resume.outcome.restart, directory / script.RESTART_IN)
        else:
            script.write_structure(directory / script.STRUCTURE, atoms, potential.metadata['elements'], parameters)
        text = script.write_script(parameters, potential.metadata, resume=resume is not None)
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
        return Simulation(directory, parameters, potential, done.stdout)

    return run
