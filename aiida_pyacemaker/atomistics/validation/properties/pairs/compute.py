"""What holds atoms apart: pairs of atoms pushed together, and crystals compressed, to half of their bond length.

Below the bond length the energy must rise with every step inwards. Where it falls instead, there is a *hole*: atoms
that climb its rim, in a hot simulation sooner or later, fall onto each other. Energies and forces are taken together
(cubic Hermite interpolation), so that a hole between two points is seen where a force tells of it.

Pairs are looked at in the crystals (an atom and its nearest one of a kind approach each other along their line, all
others stay: what happens in a simulation) and in vacuum (dimers, of every pair of elements that the potential knows,
whether or not the two meet in a crystal).
"""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from scipy.interpolate import CubicHermiteSpline

from ....checks.overlap import covalent_distance, element_pairs, shortest_distances
from ....core.frame import labels
from ....variants.squeeze import nearest_pairs
from ....variants.supercell import supercell
from ...defects import outcome
from . import Collapse, Compression, Hole, Pair, Pairs, PairsResult

#: eV by which an energy must fall for a hole: more than the noise of an engine, far less than a thermal energy.
MIN_HOLE_DEPTH = 0.005
#: Points of the interpolation between two computed ones.
INTERPOLATION_POINTS = 40
#: Two elements are neighbours in a crystal if no farther apart than this times the sum of their covalent radii.
BONDED = 1.3
#: The minimum of a dimer is looked for between these parts of the bond length.
WINDOW = (0.75, 1.25)
#: Å; atoms this far apart do not feel each other.
FREE_DISTANCE = 15.0


def plan(crystal: Atoms, parameters: Pairs) -> list[Atoms]:
    """Return the crystal compressed, and its supercells in which two atoms approach each other, to be evaluated.

    Their info has `scale` (of all lengths), or `pair` and `distance` (Å).
    """
    inside = np.linspace(parameters.closest, 1.0, round((1.0 - parameters.closest) / parameters.step) + 1)
    frames = []
    for scale in inside.tolist():
        frame = _bare(crystal)
        frame.set_cell(frame.cell.array * scale, scale_atoms=True)
        frame.info = {'property': 'pairs', 'scale': scale}
        frames.append(frame)
    large = supercell(_bare(crystal), parameters.atoms)
    for kind, found in sorted(nearest_pairs(large).items()):
        first, second, vector = min(found, key=lambda pair: round(float(np.linalg.norm(pair[2])), 6))
        for part in inside.tolist():
            frame = large.copy()
            frame.positions[first] += 0.5 * (1 - part) * vector
            frame.positions[second] -= 0.5 * (1 - part) * vector
            distance = part * float(np.linalg.norm(vector))
            frame.info = {'property': 'pairs', 'pair': '-'.join(kind), 'distance': distance}
            frame.info |= {'atoms': [first, second], 'direction': (vector / np.linalg.norm(vector)).tolist()}
            frames.append(frame)
    return frames


def analyse(crystal: Atoms, labelled: list[Atoms], parameters: Pairs) -> PairsResult:
    """Return `pairs`, see :func:`pair_curve`, relative to the crystal; and `compression`.

    `compression`: scales (of all lengths), volumes (Å³/atom), energies (eV/atom, relative to the crystal), pressures
    (GPa), monotone, hole: None, or scale and volume (Å³/atom) of its rim, energy (eV/atom) to reach it, pressure (GPa,
    the largest on the way there: under more, the crystal collapses), bottom (Å³/atom), depth (eV/atom below the rim).

    :param labelled: the frames of :func:`plan`.
    """
    curves: dict[str, list[Atoms]] = {}
    for frame in labelled:
        if 'pair' in frame.info:
            curves.setdefault(frame.info['pair'], []).append(frame)
    pairs = {}
    for name, frames in curves.items():
        last = max(frames, key=lambda frame: frame.info['distance'])
        pairs[name] = pair_curve(frames, float(labels(last)['energy']), last.info['distance'])
    return outcome({'pairs': pairs, 'compression': _compression([a for a in labelled if 'scale' in a.info])})


