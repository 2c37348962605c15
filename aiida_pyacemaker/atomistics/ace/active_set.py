"""The linear active set, from which gamma is computed.

The environments of a training set are far more than fit into memory as a table, so they are passed through in chunks:
MaxVol starts from a sample (or from the set of the former fit), then every pass looks for the environments whose gamma
is too large, and exchanges those in, until a pass finds none. E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci.
140, 171 (2017); Y. Lysogorskiy et al., Phys. Rev. Mater. 7, 043801 (2023); S. A. Goreinov et al., in: Matrix Methods,
World Scientific (2010), 247.

Measured with 300 functions (processor time; tests/benchmarks/bench_active_set.py): 10^6 environments from scratch 86 s
and 1.1 GB, continued with 10 new configurations 16 s; 10^5 environments 3.4 s and 0.3 GB, continued 1.5 s, where
python-ace's MaxVol takes 7 s and 0.9 GB for the same volume.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from ase import Atoms
from scipy.linalg import qr

from ..core.frame import forces_count
from ..core.processes import forked_map
from ..subsets.maxvol import exchange
from .basis import functions_per_element
from .store import RowStore

#: Weight of the unit rows, relative to the largest value of each B-function in the training data. See `ActiveSet`.
#: Measured on aluminium (EMT, 150 functions, 11 small symmetric cells and n rattled cells of 32 atoms; the median over
#: 12 unseen rattled cells of the largest gamma), for the values 1e-3, 1e-4, 1e-6 and none:
#: n = 4: 9.4, 13, 55, singular; n = 8: 2.0, 1.9, 4.4, 3.7; n = 16: 1.0, 1.2, 1.3, 1.1; n = 32: 0.9, 0.9, 0.7, 0.9.
#: Condition numbers: 3e5, 2e6, 2e8, and 3e9 or infinite. So 1e-4 leaves a sound set as it is, keeps ten digits in the
#: inverse, and a degenerate set (n = 0 to 2) shows gammas of 1e3 and more.
REGULARISATION = 1e-4
#: A function whose largest value is this small a part of the largest of all is zero by symmetry, up to rounding: such
#: values are below 1e-28 in perfect crystals, genuine ones above 1e-5.
ZERO = 1e-12
#: MaxVol ends when no training environment has a gamma above this.
TOLERANCE = 1.001
#: Environments in a chunk, and in a block of one matrix product, which stays in the cache.
CHUNK = 4096
BLOCK = 512
#: So many environments, or this many per function, are the first sample; a pass exchanges in no more than these.
POOL = 2048
POOL_PER_FUNCTION = 8
#: A pass makes the volume larger or is the last one; rounding must not make it go on forever. Nor must it make the
#: exchanges in a pool, which lose digits and are begun again from the inverse.
MAX_PASSES = 50
MAX_ROUNDS = 20
#: Environments with a gamma above this may soon be worth an exchange.
PROMISING = 0.5
#: An environment of the former set has this gamma in it, up to rounding, and zero in all other coefficients.
SAME_TOLERANCE = 1e-5
#: Passes with fewer multiplications than this are not worth other processes.
SMALL_WORK = 2e9


@dataclass
class ActiveSet:
    """The environments of one element that span the largest volume.

    A set of few or symmetric cells spans only part of the space of B-functions. Its matrix is then singular up to
    rounding, and gamma is noise. So the candidates are completed by unit rows, `REGULARISATION` times the largest value
    each function takes in the data; MaxVol takes one only where no environment gives more volume. Gamma in an
    unsupported direction is then the deviation in units of `REGULARISATION`, large but defined.

    :param inverse: (n, n): gamma of an environment with B-projections p is max |p @ inverse|.
    :param rows: (m, 2): configuration and atom of the chosen environments.
    :param unsupported: how many functions only a unit row supports.
    :param condition: condition number of the scaled set.
    :param gamma_max: largest gamma of the training environments; zero if there are none.
    :param passes: how often the environments were gone through.
    """

    inverse: np.ndarray
    rows: np.ndarray
    unsupported: int
    condition: float
    gamma_max: float
    passes: int


class Environments(Protocol):
    """The B-projections of the training environments, in chunks.

    :param ids: element -> (m, 2): configuration and atom. :param offsets: element -> (n_chunks + 1,): where the chunks
        begin. :param sizes: element -> number of functions.
    """

    ids: dict[str, np.ndarray]
    offsets: dict[str, np.ndarray]
    sizes: dict[str, int]

    def chunk(self, number: int) -> dict[str, np.ndarray]:
        """Return the projections (b, n_functions) of the elements in a chunk."""


class StoredEnvironments:
    """The environments of configurations, read from the store of rows; kept as far as `max_bytes` allow.

    Masked atoms (`force_weights` of zero) are no training environments.
    """

    def __init__(self, store: RowStore, frames: list[Atoms], elements: list[str], max_bytes: float):
        self._store, self._frames = store, frames
        self._counting = [forces_count(atoms) for atoms in frames]
        self._symbols = [np.array(atoms.get_chemical_symbols()) for atoms in frames]
        sizes = functions_per_element(store.design.basis)
        self.sizes = {element: sizes[element] for element in elements}
        borders = np.cumsum([0, *map(len, frames)]) // CHUNK
        starts = [*np.unique(borders[:-1], return_index=True)[1], len(frames)]
        self._parts = [range(begin, end) for begin, end in pairwise(starts)]
        self.ids, self.offsets = {}, {}
        for element in elements:
            picked = [np.flatnonzero(self._picked(index, element)) for index in range(len(frames))]
            counts = np.array([len(atoms) for atoms in picked], dtype=int)
            self.ids[element] = np.stack([np.repeat(np.arange(len(frames)), counts), np.concatenate([*picked, []])], 1)
            self.ids[element] = self.ids[element].astype(np.int32)
            self.offsets[element] = np.cumsum([0, *(counts[part.start : part.stop].sum() for part in self._parts)])
        # read here, and not by the processes of a pass: what they keep is lost with them
        self._kept: list[dict[str, np.ndarray]] = []
        left = max_bytes
        while left > 0 and len(self._kept) < len(self._parts):
            self._kept.append(self._read(len(self._kept)))
            left -= sum(rows.nbytes for rows in self._kept[-1].values())

    def _picked(self, index: int, element: str) -> np.ndarray:
        return (self._symbols[index] == element) & self._counting[index]

    def chunk(self, number: int) -> dict[str, np.ndarray]:
        return self._kept[number] if number < len(self._kept) else self._read(number)

    def _read(self, number: int) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {element: [] for element in self.sizes}
        for index in self._parts[number]:
            projections = self._store.projections(self._frames[index])
            for element, rows in found.items():
                rows += [projections[atom] for atom in np.flatnonzero(self._picked(index, element))]
        return {
            element: np.array(rows, dtype=float).reshape(-1, self.sizes[element]) for element, rows in found.items()
        }


class TableOfEnvironments:
    """Environments of one element as a table (m, n_functions)."""

    def __init__(self, projections: np.ndarray):
        self._rows = np.asarray(projections, dtype=float)
        m = len(self._rows)
        self.ids = {'X': np.stack([np.arange(m), np.zeros(m, dtype=int)], axis=1)}
        self.offsets = {'X': np.append(np.arange(0, m, CHUNK), m) if m else np.zeros(1, dtype=int)}
        self.sizes = {'X': self._rows.shape[1]}

    def chunk(self, number: int) -> dict[str, np.ndarray]:
        begin, end = self.offsets['X'][number : number + 2]
        return {'X': self._rows[begin:end]}


def active_set(projections: np.ndarray) -> ActiveSet:
    """Choose the active set among the environments of one element.

    :param projections: (n_environments, n_functions); may be empty.
    """
    return _Choice(TableOfEnvironments(projections), {}, processes=1).choose(lambda _: None)['X']


def choose_active_sets(
    store: RowStore,
    frames: list[Atoms],
    elements: list[str],
    former: dict[str, np.ndarray] | None = None,
    processes: int = 2,
    max_memory: float = 1e9,
    report: Callable[[str], None] = print,
) -> dict[str, ActiveSet]:
    """Choose the active set of every element among all training environments whose forces count.

    :param former: inverse active sets of the former fit, see :func:`load_active_sets`. Where its environments are found
        in the data the choice goes on from them. One of another basis does no harm.
    :param max_memory: bytes of projections kept in memory; what is more is read again in each pass.
    """
    environments = StoredEnvironments(store, frames, elements, max_memory)
    return _Choice(environments, former or {}, processes).choose(report)


def save_active_sets(target: str | os.PathLike[str], sets: dict[str, ActiveSet]) -> None:
    """Write an `.asi` file: the inverse active sets by element, as python-ace and LAMMPS read them."""
    with open(target, 'wb') as handle:
        arrays = {element: np.ascontiguousarray(entry.inverse) for element, entry in sets.items()}
        np.savez(handle, **arrays)  # type: ignore[arg-type]


def load_active_sets(source: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the inverse active sets (n, n) by element from an `.asi` file."""
    with np.load(source, allow_pickle=False) as data:
        return {element: data[element] for element in data.files}


