"""What parsers make of what real engines left, see ``make_outputs.py``."""

from __future__ import annotations

import json
import shutil

import pytest
from aiida import orm
from aiida.plugins import DataFactory
from ase.build import bulk

from . import api, cases
from .serialise import describe_node, number, plain, summarise_frame

KEPT_WORKER = ('result.json', 'worker.out', 'worker.err')
#: What depends on the machine, the moment, or installed versions.
UNSTABLE = (
    'wall_time_seconds', 'seconds', 'seconds_per_atom', 'atom_steps_per_second', 'versions', 'lammps_version',
    'version',
)  # fmt: skip


def stable(value):
    """Return content without what depends on the machine."""
    if isinstance(value, dict):
        return {key: stable(item) if key not in UNSTABLE else '(left out)' for key, item in value.items()}
    return [stable(item) for item in value] if isinstance(value, list) else value


def describe_output(node) -> dict:
    """Return an output: configurations frame by frame."""
    found = describe_node(node, 6)
    if hasattr(node, 'get_frames'):
        found['frames'] = []
        for atoms in node.get_frames():
            info = {key: value for key, value in atoms.info.items() if key not in ('parent', 'calculation')}
            labels = {} if atoms.calc is None else {key: abs(value).sum() for key, value in atoms.calc.results.items()}
            arrays = {
                name: number(float(abs(array).sum()), 5)
                for name, array in atoms.arrays.items()
                if array.dtype.kind in 'fiu'
            }
            found['frames'].append(
                {'frame': summarise_frame(atoms, 5), 'info': info, 'labels': labels, 'arrays': arrays}
            )
    return stable(plain(found, 6))


def describe(outputs: dict, exit_code) -> dict:
    """Return all outputs and the exit code."""
    code = None if exit_code is None else [exit_code.status, exit_code.invalidates_cache]
    return {'exit_code': code, 'outputs': {name: describe_output(node) for name, node in sorted(outputs.items())}}


# LAMMPS ---------------------------------------------------------------------------------------------------------------


def simulation_inputs(potential, name: str) -> dict:
    """Return the inputs of a stored simulation."""
    return {
        'potential': potential,
        'structure': orm.StructureData(ase=cases.CELL),
        'parameters': cases.SIMULATIONS[name],
    }


@pytest.mark.parametrize('name', list(cases.SIMULATIONS))
def test_lammps_pace(data_regression, parse, potential, name):
    """Each end of a simulation."""
    folder = cases.OUTPUTS / f'lammps_{name}'
    outputs, exit_code = parse('lammps_pace', folder, simulation_inputs(potential, name), ('lammps.out',))
    for port in ('trajectory', 'halted', 'violation'):
        if port in outputs:
            assert len({atoms.info['parent'] for atoms in outputs[port].get_frames()}) == 1
    data_regression.check(describe(outputs, exit_code))


def cut(text: str) -> str:
    """Return the output of a simulation that was killed."""
    return text[: text.index('Loop time')]


FAILURES = {
    'killed': lambda text: cut(text),
    'silent': lambda text: '',
    'lost_atoms': lambda text: f'{cut(text)}\nERROR: Lost atoms: original 16 current 15 (src/thermo.cpp:494)\n',
    'not_finite': lambda text: f'{cut(text)}\nERROR on proc 0: Non-numeric atom coords - simulation unstable\n',
    'wrong_input': lambda text: f'{cut(text)}\nERROR: Illegal fix npt command\n',
    'no_pace': lambda text: (
        "LAMMPS (22 Jul 2025)\nERROR: Unrecognized pair style 'pace/extrapolation' is part of the ML-PACE package\n"
    ),
    'corrupt': lambda text: 'potential.asi: FAILED\nsha256sum: WARNING: 1 computed checksum did NOT match\n',
}


@pytest.mark.parametrize('name', list(FAILURES))
def test_lammps_pace_failures(data_regression, parse, potential, tmp_path, name):
    """What went wrong is told by exit codes and by the end of the simulation."""
    folder = shutil.copytree(cases.OUTPUTS / 'lammps_completed', tmp_path / 'left')
    output = folder / 'lammps.out'
    output.write_text(FAILURES[name](output.read_text()))
    for file in ('final.restart', 'last.dump'):
        (folder / file).unlink()
    outputs, exit_code = parse('lammps_pace', folder, simulation_inputs(potential, 'completed'), ('lammps.out',))
    data_regression.check(describe(outputs, exit_code))


