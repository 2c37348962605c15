"""Tests of `aiida-pyacemaker fit`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.cli import fit

ConfigurationsData = DataFactory('pyacemaker.configurations')


@pytest.fixture
def invoke(aiida_profile_clean, worker_code, tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder; the fit runs at once, without a daemon."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('aiida.engine.submit', lambda builder: run_get_node(builder).node)
    monkeypatch.setattr('aiida_pyacemaker.cli.preflight.check_daemon', lambda: None)
    return lambda *arguments: CliRunner().invoke(fit.cmd_fit, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path) -> str:
    """Rattled aluminium labelled by EMT, as an extended xyz file."""
    frames = [set_labels(Atoms('Al'), 0.0, np.zeros((1, 3)))]
    for seed in range(24):
        atoms = bulk('Al', cubic=True) * (2, 1, 1)
        atoms.set_cell(atoms.cell * (0.95 + 0.004 * seed), scale_atoms=True)
        atoms.rattle(0.12, seed=seed)
        atoms.calc = EMT()
        frames.append(set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    write(tmp_path / 'data.extxyz', frames)
    return 'data.extxyz'


def test_fit_and_continue(invoke, data, tmp_path):
    """Nothing has to be set; the folder holds what is promised; a continued fit takes the rows over."""
    result = invoke(data, 'max_cost=60', '--split', '80:10:10')
    assert result.exit_code == 0, result.output
    assert '21 configurations to train on, 4 held back' in result.output
    folder = tmp_path / 'data-potential'
    names = {path.name for path in folder.iterdir()}
    assert {'potential.yaml', 'potential.yace', 'potential.asi', 'posterior.npz', 'in.lammps', 'metrics.json'} <= names
    assert {'parity.png', 'pareto.png', 'learning_curve.png'} <= names
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['test']['energy']['rmse'] < 0.005 and metrics['test']['forces']['rmse'] < 0.1
    assert metrics['chosen']['basis']['number_of_functions'] >= 10
    assert metrics['rows']['computed'] == 20  # all but the free atom
    assert metrics['validation_part']['n_frames'] == metrics['test']['n_frames'] == 2
    assert metrics['validation_part']['energy'] != metrics['test']['energy']
    assert 'Errors (validation):' in result.output and 'Errors (held back )' in result.output

    potential = orm.QueryBuilder().append(DataFactory('pyacemaker.potential'), project='id').all(flat=True)[-1]
    moved = read(data, index='1:4')
    for atoms in moved:
        atoms.rattle(0.05, seed=5)
        atoms.calc = EMT()
        set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    write(tmp_path / 'new.extxyz', moved)
    result = invoke(data, 'new.extxyz', '--continue', potential, '--split', 100, '-o', 'second')
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / 'second' / 'metrics.json').read_text())
    # the four that were held back before are new, too
    assert metrics['rows']['computed'] == 7 and metrics['rows']['reused'] == 20
    assert metrics['generation'] == 1


def test_what_cannot_be(invoke, data, tmp_path):
    """One message that names the key or file, and nothing is submitted or written."""
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    write(tmp_path / 'bare.extxyz', bulk('Al'))
    broken = read(data, index=':')
    broken[3].calc.results['forces'][0, 0] = np.nan
    write(tmp_path / 'nan.extxyz', broken)
    for arguments, message in (
        (['missing.extxyz'], 'data: missing.extxyz is neither a file nor a node'),
        ([data, 'cutof=5'], 'train.cutof: unknown key; did you mean `train.cutoff`?'),
        ([data, 'cutoff=1'], 'train.cutoff: 1 is wrong, it must be at least 2'),
        (['bare.extxyz'], 'has neither energy nor forces'),
        (['nan.extxyz'], 'nan.extxyz: Configuration 3 (Al8): the forces hold NaN'),
        ([data, '-o', 'full'], '--output: the folder full is not empty; name another one'),
        ([data, '--continue', 99999], '--continue: there is no node 99999'),
        (['max_cost=5'], 'name the files or PKs'),
        ([data, '--code', 'other@localhost'], 'other@localhost'),
        ([data, '--split', '80-20'], '--split: `80-20` is not TRAIN:TEST'),
    ):
        result = invoke(*arguments)
        assert result.exit_code != 0 and message in result.output, (arguments, result.output)
    assert orm.QueryBuilder().append(orm.WorkChainNode).count() == 0
    assert not (tmp_path / 'data-potential').exists()
