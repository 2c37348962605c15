"""Tests of `aiida-pyacemaker export`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ase.io import read
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.lammps.files import read_log
from aiida_pyacemaker.cli.export import cmd_export
from aiida_pyacemaker.reports import export
from aiida_pyacemaker.runfile import load_runfile


@pytest.fixture
def invoke(aiida_profile):
    """Return a function that runs the command."""
    return lambda *arguments: CliRunner().invoke(cmd_export, [str(argument) for argument in arguments])


def test_folder(finished_graph, invoke, tmp_path):
    """The folder has the parts that people know, with the right content."""
    node = finished_graph.run
    folder = tmp_path / 'new' / 'aluminium'
    result = invoke(node.pk, folder)
    assert result.exit_code == 0, result.output
    for name in (
        'config.yaml',
        'README.txt',
        'report.json',
        'data/initial_train.extxyz',
        'data/accumulated.extxyz',
        'data/test.extxyz',
        'potentials/generation_000.yace',
        'potentials/generation_001.yace',
        'potentials/generation_001.yaml',
        'potentials/generation_001.asi',
        'potentials/SHA256SUMS',
        'potentials/in.lammps',
        'active_learning/iter_000/dft_calc/label_0000/aiida.in',
        'active_learning/iter_000/dft_calc/label_0000/aiida.out',
        'active_learning/iter_001/md_run/walker_00/input.in',
        'active_learning/iter_001/md_run/walker_00/lammps.out',
        'active_learning/iter_001/md_run/walker_00/halted.extxyz',
        'active_learning/iter_001/candidates/candidates.extxyz',
        'active_learning/iter_002/md_run/walker_00/trajectory.extxyz',
        'trajectories/walker_00_start_01.extxyz',
        'trajectories/walker_01_start_01.extxyz',
        'report.md',
    ):
        assert (folder / name).is_file() and (folder / name).stat().st_size, name
    for name in ('dynamics.png', 'learning.png', 'parity.png'):
        assert (folder / name).read_bytes().startswith(b'\x89PNG')
    accumulated = read(folder / 'data' / 'accumulated.extxyz', index=':')
    initial = read(folder / 'data' / 'initial_train.extxyz', index=':')
    original = node.outputs.dataset.get_frames()
    assert (len(initial), len(accumulated)) == (5, len(original))
    assert accumulated[-1].get_potential_energy() == pytest.approx(original[-1].get_potential_energy())
    assert load_runfile(folder / 'config.yaml').explore == finished_graph.runfile.explore
    report = json.loads((folder / 'report.json').read_text())
    assert report['state'] == report['report']['state'] == 'converged'
    assert list(tmp_path.joinpath('new').iterdir()) == [folder]


def test_in_lammps(finished_graph, invoke, tmp_path, lmp):
    """The exported input runs in a real LAMMPS, with the last generation."""
    node = finished_graph.run
    assert invoke(node.pk, tmp_path / 'folder').exit_code == 0
    executable, environment = lmp
    potentials = tmp_path / 'folder' / 'potentials'
    command = [executable, '-in', 'in.lammps']
    done = subprocess.run(command, cwd=potentials, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert 'generation_001.yace' in (potentials / 'in.lammps').read_text()
    log = read_log(potentials / 'log.lammps')
    from aiida_pyacemaker.atomistics.potential.potential import AcePotential

    assert log['atoms'] == 16
    command += ['-var', 'repeat', '2 1 1', '-var', 'steps', '2', '-var', 'temperature', '50', '-log', 'log.md']
    subprocess.run(command, cwd=potentials, env=environment, capture_output=True, check=True)
    larger = read_log(potentials / 'log.md')
    assert (larger['atoms'], larger['steps']) == (32, 2)
    assert larger['thermo']['PotEng'][0] == pytest.approx(2 * log['thermo']['PotEng'][-1], abs=1e-4)
    assert larger['thermo']['Temp'][0] == pytest.approx(50)
    largest = max(node.outputs.dataset.get_frames(), key=len)
    potential = AcePotential(finished_graph.potential_directory)
    largest.calc = potential.calculator()
    free_atoms = len(largest) * potential.metadata['reference_energies']['Al']
    assert log['thermo']['PotEng'][-1] == pytest.approx(largest.get_potential_energy() - free_atoms, abs=1e-4)


def test_running(running_graph, invoke, tmp_path):
    """A run that is still going is exported as far as it has come."""
    node = running_graph.run
    result = invoke(node.pk, tmp_path / 'folder')
    assert result.exit_code == 0, result.output
    assert (tmp_path / 'folder/potentials/generation_000.yace').is_file()
    assert (tmp_path / 'folder/active_learning/iter_001/dft_calc/label_0001/aiida.out').is_file()
    assert json.loads((tmp_path / 'folder/report.json').read_text())['state'] == 'running'


def test_nothing_yet(new_run_graph, invoke, tmp_path):
    """A run without a single step has nothing to export."""
    result = invoke(new_run_graph().run.pk, tmp_path / 'folder')
    assert result.exit_code == 1
    assert 'has not done a step yet' in result.output
    assert not list(tmp_path.iterdir())


def test_existing_folder(finished_graph, invoke, tmp_path):
    """A folder in use is left alone; ``--force`` replaces an earlier export and nothing else."""
    node = finished_graph.run
    own = tmp_path / 'own'
    own.mkdir()
    (own / 'thesis.tex').write_text('years of work')
    for arguments, message in (((), 'is not empty'), (('--force',), 'is not an earlier export')):
        result = invoke(node.pk, own, *arguments)
        assert result.exit_code == 1
        assert message in result.output
        assert [path.name for path in own.iterdir()] == ['thesis.tex']

    folder = tmp_path / 'export'
    folder.mkdir()
    assert invoke(node.pk, folder).exit_code == 0
    (folder / 'stale').write_text('')
    assert 'is not empty' in invoke(node.pk, folder).output
    assert invoke(node.pk, folder, '--force').exit_code == 0
    assert (folder / 'report.json').is_file()
    assert not (folder / 'stale').exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['export', 'own']


def test_nothing_half_written(finished_graph, invoke, tmp_path, monkeypatch):
    """An export that fails on its way leaves nothing behind, and an earlier export as it was."""
    node = finished_graph.run
    folder = tmp_path / 'export'
    assert invoke(node.pk, folder).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}

    def fail(*_):
        raise OSError('No space left on device')

    monkeypatch.setattr(export, 'write_iteration', fail)
    for target in (folder, tmp_path / 'other'):
        result = invoke(node.pk, target, '--force')
        assert result.exit_code == 1
        assert 'No space left on device' in result.output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_current_folder(finished_graph, invoke, tmp_path, monkeypatch):
    """The current folder is never replaced."""
    node = finished_graph.run
    monkeypatch.chdir(tmp_path)
    result = invoke(node.pk, Path('.'))
    assert result.exit_code == 1
    assert 'name a new folder' in result.output
    assert os.listdir(tmp_path) == []
