"""What the generators know about an element: its crystal, its volume, its kind.

Lattice constants are those of ASE (`ase.data.reference_states`); the crystals for which ASE has no atomic positions are
listed here, from Wyckoff, *Crystal Structures* (1963), and Donohue, *The Structures of the Elements* (1974).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.data import atomic_masses, atomic_numbers, chemical_symbols, covalent_radii, reference_states
from ase.spacegroup import crystal

from ..core.errors import InputError

#: Lattices that have a conventional cell with right angles, and its atoms.
ATOMS_PER_CELL = {'sc': 1, 'bcc': 2, 'fcc': 4, 'hcp': 4, 'diamond': 8}
#: Nearest-neighbour distance in units of (volume per atom)^(1/3).
NEAREST = {
    'sc': 1.0,
    'bcc': math.sqrt(3) / 2 * 2 ** (1 / 3),
    'fcc': 2 ** (1 / 6),
    'hcp': 2 ** (1 / 6),
    'diamond': math.sqrt(3) / 4 * 2,
}
#: Elements that are not metals, metalloids among them.
NON_METALS = frozenset('H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Sb Te I Xe At Rn Ts Og'.split())
#: Elements whose molecules have two atoms: in a compound they are much smaller than in their own crystal.
DIATOMIC = ('H', 'N', 'O', 'F', 'Cl', 'Br', 'I')
#: Elements whose solids are networks of covalent bonds, on their own or with each other.
NETWORK_FORMERS = frozenset('B C N Si Ge P As Ga Al In'.split())
#: Those of them that form none among themselves.
NO_NETWORKS = frozenset({'N', 'P', 'As'})
#: Elements that take electrons from a metal.
ANION_FORMERS = frozenset('N O F P S Cl As Se Br Te I H'.split())
#: Elements that are no partners in an alloy.
GASES = frozenset({*DIATOMIC, 'He', 'Ne', 'Ar', 'Kr', 'Xe', 'Rn'})

#: Crystals that ASE cannot build: space group, sites (fractional) and cell (a, b, c, in Å; alpha, beta, gamma).
_CRYSTALS: dict[str, tuple[int, list[tuple[float, float, float]], list[float]]] = {
    'He': (194, [(1 / 3, 2 / 3, 1 / 4)], [3.57, 3.57, 5.83, 90, 90, 120]),
    # alpha boron, 36 atoms; the tetragonal cell of ASE needs nitrogen or carbon to exist
    'B': (166, [(0.1187, 0.2374, 0.8912), (0.1965, 0.3930, 0.0243)], [4.908, 4.908, 12.567, 90, 90, 120]),
    # black phosphorus
    'P': (64, [(0.0, 0.1017, 0.0806)], [3.3136, 10.478, 4.3763, 90, 90, 90]),
    'Mn': (
        217,
        [(0, 0, 0), (0.317, 0.317, 0.317), (0.356, 0.356, 0.042), (0.089, 0.089, 0.278)],
        [8.89, 8.89, 8.89, 90, 90, 90],
    ),
    'Ga': (64, [(0.0, 0.1549, 0.0810)], [4.5192, 7.6586, 4.5258, 90, 90, 90]),
    'Se': (152, [(0.2254, 0.0, 1 / 3)], [4.3662, 4.3662, 4.9536, 90, 90, 120]),
    'Te': (152, [(0.2636, 0.0, 1 / 3)], [4.4566, 4.4566, 5.9264, 90, 90, 120]),
    'I': (64, [(0.0, 0.1543, 0.1174)], [7.136, 4.686, 9.784, 90, 90, 90]),
    'Pa': (139, [(0, 0, 0)], [3.925, 3.925, 3.238, 90, 90, 90]),
    'U': (63, [(0.0, 0.1024, 0.25)], [2.854, 5.869, 4.955, 90, 90, 90]),
}
#: Volume per atom (Å³) of crystals too large or too special to build here (Pu: monoclinic, S: 128 atoms...), and of
#: hydrogen in metals (Fukai, The Metal-Hydrogen System, 2005).
_VOLUMES = {
    'H': 2.9,
    'S': 25.8,
    'Np': 19.2,
    'Pu': 20.0,
    'Pm': 33.6,
    'Ra': 68.2,
    'Am': 29.3,
    'Cm': 29.9,
    'Bk': 27.9,
    'Cf': 27.2,
}


def check_elements(elements: list[str], key: str = 'system.elements') -> None:
    """Check that all are elements, and that there are any.

    :param key: under which they were given, for the messages.
    :raises InputError: naming what is not an element.
    """
    if not elements:
        raise InputError(key, 'the list is empty', 'give at least one element')
    for element in elements:
        if element not in chemical_symbols[1:]:
            raise InputError(key, f'{element!r} is not a chemical element')


def is_metal(element: str) -> bool:
    """Return whether an element is a metal; metalloids (B, Si, Ge, As, Sb, Te) are not."""
    return element not in NON_METALS


def forms_network(elements: list[str]) -> bool:
    """Return whether elements form a network of covalent bonds, such as diamond, SiC, BN and GaAs."""
    return set(elements) <= NETWORK_FORMERS and not set(elements) <= NO_NETWORKS


def covalent_radius(element: str) -> float:
    """Covalent radius in Å (Cordero et al., Dalton Trans. 2008, 2832, as tabulated in ASE)."""
    return float(covalent_radii[atomic_numbers[element]])


def mass(element: str) -> float:
    """Atomic mass in u."""
    return float(atomic_masses[atomic_numbers[element]])


def symmetry(element: str) -> str | None:
    """Name of the ground-state lattice in ASE ('fcc', 'bcc', 'diatom', 'rhombohedral'...), None if it knows none."""
    state = reference_states[atomic_numbers[element]]
    return str(state['symmetry']) if state else None


def ground_lattice(element: str) -> str:
    """Return the lattice of `ATOMS_PER_CELL` that is nearest to the ground state.

    It is the ground state where that is one of them, else the fcc lattice (and diamond for what is not a metal).
    """
    found = lattice_of(element)
    if found is not None:
        return found
    return 'fcc' if is_metal(element) else 'diamond'


def lattice_of(element: str) -> str | None:
    """Return the ground-state lattice if it is one of `ATOMS_PER_CELL`, else None."""
    if element in _CRYSTALS:  # ASE calls selenium and tellurium hcp, their cell being hexagonal
        return 'hcp' if element == 'He' else None
    found = symmetry(element)
    return found if found in ATOMS_PER_CELL else None


@cache
def volume_per_atom(element: str) -> float:
    """Volume per atom (Å³) of an element: of its ground state where that is known.

    Of the other diatomic molecules (`DIATOMIC`), and where no crystal is known, it is the volume of close
    packing with neighbours at 1.1 times the sum of the covalent radii: that is nearer to what they take up in a
    compound than their molecular crystal is.
    """
    if element in _VOLUMES:
        return _VOLUMES[element]
    atoms = None if element in DIATOMIC else _crystal(element)
    if atoms is None:
        return (2.2 * covalent_radius(element) / NEAREST['fcc']) ** 3
    return float(atoms.get_volume() / len(atoms))


def mean_volume(elements: list[str], volumes: dict[str, float] | None = None) -> float:
    """Mean volume per atom (Å³); an element counts as often as it is named. `volumes` take precedence."""
    return float(np.mean([(volumes or {}).get(element) or volume_per_atom(element) for element in elements]))


def ground_state(element: str) -> Atoms:
    """Return the conventional cell of the ground state, with right angles where such a cell exists, periodic.

    fcc, bcc, hcp (orthorhombic, 4 atoms), sc and diamond as in `conventional_cell`; body-centred tetragonal (In, Sn)
    with right angles; rhombohedral (As, Sb, Bi, Hg, Sm) primitive; He, B, P, Mn, Ga, Se, Te, I, Pa and U from a table.
    Diatomic molecules crystallise in the structure of alpha nitrogen (Pa-3). Elements without any (S, Np, Pu, Am...)
    fall back to fcc, or to diamond if they are not metals, at `volume_per_atom`. The info says which under `phase`.
    """
    lattice = lattice_of(element)
    if lattice is not None and element not in _CRYSTALS:
        atoms = conventional_cell([element], lattice)
        atoms.info['phase'] = lattice
        return atoms
    found = _crystal(element)
    if found is None:
        lattice = ground_lattice(element)
        found = conventional_cell([element], lattice)
        found.info['phase'] = lattice
    return found.copy()


def conventional_cell(elements: list[str], lattice: str, volume: float | None = None) -> Atoms:
    """Return the cell with right angles of a lattice, all atoms of the first element, periodic.

    :param volume: Å³ per atom; by default the mean over the elements. One element in its own lattice gets its own
        lattice constants (and c/a); else hcp has the ideal c/a.
    :raises ValueError: if the lattice is unknown.
    """
    if lattice not in ATOMS_PER_CELL:
        raise ValueError(f'unknown lattice {lattice!r}: choose from {", ".join(ATOMS_PER_CELL)}')
    if lattice_of(elements[0]) == lattice and len(set(elements)) == 1 and elements[0] not in _CRYSTALS:
        atoms = _right_angled(elements[0], lattice)
        return atoms if volume is None else scaled(atoms, volume)
    volume = mean_volume(elements) if volume is None else volume
    if lattice == 'hcp':
        a = (volume * math.sqrt(2)) ** (1 / 3)  # ideal c/a: a³/sqrt(2) per atom
        return _right_angled(elements[0], 'hcp', a=a, c=a * math.sqrt(8 / 3))
    return _right_angled(elements[0], lattice, a=(volume * ATOMS_PER_CELL[lattice]) ** (1 / 3))


def _right_angled(element: str, lattice: str, a: float | None = None, c: float | None = None) -> Atoms:
    return _bare(bulk(element, lattice, a=a, c=c, orthorhombic=lattice == 'hcp', cubic=lattice != 'hcp'))


def _bare(atoms: Atoms) -> Atoms:
    """Without what ASE adds: magnetic moments of iron, the space group (which no file format takes)."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


