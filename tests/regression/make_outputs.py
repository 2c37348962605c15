"""Run the real engines on the cases of ``cases.py`` and store what they leave: `pytest make_outputs.py`, from here.

The name keeps it out of the test suite. The data files of the tests have to be made anew afterwards, so do not.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory

from . import api, cases
from .serialise import plain

WORKER = {
    'pace_train': ['potential_out'],
    'pace_select': ['selected.npz'],
    'pace_evaluate': ['predictions.npz'],
    'pace_validate': ['crystals.npz'],
    'teacher': ['labelled.npz'],
}
PACE = ['lammps.out', 'final.restart', 'trajectory.dump', 'selected.dump', 'last.dump', 'watch.dat']
MELTING = ['lammps.out', *CalculationFactory('pyacemaker.lammps_melting').OUTPUTS]


def store(outputs: dict, name: str, files: list[str]) -> None:
    """Copy files of a finished job."""
    source, target = Path(outputs['remote_folder'].get_remote_path()), cases.OUTPUTS / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in files:
        path = source / file
        if path.is_dir():
            shutil.copytree(path, target / file)
        elif path.exists():
            shutil.copy(path, target / file)
    output = target / 'lammps.out'
    if output.exists():  # it names a folder of this machine
        output.write_text(re.sub(r'(plugins from ).*', r'\1/usr/lib/lammps-plugins', output.read_text()))


def run(process: str, name: str, files: list[str], **inputs) -> None:
    """Run a calculation and store what it leaves."""
    outputs, node = run_get_node(CalculationFactory(f'pyacemaker.{process}'), **inputs)
    print(name, node.exit_status, node.exit_message, outputs['results'].get_dict() if 'results' in outputs else '')
    store(outputs, name, files)


def test_potential(aiida_profile_clean, worker_code, configurations):
    """Fit the potential of all other cases."""
    inputs = cases.tasks(configurations, None)['pace_train']
    inputs['parameters'] = cases.FIT
    run('pace_train', 'potential', ['potential_out'], code=worker_code, **inputs)
    shutil.rmtree(cases.POTENTIAL, ignore_errors=True)
    shutil.move(cases.OUTPUTS / 'potential' / 'potential_out', cases.POTENTIAL)
    shutil.rmtree(cases.OUTPUTS / 'potential')


@pytest.mark.parametrize('name', list(WORKER))
def test_worker(aiida_profile_clean, worker_code, configurations, potential, name):
    """Run a task of the worker."""
    run(name, name, ['result.json', *WORKER[name]], code=worker_code, **cases.tasks(configurations, potential)[name])


@pytest.mark.parametrize('name', list(cases.SIMULATIONS))
def test_simulation(aiida_profile_clean, lammps_code, potential, name):
    """Run a simulation under the watch."""
    structure = orm.StructureData(ase=cases.CELL)
    parameters = cases.SIMULATIONS[name]
    run(
        'lammps_pace', f'lammps_{name}', PACE,
        code=lammps_code, potential=potential, structure=structure, parameters=parameters,
    )  # fmt: skip


@pytest.mark.parametrize('name', list(cases.MELTED))
def test_melting(aiida_profile_clean, lammps_code, potential, configurations, name):
    """Run a simulation of the search for a melting point."""
    keys, state = cases.MELTINGS[name]
    crystal = cases.bulk('Al', a=4.0)
    run(
        'lammps_melting', f'melting_{name}', MELTING,
        code=lammps_code, potential=potential, crystal=configurations([crystal]),
        parameters=api.next_melting(keys, crystal, state),
    )  # fmt: skip


def test_suite():
    """Look at two crystals of copper with EMT."""
    content = api.run_suite({'calculator': 'emt'}, cases.crystals_of_copper(), cases.SUITE)
    text = json.dumps(plain(content), sort_keys=True)
    (cases.OUTPUTS / 'suite.json').write_text(f'{text}\n')
    print(content['seconds'])
