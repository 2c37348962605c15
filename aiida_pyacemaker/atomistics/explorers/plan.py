"""What each simulation ("walker") of an exploration does: where it starts, how it is driven, when it is stopped.

A walker follows a program: `heat` goes up through the temperatures of the section `explore`, `cool` comes down from
well above them, where crystals melt at once, and `melt` stays there; `compress` raises the pressure, `deform` strains
the cell, `hop` starts with an atom on its way into a vacancy. Early stages are shorter, and may go only part of the
way. The plan depends on its arguments only: the same ones give the same simulations.
"""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement
from typing import TypedDict

import numpy as np
import spglib
from ase import Atoms
from ase.data import atomic_numbers
from pymatgen.core import Element

from ..checks.radii import contact_distance
from ..checks.vacuum import detect_vacuum
from ..core.errors import InputError
from ..core.symmetry import call_spglib
from ..crystals.ions import states_of
from ..crystals.oxidation import MOLECULAR
from .dynamics import Deformation, Exchange, Swap, Watch, WatchedDynamics
from .parameters import Explore
from .walker import Walker

#: Programs in the order in which walkers take them where the user names none. What has vacuum can be heated only.
#: The first two meet the liquid for certain: what is only heated, or cooled at once, may stay a crystal.
BULK = ('heat', 'melt', 'cool', 'compress', 'deform', 'hop')
VACUUM = ('heat', 'melt', 'cool')
#: `info['operation']` of a starting cell with an atom on its way into a vacancy.
HOP = 'hop'
#: `cool` and `melt` begin at so many times the highest temperature: a small perfect crystal survives far above its
#: melting point, and what was never molten is only a crystal that cools.
OVERHEATING_RATIO = 1.25
#: Space group from which on a crystal is cubic.
FIRST_CUBIC_GROUP = 195
#: Space group below which (triclinic, monoclinic) an alloy does not count as ordered.
FIRST_ORDERED_GROUP = 16
#: Atoms closer than this fraction of their contact distance overlap: no material is like that, and nothing is learned.
OVERLAP_RATIO = 0.5
#: Snapshots of a simulation at least, so that a short one has some to measure on.
MIN_SNAPSHOTS = 20
#: Part of the range of temperatures at which pressure and strain are raised: in the middle, then low, then high.
LADDER = (0.5, 0.0, 1.0)
#: Kind and direction of the strain in turn, in the orientation of LAMMPS (a along x, b in the plane of x and y).
STRAINS = (
    ('tension', 'x'), ('compression', 'y'), ('shear', 'xy'),
    ('tension', 'y'), ('compression', 'z'), ('shear', 'yz'),
    ('tension', 'z'), ('compression', 'x'), ('shear', 'xz'),
)  # fmt: skip
#: The keys that go to every simulation as they are.
SHARED_KEYS = tuple(key for key in Watch.model_fields if key != 'dump_every')


#: Atoms of a simulation where nobody knows what a label costs.
UNPRICED_ATOMS = 32


class StartingSizes(TypedDict):
    """How many cells of which size a stage starts in: the arguments of `starting_cells`."""

    atoms: int
    number: int
    max_atoms: int | None
    hop: bool


def plan_walkers(
    explore: Explore, cells: list[Atoms], elements: list[str], stage: int, seed: int
) -> list[Walker[WatchedDynamics]]:
    """Return what each walker of a round does.

    :param explore: the section `explore` of a run file.
    :param cells: starting cells of the stage, see :func:`starting_sizes`.
    :param elements: those of the potential.
    :param stage: counted from 0.
    :param seed: of the round: decides velocities, and which cell, strain and temperature meet which walker.
    :raises InputError: if a program that the user names fits none of the cells.
    """
    foreign = sorted({symbol for cell in cells for symbol in cell.get_chemical_symbols()} - set(elements))
    if foreign:
        raise InputError('explore', f'the starting cells hold {", ".join(foreign)}, which is not in system.elements')
    vacuum = [bool(detect_vacuum(cell)) for cell in cells]
    programs = _programs(explore, cells, vacuum)
    return [_plan_walker(explore, cells, vacuum, programs, stage, seed, index) for index in range(explore.walkers)]


