"""Ten thousand valid alloy structures of 32 atoms: the generator beside the naive way, in the same run.

Run as `python tests/benchmarks/bench_throughput.py`: both ways make structures of Cu, Au and Ni on an fcc lattice,
occupied at random at the same compositions, with Vegard's volume, strained by up to 3 % and rattled by 0.05, 0.1 and
0.2 Å in turn; atoms closer than 0.7 times the sum of their covalent radii and equal structures are replaced.

The naive way is what one writes with ASE in an afternoon: a loop that builds a structure, lists its neighbours, and
compares the sorted distances between all atoms with those of the structures before. It is written fairly: the list of
neighbours reaches only as far as two atoms can be too close, and distances are compared by numpy, either with all
structures before (`--duplicates all`, the literal way) or only with those of the same formula (`formula`). The
generator does more than that: it also looks for vacuum and degenerate cells, finds equal structures in other
cells and orientations, and records where each came from. By default it occupies the lattice anew for every fourth
structure, and rattles and strains each occupation four times; with `--parents 10000` for every one, as the naive way.

By default the naive way makes a part of the structures, and its time for all of them is extrapolated: linear in the
building and checking, quadratic in the comparing. With `--full` it makes them all.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.variants import OPERATIONS

ELEMENTS = ['Cu', 'Au', 'Ni']
ATOMS = 32
RATIO, STRAIN, AMPLITUDES, TOLERANCE = 0.7, 0.03, (0.05, 0.1, 0.2), 1e-3
#: The composition grid of the generator at steps of a quarter that 32 atoms carry: binaries and ternaries.
GRID = [(i / 4, j / 4, (4 - i - j) / 4) for i in range(5) for j in range(5 - i) if max(i, j, 4 - i - j) < 4]


@dataclass
class Timing:
    """Wall time and processor time in seconds, by stage."""

    wall: Counter = field(default_factory=Counter)
    cpu: Counter = field(default_factory=Counter)

    def take(self, stage: str, action: Callable, *arguments):
        """Do something and book its time."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = action(*arguments)
        self.wall[stage] += time.perf_counter() - wall
        self.cpu[stage] += time.process_time() - cpu
        return result


# The generator --------------------------------------------------------------------------------------------------------


def plan(number: int, parents: int | None) -> Structures:
    """Section `structures` of a run file that asks for nothing but rattled solid solutions."""
    compositions = [{e: x for e, x in zip(ELEMENTS, point, strict=True) if x} for point in GRID]
    others = {name: {'number': 0} for name in (*OPERATIONS, 'dimer', 'trimer')}
    return Structures(
        number=number + len(ELEMENTS),  # the free atoms are extra
        parents=parents,
        subsystems=False,
        alloy={'lattices': ['fcc'], 'compositions': compositions, 'ordered': False, 'atoms': ATOMS, 'max_atoms': ATOMS},
        checks={'overlap': RATIO},
        **{**others, 'rattle': {'number': 1, 'amplitude': list(AMPLITUDES), 'atoms': ATOMS}},
    )


def fast(number: int, parents: int | None = None) -> tuple[list[Atoms], Timing]:
    """Return the structures, without the free atoms, and the time they took."""
    timing = Timing()
    made = timing.take('all', lambda: generate(ELEMENTS, plan(number, parents), seed=0))
    return [atoms for atoms in made.frames if len(atoms) > 1], timing


# The naive way --------------------------------------------------------------------------------------------------------


def build(rng: np.random.Generator, index: int) -> Atoms:
    """One strained and rattled solid solution."""
    point = GRID[index % len(GRID)]
    volume = sum(x * reference_states[atomic_numbers[e]]['a'] ** 3 / 4 for e, x in zip(ELEMENTS, point, strict=True))
    atoms = bulk('Cu', 'fcc', a=(4 * volume) ** (1 / 3), cubic=True).repeat((2, 2, 2))
    symbols = np.repeat(ELEMENTS, [round(x * ATOMS) for x in point])
    atoms.set_chemical_symbols(rng.permutation(symbols).tolist())
    strain = rng.uniform(-STRAIN, STRAIN, (3, 3))
    strain = np.triu(strain) + np.triu(strain, 1).T
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += rng.normal(0, AMPLITUDES[index % len(AMPLITUDES)], atoms.positions.shape)
    return atoms


