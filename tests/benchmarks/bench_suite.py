"""How long the validation of a cubic cell of four atoms takes, by one and by two processes.

The potentials are ACE potentials of aluminium, fitted to structures of the generator that EMT has labelled; or the one
that is given. For each: wall time, CPU time altogether and by property, and how much two processes gain.

Run as `python tests/benchmarks/bench_suite.py [--quick] [--potential DIRECTORY]`; on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from tabulate import tabulate

from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.labelling.teachers import label_frame
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.suite import SUITE, run_suite

FUNCTIONS = (100, 300, 600)


def label(atoms: Atoms) -> Atoms:
    """Label a structure with EMT, the free atom included."""
    return label_frame(atoms, EMT())


def fit(functions: int, folder: Path) -> Path:
    """Fit a potential of so many functions."""
    frames = [label(atoms) for atoms in generate(['Al'], Structures(), seed=1).frames]
    train(frames, FitJob(elements=['Al'], number_of_functions=functions), folder, report=lambda line: None)
    return folder


def measure(folder: Path, processes: int) -> tuple[dict[str, Any], float, float]:
    """Return the results of the suite, its wall time and its CPU time (s), processes that have ended included."""

    def spent() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    start, before = time.perf_counter(), spent()
    content = run_suite(str(folder), [bulk('Al', cubic=True)], processes=processes, report=lambda line: None)
    return content, time.perf_counter() - start, spent() - before


def rows(folder: Path) -> list[list[Any]]:
    """Return the rows of a potential."""
    potential = AcePotential(folder)
    found = []
    for processes in (1, 2):
        content, wall, cpu = measure(folder, processes)
        seconds = content['seconds']
        bad = [name for name in SUITE if content['crystals'][0][name]['status'] == 'failed']
        found.append(
            [potential.metadata['number_of_functions'], potential.metadata['cutoff'], processes, wall, cpu]
            + [seconds.get(name, 0.0) for name in ('stability', 'phonons', 'stacking_fault', 'vacancy', 'planning')]
            + [', '.join(bad) or '-', f'{os.getloadavg()[0]:.1f}']
        )
    return found


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='only the smallest potential')
    parser.add_argument('--potential', type=Path, help='a potential of aluminium instead')
    options = parser.parse_args(arguments)
    table = []
    with tempfile.TemporaryDirectory() as place:
        folders = [options.potential] if options.potential else []
        for functions in () if options.potential else FUNCTIONS[:1] if options.quick else FUNCTIONS:
            folders.append(fit(functions, Path(place, str(functions))))
        for folder in folders:
            table += rows(folder)
            print(table[-2:], file=sys.stderr, flush=True)
    headers = ['functions', 'cutoff', 'processes', 'wall (s)', 'CPU (s)', 'stability', 'phonons', 'fault', 'vacancy']
    print(tabulate(table, [*headers, 'planning', 'failed', 'load'], floatfmt='.1f'))


if __name__ == '__main__':  # the processes of the pool import this module
    main(sys.argv[1:])