def test_lammps_pace_files(data_regression, parse, potential, tmp_path):
    """A restart file that is missing, and a gamma that is zero all along."""
    found = {}
    folder = shutil.copytree(cases.OUTPUTS / 'lammps_completed', tmp_path / 'left')
    (folder / 'final.restart').unlink()
    inputs = simulation_inputs(potential, 'completed')
    found['no restart'] = describe(*parse('lammps_pace', folder, inputs, ('lammps.out',)))['exit_code']
    folder = shutil.copytree(cases.OUTPUTS / 'lammps_completed', tmp_path / 'zero')
    watch = folder / 'watch.dat'
    rows = [line.split() for line in watch.read_text().splitlines() if not line.startswith('#')]
    watch.write_text(''.join(' '.join([row[0], '0', *row[2:]]) + '\n' for row in rows))
    inputs = simulation_inputs(potential, 'completed')
    found['no gamma'] = describe(*parse('lammps_pace', folder, inputs, ('lammps.out',)))['exit_code']
    data_regression.check(found)


@pytest.mark.parametrize('name', cases.MELTED)
def test_lammps_melting(data_regression, parse, potential, configurations, name):
    """Simulations of the search for a melting point."""
    keys, state = cases.MELTINGS[name]
    crystal = bulk('Al', a=4.0)
    inputs = {
        'potential': potential,
        'crystal': configurations([crystal]),
        'parameters': api.next_melting(keys, crystal, state),
    }
    outputs, exit_code = parse('lammps_melting', cases.OUTPUTS / f'melting_{name}', inputs, ('lammps.out',))
    data_regression.check(describe(outputs, exit_code))


def test_lammps_melting_killed(data_regression, parse, potential, configurations, tmp_path):
    """A simulation that was killed, and one in which the potential broke down."""
    keys, state = cases.MELTINGS['coexist']
    crystal, found = bulk('Al', a=4.0), {}
    for name, end in (('killed', ''), ('broken', '\nERROR: Lost atoms: original 96 current 95 (src/thermo.cpp:494)\n')):
        folder = shutil.copytree(cases.OUTPUTS / 'melting_coexist', tmp_path / name)
        output = folder / 'lammps.out'
        text = output.read_text()
        output.write_text(text[: text.rindex('Loop time')] + end)
        inputs = {
            'potential': potential,
            'crystal': configurations([crystal]),
            'parameters': api.next_melting(keys, crystal, state),
        }
        found[name] = describe(*parse('lammps_melting', folder, inputs, ('lammps.out',)))
    data_regression.check(found)


# The worker -----------------------------------------------------------------------------------------------------------

TASKS = ['pace_train', 'pace_select', 'pace_evaluate', 'pace_validate', 'teacher']


@pytest.mark.parametrize('name', TASKS)
def test_worker(data_regression, parse, configurations, potential, name):
    """What each task of the worker left."""
    inputs = cases.tasks(configurations, potential)[name]
    outputs, exit_code = parse(name, cases.OUTPUTS / name, inputs, KEPT_WORKER)
    data_regression.check(describe(outputs, exit_code))


BROKEN = {
    'missing': None,
    'no_json': '{"status": "ok"',
    'no_status': '{}',
    'invalid_data': json.dumps({'status': 'error', 'code': 'invalid_data', 'message': 'why'}),
    'missing_engine': json.dumps({'status': 'error', 'code': 'missing_engine', 'message': 'why'}),
    'corrupt_input': json.dumps({'status': 'error', 'code': 'corrupt_input', 'message': 'why'}),
    'failed': json.dumps({'status': 'error', 'code': 'failed', 'message': 'why'}),
    'not_finite': '{"status": "ok", "number": NaN}',
    'no_product': '{"status": "ok", "number": 1}',
    'broken_product': '{"status": "ok", "number": 1}',
}


@pytest.mark.parametrize('name', ['pace_train', 'pace_evaluate'])
def test_worker_failures(data_regression, parse, configurations, potential, tmp_path, name):
    """What is wrong with the result is told by an exit code."""
    found = {}
    products = {'pace_train': 'potential_out', 'pace_evaluate': 'predictions.npz'}
    inputs = cases.tasks(configurations, potential)[name]
    for kind, content in BROKEN.items():
        folder = tmp_path / kind
        folder.mkdir()
        if content is not None:
            (folder / 'result.json').write_text(content)
        if kind == 'broken_product':
            (folder / products[name]).write_text('not what it should be')
        found[kind] = describe(*parse(name, folder, inputs, KEPT_WORKER))
    data_regression.check(found)


# Data nodes -----------------------------------------------------------------------------------------------------------


def test_potential_node(data_regression, potential):
    """The potential as a node: attributes and files."""
    attributes = {key: value for key, value in potential.base.attributes.all.items() if not key.startswith('_')}
    data_regression.check(stable(plain({'files': sorted(potential.filenames), 'attributes': attributes}, 6)))


def test_configurations_node(data_regression, configurations):
    """Labelled frames as a node, and back."""
    node = configurations(cases.labelled_frames()).store()
    again = DataFactory('pyacemaker.configurations')(node.get_frames())
    assert again.get_frames()[3].positions.tolist() == node.get_frames()[3].positions.tolist()
    data_regression.check(describe_output(node))
