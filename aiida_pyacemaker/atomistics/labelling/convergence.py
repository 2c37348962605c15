"""DFT settings that are right for the system at hand, chosen by measurement, and the noise that they leave in a label.

Small cells of low symmetry are labelled with several settings. The *noise* of a setting is the root mean square of what
tells its labels from those of a tighter one: of the energies per atom after one shift per element (which no potential
can see), of the components of forces and of stresses. Three parts are measured one after the other:

- *cutoff*: rungs are fractions of what the family recommends, the reference is above that. Errors of the cutoff hardly
  depend on the k-points: all is done with a coarse mesh. The error falls with the cutoff, so the rung is found by
  bisection.
- *k-points*: from coarse to fine, at the chosen cutoff, until the next rung changes less than wanted. The rungs are
  those of which the meshes of all cells differ.
- *smearing*: at the finer of these meshes, against half the width. The widest is tried first: it needs the fewest
  k-points; where it changes more than wanted, a narrower one is, and the k-points go on from where they were.

Then all are tightened together on the two cheapest cells. The noise is the larger of this and of the root of the sum
of the squares of the parts. What a setting will cost follows from what the former ones have taken: the time of a
plane-wave calculation goes with the number of plane waves (cutoff^1.5) and of k-points. Nothing is assumed of the
speed of the machine, therefore; what would go beyond the limit is refused, and that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.geometry import minkowski_reduce
from ase.units import GPa

from ..core.errors import InputError
from ..core.frame import labels
from ..core.symmetry import call_spglib
from ..crystals.prototypes import primitive_cell
from .kpoints import Mesh, endless_vectors, kpoints_mesh

#: The keys of the section `label` that can be chosen by measurement.
TUNABLE = ('ecutwfc', 'ecutrho', 'kpoints_distance', 'degauss')
QUANTITIES = ('energy', 'force', 'stress')
UNITS = {'energy': 'eV/atom', 'force': 'eV/Å', 'stress': 'GPa'}
#: Rungs of the cutoff, fractions of what the family recommends, and that of the reference.
CUTOFF_RUNGS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
CUTOFF_REFERENCE = 1.3
#: The reference is above the rung that it judges by this factor at least.
CUTOFF_MARGIN = 1.2
#: 1/Å; the mesh of the cutoffs, and the range of the rungs of the k-points.
COARSE_DISTANCE = 1.0
DISTANCES = (0.6, 0.06)
#: Factor between distances that are looked at; those are rungs of which the meshes differ.
DISTANCE_STEP = 0.94
#: Ry, the widest first.
SMEARINGS = (0.05, 0.03, 0.02, 0.01)
#: Parts of the noise wanted that the cutoff and the k-points may have; the smearing may have what they leave of it, by
#: squares. Most is left to the k-points: their number goes with the cube of the inverse distance, and errors of metals
#: fall slowly with it, while cutoffs soon have no error left.
SHARES = {'cutoff': 0.45, 'kpoints': 0.8}
#: Volumes of the cells relative to that of their parent, and sizes of strains and displacements (Å).
VOLUMES = (1.0, 0.92, 1.13, 0.97, 1.06, 0.9)
STRAIN, RATTLE = 0.03, 0.08
#: Cells that are made at least, and at most (more where there are more elements).
CELLS = (4, 6)
#: Atoms of a parent that is small; parents that are larger are taken where there are no others.
SMALL = 8
#: Changes by a smearing below this part of what is wanted are none: the cells have a gap.
GAP_SHARE = 0.05
#: Bohr magnetons per atom; a cell with more is magnetic.
MAGNETIC = 0.1
SYMMETRY_TOLERANCE = 0.01
#: What holds where the run file has no value and nothing is measured: 1/Å and Ry, enough for most metals; and the noise
#: of energies (eV/atom) that these leave, more or less.
UNMEASURED = {'kpoints_distance': 0.2, 'degauss': 0.02}
EXPECTED_NOISE = 0.0004


@dataclass(frozen=True)
class Setting:
    """What a label depends on. Cutoffs and the width of the smearing in Ry, the distance of k-points in 1/Å."""

    ecutwfc: float
    ecutrho: float
    kpoints_distance: float
    degauss: float

    def to_dict(self) -> dict[str, float]:
        """Return the keys of the section `label`."""
        return asdict(self)


@dataclass(frozen=True)
class Task:
    """Cells, by their indices, that are to be labelled with a setting."""

    setting: Setting
    cells: tuple[int, ...]

    @property
    def key(self) -> tuple:
        return (self.setting, self.cells)


@dataclass
class Labelled:
    """What a task has given: a frame for each cell that was labelled, by the index of the cell; and its cost."""

    frames: dict[int, Atoms]
    core_seconds: float = 0.0


class NeedsLabels(Exception):  # noqa: N818  it asks for work, nothing is wrong
    """Raised where labels are missing for the next decision: `tasks` are to be labelled first."""

    def __init__(self, tasks: Sequence[Task]):
        super().__init__(f'{len(tasks)} settings are to be labelled')
        self.tasks = list(tasks)


def expected_distance(energy: float | None) -> float:
    """Return the distance of k-points (1/Å) that a metal is expected to need for a noise of energies (eV/atom).

    A guess for planning, made of what aluminium was measured to need: 0.3 for 2 meV/atom, 0.2 for 0.4 meV/atom.

    :param energy: None where nothing is measured.
    """
    return UNMEASURED['kpoints_distance'] * ((energy or EXPECTED_NOISE) / EXPECTED_NOISE) ** 0.25


# The cells ------------------------------------------------------------------------------------------------------------


def make_cells(frames: Sequence[Atoms], elements: Sequence[str], seed: int = 0) -> list[Atoms]:
    """Return small cells of low symmetry in which all elements occur, also pure ones where there are some.

    :param frames: initial structures of a run; their primitive cells are the parents.
    :param elements: chemical symbols.
    :returns: 4 to 6 cells (more where there are more elements), strained and rattled, with volumes from 0.9 to 1.13 of
        their parent's.
    :raises InputError: if an element is in none of the structures.
    """
    parents = find_parents(frames, elements)
    number = min(max(CELLS[0], len(elements) + 3), max(CELLS[1], len(parents) + 1))
    rng = np.random.default_rng(seed)
    cells = []
    for index in range(max(number, len(parents))):
        parent = parents[index % len(parents)]
        volume = VOLUMES[index % len(VOLUMES)]
        atoms = distort(parent, volume, rng)
        atoms.info['name'] = f'{atoms.get_chemical_formula()} #{index} at {volume:g} of its volume'
        cells.append(atoms)
    return cells


def find_parents(frames: Sequence[Atoms], elements: Sequence[str]) -> list[Atoms]:
    """Return the smallest primitive cells of the structures that hold all elements, pure ones first."""
    bulk = [atoms for atoms in frames if len(atoms) <= 64 and len(endless_vectors(atoms)) == 3]
    candidates: dict[tuple, Atoms] = {}
    for atoms in bulk or list(frames):
        primitive = primitive_cell(atoms) if bulk else atoms
        key = tuple(sorted(primitive.get_chemical_symbols()))
        if key not in candidates:
            candidates[key] = primitive
    found = sorted(candidates.values(), key=lambda atoms: (len(set(atoms.numbers)), len(atoms)))
    chosen: list[Atoms] = []
    covered: set[str] = set()
    for symbol in elements:  # pure ones
        pure = next((atoms for atoms in found if set(atoms.get_chemical_symbols()) == {symbol}), None)
        if pure is not None and len(pure) <= SMALL:
            chosen.append(pure)
    # what holds most elements in few atoms
    for atoms in sorted(found, key=lambda atoms: (-len(set(atoms.numbers)) if len(atoms) <= SMALL else 1, len(atoms))):
        symbols = set(atoms.get_chemical_symbols())
        if symbols - covered and (len(symbols) > 1 or not symbols <= {s for c in chosen for s in c.symbols}):
            chosen.append(atoms)
            covered |= symbols
    missing = sorted(set(elements) - {symbol for atoms in chosen for symbol in atoms.get_chemical_symbols()})
    if missing:
        raise InputError('label.noise', f'no initial structure holds {", ".join(missing)}', 'set it to null')
    return chosen


def distort(parent: Atoms, volume: float, rng: np.random.Generator) -> Atoms:
    """Return a parent with another volume, strained and with displaced atoms, some of its symmetry left.

    What is left are the operations about an axis that keep one atom: forces and stresses are as free as these allow,
    and the k-points are up to sixteen times fewer than without symmetry, which makes a measurement affordable. A parent
    of a single atom is doubled, to have forces.
    """
    atoms = Atoms(parent.symbols, positions=parent.positions, cell=parent.cell, pbc=parent.pbc)
    if len(atoms) == 1:
        atoms = double(atoms)
    rotations, maps = find_axial_operations(atoms)
    strain = rng.uniform(-STRAIN, STRAIN, (3, 3))
    strain = np.mean([rotation.T @ (strain + strain.T) / 2 @ rotation for rotation in rotations], axis=0)
    strain -= np.eye(3) * np.trace(strain) / 3
    moves = rng.normal(0, RATTLE, (len(atoms), 3))
    moves = np.mean([moves[order] @ rotation for rotation, order in zip(rotations, maps, strict=True)], axis=0)
    # as large as without symmetry, whatever is left of the random ones
    size = np.sqrt(np.mean(np.sum((moves - moves.mean(axis=0)) ** 2, axis=1)))
    if size > 0:
        moves *= np.sqrt(3) * RATTLE / size
    if len(endless_vectors(atoms)) < 3:
        strain, volume = np.zeros((3, 3)), 1.0
    deformation = (np.eye(3) + strain) * volume ** (1 / 3)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    atoms.positions += moves
    return atoms


def double(atoms: Atoms) -> Atoms:
    """Return the cell of twice the volume that keeps most operations of symmetry about an axis."""
    shapes = [np.diag(np.where(np.arange(3) == axis, 2, 1)) for axis in range(3)]
    # the seven sublattices of index two, see Phys. Rev. B 77, 224115 (2008)
    shapes += [np.array(shape) for shape in (
        [[1, 0, 0], [1, 2, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [1, 0, 2]],
        [[1, 0, 0], [0, 1, 0], [0, 1, 2]],
        [[1, 0, 0], [0, 1, 0], [1, 1, 2]],
    )]  # fmt: skip
    cells = [compact(make_supercell(atoms, shape)) for shape in shapes]
    return max(cells, key=lambda cell: len(find_axial_operations(cell)[0]))


def compact(atoms: Atoms) -> Atoms:
    """Return the same crystal in the cell of the shortest vectors."""
    atoms = atoms.copy()
    atoms.set_cell(minkowski_reduce(atoms.cell.array)[0])
    atoms.wrap()
    return atoms


def find_axial_operations(atoms: Atoms) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the largest group of operations that keep an axis, its sense, and one atom.

    :returns: Cartesian rotations (3, 3) for rows (`vector @ rotation`), and for each of them the indices of the
        atoms that come onto the atoms. The identity alone where there is no symmetry.
    """
    import spglib

    identity = [np.eye(3)], [np.arange(len(atoms))]
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = call_spglib(spglib.get_symmetry, cell, symprec=SYMMETRY_TOLERANCE) if atoms.pbc.all() else None
    if found is None:
        return identity
    scaled, lattice = atoms.get_scaled_positions(), atoms.cell.array
    kept = []
    for matrix, shift in zip(found['rotations'], found['translations'], strict=True):
        images = scaled @ matrix.T + shift
        distances = images[:, None] - scaled[None]
        distances = np.linalg.norm((distances - np.round(distances)) @ lattice, axis=2)
        target = distances.argmin(axis=1)
        if target[0] == 0:
            order = np.argsort(target)
            kept.append((np.linalg.inv(lattice) @ matrix.T @ lattice, order))
    axes = [vector for rotation, _ in kept for vector in _invariant_axes(rotation)]
    best = identity
    for axis in axes:
        group = [(rotation, order) for rotation, order in kept if np.allclose(axis @ rotation, axis, atol=1e-3)]
        if len(group) > len(best[0]):
            best = [rotation for rotation, _ in group], [order for _, order in group]
    return best


