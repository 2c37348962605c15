"""Memory and speed of an exported potential in LAMMPS, up to a million atoms, with the input that `export` wrote.

    python tests/benchmarks/bench_million.py FOLDER [--atoms 1000000] [--steps 10] [--quick]

FOLDER is what `aiida-pyacemaker export` wrote. Its `potentials/in.lammps` is run as it is, on one core: only the
variables `repeat`, `steps` and `temperature` are given. The peak of the memory is that of the process as the operating
system counts it; the speed is that of LAMMPS's own timer over the steps, without the set-up. On a
machine that does other work as well, look at the speed in terms of CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from pathlib import Path

from ase.io.lammpsdata import read_lammps_data
from tabulate import tabulate

from aiida_pyacemaker.atomistics.lammps.files import read_log
from aiida_pyacemaker.setup.engines import find_lammps


def choose_repetitions(folder: Path, atoms: int) -> tuple[int, int, int]:
    """Return how often the exported cell is repeated for about so many atoms in about a cube."""
    cell = read_lammps_data(folder / 'structure.data', atom_style='atomic')
    edge = (atoms * cell.get_volume() / len(cell)) ** (1 / 3)
    return tuple(max(1, round(edge / length)) for length in cell.cell.lengths())


def run_lammps(folder: Path, atoms: int, steps: int) -> dict[str, float]:
    """Run the exported input on one core.

    :returns: `atoms`, `steps`, `setup`, `loop` (s), `cpu` (s, of the loop), `memory` (bytes), `temperature` after the
        last step (K).
    """
    engine, log = find_lammps(), f'log.{atoms}'
    repeat = ' '.join(map(str, choose_repetitions(folder, atoms)))
    command = [str(engine.executable), '-in', 'in.lammps', '-log', log, '-screen', 'none']
    command += ['-var', 'repeat', repeat, '-var', 'steps', str(steps), '-var', 'temperature', '300']
    environment = {**os.environ, **engine.environment, 'OMP_NUM_THREADS': '1'}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    elapsed = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f'LAMMPS ended with status {process.returncode}; see {folder / log}')
    read = read_log(folder / log)
    share = float(re.search(r'^([\d.]+)% CPU use', (folder / log).read_text(), flags=re.MULTILINE)[1]) / 100
    return {
        'atoms': read['atoms'],
        'steps': read['steps'],
        'setup': elapsed - read['loop_time'],
        'loop': read['loop_time'],
        'cpu': read['loop_time'] * share,
        'memory': usage.ru_maxrss * 1024,
        'temperature': float(read['thermo']['Temp'][-1]),
    }


def main() -> None:
    """Run several sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--atoms', type=int, default=1_000_000)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--quick', action='store_true', help='at most 30,000 atoms')
    arguments = parser.parse_args()
    folder = arguments.folder / 'potentials'
    newest = sorted(folder.glob('generation_*.json'))[-1]
    metadata = json.loads(newest.read_text())
    print(
        f'{"-".join(metadata["elements"])}, {metadata["number_of_functions"]} functions, '
        f'cutoff {metadata["cutoff"]} Å, {arguments.steps} steps of NVT at 300 K, one core\n'
    )
    rows = []
    largest = min(arguments.atoms, 30_000) if arguments.quick else arguments.atoms
    for atoms in sorted({largest // 64, largest // 8, largest}):
        row = run_lammps(folder, atoms, arguments.steps)
        work = row['atoms'] * row['steps']
        rows.append(
            (
                row['atoms'],
                f'{row["setup"]:.1f}',
                f'{row["loop"]:.1f}',
                f'{work / row["loop"]:,.0f}',
                f'{work / row["cpu"]:,.0f}',
                f'{row["memory"] / 1e9:.2f}',
                f'{row["memory"] / 1e3 / row["atoms"]:.2f}',
                f'{row["temperature"]:.1f}',
            )
        )
    header = ('atoms', 'set-up s', 'steps s', 'atom-steps/s', 'atom-steps/CPU-s', 'memory GB', 'kB/atom', 'T at end K')
    print(tabulate(rows, header, disable_numparse=True, stralign='right'))


if __name__ == '__main__':
    main()
