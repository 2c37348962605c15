"""Wrong units in labelled data, found by magnitude and by consistency.

Lengths show in the shortest bonds. Energies, forces and stresses belong together: between two configurations of the
same atoms that lie close to each other, the energy changes by the work of the mean forces and stresses (the trapezoidal
rule, exact as far as the crystal is harmonic). A unit that is wrong appears as a factor, and forces that are gradients
as a minus sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii

from ..core.frame import is_isolated_atom
from ..core.neighbours import neighbour_pairs

if TYPE_CHECKING:
    from .training_set import LabelledFrame

KCAL = units.kcal / units.mol
KJ = units.kJ / units.mol
RY_BOHR = units.Ry / units.Bohr
HA_BOHR = units.Ha / units.Bohr
#: Mistakes people make -> the factor by which energies then change, relative to the work of the forces.
FORCE_MISTAKES = {
    'the energies look like Ry': 1 / units.Ry,
    'the energies look like Hartree': 1 / units.Ha,
    'the energies look like kcal/mol': 1 / KCAL,
    'the energies look like kJ/mol': 1 / KJ,
    'the energies look like meV': 1e3,
    'the forces look like Ry/bohr': RY_BOHR,
    'the forces look like Hartree/bohr': HA_BOHR,
    'the forces look like kcal/mol/Å': KCAL,
    'the forces look like kJ/mol/nm': 0.1 * KJ,
    'the forces look like meV/Å': 1e-3,
    'energies and forces look like Ry and Ry/bohr, or Hartree and Hartree/bohr': 1 / units.Bohr,
    'energies and forces look like kJ/mol and kJ/mol/nm, or eV and eV/nm': 0.1,
}
#: The same for the work of the stresses.
STRESS_MISTAKES = {
    'the stresses look like GPa': units.GPa,
    'the stresses look like kbar': 0.1 * units.GPa,
    'the stresses look like bar': 1e-4 * units.GPa,
    'the stresses look like Ry/bohr³': units.Ry / units.Bohr**3,
    'the stresses look like Hartree/bohr³': units.Ha / units.Bohr**3,
    'the energies look like Ry': 1 / units.Ry,
    'the energies look like Hartree': 1 / units.Ha,
    'the energies look like kcal/mol': 1 / KCAL,
}
#: The shortest bond over the sum of the covalent radii is 0.8 to 1.3 in molecules, metals and salts; noble gases, whose
#: radii say nothing, are not looked at. In bohr it would be 1.5 to 2.4, in nanometres 0.08 to 0.13.
LONG_BOND_RATIO = 1.55
SHORT_BOND_RATIO = 0.45
NOBLE = (2, 10, 18, 36, 54, 86)
#: Volume per atom (Å³) that no matter has: hydrogen at 500 GPa has 1.2.
MIN_VOLUME_PER_ATOM = 0.7
#: Configurations whose bonds are looked at, and those whose energies are compared with others.
SAMPLED_CONFIGURATIONS = 30
COMPARED_CONFIGURATIONS = 200
#: Two configurations are close if their atoms differ by this (Å, root mean square) and their cells by this strain.
#: Each is compared with so many before it.
NEAR_DISTANCE = 0.4
NEAR_STRAIN = 0.04
COMPARED_WITH = 3
#: Closer ones are enough by themselves if they are so many: the trapezoidal rule is better there.
CLOSE_DISTANCE = 0.25
MIN_CLOSE_PAIRS = 10
#: A factor counts if it is known so well (relative), from so many pairs; and is wrong if it differs from 1 by more than
#: this.
MAX_FACTOR_ERROR = 0.1
MIN_PAIRS = 6
WRONG_FACTOR = 1.6
#: A known mistake explains a factor that it meets within this (logarithm): anharmonic data give 0.8 to 1.2 for 1.
MATCH_TOLERANCE = 0.3


def length_problem(frames: list[Atoms]) -> str | None:
    """Return what is wrong with the unit of length, judged by the shortest bond of each configuration."""
    frames = [atoms for atoms in frames if not is_isolated_atom(atoms) and not np.isin(atoms.numbers, NOBLE).any()]
    ratios = [_bond(atoms) for atoms in frames[:: max(1, len(frames) // SAMPLED_CONFIGURATIONS)]]
    if not ratios:
        return None
    ratio, bond = np.median(ratios, axis=0)
    found = f'the shortest distance of two atoms is {bond:.3g} Å (median), {ratio:.2g} times a usual bond'
    if ratio > LONG_BOND_RATIO:
        return f'{found}: positions and cells look like bohr; multiply them by 0.529177'
    if ratio < SHORT_BOND_RATIO / 2:
        return f'{found}: positions and cells look like nanometres; multiply them by 10'
    if ratio < SHORT_BOND_RATIO:
        return f'{found}: positions look like scaled ones, or the cells do not belong to them; give both in Å'
    return None


def label_problems(frames: list[LabelledFrame]) -> tuple[list[str], list[str]]:
    """Return what is wrong with the units of labels: what is certain, as it is explained by a unit or a sign, and what
    is strange.

    :param frames: configurations whose lengths are right.
    """
    certain: list[str] = []
    strange: list[str] = []
    groups = _groups(frames)
    stride = max(1, sum(map(len, groups)) // COMPARED_CONFIGURATIONS)
    pairs = [pair for group in groups for pair in _close_pairs(group, stride)]
    by_name: dict[str, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        by_name[pair.name].append(pair)
    for name, found in {**by_name, 'all': pairs}.items():
        for text, explained in _judge(found):
            (certain if explained else strange).append(f'{text} (configurations of {name}: {len(found)} close pairs)')
        if certain or strange:
            break
    return certain, strange


@dataclass
class _Pair:
    """Two configurations close to each other: distance of the atoms (Å), change of energy and work of forces and of
    stresses (eV)."""

    name: str
    distance: float
    change: float
    force_work: float
    stress_work: float


def _bond(atoms: Atoms) -> tuple[float, float]:
    """Shortest distance over the sum of the covalent radii, and that distance (Å)."""
    radii = covalent_radii[atoms.numbers]
    if atoms.pbc.all() and atoms.get_volume() < MIN_VOLUME_PER_ATOM * len(atoms):
        # a list of neighbours in so small a cell takes long
        bond = float(np.cbrt(atoms.get_volume() / len(atoms)))
        return bond / (2 * radii.mean()), bond
    for reach in (0.3, 1.3, 6.0):  # the cell may be tiny
        first, second, distance = neighbour_pairs('ijd', atoms, list(reach * radii))
        if len(distance):
            ratios = distance / (radii[first] + radii[second])
            best = int(np.argmin(ratios))
            return float(ratios[best]), float(distance[best])
    return np.nan, np.nan


def _groups(frames: list[LabelledFrame]) -> list[list[LabelledFrame]]:
    """Configurations of the same atoms in the same order, of one kind, of which everything counts.

    Frames that carry predictions come from the loop and were labelled in the units of this package: they are left out,
    since hot frames in a row look like a mistake.
    """
    groups: dict[tuple[str, bytes, bytes], list[LabelledFrame]] = defaultdict(list)
    for frame in frames:
        atoms = frame.atoms
        if 'predicted_forces' in atoms.arrays:
            continue
        if frame.energy is not None and frame.counting.all() and not frame.is_free_atom:
            groups[frame.group, atoms.numbers.tobytes(), atoms.pbc.tobytes()].append(frame)
    return list(groups.values())


def _close_pairs(group: list[LabelledFrame], stride: int) -> Iterator[_Pair]:
    """Compare each configuration with the closest of those just before it."""
    for index in range(1, len(group), stride):
        pairs = [_compare(other, group[index]) for other in group[max(0, index - COMPARED_WITH) : index]]
        yield from sorted((pair for pair in pairs if pair is not None), key=lambda pair: pair.distance)[:1]


def _compare(one: LabelledFrame, other: LabelledFrame) -> _Pair | None:
    """Work from one configuration to another; none where they are far apart, or equal, or where the cells differ and
    there is no stress."""
    if one.energy is None or other.energy is None:
        return None
    displacement, strain = _difference(one.atoms, other.atoms)
    distance = float(np.sqrt(np.square(displacement).sum(axis=1).mean()))
    strained = np.abs(strain).max() > 1e-6
    if distance > NEAR_DISTANCE or np.abs(strain).max() > NEAR_STRAIN or one.settings != other.settings:
        return None
    if distance < 1e-4 and not strained:
        return None
    stress_work = 0.0
    if strained:
        if one.stress is None or other.stress is None:
            return None
        mean = (one.atoms.get_volume() * one.stress + other.atoms.get_volume() * other.stress) / 2
        stress_work = float(mean @ (strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]))
    force_work = -0.5 * float(np.sum((one.forces + other.forces) * displacement))
    return _Pair(one.group, distance, other.energy - one.energy, force_work, stress_work)


def _difference(one: Atoms, other: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Displacement (n, 3) of the atoms in the mean cell (Å), and strain (3, 3) of the cell."""
    if not one.pbc.all():
        return other.positions - one.positions, np.zeros((3, 3))
    mean = (one.cell.array + other.cell.array) / 2
    strain = np.linalg.solve(mean, other.cell.array - one.cell.array)
    scaled = np.linalg.solve(other.cell.array.T, other.positions.T).T
    scaled -= np.linalg.solve(one.cell.array.T, one.positions.T).T
    scaled -= np.rint(scaled)
    return scaled @ mean, (strain + strain.T) / 2


