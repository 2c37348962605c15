"""Structures that cure what a judgement has found wrong: a sampling request becomes something to be labelled."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.duplicates import Duplicates
from ..checks.overlap import covalent_distance
from ..checks.vacuum import detect_vacuum
from ..core.configurations import labels
from ..variants import NotApplicableError
from ..variants.clusters import SPACE
from ..variants.common import label, strain_in_place
from ..variants.defects import Vacancy, vacancy
from ..variants.rattle import Rattle, rattle
from ..variants.squeeze import LEAST, closer
from ..variants.strain import Strain, strain
from ..variants.supercell import supercell
from ..variants.surfaces import Surface, surface

#: Structures of each request.
NUMBER = 6
#: Atoms of the cells: as few as hold a defect, for each is a DFT calculation.
ATOMS = 16
#: Largest displacement (Å) along an unstable mode: from where it is a perturbation to where it is another structure.
AMPLITUDES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
#: eV/atom that the labels of displaced cells may scatter.
NOISE = 1e-3
#: Largest component of a strain along a soft direction.
STRAINS = (0.01, 0.02, 0.04)
#: Crystals are compressed to this share of their volume, or of the largest that is asked for, if that is smaller: no
#: simulation goes beyond, and labels of what is denser are those of overlapping cores.
DENSEST = 0.5
#: Displacements (Å) of the rattled cells of a simulation that broke off at this temperature (K).
HOT, HOT_AMPLITUDES = 1000.0, (0.1, 0.2, 0.3)

Make = Callable[[Atoms, dict[str, Any], np.random.Generator], list[Atoms]]


def make_structures(
    requests: list[dict[str, Any]], crystals: list[Atoms], seed: int, number: int | None = None
) -> list[Atoms]:
    """Return the structures that some requests ask for, no two alike.

    :param requests: of a verdict, see :func:`~aiida_pyacemaker.atomistics.validation.gate.judge`: `kind`, `crystal` (an
        index), `reason`, and what the kind takes: `mode` the `numbers`, `positions`, `cell` of a commensurate cell and
        the `displacements` of its atoms; `strain` perhaps `strain` (Voigt); `volume` perhaps `volume` (two, Å³/atom);
        `pair` and `dimer` `elements` and `distances` (two, Å); `vacancy`; `surface` perhaps `miller`; `temperature`
        `temperature` (K); `rattle`.
    :param crystals: the crystals that were judged, at their equilibrium.
    :param seed: of everything random.
    :param number: structures at most; the first of each request come before the second of any.
    :returns: structures without labels, to be trained on; info `family` is 'request', `operation` the kind, and
        `reason` why.
    :raises ValueError: for a kind that is not known.
    """
    found, known = [], Duplicates()
    for index, request in enumerate(requests):
        if request['kind'] not in KINDS:
            raise ValueError(f'sampling request {index}: {request["kind"]!r} is not one of {", ".join(KINDS)}')
        parent = prepare(crystals[request['crystal']])
        rng = np.random.default_rng([seed, index])
        try:
            made = KINDS[request['kind']](parent, request, rng)
        except NotApplicableError:
            made = rattled(parent, request, rng)
        new = known.add(made)
        found.append([finish(atoms, parent, request) for atoms, is_new in zip(made, new, strict=True) if is_new])
    in_turn = [atoms for turn in zip_longest(*found) for atoms in turn if atoms is not None]
    return in_turn[:number]


def prepare(crystal: Atoms) -> Atoms:
    """Return a crystal as operations take parents: bare, with a family and a phase."""
    parent = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    phase = crystal.info.get('name', crystal.get_chemical_formula(empirical=True))
    parent.info = {'family': 'request', 'phase': phase, 'vacuum_axes': list(detect_vacuum(parent).axes)}
    return parent


def finish(atoms: Atoms, parent: Atoms, request: dict[str, Any]) -> Atoms:
    """Write into the info of a structure what it is for."""
    atoms.info.update(
        family='request', operation=request['kind'], split='train', parent=label(parent), reason=request['reason']
    )
    atoms.info['parameters'] = atoms.info.get('parameters', {})
    return atoms


def displaced(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Displaced along a mode, to one side and the other in turn: they differ where the mode has a cubic term."""
    ideal = Atoms(request['numbers'], request['positions'], cell=request['cell'], pbc=True)
    direction = np.array(request['displacements'], dtype=float)
    direction /= np.linalg.norm(direction, axis=1).max()
    frames = []
    for index, amplitude in enumerate(AMPLITUDES):
        atoms = ideal.copy()
        atoms.info = {**parent.info, 'parameters': {'amplitude': amplitude, 'q': request.get('q')}}
        atoms.positions += (-1) ** index * amplitude * direction
        frames.append(atoms)
    return frames


def find_confirmed(frames: list[Atoms]) -> set[str]:
    """Return the names of crystals of which the labels themselves say that a mode is unstable.

    A mode that was asked for and labelled is unstable in truth if the energy falls with the amplitude.

    :param frames: labelled, those of requests among others.
    """
    modes: dict[tuple, list[tuple[float, float]]] = {}
    for atoms in frames:
        energy = labels(atoms).get('energy')
        if atoms.info.get('family') == 'request' and atoms.info.get('operation') == 'mode' and energy is not None:
            own = atoms.info['parameters']
            key = (atoms.info['phase'], len(atoms), str(own.get('q')), round(atoms.get_volume(), 3))
            modes.setdefault(key, []).append((own['amplitude'], energy / len(atoms)))
    return {key[0] for key, curve in modes.items() if min(energy for _, energy in curve) < min(curve)[1] - NOISE}


