"""The worker as AiiDA calls it: a program in a directory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.checksums import write_checksums
from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

PARAMETERS = {'elements': ['Al'], 'number_of_functions': 30, 'cutoff': 5.0}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [str(Path(sys.prefix) / 'bin' / 'pyacemaker-worker'), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)


def task(directory: Path, parameters: dict, **files) -> None:
    (directory / 'task.json').write_text(json.dumps({'parameters': parameters}))
    for name, frames in files.items():
        save_configurations(directory / f'{name}.npz', frames)


def result(directory: Path) -> dict:
    return json.loads((directory / 'result.json').read_text())


@pytest.fixture(scope='module')
def worked(al_frames, tmp_path_factory) -> Path:
    """A directory in which `train` has run."""
    directory = tmp_path_factory.mktemp('train')
    train = [atoms for atoms in al_frames if atoms.info['split'] == 'train']
    test = [atoms for atoms in al_frames if atoms.info['split'] == 'test']
    task(directory, PARAMETERS, configurations=train, test=test)
    done = run(directory, 'train')
    assert done.returncode == 0, done.stderr
    assert 'rows of' in done.stdout and 'test: ' in done.stdout
    return directory


def test_train(worked):
    answer = result(worked)
    assert answer['status'] == 'ok'
    assert answer['test']['n_frames'] == 4 and answer['cold_start']['n_frames'] == 4
    assert answer['train']['energy']['rmse'] < 0.02
    assert AcePotential(worked / 'potential_out').elements == ['Al']


def test_corrupt_parent(worked, al_frames, tmp_path):
    """A potential that was damaged on its way is an error of its own: another copy may be sound."""
    shutil.copytree(worked / 'potential_out', tmp_path / 'potential')
    write_checksums(tmp_path / 'potential', list(AcePotential.FILES))
    with (tmp_path / 'potential' / 'potential.asi').open('r+b') as handle:
        handle.seek(500)
        handle.write(b'?')
    task(tmp_path, PARAMETERS, configurations=al_frames[:1])
    assert run(tmp_path, 'evaluate').returncode == 1
    assert result(tmp_path)['code'] == 'corrupt_input'
    assert 'potential.asi' in result(tmp_path)['message']


def test_train_on_a_parent(worked, al_frames, tmp_path):
    (tmp_path / 'potential').symlink_to(worked / 'potential_out')
    task(tmp_path, {**PARAMETERS, 'generation': 1}, configurations=[a for a in al_frames if len(a) > 1])
    assert run(tmp_path, 'train').returncode == 0
    assert result(tmp_path)['reference_kind'] == {'Al': 'parent'}
    assert result(tmp_path)['generation'] == 1


def test_evaluate(worked, al_frames, tmp_path):
    (tmp_path / 'potential').symlink_to(worked / 'potential_out')
    task(tmp_path, {}, configurations=[*al_frames, bulk('Al', cubic=True)])
    assert run(tmp_path, 'evaluate').returncode == 0
    answer = result(tmp_path)
    assert answer['metrics']['n_frames'] == 16 and answer['gamma_max'] > 0
    assert sum(row['n_atoms'] for row in answer['gamma_against_error']) == 16 * 16
    assert answer['uncertainty']['forces']['n'] == 16 * 16 * 3
    predictions = load_configurations(tmp_path / 'predictions.npz')
    assert len(predictions) == 18 and np.all(predictions[0].arrays['force_std'] > 0)
    assert labels(predictions[0])['forces'].shape == (16, 3) and predictions[0].arrays['gamma'].shape == (16,)
    assert predictions[0].info['family'] == 'rattled'


def test_select(worked, al_frames, tmp_path):
    (tmp_path / 'potential').symlink_to(worked / 'potential_out')
    frames = [atoms.copy() for atoms in al_frames if len(atoms) > 1]
    for atoms in frames:
        atoms.info['role'] = 'trajectory'
    frames[0].info['role'] = 'halted'
    parameters = {
        'candidates': ['random'], 'candidates_per_halt': 4, 'select_per_halt': 2, 'displacement': 0.3,
        'number_of_train': 1, 'number_of_test': 2, 'max_atoms': 32, 'seed': 1,
    }  # fmt: skip
    task(tmp_path, parameters, configurations=frames)
    assert run(tmp_path, 'select').returncode == 0
    assert result(tmp_path)['families'] == {'halted': 1, 'local_candidate': 1, 'trajectory': 3}
    selected = load_configurations(tmp_path / 'selected.npz')
    assert [atoms.info['split'] for atoms in selected].count('test') == 2
    assert selected[0].arrays['predicted_forces'].shape == (len(selected[0]), 3)
    task(tmp_path, {**parameters, 'max_atoms': 8}, configurations=frames)
    assert run(tmp_path, 'select').returncode == 1
    assert 'embed.max_atoms = 8 leaves a box of' in result(tmp_path)['message']
    task(tmp_path, {}, configurations=frames[1:])
    assert run(tmp_path, 'select').returncode == 0, 'nothing to choose is no failure'
    assert result(tmp_path)['number_of_configurations'] == 0 and result(tmp_path)['gamma_max'] is None
    assert load_configurations(tmp_path / 'selected.npz') == []


def test_bad_data(worked, al_frames, tmp_path):
    bare = bulk('Al', cubic=True)
    cases = {
        'has no energy': {'configurations': [*al_frames, bare]},
        'there is no configurations.npz': {},
        'no configurations in it': {'configurations': []},
    }
    for message, files in cases.items():
        (tmp_path / 'configurations.npz').unlink(missing_ok=True)
        task(tmp_path, PARAMETERS, **files)
        done = run(tmp_path, 'train')
        answer = result(tmp_path)
        assert done.returncode == 1 and answer['code'] == 'invalid_data' and message in answer['message']
        assert '\n' not in answer['message']
        assert not (tmp_path / 'potential_out').exists()
    (tmp_path / 'configurations.npz').write_bytes(b'PK\x03\x04 cut off')
    assert run(tmp_path, 'train').returncode == 1 and result(tmp_path)['code'] == 'invalid_data'
    task(tmp_path, PARAMETERS, configurations=[bare])
    assert run(tmp_path, 'evaluate').returncode == 1 and 'not a potential' in result(tmp_path)['message']
    (tmp_path / 'task.json').write_text('{')
    assert run(tmp_path, 'train').returncode == 1 and 'task.json is broken' in result(tmp_path)['message']
    (tmp_path / 'task.json').unlink()
    assert run(tmp_path, 'train').returncode == 1 and 'no task.json' in result(tmp_path)['message']


def test_unknown_element(worked, tmp_path):
    (tmp_path / 'potential').symlink_to(worked / 'potential_out')
    task(tmp_path, {}, configurations=[bulk('Cu', cubic=True)])
    assert run(tmp_path, 'evaluate').returncode == 1
    assert 'has Cu, which is not in the potential of Al' in result(tmp_path)['message']


def test_missing_python_ace(al_frames, tmp_path):
    """python-ace not installed: here a broken `pyace` that comes first on the path."""
    task(tmp_path, PARAMETERS, configurations=al_frames)
    (tmp_path / 'pyace.py').write_text('raise ImportError("No module named pyace")\n')
    done = subprocess.run(
        [sys.executable, '-c', 'import sys; from aiida_pyacemaker.worker.main import main; sys.exit(main(["train"]))'],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={'PYTHONPATH': str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert result(tmp_path)['code'] == 'missing_engine' and 'pip install python-ace' in result(tmp_path)['message']


def test_version_and_usage(tmp_path):
    done = run(tmp_path, '--version')
    assert done.returncode == 0 and 'python-ace 0' in done.stdout and 'pyacemaker-worker' in done.stdout
    assert run(tmp_path, '--help').returncode == 0
    assert run(tmp_path, 'dance').returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_no_aiida_on_this_floor():
    """The science floor and the worker run where AiiDA is not installed."""
    code = (
        'import sys, pkgutil, importlib, aiida_pyacemaker.atomistics as a, aiida_pyacemaker.worker as w\n'
        'for package in (a, w):\n'
        '    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):\n'
        '        importlib.import_module(module.name)\n'
        'print([name for name in sys.modules if name.split(".")[0] in ("aiida", "pyace")])\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
