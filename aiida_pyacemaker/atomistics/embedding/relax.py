"""Relaxation of the boundary of an embedded cell, the core and its shell frozen."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.optimize import FIRE


def relax_buffer(
    cell: Atoms, frozen: np.ndarray, calculator: Calculator, steps: int, force: float, threshold: float | None = None
) -> tuple[Atoms, dict[str, Any]]:
    """Move the atoms that are not frozen until the forces on them are below `force`, for `steps` steps at most.

    :param frozen: (n,) bool. :param force: eV/Å. :param threshold: of gamma, where the calculator gives `gamma`: the
        boundary is known if the atoms that moved are below it.
    :returns: the relaxed cell, without calculator, and a report: `steps`, `max_force` (before, after), `moved` (Å, the
        largest displacement), and with gamma `max_gamma` (before, after), `known`.
    """
    relaxed = cell.copy()
    free = np.flatnonzero(~frozen)
    relaxed.calc = calculator
    before = _state(relaxed, free)
    taken = 0
    if steps and len(free) and before['max_force'] > force:
        relaxed.set_constraint(FixAtoms(mask=frozen))
        optimizer = FIRE(relaxed, logfile=None, maxstep=0.1)
        optimizer.run(fmax=force, steps=steps)
        taken = int(optimizer.get_number_of_steps())
        relaxed.set_constraint()
    after = _state(relaxed, free)
    relaxed.calc = None
    moved = relaxed.positions - cell.positions
    report: dict[str, Any] = {
        'steps': taken,
        'relaxed_atoms': len(free),
        'max_force': [before['max_force'], after['max_force']],
        'moved': float(np.linalg.norm(moved, axis=1).max(initial=0.0)),
    }
    if 'gamma' in after:
        report['max_gamma'] = [before['gamma'], after['gamma']]
        report['known'] = None if threshold is None else bool(after['gamma'] <= threshold)
    return relaxed, report


def _state(atoms: Atoms, free: np.ndarray) -> dict[str, float]:
    forces = np.linalg.norm(atoms.get_forces(apply_constraint=False)[free], axis=1)
    state = {'max_force': float(forces.max(initial=0.0))}
    if 'gamma' in atoms.calc.results:
        state['gamma'] = float(np.max(atoms.calc.results['gamma'][free], initial=0.0))
    return state