def starting_sizes(explore: Explore, stage: int, largest: int | None) -> StartingSizes:
    """Return how many cells of which size a stage starts in.

    :param largest: `embed.max_atoms`; None for no limit. Cells that may go to DFT whole stay so; what is larger is cut
        out of its cell.
    """
    atoms = explore.stages[stage].atoms or explore.atoms or UNPRICED_ATOMS
    wanted = explore.programs or BULK
    return {
        'atoms': atoms,
        'number': explore.walkers,
        'max_atoms': largest if largest is not None and atoms <= largest else None,
        'hop': HOP in [wanted[index % len(wanted)] for index in range(explore.walkers)],
    }


def number_of_steps(explore: Explore, stage: int) -> int:
    """Steps of a simulation of a stage: its share, rounded up to a multiple of `gamma_every`."""
    share = explore.steps * explore.stages[stage].share
    return math.ceil(round(share / explore.gamma_every, 9)) * explore.gamma_every


def _plan_walker(
    explore: Explore,
    cells: list[Atoms],
    vacuum: list[bool],
    programs: list[str],
    stage: int,
    seed: int,
    index: int,
) -> Walker[WatchedDynamics]:
    program = programs[index % len(programs)]
    # Walkers of a program, and rounds, take turns in everything that the program leaves open.
    turn = index // len(programs) + seed
    fitting = [number for number, cell in enumerate(cells) if _fits(program, cell, vacuum[number], explore)]
    number = fitting[(index + turn) % len(fitting)]
    # Once every cell has had its turn, the next temperature and strain.
    turn //= len(fitting)
    steps, reach = number_of_steps(explore, stage), explore.stages[stage].reach
    ensemble = ('nvt' if vacuum[number] else 'npt') if explore.ensemble == 'auto' else explore.ensemble
    temperature = _temperature(program, explore, reach, turn)
    dynamics = WatchedDynamics(
        ensemble=ensemble,
        coupling=_coupling(cells[number], program),
        temperature=temperature,
        pressure=_pressure(program, explore, reach),
        steps=steps,
        dump_every=_dump_every(explore, steps),
        seed=seed * 1000 + index,
        reference_volume_per_atom=float(cells[number].get_volume() / len(cells[number])),
        min_distances=_min_distances(cells[number]),
        swap=_swap(explore.swap, cells[number], temperature),
        deform=_deform(explore, steps, reach, turn) if program == 'deform' else None,
        **{key: getattr(explore, key) for key in SHARED_KEYS},
    )
    return Walker(index, explore.stages[stage].name, program, number, dynamics)


# Programs -------------------------------------------------------------------------------------------------------------


def _programs(explore: Explore, cells: list[Atoms], vacuum: list[bool]) -> list[str]:
    """The programs that the walkers take in turn: those that the user names, or those that fit the cells."""
    named = (explore.programs or [])[: explore.walkers]
    wanted = named or (VACUUM if all(vacuum) else BULK)
    fitting = [
        name
        for name in wanted
        if any(_fits(name, cell, empty, explore) for cell, empty in zip(cells, vacuum, strict=True))
    ]
    missing = [name for name in wanted if name not in fitting]
    if named and missing:
        reasons = {
            'compress': 'a barostat: a cell without vacuum, and explore.ensemble auto or npt',
            'deform': 'a cell without vacuum',
            'hop': 'a crystal of single atoms or ions, in which a vacancy can be made',
        }
        needs = '; '.join(f'{name} needs {reasons.get(name, "a cell")}' for name in missing)
        raise InputError('explore.programs', needs, 'there is none, so leave it out')
    return fitting


def _fits(program: str, cell: Atoms, vacuum: bool, explore: Explore) -> bool:
    """Whether a cell can be taken through a program."""
    if (cell.info.get('operation') == HOP) != (program == HOP):
        return False
    if program == 'compress':
        return not vacuum and explore.ensemble != 'nvt'
    return program != 'deform' or not vacuum


