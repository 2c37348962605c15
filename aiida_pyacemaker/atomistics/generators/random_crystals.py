"""Symmetry-random crystals: atoms on random Wyckoff positions of random space groups (PyXtal, checked).

PyXtal: S. Fredericks, K. Parrish, D. Sayre, Q. Zhu, Comput. Phys. Commun. 261, 107810 (2021).
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list

from ..parameters import require

#: Tries per crystal asked for, and tries on top of these.
ATTEMPTS_EACH, ATTEMPTS_MORE = 6, 20
#: A try that finds no room makes the cell larger by this factor, at most up to the second one.
GROWTH, LARGEST = 1.04, 1.5
#: Layer groups and space groups.
GROUPS = {2: 80, 3: 230}
#: Vacuum (Å) above a layer (`dim=2`).
VACUUM = 15.0
#: Two crystals are the same where all distances up to CUTOFF (Å) agree within SAME (Å).
CUTOFF, SAME = 5.0, 0.02
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
    groups = compatible_groups(counts, dim)
    if space_groups is not None:
        groups = tuple(group for group in groups if group in set(space_groups))
        if not groups:
            possible = ', '.join(map(str, compatible_groups(counts, dim)[-8:]))
            raise ValueError(
                f'space_groups {space_groups}: none can carry {_formula(composition)} in one primitive cell; '
                f'{possible} can, for example'
            )
    distances = minimum_distances(elements, min_distance, min_distances)
    volume = volume_per_atom or _volume_per_atom(elements, counts)
    found: list[Atoms] = []
    prints: list[np.ndarray] = []
    growth = 1.0
    for _ in range(ATTEMPTS_EACH * number + ATTEMPTS_MORE):
        group = groups[int(rng.integers(len(groups)))]
        atoms = _one(group, elements, counts, volume * growth, distances, int(rng.integers(2**31)), dim)
        if atoms is None:
            growth = min(growth * GROWTH, LARGEST)
            continue
        mark = _fingerprint(atoms)
        if any(mark.shape == other.shape and np.allclose(mark, other, atol=SAME) for other in prints):
            continue
        prints.append(mark)
        found.append(atoms)
        growth = 1.0
        if len(found) == number:
            break
    return found


@lru_cache(maxsize=256)
def compatible_groups(counts: tuple[int, ...], dim: int = 3) -> tuple[int, ...]:
    """Return the numbers of the groups whose Wyckoff positions can hold these numbers of atoms in a primitive cell."""
    require('pyxtal', 'random crystals')
    return tuple(
        number
        for number in range(1, GROUPS[dim] + 1)
        if _group(number, dim).check_compatible([count * _group(number, dim).cellsize() for count in counts])[0]
    )


@lru_cache(maxsize=512)
def _group(number: int, dim: int) -> Any:
    from pyxtal.symmetry import Group

    with _silent():
        return Group(number, dim=dim)


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
    seed: int,
    dim: int,
) -> Atoms | None:
    """Return one checked crystal, or None where PyXtal found none."""
    from pyxtal import pyxtal
    from pyxtal.lattice import Lattice
    from pyxtal.tolerance import Tol_matrix

    group = _group(number, dim)
    multiplicity = group.cellsize()
    volume = volume_per_atom * sum(counts) * multiplicity
    rng = np.random.default_rng(seed)
    crystal = pyxtal()
    with _silent():
        try:
            shape = {'unique_axis': 'c'} if dim == 3 else _layer(number, volume_per_atom)
            periodic = [1, 1, 1] if dim == 3 else [1, 1, 0]
            lattice = Lattice(group.lattice_type, volume, PBC=periodic, random_state=rng, **shape)
            crystal.from_random(
                dim=dim,
                group=group,
                species=elements,
                numIons=list(counts),
                conventional=False,
                lattice=lattice,
                tm=Tol_matrix(*[(*pair, value) for pair, value in distances.items()]),
                max_count=1,
                random_state=rng,
            )
            atoms = crystal.to_ase(resort=False, add_vaccum=False)
        # PyXtal gives up in many ways; whatever it cannot build is a try that failed, and the tries are counted.
        except Exception:
            return None
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.array, pbc=True)
    atoms = primitive(atoms, group.symbol[0].upper()) if dim == 3 else _flat(atoms, group.symbol[0].upper())
    return _finished(atoms, elements, counts, distances, number, dim)


def _layer(number: int, volume_per_atom: float) -> dict[str, Any]:
    # A layer is between one and about two atoms thick.
    return {'unique_axis': 'c' if 3 <= number <= 7 else 'a', 'thickness': 1.3 * volume_per_atom ** (1 / 3)}


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
    """Return the primitive cell of a layer, its middle at z = 0 and its third axis, that of the vacuum, along z."""
    scaled = atoms.get_scaled_positions(wrap=False)
    # PyXtal moves atoms of negative z by the third vector, which means nothing in a layer.
    scaled[:, 2] -= np.round(scaled[:, 2])
    positions = scaled @ atoms.cell.array
    rotated = atoms.cell.standard_form()[1]
    positions, cell = positions @ rotated.T, atoms.cell.array @ rotated.T
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
        scaled_cell, _ = atoms.cell.minkowski_reduce()
        atoms.set_cell(scaled_cell)
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
    return any(len(neighbor_list('i', atoms, {pair: value})) for pair, value in distances.items() if value > 0)


def minimum_distances(
    elements: list[str], ratio: float, own: dict[tuple[str, str], float] | None = None
) -> dict[tuple[str, str], float]:
    """Return pair in alphabetical order -> Å: `ratio` times the sum of the covalent radii, or its own value."""
    named = {tuple(sorted(pair)): value for pair, value in (own or {}).items()}
    pairs = [tuple(sorted(pair)) for pair in combinations_with_replacement(elements, 2)]
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


def _formula(composition: dict[str, int]) -> str:
    return ''.join(element + (str(count) if count > 1 else '') for element, count in composition.items() if count)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """PyXtal prints and warns about every try that failed."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
