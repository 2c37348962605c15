"""A fit of 1,010 configurations: from scratch, and continuing one of 1,000.

Run as `python tests/benchmarks/bench_continue.py DIRECTORY [--quick] [--functions N] [--atoms N]`. The configurations
are crystals of copper, strained and rattled, labelled with the effective-medium potential of ASE; the basis is given
and everything else is chosen by the fit. Each line is a job of the worker in a directory of its own:

- former: the first 1,000 configurations, nothing given;
- scratch: all 1,010, nothing given;
- with parent: all 1,010, the former potential given (weights, regularisation and baseline are its), but no rows;
- continued: all 1,010, the former potential and its rows given, as in a round of active learning.

`fit` is the time of `train()`; `job` that of the whole process, with the imports of Python. The coefficients of the
last two are compared: largest difference over the largest coefficient.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
from bench_memory import Job, make_frames, run_job

from aiida_pyacemaker.atomistics.configurations import save_configurations
from aiida_pyacemaker.atomistics.potential import AcePotential


def get_coefficients(directory: Path) -> np.ndarray:
    """Return the coefficients of the potential that a job has fitted."""
    return np.array(AcePotential(directory / 'potential_out').basis.basis_coeffs)


def write_line(name: str, job: Job, reference: Job | None = None) -> None:
    """Print a line of the table."""
    total = job.result['timings']['total']
    times = '' if reference is None else f'{reference.result["timings"]["total"] / total:8.1f}'
    steps = ', '.join(f'{step} {seconds:.2f}' for step, seconds in job.result['timings'].items() if step != 'total')
    print(f'{name:12s} {total:8.2f} s {job.seconds:8.2f} s {times:8s}  {steps}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'directory', type=Path, nargs='?', help='a new directory below it is used; else a temporary one'
    )
    parser.add_argument('--quick', action='store_true', help='200 configurations of 16 atoms, 100 functions')
    parser.add_argument('--functions', type=int, default=300)
    parser.add_argument('--atoms', type=int, default=32, choices=(16, 32, 64))
    parser.add_argument('--old', type=int, default=1000)
    parser.add_argument('--new', type=int, default=10)
    parser.add_argument('--processes', type=int, default=2)
    arguments = parser.parse_args()
    old, functions, atoms = arguments.old, arguments.functions, arguments.atoms
    if arguments.quick:
        old, functions, atoms = 200, 100, 16
    if arguments.directory is not None:
        arguments.directory.mkdir(parents=True, exist_ok=True)
    repeat = {16: (2, 2, 1), 32: (2, 2, 2), 64: (4, 2, 2)}[atoms]
    print(f'{arguments.new} new on {old} old configurations of {atoms} atoms, {functions} functions')
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {arguments.processes} processes')
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        root = Path(folder)
        frames = make_frames(old + arguments.new, ('Cu',), repeat)
        save_configurations(root / 'old.npz', frames[: old + 1])
        save_configurations(root / 'all.npz', frames)
        parameters = {
            'elements': ['Cu'], 'cutoff': 6.0, 'number_of_functions': functions, 'processes': arguments.processes,
        }  # fmt: skip
        later = {**parameters, 'generation': 1}
        potential, rows = root / 'former' / 'potential_out', root / 'former' / 'rows'
        write_line('former', run_job(root / 'former', parameters, root / 'old.npz'))
        scratch = run_job(root / 'scratch', parameters, root / 'all.npz')
        write_line('scratch', scratch)
        parent = run_job(root / 'parent', later, root / 'all.npz', potential=potential)
        write_line('with parent', parent)
        continued = run_job(root / 'continued', later, root / 'all.npz', potential=potential, rows_parent=rows)
        write_line('continued', continued, parent)
        one, other = get_coefficients(root / 'parent'), get_coefficients(root / 'continued')
        print(f'faster than scratch: {scratch.result["timings"]["total"] / continued.result["timings"]["total"]:.1f}')
        print(f'coefficients differ by {np.abs(one - other).max() / np.abs(one).max():.1e}')


if __name__ == '__main__':
    main()
