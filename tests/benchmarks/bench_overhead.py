"""What AiiDA costs per label: CPU-seconds of the daemon and of the script, without those of pw.x itself.

Run as `python tests/benchmarks/bench_overhead.py`: in a profile of its own, set up as `aiida-pyacemaker setup` does it,
with a daemon of its own, aluminium primitive cells of different volumes are labelled with one k-point and the lowest
cutoff. The old way submits a plain `PwBaseWorkChain`, built by `get_builder_from_protocol` with `kpoints_distance`, for
each structure, as many at a time; ours is `LabelWorkChain`. Both in the same run, on different volumes, so that nothing
comes from the cache.

Counted are the user and system time of the daemon, its workers and all that they start and wait for, and of this
script, from the first submission to the last end. A job's own script and pw.x are not among them: the scheduler
`core.direct` starts them detached. What the daemon costs when idle is measured and taken off for nobody.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

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


def get_code():
    """Return the code of pw.x and the label of a family of pseudopotentials."""
    from aiida_pyacemaker.setup.codes import ensure_code, ensure_computer
    from aiida_pyacemaker.setup.engines import find_pw
    from aiida_pyacemaker.setup.pseudos import PSEUDO_DOJO, install_pseudo_dojo

    install_pseudo_dojo(elements=('Al',))
    computer, _ = ensure_computer()
    code, _ = ensure_code('pw', find_pw, computer, exact=False)
    return code, PSEUDO_DOJO


def get_cells(number: int, first: float) -> list:
    """Return primitive cells of different volumes."""
    return [bulk('Al', a=first + 0.1 * index / number) for index in range(number)]


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


def old_way(code, family: str, cells: list) -> int:
    """Label cells by a plain `PwBaseWorkChain` each; return how many ended well."""
    from aiida import orm
    from aiida.engine import submit
    from aiida.plugins import WorkflowFactory

    workchain = WorkflowFactory('quantumespresso.pw.base')
    system = {key: LABEL[key] for key in ('ecutwfc', 'ecutrho', 'smearing', 'degauss')}
    overrides = {
        'clean_workdir': True,
        'kpoints_distance': LABEL['kpoints_distance'],
        'pseudo_family': family,
        'pw': {'parameters': {'SYSTEM': {'occupations': 'smearing', 'nbnd': 6, **system}}},
    }
    options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
    nodes, running = [], []
    for atoms in cells:
        builder = workchain.get_builder_from_protocol(
            code, orm.StructureData(ase=atoms), overrides=overrides, options=options
        )
        nodes.append(submit(builder))
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
    print(f'    {results["number_labelled"]} labelled, {results["number_suspect"]} suspect, exit {node.exit_status}')
    return results['number_labelled'] + results['number_suspect']


def measure(name: str, client, action, spy: Path | None = None) -> float:
    """Run one way, print and return its CPU-seconds per label."""
    workers = [child.pid for child in psutil.Process(client.get_daemon_pid()).children(recursive=True)]
    cpu, wall = cpu_seconds(client), time.perf_counter()
    spies = []
    if spy is not None:
        for pid in workers:
            command = ['py-spy', 'record', '-p', str(pid), '-f', 'raw', '-r', '200', '-d', '3600', '-o']
            spies.append(subprocess.Popen([*command, str(spy / f'{name}_{pid}.txt')], stderr=subprocess.DEVNULL))
    number = action()
    cpu, wall = cpu_seconds(client) - cpu, time.perf_counter() - wall
    for process in spies:
        process.send_signal(2)
        process.wait()
    print(f'{name}: {number} labels, {cpu / number:.2f} CPU-s and {wall / number:.2f} s per label', flush=True)
    return cpu / number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--number', type=int, default=200, help='labels of each way (200)')
    parser.add_argument('--only', choices=['old', 'ours'], help='one way only')
    parser.add_argument('--spy', type=Path, help='folder for the profiles of the workers (py-spy)')
    options = parser.parse_args()
    with profile() as client:
        code, family = get_code()
        time.sleep(3)
        idle = cpu_seconds(client)
        time.sleep(10)
        print(f'idle: {(cpu_seconds(client) - idle) / 10:.3f} CPU-s per second')
        figures = {}
        for name, action, first in (('old', old_way, 3.95), ('ours', our_way, 4.06)):
            if options.only in (None, name):
                action(code, family, get_cells(2, first - 0.01))  # imports are no part of the cost
                cells = get_cells(options.number, first)
                figures[name] = measure(name, client, lambda do=action, c=cells: do(code, family, c), options.spy)
        if len(figures) == 2:
            print(f'ours costs {figures["ours"] / figures["old"]:.2f} times the old way')


if __name__ == '__main__':
    main()
