"""Distil a universal potential into an ACE potential, and say what was lost and gained.

    python examples/distill/distill.py [RUNFILE] [PROFILE]

runs `aiida-pyacemaker launch` with the run file (once: a run that has finished is only looked at), and prints the
errors of the ACE potential against its teacher on configurations that it has never seen, and what a step of molecular
dynamics costs with either: the same cells, the same machine, one thread each; LAMMPS for ACE, ASE for the teacher.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from aiida import load_profile, orm
from ase import Atoms
from ase.build import bulk
from ase.io import write
from tabulate import tabulate

from aiida_pyacemaker.atomistics.core.frame import group_name
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.lammps.files import mass_lines, pair_lines
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.reports.queries import find_same_run
from aiida_pyacemaker.runfile import load_runfile

HERE = Path(__file__).resolve().parent
#: Cubic cells of fcc that are repeated so often: 32, 108 and 256 atoms.
REPEATS = (2, 3, 4)
LATTICE_CONSTANT = 3.87
#: Steps of molecular dynamics that are timed.
TEACHER_STEPS, ACE_STEPS = 3, 300
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}


def main(runfile: str = str(HERE / 'distill.yaml'), profile: str = 'pyacemaker') -> None:
    """Run the distillation, and print the tables."""
    command = Path(sys.prefix) / 'bin' / 'aiida-pyacemaker'
    subprocess.run([command, 'launch', runfile, '--profile', profile, '--wait', '--once'], check=True)
    load_profile(profile)
    content = load_runfile(runfile)
    run = find_same_run(content.content_hash())
    with tempfile.TemporaryDirectory() as folder:
        potential = AcePotential(write_potential(run, Path(folder)))
        print(f'\nErrors against the teacher on {len(run.outputs.test_set)} configurations held out')
        print(format_errors(potential, run.outputs.test_set.get_frames()))
        cells = [make_cell(content.system.elements, repeat) for repeat in REPEATS]
        teacher = time_teacher(run, cells)
        ace = [time_ace(run, potential, atoms, Path(folder)) for atoms in cells]
        print('\nCost of a step of molecular dynamics per atom, one thread')
        print(format_costs(cells, teacher, ace))


def write_potential(run: orm.WorkChainNode, folder: Path) -> Path:
    """Write the files of the last potential of the run."""
    for name in run.outputs.potential.FILENAMES:
        (folder / name).write_bytes(run.outputs.potential.base.repository.get_object_content(name, mode='rb'))
    return folder


def format_errors(potential: AcePotential, frames: list[Atoms]) -> str:
    """Return the table of errors, for each kind of configuration and for all."""
    predicted = predict(potential, frames)
    groups = {'all': list(range(len(frames)))}
    for index, atoms in enumerate(frames):
        groups.setdefault(group_name(atoms), []).append(index)
    rows = []
    for name, indices in groups.items():
        errors = error_metrics([frames[k] for k in indices], [predicted[k] for k in indices])
        scale = (sum((frames[k].get_forces() ** 2).mean() for k in indices) / len(indices)) ** 0.5
        rows.append(
            [
                name,
                len(indices),
                *(1000 * errors[what][kind] for what in ('energy', 'forces') for kind in ('rmse', 'mae')),
            ]
        )
        rows[-1].append(1000 * scale)
    headers = ['kind', 'number', 'energy RMSE', 'MAE (meV/atom)', 'force RMSE', 'MAE (meV/Å)', 'forces, RMS (meV/Å)']
    return tabulate(rows, headers, floatfmt='.1f')


def make_cell(elements: list[str], repeat: int) -> Atoms:
    """Return a cell of fcc with as many atoms of either element, rattled a little."""
    atoms = bulk(elements[0], 'fcc', a=LATTICE_CONSTANT, cubic=True).repeat(repeat)
    atoms.symbols[::2] = elements[1]
    atoms.rattle(0.03, seed=1)
    return atoms


def time_teacher(run: orm.WorkChainNode, cells: list[Atoms]) -> list[float]:
    """Return the seconds per step and atom of the teacher, in the Python of its code."""
    code = run.inputs.codes.teacher
    python = Path(code.filepath_executable).parent / 'python'
    with tempfile.TemporaryDirectory() as folder:
        write(f'{folder}/cells.traj', cells)
        section = json.dumps(run.inputs.parameters['label']['teacher'])
        command = [python, HERE / 'time_teacher.py', f'{folder}/cells.traj', section, str(TEACHER_STEPS)]
        done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def time_ace(run: orm.WorkChainNode, potential: AcePotential, atoms: Atoms, folder: Path) -> float:
    """Return the seconds per step and atom of the ACE potential in LAMMPS, on one core."""
    elements = potential.elements
    write(folder / 'cell.data', atoms, format='lammps-data', specorder=elements, masses=False)
    lines = f"""units metal
atom_style atomic
read_data cell.data
{mass_lines(elements)}
{pair_lines(potential.metadata, yace='potential.yace')}
velocity all create 300 1
timestep 0.001
fix nve all nve
thermo {ACE_STEPS}
run 10
run {ACE_STEPS}
"""
    (folder / 'in.speed').write_text(lines)
    code = run.inputs.codes.lammps
    script = f'{code.prepend_text}\n"{code.filepath_executable}" -in in.speed -log none'
    done = subprocess.run(
        ['bash', '-c', script], cwd=folder, env={**os.environ, **ONE_THREAD}, check=True, capture_output=True, text=True
    )
    seconds = re.findall(r'Loop time of (\S+) on 1 procs', done.stdout)
    return float(seconds[-1]) / ACE_STEPS / len(atoms)


def format_costs(cells: list[Atoms], teacher: list[float], ace: list[float]) -> str:
    """Return the table of costs."""
    rows = [
        [len(atoms), 1e6 * slow, 1e6 * fast, slow / fast] for atoms, slow, fast in zip(cells, teacher, ace, strict=True)
    ]
    return tabulate(rows, ['atoms', 'teacher (µs)', 'ACE (µs)', 'times faster'], floatfmt='.0f')


if __name__ == '__main__':
    main(*sys.argv[1:])
