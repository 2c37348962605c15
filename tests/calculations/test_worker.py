"""Tests of the CalcJobs of the worker and of their parsers, on the real engine."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pyacemaker.calculations.pace_evaluate import PaceEvaluateCalculation
from aiida_pyacemaker.calculations.pace_select import PaceSelectCalculation
from aiida_pyacemaker.calculations.pace_train import PaceTrainCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData

SMALL = {'elements': ['Al'], 'cutoff': 5.0, 'number_of_functions': 20, 'processes': 1}


@pytest.fixture
def sets(aiida_profile, al_frames):
    """Return the labelled training and test configurations as nodes."""
    return {
        split: ConfigurationsData([atoms for atoms in al_frames if atoms.info['split'] == split])
        for split in ('train', 'test')
    }


@pytest.fixture
def get_train_builder(worker_code, sets):
    """Return a factory of builders of a small fit."""

    def factory(parameters=SMALL, **inputs):
        builder = PaceTrainCalculation.get_builder()
        builder.code = worker_code
        builder.configurations = sets['train']
        builder.parameters = parameters
        for name, value in inputs.items():
            builder[name] = value
        return builder

    return factory


def test_train(get_train_builder, sets, al_potential):
    """A fit gives a potential of the asked generation, with its metrics, and keeps no file twice."""
    builder = get_train_builder({**SMALL, 'generation': 1}, test=sets['test'], potential=al_potential)
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    potential = outputs['potential']
    assert potential.elements == ['Al']
    assert potential.generation == 1
    results = outputs['results'].get_dict()
    assert 0 < results['test']['forces']['rmse'] < 0.5
    assert results['cold_start']['n_frames'] == len(sets['test'])
    assert 'status' not in results
    assert 'posterior.npz' in potential.filenames
    predicted = outputs['predictions'].get_frames()
    assert len(predicted) == len(sets['test']) and all(atoms.has('force_std') for atoms in predicted)
    assert potential.base.attributes.get('fit')['train']['energy']['rmse'] == results['train']['energy']['rmse']
    assert sorted(outputs['retrieved'].list_object_names()) == [
        '_scheduler-stderr.txt',
        '_scheduler-stdout.txt',
        'result.json',
        'worker.err',
        'worker.out',
    ]
    assert 'configurations.npz' not in node.base.repository.list_object_names()
    assert node.base.caching.is_valid_cache


def test_parent_folder(get_train_builder):
    """A fit takes over what a former one has computed, with the same result, and is cached with it and after it."""
    from aiida.manage.caching import enable_caching

    def run_both():
        first, _ = run_get_node(get_train_builder())
        builder = get_train_builder({**SMALL, 'generation': 1}, potential=first['potential'])
        builder.parent_folder = first['remote_folder']
        return run_get_node(builder)

    with enable_caching(identifier='aiida.calculations:pyacemaker.pace_train'):
        outputs, node = run_both()
        assert node.is_finished_ok, (node.exit_status, node.exit_message)
        assert (outputs['results']['rows']['computed'], outputs['results']['rows']['linked']) == (0, 12)
        _, cached = run_both()
        assert cached.base.caching.get_cache_source() == node.uuid

    alone, _ = run_get_node(
        get_train_builder({**SMALL, 'generation': 1}, potential=outputs['potential'].creator.inputs.potential)
    )
    assert alone['results']['rows']['linked'] == 0
    for name in ('potential.yaml', 'potential.yace', 'potential.asi'):
        one, other = (each['potential'].base.repository.get_object_content(name, 'rb') for each in (outputs, alone))
        assert one == other


def test_parent_folder_elsewhere(get_train_builder, aiida_computer_local, tmp_path):
    """Rows on another machine are refused before submission; a folder that was cleaned is as good as none."""
    other = orm.RemoteData(remote_path=str(tmp_path), computer=aiida_computer_local(label='elsewhere')).store()
    with pytest.raises(ValueError, match='`parent_folder` is on elsewhere, but the fit runs on'):
        run_get_node(get_train_builder(parent_folder=other))
    builder = get_train_builder()
    builder.parent_folder = orm.RemoteData(remote_path=str(tmp_path / 'gone'), computer=builder.code.computer).store()
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    assert outputs['results']['rows']['computed'] == 12


def test_select(worker_code, al_potential):
    """The anchors are chosen with candidates around them, and test frames out of the trajectory."""
    frames = []
    for index, role in enumerate(('halted', 'trajectory', 'trajectory', 'trajectory')):
        atoms = bulk('Al', 'fcc', a=4.05, cubic=True)
        atoms.rattle(0.1, seed=index)
        atoms.info.update({'role': role, 'family': role, 'parent': f'uuid-{index}'})
        frames.append(atoms)
    builder = PaceSelectCalculation.get_builder()
    builder.code = worker_code
    builder.potential = al_potential
    builder.configurations = ConfigurationsData(frames)
    builder.parameters = {
        'candidates': ['random'], 'candidates_per_halt': 5, 'select_per_halt': 2, 'number_of_test': 2,
        'displacement': 0.3,
    }  # fmt: skip
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    chosen = outputs['configurations']
    assert chosen.families == {'halted': 1, 'local_candidate': 1, 'trajectory': 2}
    assert [atoms.info['split'] for atoms in chosen.get_frames()] == ['train', 'train', 'test', 'test']
    assert chosen.get_structure_ase(0).info['parent'] == 'uuid-0'
    assert chosen.labels == {'energy': 0, 'forces': 0, 'stress': 0}
    np.testing.assert_allclose(chosen.get_structure_ase(0).positions, frames[0].positions)
    assert chosen.get_structure_ase(0).arrays['predicted_forces'].shape == (4, 3)
    builder.configurations = ConfigurationsData(frames[1:])
    builder.parameters = {}
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok and 'configurations' not in outputs, 'nothing to choose is no failure'
    assert outputs['results']['number_of_configurations'] == 0


def test_evaluate(worker_code, al_potential, sets):
    """The predictions are those of the potential, with errors against the labels."""
    builder = PaceEvaluateCalculation.get_builder()
    builder.code = worker_code
    builder.potential = al_potential
    builder.configurations = sets['test']
    outputs, node = run_get_node(builder)
    assert node.is_finished_ok, (node.exit_status, node.exit_message)
    results = outputs['results'].get_dict()
    errors = [
        (predicted.get_potential_energy() - true.get_potential_energy()) / len(true)
        for predicted, true in zip(outputs['predictions'].get_frames(), sets['test'].get_frames(), strict=True)
    ]
    assert results['metrics']['energy']['rmse'] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert outputs['predictions'].get_structure_ase(0).has('gamma')


@pytest.mark.parametrize('name', ('pace_train', 'pace_select', 'pace_evaluate', 'lammps_pace'))
def test_defaults(name):
    """A user need not give options."""
    options = CalculationFactory(f'pyacemaker.{name}').spec().inputs['metadata']['options']
    assert options['resources'].default() == {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    assert options['withmpi'].default is False
    assert options['parser_name'].default == f'pyacemaker.{name}'


@pytest.mark.parametrize(
    ('changes', 'message'),
    (
        ({'cutof': 5.0}, r'cutof: unknown key; did you mean `cutoff`\?'),
        ({'elements': None}, 'elements: missing'),
        ({'elements': ['Xx']}, "elements: 'Xx' is not a chemical element"),
        ({'elements': 'Al'}, "elements: 'Al' is wrong, it must be a list"),
        ({'elements': ['Al', 'Al']}, 'elements: an element is listed twice'),
        ({'cutoff': -1.0}, 'cutoff: -1.0 is wrong, it must be at least 2'),
        ({'number_of_functions': 1.5}, 'number_of_functions: 1.5 is wrong, it must be a whole number'),
        ({'mode': 'quadratic'}, "mode: 'quadratic' is not one of linear, nonlinear"),
    ),
)
def test_bad_parameters(get_train_builder, changes, message):
    """Bad parameters are refused before submission, in a message that names the key."""
    with pytest.raises(ValueError, match=message):
        get_train_builder({**SMALL, **changes})


def test_bad_data(get_train_builder, al_frames):
    """Data that cannot be trained on are refused before submission."""
    unlabelled = [atoms.copy() for atoms in al_frames[:3]]
    with pytest.raises(ValueError, match='`configurations`: 3 of 4 configurations have no energy'):
        run_get_node(get_train_builder(configurations=ConfigurationsData([*unlabelled, al_frames[3]])))
    with pytest.raises(ValueError, match='`configurations` holds the element Al, which the potential does not know'):
        run_get_node(get_train_builder({**SMALL, 'elements': ['Cu']}))


def test_invalid_data(get_train_builder, al_frames):
    """What the worker refuses is in the exit message."""
    atom = next(atoms for atoms in al_frames if len(atoms) == 1)
    outputs, node = run_get_node(get_train_builder(configurations=ConfigurationsData([atom])))
    assert node.exit_status == 210
    assert 'no configuration with more than a free atom' in node.exit_message
    assert outputs['results']['code'] == 'invalid_data'


@pytest.fixture
def run_with(get_train_builder, aiida_code_installed, fake_executable, tmp_path):
    """Return a function that runs a fit with a shell script in place of the worker, as broken as one likes."""

    def function(body):
        executable = str(fake_executable('worker', body))
        code = aiida_code_installed(label=tmp_path.name, filepath_executable=executable)
        return run_get_node(get_train_builder(code=code))

    return function


def test_killed(run_with):
    """A worker that was killed leaves no result; the next try is not taken from the cache."""
    _, node = run_with('kill -9 $$')
    assert node.exit_status == 302
    assert not node.base.caching.is_valid_cache


@pytest.mark.parametrize(
    ('body', 'status', 'message'),
    (
        ('echo "{" > result.json', 303, 'result.json cannot be read'),
        ('echo "[]" > result.json', 303, 'result.json cannot be read'),
        ('echo \'{"status": "ok"}\' > result.json', 303, 'potential_out is missing'),
        ('mkdir potential_out; echo \'{"status": "ok"}\' > result.json', 303, 'potential.yaml is missing or empty'),
        ('echo \'{"status": "ok", "train": {"rmse": NaN}}\' > result.json', 303, 'train.rmse in the results'),
        (
            'echo \'{"status": "error", "code": "missing_engine", "message": "no pyace"}\' > result.json; exit 1',
            220,
            'An engine is missing: no pyace',
        ),
        (
            'echo \'{"status": "error", "code": "failed", "message": "oh"}\' > result.json; exit 1',
            410,
            'The task failed: oh',
        ),
    ),
)
def test_broken(run_with, body, status, message):
    """Output that is missing or broken is never taken for a result."""
    outputs, node = run_with(body)
    assert node.exit_status == status, (node.exit_status, node.exit_message)
    assert message in node.exit_message
    assert 'potential' not in outputs


def test_missing_python_ace(get_train_builder, aiida_code_installed, worker_code, tmp_path):
    """Without python-ace the message says what to install."""
    (tmp_path / 'pyace.py').write_text('raise ImportError("no pyace here")\n')
    code = aiida_code_installed(
        label='worker-without-pyace',
        filepath_executable=str(worker_code.filepath_executable),
        prepend_text=f'export PYTHONPATH={tmp_path}',
    )
    _, node = run_get_node(get_train_builder(code=code))
    assert node.exit_status == 220, (node.exit_status, node.exit_message)
    assert 'python-ace' in node.exit_message
