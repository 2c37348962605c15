"""Initial structures of bulk phases: volume scan, strained, sheared, rattled, vacancies, held-out cells.

For more than one element the lattice is decorated at random; the modules of the families to come replace that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

from ..checks.overlap import overlapping

#: Lattices that have a conventional cell with right angles, and its atoms.
ATOMS_PER_CELL = {'sc': 1, 'bcc': 2, 'fcc': 4, 'hcp': 4, 'diamond': 8}
#: Nearest-neighbour distance in units of (volume per atom)^(1/3).
NEAREST = {'sc': 1.0, 'bcc': 1.0911, 'fcc': 1.1225, 'hcp': 1.1225, 'diamond': 1.0911}
#: Largest component of the random strain of rattled and vacancy cells.
STRAIN = 0.03
#: Width (Å) of the Gaussian by which the atoms around a vacancy are rattled.
VACANCY_RATTLE = 0.05
#: Side (Å) of the box of a free atom.
BOX = 10.0
ATTEMPTS = 100

DEFAULTS: dict[str, Any] = {
    'prototypes': None,
    'eos': {'number': 7, 'range': 0.10},
    'strain': {'number': 4, 'amplitude': 0.05},
    'shear': {'number': 3, 'amplitude': 0.05},
    'rattle': {'number': 10, 'amplitude': [0.05, 0.1, 0.2], 'atoms': 8},
    'vacancy': {'number': 2, 'atoms': 16},
    'test': {'number': 4},
}


def generate_bulk(elements: list[str], parameters: dict[str, Any], seed: int) -> list[Atoms]:
    """Return the initial structures of bulk phases.

    :param parameters: the section `structures` of the run file: `prototypes` (list, or None for the ground state of the
        elements) and, each with `number` per prototype: `eos` (`range`: ± fraction of the volume), `strain` and `shear`
        (`amplitude`: largest component), `rattle` (`amplitude`: widths in Å, used in turn; `atoms`), `vacancy`
        (`atoms`), `test`. What is missing is taken from `DEFAULTS`.
    :returns: frames with info `family`, `phase`, `split` and `seed`; first a free atom of every element.
    :raises ValueError: if an element or a prototype is unknown, or a parameter makes atoms overlap.
    """
    check_elements(elements)
    values = _complete(parameters)
    rng = np.random.default_rng(seed)
    frames = [isolated_atom(element) for element in sorted(set(elements))]
    prototypes = values['prototypes'] or default_prototypes(elements)
    for phase in prototypes:
        frames += _phase(sorted(set(elements)), phase, values, rng)
    for atoms in frames:
        atoms.info['seed'] = seed
    return frames


def starting_cell(elements: list[str], prototype: str | None, atoms: int) -> Atoms:
    """Return a perfect cell with at least `atoms` atoms in which a simulation can start.

    :param prototype: one of `ATOMS_PER_CELL`, or None for the ground state of the first element.
    """
    check_elements(elements)
    phase = prototype or default_prototypes(elements)[0]
    cell = supercell(sorted(set(elements)), phase, atoms)
    decorate(cell, elements, np.random.default_rng(0))
    cell.info.update(family='start', phase=phase)
    return cell


def check_elements(elements: list[str]) -> None:
    """:raises ValueError: naming what is not an element."""
    if not elements:
        raise ValueError('system.elements is empty: give at least one element')
    for element in elements:
        if element not in chemical_symbols[1:]:
            raise ValueError(f'system.elements: {element!r} is not a chemical element')


def default_prototypes(elements: list[str]) -> list[str]:
    """Return the ground-state lattices of the elements as ASE knows them, each once, in the order of the elements.

    :raises ValueError: if an element has another lattice than those of `ATOMS_PER_CELL`.
    """
    phases = []
    for element in elements:
        state = reference_states[atomic_numbers[element]]
        symmetry = state['symmetry'] if state else None
        if symmetry not in ATOMS_PER_CELL:
            raise ValueError(
                f'{element} has the ground state {symmetry!r}, which is not generated yet: name '
                f'structures.prototypes ({", ".join(ATOMS_PER_CELL)}) or give structures.files'
            )
        phases.append(symmetry)
    return list(dict.fromkeys(phases))


def isolated_atom(element: str) -> Atoms:
    """Return a free atom in a box, not periodic."""
    info = {'family': 'isolated_atom', 'phase': 'atom', 'split': 'train'}
    return Atoms(element, [[BOX / 2] * 3], cell=[BOX] * 3, pbc=False, info=info)


def conventional_cell(elements: list[str], phase: str) -> Atoms:
    """Return the cell with right angles, at the mean volume per atom of the elements; all atoms of the first element.

    :raises ValueError: if the phase is unknown.
    """
    if phase not in ATOMS_PER_CELL:
        raise ValueError(f'unknown prototype {phase!r}: choose from {", ".join(ATOMS_PER_CELL)}')
    volume = float(np.mean([volume_per_atom(element) for element in elements]))
    state = reference_states[atomic_numbers[elements[0]]]
    own = len(elements) == 1 and state is not None and state['symmetry'] == phase
    shape = {'orthorhombic': True} if phase == 'hcp' else {'cubic': True}
    if own:
        return bulk(elements[0], **shape)
    if phase == 'hcp':
        a = (volume * math.sqrt(2)) ** (1 / 3)  # ideal c/a: a³/sqrt(2) per atom
        return bulk(elements[0], 'hcp', a=a, c=a * math.sqrt(8 / 3), **shape)
    return bulk(elements[0], phase, a=(volume * ATOMS_PER_CELL[phase]) ** (1 / 3), **shape)


def volume_per_atom(element: str) -> float:
    """Volume per atom (Å³) of the ground state; where ASE cannot build it, of close packing by covalent radii."""
    try:
        atoms = bulk(element)
    except (ValueError, KeyError, NotImplementedError, TypeError, RuntimeError):
        return (2.2 * covalent_radii[atomic_numbers[element]] / NEAREST['fcc']) ** 3
    return atoms.get_volume() / len(atoms)


def supercell(elements: list[str], phase: str, atoms: int) -> Atoms:
    """Repeat the conventional cell, always along its shortest axis, until it has at least `atoms` atoms.

    Along each axis the supercell is a whole number of conventional cells, so that meshes of k-points can be
    commensurate between cells of different size.
    """
    cell = conventional_cell(elements, phase)
    repeats = np.ones(3, dtype=int)
    while len(cell) * repeats.prod() < atoms:
        # of equal axes the last: (1, 1, 2), (1, 2, 2), (2, 2, 2)
        lengths = np.round(repeats * cell.cell.lengths(), 6)
        repeats[2 - int(np.argmin(lengths[::-1]))] += 1
    return cell.repeat(repeats.tolist())


def decorate(atoms: Atoms, elements: list[str], rng: np.random.Generator, pure: int | None = None) -> None:
    """Put elements on the sites, in place: all of one element (`pure`, an index), or equal shares at random."""
    elements = sorted(set(elements))
    if pure is not None and pure < len(elements):
        atoms.set_chemical_symbols([elements[pure]] * len(atoms))
        return
    symbols = np.array([elements[k % len(elements)] for k in range(len(atoms))])
    atoms.set_chemical_symbols(rng.permutation(symbols).tolist())


def random_strain(rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """Symmetric strain (3, 3), components uniform within ± amplitude."""
    strain = rng.uniform(-amplitude, amplitude, (3, 3))
    return np.triu(strain) + np.triu(strain, 1).T


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """Return the frame with cell and positions transformed by 1 + strain."""
    changed = atoms.copy()
    changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return changed


def _phase(elements: list[str], phase: str, values: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    small = conventional_cell(elements, phase)
    # A random alloy needs at least one atom of each element.
    if len(small) < len(elements):
        small = supercell(elements, phase, len(elements))
    medium = supercell(elements, phase, values['rattle']['atoms'])
    large = supercell(elements, phase, values['vacancy']['atoms'])
    frames: list[Atoms] = []

    def add(family: str, number: int, make: Callable[[int], Atoms], split: str = 'train') -> None:
        for index in range(number):
            atoms = _free_of_overlap(lambda index=index: make(index), f'structures.{family}')
            name = 'rattled' if family in ('rattle', 'test') else family
            atoms.info.update(family=name, phase=phase, split=split)
            frames.append(atoms)

    def site(cell: Atoms, index: int) -> Atoms:
        atoms = cell.copy()
        # In turn the pure elements and a random alloy.
        decorate(atoms, elements, rng, pure=None if len(elements) == 1 else index % (len(elements) + 1))
        return atoms

    scan = small.copy()
    decorate(scan, elements, rng)
    number, width = values['eos']['number'], values['eos']['range']
    factors = 1 + np.linspace(-width, width, number) if number > 1 else np.ones(number)
    add('eos', number, lambda index: strained(scan, np.eye(3) * (factors[index] ** (1 / 3) - 1)))
    amplitude = values['strain']['amplitude']
    add('strain', values['strain']['number'], lambda i: strained(site(small, i), random_strain(rng, amplitude)))
    size = values['shear']['amplitude']
    add('shear', values['shear']['number'], lambda i: strained(site(small, i), _shear(rng, size)))
    widths = values['rattle']['amplitude']
    widths = list(widths) if isinstance(widths, (list, tuple)) else [widths]

    def rattled(index: int) -> Atoms:
        return _rattle(strained(site(medium, index), random_strain(rng, STRAIN)), widths[index % len(widths)], rng)

    def vacancy(index: int) -> Atoms:
        atoms = strained(site(large, index), random_strain(rng, STRAIN))
        del atoms[int(rng.integers(len(atoms)))]
        return _rattle(atoms, VACANCY_RATTLE, rng)

    add('rattle', values['rattle']['number'], rattled)
    add('vacancy', values['vacancy']['number'], vacancy)
    add('test', values['test']['number'], rattled, split='test')
    return frames


def _shear(rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """Pure shear: a symmetric strain without diagonal."""
    strain = random_strain(rng, amplitude)
    return strain - np.diag(np.diag(strain))


def _rattle(atoms: Atoms, width: float, rng: np.random.Generator) -> Atoms:
    atoms.positions += rng.normal(0.0, width, atoms.positions.shape)
    return atoms


def _free_of_overlap(make: Callable[[], Atoms], name: str) -> Atoms:
    for _ in range(ATTEMPTS):
        atoms = make()
        if not overlapping(atoms):
            return atoms
    raise ValueError(f'{name} makes atoms overlap: lower its amplitude or range')


def _complete(parameters: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(parameters) - set(DEFAULTS) - {'files'})
    if unknown:
        raise ValueError(f'structures.{unknown[0]} is unknown: known are {", ".join(DEFAULTS)}')
    values = {'prototypes': parameters.get('prototypes')}
    for key, default in DEFAULTS.items():
        if key != 'prototypes':
            values[key] = {**default, **(parameters.get(key) or {})}
    return values
