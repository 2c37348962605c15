"""Core forces of embedded cells against the exact ones of their parents, beside a cluster and a naive cut.

Run as `python tests/benchmarks/bench_embedding.py [--quick] [--plot docs/explanation/embedding.png]`; one core is
enough. The parents are made when missing (see `embedding_parents.py`, minutes), and kept in the temporary folder.

From each parent the surroundings of some atoms are cut, half of them at its defects. The teacher then computes the same
core atoms in

- embedded: our cell, its boundary relaxed with an ACE that was fitted to a few small cells of the teacher;
- unrelaxed: our cell before that;
- other: our cell, relaxed with a potential of other authors: what a bad current potential does;
- teacher: our cell, relaxed with the teacher: what a perfect current potential would do;
- cut: the atoms of our cell, where they were in the parent, in vacuum;
- ball: as many atoms, the nearest ones to the centre, in vacuum: leaves more matter around the core than a box does;
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
from typing import TYPE_CHECKING

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from embedding_parents import CASES, Case, load

from aiida_pyacemaker.atomistics.embedding.embed import embed
from aiida_pyacemaker.atomistics.embedding.parameters import Embedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Å, the buffers that are compared, and the one of the table: cells of 150 to 300 atoms, what one would give to DFT.
BUFFERS, USUAL = (3.0, 4.0, 5.0, 6.0), 3.0
#: Å: of vacuum around clusters, more than any range.
VACUUM = 12.0
#: Å, the core.
CORE = 4.0
#: A cell may have this many times the atoms of a cube that just holds core and buffer.
ROOM = 1.5
METHODS = ('embedded', 'unrelaxed', 'other', 'teacher', 'cut', 'ball', 'naive')
#: What is compared at every buffer; the rest only at the usual one.
SCANNED = ('embedded', 'unrelaxed', 'cut', 'ball', 'naive')

#: Colours of core, buffer, and the rest.
PAINT = {'core': '#c8371b', 'buffer': '#3b6fb6', 'rest': '#c9c9c9'}
#: Å: half the thickness of the slab that is drawn, and half its width.
SLAB, VIEW = 1.6, 14.0


@dataclass(frozen=True)
class Result:
    """One environment: errors (eV/Å) by method as (root mean square, largest)."""

    parent: str
    centre: int
    at_defect: bool
    buffer: float
    atoms: int
    edges: np.ndarray
    errors: dict[str, tuple[float, float]]
    cut_seconds: float
    relax_seconds: float

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


def error_of_cluster(
    atoms: Atoms, around: np.ndarray, members: np.ndarray, core: np.ndarray, case: Case
) -> tuple[float, float]:
    """Error of the forces on core atoms of the parent in a cluster of some of its atoms."""
    place = {atom: row for row, atom in enumerate(members)}
    rows = [place[atom] for atom in core]
    return error(forces_of(cluster(atoms, around, members), case)[rows], atoms.arrays['exact'][core])


def embedded(atoms: Atoms, centre: int, buffer: float, calculator: Calculator | None) -> tuple[Atoms, float]:
    """One cell of ours, and the seconds of the processor for it: others may use the machine."""
    most = int(ROOM * len(atoms) / atoms.get_volume() * (2 * (CORE + buffer)) ** 3)
    parameters = Embedding(buffer=buffer, core_radius=CORE)
    start = time.process_time()
    (cell,) = embed(atoms, centers=[centre], parameters=parameters, max_atoms=most, calculator=calculator)
    return cell, time.process_time() - start


def measure(name: str, atoms: Atoms, centre: int, at_defect: bool, buffer: float) -> Result:
    """Embed one atom and compare the methods."""
    case = CASES[name]
    calculators = {'unrelaxed': None, 'embedded': case.current}
    if buffer == USUAL:
        calculators |= {'other': case.other, 'teacher': case.teacher}
    ours = {method: embedded(atoms, centre, buffer, calculator) for method, calculator in calculators.items()}
    (cell, seconds), (_, cut_seconds) = ours['embedded'], ours['unrelaxed']
    around = unfolded(atoms, centre)
    index = cell.arrays['parent_index']
    core = index[cell.arrays['force_weights'] > 0]
    members = np.unique(index[index >= 0])
    ball = np.argsort((around**2).sum(axis=1))[: len(cell)]
    box, inside = naive_cut(atoms, around, cell.cell.lengths())
    rows = [int(np.flatnonzero(inside == atom)[0]) for atom in core]
    errors = {
        **{method: error_of_cell(found, atoms, case) for method, (found, _) in ours.items()},
        'cut': error_of_cluster(atoms, around, members, core, case),
        'ball': error_of_cluster(atoms, around, ball, core, case),
        'naive': error(forces_of(box, case)[rows], atoms.arrays['exact'][core]),
    }
    return Result(name, centre, at_defect, buffer, len(cell), cell.cell.lengths(), errors, cut_seconds,
                  seconds - cut_seconds)  # fmt: skip


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
    errors = ' '.join(f'{method} {rms:.4f}/{largest:.3f}' for method, (rms, largest) in result.errors.items())
    edges = 'x'.join(f'{edge:.1f}' for edge in result.edges)
    print(f'{result.parent:12s} {result.centre:6d} {"defect" if result.at_defect else "random"} buffer {result.buffer} '
          f'{result.atoms:4d} atoms {edges} {errors} cut {result.cut_seconds:.2f} s '
          f'relax {result.relax_seconds:.2f} s', flush=True)  # fmt: skip


def median(results: list[Result], method: str, which: int = 0) -> float:
    return float(np.median([result.errors[method][which] for result in results if method in result.errors]))


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
    head = ['buffer / Å', 'in the cell', *SCANNED, 'cut ÷ ours', 'ball ÷ ours', 'naive ÷ ours']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    for buffer in sorted({result.buffer for result in results}):
        mine = [result for result in results if result.buffer == buffer]
        row = [f'{buffer:.0f}', f'{np.median([result.atoms for result in mine]):.0f}']
        row += [f'{1000 * median(mine, method):.1f}' for method in SCANNED]
        row += [f'{np.median([result.ratio(method) for result in mine]):.1f}' for method in ('cut', 'ball', 'naive')]
        lines.append('| ' + ' | '.join(row) + ' |')
    return lines


def draw(results: list[Result], path: Path) -> None:
    """Draw how a cell is cut from a grain boundary, and the errors against the buffer."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.5), width_ratios=(1, 1, 1.15))
    atoms, sites = load('boundary')
    centre = centres_of(atoms, sites, 2)[0][0]
    cell, _ = embedded(atoms, centre, 4.0, CASES['boundary'].current)
    view = int(np.abs(np.array(cell.info['embedding']['axes'])[:, 2]).argmax())
    across = [axis for axis in range(3) if axis != view]
    draw_parent(left, atoms, centre, cell, across, view)
    draw_cell(middle, cell, across, view)
    draw_errors(right, results)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def draw_parent(axes: Axes, atoms: Atoms, centre: int, cell: Atoms, across: list[int], view: int) -> None:
    """A slab of the parent, seen along an axis of the box, with the box."""
    turned = unfolded(atoms, centre) @ np.array(cell.info['embedding']['axes']).T
    near = (np.abs(turned[:, view]) < SLAB) & (np.abs(turned[:, across]) < VIEW + 1).all(axis=1)
    member = np.isin(np.arange(len(atoms)), cell.arrays['parent_index'])
    core = np.isin(np.arange(len(atoms)), cell.arrays['parent_index'][cell.arrays['force_weights'] > 0])
    spots(axes, turned[near][:, across], core[near], member[near])
    # a core atom is where it was: it gives the corner of the box
    row = int(np.flatnonzero(cell.arrays['parent_index'] == centre)[0])
    outline(axes, -cell.positions[row][across], cell.cell.lengths()[across])
    axes.set(title=f'in a parent of {len(atoms):,} atoms', xlim=(-VIEW, VIEW), ylim=(-VIEW, VIEW))


