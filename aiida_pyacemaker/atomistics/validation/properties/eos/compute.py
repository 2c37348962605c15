"""Equation of state: energies and pressures of a crystal over a range of volumes, and how smooth they are.

The cell keeps its shape and the ions their fractional coordinates: single points only, the same for every potential.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState
from scipy.ndimage import label as number_clusters

from ....core.frame import labels
from ..elasticity.compute import standard_cell
from . import Eos, EosResult, Fit

#: Part of the volume on either side of the minimum that the equations of state are fitted to.
#: Over 20 % the bulk modulus of tabulated embedded-atom potentials is off by up to 17 % of that of the elastic
#: constants, over 5 % by up to 2.5 %: the equations have too few parameters for real curves (measured by
#: tests/benchmarks/bench_elasticity.py, as what follows).
WINDOW = 0.05
#: Fewest points of a fit.
MIN_POINTS = 7
#: Largest fourth difference of the pressure, in parts of the bulk modulus, of a smooth curve in steps of 1 % of the
#: volume. Jumps stay, what is smooth vanishes: 14 potentials (EMT, embedded atom, Stillinger-Weber, Tersoff, ACE) have
#: 0.004 at most; a pressure that jumps by 1 % of the bulk modulus has 0.03, a bulk modulus that doubles 0.01.
MAX_JUMP = 0.01
#: The step, in parts of the volume.
JUMP_STEP = 0.01
#: Largest jump, in parts of the bulk modulus, of the difference between the pressure by energies and by the stress:
#: the same potentials have 0.0003 at most; with a step of 0.3 meV/atom in the energy they have 0.0023 at least.
MAX_MISMATCH = 0.001


def plan(crystal: Atoms, parameters: Eos | None = None) -> list[Atoms]:
    """Return the primitive cell of a crystal at all volumes, from the smallest on.

    :raises ValueError: if the structure is no crystal.
    """
    parameters = parameters or Eos()
    primitive, frames = standard_cell(crystal), []
    for scale in np.linspace(1 - parameters.range, 1 + parameters.range, parameters.points):
        frame = primitive.copy()
        frame.info = {'property': 'eos'}
        frame.set_cell(primitive.cell.array * scale ** (1 / 3), scale_atoms=True)
        frames.append(frame)
    return frames


def analyse(crystal: Atoms, labelled: list[Atoms], parameters: Eos | None = None) -> EosResult:
    """Return the equation of state.

    :param crystal: the one the frames were made of: the minimum is looked for from its volume on.
    :param labelled: the frames of :func:`plan` with energy and stress.
    :returns: `volumes` (Å³/atom), `energies` (eV/atom), `pressures` (GPa, of the stress); `birch_murnaghan` and `vinet`
        with `v0` (Å³/atom), `e0` (eV/atom), `b0` (GPa), `b0_prime`, `rms` (eV/atom); `monotone` (whether the energy
        rises from the minimum to both ends) and `holes` (Å³/atom, volumes at which it falls instead); `smooth`, `kinks`
        (Å³/atom, where it is not) and `roughness` (of the pressure and of the energy against it, in parts of what a
        smooth curve may have: see `MAX_JUMP` and `MAX_MISMATCH`); `pressure_check` (GPa: largest difference between
        the mean pressure from one volume to the next by the energies and by the stresses).
    :raises ValueError: if a label is missing, or there is no minimum within the range.
    """
    del parameters
    volumes, energies, pressures = np.array(sorted(_row(atoms) for atoms in labelled)).T
    lowest = _minimum(volumes, energies, crystal.get_volume() / len(crystal))
    forms = {'birch_murnaghan': 'birchmurnaghan', 'vinet': 'vinet'}
    fits = {name: _fit(volumes, energies, volumes[lowest], form) for name, form in forms.items()}
    bulk = fits['birch_murnaghan']['b0']
    falls = np.r_[np.diff(energies[: lowest + 1]) > 0, False, np.diff(energies[lowest:]) < 0]
    holes = volumes[falls].tolist()
    difference = _pressure_difference(volumes, energies, pressures)
    kinks, roughness = _kinks(volumes, pressures / bulk, difference / bulk)
    return {
        'status': 'ok',
        'message': '',
        'volumes': volumes.tolist(),
        'energies': energies.tolist(),
        'pressures': pressures.tolist(),
        'birch_murnaghan': fits['birch_murnaghan'],
        'vinet': fits['vinet'],
        'monotone': not holes,
        'holes': holes,
        'smooth': not kinks,
        'kinks': kinks,
        'roughness': roughness,
        'pressure_check': float(np.abs(difference).max()),
    }


def _row(atoms: Atoms) -> tuple[float, float, float]:
    found = labels(atoms)
    missing = {'energy', 'stress'} - set(found)
    if missing:
        raise ValueError(f'a volume of the equation of state has no {" and no ".join(sorted(missing))}')
    pressure = -float(np.mean(found['stress'][:3])) / units.GPa
    return atoms.get_volume() / len(atoms), float(found['energy']) / len(atoms), pressure


def _minimum(volumes: np.ndarray, energies: np.ndarray, start: float) -> int:
    """Return where one comes to downhill from a volume: a hole elsewhere may be deeper than the minimum."""
    lowest = int(np.argmin(np.abs(volumes - start)))
    while 0 < lowest < len(volumes) - 1:
        following = lowest - 1 + int(np.argmin(energies[lowest - 1 : lowest + 2]))
        if following == lowest:
            return lowest
        lowest = following
    raise ValueError(
        f'the energy has no minimum near {start:.2f} Å³/atom, it falls until {volumes[lowest]:.2f}: start from a '
        'crystal near its equilibrium, or learn from compressed and stretched cells'
    )


def _fit(volumes: np.ndarray, energies: np.ndarray, centre: float, form: str) -> Fit:
    """Fit an equation of state to the volumes next to its minimum, which is looked for twice."""
    for _ in range(2):
        near = np.abs(volumes / centre - 1)
        chosen = near <= max(WINDOW * (1 + 1e-6), np.sort(near)[MIN_POINTS - 1])
        equation = EquationOfState(volumes[chosen], energies[chosen], eos=form)
        try:
            centre, energy, bulk = equation.fit(warn=False)
        except RuntimeError as exception:
            raise ValueError(f'no equation of state ({form}) fits the energies: {exception}') from exception
    difference = energies[chosen] - equation.func(volumes[chosen], *equation.eos_parameters)
    return {
        'v0': float(centre),
        'e0': float(energy),
        'b0': float(bulk / units.GPa),
        'b0_prime': float(equation.eos_parameters[2]),
        'rms': float(np.sqrt(np.mean(difference**2))),
    }


def _pressure_difference(volumes: np.ndarray, energies: np.ndarray, pressures: np.ndarray) -> np.ndarray:
    """Return mean pressures (GPa) between volumes, by the energies minus by the stresses; not of the two ends.

    The mean of a curve between two of equally spaced points is that of the cubic through them and their neighbours.
    """
    by_energy = -np.diff(energies)[1:-1] / np.diff(volumes)[1:-1] / units.GPa
    by_stress = (13 * (pressures[1:-2] + pressures[2:-1]) - pressures[:-3] - pressures[3:]) / 24
    return by_energy - by_stress


def _kinks(volumes: np.ndarray, pressures: np.ndarray, difference: np.ndarray) -> tuple[list[float], float]:
    """Return the volumes where a curve is not smooth, and its roughness.

    :param pressures: in parts of the bulk modulus, as the difference of :func:`_pressure_difference`.
    """
    coarse = max(1.0, np.ptp(volumes) / (len(volumes) - 1) / np.mean(volumes) / JUMP_STEP)
    jumps = np.abs(np.diff(pressures, 4)) / (MAX_JUMP * coarse**4)
    # a constant difference is an error of the stress, such as that of a plane-wave basis, and no kink
    steps = np.abs(difference[1:-1] - (difference[:-2] + difference[2:]) / 2) / (MAX_MISMATCH * coarse**4)
    found = np.zeros(len(volumes))
    found[2:-2] = jumps
    middles = np.zeros(len(volumes) - 1)
    middles[2:-2] = steps
    places = np.concatenate([volumes, (volumes[1:] + volumes[:-1]) / 2])
    order = np.argsort(places)
    rough, places = np.concatenate([found, middles])[order], places[order]
    # one jump is seen by its neighbours, too: points with no smooth one between them are one kink
    seen = np.convolve(rough > 1, np.ones(3), mode='same') > 0
    clusters, count = number_clusters(seen)
    kinks = [float(np.average(places[clusters == k], weights=rough[clusters == k])) for k in range(1, count + 1)]
    return kinks, float(rough.max())
