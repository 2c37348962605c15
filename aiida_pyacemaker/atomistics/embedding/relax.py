"""The boundary of an embedded cell, eased where it hurts and adjusted until the core feels what it felt in the parent.

Both with the current potential, with the core and a shell around it frozen:

1. *Ease.* Where the cut closes on itself atoms may sit too close. Only atoms near the faces on which forces are larger
   than anything in the parent, and their neighbours, are moved, and only until they are as in the parent: a further
   relaxation would take the thermal displacements away that the forces on the core come from.
2. *Match.* What lies beyond the faces still is not what was there. The smallest displacements of the boundary that give
   the core the forces that it has in the parent, according to the current potential: a least-squares problem, solved by
   LSQR (C. C. Paige, M. A. Saunders, ACM Trans. Math. Softw. 8, 43 (1982)), whose products with the force constants
   are differences of forces. Hundredths of an Å do; the error of the potential enters only in what is made up for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.optimize import FIRE
from scipy.sparse.linalg import LinearOperator, lsqr
from scipy.spatial import cKDTree

from .environments import Region

#: Å: atoms nearer than this to one that is eased are eased with it.
TOGETHER = 3.0
#: Forces up to this times the largest but few of the parent need no easing.
TYPICAL = 1.5
#: Å around the core out to which the parent's matter acts on it; the reference forces are those of a ball of this size.
RANGE = 10.0
#: Rounds and iterations of the matching; displacement (Å) for differences of forces, and largest one of a round.
ROUNDS, ITERATIONS, STEP, LONGEST = 2, 6, 0.01, 0.15


def reference_forces(region: Region, radius: float, calculator: Calculator) -> tuple[np.ndarray, np.ndarray]:
    """Forces (eV/Å) on the atoms of the parent around the point by a calculator.

    :param region: with the axes of the cell. :param radius: Å, within which forces are needed.
    :returns: index in the region (k,), forces (k, 3).
    """
    distance = np.linalg.norm(region.positions, axis=1)
    rows = np.flatnonzero(distance <= radius + RANGE)
    ball = Atoms(region.numbers[rows], region.positions[rows])
    # a box with enough vacuum, since not every calculator takes open boundaries
    ball.center(vacuum=RANGE)
    ball.pbc = True
    ball.calc = calculator
    forces = ball.get_forces()
    near = distance[rows] <= radius
    return rows[near], forces[near]


def relax_buffer(
    cell: Atoms, free: np.ndarray, calculator: Calculator, steps: int, force: float, threshold: float | None = None
) -> tuple[Atoms, dict[str, Any]]:
    """Ease the boundary: move free atoms on which forces are above `force`, with their free neighbours.

    :param free: (n,) bool, the atoms that may move. :param steps: at most. :param force: eV/Å.
    :param threshold: of gamma, where the calculator gives `gamma`: the boundary is known if the free atoms are below.
    :returns: the relaxed cell, without calculator, and a report: `steps`, `relaxed_atoms`, `max_force` (before, after),
        `moved` (Å, the largest displacement), and with gamma `max_gamma` (before, after), `known`.
    """
    relaxed = cell.copy()
    relaxed.calc = calculator
    before = _state(relaxed, free)
    taken = 0
    forces = np.linalg.norm(relaxed.get_forces(), axis=1)
    hurt = free & (forces > force)
    moving = free & _near(relaxed, hurt)
    if steps and moving.any():
        relaxed.set_constraint(FixAtoms(mask=~moving))
        optimizer = FIRE(relaxed, logfile=None, maxstep=0.1)
        optimizer.run(fmax=force, steps=steps)
        taken = int(optimizer.get_number_of_steps())
        relaxed.set_constraint()
    after = _state(relaxed, free)
    relaxed.calc = None
    report: dict[str, Any] = {
        'steps': taken,
        'relaxed_atoms': int(moving.sum()),
        'max_force': [before['max_force'], after['max_force']],
        'moved': _longest(relaxed.positions - cell.positions),
    }
    if 'gamma' in after:
        report['max_gamma'] = [before['gamma'], after['gamma']]
        report['known'] = None if threshold is None else bool(after['gamma'] <= threshold)
    return relaxed, report


def match_forces(
    cell: Atoms, core: np.ndarray, wanted: np.ndarray, free: np.ndarray, calculator: Calculator
) -> tuple[Atoms, dict[str, Any]]:
    """Move free atoms by as little as gives the core the wanted forces.

    :param core: indices (k,). :param wanted: (k, 3) eV/Å. :param free: indices (m,) of the atoms that may move.
    :returns: the cell, without calculator, and a report: `core_force_error` (eV/Å, before and after, by the calculator)
        and `moved` (Å).
    """
    matched = cell.copy()
    trial = cell.copy()
    trial.calc = calculator

    def forces(positions: np.ndarray) -> np.ndarray:
        trial.positions = positions
        return trial.get_forces()

    errors = []
    here = forces(matched.positions)
    for _ in range(ROUNDS):
        positions = matched.positions.copy()
        missing = wanted - here[core]
        errors.append(_rms(missing))
        product = _response(forces, positions, here)
        operator = LinearOperator(
            (3 * len(core), 3 * len(free)),
            matvec=lambda vector: product(vector, free, core),
            rmatvec=lambda vector: product(vector, core, free),
        )
        move = lsqr(operator, missing.ravel(), iter_lim=ITERATIONS)[0].reshape(-1, 3)
        move *= min(1.0, LONGEST / max(_longest(move), 1e-12))
        positions[free] += move
        after = forces(positions)
        if _rms(wanted - after[core]) >= errors[-1]:
            break
        matched.positions, here = positions, after
    moved = _longest(matched.positions - cell.positions)
    return matched, {'core_force_error': [errors[0], _rms(wanted - here[core])], 'moved': moved}


def _response(forces: Any, positions: np.ndarray, here: np.ndarray) -> Any:
    """Return the product of the force constants with displacements: change of the forces on some atoms as others move.

    The force constants are symmetric, so the transposed product is the same with the roles exchanged.
    """

    def product(vector: np.ndarray, moved: np.ndarray, felt: np.ndarray) -> np.ndarray:
        displacement = np.asarray(vector).reshape(-1, 3)
        scale = STEP / max(_longest(displacement), 1e-300)
        there = positions.copy()
        there[moved] += scale * displacement
        return ((forces(there)[felt] - here[felt]) / scale).ravel()

    return product


def _near(cell: Atoms, chosen: np.ndarray) -> np.ndarray:
    """Which atoms are chosen or near a chosen one, periodic images included."""
    edges = cell.cell.lengths()
    tree = cKDTree(cell.positions % edges % edges, boxsize=edges)
    near = chosen.copy()
    for found in tree.query_ball_point(tree.data[chosen], TOGETHER):
        near[found] = True
    return near


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def _longest(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def _state(atoms: Atoms, free: np.ndarray) -> dict[str, float]:
    state = {'max_force': _longest(atoms.get_forces(apply_constraint=False)[free])}
    if 'gamma' in atoms.calc.results:
        state['gamma'] = float(np.max(atoms.calc.results['gamma'][free], initial=0.0))
    return state