@dataclass
class _Found:
    """What a pass found of one element: the largest value of each function, the largest gamma, the environments worth
    a look (grades and numbers), and where the members of the set are (position in the set -> number)."""

    largest: np.ndarray
    grade: float
    grades: np.ndarray
    promising: np.ndarray
    members: dict[int, int]


class _State:
    """The set of one element while it is chosen. Rows are in units of the scale of each function."""

    def __init__(self, size: int):
        self.size = size
        self.pool_size = max(POOL, POOL_PER_FUNCTION * size)
        self.inverse: np.ndarray | None = None
        self.scale = np.ones(size)
        self.matrix = np.zeros((0, size))
        #: of the rows of the set: the number of the environment, or -1 for a unit row
        self.numbers = np.zeros(0, dtype=int)
        #: environments outside the set of the largest gamma, known from former passes
        self.pool, self.pool_numbers = np.zeros((0, size)), np.zeros(0, dtype=int)
        self.grade = 0.0
        self.passes = 0
        self.done = False

    def start(self, rows: np.ndarray, numbers: np.ndarray, largest: np.ndarray) -> None:
        """Choose among `rows` and the unit rows by pivoted QR, which takes the row of the largest part beyond those
        taken.

        :param rows: in natural units. :param largest: value of each function in all data.
        """
        # A function that is zero in all data: any value of it is new. Its scale is that of the weakest function seen.
        seen = largest > ZERO * max(largest.max(initial=0.0), np.finfo(float).tiny)
        self.scale = np.where(seen, largest, largest[seen].min() if seen.any() else 1.0)
        table = np.vstack([self._units(), rows / self.scale])
        numbers = np.concatenate([np.full(self.size, -1), numbers])
        chosen = qr(table.T, mode='r', pivoting=True)[1][: self.size]
        self._take(table, numbers, chosen)

    def exchange(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Exchange `rows` (in natural units), the pool and unit rows for those of the set.

        Each environment may be in once only: more would be exchanged for each other, up to rounding.
        """
        table = np.vstack([self.matrix, self._units(), self.pool, rows / self.scale])
        numbers = np.concatenate([self.numbers, np.full(self.size, -1), self.pool_numbers, numbers])
        chosen = np.arange(self.size)
        for _ in range(MAX_ROUNDS):
            coefficients = table @ np.linalg.inv(table[chosen])
            grades = np.maximum(coefficients.max(axis=1), -coefficients.min(axis=1))
            if grades.max() <= TOLERANCE:
                break
            grades[chosen] = 0.0
            others = np.flatnonzero(grades > PROMISING)
            chosen = exchange(chosen, others, coefficients[others], TOLERANCE)
        self._take(table, numbers, chosen)
        grades[chosen] = 0.0
        outside = np.flatnonzero((grades > PROMISING) & (numbers >= 0))
        best = np.sort(outside[np.argsort(-grades[outside], kind='stable')[: self.pool_size]])
        self.pool, self.pool_numbers = table[best], numbers[best]

    def result(self, ids: np.ndarray) -> ActiveSet:
        assert self.inverse is not None
        chosen = self.numbers[self.numbers >= 0]
        condition = float(np.linalg.cond(self.matrix))
        return ActiveSet(self.inverse, ids[chosen], self.size - len(chosen), condition, self.grade, self.passes)

    def _units(self) -> np.ndarray:
        return REGULARISATION * np.eye(self.size)

    def _take(self, table: np.ndarray, numbers: np.ndarray, chosen: np.ndarray) -> None:
        chosen = chosen[np.argsort(numbers[chosen], kind='stable')]
        self.matrix, self.numbers = table[chosen], numbers[chosen]
        # gamma = max |p S^-1 M^-1| with S the scales
        self.inverse = np.linalg.inv(self.matrix) / self.scale[:, None]


class _Choice:
    """The choice for all elements at once: a pass through the environments serves all of them."""

    def __init__(self, environments: Environments, former: dict[str, np.ndarray], processes: int):
        self.environments = environments
        self.processes = processes
        self.states = {element: _State(size) for element, size in environments.sizes.items()}
        for element, state in self.states.items():
            if element in former and former[element].shape == (state.size, state.size):
                state.inverse = former[element]

    def choose(self, report: Callable[[str], None]) -> dict[str, ActiveSet]:
        found = self._pass(list(self.states))
        for element, state in self.states.items():
            self._start(element, state, found[element])
        for _ in range(MAX_PASSES):
            left = [element for element, state in self.states.items() if not state.done]
            if not left:
                break
            found = self._pass(left)
            for element in left:
                state = self.states[element]
                state.passes += 1
                state.grade = found[element].grade
                state.done = state.grade <= TOLERANCE
                if not state.done:
                    self._exchange(element, state, found[element].promising)
        told = ', '.join(f'{element} {state.grade:.4g}' for element, state in self.states.items())
        report(f'active set: largest gamma of the training environments {told}')
        return {element: state.result(self.environments.ids[element]) for element, state in self.states.items()}

    def _start(self, element: str, state: _State, found: _Found) -> None:
        """After the first pass: start from the environments of the former set, if they were found, or from a sample."""
        state.passes = 1
        if found.members:
            numbers, others = np.array(sorted(found.members.values())), found.promising
        else:
            count = len(self.environments.ids[element])
            numbers = others = np.arange(0, count, max(1, -(-count // state.pool_size)))
        state.start(self._rows(element, numbers), numbers, found.largest)
        self._exchange(element, state, others)

    def _exchange(self, element: str, state: _State, numbers: np.ndarray) -> None:
        new = numbers[~np.isin(numbers, [*state.numbers, *state.pool_numbers])]
        state.exchange(self._rows(element, new), new)

    def _rows(self, element: str, numbers: np.ndarray) -> np.ndarray:
        """Projections of environments by their numbers."""
        offsets = self.environments.offsets[element]
        rows = np.empty((len(numbers), self.environments.sizes[element]))
        chunks = np.searchsorted(offsets, numbers, side='right') - 1
        for chunk in np.unique(chunks):
            here = chunks == chunk
            rows[here] = self.environments.chunk(int(chunk))[element][numbers[here] - offsets[chunk]]
        return rows

    def _pass(self, elements: list[str]) -> dict[str, _Found]:
        """Go through all chunks, by as many processes as it is worth."""
        chunks = len(next(iter(self.environments.offsets.values()), [0])) - 1
        work = sum(len(self.environments.ids[element]) * self.states[element].size ** 2 for element in elements)
        processes = min(self.processes, chunks) if work > SMALL_WORK else 1
        parts = list(forked_map(lambda number: self.look(number, elements), range(chunks), processes))
        return {element: self._join(element, [part[element] for part in parts]) for element in elements}

    def _join(self, element: str, parts: list[_Found]) -> _Found:
        state = self.states[element]
        joined = _Found(np.zeros(state.size), 0.0, np.zeros(0), np.zeros(0, dtype=int), {})
        for part in parts:
            joined.largest = np.maximum(joined.largest, part.largest)
            joined.grade = max(joined.grade, part.grade)
            joined.members = {**part.members, **joined.members}
        grades = np.concatenate([joined.grades, *(part.grades for part in parts)])
        numbers = np.concatenate([joined.promising, *(part.promising for part in parts)])
        best = np.sort(np.argsort(-grades, kind='stable')[: state.pool_size])
        joined.grades, joined.promising = grades[best], numbers[best]
        return joined

    def look(self, number: int, elements: list[str]) -> dict[str, _Found]:
        """Look at one chunk."""
        chunk = self.environments.chunk(number)
        return {element: self._look(number, element, chunk[element]) for element in elements}

    def _look(self, number: int, element: str, rows: np.ndarray) -> _Found:
        state, begin = self.states[element], int(self.environments.offsets[element][number])
        found = _Found(np.zeros(state.size), 0.0, np.zeros(0), np.zeros(0, dtype=int), {})
        if not len(rows):
            return found
        found.largest = np.maximum(rows.max(axis=0), -rows.min(axis=0))
        if state.inverse is None:
            return found
        grades = np.empty(len(rows))
        for first in range(0, len(rows), BLOCK):
            coefficients = rows[first : first + BLOCK] @ state.inverse
            block = np.maximum(coefficients.max(axis=1), -coefficients.min(axis=1))
            grades[first : first + BLOCK] = block
            if state.passes == 0:  # by the former set
                _note_members(coefficients, block, begin + first, found.members)
        found.grade = float(grades.max())
        promising = np.flatnonzero(grades > PROMISING)
        best = np.sort(promising[np.argsort(-grades[promising], kind='stable')[: state.pool_size]])
        found.grades, found.promising = grades[best], begin + best
        return found


def _note_members(coefficients: np.ndarray, grades: np.ndarray, begin: int, members: dict[int, int]) -> None:
    """Note which environments are those of the set: their coefficients are a row of the unit matrix."""
    for row in np.flatnonzero(np.abs(grades - 1.0) < SAME_TOLERANCE):
        values = coefficients[row]
        position = int(np.argmax(values))
        if position not in members and np.abs(values).sum() - values[position] < SAME_TOLERANCE * len(values):
            members[position] = begin + int(row)
