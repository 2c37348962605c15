"""Is the noise that a run tells of its labels what really converged settings find in cells that it has not seen?

For each material the noise and the settings are those that `ConvergeWorkChain` finds for a run file of elements and
protocol only; where DIRECTORY is that of `bench_materials.py`, those of the run that is known there. Then the kinds of
cells that a run labels are made with another seed, ten small ones are drawn and rattled, and each is labelled with the
settings of the run and with really converged ones: the cutoff 1.3 times (and not below what the measurement itself
takes as its reference), the distance of k-points 0.7 times, the smearing 0.01 Ry (or half). What is left of energies
after one shift per element, of forces and of stresses, is compared with what was told. Wanted: right within a factor
of 1.5.

Processes are noted in DIRECTORY/NAME/noise.json: where this was stopped, it goes on.

Run as `python tests/benchmarks/bench_label_noise.py DIRECTORY [NAMES ...] [--cells 10]` in a profile as
`aiida-pyacemaker setup all` makes it; `--help` tells the other options.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from tabulate import tabulate

#: A metal, a semiconductor, and an ionic compound.
MATERIALS = {
    'Al': ['Al'],
    'Si': ['Si'],
    'NaCl': ['Na', 'Cl'],
    'Cu': ['Cu'],
    'Mg': ['Mg'],
    'Fe': ['Fe'],
    'MgO': ['Mg', 'O'],
    'NiAl': ['Ni', 'Al'],
}
DEFAULT = ('Al', 'Si', 'NaCl')
#: The noise told may be wrong by this factor, up or down.
FACTOR = 1.5
#: Seed of the unseen cells, other than that of any protocol.
SEED = 1234567
#: How much the atoms of the cells that are drawn are moved, Å: none is symmetric.
RATTLE = 0.05
SECONDS_BETWEEN_LOOKS = 10
UNITS = {'energy': ('meV/atom', 1e3), 'force': ('meV/Å', 1e3), 'stress': ('GPa', 1.0)}


class Material:
    """A material, and the processes that are known of it.

    :param folder: where they are noted.
    """

    def __init__(self, folder: Path, elements: list[str], arguments: argparse.Namespace):
        from aiida.plugins import WorkflowFactory

        from aiida_pyacemaker.runfile import resolve_runfile

        self.folder, self.elements, self.arguments = folder, elements, arguments
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / 'noise.json'
        self.known: dict[str, str] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.runfile = resolve_runfile({'protocol': arguments.protocol, 'system': {'elements': elements}})
        self.builder = WorkflowFactory('pyacemaker.active_learning').get_builder_from_runfile(self.runfile)
        self.parameters = self.builder.parameters.get_dict()

    def process(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a process of that name once it has ended; it is submitted if it is not known."""
        from aiida import orm
        from aiida.engine import submit

        from aiida_pyacemaker.reports.queries import while_unlocked

        if name not in self.known:
            self.known[name] = submit(make()).uuid
            self.file.write_text(json.dumps(self.known, indent=2))
        node = orm.load_node(self.known[name])
        is_terminated = while_unlocked(lambda: node.is_terminated)
        if not is_terminated():
            print(f'{self.folder.name}: waits for {name}, {node.process_label}<{node.pk}>', flush=True)
        while not is_terminated():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return node

    def make_frames(self, seed: int) -> list[Atoms]:
        """Return the initial structures with a seed."""
        from aiida_pyacemaker.atomistics.generators.generate import generate

        runfile = self.runfile
        limit = runfile.budget.initial_labels()
        return generate(runfile.system.elements, runfile.structures, seed, limit=limit).frames

    def find_told(self) -> dict[str, Any]:
        """Return the settings and the noise that are told: of the run that is known, else of a measurement.

        :raises RuntimeError: with its message, if the measurement failed.
        """
        from aiida import orm
        from aiida.plugins import DataFactory, WorkflowFactory

        from aiida_pyacemaker.reports.status import get_noise

        runs = self.folder / 'runs.json'
        if runs.exists() and (found := get_noise(orm.load_node(json.loads(runs.read_text())[-1]))) is not None:
            return found
        workchain = WorkflowFactory('pyacemaker.converge')
        node = self.process(
            'measured',
            lambda: workchain.get_builder_from_protocol(
                dict(self.builder.codes),
                DataFactory('pyacemaker.configurations')(self.make_frames(self.runfile.seed)),
                self.elements,
                self.parameters['label'],
                self.parameters['options'],
                self.runfile.seed,
            ),
        )
        if not node.is_finished_ok:
            raise RuntimeError(f'{node.process_label}<{node.pk}>: {node.exit_message or node.process_state}')
        return node.outputs.results.get_dict()

    def make_unseen(self) -> list[Atoms]:
        """Return the cells that are compared: small, of the kinds that a run labels, made with another seed."""
        frames = [atoms for atoms in self.make_frames(SEED) if atoms.pbc.all() and len(atoms) > 1]
        frames = [atoms for atoms in frames if set(atoms.get_chemical_symbols()) == set(self.elements)] or frames
        small = [atoms for atoms in frames if len(atoms) <= self.arguments.max_atoms]
        small = small or sorted(frames, key=len)[: self.arguments.cells]
        rng = np.random.default_rng(SEED)
        drawn = rng.choice(len(small), self.arguments.cells, replace=len(small) < self.arguments.cells)
        cells = []
        for index, number in enumerate(sorted(drawn.tolist())):
            source = small[number]
            atoms = Atoms(source.symbols, positions=source.positions, cell=source.cell, pbc=True)
            atoms.positions += rng.normal(0, RATTLE, atoms.positions.shape)
            atoms.info['name'] = f'unseen {index}: {source.info.get("name", "")}'
            cells.append(atoms)
        return cells

    def get_settings(self, told: dict[str, float]) -> dict[str, dict[str, float]]:
        """Return the settings of the run, and those that are really converged."""
        from aiida_pyacemaker.workflows.oracles import load_oracle

        hints = load_oracle(self.parameters['label']).get_hints(self.elements)
        wave = max(1.3 * told['ecutwfc'], hints['high'])
        tight = {
            'ecutwfc': wave,
            'ecutrho': wave * told['ecutrho'] / told['ecutwfc'],
            'kpoints_distance': self.arguments.kpoints * told['kpoints_distance'],
            'degauss': min(self.arguments.smearing, told['degauss'] / 2),
        }
        return {'settings of the run': told, 'converged': tight}

    def label(self, name: str, setting: dict[str, float]) -> dict[int, Atoms]:
        """Return the unseen cells with the labels of a setting, by their number.

        :raises RuntimeError: if none was labelled.
        """
        from aiida.plugins import DataFactory

        from aiida_pyacemaker.workflows.oracles import load_oracle

        cells = self.make_unseen()
        oracle = load_oracle({**self.parameters['label'], 'max_failed_fraction': 1.0, 'noise': None, **setting})
        configurations = DataFactory('pyacemaker.configurations')
        node = self.process(
            name,
            lambda: oracle.get_batch_builder(
                dict(self.builder.codes), configurations(cells), self.parameters['options']
            ),
        )
        numbers = {atoms.info['name']: index for index, atoms in enumerate(cells)}
        outputs = [node.outputs[split] for split in ('train', 'test') if split in node.outputs]
        frames = {numbers[atoms.info['name']]: atoms for output in outputs for atoms in output.get_frames()}
        if not frames:
            raise RuntimeError(f'{name}: {node.process_label}<{node.pk}>: {node.exit_message}')
        return frames

    def compare(self) -> list[list[Any]]:
        """Return a row for each of energy, force and stress: told, found, their ratio, whether it is right."""
        from aiida_pyacemaker.atomistics.labelling.convergence import compare

        told = self.find_told()
        settings = self.get_settings(told['settings'])
        first, second = (self.label(name, setting) for name, setting in settings.items())
        found = compare(first, second)
        rows = []
        for quantity, (unit, factor) in UNITS.items():
            one, other = told['noise'].get(quantity), found.get(quantity)
            known = bool(one) and bool(other)
            ratio = one / other if known else None
            verdict = 'unknown' if ratio is None else 'yes' if 1 / FACTOR <= ratio <= FACTOR else 'no'
            shown = [None if value is None else f'{factor * value:.3g}' for value in (one, other)]
            rows.append([self.folder.name, f'{quantity} ({unit})', *shown, ratio and f'{ratio:.2f}', verdict])
        record = {'settings': settings, 'told': told['noise'], 'found': found, 'cells': len(set(first) & set(second))}
        (self.folder / 'label_noise.json').write_text(json.dumps(record, indent=2) + '\n')
        return rows


