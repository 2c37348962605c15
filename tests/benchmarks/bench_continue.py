"""A fit of 1,010 configurations: from scratch, and continuing one of 1,000.

Run as `python tests/benchmarks/bench_continue.py [DIRECTORY] [--quick] [--functions N] [--atoms N]`. The configurations
are crystals of one to three elements, strained and rattled, labelled with the effective-medium potential of ASE. Each
line is a job of the worker in a directory of its own:

- former: the first 1,000 configurations, nothing given (but the basis, with `--functions`);
- scratch: all 1,010, likewise;
- with parent: all 1,010, the former potential given (basis, weights, regularisation and baseline are its), but no rows;
- continued: all 1,010, the former potential and its rows given, as in a round of active learning.

`train` is the time of `train()`, then its processor time, both in seconds; then that of the whole job, with the imports
of Python. The coefficients of the last two are compared: largest difference over the largest coefficient.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from bench_memory import ELEMENTS, Job, make_frames, run_job

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

#: Cells of 4 atoms, by the number of atoms.
REPEATS = {16: (2, 2, 1), 32: (2, 2, 2), 64: (4, 2, 2)}


def get_coefficients(directory: Path) -> np.ndarray:
    """Return the coefficients of the potential that a job has fitted."""
    return np.array(AcePotential(directory / 'potential_out').basis.basis_coeffs)


def write_line(name: str, job: Job) -> None:
    """Print a line of the table."""
    steps = ', '.join(f'{step} {seconds:.2f}' for step, seconds in job.result['timings'].items() if step != 'total')
    total = job.result['timings']['total']
    print(f'{name:12s} {total:7.2f} {job.processor:9.2f} {job.seconds:7.2f}   {steps}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'directory', type=Path, nargs='?', help='a new directory below it is used; else a temporary one'
    )
    parser.add_argument('--quick', action='store_true', help='200 configurations of 16 atoms, 100 functions')
    parser.add_argument('--functions', type=int, help='per element; else the fit chooses')
    parser.add_argument('--elements', type=int, default=1, choices=(1, 2, 3))
    parser.add_argument('--atoms', type=int, default=32, choices=(16, 32, 64))
    parser.add_argument('--old', type=int, default=1000)
    parser.add_argument('--new', type=int, default=10)
    parser.add_argument('--processes', type=int, default=2)
    arguments = parser.parse_args()
    old, atoms, elements = arguments.old, arguments.atoms, ELEMENTS[-arguments.elements :]
    parameters = {'elements': list(elements), 'processes': arguments.processes}
    if arguments.quick:
        old, atoms, arguments.functions = 200, 16, 100
    if arguments.functions is not None:
        parameters |= {'cutoff': 6.0, 'number_of_functions': arguments.functions}
    if arguments.directory is not None:
        arguments.directory.mkdir(parents=True, exist_ok=True)
    print(f'{arguments.new} new on {old} old configurations of {atoms} atoms of {", ".join(elements)}')
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.processes} processes')
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        compare(Path(folder), make_frames(old + arguments.new, elements, REPEATS[atoms]), arguments.new, parameters)


def compare(root: Path, frames: list[Atoms], new: int, parameters: dict) -> None:
    """Run the jobs below a directory and print the table; the last frames are the `new` ones."""
    save_configurations(root / 'old.npz', frames[:-new])
    save_configurations(root / 'all.npz', frames)
    later = {**parameters, 'generation': 1}
    potential, rows = root / 'former' / 'potential_out', root / 'former' / 'rows'
    print(f'{"":12s} {"train":>7s} {"processor":>9s} {"job":>7s}   steps of train')
    jobs = {}
    for name, data, values, links in (
        ('former', 'old.npz', parameters, {}),
        ('scratch', 'all.npz', parameters, {}),
        ('with parent', 'all.npz', later, {'potential': potential}),
        ('continued', 'all.npz', later, {'potential': potential, 'rows_parent': rows}),
    ):
        jobs[name] = run_job(root / name, values, root / data, **links)
        write_line(name, jobs[name])
    seconds = {name: job.result['timings']['total'] for name, job in jobs.items()}
    one, other = get_coefficients(root / 'with parent'), get_coefficients(root / 'continued')
    print(
        f'{len(one)} functions; continued is {seconds["scratch"] / seconds["continued"]:.1f} times faster than scratch'
    )
    print(f'coefficients differ by {np.abs(one - other).max() / np.abs(one).max():.1e}')


if __name__ == '__main__':
    main()
