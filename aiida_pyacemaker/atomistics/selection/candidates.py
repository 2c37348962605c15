"""Local candidates around a configuration."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from ..checks.overlap import overlapping

#: Draws per candidate before giving up.
ATTEMPTS = 50
#: Å around the core of an embedded cell over which displacements fade.
FADING_DISTANCE = 4.0
#: Atoms within so many Å of an uncertain one take part in its normal modes.
MODE_RADIUS = 4.0
#: Å: the largest displacement in a finite difference of forces.
DIFFERENCE_STEP = 0.01
#: Relative accuracy of the curvatures: directions are wanted, not numbers.
MODE_TOLERANCE = 0.05
#: Steps of a micro-burst between two of its frames.
BURST_STEPS = 10
#: Frames of each micro-burst.
BURST_FRAMES = 5
#: fs, of an atom with the mass of carbon.
BURST_TIMESTEP = 1.0
#: K, where a frame does not know the temperature of its simulation.
BURST_TEMPERATURE = 600.0


def displaced(atoms: Atoms, n: int, amplitude: float, rng: np.random.Generator) -> list[Atoms]:
    """Return n copies with every coordinate displaced by a Gaussian of width `amplitude` (Å), none overlapping.

    Of an embedded cell (array `force_weights`) the core is displaced, and what is near it by less: the boundary stays
    as it was closed.

    :raises ValueError: if hardly any draw is free of overlap.
    """
    widths = amplitude * _shares(atoms)[:, None]
    candidates = []
    for _ in range(n):
        for _ in range(ATTEMPTS):
            candidate = moved(atoms, widths * rng.normal(size=(len(atoms), 3)))
            if not overlapping(candidate):
                candidates.append(candidate)
                break
        else:
            raise ValueError(
                f'{atoms.get_chemical_formula()}: atoms overlap after displacements of {amplitude} Å: '
                'lower the displacement'
            )
    return candidates


def along_modes(atoms: Atoms, n: int, amplitude: float, calculator: Calculator, uncertain: np.ndarray) -> list[Atoms]:
    """Return at most n copies, displaced to either side along the stiffest normal modes around the uncertain atoms.

    Along these the potential changes fastest, so that what it says there depends most on what it learned.

    :param amplitude: displacement (Å) of the atom that moves farthest.
    :param calculator: of the potential. :param uncertain: indices of the uncertain atoms.
    """
    near = np.min([atoms.get_distances(atom, range(len(atoms)), mic=True) for atom in uncertain], axis=0)
    movable = np.flatnonzero((near <= MODE_RADIUS) & (_shares(atoms) > 0))
    if len(movable) == 0:
        return []
    candidates = []
    for mode in stiffest_modes(atoms, movable, -(-n // 2), calculator)[1]:
        step = amplitude * mode / np.linalg.norm(mode, axis=1).max()
        candidates += [moved(atoms, step), moved(atoms, -step)]
    return [candidate for candidate in candidates if not overlapping(candidate)][:n]


def stiffest_modes(
    atoms: Atoms, movable: np.ndarray, number: int, calculator: Calculator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions of the largest curvature of the energy, if only some atoms move.

    The Hessian is never made: Lanczos (ARPACK) needs its products with vectors, which are differences of forces. A
    large negative curvature counts as well: a young potential has holes.

    :param movable: indices of the atoms that move.
    :returns: curvatures (k,) in eV/Å² and unit vectors (k, n_atoms, 3), the stiffest first; k is `number` or less.
    """
    size = 3 * len(movable)

    def product(vector: np.ndarray) -> np.ndarray:
        direction = np.zeros((len(atoms), 3))
        direction[movable] = vector.reshape(-1, 3)
        step = DIFFERENCE_STEP / np.linalg.norm(direction, axis=1).max()
        behind, ahead = (_forces(moved(atoms, sign * step * direction), calculator) for sign in (-1, 1))
        return ((behind - ahead) / (2 * step))[movable].ravel()

    operator = LinearOperator((size, size), matvec=product, dtype=float)
    # the start of ARPACK is random otherwise, and the choice would be another every time
    start = np.random.default_rng(0).normal(size=size)
    try:
        curvatures, vectors = eigsh(operator, min(number, size - 1), which='LM', v0=start, tol=MODE_TOLERANCE)
    except ArpackNoConvergence as exception:
        curvatures, vectors = exception.eigenvalues, exception.eigenvectors
    order = np.argsort(-np.abs(curvatures))
    modes = np.zeros((len(order), len(atoms), 3))
    modes[:, movable] = vectors.T[order].reshape(len(order), -1, 3)
    return curvatures[order], modes


def bursts(atoms: Atoms, n: int, calculator: Calculator, rng: np.random.Generator) -> list[Atoms]:
    """Return at most n frames of short simulations with the potential that begin at a frame.

    The velocities are drawn again for every burst, from the temperature in info `temperature` (K); the volume stays. A
    burst ends where atoms overlap. The boundary of an embedded cell does not move.
    """
    candidates: list[Atoms] = []
    timestep = BURST_TIMESTEP * np.sqrt(atoms.get_masses().min() / 12.0) * units.fs
    for begin in range(0, n, BURST_FRAMES):
        work = moved(atoms, 0.0)
        work.set_constraint(FixAtoms(np.flatnonzero(_shares(atoms) == 0)))
        temperature = float(atoms.info.get('temperature', BURST_TEMPERATURE))
        widths = np.sqrt(units.kB * temperature * work.get_masses())[:, None]
        work.set_momenta(widths * rng.normal(size=(len(work), 3)))
        Stationary(work)
        work.calc = calculator
        dynamics = VelocityVerlet(work, timestep)
        for _ in range(min(BURST_FRAMES, n - begin)):
            dynamics.run(BURST_STEPS)
            if not np.all(np.isfinite(work.positions)) or overlapping(work):
                break
            candidates.append(moved(atoms, work.positions - atoms.positions))
    return candidates


def moved(atoms: Atoms, displacement: np.ndarray | float) -> Atoms:
    """Return a copy without labels whose atoms are displaced ((n, 3), Å)."""
    copy = atoms.copy()
    copy.calc = None
    copy.positions += displacement
    return copy


def _forces(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    calculator.calculate(atoms)
    return np.array(calculator.results['forces'])


def _shares(atoms: Atoms) -> np.ndarray:
    """How much each atom is displaced (n,): 1 in the core, falling to 0 over `FADING_DISTANCE` beyond it."""
    weights = atoms.arrays.get('force_weights')
    if weights is None or np.all(weights > 0):
        return np.ones(len(atoms))
    distance = np.min([atoms.get_distances(index, range(len(atoms)), mic=True) for index in np.flatnonzero(weights)], 0)
    return np.clip(1 - distance / FADING_DISTANCE, 0, 1)