def draw_cell(axes: Axes, cell: Atoms, across: list[int], view: int) -> None:
    """The cell with its images."""
    edges = cell.cell.lengths()
    core = cell.arrays['force_weights'] > 0
    middle = cell.positions[core].mean(axis=0)
    depth = cell.positions[:, view] - middle[view]
    near = np.abs(depth - edges[view] * np.rint(depth / edges[view])) < SLAB
    places = (cell.positions[near] % edges)[:, across]
    for shift in np.indices((3, 3)).reshape(2, -1).T - 1:
        spots(axes, places + shift * edges[across], core[near], np.ones(near.sum(), dtype=bool),
              1.0 if not shift.any() else 0.3)  # fmt: skip
    outline(axes, np.zeros(2), edges[across])
    low, high = edges[across] / 2 - VIEW, edges[across] / 2 + VIEW
    axes.set(title=f'closed cell of {len(cell)} atoms', xlim=(low[0], high[0]), ylim=(low[1], high[1]))


def spots(axes: Axes, places: np.ndarray, core: np.ndarray, member: np.ndarray, alpha: float = 1.0) -> None:
    """Atoms at places (n, 2)."""
    colors = np.where(core, PAINT['core'], np.where(member, PAINT['buffer'], PAINT['rest']))
    axes.scatter(*places.T, c=colors, s=26, alpha=alpha, linewidths=0)
    axes.set(aspect='equal', xticks=[], yticks=[])


def outline(axes: Axes, low: np.ndarray, edges: np.ndarray) -> None:
    """The faces of the box."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(tuple(low), *edges, fill=False, edgecolor='black', linewidth=1.3))


def draw_errors(axes: Axes, results: list[Result]) -> None:
    """Medians over all environments against the buffer."""
    names = {'embedded': 'embedded', 'unrelaxed': 'embedded, not relaxed', 'cut': 'same atoms in vacuum',
             'ball': 'ball in vacuum', 'naive': 'naive periodic cut'}  # fmt: skip
    buffers = sorted({result.buffer for result in results})
    for method, style in zip(SCANNED, ('o-', 'o:', 's-', 's:', '^-'), strict=True):
        values = [1000 * median([r for r in results if r.buffer == buffer], method) for buffer in buffers]
        color = PAINT['core'] if 'embed' in names[method] else '#555555' if method != 'naive' else '#d9a013'
        axes.semilogy(buffers, values, style, color=color, label=names[method], markersize=4)
    axes.set(xlabel='buffer / Å', title='error of core forces, meV/Å', xticks=buffers)
    axes.yaxis.set_major_formatter('{x:g}')
    axes.legend(fontsize=7.5, frameon=False)


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
    if arguments.plot:
        draw(results, arguments.plot)
    print(f'\n{len(results)} cells in {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main()