def _temperature(program: str, explore: Explore, reach: float, turn: int) -> list[float]:
    """First and last temperature (K) of a walker that goes so far of the range."""
    low, high = min(explore.temperature), max(explore.temperature)
    melting = low + reach * (OVERHEATING_RATIO * high - low)
    high = low + reach * (high - low)
    # Not in step with the strains, so that each of them meets each temperature.
    rung = low + LADDER[(turn + turn // len(LADDER)) % len(LADDER)] * (high - low)
    ramps = {
        'heat': (low, high),
        'cool': (melting, low),
        # back to the highest: what is molten then stays so, and what is held farther above may boil
        'melt': (melting, high),
        # hot enough for hops other than the prepared one
        'hop': (0.5 * (low + high), high),
    }
    return [float(value) for value in ramps.get(program, (rung, rung))]


def _pressure(program: str, explore: Explore, reach: float) -> list[float]:
    """First and last pressure (GPa)."""
    first, last = explore.pressure
    last = explore.max_pressure if program == 'compress' else last
    return [float(first), float(first + reach * (last - first))]


def _deform(explore: Explore, steps: int, reach: float, turn: int) -> Deformation:
    """A strain that reaches its part of `max_strain` with the last step."""
    kind, axis = STRAINS[turn % len(STRAINS)]
    rate = reach * explore.max_strain / (steps * explore.timestep * 1e-3)
    return Deformation(kind=kind, axis=axis, rate=rate)


def _dump_every(explore: Explore, steps: int) -> int:
    """Steps between two frames: as asked for, but more often in a short simulation."""
    every = explore.gamma_every
    return min(explore.dump_every, max(steps // MIN_SNAPSHOTS // every, 1) * every)


# Cells ----------------------------------------------------------------------------------------------------------------


def _coupling(cell: Atoms, program: str) -> str:
    """How the barostat changes the cell: `iso`, or `aniso`, each axis on its own. Never the angles (`tri`).

    A melt resists no shear: a free box of a few atoms flows into a flat one, that with free angles within picoseconds
    (tests/benchmarks/bench_box_shape.py). So what begins molten keeps its shape, and what is cubic while it is heated.
    """
    keeps = program in ('melt', 'cool', HOP) or (program == 'heat' and _is_cubic(cell))
    return 'iso' if keeps else 'aniso'


def _is_cubic(cell: Atoms) -> bool:
    """Whether a crystal is cubic; a disordered alloy is if its lattice is."""
    number = _space_group(cell, cell.numbers)
    return number >= FIRST_CUBIC_GROUP or (
        number < FIRST_ORDERED_GROUP and _space_group(cell, np.ones(len(cell), dtype=int)) >= FIRST_CUBIC_GROUP
    )


def _space_group(cell: Atoms, kinds: np.ndarray) -> int:
    data = call_spglib(spglib.get_symmetry_dataset, (cell.cell.array, cell.get_scaled_positions(), kinds), symprec=1e-3)
    return 0 if data is None else data.number


def _min_distances(cell: Atoms) -> dict[str, float]:
    """Shortest distances (Å) of pairs of elements that a simulation may come to: `{'Al-Cu': 1.2, ...}`."""
    states = states_of(cell)
    kinds: dict[str, set[float]] = {}
    for site, symbol in enumerate(cell.get_chemical_symbols()):
        kinds.setdefault(symbol, set()).add(0.0 if states is None else float(states[site]))
    return {
        f'{first}-{second}': OVERLAP_RATIO
        * min(
            contact_distance((atomic_numbers[first], one), (atomic_numbers[second], other))
            for one in kinds[first]
            for other in kinds[second]
        )
        for first, second in combinations_with_replacement(sorted(kinds), 2)
    }


def _swap(swap: Swap | None, cell: Atoms, temperature: list[float]) -> Exchange | None:
    """The exchanges of a walker; none where it has no pair of elements that can be exchanged."""
    pairs = swap_pairs(cell) if swap else []
    if not swap or not pairs:
        return None
    middle = float(swap.temperature or sum(temperature) / 2)
    return Exchange(every=swap.every, attempts=swap.attempts, pairs=pairs, temperature=middle)


def swap_pairs(cell: Atoms) -> list[list[str]]:
    """Pairs of elements whose atoms may change places.

    Of ions those of equal charge; else metals and metalloids, and non-metals of one group: an exchange of hydrogen and
    oxygen in water, or of carbon and iron in steel, is practically never accepted.
    """
    symbols = np.array(cell.get_chemical_symbols())
    present, states = [str(symbol) for symbol in np.unique(symbols)], states_of(cell)
    if states is None:
        return [list(pair) for pair in combinations(present, 2) if _are_alike(*pair)]
    charge = {symbol: set(states[symbols == symbol]) for symbol in present}
    return [
        [first, second]
        for first, second in combinations(present, 2)
        if len(charge[first]) == 1 and charge[first] == charge[second]
    ]


def _are_alike(first: str, second: str) -> bool:
    return MOLECULAR.isdisjoint((first, second)) or Element(first).group == Element(second).group
