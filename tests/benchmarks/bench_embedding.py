"""Core forces of embedded cells against the exact ones of their parents, beside a cluster and a naive cut.

Run as `python tests/benchmarks/bench_embedding.py [--quick] [--plot docs/explanation/embedding.png]`; one core is
enough. The parents are made when missing (see `embedding_parents.py`, minutes), and kept in the temporary folder.

From each parent the surroundings of some atoms are cut, half of them at its defects. The teacher then computes the same
core atoms in

- embedded: our cell, its boundary relaxed with the current potential, which is not the teacher;
- unrelaxed: our cell before that;
- teacher: our cell, relaxed with the teacher: what a better current potential would change;
- cut: the atoms of our cell, where they were in the parent, in vacuum;
- ball: as many atoms, the nearest ones to the centre, in vacuum: a sphere leaves more matter around the core than a box;
- naive: all atoms of the parent in a box with the edges of ours, made periodic as they are.

The error is that of the force on core atoms: root of the mean square of its components, and the largest length.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
from ase import Atoms
from embedding_parents import CASES, Case, load
from scipy.spatial import cKDTree

from aiida_pyacemaker.atomistics.embedding.embed import embed
from aiida_pyacemaker.atomistics.embedding.parameters import Embedding

#: Å, the buffers that are compared, and the one of the table.
BUFFERS, USUAL = (3.0, 4.0, 5.0, 6.0), 4.0
#: Å: of vacuum around clusters, more than any range.
VACUUM = 12.0
#: Å, the core.
CORE = 4.0
#: A cell may have this many times the atoms of a cube that just holds core and buffer.
ROOM = 1.3
METHODS = ('embedded', 'unrelaxed', 'teacher', 'cut', 'ball', 'naive')


@dataclass(frozen=True)
class Result:
    """One environment: errors (eV/Å) by method as (root mean square, largest)."""

    parent: str
    centre: int
    at_defect: bool
    buffer: float
    atoms: int
    edges: np.ndarray
    core: int
    errors: dict[str, tuple[float, float]]
    cut_seconds: float
    relax_seconds: float
    lost: int

    def ratio(self, method: str) -> float:
        """How many times the error of a method is ours."""
        return self.errors[method][0] / self.errors['embedded'][0]


def centres_of(atoms: Atoms, sites: np.ndarray, number: int) -> list[tuple[int, bool]]:
    """Atoms to embed, and whether they are at defects: half and half; always the same ones."""
    rng = np.random.default_rng(7)
    half = (number + 1) // 2
    defects = rng.choice(sites, half, replace=False)
    others = rng.choice(np.setdiff1d(np.arange(len(atoms)), defects), number - half, replace=False)
    return [(int(atom), True) for atom in defects] + [(int(atom), False) for atom in others]


def unfolded(atoms: Atoms, centre: int) -> np.ndarray:
    """Positions (n, 3) of the images nearest to an atom, from that atom."""
    size = atoms.cell.lengths()
    difference = atoms.positions - atoms.positions[centre]
    return difference - size * np.rint(difference / size)


def cluster(atoms: Atoms, around: np.ndarray, members: np.ndarray) -> Atoms:
    """Some atoms in vacuum."""
    piece = Atoms(atoms.numbers[members], around[members], pbc=False)
    piece.center(vacuum=VACUUM)
    return piece


def naive_cut(atoms: Atoms, around: np.ndarray, edges: np.ndarray) -> tuple[Atoms, np.ndarray]:
    """All atoms in a box around the centre, periodic as they are, and their indices."""
    members = np.flatnonzero((np.abs(around) <= edges / 2).all(axis=1))
    return Atoms(atoms.numbers[members], around[members] + edges / 2, cell=edges, pbc=True), members


def error(forces: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    difference = forces - exact
    return float(np.sqrt((difference**2).mean())), float(np.linalg.norm(difference, axis=1).max())


def forces_of(cell: Atoms, case: Case) -> np.ndarray:
    cell = cell.copy()
    cell.calc = case.teacher
    return cell.get_forces()


def error_of_cell(cell: Atoms, atoms: Atoms, case: Case) -> tuple[float, float]:
    """Error of the core forces of one of our cells, seen along its own axes."""
    core = cell.arrays['force_weights'] > 0
    exact = atoms.arrays['exact'][cell.arrays['parent_index'][core]] @ np.array(cell.info['embedding']['axes']).T
    return error(forces_of(cell, case)[core], exact)


def error_of_cluster(atoms: Atoms, around: np.ndarray, members: np.ndarray, core: np.ndarray, case: Case):
    place = {atom: row for row, atom in enumerate(members)}
    rows = [place[atom] for atom in core]
    return error(forces_of(cluster(atoms, around, members), case)[rows], atoms.arrays['exact'][core])


def measure(name: str, atoms: Atoms, centre: int, at_defect: bool, buffer: float) -> Result:
    """Embed one atom and compare the methods."""
    case = CASES[name]
    start = time.perf_counter()
    parameters = Embedding(buffer=buffer, core_radius=CORE)
    most = int(ROOM * len(atoms) / atoms.get_volume() * (2 * (CORE + buffer)) ** 3)
    (plain,) = embed(atoms, centers=[centre], parameters=parameters, max_atoms=most)
    cut_seconds = time.perf_counter() - start
    start = time.perf_counter()
    (cell,) = embed(atoms, centers=[centre], parameters=parameters, max_atoms=most, calculator=case.current)
    relax_seconds = time.perf_counter() - start - cut_seconds
    (same,) = embed(atoms, centers=[centre], parameters=parameters, max_atoms=most, calculator=case.teacher)
    around = unfolded(atoms, centre)
    index = cell.arrays['parent_index']
    core = index[cell.arrays['force_weights'] > 0]
    members = np.unique(index[index >= 0])
    ball = np.argsort((around**2).sum(axis=1))[: len(cell)]
    box, inside = naive_cut(atoms, around, cell.cell.lengths())
    rows = [int(np.flatnonzero(inside == atom)[0]) for atom in core]
    errors = {
        'embedded': error_of_cell(cell, atoms, case),
        'unrelaxed': error_of_cell(plain, atoms, case),
        'teacher': error_of_cell(same, atoms, case),
        'cut': error_of_cluster(atoms, around, members, core, case),
        'ball': error_of_cluster(atoms, around, ball, core, case),
        'naive': error(forces_of(box, case)[rows], atoms.arrays['exact'][core]),
    }
    return Result(name, centre, at_defect, buffer, len(cell), cell.cell.lengths(), len(core), errors, cut_seconds,
                  relax_seconds, int((index < 0).sum()))  # fmt: skip


def measure_all(names: list[str], buffers: tuple[float, ...], number: int, verbose: bool) -> Iterator[Result]:
    for name in names:
        atoms, sites = load(name)
        for centre, at_defect in centres_of(atoms, sites, number):
            for buffer in buffers:
                result = measure(name, atoms, centre, at_defect, buffer)
                if verbose:
                    print_line(result)
                yield result


def print_line(result: Result) -> None:
    errors = ' '.join(f'{method} {result.errors[method][0]:.4f}/{result.errors[method][1]:.3f}' for method in METHODS)
    edges = 'x'.join(f'{edge:.1f}' for edge in result.edges)
    print(f'{result.parent:12s} {result.centre:6d} {"defect" if result.at_defect else "random"} buffer {result.buffer} '
          f'{result.atoms:4d} atoms {edges} core {result.core} {errors} cut {result.cut_seconds:.2f} s '
          f'relax {result.relax_seconds:.2f} s', flush=True)  # fmt: skip


def median(results: list[Result], method: str, which: int = 0) -> float:
    return float(np.median([result.errors[method][which] for result in results]))


def table(results: list[Result], sizes: dict[str, int], buffer: float) -> list[str]:
    """Lines of a Markdown table, a parent each, for one buffer; then the medians of all."""
    head = ['parent', 'atoms', 'in the cell', 'edges / Å', *METHODS, 'cut ÷ ours', 'ball ÷ ours', 'naive ÷ ours',
            'time of the cut / s', 'relaxation / s']  # fmt: skip
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    chosen = [result for result in results if result.buffer == buffer]
    for name in [*dict.fromkeys(result.parent for result in chosen), 'median']:
        mine = [result for result in chosen if name in (result.parent, 'median')]
        edges = ' × '.join(f'{edge:.1f}' for edge in np.median([np.sort(result.edges) for result in mine], axis=0))
        row = [name, f'{sizes[name]:,}' if name in sizes else '', f'{np.median([r.atoms for r in mine]):.0f}', edges]
        row += [f'{1000 * median(mine, method):.1f} / {1000 * max(r.errors[method][1] for r in mine):.0f}'
                for method in METHODS]  # fmt: skip
        row += [f'{np.median([result.ratio(method) for result in mine]):.1f}' for method in ('cut', 'ball', 'naive')]
        row += [f'{np.median([r.cut_seconds for r in mine]):.2f}', f'{np.median([r.relax_seconds for r in mine]):.2f}']
        lines.append('| ' + ' | '.join(row) + ' |')
    return lines


def by_buffer(results: list[Result]) -> list[str]:
    """Lines of a Markdown table: medians over all environments for each buffer."""
    head = ['buffer / Å', 'in the cell', *METHODS, 'cut ÷ ours', 'ball ÷ ours', 'naive ÷ ours']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for buffer in sorted({result.buffer for result in results}):
        mine = [result for result in results if result.buffer == buffer]
        row = [f'{buffer:.0f}', f'{np.median([result.atoms for result in mine]):.0f}']
        row += [f'{1000 * median(mine, method):.1f}' for method in METHODS]
        row += [f'{np.median([result.ratio(method) for result in mine]):.1f}' for method in ('cut', 'ball', 'naive')]
        lines.append('| ' + ' | '.join(row) + ' |')
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='two environments of each parent, one buffer')
    parser.add_argument('--parents', nargs='+', choices=list(CASES), default=list(CASES))
    parser.add_argument('--number', type=int, default=6, help='environments of each parent (6)')
    parser.add_argument('--buffers', nargs='+', type=float, default=BUFFERS, help='in Å')
    parser.add_argument('--verbose', action='store_true', help='a line for each environment')
    parser.add_argument('--plot', type=Path, help='draw a picture into this file')
    arguments = parser.parse_args()
    buffers, number = ((USUAL,), 2) if arguments.quick else (tuple(arguments.buffers), arguments.number)
    start = time.perf_counter()
    results = list(measure_all(arguments.parents, buffers, number, arguments.verbose))
    sizes = {name: len(load(name)[0]) for name in arguments.parents}
    print(f'\n{platform.processor() or platform.machine()}, one core; errors in meV/Å: median over environments of the '
          'root mean square / largest of all environments\n')  # fmt: skip
    usual = USUAL if USUAL in buffers else buffers[-1]
    print(f'Buffer of {usual} Å:\n', *table(results, sizes, usual), '', *by_buffer(results), sep='\n')
    print(f'\n{len(results)} cells in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main()