def _judge(pairs: list[_Pair]) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong, and whether a known mistake explains it; of the stresses only if the forces are right."""
    pairs = sorted(pairs, key=lambda pair: pair.distance)
    pairs = pairs[: max(MIN_CLOSE_PAIRS, sum(pair.distance < CLOSE_DISTANCE for pair in pairs))]
    changes = np.array([pair.change for pair in pairs])
    works = np.array([[pair.force_work, pair.stress_work] for pair in pairs]).reshape(-1, 2)
    kinds = (('forces', 'gradients', FORCE_MISTAKES), ('stresses', 'pressures', STRESS_MISTAKES))
    for factor, error, (what, opposite, mistakes) in zip(*_factors(works, changes), kinds, strict=True):
        if not error < MAX_FACTOR_ERROR * abs(factor) or 1 / WRONG_FACTOR < factor < WRONG_FACTOR:
            continue
        found = f'energies change by {factor:.3g} times the work of the {what}'
        told = [f'the {what} have the wrong sign (they are {opposite})'] if factor < 0 else []
        if not 1 / WRONG_FACTOR < abs(factor) < WRONG_FACTOR:
            told += _explanations(abs(factor), mistakes)
        if told:
            yield f'{found}: {", ".join(told)}; convert them to eV and Å', True
        else:
            yield f'{found}, where it should be 1: check their units, and that they are of the same calculation', False
        return


def _factors(works: np.ndarray, changes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of the changes of energy in the two works, in a second round without the tenth that fits worst;
    factors and standard errors (2,), infinite where a work is never done or pairs are too few."""
    used = np.square(works).sum(axis=0) > 0
    factors, errors = np.ones(2), np.full(2, np.inf)
    keep = np.arange(len(changes))
    for _ in range(2):
        if len(keep) < MIN_PAIRS + used.sum() or not used.any():
            return factors, errors
        table = works[keep][:, used]
        scale = np.maximum(np.sqrt(np.square(table).sum(axis=0)), 1e-300)
        inverse = np.linalg.pinv((table / scale).T @ (table / scale))
        solution = inverse @ (table / scale).T @ changes[keep]
        residuals = changes[keep] - table / scale @ solution
        variance = np.square(residuals).sum() / (len(keep) - used.sum())
        factors[used], errors[used] = solution / scale, np.sqrt(variance * np.diag(inverse)) / scale
        keep = keep[np.sort(np.argsort(np.abs(residuals), kind='stable')[: int(np.ceil(0.9 * len(keep)))])]
    return factors, errors


def _explanations(factor: float, mistakes: dict[str, float]) -> list[str]:
    """Mistakes that would give this factor, the most fitting first."""
    distances = {text: abs(np.log(factor / value)) for text, value in mistakes.items()}
    found = [text for text in sorted(distances, key=lambda text: distances[text]) if distances[text] < MATCH_TOLERANCE]
    return [' or '.join(found)] if found else []