def scaled(atoms: Atoms, volume: float) -> Atoms:
    """Return a copy with the given volume per atom (Å³), the shape kept."""
    changed = atoms.copy()
    factor = (volume * len(atoms) / atoms.get_volume()) ** (1 / 3)
    changed.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return changed


def repeats(cell: Atoms, atoms: int) -> list[int]:
    """How often a cell is repeated along each axis until it has at least `atoms` atoms.

    Always the shortest axis grows: of equal axes the last, (1, 1, 2), (1, 2, 2), (2, 2, 2). Along each axis the
    supercell is a whole number of cells, so that meshes of k-points can be commensurate between cells of other sizes.
    """
    found = np.ones(3, dtype=int)
    while len(cell) * found.prod() < atoms:
        lengths = np.round(found * cell.cell.lengths(), 6)
        found[2 - int(np.argmin(lengths[::-1]))] += 1
    return found.tolist()


def example_cell(elements: list[str], atoms: int) -> Atoms:
    """Return a crystal of at least `atoms` atoms, equal shares of all elements on the lattice of the first."""
    cell = conventional_cell(elements, ground_lattice(elements[0]))
    cell = cell.repeat(repeats(cell, atoms))
    symbols = [elements[index % len(elements)] for index in range(len(cell))]
    cell.set_chemical_symbols(np.random.default_rng(0).permutation(symbols).tolist())
    return cell


