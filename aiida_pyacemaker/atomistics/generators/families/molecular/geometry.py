"""Geometries of one molecule: turned about its bonds, vibrating, stretched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation

from ....checks.overlap import overlapping
from ....core.chemistry import van_der_waals_radii
from ....core.parameters import require
from ....crystals.molecules import bonded_pairs
from .force_field import harmonic_hessian, normal_modes, thermal_displacement
from .section import Molecular

#: So do atoms of one molecule that are not bonded, with this fraction (neighbours of one atom may be closer).
INNER_CONTACT = 0.60
#: Shorter than this times the sum of the covalent radii, a bond is taken for double and does not turn.
DOUBLE_BOND_RATIO = 0.90
#: Bonds of a displaced molecule stay longer than this times their length.
SHORTEST_BOND = 0.80
#: Bonds of a displaced molecule stay shorter than this times their length.
LONGEST_BOND = 1.25
#: No two atoms are closer than this times the sum of their covalent radii.
OVERLAP = 0.72
#: Two geometries are the same if all distances agree within this (Å).
SAME_TOLERANCE = 0.02
#: Random draws before a kind of displacement or cluster is given up.
MAX_DRAWS = 40


def rotatable_bonds(atoms: Atoms) -> list[tuple[int, int, list[int]]]:
    """Bonds about which a part of the molecule can turn.

    They are single bonds outside rings whose two ends have further neighbours that are not all in line with the bond.

    :returns: the two atoms, and the atoms on the side of the second, which is the smaller one, without itself.
    """
    networkx = require('networkx', 'Finding the bonds that turn')
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(atoms)))
    graph.add_edges_from(bonded_pairs(atoms).tolist())
    found = []
    for first, second in sorted(tuple(sorted(bond)) for bond in networkx.bridges(graph)):
        length = float(np.linalg.norm(atoms.positions[first] - atoms.positions[second]))
        if length < DOUBLE_BOND_RATIO * covalent_radii[atoms.numbers[[first, second]]].sum():
            continue
        rest = graph.copy()
        rest.remove_edge(first, second)
        sides = {end: networkx.node_connected_component(rest, end) for end in (first, second)}
        if len(sides[second]) > len(sides[first]):
            first, second = second, first
        moving = sorted(sides[second] - {second})
        if all(_off_axis(atoms, first, second, side) for side in (sides[first], sides[second])):
            found.append((first, second, moving))
    return found


def turned(atoms: Atoms, bond: tuple[int, int, list[int]], angle: float) -> Atoms:
    """Return the molecule with one side of a bond turned by an angle in degrees."""
    first, second, moving = bond
    changed = atoms.copy()
    axis = atoms.positions[second] - atoms.positions[first]
    arms = atoms.positions[moving] - atoms.positions[second]
    changed.positions[moving] = atoms.positions[second] + arms @ rotation(axis, math.radians(angle)).T
    return changed


def in_box(atoms: Atoms, vacuum: float) -> Atoms:
    """Put a molecule into the middle of a periodic box with right angles, with vacuum (Å) to its images."""
    extent = np.ptp(atoms.positions, axis=0)
    boxed = atoms.copy()
    boxed.set_cell(extent + vacuum)
    boxed.positions += (extent + vacuum) / 2 - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    boxed.pbc = True
    return boxed


def torsions(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    """Grid of turns: about each bond alone, then about several at once; each geometry once."""
    bonds = rotatable_bonds(molecule)
    step = 360.0 / parameters.torsions.points
    known = [_fingerprint(molecule)]
    for angles in _grid(len(bonds), parameters.torsions.points, rng):
        atoms = molecule
        for bond, index in zip(bonds, angles, strict=True):
            atoms = turned(atoms, bond, index * step) if index else atoms
        fingerprint = _fingerprint(atoms)
        if not _intact(atoms, molecule) or any(np.abs(fingerprint - other).max() < SAME_TOLERANCE for other in known):
            continue
        known.append(fingerprint)
        degrees = [float(index * step) for index in angles]
        reason = f'turned by {", ".join(f"{angle:.0f}°" for angle in degrees)} about its bonds'
        yield in_vacuum(atoms, parameters, phase_name([molecule], 'molecule'), reason, torsions=degrees)


def _grid(bonds: int, points: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Indices of angles: all with one bond turned, then random ones with several, a limited number of them."""
    for bond, index in itertools.product(range(bonds), range(1, points)):
        yield tuple(index if k == bond else 0 for k in range(bonds))
    if bonds > 1:
        for _ in range(MAX_DRAWS * points):
            yield tuple(int(k) for k in rng.integers(points, size=bonds))


