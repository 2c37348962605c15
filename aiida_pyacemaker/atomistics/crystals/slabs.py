"""Slabs: what interfaces and adsorption have in common. Crystal planes, terminations, polarity, vacuum.

Miller indices refer to the conventional cell in the standard setting of spglib; of hexagonal and trigonal crystals they
may have four numbers. A *plane* is a set of atoms at (nearly) one height; a slab is a stack of planes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms
from ase.build import surface
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.formula import Formula
from ase.io import read

from ..checks.pairs import periodic_pairs
from ..core.chemistry import parse_formula
from ..core.errors import InputError
from ..core.symmetry import call_spglib
from .elements import ground_state, is_metal

#: Å; atoms whose heights differ by less belong to one plane.
PLANE_TOLERANCE = 0.2
#: A bond is shorter than this times the sum of the covalent radii.
BOND = 1.25
#: Å; the length over which the strength of a bond falls by e.
BOND_VALENCE = 0.37
#: Å of crystal that is kept below and above a slab while its bonds are counted.
CRYSTAL_MARGIN = 4.0
#: e Å per Å² of the cell; a slab with more is polar (Tasker, J. Phys. C 12, 4977 (1979): type III has about 0.1 to 1).
DIPOLE = 0.01
#: A termination that breaks more bonds than this times the fewest is proposed only on request.
MAX_BROKEN_BONDS_RATIO = 1.6
#: Surfaces that are looked at where none is named.
LOW_INDEX = ((0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
#: Elements that are anions in a compound with metals.
ANIONS = frozenset('N O F P S Cl As Se Br Te I'.split())
OXIDATION = 'oxidation_states'
#: Overlap ratio of the default checks.
OVERLAP = 0.7

Miller = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Crystal:
    """A bulk crystal that can be cut.

    :param label: formula.
    :param conventional: standard conventional cell, to which Miller indices refer; its info has `phase`.
    :param primitive: primitive cell in the same orientation.
    """

    label: str
    conventional: Atoms
    primitive: Atoms
    rotations: np.ndarray
    space_group: int

    @property
    def hexagonal(self) -> bool:
        """Whether planes have four indices."""
        return 143 <= self.space_group <= 194

    @property
    def metallic(self) -> bool:
        return all(is_metal(element) for element in set(self.conventional.get_chemical_symbols()))

    @cached_property
    def nearest(self) -> float:
        """Shortest distance between two atoms, Å."""
        atoms = self.primitive
        return float(periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 6.0)[3].min())


@dataclass(frozen=True)
class Termination:
    """Which planes of a stack make the slab.

    :param first: index of the lowest plane in `Stack.planes`; `number`: how many planes.
    :param top: formula of the highest plane, `bottom` that of the lowest.
    :param broken: bonds per Å² that both cuts break.
    :param dipole: e Å per Å², by oxidation states (0 without them).
    :param mirrored: whether the planes are the same from above and from below.
    """

    first: int
    number: int
    top: str
    bottom: str
    broken: float
    dipole: float
    stoichiometric: bool
    mirrored: bool

    @property
    def polar(self) -> bool:
        return abs(self.dipole) > DIPOLE

    @property
    def label(self) -> str:
        return self.top if self.top == self.bottom else f'{self.bottom} below, {self.top} above'


@dataclass(frozen=True, eq=False)
class Stack:
    """A crystal seen along the normal of a plane: a pile of planes, periodic in x and y only.

    :param atoms: cell vectors a and b in the xy plane (reduced), z along the normal, not periodic along it.
    :param planes: indices of the atoms of each plane, from below.
    :param period: planes after which the pile repeats.
    :param margin: planes below and above that are only there for bonds to be counted.
    """

    crystal: Crystal
    miller: Miller
    atoms: Atoms
    planes: tuple[tuple[int, ...], ...]
    heights: tuple[float, ...]
    period: int
    margin: int

    @property
    def vectors(self) -> np.ndarray:
        """In-plane lattice vectors, (2, 2) Å."""
        return self.atoms.cell.array[:2, :2]

    @property
    def area(self) -> float:
        return float(abs(np.linalg.det(self.vectors)))

    @property
    def spacing(self) -> float:
        """Mean distance between planes, Å."""
        return (self.heights[-1] - self.heights[0]) / (len(self.heights) - 1)

    @property
    def label(self) -> str:
        """Such as Pt(111) or Mg(0001)."""
        return f'{self.crystal.label}({miller_label(self.miller, self.crystal.hexagonal)})'


# Crystals -----------------------------------------------------------------------------------------------------------


def bulk_of(formula_or_path: str, elements: list[str], key: str) -> Crystal:
    """Return a crystal by its formula or from a file.

    :param formula_or_path: a formula (of an element: its ground state; of a compound: the likeliest structure) or the
        path of a file that ASE reads.
    :param elements: those of the run file; others are refused.
    :param key: the key of the run file that names it, for messages.
    :raises ValueError: if the formula or file is of no use, or has elements that the run file does not have.
    """
    if looks_like_file(formula_or_path):
        atoms = _from_file(formula_or_path, key)
        phase = Path(formula_or_path).stem
    else:
        counts = parse_formula(
            formula_or_path, key, 'neither a formula nor a file', 'give a formula such as MgO, or the path of a CIF'
        )
        check_composition(counts, elements, formula_or_path, key)
        atoms = _by_formula(counts, key)
        phase = atoms.info['phase']
    check_composition(atoms.get_chemical_symbols(), elements, formula_or_path, key)
    return as_crystal(atoms, phase, key)


def as_crystal(atoms: Atoms, phase: str, key: str) -> Crystal:
    """Return the standard cells of a bulk structure; its oxidation states are kept, or guessed for salts and oxides."""
    atoms = atoms.copy()
    if OXIDATION not in atoms.arrays:
        guessed = _crystal_states(Counter(atoms.get_chemical_symbols()))
        if guessed is not None:
            atoms.set_array(OXIDATION, np.array([guessed[symbol] for symbol in atoms.get_chemical_symbols()], float))
    kinds, types = _kinds(atoms)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), types)
    conventional, primitive = (
        call_spglib(spglib.standardize_cell, cell, to_primitive=small, symprec=1e-3) for small in (False, True)
    )
    if conventional is None or primitive is None:
        raise InputError(
            key,
            f'no crystal symmetry is found in {atoms.get_chemical_formula()}',
            'is the file a crystal?',
        )
    standard = call_spglib(spglib.get_symmetry_dataset, conventional, symprec=1e-3)
    assert standard is not None, 'the standard cell has the symmetry by which it was found'
    whole, smallest = _atoms(conventional, kinds), _atoms(primitive, kinds)
    whole.info['phase'] = smallest.info['phase'] = phase
    label = Formula(atoms.get_chemical_formula(), strict=False).reduce()[0].format('metal')
    return Crystal(label, whole, smallest, np.asarray(standard.rotations), int(standard.number))


def looks_like_file(name: str) -> bool:
    """Return whether a name is the path of a file rather than a formula."""
    path = Path(name).expanduser()
    return path.is_file() or len(path.parts) > 1 or bool(path.suffix) or path.stem.upper() in ('POSCAR', 'CONTCAR')


def check_composition(symbols: Iterable[str], elements: list[str], name: str, key: str) -> None:
    """:raises ValueError: if a structure has elements that the run file does not have."""
    missing = sorted(set(symbols) - set(elements))
    if missing:
        raise InputError(
            key,
            f'{name} holds {", ".join(missing)}, which system.elements ({", ".join(elements)}) does not',
            f'add {", ".join(missing)} to system.elements or name another material',
        )


def molecule_states(counts: dict[str, int]) -> dict[str, float] | None:
    """Return element -> oxidation state of a neutral molecule (mean; 0 of an element), None if there is none."""
    if len(counts) == 1:
        return dict.fromkeys(counts, 0.0)
    from .prototypes import neutral_states

    states = neutral_states(Formula.from_dict(dict(sorted(counts.items()))).reduce()[0].format('hill'))
    return None if states is None else {symbol: states[symbol] for symbol in counts}


def _crystal_states(counts: Counter) -> dict[str, float] | None:
    """Return element -> oxidation state of an ionic crystal (mean, sum zero), None of others."""
    from .plausible import oxidation_states

    divisor = math.gcd(*counts.values())
    return oxidation_states({symbol: counts[symbol] // divisor for symbol in sorted(counts)})


def _kinds(atoms: Atoms) -> tuple[list[tuple[int, float | None]], list[int]]:
    """Return the kinds of atoms (number, oxidation state), and the kind of each atom for spglib, from 1 on."""
    states = atoms.arrays.get(OXIDATION)
    pairs = [(int(n), None if states is None else float(states[i])) for i, n in enumerate(atoms.numbers)]
    kinds = list(dict.fromkeys(pairs))
    return kinds, [kinds.index(pair) + 1 for pair in pairs]


def _atoms(cell: tuple, kinds: list[tuple[int, float | None]]) -> Atoms:
    lattice, positions, types = cell
    mine = [kinds[kind - 1] for kind in types]
    atoms = Atoms([number for number, _ in mine], cell=lattice, scaled_positions=positions, pbc=True)
    if kinds[0][1] is not None:
        atoms.set_array(OXIDATION, np.array([state for _, state in mine], float))
    return atoms


def _from_file(name: str, key: str) -> Atoms:
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(key, f'the file {name} does not exist')
    try:
        atoms = read(path, index=0)
    except Exception as exception:  # ASE's readers raise anything
        raise InputError(key, f'the file {name} cannot be read: {exception!r}') from exception
    assert isinstance(atoms, Atoms)  # what one index gives
    if len(atoms) == 0 or atoms.cell.rank < 3 or not np.isfinite(atoms.positions).all():
        raise InputError(key, f'the file {name} has no crystal in it', 'give one with atoms and a cell')
    states = atoms.arrays.get(OXIDATION)
    clean = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    if states is not None:
        clean.set_array(OXIDATION, np.asarray(states, float))
    return clean


def _by_formula(counts: dict[str, int], key: str) -> Atoms:
    """Return the ground state of an element, or a compound in the prototype that is most plausible for it."""
    if len(counts) == 1:
        return ground_state(next(iter(counts)))
    from .plausible import rank_prototypes
    from .prototypes import build_prototype

    ranked = rank_prototypes(counts)
    if not ranked:
        raise InputError(
            key,
            f'no prototype is known for {Formula.from_dict(counts)}',
            'give a file (CIF) instead',
        )
    return build_prototype(ranked[0].prototype.name, list(ranked[0].species))


# Planes -------------------------------------------------------------------------------------------------------------


def read_miller(indices: Sequence[int], crystal: Crystal, key: str) -> Miller:
    """Return three coprime Miller indices.

    :param indices: three, or four (h, k, i, l) of a hexagonal or trigonal crystal.
    :raises ValueError: if they name no plane.
    """
    shown = list(indices)
    if len(indices) == 4:
        h, k, i, l = indices  # noqa: E741
        if not crystal.hexagonal:
            raise InputError(
                key,
                f'{shown} has four indices, but {crystal.label} (space group {crystal.space_group}) is not hexagonal',
                'give three',
            )
        if h + k + i != 0:
            raise InputError(
                key,
                f'of {shown} the first three must sum to zero: [{h}, {k}, {-h - k}, {l}] would',
            )
        indices = (h, k, l)
    if len(indices) != 3:
        raise InputError(
            key,
            f'{shown} has {len(indices)} indices',
            'give three such as [1, 1, 1], or four if hexagonal',
        )
    divisor = math.gcd(*indices)
    if divisor == 0:
        raise InputError(
            key,
            f'{shown} names no plane: at least one index must differ from zero, as in [0, 0, 1]',
        )
    h, k, l = (int(index) // divisor for index in indices)  # noqa: E741
    return h, k, l


def miller_label(miller: Miller, hexagonal: bool) -> str:
    """'111', '0001' of hexagonal crystals, '1 -1 0' where a number has two characters."""
    h, k, l = miller  # noqa: E741
    shown = (h, k, -h - k, l) if hexagonal else miller
    separator = ' ' if any(index < 0 or index > 9 for index in shown) else ''
    return separator.join(map(str, shown))


def low_index_planes(crystal: Crystal) -> list[Miller]:
    """Return the planes with indices 0 and 1 that symmetry keeps apart."""
    found: list[Miller] = []
    seen: set[Miller] = set()
    for miller in LOW_INDEX:
        if miller in seen:
            continue
        found.append(miller)
        images = np.einsum('i,rij->rj', np.array(miller), crystal.rotations)
        seen |= {(int(image[0]), int(image[1]), int(image[2])) for image in (*images, *-images)}
    return found


def stack_planes(crystal: Crystal, miller: Miller, layers: int) -> Stack:
    """Pile up the planes of a crystal, with room for slabs of `layers` planes and more."""
    unit = _hkl_of_primitive(crystal, miller)
    cell = crystal.primitive.cell.array
    normal = unit @ np.linalg.inv(cell).T
    spacing = float(1 / np.linalg.norm(normal))
    period, tolerance = _plane_period(crystal.primitive.positions @ normal * spacing, spacing)
    # a cut breaks bonds over some distance: that much is left below and above
    margin = math.ceil(CRYSTAL_MARGIN / spacing) + 1
    periods = math.ceil(layers / period) + 3 + 2 * margin
    atoms = surface(crystal.primitive, unit, periods)
    atoms.set_cell(np.vstack([atoms.cell.array[:2], [0, 0, spacing * periods]]))
    _reduce_in_plane(atoms)
    del atoms.arrays['tags']
    atoms.pbc = (True, True, False)
    heights, members = _heights(atoms.positions[:, 2], tolerance)
    return Stack(crystal, miller, atoms, members, tuple(heights), period, margin * period)


def _plane_period(z: np.ndarray, spacing: float) -> tuple[int, float]:
    """Return how many planes the atoms at the heights z make, which repeat after `spacing`, and what separates them.

    Planes are `PLANE_TOLERANCE` apart, or less where the crystal has no such gaps along this direction (high indices).
    """
    z = np.sort(z % spacing)
    gaps = np.diff(np.append(z, z[0] + spacing))
    tolerance = min(PLANE_TOLERANCE, 0.9 * float(gaps.max()))
    return int((gaps > tolerance).sum()), tolerance


def _hkl_of_primitive(crystal: Crystal, miller: Miller) -> np.ndarray:
    """Return the same plane in indices of the primitive cell.

    With a_p = M a_c, the plane G = h · b_c has G · a_p = M h.
    """
    matrix = crystal.primitive.cell.array @ np.linalg.inv(crystal.conventional.cell.array)
    # M has the denominators 1, 2, 3 (and 6 for safety) of centred lattices
    indices = np.rint(6 * matrix @ np.array(miller)).astype(int)
    return indices // math.gcd(*indices.tolist())


def _heights(z: np.ndarray, tolerance: float) -> tuple[list[float], tuple[tuple[int, ...], ...]]:
    """Group heights into planes, from below: mean heights and members."""
    order = np.argsort(z, kind='stable')
    breaks = np.flatnonzero(np.diff(z[order]) > tolerance) + 1
    groups = np.split(order, breaks)
    return [float(z[group].mean()) for group in groups], tuple(tuple(sorted(group.tolist())) for group in groups)


def _reduce_in_plane(atoms: Atoms) -> None:
    """Gauss-reduce the vectors a and b in place, with a along x and a right-handed cell; wrap in the plane."""
    a, b = atoms.cell.array[0].copy(), atoms.cell.array[1].copy()
    for _ in range(100):
        if a @ a > b @ b + 1e-9:
            a, b = b, -a
        n = np.floor((a @ b) / (a @ a) + 0.5 - 1e-9)
        if n == 0:
            break
        b = b - n * a
    angle = -math.degrees(math.atan2(a[1], a[0]))
    atoms.set_cell(np.array([a, b, atoms.cell.array[2]]))
    atoms.rotate(angle, 'z', rotate_cell=True)
    cell = atoms.cell.array
    cell[np.abs(cell) < 1e-12] = 0.0
    atoms.set_cell(cell)
    scaled = atoms.get_scaled_positions(wrap=False)
    scaled[:, :2] = (scaled[:, :2] + 1e-7) % 1.0 - 1e-7
    atoms.set_scaled_positions(scaled)


# Terminations -------------------------------------------------------------------------------------------------------


def terminations(stack: Stack, layers: int, symmetric: bool = False) -> list[Termination]:
    """Return the ways to cut a slab of at least `layers` planes, each top plane once, best first.

    Slabs without dipole come first, then those with the composition of the bulk, then those that break few bonds. Where
    there are oxidation states, a slab is charge-neutral or not there at all; the number of planes is raised (by less
    than a period) until it is. Metals may be cut anywhere.

    :param symmetric: prefer slabs whose two sides are alike to those with the composition of the bulk.
    """
    broken = _broken_bonds(stack)
    numbers = range(layers, layers + stack.period + 1)
    found: list[Termination] = []
    seen = set()
    for step in range(stack.period):
        top = stack.margin + layers + stack.period + step
        options = [_termination(stack, top, number, broken) for number in numbers]
        usable = [option for option in options if option is not None]
        if not usable:
            continue
        best = min(usable, key=lambda option: _rank(option, symmetric))
        key = _planes(stack, best.first, best.number)
        if key not in seen:
            seen.add(key)
            found.append(best)
    return sorted(found, key=lambda option: _rank(option, symmetric))


def proposed(options: list[Termination], stack: Stack) -> list[Termination]:
    """Return the terminations that are sensible without being asked for: not polar and with few broken bonds."""
    good = [option for option in options if not option.polar]
    if any(option.stoichiometric for option in good) and not stack.crystal.metallic:
        good = [option for option in good if option.stoichiometric]
    fewest = min((option.broken for option in good), default=0.0)
    return [option for option in good if option.broken <= MAX_BROKEN_BONDS_RATIO * fewest + 1e-9]


def choose_terminations(
    stack: Stack, layers: int, names: list[str] | None, symmetric: bool, key: str
) -> list[Termination]:
    """Return the terminations asked for, or the sensible ones.

    :param names: formulas of the highest plane, such as TiO2; a polar slab must be named.
    :raises ValueError: naming the terminations there are.
    """
    options = terminations(stack, layers, symmetric)
    if symmetric:
        options = [option for option in options if option.mirrored]
    if not options:
        raise InputError(
            key,
            f'no slab of {stack.label} is {"the same on both sides" if symmetric else "charge-neutral"}: '
            f'{"set symmetric to false" if symmetric else "name another plane"}',
        )
    if names is None:
        good = proposed(options, stack)
        if not good:
            known = ', '.join(dict.fromkeys(option.top for option in options))
            raise InputError(
                key,
                f'every slab of {stack.label} has a dipole (that of least has '
                f'{min(abs(option.dipole) for option in options):.2f} e/Å)',
                f'name another plane, or its termination ({known}) if you want it nevertheless',
            )
        return good
    wanted = {_normal(name) for name in names}
    chosen = [option for option in options if _normal(option.top) in wanted]
    if not chosen:
        known = ', '.join(dict.fromkeys(option.top for option in options))
        raise InputError(key, f'{stack.label} does not end in {", ".join(names)}', f'it can end in {known}')
    return chosen


def surfaces_by_stability(crystal: Crystal, layers: int, symmetric: bool = False) -> list[Stack]:
    """Return the low-index surfaces that have a sensible termination, those with few broken bonds first.

    The basal plane of a hexagonal or trigonal crystal comes before all others: counting bonds does not see how much
    Al2O3(0001) relaxes, and it is the plane that is grown on.
    """
    ranked = []
    for order, miller in enumerate(low_index_planes(crystal)):
        stack = stack_planes(crystal, miller, layers)
        options = terminations(stack, layers, symmetric)
        if symmetric:
            options = [option for option in options if option.mirrored]
        good = proposed(options, stack)
        if good:
            other = not (crystal.hexagonal and miller == (0, 0, 1))
            ranked.append((other, round(min(option.broken for option in good), 6), order, stack))
    return [stack for *_, stack in sorted(ranked, key=lambda entry: entry[:3])]


def make_slab(stack: Stack, termination: Termination) -> Atoms:
    """Return a slab: lowest plane at z = 0, cell vector c along z and as long as the slab is thick, without info."""
    planes = stack.planes[termination.first : termination.first + termination.number]
    slab = stack.atoms[[atom for plane in planes for atom in plane]]
    slab.info.clear()
    slab.positions[:, 2] -= slab.positions[:, 2].min()
    thickness = float(slab.positions[:, 2].max())
    slab.set_cell(np.vstack([slab.cell.array[:2], [0, 0, max(thickness, 1.0)]]))
    slab.pbc = True
    return slab


def with_vacuum(atoms: Atoms, vacuum: float) -> Atoms:
    """Return a copy with `vacuum` Å between its highest atom and the image of its lowest, centred along z."""
    found = atoms.copy()
    low, high = found.positions[:, 2].min(), found.positions[:, 2].max()
    length = float(high - low + vacuum)
    found.set_cell(np.vstack([found.cell.array[:2], [0, 0, length]]))
    found.positions[:, 2] += vacuum / 2 - low
    found.pbc = True
    found.info['vacuum_axes'] = [2]
    return found


def _rank(option: Termination, symmetric: bool) -> tuple:
    sides = not option.mirrored if symmetric else not option.stoichiometric
    return (option.polar, sides, not option.stoichiometric, round(option.broken, 6), option.number, option.first)


def _termination(stack: Stack, top: int, number: int, broken: np.ndarray) -> Termination | None:
    """Return the slab whose highest plane is `top`; None if it is charged, or not of the composition of the bulk."""
    first = top - number + 1
    planes = stack.planes[first : top + 1]
    atoms = stack.atoms[[atom for plane in planes for atom in plane]]
    bulk = Counter(stack.crystal.primitive.get_chemical_symbols())
    here = Counter(atoms.get_chemical_symbols())
    stoichiometric = len({here[symbol] / bulk[symbol] for symbol in bulk}) == 1
    states = atoms.arrays.get(OXIDATION)
    if (states is None and not (stoichiometric or stack.crystal.metallic)) or (
        states is not None and abs(states.sum()) > 1e-6
    ):
        return None
    dipole = 0.0 if states is None else float(states @ atoms.positions[:, 2]) / stack.area
    sequence = _planes(stack, first, number)
    return Termination(
        first=first,
        number=number,
        top=_formula(stack, planes[-1]),
        bottom=_formula(stack, planes[0]),
        broken=float(broken[first] + broken[top + 1]),
        dipole=dipole,
        stoichiometric=stoichiometric,
        mirrored=sequence == _planes(stack, first, number, from_above=True),
    )


def _planes(stack: Stack, first: int, number: int, from_above: bool = False) -> tuple:
    """Formula of each plane and the distances between them, in units of 0.05 Å."""
    formulas = [_formula(stack, plane) for plane in stack.planes[first : first + number]]
    gaps = np.rint(np.diff(stack.heights[first : first + number]) / 0.05).astype(int).tolist()
    return (tuple(formulas[::-1]), tuple(gaps[::-1])) if from_above else (tuple(formulas), tuple(gaps))


def _broken_bonds(stack: Stack) -> np.ndarray:
    """Bonds per Å² that a cut below each plane breaks, (planes + 1,), each counted by its strength.

    A bond of length d has the strength exp((d0 - d) / 0.37 Å), d0 being the shortest between the two elements: the
    bond-valence rule (Brown and Altermatt, Acta Cryst. B 41, 244 (1985)).
    """
    plane_of = np.empty(len(stack.atoms), dtype=int)
    for index, plane in enumerate(stack.planes):
        plane_of[list(plane)] = index
    radii = BOND * covalent_radii[stack.atoms.numbers]
    first, second, _, lengths = periodic_pairs(
        stack.atoms.positions, stack.atoms.cell.array, stack.atoms.pbc, 2 * radii.max()
    )
    bonded = lengths < radii[first] + radii[second]
    first, second, lengths = first[bonded], second[bonded], lengths[bonded]
    numbers = stack.atoms.numbers
    pairs = np.minimum(numbers[first], numbers[second]) * 200 + np.maximum(numbers[first], numbers[second])
    strengths = np.zeros(len(lengths))
    for pair in np.unique(pairs):
        mine = pairs == pair
        strengths[mine] = np.exp((lengths[mine].min() - lengths[mine]) / BOND_VALENCE)
    low, high = np.sort([plane_of[first], plane_of[second]], axis=0)
    steps = np.zeros(len(stack.planes) + 2)
    np.add.at(steps, low + 1, strengths)
    np.add.at(steps, high + 1, -strengths)
    return np.cumsum(steps)[:-1] / stack.area


def _formula(stack: Stack, plane: tuple[int, ...]) -> str:
    symbols = stack.atoms[list(plane)].get_chemical_formula()
    return Formula(symbols, strict=False).reduce()[0].format('metal')


def _normal(formula: str) -> tuple:
    """Return a formula such that Ti2O4 and O2Ti compare equal to TiO2."""
    try:
        return tuple(sorted(Formula(formula, strict=True).reduce()[0].count().items()))
    except ValueError:
        return (formula,)


def contact_distance(first: str, second: str, bonding: bool = True) -> float:
    """Distance (Å) at which two atoms of different bodies touch, from covalent radii.

    Metals in a metal are 1.1 times the sum of the covalent radii apart, a metal and another element that sum; atoms
    that do not bond (anions among each other, hydrogen) 1.7 times, about 0.7 times the sum of van der Waals radii.

    :param bonding: whether elements such as carbon and silicon may bond to each other.
    """
    total = covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]]
    metals = is_metal(first) + is_metal(second)
    if metals:
        return float(1.1 * total if metals == 2 else total)
    saturated = {first, second} & (ANIONS | {'H'})
    return float(1.7 * total if saturated or not bonding else 1.05 * total)


def contact_offset(lower: Atoms, upper: Atoms, bonding: bool = True) -> float:
    """Return by how much `upper` must be moved along z to just touch `lower`, whose cell vectors a and b count.

    No pair of atoms is then closer than `contact_distance`. The offset may be negative.
    """
    kinds = [np.unique(atoms.numbers) for atoms in (lower, upper)]
    table = np.array(
        [[contact_distance(chemical_symbols[i], chemical_symbols[j], bonding) for j in kinds[1]] for i in kinds[0]]
    )
    reach = float(table.max())
    below = lower[lower.positions[:, 2] > lower.positions[:, 2].max() - 2 * reach]
    above = upper[upper.positions[:, 2] < upper.positions[:, 2].min() + 2 * reach]
    apart = table[np.ix_(np.searchsorted(kinds[0], below.numbers), np.searchsorted(kinds[1], above.numbers))]
    lateral = lateral_distances(below.positions, above.positions, lower.cell.array[:2, :2], reach)
    height = np.sqrt(np.maximum(apart[..., None] ** 2 - lateral**2, 0.0))
    needed = below.positions[:, None, None, 2] - above.positions[None, :, None, 2] + height
    touching = lateral < apart[..., None]
    if not touching.any():
        return float(lower.positions[:, 2].max() - upper.positions[:, 2].min())
    return float(needed[touching].max())


def lateral_distances(first: np.ndarray, second: np.ndarray, vectors: np.ndarray, reach: float) -> np.ndarray:
    """Distances in the xy plane between two sets of atoms and all images up to `reach`, (n, m, images) Å."""
    widths = abs(np.linalg.det(vectors)) / np.linalg.norm(vectors[::-1], axis=1)
    delta = second[None, :, :2] - first[:, None, :2]
    scaled = delta @ np.linalg.inv(vectors)
    scaled -= np.rint(scaled)
    # after wrapping, the separation is at most half a cell along each axis
    n, m = (np.ceil(reach / widths + 0.5)).astype(int)
    images = np.array([[i, j] for i in range(-n, n + 1) for j in range(-m, m + 1)])
    return np.linalg.norm((scaled[:, :, None] + images) @ vectors, axis=-1)


def fingerprint(atoms: Atoms, cutoff: float = 5.0) -> np.ndarray:
    """Smeared histogram of the distances per pair of elements, per atom: equal for equivalent structures."""
    first, second, _, distances = periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    numbers = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]]), axis=0)
    kinds = sorted(set(atoms.numbers.tolist()))
    centres = np.arange(0.6, cutoff, 0.1)
    parts = []
    for low, high in combinations_with_replacement(kinds, 2):
        mine = distances[(numbers[0] == low) & (numbers[1] == high)]
        # fades out towards the cutoff, so that rounding there changes nothing
        weights = np.cos(np.pi * mine / cutoff / 2) ** 2
        parts.append((np.exp(-(((mine[None] - centres[:, None]) / 0.1) ** 2) / 2) * weights).sum(1))
    return np.concatenate(parts) / len(atoms)


def too_close(atoms: Atoms, ratio: float = OVERLAP) -> bool:
    """Return whether two atoms are closer than `ratio` times the sum of their covalent radii (images included)."""
    radii = ratio * covalent_radii[atoms.numbers]
    first, second, _, distances = periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 2 * radii.max())
    return bool((distances < radii[first] + radii[second]).any())


def is_new(vector: np.ndarray, known: list[np.ndarray], tolerance: float = 5e-4) -> bool:
    """Return whether a fingerprint differs from all others; if so, append it."""
    if any(vector.shape == other.shape and np.abs(vector - other).max() < tolerance for other in known):
        return False
    known.append(vector)
    return True
