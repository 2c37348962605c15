"""Alloys: pure elements, ordered compounds and solid solutions on a lattice, at random or special quasirandom (SQS)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from ...core.errors import InputError
from ...core.parameters import Count, Positive, Section, parameter
from ...crystals.compositions import (
    TOLERANCE,
    Limits,
    carrying,
    counts,
    divisions_of,
    grid,
    interleaved,
    normalised,
    shapes_of,
)
from ...crystals.elements import (
    ATOMS_PER_CELL,
    GASES,
    check_elements,
    conventional_cell,
    ground_lattice,
    ground_state,
    is_metal,
    lattice_of,
    scaled,
    volume_per_atom,
)
from ...crystals.occupation import FirstShell, random_occupations, special_quasirandom
from ...crystals.ordered import ORDERED, decorated, ordered_compounds, ordered_fractions
from ...crystals.prototypes import metallic_volume
from ...io.files import read_file
from ..family import Family

#: Lattices whose lattice constant alone gives the volume.
CUBIC_LATTICES = ('sc', 'bcc', 'fcc', 'diamond')
#: Cells may grow to this many times `atoms` unless `max_atoms` says otherwise.
MAX_CELL_GROWTH = 4
#: Rounds that find no new occupation before a composition counts as used up.
MAX_ROUNDS_WITHOUT_SUCCESS = 3


class Alloy(Section):
    """Pure elements, ordered compounds and solid solutions."""

    lattices: list[str] | None = parameter(
        f'Lattices whose sites are occupied, of {", ".join(ATOMS_PER_CELL)}; null: those that are the ground state of '
        'an element.',
        default=None,
        min_length=1,
    )
    lattice_files: list[str] = parameter(
        'Files with own lattices: all their sites are occupied, whatever element the file has there.', default=[]
    )
    compositions: list[dict[str, float]] | None = parameter(
        'Atomic fractions per element, each set adding up to 1; null: pure elements, ordered compounds and a grid.',
        default=None,
        min_length=1,
    )
    range: dict[str, list[float]] | None = parameter(
        'Least and largest atomic fraction per element, for all that is chosen automatically.', default=None
    )
    step: Positive = parameter(
        'Step of the grid of compositions, which includes all subsystems of the elements.', default=0.25, le=0.5
    )
    ordered: bool = parameter('Whether ordered compounds on the lattices are proposed.', default=True)
    atoms: Count = parameter('Atoms of the cells of solid solutions, at least.', default=16, ge=1)
    max_atoms: Count | None = parameter(
        f'Atoms of the cells of solid solutions, at most; null: {MAX_CELL_GROWTH} times `atoms`.', default=None, ge=1
    )
    occupation: Literal['random', 'sqs', 'both'] = parameter(
        'How sites are occupied: at random, as special quasirandom structures, or first these and then at random.',
        default='random',
    )
    sqs: Count = parameter('Special quasirandom structures per lattice and composition.', default=1, ge=1)
    sqs_steps: Count = parameter(
        'Monte Carlo steps of the search for a special quasirandom structure.', default=3000, ge=1, le=1_000_000
    )
    short_range_order: float | dict[str, float] | None = parameter(
        'Warren-Cowley parameter of the first shell that random occupations are driven to, for all pairs of unlike '
        'elements or per pair (`Cu-Au: -0.1`): negative attracts, positive separates; null: no order.',
        default=None,
    )
    volumes: dict[str, Positive] = parameter(
        'Volume per atom of elements; it replaces that of their ground state in the mean (Vegard).', 'Å³', default={}
    )
    lattice_constants: dict[str, Positive] = parameter(
        'Lattice constant of elements in their cubic ground state; another way to give their volume.', 'Å', default={}
    )


@dataclass(frozen=True)
class Lattice:
    """A cell whose sites can be occupied."""

    name: str
    cell: Atoms
    shapes: dict[int, tuple[int, int, int]]


@dataclass(frozen=True)
class Request:
    """What was asked for, made complete: every element has a volume (Å³ per atom), every composition adds up to one."""

    elements: list[str]
    parameters: Alloy
    volumes: dict[str, float]
    limits: Limits
    compositions: list[dict[str, float]] | None
    lattices: list[Lattice]

    @property
    def ground_states(self) -> bool:
        """Whether no lattice is named, so that the elements come as they are in nature."""
        return self.parameters.lattices is None and not self.parameters.lattice_files

    def allows(self, composition: dict[str, float]) -> bool:
        """Whether a pure element or an ordered compound is among what was asked for."""
        if self.compositions is None:
            return self.limits.allow(composition)
        return any(
            composition.keys() == asked.keys() and all(abs(composition[x] - asked[x]) < TOLERANCE for x in asked)
            for asked in self.compositions
        )

    def vegard(self, composition: dict[str, float]) -> float:
        """Mean volume per atom (Å³) of a composition."""
        return sum(fraction * self.volumes[element] for element, fraction in composition.items())


@dataclass(frozen=True)
class Solution:
    """One composition on one lattice: the empty supercell and how many atoms of each element go in."""

    lattice: Lattice
    cell: Atoms
    counts: dict[str, int]

    @property
    def numbers(self) -> np.ndarray:
        return np.repeat([atomic_numbers[element] for element in self.counts], list(self.counts.values()))

    @property
    def arrangements(self) -> int:
        """Number of different occupations, equivalent ones counted."""
        ways, left = 1, len(self.cell)
        for n in self.counts.values():
            ways *= math.comb(left, n)
            left -= n
        return ways


class AlloyFamily(Family[Alloy]):
    """Solid solutions and ordered compounds of metals."""

    name = 'alloy'
    help = 'Solid solutions and ordered compounds of metals.'
    Parameters = Alloy
    order = 10
    file_keys = ('lattice_files',)

    def suits(self, elements: list[str]) -> bool:
        return all(is_metal(element) for element in elements)

    def parents(self, elements: list[str], section: Alloy, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return ideal structures of alloys: pure elements, then ordered compounds and solid solutions in turn.

        Volumes are means of the volumes per atom of the elements (Vegard's law). With one element these are its
        lattices: the ground state unless `lattices` names others.

        :param number: at most so many; fewer if there are no more (pure elements and ordered compounds are finite).
        :raises ValueError: naming the key, if a lattice, an element or a composition is not possible.
        """
        elements = list(dict.fromkeys(elements))
        check_elements(elements)
        gases = [element for element in elements if element in GASES]
        if gases and len(elements) > 1:
            raise InputError(
                '',
                f'{gases[0]} does not form alloys',
                'name `ionic` or `knowledge`, which cover the pairs of metals as well',
            )
        request = _request(elements, section)
        pure = list(islice(_pure(request), number))
        room = number - len(pure)
        if len(elements) == 1 or room == 0:
            return pure
        ordered = list(islice(_ordered(request), room))
        solutions = list(islice(_solutions(request), room))
        if not (pure or ordered or solutions):
            raise _out_of_range(request)
        # half of the room at most goes to ordered compounds, as long as solid solutions can fill the rest
        mixed = _mixed(solutions, section, max(room - len(ordered), (room + 1) // 2), rng)
        return pure + list(islice(interleaved(ordered, mixed), room))


# What was asked for ---------------------------------------------------------------------------------------------------


def _request(elements: list[str], parameters: Alloy) -> Request:
    volumes = _volumes(elements, parameters)
    limits = Limits.of(elements, parameters.range, 'range')
    asked = None
    if parameters.compositions is not None:
        key = 'compositions'
        asked = [normalised(given, elements, f'{key}[{n}]') for n, given in enumerate(parameters.compositions)]
    return Request(elements, parameters, volumes, limits, asked, _lattices(elements, parameters, volumes))


def _volumes(elements: list[str], parameters: Alloy) -> dict[str, float]:
    """Volume per atom (Å³) of every element, given or known."""
    volumes = {element: volume_per_atom(element) for element in elements}
    for key in ('volumes', 'lattice_constants'):
        for element, value in getattr(parameters, key).items():
            name = f'{key}.{element}'
            if element not in volumes:
                raise InputError(name, f'{element!r} is not in system.elements', 'add it there or remove it')
            if key == 'lattice_constants':
                lattice = lattice_of(element)
                if lattice not in CUBIC_LATTICES:
                    raise InputError(name, f'the ground state of {element} is not a cubic lattice', 'give its volume')
                value = value**3 / ATOMS_PER_CELL[lattice]
            volumes[element] = value
    return volumes


def _lattices(elements: list[str], parameters: Alloy, volumes: dict[str, float]) -> list[Lattice]:
    most = parameters.max_atoms or MAX_CELL_GROWTH * parameters.atoms
    if most < parameters.atoms:
        raise InputError(
            'max_atoms',
            f'{most} is below structures.alloy.atoms ({parameters.atoms})',
            'raise it or lower that',
        )
    named = parameters.lattices
    if named is None:
        named = [] if parameters.lattice_files else _ground_lattices(elements)
    cells = []
    for name in dict.fromkeys(named):
        if name not in ATOMS_PER_CELL:
            raise InputError(
                'lattices',
                f'{name!r} is not a known lattice',
                f'choose from {", ".join(ATOMS_PER_CELL)}, or give your own with structures.alloy.lattice_files',
            )
        cells.append((name, conventional_cell(elements, name, float(np.mean(list(volumes.values()))))))
    cells += [_lattice_of_file(path) for path in parameters.lattice_files]
    found = []
    for name, cell in cells:
        shapes = shapes_of(cell.cell.lengths(), len(cell), parameters.atoms, max(most, len(cell)))
        if not shapes:
            raise InputError(
                'max_atoms',
                f'{most}: no supercell of {name} ({len(cell)} atoms per cell) has between {parameters.atoms} and '
                f'{most} atoms',
                f'raise it to {-(-parameters.atoms // len(cell)) * len(cell)}',
            )
        found.append(Lattice(name, cell, shapes))
    return found


def _ground_lattices(elements: list[str]) -> list[str]:
    """Simple lattices that are the ground state of an element; if none is, what is nearest to them."""
    own = [lattice for lattice in map(lattice_of, elements) if lattice is not None]
    return own or [ground_lattice(element) for element in elements]


def _lattice_of_file(path: str) -> tuple[str, Atoms]:
    found = read_file(Path(path), 'lattice_files')
    atoms = found[0]
    if len(found) != 1:
        raise InputError('lattice_files', f'{path} has {len(found)} structures', 'keep the one to occupy')
    if atoms.cell.rank < 3:
        raise InputError('lattice_files', f'{path} has no cell', 'give a periodic lattice')
    return Path(path).stem, Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


# Structures -----------------------------------------------------------------------------------------------------------


def _pure(request: Request) -> Iterator[Atoms]:
    """Pure elements: the ground states (if no lattice is named), then all lattices."""
    wanted = [element for element in request.elements if request.allows({element: 1.0})]
    if request.ground_states:
        for element in wanted:
            atoms = _at_volume(ground_state(element), request.volumes[element], element)
            yield _pure_element(atoms, element, atoms.info['phase'], f'ground state of {element}')
        if len(request.elements) == 1:
            return
    for lattice in request.lattices:
        for element in wanted:
            if request.ground_states and lattice_of(element) == lattice.name:
                continue
            if lattice.name in ATOMS_PER_CELL:
                cell = conventional_cell([element], lattice.name)
                atoms = _at_volume(cell, request.volumes[element], element)
            else:
                atoms = scaled(lattice.cell, request.volumes[element])
                atoms.set_atomic_numbers([atomic_numbers[element]] * len(atoms))
            yield _pure_element(atoms, element, lattice.name, f'{element} in the {lattice.name} lattice')


def _pure_element(atoms: Atoms, element: str, lattice: str, reason: str) -> Atoms:
    made_of = {'composition': {element: 1.0}, 'lattice': lattice, 'occupation': 'pure'}
    return _labelled(atoms, lattice, reason, made_of)


def _at_volume(atoms: Atoms, volume: float, element: str) -> Atoms:
    """Return it at a volume per atom; untouched, and so ASE's own cell bit for bit, if that is the known one."""
    return atoms if volume == volume_per_atom(element) else scaled(atoms, volume)


def _ordered(request: Request) -> Iterator[Atoms]:
    if not request.parameters.ordered:
        return
    cells = {lattice.name: lattice.cell for lattice in request.lattices if lattice.name in ATOMS_PER_CELL}
    for lattice, name, species in ordered_compounds(request.elements, cells):
        composition = ordered_fractions(name, species)
        if request.allows(composition):
            atoms = decorated(scaled(cells[lattice], request.vegard(composition)), name, species)
            made_of = {'composition': composition, 'lattice': lattice, 'occupation': name}
            reason = f'ordered compound {name} ({ORDERED[name][3]}) on the {lattice} lattice'
            yield _labelled(atoms, name, reason, made_of)


def _solutions(request: Request) -> Iterator[Solution]:
    """Mixed compositions on all lattices, each once."""
    found = set()
    asked = request.compositions
    for composition in asked if asked is not None else grid(request.limits, divisions_of(request.parameters.step)):
        for lattice in request.lattices if len(composition) > 1 else []:
            repeats, wrong = carrying(composition, lattice.shapes)
            sites = len(lattice.cell) * math.prod(repeats)
            numbers = counts(composition, sites)
            actual = {element: n / sites for element, n in numbers.items()}
            if asked is not None and wrong > TOLERANCE:
                raise _not_carried(composition, actual, lattice)
            if asked is None and (min(numbers.values()) == 0 or not request.limits.allow(actual, TOLERANCE)):
                continue
            key = (lattice.name, tuple(actual.items()))
            if key not in found:
                found.add(key)
                yield Solution(lattice, scaled(lattice.cell, request.vegard(actual)).repeat(repeats), numbers)


def _not_carried(composition: dict[str, float], actual: dict[str, float], lattice: Lattice) -> InputError:
    most = max(lattice.shapes)
    near = ', '.join(f'{element}: {x:.4g}' for element, x in actual.items() if x > 0)
    asked = ', '.join(f'{element}: {x:.4g}' for element, x in composition.items())
    return InputError(
        'compositions',
        f'no {lattice.name} cell of {min(lattice.shapes)} to {most} atoms carries {{{asked}}}; the nearest possible is '
        f'{{{near}}}',
        'take that, or raise structures.alloy.max_atoms',
    )


def _out_of_range(request: Request) -> InputError:
    centre = request.limits.centre()
    lattice = request.lattices[0]
    repeats, _ = carrying(centre, lattice.shapes)
    sites = len(lattice.cell) * math.prod(repeats)
    near = ', '.join(f'{element}: {n / sites:.4g}' for element, n in counts(centre, sites).items())
    return InputError(
        'range',
        f'it leaves no composition that a cell of at most {max(lattice.shapes)} atoms carries; the nearest possible is '
        f'{{{near}}}',
        'widen it, or raise structures.alloy.max_atoms',
    )


def _mixed(solutions: list[Solution], parameters: Alloy, number: int, rng: np.random.Generator) -> list[Atoms]:
    """Occupations of all solutions in turn: first the special quasirandom ones, then at random."""
    special: list[list[Atoms]] = []
    if parameters.occupation != 'random':
        if parameters.occupation == 'sqs' and parameters.short_range_order is not None:
            raise InputError(
                'short_range_order',
                'special quasirandom structures have none',
                'choose occupation random or both',
            )
        each = min(parameters.sqs, -(-number // max(len(solutions), 1)))
        special = [_special(solution, parameters, each, rng) for solution in solutions[:number]]
    frames = list(islice(interleaved(*special), number))
    if parameters.occupation == 'sqs' or len(frames) == number:
        return frames
    shares = _shares([solution.arrangements for solution in solutions], number - len(frames))
    random = [_random(s, parameters, share, rng) for s, share in zip(solutions, shares, strict=True) if share]
    return frames + list(interleaved(*random))


def _shares(capacities: list[int], number: int) -> list[int]:
    """Share a number as evenly as capacities allow; the first get what is left over."""
    shares = [0] * len(capacities)
    left = min(number, sum(capacities))
    while left:
        open_ = [index for index, share in enumerate(shares) if share < capacities[index]]
        each, rest = divmod(left, len(open_))
        for place, index in enumerate(open_):
            more = min(each + (place < rest), capacities[index] - shares[index])
            shares[index] += more
            left -= more
    return shares


def _special(solution: Solution, parameters: Alloy, number: int, rng: np.random.Generator) -> list[Atoms]:
    made: dict[bytes, Atoms] = {}
    failures = 0
    while len(made) < number and failures < MAX_ROUNDS_WITHOUT_SUCCESS:
        numbers = special_quasirandom(solution.cell, solution.counts, parameters.sqs_steps, int(rng.integers(2**31)))
        if numbers.tobytes() in made:
            failures += 1
            continue
        made[numbers.tobytes()] = next(_filled(solution, numbers[None], 'sqs', 'special quasirandom structure'))
    return list(made.values())


def _random(solution: Solution, parameters: Alloy, number: int, rng: np.random.Generator) -> list[Atoms]:
    """Return occupations at random, no two the same, driven to the wanted short-range order."""
    found = random_occupations(solution.numbers, number, rng, solution.arrangements)
    targets = _targets(solution, parameters)
    if not targets:
        return list(_filled(solution, found, 'random', 'random occupation'))
    shell = FirstShell.of(solution.cell)
    frames: dict[bytes, Atoms] = {}
    for row in found:
        driven = shell.drive(row, targets, rng)
        atoms = next(_filled(solution, driven[None], 'random', 'random occupation with short-range order'))
        reached = shell.warren_cowley(driven)
        atoms.info['parameters']['short_range_order'] = {
            f'{chemical_symbols[i]}-{chemical_symbols[j]}': round(reached[i, j], 6) for i, j in sorted(targets)
        }
        frames.setdefault(driven.tobytes(), atoms)
    return list(frames.values())


def _targets(solution: Solution, parameters: Alloy) -> dict[tuple[int, int], float]:
    """Wanted Warren-Cowley parameters of the pairs of unlike elements that the solution has."""
    wanted = parameters.short_range_order
    if wanted is None:
        return {}
    numbers = sorted(atomic_numbers[element] for element in solution.counts)
    pairs = [(i, j) for n, i in enumerate(numbers) for j in numbers[n + 1 :]]
    if isinstance(wanted, int | float):
        return {pair: _alpha(float(wanted), 'short_range_order') for pair in pairs}
    given = {}
    for name, value in wanted.items():
        key = f'short_range_order.{name}'
        symbols = name.split('-')
        if len(set(symbols)) != 2 or any(symbol not in atomic_numbers for symbol in symbols):
            raise InputError(key, 'this is not a pair of unlike elements', 'write it as Cu-Au')
        given[tuple(sorted(atomic_numbers[symbol] for symbol in symbols))] = _alpha(value, key)
    return {pair: given[pair] for pair in pairs if pair in given}


def _alpha(value: float, key: str) -> float:
    if value > 1:
        raise InputError(key, f'{value:g} is above 1, which is complete separation', 'give at most 1')
    return value


def _filled(solution: Solution, numbers: np.ndarray, occupation: str, reason: str) -> Iterator[Atoms]:
    """Yield one frame per row of atomic numbers (n, sites)."""
    sites = len(solution.cell)
    composition = {element: n / sites for element, n in solution.counts.items()}
    formula = ''.join(f'{element}{n}' for element, n in solution.counts.items())
    name = solution.lattice.name
    for row in numbers:
        atoms = solution.cell.copy()
        atoms.arrays['numbers'] = row.copy()
        made_of = {'composition': dict(composition), 'lattice': name, 'occupation': occupation}
        yield _labelled(atoms, name, f'{reason} of the {name} lattice with {formula}', made_of)


# Details --------------------------------------------------------------------------------------------------------------


def _labelled(atoms: Atoms, phase: str, reason: str, made_of: dict[str, Any]) -> Atoms:
    atoms.info = {'family': 'alloy', 'phase': phase, 'reason': reason, 'parameters': made_of}
    return atoms


def layered_alloy(elements: list[str]) -> Atoms:
    """Return the smallest cell of all of some elements: one close-packed layer of each, stacked as in fcc.

    For want of a cell of a solid solution whose label is affordable.
    """
    volume = float(np.mean([metallic_volume(element) for element in elements]))
    edge = (math.sqrt(2) * volume) ** (1 / 3)  # between neighbours
    height = edge * math.sqrt(2 / 3)
    shift = edge * np.array([0.5, math.sqrt(1 / 12), 0.0])
    number = len(elements)
    cell = [[edge, 0, 0], [edge / 2, edge * math.sqrt(3 / 4), 0], number * shift + [0, 0, number * height]]
    positions = [index * shift + [0, 0, index * height] for index in range(number)]
    atoms = Atoms(elements, positions=positions, cell=cell, pbc=True)
    atoms.info.update(
        family='alloy', phase='layers', reason='the smallest cell of all elements', parameters={'lattice': 'fcc'}
    )
    return atoms
