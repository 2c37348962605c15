"""Time, memory and disk of one fit of many configurations, as the worker does it.

Run as `python tests/benchmarks/bench_memory.py DIRECTORY [--quick] [--configurations N] [--functions N] [--kill S]`.
The configurations are crystals of 64 atoms of one to three elements at random (Al, Cu, Ni), strained and rattled,
labelled with the effective-medium potential of ASE; what is there already is not made again.

Memory is the sum over all processes of the job of what they do not share (PSS), looked at every half second. With
`--kill S` the job is killed (`kill -9`) after S seconds and started again in a new directory that links the rows of the
killed one, as AiiDA does it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.core.processes import forked_map

ELEMENTS = ('Al', 'Cu', 'Ni')
#: eV/Å; configurations with a larger force are left out.
BROKEN = 20.0


@dataclass
class Job:
    """What a job took: seconds, those of processors, bytes of memory at its peak; and what it reports (nothing if it
    was killed)."""

    seconds: float
    processor: float
    memory: float
    result: dict | None


def make_frame(seed: int, elements: tuple[str, ...], repeat: tuple[int, int, int]) -> Atoms:
    """Return a labelled crystal: elements at random, strained by up to 4 %, rattled by 0.03 to 0.25 Å."""
    generator = np.random.default_rng(seed)
    for _ in range(20):
        shares = generator.dirichlet(np.ones(len(elements)))
        atoms = bulk('Cu', cubic=True, a=4.05 * shares[0] + 3.6 * (1 - shares[0])).repeat(repeat)
        atoms.symbols = generator.choice(elements, len(atoms), p=shares)
        strain = np.eye(3) + generator.uniform(-0.04, 0.04, (3, 3))
        atoms.set_cell(atoms.cell.array @ (strain + strain.T) / 2, scale_atoms=True)
        atoms.rattle(generator.uniform(0.03, 0.25), rng=generator)
        atoms.info.update({'family': 'alloy', 'operation': 'rattle', 'parent': f'crystal-{seed // 10}'})
        atoms.calc = EMT()
        forces = atoms.get_forces()
        if np.abs(forces).max() < BROKEN:
            return set_labels(atoms, atoms.get_potential_energy(), forces, atoms.get_stress())
    raise RuntimeError(f'seed {seed} gives broken crystals only')


def make_frames(number: int, elements: tuple[str, ...], repeat: tuple[int, int, int], first: int = 0) -> list[Atoms]:
    """Return labelled crystals, and the free atoms."""
    free = []
    for element in elements:
        atoms = Atoms(element, cell=[15.0] * 3, pbc=False, info={'family': 'isolated_atom'})
        atoms.calc = EMT()
        free.append(set_labels(atoms, atoms.get_potential_energy(), np.zeros((1, 3))))
    crystals = forked_map(lambda seed: make_frame(seed, elements, repeat), range(first, first + number), 2)
    return [*free, *crystals]


def run_job(directory: Path, parameters: dict, frames: Path, kill: float | None = None, **links: Path) -> Job:
    """Run `pyacemaker-worker train` in a directory; `links` are folders that it finds there."""
    directory.mkdir(parents=True)
    (directory / 'task.json').write_text(json.dumps({'parameters': parameters}))
    (directory / 'configurations.npz').symlink_to(frames)
    for name, target in links.items():
        (directory / name).symlink_to(target)
    command = [sys.executable, '-m', 'aiida_pyacemaker.worker.main', 'train']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    start, before, peak = time.perf_counter(), processor_time(), 0.0
    with open(directory / 'worker.out', 'wb') as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        while process.poll() is None:
            peak = max(peak, proportional_memory(process.pid))
            if kill is not None and time.perf_counter() - start > kill:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.05 if time.perf_counter() - start < 20 else 0.5)
    seconds, processor = time.perf_counter() - start, processor_time() - before
    if kill is not None and not (directory / 'result.json').exists():
        return Job(seconds, processor, peak, None)
    result = json.loads((directory / 'result.json').read_text())
    if result['status'] != 'ok':
        raise SystemExit(f'{directory}: {result["message"]}')
    return Job(seconds, processor, peak, result)


def processor_time() -> float:
    """Processor time in seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def proportional_memory(pid: int) -> float:
    """Memory in bytes of a process and its children; what several share counts once."""
    total = 0.0
    try:
        for process in [(parent := psutil.Process(pid)), *parent.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


def size_on_disk(directory: Path) -> int:
    """Size in bytes of the files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob('*') if path.is_file())


def write_table(job: Job, directory: Path, name: str) -> None:
    """Print what a job took."""
    if job.result is None:
        print(f'{name}: killed after {job.seconds:.1f} s, {size_on_disk(directory / "rows") / 1e6:.0f} MB of rows')
        return
    print(f'{name}: {job.seconds:.1f} s ({job.processor:.1f} s of processors), of which')
    for step, seconds in job.result['timings'].items():
        print(f'  {step:20s} {seconds:9.1f} s')
    print(f'  memory at the peak   {job.memory / 1e9:9.2f} GB')
    print(f'  rows on disk         {size_on_disk(directory / "rows") / 1e9:9.2f} GB')
    train = job.result['train']
    print(f'  rmse {1e3 * train["energy"]["rmse"]:.2f} meV/atom, {1e3 * train["forces"]["rmse"]:.1f} meV/Å (training)')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path, help='where configurations and rows go (15 GB for the whole)')
    parser.add_argument('--quick', action='store_true', help='200 configurations, 100 functions per element')
    parser.add_argument('--configurations', type=int, default=20000)
    parser.add_argument('--functions', type=int, default=333, help='per element')
    parser.add_argument('--elements', type=int, default=3, choices=(1, 2, 3))
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--kill', type=float, help='seconds after which the job is killed once')
    arguments = parser.parse_args()
    number, functions = (200, 100) if arguments.quick else (arguments.configurations, arguments.functions)
    elements = ELEMENTS[: arguments.elements]
    arguments.directory.mkdir(parents=True, exist_ok=True)
    frames = (arguments.directory / f'crystals_{number}_{"".join(elements)}.npz').resolve()
    if not frames.exists():
        save_configurations(frames, make_frames(number, elements, (4, 2, 2)))
    parameters = {
        'elements': list(elements),
        'cutoff': 6.0,
        'number_of_functions': functions,
        'processes': arguments.processes,
    }
    print(
        f'{number} configurations of 64 atoms, {len(elements)} x {functions} functions, {arguments.processes} processes'
    )
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    run = arguments.directory / f'job_{int(time.time())}'
    links = {}
    if arguments.kill:
        write_table(run_job(run, parameters, frames, arguments.kill), run, 'first job')
        links, run = {'rows_parent': (run / 'rows').resolve()}, run.with_name(f'{run.name}_again')
    write_table(run_job(run, parameters, frames, **links), run, 'job')


if __name__ == '__main__':
    main()
