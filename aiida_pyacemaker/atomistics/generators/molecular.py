"""Molecules: turned about bonds, vibrating, stretched; pairs and clusters of them, liquids and crystals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii, vdw_radii
from ase.neighborlist import neighbor_list
from pydantic import Field

from ..checks.overlap import overlapping
from ..core.parameters import Count, Positive, Section, parameter, require
from ..crystals.elements import check_elements, volume_per_atom
from ..crystals.molecules import COMMON_NAMES, bonded_pairs, check_molecule, get_molecule
from .force_field import harmonic_hessian, normal_modes, thermal_displacement

#: Molecules taken by default, of those that the elements allow: at most so many, those of most elements first.
DEFAULT_MOLECULES = 3
#: Molecules that are preferred to others of as many elements.
MOST_COMMON = (
    'H2O',
    'CO2',
    'CO',
    'CH4',
    'NH3',
    'N2',
    'O2',
    'H2',
    'CH3OH',
    'CH3CH2OH',
    'CH3COOH',
    'C2H6',
    'C2H4',
    'C6H6',
)
#: Volumes (Å³) of atoms in molecular crystals: D. W. M. Hofmann, Acta Cryst. B58, 489 (2002).
ATOMIC_VOLUMES = {'H': 5.08, 'B': 13.24, 'C': 13.87, 'N': 11.8, 'O': 11.39, 'F': 11.17, 'Si': 37.3, 'P': 29.5,
                  'S': 25.2, 'Cl': 26.8, 'Br': 32.7, 'I': 46.2}  # fmt: skip
#: Volume of a liquid in units of these: 1.39 for water and ethanol, about 1.3 for others.
LIQUID = 1.35
#: Volumes of liquids, in turn, in units of the above.
LIQUID_VOLUMES = (1.0, 0.92, 1.12)
#: Temperature (K) as at which molecules of a liquid vibrate.
LIQUID_TEMPERATURE = 300.0
#: Distances are kept above these fractions of the sum of the van der Waals radii: between molecules of liquids and
#: crystals, and between atoms of one molecule that are not bonded (neighbours of one atom may be closer).
CONTACT, INNER = 0.72, 0.60
#: Shorter than this times the sum of the covalent radii, a bond is taken for double and does not turn.
DOUBLE = 0.90
#: Bonds of a displaced molecule stay within these factors of their length.
SHORTEST, LONGEST = 0.80, 1.25
#: No two atoms are closer than this times the sum of their covalent radii.
OVERLAP = 0.72
#: Steps and strength with which molecules in a box push each other apart.
PUSHES, PUSH = 300, 0.35
#: Times that a box is packed anew, from other random places.
PACKINGS = 12
#: Space groups in which most molecules crystallise, with the number of molecules in their cells.
SPACE_GROUPS = ((14, 4), (2, 2), (19, 4), (4, 2), (1, 1), (33, 4), (61, 8), (29, 4))
#: Their cells are widened until molecules are apart, shrunk by steps as long as they stay apart, never below a fraction
#: of what PyXtal made, and given up if they stay larger than this times the sum of the volumes of their atoms.
WIDER, SHRINK, SMALLEST, LOOSE = np.linspace(1.0, 1.4, 9), 0.96, 0.4, 1.5
#: Two geometries are the same if all distances agree within this (Å).
SAME = 0.02
ATTEMPTS = 40


class Torsions(Section):
    """Turns about the bonds that can turn."""

    number: Count = parameter('Structures of each molecule, at most.', default=40, ge=0)
    points: Count = parameter('Angles of the grid, for each bond.', default=12, ge=2)


class NormalModes(Section):
    """Random displacements along the vibrations, as at a temperature."""

    number: Count = parameter('Structures of each molecule.', default=80, ge=0)
    temperatures: list[Positive] = parameter(
        'Temperatures, used in turn.', 'K', default=[300.0, 600.0, 1000.0, 1500.0], min_length=1
    )


class Bonds(Section):
    """Stretched and compressed bonds."""

    number: Count = parameter('Structures of each molecule.', default=24, ge=0)
    minimum: Annotated[float, Field(gt=0.6, lt=1)] = parameter('Shortest, in units of the length.', default=0.88)
    maximum: Annotated[float, Field(gt=1, lt=3)] = parameter('Longest, in units of the length.', default=1.35)


class Clusters(Section):
    """Pairs and triples of molecules in vacuum."""

    number: Count = parameter('Structures of each combination of molecules.', default=60, ge=0)
    sizes: list[Annotated[Count, Field(ge=2, le=8)]] = parameter(
        'Molecules in a cluster, used in turn.', default=[2, 2, 2, 3], min_length=1
    )
    closest: Annotated[float, Field(gt=0.5)] = parameter(
        'Shortest contact, in units of the sum of the van der Waals radii.', default=0.70
    )
    farthest: Annotated[float, Field(lt=4)] = parameter(
        'Longest contact, in units of the sum of the van der Waals radii.', default=1.40
    )


class Liquids(Section):
    """Boxes of molecules at random."""

    number: Count = parameter('Structures of each molecule, and of the mixture of all.', default=24, ge=0)
    molecules: list[Annotated[Count, Field(ge=2, le=500)]] = parameter(
        'Molecules in a box, used in turn.', default=[4, 6], min_length=1
    )
    density: Positive | None = parameter('null: estimated from the volumes of the atoms.', 'g/cm³', default=None)


class Crystals(Section):
    """Molecular crystals of random symmetry."""

    number: Count = parameter('Structures of each molecule.', default=8, ge=0)
    max_molecules: Count = parameter('Molecules in a cell, at most.', default=4, ge=1)


class Molecular(Section):
    """Molecules, their clusters, liquids and crystals."""

    molecules: list[str] | None = parameter(
        'Names (`ethanol`, `H2O`, `CH3CH2OH`) or files of molecules; null: up to three that the elements allow.',
        default=None,
        min_length=1,
    )
    vacuum: Annotated[float, Field(ge=5)] = parameter('Vacuum around molecules and clusters.', 'Å', default=10.0)
    torsions: Torsions = parameter('Turns about bonds.', default=Torsions())
    normal_modes: NormalModes = parameter('Vibrations at given temperatures.', default=NormalModes())
    bonds: Bonds = parameter('Stretched and compressed bonds.', default=Bonds())
    clusters: Clusters = parameter('Pairs and triples of molecules.', default=Clusters())
    liquids: Liquids = parameter('Boxes of molecules.', default=Liquids())
    crystals: Crystals = parameter('Molecular crystals.', default=Crystals())


def generate_molecular(
    elements: list[str], parameters: Molecular, number: int, rng: np.random.Generator
) -> list[Atoms]:
    """Return molecules and what they are made into.

    First each molecule as it is; then turned about its bonds, vibrating, stretched, in clusters, liquids and crystals,
    all of them in proportion to their numbers from the start.

    :returns: at most `number` frames; `vacuum_axes` of molecules and clusters is [0, 1, 2].
    :raises ValueError: if a molecule is unknown or holds other elements, or the elements make none.
    """
    check_elements(elements)
    molecules = _molecules(elements, parameters)
    ideals = [_boxed(molecule, parameters, _phase([molecule], 'molecule'), 'as it is') for molecule in molecules]
    sources = [source for molecule in molecules for source in _sources(molecule, parameters, rng)]
    sources += _mixtures(molecules, parameters, rng)
    frames = itertools.chain(ideals, _proportionally(sources))
    return list(itertools.islice(frames, number))


def default_molecules(elements: list[str]) -> list[str]:
    """Common molecules made of the elements only: those of most of the elements first, then the best known.

    :raises ValueError: if there is none.
    """
    found = []
    for name in COMMON_NAMES:
        atoms = get_molecule(name)
        symbols = set(atoms.get_chemical_symbols())
        if symbols <= set(elements):
            rank = MOST_COMMON.index(name) if name in MOST_COMMON else len(MOST_COMMON)
            found.append((-len(symbols), rank, len(atoms), name))
    if not found:
        raise ValueError(
            f'structures.molecular.molecules: no common molecule is made of {", ".join(elements)} alone; give names or '
            'files of molecules, or add elements to system.elements'
        )
    return [name for *_, name in sorted(found)[:DEFAULT_MOLECULES]]


# One molecule -------------------------------------------------------------------------------------------------------


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
        if length < DOUBLE * covalent_radii[atoms.numbers[[first, second]]].sum():
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
    changed.positions[moving] = atoms.positions[second] + arms @ _rotation(axis, math.radians(angle)).T
    return changed


def vibrating(atoms: Atoms, temperature: float, rng: np.random.Generator, hessian: np.ndarray | None = None) -> Atoms:
    """Return the molecule displaced along its vibrations as at a temperature in K.

    :param hessian: (3n, 3n) in eV/Å², such as `force_field.calculated_hessian` of a calculator; by default that of the
        generic force field of `force_field`, which only serves to displace soft coordinates more than stiff ones.
    """
    modes = normal_modes(atoms, harmonic_hessian(atoms) if hessian is None else hessian)
    changed = atoms.copy()
    changed.positions += thermal_displacement(*modes, temperature, rng)
    return changed


def in_box(atoms: Atoms, vacuum: float) -> Atoms:
    """Put a molecule into the middle of a periodic box with right angles, with vacuum (Å) to its images."""
    extent = np.ptp(atoms.positions, axis=0)
    boxed = atoms.copy()
    boxed.set_cell(extent + vacuum)
    boxed.positions += (extent + vacuum) / 2 - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    boxed.pbc = True
    return boxed


def _torsions(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    """Grid of turns: about each bond alone, then about several at once; each geometry once."""
    bonds = rotatable_bonds(molecule)
    step = 360.0 / parameters.torsions.points
    known = [_fingerprint(molecule)]
    for angles in _grid(len(bonds), parameters.torsions.points, rng):
        atoms = molecule
        for bond, index in zip(bonds, angles, strict=True):
            atoms = turned(atoms, bond, index * step) if index else atoms
        fingerprint = _fingerprint(atoms)
        if not _intact(atoms, molecule) or any(np.abs(fingerprint - other).max() < SAME for other in known):
            continue
        known.append(fingerprint)
        degrees = [float(index * step) for index in angles]
        reason = f'turned by {", ".join(f"{angle:.0f}°" for angle in degrees)} about its bonds'
        yield _boxed(atoms, parameters, _phase([molecule], 'molecule'), reason, torsions=degrees)


def _grid(bonds: int, points: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Indices of angles: all with one bond turned, then random ones with several, a limited number of them."""
    for bond, index in itertools.product(range(bonds), range(1, points)):
        yield tuple(index if k == bond else 0 for k in range(bonds))
    if bonds > 1:
        for _ in range(ATTEMPTS * points):
            yield tuple(int(k) for k in rng.integers(points, size=bonds))