@cache
def _crystal(element: str) -> Atoms | None:
    """Crystal of an element from ASE or from the tables above, None if there is none."""
    if element in _CRYSTALS:
        group, sites, cell = _CRYSTALS[element]
        atoms = crystal([element] * len(sites), sites, spacegroup=group, cellpar=cell)
        phase = {'He': 'hcp'}.get(element, f'{element} ground state')
    elif symmetry(element) == 'diatom' or element in DIATOMIC:
        atoms, phase = _molecular(element), 'molecular crystal'
    elif symmetry(element) in ('fcc', 'bcc', 'hcp', 'sc', 'diamond', 'bct', 'rhombohedral'):
        atoms, phase = bulk(element), str(symmetry(element))
        if phase == 'bct':
            atoms = make_supercell(atoms, [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    else:
        return None
    atoms = _bare(atoms)
    atoms.info['phase'] = phase
    atoms.wrap()
    return atoms


def _molecular(element: str) -> Atoms:
    """Four diatomic molecules along the body diagonals of a cube: the structure of alpha nitrogen (Pa-3)."""
    bonds = {'H': 0.74, 'N': 1.10, 'O': 1.21, 'F': 1.41, 'Cl': 1.99, 'Br': 2.28}
    sides = {'H': 5.31, 'N': 5.66, 'O': 5.17, 'F': 5.04, 'Cl': 6.13, 'Br': 6.40}
    side = sides[element]
    shift = bonds[element] / (2 * math.sqrt(3) * side)
    return crystal(element, [(shift,) * 3], spacegroup=205, cellpar=[side] * 3 + [90] * 3)
