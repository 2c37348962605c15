"""Several molecules: clusters in vacuum, liquids and crystals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from ....checks.overlap import overlapping
from ....core.chemistry import GRAM_PER_CM3, van_der_waals_radii
from ....core.errors import InputError
from ....core.parameters import require
from ....crystals.elements import volume_per_atom
from .force_field import harmonic_hessian, normal_modes
from .geometry import MAX_DRAWS, OVERLAP, describe, in_vacuum, phase_name, rotation, vibrated
from .section import Molecular

#: Volumes (Å³) of atoms in molecular crystals: D. W. M. Hofmann, Acta Cryst. B58, 489 (2002).
ATOMIC_VOLUMES = {'H': 5.08, 'B': 13.24, 'C': 13.87, 'N': 11.8, 'O': 11.39, 'F': 11.17, 'Si': 37.3, 'P': 29.5,
                  'S': 25.2, 'Cl': 26.8, 'Br': 32.7, 'I': 46.2}  # fmt: skip
#: Volume of a liquid in units of these: 1.39 for water and ethanol, about 1.3 for others.
LIQUID_VOLUME_RATIO = 1.35
#: Volumes of liquids, in turn, in units of the above.
LIQUID_VOLUMES = (1.0, 0.92, 1.12)
#: Temperature (K) as at which molecules of a liquid vibrate.
LIQUID_TEMPERATURE = 300.0
#: Molecules of liquids and crystals keep this fraction of the sum of the van der Waals radii apart.
CONTACT = 0.72
#: Steps in which molecules in a box push each other apart.
PUSH_STEPS = 300
#: Part of their overlap by which they move in a step.
PUSH_FRACTION = 0.35
#: Times that a box is packed, each time from other random places.
MAX_PACKINGS = 12
#: Space groups in which most molecules crystallise, with the number of molecules in their cells.
SPACE_GROUPS = ((14, 4), (2, 2), (19, 4), (4, 2), (1, 1), (33, 4), (61, 8), (29, 4))
#: Factors by which cells of crystals are widened, one after the other, until their molecules are apart.
WIDENINGS = np.linspace(1.0, 1.4, 9)
#: Factor by which an axis is then shortened in a step, as long as molecules stay apart.
SHRINKAGE = 0.96
#: Shortest axis, in units of what PyXtal made.
SHORTEST_AXIS = 0.4
#: Crystals are given up if they are larger than this times the sum of the volumes of their atoms.
LARGEST_VOLUME = 1.5


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
        sums = van_der_waals_radii(whole.numbers)[:, None] + van_der_waals_radii(other.numbers)[None, :]
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
    contact = CONTACT * (van_der_waals_radii(numbers)[:, None] + van_der_waals_radii(numbers)[None, :])
    for _ in range(MAX_PACKINGS):
        centers = rng.random((len(molecules), 3)) * side
        shapes = [_oriented(molecule, rng).positions for molecule in molecules]
        for _ in range(PUSH_STEPS):
            positions = np.concatenate([shape + center for shape, center in zip(shapes, centers, strict=True)])
            forces = _pushes(positions, owner, contact, side)
            if forces is None:
                break
            for index, shape in enumerate(shapes):
                mine = forces[owner == index]
                centers[index] += PUSH_FRACTION * mine.sum(axis=0)
                torque = np.cross(shape, mine).sum(axis=0)
                inertia = max(float((shape**2).sum()), 1.0)
                angle = min(3 * PUSH_FRACTION * float(np.linalg.norm(torque)) / inertia, 0.3)
                if angle > 1e-9:
                    shapes[index] = shape @ rotation(torque, angle).T
        positions = np.concatenate([shape + center for shape, center in zip(shapes, centers, strict=True)])
        box = Atoms(numbers, positions, cell=[side] * 3, pbc=True)
        if _apart(box, owner, 0.95 * CONTACT):
            return box
    density = float(box.get_masses().sum() / volume / GRAM_PER_CM3)
    raise InputError(
        'liquids.density',
        f'{len(molecules)} molecules do not fit into a box at {density:.2f} g/cm³ without overlap',
        'lower the density',
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

    factors = next((f * np.ones(3) for f in WIDENINGS if _apart(scaled_cell(f * np.ones(3)), owner, CONTACT)), None)
    if factors is None:
        return None
    moving = True
    while moving:
        moving = False
        for axis in range(3):
            trial = factors.copy()
            trial[axis] *= SHRINKAGE
            if trial[axis] > SHORTEST_AXIS and _apart(scaled_cell(trial), owner, CONTACT):
                factors, moving = trial, True
    found = scaled_cell(factors)
    found.wrap()
    return found if found.get_volume() < LARGEST_VOLUME * _hofmann_volume(crystal.get_chemical_symbols()) else None


def clusters(molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.clusters
    contacts = np.linspace(section.closest, section.farthest, max(section.number, 1))
    for index in range(section.number):
        size = max(section.sizes[index % len(section.sizes)], len(molecules))
        members = [molecules[k % len(molecules)] for k in range(size)]
        # contacts far apart in the range follow each other
        contact = float(contacts[index * 7 % section.number if section.number % 7 else index])
        for _ in range(MAX_DRAWS):
            atoms = cluster(members, contact, rng)
            if not overlapping(atoms, OVERLAP):
                kind = {2: 'dimer', 3: 'trimer'}.get(size, 'cluster')
                reason = f'{size} molecules, the closest atoms at {contact:.2f} times the van der Waals distance'
                made = {'count': size, 'contact': contact, 'index': index}
                yield in_vacuum(atoms, parameters, phase_name(molecules, kind), reason, names=molecules, **made)
                break


def liquids(molecules: list[Atoms], parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.liquids
    modes = [normal_modes(molecule, harmonic_hessian(molecule)) for molecule in molecules]
    for index in range(section.number):
        size = max(section.molecules[index % len(section.molecules)], len(molecules))
        members = [molecules[k % len(molecules)] for k in range(size)]
        factor = LIQUID_VOLUMES[index % len(LIQUID_VOLUMES)]
        volume = factor * _liquid_volume(members, section.density)
        shaken = [
            vibrated(member, modes[k % len(molecules)], LIQUID_TEMPERATURE, rng) or member
            for k, member in enumerate(members)
        ]
        box = packed_box(shaken, volume, rng)
        density = float(box.get_masses().sum() / volume / GRAM_PER_CM3)
        box.wrap()
        reason = f'{size} molecules at random at {density:.2f} g/cm³, vibrating as at {LIQUID_TEMPERATURE:.0f} K'
        made = {'count': size, 'density': round(density, 4), 'index': index}
        yield describe(box, phase_name(molecules, 'liquid'), reason, molecules, **made)


def crystals(molecule: Atoms, parameters: Molecular, rng: np.random.Generator) -> Iterator[Atoms]:
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
        yield describe(crystal, phase_name([molecule], 'crystal'), reason, [molecule], **made)
        if found == section.number:
            return


def _liquid_volume(molecules: list[Atoms], density: float | None) -> float:
    """Volume (Å³) of the molecules in a liquid."""
    if density is not None:
        return float(sum(molecule.get_masses().sum() for molecule in molecules) / density / GRAM_PER_CM3)
    symbols = [symbol for molecule in molecules for symbol in molecule.get_chemical_symbols()]
    return LIQUID_VOLUME_RATIO * _hofmann_volume(symbols)


def _hofmann_volume(symbols: list[str]) -> float:
    """Volume (Å³) that atoms take up in molecular crystals."""
    return sum(ATOMIC_VOLUMES.get(symbol) or volume_per_atom(symbol) for symbol in symbols)


def _oriented(molecule: Atoms, rng: np.random.Generator) -> Atoms:
    """Return the molecule about its centre of geometry in a random orientation (uniform: a random quaternion)."""
    w, x, y, z = rng.normal(size=4)
    matrix = Rotation.from_quat([x, y, z, w]).as_matrix()
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
    radii = van_der_waals_radii(atoms.numbers)
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
