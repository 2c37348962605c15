"""How soon does `launch` answer? Time to its first line, and processor time to the end of its checks.

`aiida-pyacemaker launch RUNFILE --prepare-only` is started as a user would, with a run file of elements and protocol
only. Wanted: the first line within two seconds, and the checks within ten seconds of processor time for any element.
The processor time is that of the command and of the engines that it tries. Each is done `--repeat` times and the best
is told: the first one reads the modules from the disk.

Run as `python tests/benchmarks/bench_answers.py [NAMES ...] [--protocol fast] [--repeat 2]` in a profile as
`aiida-pyacemaker setup all` makes it, with nothing beside it: times on a wall tell of the neighbours otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml
from tabulate import tabulate

MATERIALS = {
    'Al': ['Al'],
    'Si': ['Si'],
    'NaCl': ['Na', 'Cl'],
    'TiO2': ['Ti', 'O'],
    'CrMnFeCoNi': ['Cr', 'Mn', 'Fe', 'Co', 'Ni'],
}


class Answer(NamedTuple):
    """What a command took: seconds to its first line and to its end, processor time, status, last line."""

    first: float
    end: float
    processor: float
    status: int
    last: str


def ask(command: list[str]) -> Answer:
    """Run a command and watch what it prints, on either stream."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first, last = 0.0, ''
    for line in process.stdout or ():
        first = first or time.perf_counter() - start
        last = line.strip() or last
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or it is waited for again
    end = time.perf_counter() - start
    return Answer(first or end, end, usage.ru_utime + usage.ru_stime, process.returncode, last)


def main() -> None:
    """Ask for each material and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', default=[], metavar='NAMES', help=f'of {", ".join(MATERIALS)}; all')
    parser.add_argument('--protocol', default='fast')
    parser.add_argument('--repeat', type=int, default=2)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MATERIALS)
    if unknown:
        parser.error(f'there is no material {", ".join(sorted(unknown))}: choose of {", ".join(MATERIALS)}')
    program = shutil.which('aiida-pyacemaker', path=str(Path(sys.executable).parent)) or 'aiida-pyacemaker'
    rows = []
    for name in arguments.names or MATERIALS:
        with tempfile.TemporaryDirectory() as folder:
            runfile = Path(folder) / 'run.yaml'
            content = {'protocol': arguments.protocol, 'system': {'elements': MATERIALS[name]}}
            runfile.write_text(yaml.safe_dump(content), encoding='utf-8')
            answers = [ask([program, 'launch', str(runfile), '--prepare-only']) for _ in range(arguments.repeat)]
        failed = next((answer for answer in answers if answer.status), None)
        best = [min(values) for values in zip(*(answer[:3] for answer in answers), strict=True)]
        rows.append([name, *(f'{value:.1f}' for value in best), failed.last if failed else 'ready'])
        print(f'{name}: {rows[-1][1:]}', flush=True)
    heads = ['', 'first line (s)', 'end (s)', 'processor time (s)', 'answer']
    print(tabulate(rows, heads, tablefmt='github', disable_numparse=True))


if __name__ == '__main__':
    main()