def main() -> None:
    """Compare what is asked for and print the table."""
    from aiida import load_profile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('directory', type=Path)
    parser.add_argument('names', nargs='*', default=[], metavar='NAMES', help=f'{", ".join(DEFAULT)} by default')
    parser.add_argument('--protocol', default='fast')
    parser.add_argument('--cells', type=int, default=10)
    parser.add_argument('--max-atoms', type=int, default=8, help='of a cell')
    parser.add_argument('--kpoints', type=float, default=0.7, help='factor of the distance of k-points')
    parser.add_argument('--smearing', type=float, default=0.01, help='Ry, at most')
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MATERIALS)
    if unknown:
        parser.error(f'there is no material {", ".join(sorted(unknown))}: choose of {", ".join(MATERIALS)}')
    load_profile()
    rows = []
    for name in arguments.names or DEFAULT:
        try:
            rows += Material(arguments.directory / name, MATERIALS[name], arguments).compare()
        except RuntimeError as exception:
            rows.append([name, str(exception)])
    heads = ['', 'label', 'told', 'found', 'told / found', f'within {FACTOR:g}']
    table = tabulate(rows, heads, tablefmt='github', disable_numparse=True)
    (arguments.directory / 'label_noise.md').write_text(table + '\n')
    print(table)


if __name__ == '__main__':
    main()
