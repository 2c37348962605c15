"""What AiiDA costs per label: CPU-seconds of the daemon and of the script, without those of pw.x itself.

Run as `python tests/benchmarks/bench_overhead.py`: in a profile of its own, set up as `aiida-pyacemaker setup` does it,
with a daemon of its own, aluminium primitive cells of different volumes are labelled with one k-point and a low cutoff,
by several ways in the same run, four at a time and in turn, so that what else the machine does falls on all of them:

- old: a plain `PwBaseWorkChain` for each structure, built by `get_builder_from_protocol` with `kpoints_distance`, on a
  computer as AiiDA configures it: each look at the jobs is a login shell;
- plain: the same on our computer, without login shells;
- ours: `LabelWorkChain`;
- bare: a `PwCalculation` for each structure, which heals nothing: what AiiDA needs at least for a job.

Volumes differ, so that nothing comes from the cache. Counted are the user and system time of the daemon, its workers
and all that they start and wait for, and of this script. A job's own script and pw.x are not among them: the scheduler
`core.direct` starts them detached. What the daemon costs when idle is printed, and not taken off.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from itertools import count

import psutil
from ase.build import bulk

#: As many labels at a time.
CONCURRENT = 4
LABEL = {
    'oracle': 'qe',
    'kpoints_distance': 5.0,
    'ecutwfc': 12.0,
    'ecutrho': 48.0,
    'smearing': 'cold',
    'degauss': 0.05,
    'max_concurrent': CONCURRENT,
    'max_failed_fraction': 0.1,
    'max_wallclock_seconds': 600,
}


@contextmanager
def profile():
    """Set up a profile with a running daemon, and remove it afterwards."""
    folder = tempfile.mkdtemp(prefix='bench_overhead_')
    os.environ['AIIDA_PATH'] = folder
    os.environ['OMP_NUM_THREADS'] = '1'
    from aiida_pyacemaker.setup.profile import daemon_client, ensure_daemon, ensure_profile

    loaded, _ = ensure_profile('bench')
    ensure_daemon(loaded)
    try:
        yield daemon_client(loaded)
    finally:
        daemon_client(loaded).stop_daemon(wait=True)
        shutil.rmtree(folder, ignore_errors=True)


def set_up() -> dict:
    """Return the codes of pw.x, on a computer of AiiDA's make and on ours, and the family of pseudopotentials."""
    from aiida import orm

    from aiida_pyacemaker.setup.codes import ensure_code, ensure_computer
    from aiida_pyacemaker.setup.engines import find_pw
    from aiida_pyacemaker.setup.pseudos import PSEUDO_DOJO, install_pseudo_dojo

    install_pseudo_dojo(elements=('Al',))
    computer, _ = ensure_computer()
    old = orm.Computer('old', 'localhost', '', 'core.local', 'core.direct', f'{computer.get_workdir()}_old').store()
    old.set_minimum_job_poll_interval(1)
    old.configure(safe_interval=0)
    codes = {name: ensure_code('pw', find_pw, where, exact=False)[0] for name, where in (('old', old), ('', computer))}
    return {**codes, 'family': PSEUDO_DOJO}


def get_cells(number: int, volumes=count()) -> list:
    """Return primitive cells of volumes that no call returns twice."""
    return [bulk('Al', a=3.9 + 1e-4 * next(volumes)) for _ in range(number)]


def cpu_seconds(client) -> float:
    """Return the CPU time of the daemon with its children, and of this process."""
    daemon = psutil.Process(client.get_daemon_pid())
    processes = [psutil.Process(), daemon, *daemon.children(recursive=True)]
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:4])  # user, system, and those of its ended children
        except psutil.NoSuchProcess:
            pass
    return total


def wait(pks: list[int], at_most: int = 0) -> list[int]:
    """Wait until no more than this many processes run, and return them."""
    from aiida import orm

    ended = {'attributes.process_state': {'in': ['finished', 'excepted', 'killed']}, 'id': {'in': pks}}
    while True:
        done = set(orm.QueryBuilder().append(orm.ProcessNode, filters=ended, project='id').all(flat=True))
        left = [pk for pk in pks if pk not in done]
        if len(left) <= at_most:
            return left
        time.sleep(0.5)