def overlaps(atoms: Atoms) -> bool:
    """Whether two atoms are closer than allowed."""
    return len(neighbor_list('i', atoms, list(RATIO * covalent_radii[atoms.numbers]))) > 0


def fingerprint(atoms: Atoms) -> np.ndarray:
    """Sorted distances between all atoms, nearest images."""
    distances = atoms.get_all_distances(mic=True)
    return np.sort(distances[np.triu_indices(len(atoms), 1)])


def is_known(own: np.ndarray, known: list[np.ndarray]) -> bool:
    return any(np.abs(own - other).max() < TOLERANCE for other in known)


def naive(number: int, duplicates: str) -> tuple[list[Atoms], Timing]:
    """Return the structures and the time they took, by stage.

    :param duplicates: 'all' or 'formula': with which structures before each is compared.
    """
    timing, rng = Timing(), np.random.default_rng(0)
    frames: list[Atoms] = []
    known: dict[str, list[np.ndarray]] = {}
    index = 0
    while len(frames) < number:
        atoms = timing.take('build', build, rng, index)
        index += 1
        if timing.take('check', overlaps, atoms):
            continue
        own = timing.take('fingerprint', fingerprint, atoms)
        others = known.setdefault(atoms.get_chemical_formula() if duplicates == 'formula' else '', [])
        if timing.take('compare', is_known, own, others):
            continue
        others.append(own)
        frames.append(atoms)
    return frames, timing


def extrapolated(times: Counter, made: int, wanted: int) -> float:
    """Seconds for `wanted` structures from those for `made`."""
    factor = wanted / made
    return sum(seconds * (factor**2 if stage == 'compare' else factor) for stage, seconds in times.items())


# Report ---------------------------------------------------------------------------------------------------------------


def assert_valid(frames: list[Atoms], number: int) -> None:
    """Both ways must have made what was asked for."""
    assert len(frames) == number and all(len(atoms) == ATOMS for atoms in frames)
    assert not any(overlaps(atoms) for atoms in frames[:: max(1, number // 500)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--number', type=int, default=10_000, help='structures (10,000)')
    parser.add_argument('--parents', type=int, help='occupations by the generator (a quarter of them)')
    parser.add_argument('--naive', type=int, default=1_000, help='of these by the naive way (1,000)')
    parser.add_argument('--full', action='store_true', help='all by the naive way, too')
    parser.add_argument('--duplicates', choices=['all', 'formula'], help='one naive way only')
    options = parser.parse_args()
    part = options.number if options.full else min(options.naive, options.number)
    fast(50)  # imports and tables are no part of the time
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores; seconds of wall (processor) time')
    frames, ours = fast(options.number, options.parents)
    assert_valid(frames, options.number)
    print(f'generator: {options.number} structures in {ours.wall["all"]:.1f} ({ours.cpu["all"]:.1f})')
    for way in [options.duplicates] if options.duplicates else ['all', 'formula']:
        frames, times = naive(part, way)
        assert_valid(frames, part)
        stages = ', '.join(f'{stage} {times.wall[stage]:.1f} ({times.cpu[stage]:.1f})' for stage in times.wall)
        wall, cpu = (extrapolated(kind, part, options.number) for kind in (times.wall, times.cpu))
        print(f'naive, compared with {way}: {part} structures, {stages}')
        print(
            f'  {"for" if part == options.number else "extrapolated to"} {options.number}: {wall:.1f} ({cpu:.1f}), '
            f'{wall / ours.wall["all"]:.1f} ({cpu / ours.cpu["all"]:.1f}) times the generator'
        )


if __name__ == '__main__':
    main()
