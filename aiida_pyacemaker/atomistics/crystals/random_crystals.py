"""Symmetry-random crystals: atoms on random Wyckoff positions of random space groups.

Groups, Wyckoff positions and random lattices are those of PyXtal (S. Fredericks, K. Parrish, D. Sayre, Q. Zhu, Comput.
Phys. Commun. 261, 107810 (2021)); the positions are filled here, many trial points at a time, which takes milliseconds
where PyXtal's own filling takes up to a minute in cells as dense as crystals are.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list

from ..core.parameters import require
from ..core.sketch import is_sketching, sketch

#: Tries in a row without a new crystal after which there are no more.
MAX_TRIES_WITHOUT_SUCCESS = 80
#: Draws of a space group that suits, per try.
MAX_DRAWS = 200
#: Choices of Wyckoff positions in each try.
WYCKOFF_CHOICES = 4
#: Lattices of each choice.
LATTICES_PER_CHOICE = 3
#: Trial points of each orbit.
POINTS_PER_ORBIT = 48
#: A try that finds no room makes the cell larger by this factor.
GROWTH_FACTOR = 1.02
#: Factor by which a cell is made larger, at most.
MAX_GROWTH = 1.5
#: Layer groups and space groups.
GROUPS = {2: 80, 3: 230}
#: Vacuum (Å) above a layer (`dim=2`).
VACUUM = 15.0
#: Distances (Å) up to which two crystals are compared.
CUTOFF = 5.0
#: Two crystals are the same where all these distances agree within this (Å).
SAME_TOLERANCE = 0.02
#: Shifts to the neighbouring cells.
SHIFTS = {
    3: np.array(list(product((0, -1, 1), repeat=3)), dtype=float),
    2: np.array(list(product((0, -1, 1), (0, -1, 1), (0,))), dtype=float),
}
#: Vectors of a primitive cell in units of those of the conventional cell, by the centring of its space group.
PRIMITIVE = {
    'P': np.eye(3),
    'A': np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    'B': np.array([[0.5, 0, -0.5], [0, 1, 0], [0.5, 0, 0.5]]),
    'C': np.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
    'I': np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    'F': np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    'R': np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


def random_crystals(
    composition: dict[str, int],
    number: int,
    rng: np.random.Generator,
    volume_per_atom: float | None = None,
    space_groups: list[int] | None = None,
    min_distance: float = 0.7,
    dim: int = 3,
    min_distances: dict[tuple[str, str], float] | None = None,
) -> list[Atoms]:
    """Return distinct crystals whose atoms occupy random Wyckoff positions of random space groups.

    :param composition: element -> atoms in the cell that is returned (a primitive cell of the drawn group).
    :param number: how many at most; there are fewer where few groups can carry the composition.
    :param volume_per_atom: Å³; None: the spheres of the covalent radii fill 34 % of the cell (that of diamond, 0.34,
        the most open of the usual lattices). A cell in which no room is found is made larger, by 50 % at most.
    :param space_groups: numbers to draw from (1 to 230; layer groups, 1 to 80, where `dim` is 2); None: all that can
        carry the composition.
    :param min_distance: atoms are at least this fraction of the sum of their covalent radii apart.
    :param dim: 3, or 2 for layers with vacuum along the third axis (info `vacuum_axes`).
    :param min_distances: pair of elements -> Å, larger or smaller than by `min_distance`.
    :returns: periodic frames with info `phase` ('random'), `reason`, and `parameters` (`space_group`: the drawn one).
    :raises ValueError: if the composition is empty, an element unknown or no group can carry the composition.
    """
    _check(composition, volume_per_atom, space_groups, min_distance, dim)
    if number < 1:
        return []
    elements = [element for element, count in composition.items() if count]
    counts = tuple(composition[element] for element in elements)
    groups = _possible_groups(counts, dim, space_groups)
    distances = minimum_distances(elements, min_distance, min_distances)
    volume = volume_per_atom or _volume_per_atom(elements, counts)
    if is_sketching() and dim == 3:
        return [_stand_in(composition, volume) for _ in range(number)]
    found: list[Atoms] = []
    prints: list[np.ndarray] = []
    growth, fruitless = 1.0, 0
    while len(found) < number and fruitless < MAX_TRIES_WITHOUT_SUCCESS:
        fruitless += 1
        number_of_group = _draw(groups, counts, dim, rng)
        atoms = _one(number_of_group, elements, counts, volume * growth, distances, rng, dim)
        if atoms is None:
            growth = min(growth * GROWTH_FACTOR, MAX_GROWTH)
            continue
        mark = _fingerprint(atoms)
        if any(mark.shape == other.shape and np.allclose(mark, other, rtol=0, atol=SAME_TOLERANCE) for other in prints):
            continue
        prints.append(mark)
        found.append(atoms)
        growth, fruitless = 1.0, 0
    return found


def _stand_in(composition: dict[str, int], volume_per_atom: float) -> Atoms:
    atoms = sketch(composition, volume_per_atom)
    atoms.info.update(phase='random', reason='', parameters={})
    return atoms


def compatible_groups(counts: tuple[int, ...], dim: int = 3) -> tuple[int, ...]:
    """Return the numbers of the groups whose Wyckoff positions can hold these numbers of atoms in a primitive cell."""
    return tuple(number for number in range(1, GROUPS[dim] + 1) if _compatible(number, counts, dim))


def _possible_groups(counts: tuple[int, ...], dim: int, wanted: list[int] | None) -> list[int]:
    if wanted is None:
        return list(range(1, GROUPS[dim] + 1))
    groups = sorted({group for group in wanted if _compatible(group, counts, dim)})
    if not groups:
        possible = ', '.join(map(str, compatible_groups(counts, dim)[-8:]))
        raise ValueError(
            f'space_groups {wanted}: none can carry {" + ".join(map(str, counts))} atoms in one primitive cell; '
            f'{possible} can, for example'
        )
    return groups


def _draw(groups: list[int], counts: tuple[int, ...], dim: int, rng: np.random.Generator) -> int:
    """Return a group that can carry the composition; group 1 always can."""
    for _ in range(MAX_DRAWS):
        number = groups[int(rng.integers(len(groups)))]
        if _compatible(number, counts, dim):
            return number
    return 1


@lru_cache(maxsize=4096)
def _compatible(number: int, counts: tuple[int, ...], dim: int) -> bool:
    group = _group(number, dim)
    return bool(group.check_compatible([count * group.cellsize() for count in counts])[0])


@lru_cache(maxsize=512)
def _group(number: int, dim: int) -> Any:
    require('pyxtal', 'random crystals')
    from pyxtal.symmetry import Group

    with _silent():
        return Group(number, dim=dim)


@dataclass(frozen=True)
class Orbit:
    """A Wyckoff position: affine maps (multiplicity, 3, 4) of any point onto its points, and its degrees of freedom."""

    maps: np.ndarray
    freedom: int


@lru_cache(maxsize=512)
def _orbits(number: int, dim: int) -> tuple[Orbit, ...]:
    """Return the Wyckoff positions of a group, in its conventional cell."""
    return tuple(
        Orbit(np.array([operation.affine_matrix[:3] for operation in position.ops], dtype=float), position.get_dof())
        for position in _group(number, dim)
    )


def _check(composition: dict[str, int], volume: float | None, groups: list[int] | None, ratio: float, dim: int) -> None:
    unknown = [element for element in composition if element not in chemical_symbols[1:]]
    if unknown:
        raise ValueError(f'composition: {unknown[0]!r} is not a chemical element')
    if any(count < 0 or count != int(count) for count in composition.values()) or not any(composition.values()):
        raise ValueError(f'composition {composition} must hold whole numbers of atoms, at least one in all')
    if dim not in GROUPS:
        raise ValueError(f'dim is {dim!r}: 3 (crystals) and 2 (layers) are possible')
    if not math.isfinite(ratio) or ratio <= 0 or (volume is not None and not volume > 0):
        raise ValueError(f'min_distance ({ratio}) and volume_per_atom ({volume}) must be positive')
    if groups is not None and not all(1 <= group <= GROUPS[dim] for group in groups):
        raise ValueError(f'space_groups {groups}: give numbers from 1 to {GROUPS[dim]}')


def _one(
    number: int,
    elements: list[str],
    counts: tuple[int, ...],
    volume_per_atom: float,
    distances: dict[tuple[str, str], float],
    rng: np.random.Generator,
    dim: int,
) -> Atoms | None:
    """Return one checked crystal, or None where no room was found."""
    group, orbits = _group(number, dim), _orbits(number, dim)
    totals = [count * group.cellsize() for count in counts]
    for _ in range(WYCKOFF_CHOICES):
        chosen = _choose(orbits, totals, rng)
        if chosen is None:
            continue
        for _ in range(LATTICES_PER_CHOICE):
            cell = _lattice(number, volume_per_atom * sum(totals), volume_per_atom, rng, dim)
            atoms = None if cell is None else _fill(chosen, elements, cell, distances, rng, dim)
            if atoms is None:
                continue
            centring = group.symbol[0].upper()
            atoms = primitive(atoms, centring) if dim == 3 else _flat(atoms, centring)
            atoms = _finished(atoms, elements, counts, distances, number, dim)
            if atoms is not None:
                return atoms
    return None


def _choose(orbits: tuple[Orbit, ...], totals: list[int], rng: np.random.Generator) -> list[tuple[int, Orbit]] | None:
    """Return (index of element, position) that add up to the numbers of atoms; None if a dead end was drawn."""
    chosen, used = [], set()
    for element in np.argsort(totals, kind='stable'):
        left = totals[element]
        while left:
            usable = [
                k for k, orbit in enumerate(orbits) if len(orbit.maps) <= left and (orbit.freedom or k not in used)
            ]
            if not usable:
                return None
            # First how many points, then which position: special positions are many in groups of high symmetry.
            sizes = sorted({len(orbits[k].maps) for k in usable})
            size = sizes[int(rng.integers(len(sizes)))]
            usable = [k for k in usable if len(orbits[k].maps) == size]
            pick = usable[int(rng.integers(len(usable)))]
            used.add(pick)
            chosen.append((int(element), orbits[pick]))
            left -= size
    return chosen


def _lattice(
    number: int, volume: float, volume_per_atom: float, rng: np.random.Generator, dim: int
) -> np.ndarray | None:
    """Return a random cell (3, 3) of the lattice system and volume."""
    from pyxtal.lattice import Lattice
    from pyxtal.msg import VolumeError

    if dim == 3:
        shape: dict[str, Any] = {'unique_axis': 'c'}
    else:
        # A layer is between one and about two atoms thick.
        shape = {'unique_axis': 'c' if 3 <= number <= 7 else 'a', 'thickness': 1.3 * volume_per_atom ** (1 / 3)}
    periodic = [1, 1, int(dim == 3)]
    with _silent():
        try:
            lattice = Lattice(_group(number, dim).lattice_type, volume, PBC=periodic, random_state=rng, **shape)
        except (VolumeError, RuntimeError, ValueError):
            return None
    return np.array(lattice.matrix, dtype=float)


def _fill(
    chosen: list[tuple[int, Orbit]],
    elements: list[str],
    cell: np.ndarray,
    distances: dict[tuple[str, str], float],
    rng: np.random.Generator,
    dim: int,
) -> Atoms | None:
    """Put one orbit after the other where there is room for it; None if there is none.

    By symmetry the distances of the first point of an orbit stand for those of all its points.
    """
    placed, kinds = np.empty((0, 3)), np.empty(0, dtype=int)
    limits = np.array([[distances[min(one, two), max(one, two)] for two in elements] for one in elements])
    for element, orbit in chosen:
        points = rng.random((POINTS_PER_ORBIT if orbit.freedom else 1, 3))
        if dim == 2:
            points[:, 2] -= 0.5
        images = np.einsum('mij,pj->pmi', orbit.maps[:, :, :3], points) + orbit.maps[None, :, :, 3]
        others = np.concatenate([images, np.broadcast_to(placed, (len(points), *placed.shape))], axis=1)
        allowed = limits[element][np.concatenate([np.full(images.shape[1], element), kinds])]
        room = np.flatnonzero(_apart(images[:, 0], others, allowed, cell, dim))
        if not len(room):
            return None
        placed = np.concatenate([placed, images[room[0]]])
        kinds = np.concatenate([kinds, np.full(images.shape[1], element)])
    return Atoms([elements[kind] for kind in kinds], positions=placed @ cell, cell=cell, pbc=True)


def _apart(first: np.ndarray, others: np.ndarray, allowed: np.ndarray, cell: np.ndarray, dim: int) -> np.ndarray:
    """Return which points (p, 3) are far enough from the others (p, n, 3), of which the first is the point itself."""
    difference = others - first[:, None]
    periodic = [0, 1, 2][:dim]
    difference[..., periodic] -= np.round(difference[..., periodic])
    vectors = (difference[:, :, None] + SHIFTS[dim]) @ cell
    squares = np.einsum('pnsi,pnsi->pns', vectors, vectors)
    # The point itself, in the cell itself.
    squares[:, 0, 0] = np.inf
    return (squares >= (allowed**2)[None, :, None]).all(axis=(1, 2))


def primitive(atoms: Atoms, centring: str) -> Atoms:
    """Return the primitive cell of a conventional cell with the given centring (P, A, B, C, I, F or R)."""
    if centring == 'P':
        return atoms
    cell = PRIMITIVE[centring] @ atoms.cell.array
    scaled = np.linalg.solve(cell.T, atoms.positions.T).T % 1.0
    difference = scaled[:, None] - scaled[None]
    same = np.linalg.norm((difference - np.round(difference)) @ cell, axis=2) < 1e-3
    # The first atom of every set of atoms that the centring makes equivalent.
    first = np.argmax(same, axis=1) == np.arange(len(atoms))
    return Atoms(atoms.numbers[first], scaled_positions=scaled[first], cell=cell, pbc=True)


def _flat(atoms: Atoms, centring: str) -> Atoms:
    """Return the primitive cell of a layer, the third axis, that of the vacuum, along z."""
    rotation = atoms.cell.standard_form()[1]
    positions, cell = atoms.positions @ rotation.T, atoms.cell.array @ rotation.T
    cell[2] = [0, 0, 100.0]
    return primitive(Atoms(atoms.numbers, positions + np.array([0, 0, 50.0]), cell=cell, pbc=True), centring)


def _finished(
    atoms: Atoms,
    elements: list[str],
    counts: tuple[int, ...],
    distances: dict[tuple[str, str], float],
    number: int,
    dim: int,
) -> Atoms | None:
    """Sort by element, reduce the cell and check; None where something is wrong."""
    symbols = atoms.get_chemical_symbols()
    finite = np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
    if not finite or tuple(symbols.count(element) for element in elements) != counts:
        return None
    atoms = atoms[np.argsort([elements.index(symbol) for symbol in symbols], kind='stable')]
    atoms.pbc = True
    if dim == 3:
        # Compact cells: the shortest vectors of the lattice.
        compact = atoms.cell.minkowski_reduce()[0].array
        atoms.set_cell(compact if np.linalg.det(compact) > 0 else -compact)
    else:
        atoms.center(vacuum=VACUUM / 2, axis=2)
        atoms.info['vacuum_axes'] = [2]
    atoms.wrap()
    if atoms.get_volume() < 1e-3 or too_close(atoms, distances):
        return None
    symbol = _group(number, dim).symbol
    name = f'{"space" if dim == 3 else "layer"} group {symbol} ({number})'
    atoms.info.update(
        phase='random' if dim == 3 else 'random layer',
        reason=f'random Wyckoff positions of {name}',
        parameters={'space_group' if dim == 3 else 'layer_group': number, 'symbol': symbol},
    )
    return atoms


def too_close(atoms: Atoms, distances: dict[tuple[str, str], float]) -> bool:
    """Return whether two atoms (images included) are closer than the distance (Å) of their pair of elements."""
    limits = np.zeros((119, 119))
    for (one, two), value in distances.items():
        limits[atomic_numbers[one], atomic_numbers[two]] = limits[atomic_numbers[two], atomic_numbers[one]] = value
    first, second, found = neighbor_list('ijd', atoms, float(limits.max()))
    return bool((found < limits[atoms.numbers[first], atoms.numbers[second]]).any())


def minimum_distances(
    elements: list[str], ratio: float, own: dict[tuple[str, str], float] | None = None
) -> dict[tuple[str, str], float]:
    """Return pair in alphabetical order -> Å: `ratio` times the sum of the covalent radii, or its own value."""
    named = {(min(pair), max(pair)): value for pair, value in (own or {}).items()}
    pairs = [(min(pair), max(pair)) for pair in combinations_with_replacement(elements, 2)]
    return {
        pair: named.get(pair, ratio * sum(float(covalent_radii[atomic_numbers[element]]) for element in pair))
        for pair in pairs
    }


def _volume_per_atom(elements: list[str], counts: tuple[int, ...]) -> float:
    spheres = [4 / 3 * math.pi * covalent_radii[atomic_numbers[element]] ** 3 for element in elements]
    return float(np.average(spheres, weights=counts) / 0.34)


def _fingerprint(atoms: Atoms) -> np.ndarray:
    """Sorted distances up to CUTOFF, each shifted by a number that names its pair of elements."""
    first, second, distances = neighbor_list('ijd', atoms, CUTOFF)
    numbers = atoms.numbers
    pair = np.minimum(numbers[first], numbers[second]) * 200 + np.maximum(numbers[first], numbers[second])
    return np.sort(distances + 10.0 * pair)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """PyXtal prints and warns."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
