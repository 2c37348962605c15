"""Many single points and relaxations with one potential, in several processes.

The potential is a description and not a calculator, so that each process makes its own, late, and keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE

from ..configurations import set_labels
from ..labelling.teachers import make_teacher, read_teacher
from ..potential import AcePotential

#: What describes a potential: the directory of an ACE potential, or the keys of a `label.teacher` section.
Description = str | os.PathLike | dict[str, Any]
#: Forces (eV/Å) at which a relaxation ends, and its largest number of steps.
FORCE, STEPS = 1e-4, 500


def make_calculator(description: Description | Calculator) -> Calculator:
    """Return the ASE calculator of a potential.

    :raises ValueError: if there is no such potential.
    """
    if isinstance(description, Calculator):
        return description
    if isinstance(description, dict):
        teacher = read_teacher(description)
        return make_teacher(teacher, teacher.model_file())
    return AcePotential(Path(description)).calculator()


class Evaluator:
    """Evaluate and relax configurations with one potential; the order is kept.

    Use it as a context manager, or call :meth:`close`.

    :param description: directory of an ACE potential, or the keys of a `label.teacher` section; an ASE calculator, too,
        with one process.
    :param processes: how many work side by side.
    """

    def __init__(self, description: Description | Calculator, processes: int = 1):
        if isinstance(description, Calculator) and processes > 1:
            raise ValueError('an ASE calculator cannot be shared by processes: give its description, or one process')
        self.description, self.processes = description, processes
        self._pool: ProcessPoolExecutor | None = None
        self._calculator: Calculator | None = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return `function(calculator, *item)` of each item, the results in their order.

        :param function: of a module, so that other processes find it.
        """
        if self.processes == 1:
            if self._calculator is None:
                self._calculator = make_calculator(self.description)
            return [function(self._calculator, *item) for item in items]
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.processes, get_context('spawn'), initializer=_start, initargs=(self.description,)
            )
        return list(self._pool.map(_call, [function] * len(items), items))

    def evaluate(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return the frames with energy, forces and stress."""
        return self.map(evaluate, [(atoms,) for atoms in frames])

    def relax(
        self, frames: Sequence[Atoms], *, cell: bool = False, force: float = FORCE, steps: int = STEPS
    ) -> list[Atoms]:
        """Return the frames relaxed, with labels and the info `relaxed`: whether it came to its end.

        :param cell: whether the cell relaxes, too.
        """
        return self.map(relax, [(atoms, cell, force, steps) for atoms in frames])


_worker: dict[str, Calculator] = {}


def _start(description: Description) -> None:
    _worker['calculator'] = make_calculator(description)


def _call(function: Callable[..., Any], item: tuple[Any, ...]) -> Any:
    return function(_worker['calculator'], *item)


def evaluate(calculator: Calculator, atoms: Atoms) -> Atoms:
    """Return a copy with energy (eV), forces (eV/Å), and stress (eV/Å³) where it is periodic."""
    copy = atoms.copy()
    copy.calc = calculator
    labelled = atoms.copy()
    stress = copy.get_stress() if copy.pbc.all() else None
    set_labels(labelled, energy=copy.get_potential_energy(), forces=copy.get_forces(), stress=stress)
    return labelled


def relax(calculator: Calculator, atoms: Atoms, cell: bool, force: float, steps: int) -> Atoms:
    """Return a relaxed copy with labels; its info `relaxed` says whether the forces came below `force` (eV/Å)."""
    copy = atoms.copy()
    copy.calc = calculator
    optimiser = BFGS(FrechetCellFilter(copy), logfile=None) if cell else FIRE(copy, logfile=None)
    converged = optimiser.run(fmax=force, steps=steps)
    relaxed = evaluate(calculator, copy)
    relaxed.set_constraint(atoms.constraints)
    relaxed.info['relaxed'] = bool(converged)
    return relaxed