def _vibrations(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.normal_modes
    modes = normal_modes(molecule, harmonic_hessian(molecule))
    for index in range(section.number if len(modes[0]) else 0):
        temperature = section.temperatures[index % len(section.temperatures)]
        atoms = _vibrated(molecule, modes, temperature, rng)
        if atoms is not None:
            reason = f'displaced along its vibrations as at {temperature:.0f} K'
            made = {'temperature': temperature, 'index': index}
            yield _boxed(atoms, parameters, _phase([molecule], 'molecule'), reason, **made)


def _vibrated(
    molecule: Atoms, modes: tuple[np.ndarray, np.ndarray], temperature: float, rng: np.random.Generator
) -> Atoms | None:
    """Displace a molecule along its vibrations without tearing a bond; None if that fails again and again."""
    for _ in range(ATTEMPTS):
        atoms = molecule.copy()
        atoms.positions += thermal_displacement(*modes, temperature, rng)
        if _intact(atoms, molecule):
            return atoms
    return None


def _stretches(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
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
        yield _boxed(atoms, parameters, _phase([molecule], 'molecule'), reason, **made)


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


# Several molecules --------------------------------------------------------------------------------------------------


def cluster(molecules: list[Atoms], contact: float, rng: np.random.Generator) -> Atoms:
    """Put molecules together in random orientations, each one touching those before it.

    :param contact: distance of the closest atoms of different molecules, in units of the sum of their van der Waals
        radii; a third molecule and more come as near to some molecule before.
    """
    whole = _oriented(molecules[0], rng)
    for molecule in molecules[1:]:
        other = _oriented(molecule, rng)
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        sums = _vdw(whole.numbers)[:, None] + _vdw(other.numbers)[None, :]
        relative = other.positions[None, :, :] - whole.positions[:, None, :]
        # for each pair of atoms the largest shift along the direction at which it is just in contact
        along = relative @ direction
        room = along**2 - (relative**2).sum(axis=2) + (contact * sums) ** 2
        shift = (-along + np.sqrt(np.maximum(room, 0.0)))[room >= 0]
        other.positions += direction * (float(shift.max()) if len(shift) else 0.0)
        whole += other
    return whole


def packed_box(molecules: list[Atoms], volume: float, rng: np.random.Generator) -> Atoms:
    """Put molecules into a periodic cube at random places and orientations, and push them apart until they fit.

    :param molecules: rigid.
    :param volume: of the cube, Å³.
    :raises ValueError: if they do not fit.
    """
    side = volume ** (1 / 3)
    owner = np.repeat(np.arange(len(molecules)), [len(molecule) for molecule in molecules])
    numbers = np.concatenate([molecule.numbers for molecule in molecules])
    contact = CONTACT * (_vdw(numbers)[:, None] + _vdw(numbers)[None, :])
    for _ in range(PACKINGS):
        centers = rng.random((len(molecules), 3)) * side
        shapes = [_oriented(molecule, rng).positions for molecule in molecules]
        for _ in range(PUSHES):
            positions = np.concatenate([shape + center for shape, center in zip(shapes, centers, strict=True)])
            forces = _pushes(positions, owner, contact, side)
            if forces is None:
                break
            for index, shape in enumerate(shapes):
                mine = forces[owner == index]
                centers[index] += PUSH * mine.sum(axis=0)
                torque = np.cross(shape, mine).sum(axis=0)
                inertia = max(float((shape**2).sum()), 1.0)
                angle = min(3 * PUSH * float(np.linalg.norm(torque)) / inertia, 0.3)
                if angle > 1e-9:
                    shapes[index] = shape @ _rotation(torque, angle).T
        positions = np.concatenate([shape + center for shape, center in zip(shapes, centers, strict=True)])
        box = Atoms(numbers, positions, cell=[side] * 3, pbc=True)
        if _apart(box, owner, 0.95 * CONTACT):
            return box
    density = float(box.get_masses().sum() / volume / 0.602214076)
    raise ValueError(
        f'structures.molecular.liquids.density: {len(molecules)} molecules do not fit into a box at {density:.2f} '
        'g/cm³ without overlap; lower the density'
    )


def molecular_crystal(molecule: Atoms, group: int, count: int, rng: np.random.Generator) -> Atoms | None:
    """Return a crystal of random symmetry, compressed until its molecules touch; None if there is none.

    :param group: space group.
    :param count: molecules in the cell.
    """
    pyxtal = require('pyxtal', 'Molecular crystals')
    core = require('pymatgen.core', 'Molecular crystals')
    made = pyxtal.pyxtal(molecular=True)
    given = core.Molecule(molecule.get_chemical_symbols(), molecule.positions)
    seed = np.random.default_rng(int(rng.integers(2**31)))
    try:
        made.from_random(3, group, [given], [count], factor=1.2, random_state=seed)
    except Exception:  # PyXtal raises many things where a molecule does not suit a group
        return None
    if not made.valid:
        return None
    # PyXtal drops the order of the atoms of the molecule only on request
    crystal = made.to_ase(resort=False)
    if len(crystal) != count * len(molecule):
        return None
    return _compressed(Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True), len(molecule))


def _compressed(crystal: Atoms, size: int) -> Atoms | None:
    """Widen the cell until no molecules overlap, then shrink it axis by axis until they touch; molecules are rigid.

    That keeps the symmetry of all of `SPACE_GROUPS`.
    """
    owner = np.arange(len(crystal)) // size
    shapes = _whole(crystal, owner)
    if shapes is None:
        return None
    centers = np.array([shape.mean(axis=0) for shape in shapes])
    scaled = np.linalg.solve(crystal.cell.array.T, centers.T).T

    def scaled_cell(factors: np.ndarray) -> Atoms:
        cell = crystal.cell.array * factors[:, None]
        shifts = np.repeat(scaled @ cell - centers, size, axis=0)
        return Atoms(crystal.numbers, np.concatenate(shapes) + shifts, cell=cell, pbc=True)

    factors = next((f * np.ones(3) for f in WIDER if _apart(scaled_cell(f * np.ones(3)), owner, CONTACT)), None)
    if factors is None:
        return None
    moving = True
    while moving:
        moving = False
        for axis in range(3):
            trial = factors.copy()
            trial[axis] *= SHRINK
            if trial[axis] > SMALLEST and _apart(scaled_cell(trial), owner, CONTACT):
                factors, moving = trial, True
    found = scaled_cell(factors)
    found.wrap()
    return found if found.get_volume() < LOOSE * _hofmann_volume(crystal.get_chemical_symbols()) else None


def _clusters(molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.clusters
    contacts = np.linspace(section.closest, section.farthest, max(section.number, 1))
    for index in range(section.number):
        size = max(section.sizes[index % len(section.sizes)], len(molecules))
        members = [molecules[k % len(molecules)] for k in range(size)]
        # contacts far apart in the range follow each other
        contact = float(contacts[index * 7 % section.number if section.number % 7 else index])
        for _ in range(ATTEMPTS):
            atoms = cluster(members, contact, rng)
            if not overlapping(atoms, OVERLAP):
                kind = {2: 'dimer', 3: 'trimer'}.get(size, 'cluster')
                reason = f'{size} molecules, the closest atoms at {contact:.2f} times the van der Waals distance'
                made = {'count': size, 'contact': contact, 'index': index}
                yield _boxed(atoms, parameters, _phase(molecules, kind), reason, names=molecules, **made)
                break


def _liquids(molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.liquids
    modes = [normal_modes(molecule, harmonic_hessian(molecule)) for molecule in molecules]
    for index in range(section.number):
        size = max(section.molecules[index % len(section.molecules)], len(molecules))
        members = [molecules[k % len(molecules)] for k in range(size)]
        factor = LIQUID_VOLUMES[index % len(LIQUID_VOLUMES)]
        volume = factor * _liquid_volume(members, section.density)
        shaken = [
            _vibrated(member, modes[k % len(molecules)], LIQUID_TEMPERATURE, rng) or member
            for k, member in enumerate(members)
        ]
        box = packed_box(shaken, volume, rng)
        density = float(box.get_masses().sum() / volume / 0.602214076)
        box.wrap()
        reason = f'{size} molecules at random at {density:.2f} g/cm³, vibrating as at {LIQUID_TEMPERATURE:.0f} K'
        made = {'count': size, 'density': round(density, 4), 'index': index}
        yield _described(box, _phase(molecules, 'liquid'), reason, molecules, **made)


def _crystals(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.crystals
    groups = [pair for pair in SPACE_GROUPS if pair[1] <= section.max_molecules]
    found = 0
    for attempt in range(5 * section.number if groups else 0):
        group, count = groups[attempt % len(groups)]
        crystal = molecular_crystal(molecule, group, count, rng)
        if crystal is None:
            continue
        found += 1
        many = 'one molecule' if count == 1 else f'{count} molecules'
        reason = f'{many} per cell in space group {group}, which is frequent among molecular crystals'
        made = {'count': count, 'space_group': group, 'index': found - 1}
        yield _described(crystal, _phase([molecule], 'crystal'), reason, [molecule], **made)
        if found == section.number:
            return


# Helpers ------------------------------------------------------------------------------------------------------------


def _molecules(elements: list[str], parameters: Molecular) -> list[Atoms]:
    key = 'structures.molecular.molecules'
    molecules = []
    for name in parameters.molecules or default_molecules(elements):
        try:
            molecule = get_molecule(name)
        except ValueError as exception:
            raise ValueError(f'{key}: {exception}') from exception
        check_molecule(molecule, elements, key)
        if overlapping(molecule, 0.7):
            raise ValueError(f'{key}: {name} has overlapping atoms; give a file with a sane geometry')
        molecules.append(molecule)
    return molecules


def _sources(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> list[tuple[int, Iterator[Atoms]]]:
    """What is made of one molecule: how many, and an iterator with a generator of random numbers of its own."""
    own = rng.spawn(6)
    return [
        (parameters.torsions.number, _torsions(molecule, parameters, own[0])),
        (parameters.normal_modes.number, _vibrations(molecule, parameters, own[1])),
        (parameters.bonds.number, _stretches(molecule, parameters, own[2])),
        (parameters.clusters.number, _clusters([molecule], parameters, own[3])),
        (parameters.liquids.number, _liquids([molecule], parameters, own[4])),
        (parameters.crystals.number, _crystals(molecule, parameters, own[5])),
    ]


def _mixtures(
    molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator
) -> list[tuple[int, Iterator[Atoms]]]:
    """Clusters of each two molecules, and the liquid of all."""
    if len(molecules) < 2:
        return []
    pairs = list(itertools.combinations(molecules, 2))
    own = rng.spawn(len(pairs) + 1)
    sources = [
        (parameters.clusters.number, _clusters(list(pair), parameters, own[index])) for index, pair in enumerate(pairs)
    ]
    return [*sources, (parameters.liquids.number, _liquids(molecules, parameters, own[-1]))]


def _proportionally(sources: list[tuple[int, Iterator[Atoms]]]) -> Iterator[Atoms]:
    """Take from several iterators in proportion to their numbers, evenly from the start, until all are at their end."""
    turns = [((k + 0.5) / number, index) for index, (number, _) in enumerate(sources) for k in range(number)]
    for _, index in sorted(turns):
        atoms = next(sources[index][1], None)
        if atoms is not None:
            yield atoms


def _phase(molecules: list[Atoms], kind: str) -> str:
    return f'{"-".join(molecule.info["name"] for molecule in molecules)} {kind}'


def _boxed(
    atoms: Atoms, parameters: Molecular, phase: str, reason: str, names: list[Atoms] | None = None, **made: Any
) -> Atoms:
    boxed = in_box(atoms, parameters.vacuum)
    molecules = names or [atoms]
    described = _described(boxed, phase, reason, molecules, **made)
    described.info['vacuum_axes'] = [0, 1, 2]
    return described


def _described(atoms: Atoms, phase: str, reason: str, molecules: list[Atoms], **made: Any) -> Atoms:
    names = [molecule.info['name'] for molecule in molecules]
    atoms.info.clear()
    atoms.info.update(family='molecular', phase=phase, reason=f'{" and ".join(names)}: {reason}')
    atoms.info['parameters'] = {'molecule': ' + '.join(names), **made}
    return atoms


def _liquid_volume(molecules: list[Atoms], density: float | None) -> float:
    """Volume (Å³) of the molecules in a liquid."""
    if density is not None:
        return float(sum(molecule.get_masses().sum() for molecule in molecules) / density / 0.602214076)
    symbols = [symbol for molecule in molecules for symbol in molecule.get_chemical_symbols()]
    return LIQUID * _hofmann_volume(symbols)


def _hofmann_volume(symbols: list[str]) -> float:
    """Volume (Å³) that atoms take up in molecular crystals."""
    return sum(ATOMIC_VOLUMES.get(symbol) or volume_per_atom(symbol) for symbol in symbols)


def _intact(atoms: Atoms, molecule: Atoms) -> bool:
    """Whether no bond is torn, none is new, and atoms that are not bonded keep apart."""
    if overlapping(atoms, OVERLAP):
        return False
    pairs = bonded_pairs(molecule)
    lengths = [np.linalg.norm(a.positions[pairs[:, 0]] - a.positions[pairs[:, 1]], axis=1) for a in (atoms, molecule)]
    ratios = lengths[0] / lengths[1]
    if len(pairs) and not (ratios.min() > SHORTEST and ratios.max() < LONGEST):
        return False
    distances, before = atoms.get_all_distances(), molecule.get_all_distances()
    limit = INNER * (_vdw(atoms.numbers)[:, None] + _vdw(atoms.numbers)[None, :])
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


def _vdw(numbers: np.ndarray) -> np.ndarray:
    """Van der Waals radii (Å) of atomic numbers; where unknown, 0.8 Å more than the covalent radius."""
    return np.where(np.isfinite(vdw_radii[numbers]), vdw_radii[numbers], covalent_radii[numbers] + 0.8)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Matrix (3, 3) that rotates column vectors about an axis by an angle in radians (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def _oriented(molecule: Atoms, rng: np.random.Generator) -> Atoms:
    """Return the molecule about its centre of geometry in a random orientation (uniform: a random quaternion)."""
    q = rng.normal(size=4)
    w, x, y, z = q / np.linalg.norm(q)
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Atoms(molecule.numbers, (molecule.positions - molecule.positions.mean(axis=0)) @ matrix.T)


def _pushes(positions: np.ndarray, owner: np.ndarray, contact: np.ndarray, side: float) -> np.ndarray | None:
    """By how much (Å) atoms of different molecules push each other apart (n, 3); None if none are too close."""
    vectors = positions[:, None, :] - positions[None, :, :]
    vectors -= side * np.round(vectors / side)
    distances = np.sqrt((vectors**2).sum(axis=2))
    depth = np.where(owner[:, None] == owner[None, :], 0.0, np.maximum(contact - distances, 0.0))
    if depth.max() < 0.02:
        return None
    return (vectors / np.maximum(distances, 1e-6)[:, :, None] * depth[:, :, None]).sum(axis=1) / 2


def _apart(atoms: Atoms, owner: np.ndarray, contact: float) -> bool:
    """Whether atoms of different molecules, and of images of the same, keep a distance in van der Waals radii.

    An atom and another of its own molecule count as of the same molecule if they are as near as within it, so all
    molecules must be whole.
    """
    radii = _vdw(atoms.numbers)
    first, second, shifts, distances = neighbor_list('ijSd', atoms, list(contact * radii))
    home = (owner[first] == owner[second]) & (shifts == 0).all(axis=1)
    too_close = ~home & (distances < contact * (radii[first] + radii[second]))
    return not bool(too_close.any())


def _whole(crystal: Atoms, owner: np.ndarray) -> list[np.ndarray] | None:
    """Positions of each molecule of a crystal, joined over the boundaries; None if one is in pieces."""
    first, second, vectors = neighbor_list('ijD', crystal, 1.25 * covalent_radii[crystal.numbers].max() * 2)
    sums = covalent_radii[crystal.numbers[first]] + covalent_radii[crystal.numbers[second]]
    near = (np.linalg.norm(vectors, axis=1) < 1.25 * sums) & (owner[first] == owner[second])
    first, second, vectors = first[near], second[near], vectors[near]
    shapes = []
    for index in range(owner.max() + 1):
        members = np.flatnonzero(owner == index)
        placed = {int(members[0]): crystal.positions[members[0]]}
        queue = [int(members[0])]
        while queue:
            atom = queue.pop()
            for other, vector in zip(second[first == atom].tolist(), vectors[first == atom], strict=True):
                if other not in placed:
                    placed[other] = placed[atom] + vector
                    queue.append(other)
        if len(placed) < len(members):
            return None
        shapes.append(np.array([placed[int(atom)] for atom in members]))
    return shapes