def _invariant_axes(rotation: np.ndarray) -> list[np.ndarray]:
    """Return the axis of a proper rotation, if it is one and not the identity."""
    if np.linalg.det(rotation) < 0 or np.allclose(rotation, np.eye(3), atol=1e-3):
        return []
    values, vectors = np.linalg.eig(rotation.T)
    return [np.real(vectors[:, int(np.argmin(np.abs(values - 1)))])]


# The analysis ---------------------------------------------------------------------------------------------------------


def compare(one: Mapping[int, Atoms], other: Mapping[int, Atoms]) -> dict[str, float | None]:
    """Return the root mean square differences between the labels of the same cells.

    :param one: labelled frames by the index of the cell. :param other: the same with a tighter setting.
    :returns: `energy` (eV/atom) after one shift per element, scaled for the degrees of freedom that this takes, None
        where none is left; `force` (eV/Å) and `stress` (GPa) per component, None where there is none.
    :raises ValueError: if no cell has both labels.
    """
    common = sorted(set(one) & set(other))
    if not common:
        raise ValueError('no cell was labelled with both settings')
    energies, shares, forces, stresses = [], [], [], []
    species = sorted({int(number) for index in common for number in one[index].numbers})
    for index in common:
        first, second = labels(one[index]), labels(other[index])
        count = len(one[index])
        energies.append((first['energy'] - second['energy']) / count)
        shares.append([np.count_nonzero(one[index].numbers == number) / count for number in species])
        forces.append(np.ravel(first['forces'] - second['forces']))
        if first.get('stress') is not None and second.get('stress') is not None:
            stresses.append(np.ravel(first['stress'] - second['stress']) / GPa)
    matrix, values = np.array(shares), np.array(energies)
    shifts, _, rank, _ = np.linalg.lstsq(matrix, values, rcond=None)
    freedom = len(values) - int(rank)
    rest = values - matrix @ shifts
    return {
        'energy': float(np.sqrt(rest @ rest / freedom)) if freedom else None,
        'force': _rms(forces),
        'stress': _rms(stresses) if stresses else None,
    }


