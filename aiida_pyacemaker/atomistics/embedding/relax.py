"""The boundary of an embedded cell, eased where it hurts and adjusted until the core feels what it felt in the parent.

Both with the current potential, with the core and a shell around it frozen:

1. *Ease.* Where the cut closes on itself atoms sit too close or too far apart. Atoms at the faces follow the force that
   they have in the cell beyond the one that they have in the parent, both by the current potential, against springs:
   an atom whose surroundings are those of the parent does not move. A relaxation to zero force would take away the
   thermal displacements that the forces on the core come from.
2. *Match.* What lies beyond the faces still is not what was there. The smallest displacements of the boundary that give
   the core the forces that it has in the parent, according to the current potential: a least-squares problem, solved by
   LSQR (C. C. Paige, M. A. Saunders, ACM Trans. Math. Softw. 8, 43 (1982)), whose products with the force constants
   are differences of forces. Hundredths of an Å do; the error of the potential enters only in what is made up for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.optimize import FIRE
from scipy.sparse.linalg import LinearOperator, lsqr

from .environments import Region

#: Springs that hold atoms that are eased, eV/Å².
TETHER_STIFFNESS = 3.0
#: Å of matter around the atoms of which the forces in the parent are wanted.
RANGE = 6.0
#: Iterations of the matching, damping as a share of the largest response, displacement (Å) for differences of forces,
#: and largest one of the result.
ITERATIONS = 10
DAMPING = 0.03
DIFFERENCE_STEP = 0.01
MAX_DISPLACEMENT = 0.15


def reference_forces(region: Region, rows: np.ndarray, calculator: Calculator) -> np.ndarray:
    """Forces (k, 3) in eV/Å on atoms of the parent by a calculator.

    :param region: with the axes of the cell. :param rows: (k,) atoms of it, around its centre.
    """
    distance = np.linalg.norm(region.positions, axis=1)
    inside = np.flatnonzero(distance <= distance[rows].max() + RANGE)
    ball = Atoms(region.numbers[inside], region.positions[inside])
    # in a box with vacuum, since not every calculator takes open boundaries
    ball.center(vacuum=RANGE)
    ball.pbc = True
    ball.calc = calculator
    return ball.get_forces()[np.searchsorted(inside, rows)]


class _Excess(Calculator):
    """What a calculator gives beyond constant forces, and springs: what moves the boundary, and nothing else."""

    implemented_properties = ('energy', 'forces')

    def __init__(self, calculator: Calculator, start: Atoms, forces: np.ndarray) -> None:
        super().__init__()
        self.calculator, self.constant, self.start = calculator, forces, start.positions.copy()

    def calculate(self, atoms: Any = None, properties: Any = ('energy',), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        inner = self.atoms.copy()
        inner.calc = self.calculator
        moved = inner.positions - self.start
        self.results = {
            'energy': inner.get_potential_energy()
            - (self.constant * moved).sum()
            + 0.5 * TETHER_STIFFNESS * (moved**2).sum(),
            'forces': inner.get_forces() - self.constant - TETHER_STIFFNESS * moved,
        }


def relax_buffer(
    cell: Atoms,
    free: np.ndarray,
    calculator: Calculator,
    steps: int,
    force: float,
    *,
    parent_forces: np.ndarray | None = None,
    threshold: float | None = None,
) -> tuple[Atoms, dict[str, Any]]:
    """Ease the boundary until no force on a free atom is above `force` beyond what it is in the parent.

    :param free: (n,) bool, the atoms that may move. :param steps: at most. :param force: eV/Å.
    :param parent_forces: (n, 3) eV/Å by the same calculator; zeros by default.
    :param threshold: of gamma, where the calculator gives `gamma`: the boundary is known if no atom is above it that
        is free.
    :returns: the relaxed cell, without calculator, and a report: `steps`, `relaxed_atoms`, `max_force` (before, after),
        `moved` (Å, the largest displacement), and with gamma `max_gamma` (before, after), `known`.
    """
    relaxed = cell.copy()
    constant = np.zeros((len(cell), 3)) if parent_forces is None else parent_forces
    before = _state(relaxed, free, calculator)
    taken = 0
    if steps and free.any():
        relaxed.set_constraint(FixAtoms(mask=~free))
        relaxed.calc = _Excess(calculator, cell, constant)
        optimizer = FIRE(relaxed, logfile=None, maxstep=0.1)
        optimizer.run(fmax=force, steps=steps)
        taken = int(optimizer.get_number_of_steps())
        relaxed.set_constraint()
        relaxed.calc = None
    after = _state(relaxed, free, calculator)
    report: dict[str, Any] = {
        'steps': taken,
        'relaxed_atoms': int(free.sum()),
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
        and `adjusted` (Å, the largest displacement).
    """
    matched = cell.copy()
    trial = cell.copy()
    trial.calc = calculator

    def forces(positions: np.ndarray) -> np.ndarray:
        trial.positions = positions
        return trial.get_forces()

    here = forces(matched.positions)
    missing = wanted - here[core]
    product = _response(forces, matched.positions, here)
    operator = LinearOperator(
        (3 * len(core), 3 * len(free)),
        matvec=lambda vector: product(vector, free, core),
        rmatvec=lambda vector: product(vector, core, free),
    )
    # the size of the largest response; what needs displacements much larger than that one's is left as it is
    gradient = operator.rmatvec(missing.ravel())
    largest = np.linalg.norm(operator.matvec(gradient)) / max(np.linalg.norm(gradient), 1e-300)
    move = lsqr(operator, missing.ravel(), damp=DAMPING * largest, iter_lim=ITERATIONS)[0].reshape(-1, 3)
    move *= min(1.0, MAX_DISPLACEMENT / max(_longest(move), 1e-12))
    matched.positions[free] += move
    after = _rms(wanted - forces(matched.positions)[core])
    if after >= _rms(missing):
        return cell, {'core_force_error': [_rms(missing)] * 2, 'adjusted': 0.0}
    return matched, {'core_force_error': [_rms(missing), after], 'adjusted': _longest(move)}


def _response(forces: Any, positions: np.ndarray, here: np.ndarray) -> Any:
    """Return the product of the force constants with displacements: change of the forces on some atoms as others move.

    The force constants are symmetric, so the transposed product is the same with the roles exchanged.
    """

    def product(vector: np.ndarray, moved: np.ndarray, felt: np.ndarray) -> np.ndarray:
        displacement = np.asarray(vector).reshape(-1, 3)
        scale = DIFFERENCE_STEP / max(_longest(displacement), 1e-300)
        there = positions.copy()
        there[moved] += scale * displacement
        return ((forces(there)[felt] - here[felt]) / scale).ravel()

    return product


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def _longest(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


def _state(cell: Atoms, free: np.ndarray, calculator: Calculator) -> dict[str, float]:
    """Largest force and, where the calculator gives it, gamma on free atoms."""
    atoms = cell.copy()
    atoms.calc = calculator
    state = {'max_force': _longest(atoms.get_forces(apply_constraint=False)[free])}
    if 'gamma' in calculator.results:
        state['gamma'] = float(np.max(calculator.results['gamma'][free], initial=0.0))
    return state