def plan_dimers(crystals: list[Atoms], elements: list[str], parameters: Pairs) -> list[Atoms]:
    """Return dimers of every pair of elements in vacuum, and each pair far apart; their info has `pair`, `distance`.

    :param crystals: whose shortest distances are the bond lengths of elements that are neighbours in one of them; of
        others it is the sum of the covalent radii.
    """
    shortest = shortest_distances(crystals)
    parts = np.linspace(
        parameters.closest,
        parameters.farthest,
        round((parameters.farthest - parameters.closest) / parameters.step) + 1,
    )
    frames = []
    for pair in element_pairs(elements):
        covalent = covalent_distance(pair)
        bond = shortest.get(pair, np.inf)
        bond = bond if bond < BONDED * covalent else covalent
        for distance in [*(bond * parts).tolist(), FREE_DISTANCE]:
            frame = Atoms(pair, [[0, 0, 0], [distance, 0, 0]], cell=[FREE_DISTANCE + 12.0, 12.0, 12.0])
            frame.center()
            frame.info = {'property': 'pairs', 'pair': '-'.join(pair), 'distance': distance, 'bond': bond}
            frame.info |= {'atoms': [0, 1], 'direction': [1.0, 0.0, 0.0]}
            frames.append(frame)
    return frames


def analyse_dimers(labelled: list[Atoms], parameters: Pairs) -> PairsResult:
    """Return `pairs`, see :func:`pair_curve`, relative to the two atoms far apart.

    :param labelled: the frames of :func:`plan_dimers`.
    """
    curves: dict[str, list[Atoms]] = {}
    for frame in labelled:
        curves.setdefault(frame.info['pair'], []).append(frame)
    pairs = {}
    for name, frames in curves.items():
        apart = next(frame for frame in frames if frame.info['distance'] == FREE_DISTANCE)
        near = [frame for frame in frames if frame is not apart]
        pairs[name] = pair_curve(near, float(labels(apart)['energy']), None)
    return outcome({'pairs': pairs})


def pair_curve(frames: list[Atoms], reference: float, start: float | None) -> Pair:
    """Return what a pair of atoms does as it is pushed together.

    :param frames: labelled, of one pair.
    :param reference: eV, what energies are relative to.
    :param start: Å, the distance below which the two must repel each other; None: the minimum of the curve.
    :returns: distances (Å, ascending), energies (eV), forces (eV/Å, of one atom along the line, positive if the two
        repel each other), minimum (Å, where repulsion must begin), shortest (Å), monotone, hole: None, or distance (Å)
        and energy (eV above the minimum) of its rim, bottom (Å) and depth (eV below the rim).
    """
    frames = sorted(frames, key=lambda frame: frame.info['distance'])
    distances = np.array([frame.info['distance'] for frame in frames])
    energies = np.array([float(labels(frame)['energy']) for frame in frames]) - reference
    forces = np.array([_repulsion(frame) for frame in frames])
    points, values = interpolate(distances, energies, -forces)
    begin = _minimum(points, values, float(frames[0].info['bond'])) if start is None else start
    hole = find_hole(points, values, begin)
    return {
        'distances': distances.tolist(),
        'energies': energies.tolist(),
        'forces': forces.tolist(),
        'minimum': begin,
        'shortest': float(distances[0]),
        'monotone': hole is None,
        'hole': hole,
    }