def _rms(parts: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def combine(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the root of the sum of squares of noises, quantity by quantity."""
    return {name: float(np.sqrt(sum((part.get(name) or 0.0) ** 2 for part in parts))) for name in QUANTITIES}


def excess(noise: Mapping[str, float | None], wanted: Mapping[str, float]) -> float:
    """Return the largest ratio of a noise to what is wanted: at most 1 where all are met."""
    return max((noise.get(name) or 0.0) / wanted[name] for name in QUANTITIES)


# The choice -----------------------------------------------------------------------------------------------------------


@dataclass
class Problem:
    """What is asked for.

    :param cells: that are labelled.
    :param wanted: `energy`, `force` and `stress`, see `UNITS`.
    :param given: settings that the user has given: they are kept, and their noise is measured.
    :param hint: cutoffs (Ry) that the family recommends, and that of the reference at least.
    :param max_core_seconds: limit of the whole measurement; infinite for none.
    """

    cells: list[Atoms]
    wanted: dict[str, float]
    hint: tuple[float, float]
    given: dict[str, float] = field(default_factory=dict)
    high: float = 0.0
    max_core_seconds: float = float('inf')
    _meshes: dict[tuple[int, float], Mesh] = field(default_factory=dict, repr=False)

    def get_mesh(self, index: int, distance: float) -> Mesh:
        """Return the mesh of a cell; kept, as finding it takes 10 ms and every decision asks again."""
        if (index, distance) not in self._meshes:
            self._meshes[index, distance] = kpoints_mesh(self.cells[index], distance)
        return self._meshes[index, distance]


class Convergence:
    """The choice of the settings, of the labels that are there so far: the same labels give the same choice.

    :param problem: what is asked for.
    :param done: what was labelled, by the key of the task.
    """

    def __init__(self, problem: Problem, done: Mapping[tuple, Labelled]):
        self.problem, self.done = problem, done
        self.all = tuple(range(len(problem.cells)))
        self.notes: list[str] = []

    def conclude(self) -> dict[str, Any]:
        """Return the results, see :class:`~aiida_pyacemaker.workflows.converge.ConvergeWorkChain`.

        :raises NeedsLabels: with what has to be labelled first.
        :raises ValueError: if no cell could be labelled.
        """
        given = self.problem.given
        width = given.get('degauss', SMEARINGS[0])
        cutoff, cutoffs = self.choose_cutoff(width)
        setting, kpoints, smearing, finer, half = self.choose_kpoints(cutoff, cutoffs['noise'])
        parts: dict[str, dict[str, float | None]] = {
            'cutoff': cutoffs['noise'],
            'kpoints': kpoints,
            'smearing': smearing,
        }
        parts['together'] = self.tighten_together(setting, cutoffs['reference'], finer, half)
        squares = combine([parts['cutoff'], parts['kpoints'], parts['smearing']])
        noise = {name: max(squares[name], parts['together'].get(name) or 0.0) for name in QUANTITIES}
        reached = excess(noise, self.problem.wanted) <= 1.0
        return {
            'settings': setting.to_dict(),
            'noise': noise,
            **{name: {key: part.get(key) for key in QUANTITIES} for name, part in parts.items()},
            'wanted': dict(self.problem.wanted),
            'character': self.get_character(setting, smearing),
            'core_hours': self.spent / 3600,
            'cells': [atoms.info.get('name', atoms.get_chemical_formula()) for atoms in self.problem.cells],
            'reached': reached,
            'message': self.tell(setting, parts, noise, reached),
        }

    # Steps

    def choose_cutoff(self, width: float) -> tuple[tuple[float, float], dict[str, Any]]:
        """Return the cutoffs (Ry) and what was measured of them."""
        (wave, density), given = self.problem.hint, self.problem.given
        ratio = given['ecutrho'] / given['ecutwfc'] if 'ecutwfc' in given else density / wave
        top = max(CUTOFF_REFERENCE * wave, self.problem.high, CUTOFF_MARGIN * given.get('ecutwfc', 0.0))
        at = self.at(np.ceil(top), max(ratio, density / wave), COARSE_DISTANCE, width)
        if 'ecutwfc' in given:
            own = Setting(given['ecutwfc'], given['ecutrho'], COARSE_DISTANCE, width)
            first, second = self.need(own, at)
            return (own.ecutwfc, own.ecutrho), {'reference': at, 'noise': compare(first, second)}
        # even numbers of Ry: readable, and the same for hints that differ by little
        rungs = sorted({float(2 * np.ceil(part * wave / 2)) for part in CUTOFF_RUNGS})
        low, best, measured = 0, len(rungs) - 1, {}
        high = best
        while low < high:
            middle = (low + high) // 2
            first, second = self.need(self.at(rungs[middle], ratio, COARSE_DISTANCE, width), at)
            measured[middle] = compare(first, second)
            if self.is_quiet('cutoff', measured[middle]):
                high = middle
            else:
                low = middle + 1
        chosen = self.at(rungs[low], ratio, COARSE_DISTANCE, width)
        if low not in measured:
            first, second = self.need(chosen, at)
            measured[low] = compare(first, second)
        return (chosen.ecutwfc, chosen.ecutrho), {'reference': at, 'noise': measured[low]}

    def choose_kpoints(
        self, cutoff: tuple[float, float], cutoff_noise: Mapping[str, float | None]
    ) -> tuple[Setting, dict[str, float | None], dict[str, float | None], float, float]:
        """Return the setting, the noise of its k-points and of its smearing, and the finer mesh and half the width."""
        given = self.problem.given
        widths = [given['degauss']] if 'degauss' in given else list(SMEARINGS)
        rungs = self.get_rungs()
        start = 0
        for width in widths:
            index, noise, finer = self.climb(cutoff, width, rungs, start)
            setting = Setting(*cutoff, rungs[index], width)
            fine = replace(setting, kpoints_distance=finer)
            half = replace(fine, degauss=width / 2)
            if not self.can_afford(half):
                self.refuse(half, 'half the width of the smearing')
                return setting, noise, dict.fromkeys(QUANTITIES), finer, width
            first, second = self.need(fine, half)
            change = compare(first, second)
            if excess(combine([cutoff_noise, noise, change]), self.problem.wanted) <= 1.0 or width == widths[-1]:
                break
            start = index
        return setting, noise, change, finer, width / 2

    def climb(
        self, cutoff: tuple[float, float], width: float, rungs: list[float], start: int
    ) -> tuple[int, dict[str, float | None], float]:
        """Return the coarsest rung that the next changes less than wanted, by how much it does, and the next one."""
        noise: dict[str, float | None] = dict.fromkeys(QUANTITIES)
        for index in range(start, len(rungs) - 1):
            here, following = (Setting(*cutoff, distance, width) for distance in rungs[index : index + 2])
            if index > start or 'kpoints_distance' in self.problem.given:
                self.need(here)
            if not self.can_afford(following) and self.is_done(here):
                self.refuse(following, f'k-points at {following.kpoints_distance:g} 1/Å')
                return index, noise, here.kpoints_distance  # what this rung has changed against the one before
            first, second = self.need(here, following)
            noise = compare(first, second)
            if 'kpoints_distance' in self.problem.given or self.is_quiet('kpoints', noise):
                return index, noise, following.kpoints_distance
        return len(rungs) - 1, noise, rungs[-1]

    def tighten_together(self, setting: Setting, reference: Setting, finer: float, half: float) -> dict[str, Any]:
        """Return by how much all together change the labels of the two cheapest cells."""
        order = sorted(self.all, key=lambda index: (len(self.problem.cells[index]), index))
        cells = tuple(sorted(order[:2]))
        tight = Setting(reference.ecutwfc, reference.ecutrho, finer, half)
        if not self.can_afford(tight, cells):
            self.refuse(tight, 'everything tightened together')
            return dict.fromkeys(QUANTITIES)
        tasks = [Task(tight, cells), Task(setting, self.all)]
        missing = [task for task in tasks if task.key not in self.done]
        if missing:
            raise NeedsLabels(missing)
        first, second = self.done[tasks[1].key].frames, self.done[tasks[0].key].frames
        if not set(first) & set(second):
            self.notes.append('everything tightened together was not labelled')
            return dict.fromkeys(QUANTITIES)
        return compare(first, second)

    # Helpers

    def at(self, wave: float, ratio: float, distance: float, width: float) -> Setting:
        """Return a setting with the ratio of the cutoffs."""
        return Setting(float(wave), float(np.ceil(ratio * wave - 1e-9)), distance, width)

    def is_quiet(self, part: str, noise: Mapping[str, float | None]) -> bool:
        """Return whether a part of the noise is within its share of what is wanted."""
        return excess(noise, self.problem.wanted) <= SHARES[part]

    def get_rungs(self) -> list[float]:
        """Return distances of k-points from coarse to fine of which the meshes of all cells differ (1/Å)."""
        given = self.problem.given.get('kpoints_distance')
        distance, end = given or DISTANCES[0], DISTANCES[1] if given is None else min(DISTANCES[1], given / 3)
        rungs, meshes = [distance], self.get_meshes(distance)
        while distance > end:
            distance = float(f'{distance * DISTANCE_STEP:.2g}') if given is None else distance * DISTANCE_STEP
            new = self.get_meshes(distance)
            changed = [one != other for one, other in zip(new, meshes, strict=True)]
            if all(changed):
                rungs.append(round(distance, 4))
                meshes = new
        return rungs

    def get_meshes(self, distance: float) -> list[Mesh]:
        """Return the mesh of each cell."""
        return [self.problem.get_mesh(index, distance) for index in self.all]

    def need(self, *settings: Setting) -> list[dict[int, Atoms]]:
        """Return the labels of all cells with these settings.

        :raises NeedsLabels: if some are missing.
        """
        tasks = [Task(setting, self.all) for setting in settings]
        missing = [task for task in tasks if task.key not in self.done]
        if missing:
            raise NeedsLabels(missing)
        return [self.done[task.key].frames for task in tasks]

    def is_done(self, setting: Setting) -> bool:
        """Return whether all cells were labelled with a setting."""
        return Task(setting, self.all).key in self.done

    @property
    def spent(self) -> float:
        """What was spent so far, in core-seconds."""
        return sum(labelled.core_seconds for labelled in self.done.values())

    def predict(self, setting: Setting, cells: tuple[int, ...] | None = None) -> float:
        """Return the expected cost of a setting in core-seconds, by the costliest one that was labelled."""
        known = [(entry.core_seconds, self.work(*key)) for key, entry in self.done.items() if entry.core_seconds > 0]
        if not known:
            return 0.0
        seconds, work = max(known)
        return seconds * self.work(setting, self.all if cells is None else cells) / work

    def work(self, setting: Setting, cells: tuple[int, ...]) -> float:
        """Return plane waves times k-points of cells with a setting, in no unit."""
        points = [max(1.0, np.prod(self.problem.get_mesh(k, setting.kpoints_distance)) / 2) for k in cells]
        sizes = [self.problem.cells[k].get_volume() * len(self.problem.cells[k]) for k in cells]
        return float(setting.ecutwfc**1.5 * np.dot(points, sizes))

    def can_afford(self, setting: Setting, cells: tuple[int, ...] | None = None) -> bool:
        """Return whether a setting was labelled, or its expected cost is within the limit."""
        if Task(setting, self.all if cells is None else cells).key in self.done:
            return True
        return self.predict(setting, cells) + self.spent <= self.problem.max_core_seconds

    def refuse(self, setting: Setting, what: str) -> None:
        """Note that a setting would cost too much."""
        minutes, limit = self.predict(setting) / 60, self.problem.max_core_seconds / 60
        self.notes.append(
            f'{what} would cost {minutes:.0f} core-minutes more, of at most {limit:.0f} for the measurement '
            f'{self.spent / 60:.0f} are spent'
        )

    def get_character(self, setting: Setting, smearing: Mapping[str, float | None]) -> dict[str, bool]:
        """Return what the cells are: whether their smearing changes something, and whether they have moments."""
        frames = self.done[Task(setting, self.all).key].frames.values() if self.all else []
        moments = [np.abs(atoms.arrays['magnetic_moments']).mean() for atoms in frames if atoms.has('magnetic_moments')]
        known = any(smearing.get(name) is not None for name in QUANTITIES)
        return {
            'gap': known and excess(smearing, self.problem.wanted) < GAP_SHARE,
            'magnetic': any(moment > MAGNETIC for moment in moments),
        }

    def tell(self, setting: Setting, parts: Mapping[str, Any], noise: Mapping[str, float], reached: bool) -> str:
        """Return the result in a few sentences, with the key that is to blame where the noise is above the wanted."""
        chosen = (
            f'ecutwfc {setting.ecutwfc:g} Ry, ecutrho {setting.ecutrho:g} Ry, k-points at '
            f'{setting.kpoints_distance:g} 1/Å, smearing {setting.degauss:g} Ry'
        )
        text = f'{chosen}: labels are noisy by {describe(noise)}'
        if not reached:
            keys = {'cutoff': 'ecutwfc', 'kpoints': 'kpoints_distance', 'smearing': 'degauss'}
            worst = max(keys, key=lambda name: excess(parts[name], self.problem.wanted))
            was_given = keys[worst] in self.problem.given
            remedy = f'set label.{keys[worst]} to null' if was_given else 'raise label.noise'
            text += f', above the wanted {describe(self.problem.wanted)}, most of it by label.{keys[worst]}: {remedy}'
        return '. '.join([text, *self.notes])


def describe(noise: Mapping[str, float | None]) -> str:
    """Return a noise for people: `0.8 meV/atom, 5 meV/Å, 0.1 GPa`."""
    energy, force, stress = (noise.get(name) or 0.0 for name in QUANTITIES)
    return f'{1e3 * energy:.2g} meV/atom, {1e3 * force:.2g} meV/Å, {stress:.2g} GPa'


def widen(limit: float, noise: float | None) -> float:
    """Return a limit of an error against noisy labels: no potential can be nearer to them than their noise."""
    return float(np.hypot(limit, noise or 0.0))


def widen_criteria(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `validate` with the limits of the errors widened by its `noise`, if it has any."""
    noise = section.get('noise') or {}
    names = {'energy_rmse': 'energy', 'force_rmse': 'force'}
    return {**section, **{key: widen(section[key], noise.get(name)) for key, name in names.items()}}