def strained(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Strained along one direction of strain to both sides, or at random."""
    if request.get('strain') is None:
        return [strain(parent, Strain(amplitude=0.04), rng, index, NUMBER) for index in range(NUMBER)]
    xx, yy, zz, yz, xz, xy = request['strain']
    tensor = np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
    tensor /= np.abs(tensor).max()
    frames = []
    for amplitude in (sign * size for size in STRAINS for sign in (1, -1)):
        atoms = parent.copy()
        strain_in_place(atoms, amplitude * tensor)
        atoms.info = {**parent.info, 'parameters': {'amplitude': amplitude}}
        frames.append(atoms)
    return frames


def compressed(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Cells of volumes evenly in a range, each a little rattled, so that forces tell, too."""
    volume = parent.get_volume() / len(parent)
    low, high = request.get('volume') or (0.8 * volume, 1.2 * volume)
    low = max(low, DENSEST * min(volume, high), least_volume(parent))
    frames = []
    for wanted in np.linspace(low, max(high, low), NUMBER):
        atoms = supercell(parent, ATOMS // 4)
        atoms.set_cell(atoms.cell.array * (wanted / volume) ** (1 / 3), scale_atoms=True)
        atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
        atoms.info['parameters'] = {'volume': round(float(wanted), 3)}
        frames.append(atoms)
    return frames


def least_volume(parent: Atoms) -> float:
    """Return the volume (Å³/atom) at which the nearest atoms are as close as a label can be trusted."""
    from ase.neighborlist import neighbor_list

    first, second, distances = neighbor_list('ijd', parent, 6.0)
    if not len(first):
        return 0.0
    symbols = np.array(parent.get_chemical_symbols())
    least = [LEAST * covalent_distance((symbols[i], symbols[j])) for i, j in zip(first, second, strict=True)]
    return float((np.array(least) / distances).max() ** 3) * parent.get_volume() / len(parent)


def pushed(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Cells in which two atoms of some elements are at distances evenly in a range."""
    pair = tuple(request['elements'])
    least = LEAST * covalent_distance(pair)
    near, far = (max(distance, least) for distance in request['distances'])
    return [closer(supercell(parent, ATOMS), pair, distance, rng) for distance in np.linspace(near, far, NUMBER)]


def paired(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Two atoms alone, at distances evenly in a range, and the same pushed together in the crystal."""
    pair = tuple(request['elements'])
    least = LEAST * covalent_distance(pair)
    near, far = (max(distance, least) for distance in request['distances'])
    alone = []
    for distance in np.linspace(near, far, NUMBER):
        cell = np.add(SPACE, [0.0, 0.0, distance])
        atoms = Atoms(pair, [[0, 0, 0], [0, 0, distance]], cell=cell, pbc=True)
        atoms.center()
        atoms.info = {'phase': 'dimer', 'vacuum_axes': [0, 1, 2], 'parameters': {'distance': round(distance, 4)}}
        alone.append(atoms)
    return [*alone, *(pushed(parent, request, rng) if has_pair(parent, pair) else [])]


def has_pair(parent: Atoms, pair: tuple[str, ...]) -> bool:
    """Return whether a crystal holds the elements of a pair."""
    return set(pair) <= set(parent.symbols)


def without_atom(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Cells with a vacancy, rattled."""
    number = NUMBER // 2
    return [vacancy(parent, Vacancy(atoms=ATOMS), rng, index, number) for index in range(number)]


def cut(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Slabs, ideal and rattled."""
    miller = request.get('miller')
    planes = None if miller is None else [[miller[0], miller[1], miller[-1]]]
    number = NUMBER // 2
    return [surface(parent, Surface(miller=planes), rng, index, number) for index in range(number)]


def rattled(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Rattled cells."""
    parameters = Rattle(atoms=ATOMS, amplitude=[0.05, 0.1, 0.2])
    return [rattle(parent, parameters, rng, index, NUMBER) for index in range(NUMBER)]


def hot(parent: Atoms, request: dict[str, Any], rng: np.random.Generator) -> list[Atoms]:
    """Cells rattled as far as atoms are displaced at a temperature, and squeezed pairs."""
    scale = float(np.clip((request['temperature'] / HOT) ** 0.5, 0.5, 1.5))
    parameters = Rattle(
        atoms=ATOMS, amplitude=[round(scale * width, 3) for width in HOT_AMPLITUDES], method='monte_carlo', closest=0.75
    )
    return [rattle(parent, parameters, rng, index, NUMBER) for index in range(NUMBER)]


#: Kind of a request -> what makes its structures.
KINDS: dict[str, Make] = {
    'mode': displaced,
    'strain': strained,
    'volume': compressed,
    'pair': pushed,
    'dimer': paired,
    'vacancy': without_atom,
    'surface': cut,
    'temperature': hot,
    'rattle': rattled,
}