def interpolate(x: np.ndarray, energies: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points between those computed, and the energies there: cubic Hermite interpolation, in each interval.

    Where an interval and both slopes at its ends go the same way, so does the curve: a repulsion that grows by orders
    of magnitude in one step would else overshoot. For that it is enough that no slope exceeds three times that of the
    chord (Fritsch and Carlson, SIAM J. Numer. Anal. 17, 238 (1980)).
    """
    points, values = [x[:1]], [energies[:1]]
    for k in range(len(x) - 1):
        chord = (energies[k + 1] - energies[k]) / (x[k + 1] - x[k])
        ends = slopes[k : k + 2]
        if (ends * chord >= 0).all():
            ends = np.clip(ends, -3 * abs(chord), 3 * abs(chord))
        points.append(np.linspace(x[k], x[k + 1], INTERPOLATION_POINTS + 1)[1:])
        values.append(CubicHermiteSpline(x[k : k + 2], energies[k : k + 2], ends)(points[-1]))
    return np.concatenate(points), np.concatenate(values)


def find_hole(points: np.ndarray, values: np.ndarray, begin: float) -> Hole | None:
    """Return where the energy falls again inwards of `begin`; None if it rises all the way.

    :param points: ascending; `values`: the energies there.
    :returns: distance and energy (above that at `begin`) of the rim, bottom and depth (below the rim).
    """
    inside = points <= begin + 1e-9
    points, energies = points[inside][::-1], values[inside][::-1]
    falls = np.flatnonzero(np.maximum.accumulate(energies) - energies > MIN_HOLE_DEPTH)
    if not len(falls):
        return None
    top = int(np.argmax(energies[: falls[0]]))
    bottom = top + int(np.argmin(energies[top:]))
    return {
        'distance': float(points[top]),
        'energy': float(energies[top] - energies[0]),
        'bottom': float(points[bottom]),
        'depth': float(energies[top] - energies[bottom]),
    }


def _minimum(points: np.ndarray, energies: np.ndarray, bond: float) -> float:
    """Return the minimum of a dimer's curve: the lowest within the window; without one, where its lowest point leads.

    A molecule such as N2 has a far shorter bond than the sum of the covalent radii: its energy falls all the way.
    """
    window = np.flatnonzero((points >= WINDOW[0] * bond) & (points <= WINDOW[1] * bond))
    minima = window[1:-1][(np.diff(energies[window])[:-1] < 0) & (np.diff(energies[window])[1:] > 0)]
    if len(minima):
        return float(points[minima[np.argmin(energies[minima])]])
    lowest = int(window[np.argmin(energies[window])])
    while lowest > 0 and energies[lowest - 1] < energies[lowest]:
        lowest -= 1
    return float(points[lowest])


def _compression(frames: list[Atoms]) -> Compression:
    frames = sorted(frames, key=lambda frame: frame.info['scale'])
    scales = np.array([frame.info['scale'] for frame in frames])
    volumes = np.array([frame.get_volume() / len(frame) for frame in frames])
    energies = np.array([float(labels(frame)['energy']) / len(frame) for frame in frames])
    energies -= energies[-1]
    # all lengths are proportional to the scale s, so that dE/ds = V tr(stress) / s
    traces = np.array([labels(frame)['stress'][:3].sum() for frame in frames])
    hole = find_hole(*interpolate(scales, energies, volumes * traces / scales), 1.0)
    pressures = -traces / 3 / units.GPa
    collapse: Collapse | None = None
    if hole is not None:
        scale = hole['distance']
        collapse = {
            'scale': scale,
            'volume': scale**3 * float(volumes[-1]),
            'energy': hole['energy'],
            'pressure': float(pressures[scales >= scale].max()),
            'bottom': hole['bottom'] ** 3 * float(volumes[-1]),
            'depth': hole['depth'],
        }
    return {
        'scales': scales.tolist(),
        'volumes': volumes.tolist(),
        'energies': energies.tolist(),
        'pressures': pressures.tolist(),
        'monotone': hole is None,
        'hole': collapse,
    }


def _repulsion(frame: Atoms) -> float:
    """Return the force (eV/Å) that drives two atoms apart: minus the change of the energy with their distance."""
    first, second = frame.info['atoms']
    forces = labels(frame)['forces']
    return float(0.5 * (forces[second] - forces[first]) @ np.array(frame.info['direction']))


def _bare(crystal: Atoms) -> Atoms:
    return Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