def get_builder(code, family: str, atoms):
    """Return the builder of a label the old way."""
    from aiida import orm
    from aiida.plugins import WorkflowFactory

    system = {key: LABEL[key] for key in ('ecutwfc', 'ecutrho', 'smearing', 'degauss')}
    overrides = {
        'clean_workdir': True,
        'kpoints_distance': LABEL['kpoints_distance'],
        'pseudo_family': family,
        'pw': {'parameters': {'SYSTEM': {'occupations': 'smearing', 'nbnd': 6, **system}}},
    }
    return WorkflowFactory('quantumespresso.pw.base').get_builder_from_protocol(
        code,
        orm.StructureData(ase=atoms),
        overrides=overrides,
        options={'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False},
    )


def get_bare_builder(code, family: str, atoms):
    """Return the builder of nothing but the calculation."""
    from aiida import orm

    inputs = get_builder(code, family, atoms)
    builder = code.get_builder()
    for name in ('structure', 'pseudos', 'parameters'):
        builder[name] = inputs.pw[name]
    builder.metadata.options = inputs.pw.metadata['options']
    builder.kpoints = orm.KpointsData()
    builder.kpoints.set_kpoints_mesh([1, 1, 1])
    return builder


def one_by_one(make, code, family: str, cells: list) -> int:
    """Label each cell by a process of its own; return how many ended well."""
    from aiida import orm
    from aiida.engine import submit

    nodes, running = [], []
    for atoms in cells:
        nodes.append(submit(make(code, family, atoms)))
        running = wait([*running, nodes[-1].pk], at_most=CONCURRENT - 1)
    wait(running)
    return sum(orm.load_node(node.pk).is_finished_ok for node in nodes)


def our_way(code, family: str, cells: list) -> int:
    """Label cells by `LabelWorkChain`; return how many labels came out."""
    from aiida import orm
    from aiida.engine import submit
    from aiida.plugins import DataFactory, WorkflowFactory

    builder = WorkflowFactory('pyacemaker.label').get_builder_from_protocol(
        code, DataFactory('pyacemaker.configurations')(cells), {**LABEL, 'pseudo_family': family}
    )
    node = submit(builder)
    wait([node.pk])
    node = orm.load_node(node.pk)
    results = node.outputs.results.get_dict()
    return results['number_labelled'] + results['number_suspect']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--number', type=int, default=200, help='labels of each way (200)')
    parser.add_argument('--rounds', type=int, default=4, help='in so many turns (4)')
    parser.add_argument('--ways', nargs='+', default=['old', 'ours'], choices=['old', 'plain', 'ours', 'bare'])
    options = parser.parse_args()
    with profile() as client:
        found = set_up()
        family = found['family']
        ways = {
            'old': lambda cells: one_by_one(get_builder, found['old'], family, cells),
            'plain': lambda cells: one_by_one(get_builder, found[''], family, cells),
            'ours': lambda cells: our_way(found[''], family, cells),
            'bare': lambda cells: one_by_one(get_bare_builder, found[''], family, cells),
        }
        time.sleep(3)
        idle = cpu_seconds(client)
        time.sleep(10)
        print(f'idle: {(cpu_seconds(client) - idle) / 10:.3f} CPU-s per second', flush=True)
        for name in options.ways:
            ways[name](get_cells(2))  # imports are no part of the cost
        size = options.number // options.rounds
        spent = {name: [0.0, 0.0, 0] for name in options.ways}
        for _ in range(options.rounds):
            for name in options.ways:
                cpu, wall = cpu_seconds(client), time.perf_counter()
                number = ways[name](get_cells(size))
                assert number == size, f'{name}: {number} of {size} labels'
                more = (cpu_seconds(client) - cpu, time.perf_counter() - wall, number)
                spent[name] = [sum(pair) for pair in zip(spent[name], more, strict=True)]
                cpu, wall, number = spent[name]
                print(f'{name}: {number} labels, {cpu / number:.2f} CPU-s and {wall / number:.2f} s each', flush=True)
        costs = {name: cpu / number for name, (cpu, _, number) in spent.items()}
        first = options.ways[0]
        print(', '.join(f'{name} {cost:.2f} = {cost / costs[first]:.2f} x {first}' for name, cost in costs.items()))


if __name__ == '__main__':
    main()
