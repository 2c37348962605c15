"""Real failures of the real pw.x: which rung of the ladder heals each, what ends in which exit code, and at what cost.

Run as `python tests/benchmarks/bench_healing.py`, or with the names of failures. Each runs in a profile of its own,
without a daemon, beside the same calculation with healthy settings, and the table is written as it grows. The cells are
small, the cutoffs low. The cost is counted in iterations of the SCF, which do not depend on what else the machine does,
and in seconds of the whole work chain, which do.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from cases.healing import FAILURES, get_builder, get_outcome, get_rungs

ELEMENTS = ('Al', 'Fe', 'Si')


def describe(node) -> str:
    """Return the rungs as a cell of the table."""
    groups = [(rung, len(list(group))) for rung, group in groupby(get_rungs(node))]
    flags = node.outputs.healing['flags'] if 'healing' in node.outputs else []
    text = ' → '.join(f'`{rung}` ×{number}' if number > 1 else f'`{rung}`' for rung, number in groups)
    return '; '.join([text, *(f'flag: {flag}' for flag in flags)])


def count_iterations(node) -> int:
    """Return the iterations of the SCF in all calculations of a work chain."""
    from aiida_pyacemaker.atomistics.labelling.healing import read_accuracies

    total = 0
    for child in get_calculations(node):
        try:
            content = child.outputs.retrieved.base.repository.get_object_content('aiida.out')
        except (AttributeError, FileNotFoundError):
            continue
        total += len(read_accuracies(content))
    return total


def get_calculations(node) -> list:
    """Return the calculations of a work chain."""
    from aiida import orm

    return [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]


@contextmanager
def profile() -> Iterator[Path]:
    """Set up a profile without a daemon in a temporary folder, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix='bench_healing_'))
    os.environ |= {'AIIDA_PATH': str(folder), 'OMP_NUM_THREADS': '1'}
    from aiida_pyacemaker.setup.profile import ensure_profile

    ensure_profile('bench')
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def get_engine():
    """Return the code of pw.x and the pseudopotentials by element."""
    from aiida_pyacemaker.setup.codes import ensure_code, ensure_computer
    from aiida_pyacemaker.setup.engines import find_pw
    from aiida_pyacemaker.setup.pseudos import PSEUDO_DOJO, install_pseudo_dojo, load_family

    install_pseudo_dojo(elements=ELEMENTS)
    code, _ = ensure_code('pw', find_pw, ensure_computer()[0], exact=False)
    family = load_family(PSEUDO_DOJO)
    return code, {element: family.get_pseudo(element) for element in ELEMENTS}


def run(builder) -> tuple[Any, float]:
    """Return the work chain that ran and its wall time in seconds."""
    from aiida.engine import run_get_node

    start = time.perf_counter()
    _, node = run_get_node(builder)
    return node, time.perf_counter() - start


def main(names: list[str]) -> int:
    """Run the failures and print the table.

    :param names: parts of the names of those to run, all if empty.
    :return: how many did not end as expected.
    """
    chosen = {name: FAILURES[name] for name in FAILURES if not names or any(part in name for part in names)}
    unexpected = 0
    with profile() as folder:
        code, pseudos = get_engine()
        logging.disable(logging.CRITICAL)  # failures are what we are here for
        print('| failure | healed by, or exit code | calculations | SCF iterations (healthy) | seconds (healthy) |')
        print('|---|---|---|---|---|', flush=True)
        for number, (name, failure) in enumerate(chosen.items()):
            scratch = folder / f'scratch{number}'
            scratch.mkdir()
            node, seconds = run(get_builder(failure, code, pseudos, scratch))
            outcome, usual = get_outcome(node), ('', '')
            if failure.healthy is not None:
                healthy, healthy_seconds = run(get_builder(failure, code, pseudos, scratch, healthy=True))
                if get_outcome(healthy):
                    print(f'the healthy calculation of "{name}" is not: {healthy.exit_message or get_outcome(healthy)}')
                usual = (f' ({count_iterations(healthy)})', f' ({healthy_seconds:.0f})')
            if outcome != failure.expected:
                unexpected += 1
                print(f'"{name}": expected {failure.expected}; {node.exit_message}')
            text = f'`{node.exit_status}` `{outcome}`' if isinstance(outcome, str) else describe(node)
            cells = (len(get_calculations(node)), f'{count_iterations(node)}{usual[0]}', f'{seconds:.0f}{usual[1]}')
            print(f'| {name} | {text} | {" | ".join(map(str, cells))} |', flush=True)
    return unexpected


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