def vibrations(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.normal_modes
    modes = normal_modes(molecule, harmonic_hessian(molecule))
    for index in range(section.number if len(modes[0]) else 0):
        temperature = section.temperatures[index % len(section.temperatures)]
        atoms = vibrated(molecule, modes, temperature, rng)
        if atoms is not None:
            reason = f'displaced along its vibrations as at {temperature:.0f} K'
            made = {'temperature': temperature, 'index': index}
            yield in_vacuum(atoms, parameters, phase_name([molecule], 'molecule'), reason, **made)


def vibrated(
    molecule: Atoms, modes: tuple[np.ndarray, np.ndarray], temperature: float, rng: np.random.Generator
) -> Atoms | None:
    """Displace a molecule along its vibrations without tearing a bond; None if that fails again and again."""
    for _ in range(MAX_DRAWS):
        atoms = molecule.copy()
        atoms.positions += thermal_displacement(*modes, temperature, rng)
        if _intact(atoms, molecule):
            return atoms
    return None


def stretches(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    """Each bond at several lengths; bonds that are alike by their neighbourhood once."""
    bonds = _different_bonds(molecule)
    if not bonds:
        return
    section = parameters.bonds
    points = max(section.number // len(bonds), 2)
    factors = [f for f in np.linspace(section.minimum, section.maximum, points + 1) if abs(f - 1) > 0.01]
    for factor, (first, second, moving) in itertools.product(factors, bonds):
        atoms = molecule.copy()
        vector = atoms.positions[second] - atoms.positions[first]
        atoms.positions[moving] += (factor - 1) * vector
        if overlapping(atoms, OVERLAP):
            continue
        names = f'{molecule.symbols[first]}-{molecule.symbols[second]}'
        reason = f'one {names} bond {factor:.2f} times as long'
        made = {'bond': [first, second], 'factor': float(factor)}
        yield in_vacuum(atoms, parameters, phase_name([molecule], 'molecule'), reason, **made)


def _different_bonds(molecule: Atoms) -> list[tuple[int, int, list[int]]]:
    """One of each kind of bond, and the atoms that move when it is stretched (in a ring only its second atom)."""
    networkx = require('networkx', 'Stretching bonds')
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(molecule)))
    graph.add_edges_from(bonded_pairs(molecule).tolist())
    bridges = {tuple(sorted(bond)) for bond in networkx.bridges(graph)}
    kinds: dict[Any, tuple[int, int, list[int]]] = {}
    for first, second in bonded_pairs(molecule).tolist():
        names = [
            (molecule.symbols[end], ''.join(sorted(molecule.symbols[list(graph[end])]))) for end in (first, second)
        ]
        length = round(float(np.linalg.norm(molecule.positions[first] - molecule.positions[second])), 2)
        moving = [second]
        if (first, second) in bridges:
            rest = graph.copy()
            rest.remove_edge(first, second)
            moving = sorted(networkx.node_connected_component(rest, second))
        kinds.setdefault((*sorted(names), length), (first, second, moving))
    return list(kinds.values())


def phase_name(molecules: list[Atoms], kind: str) -> str:
    return f'{"-".join(molecule.info["name"] for molecule in molecules)} {kind}'


def in_vacuum(
    atoms: Atoms, parameters: Molecular, phase: str, reason: str, names: list[Atoms] | None = None, **made: Any
) -> Atoms:
    boxed = in_box(atoms, parameters.vacuum)
    molecules = names or [atoms]
    described = describe(boxed, phase, reason, molecules, **made)
    described.info['vacuum_axes'] = [0, 1, 2]
    return described


def describe(atoms: Atoms, phase: str, reason: str, molecules: list[Atoms], **made: Any) -> Atoms:
    names = [molecule.info['name'] for molecule in molecules]
    atoms.info.clear()
    atoms.info.update(family='molecular', phase=phase, reason=f'{" and ".join(names)}: {reason}')
    atoms.info['parameters'] = {'molecule': ' + '.join(names), **made}
    return atoms


def _intact(atoms: Atoms, molecule: Atoms) -> bool:
    """Whether no bond is torn, none is new, and atoms that are not bonded keep apart."""
    if overlapping(atoms, OVERLAP):
        return False
    pairs = bonded_pairs(molecule)
    lengths = [np.linalg.norm(a.positions[pairs[:, 0]] - a.positions[pairs[:, 1]], axis=1) for a in (atoms, molecule)]
    ratios = lengths[0] / lengths[1]
    if len(pairs) and not (ratios.min() > SHORTEST_BOND and ratios.max() < LONGEST_BOND):
        return False
    distances, before = atoms.get_all_distances(), molecule.get_all_distances()
    limit = INNER_CONTACT * (van_der_waals_radii(atoms.numbers)[:, None] + van_der_waals_radii(atoms.numbers)[None, :])
    free = np.ones(distances.shape, dtype=bool)
    free[pairs[:, 0], pairs[:, 1]] = free[pairs[:, 1], pairs[:, 0]] = False
    np.fill_diagonal(free, False)
    # neighbours of one atom are closer than van der Waals contact by nature
    return not bool((free & (distances < np.minimum(limit, 0.75 * before))).any())


def _fingerprint(atoms: Atoms) -> np.ndarray:
    """All distances, sorted within each pair of elements: the same for equal and for mirrored geometries."""
    first, second = np.triu_indices(len(atoms), 1)
    pairs = np.sort(atoms.numbers[np.array([first, second])], axis=0)
    distances = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    return distances[np.lexsort((distances, pairs[1], pairs[0]))]


def _off_axis(atoms: Atoms, first: int, second: int, side: set[int]) -> bool:
    """Whether some atom of a side of a bond is off the line through the bond."""
    axis = atoms.positions[second] - atoms.positions[first]
    axis /= np.linalg.norm(axis)
    arms = atoms.positions[sorted(side)] - atoms.positions[first]
    return bool(np.linalg.norm(np.cross(arms, axis), axis=1).max() > 0.2)


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Matrix (3, 3) that rotates column vectors about an axis by an angle in radians."""
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
