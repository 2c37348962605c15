"""Tests of `verdi data pyacemaker`."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
from aiida import orm
from aiida.cmdline.utils.pluginable import Pluginable
from ase.build import bulk
from click.testing import CliRunner

from aiida_pyacemaker.calculations.functions.collect_labels import collect_labels
from aiida_pyacemaker.cli.data import cmd_data
from aiida_pyacemaker.data.configurations import ConfigurationsData

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def invoke():
    """Return a function that runs a command and returns its output."""

    def function(*arguments, fails=False):
        result = CliRunner().invoke(cmd_data, [str(argument) for argument in arguments])
        assert (result.exit_code != 0) is fails, result.output
        return result.output

    return function


@pytest.fixture
def configurations(aiida_profile_clean, al_frames):
    """Return labelled configurations."""
    return ConfigurationsData(al_frames).store()


def test_entry_point():
    """`verdi data` knows the commands."""
    from aiida.cmdline.commands.cmd_data import verdi_data

    assert isinstance(verdi_data, Pluginable)
    assert verdi_data.get_command(None, 'pyacemaker') is cmd_data


def test_configurations_list(invoke, configurations, al_frames):
    """The list shows what there is, and can be narrowed down by element."""
    output = invoke('configurations', 'list')
    assert 'Total results: 1' in output
    row = next(line for line in output.splitlines() if line.strip().startswith(str(configurations.pk)))
    assert '1 isolated_atom, 16 rattled' in row
    assert invoke('configurations', 'list', '--raw', '-e', 'Al').split()[0] == str(configurations.pk)
    assert 'Total results: 0' in invoke('configurations', 'list', '-e', 'Al', '-e', 'Cu')
    assert 'Total results: 1' in invoke('configurations', 'list', '-p', 1, '-A')


def test_configurations_show(invoke, configurations, al_frames):
    """The summary is one screen; the long form has a line for each configuration."""
    output = invoke('configurations', 'show', configurations.pk)
    assert '17 energy, 17 forces, 16 stress' in output
    assert len(output.splitlines()) < 15
    output = invoke('configurations', 'show', '--long', configurations.pk)
    assert len(output.splitlines()) > 17 + 11


def test_suspects_and_confirm(invoke, aiida_profile_clean):
    """From the list of suspects to a set that a run takes, and the list says what was confirmed."""
    assert 'Total results: 0' in invoke('configurations', 'suspects')
    candidates = ConfigurationsData([bulk('Al', 'bcc', a=lattice, cubic=True) for lattice in (2.0, 3.2, 2.1)])
    nodes = {}
    for index, force in enumerate((75.0, 1.0, 95.0)):
        forces = np.array([[[force, 0, 0], [-force, 0, 0]]])
        nodes[f'parameters_{index:04d}'] = orm.Dict({'energy': -1.0})
        nodes[f'trajectory_{index:04d}'] = orm.ArrayData({'forces': forces})
    suspect = collect_labels(candidates, orm.Str('qe'), **nodes)['suspect']

    output = invoke('configurations', 'suspects')
    assert 'Total results: 1' in output and str(suspect.pk) in output
    assert 'Total results: 0' in invoke('configurations', 'suspects', '-e', 'Cu')
    output = invoke('configurations', 'suspects', suspect.pk)
    assert 'force 75 eV/Å on atom 0 (limit 50)' in output and 'force 95 eV/Å' in output
    assert 'Flagged         2' in invoke('configurations', 'show', suspect.pk)

    assert 'name the configurations' in invoke('configurations', 'confirm', suspect.pk, fails=True)
    invoke('configurations', 'confirm', suspect.pk, 0, '--all', fails=True)
    invoke('configurations', 'confirm', suspect.pk, 7, fails=True)
    pk = int(re.search(r'ConfigurationsData<(\d+)>', invoke('configurations', 'confirm', suspect.pk, 1)).group(1))
    (atoms,) = orm.load_node(pk).get_frames()
    assert atoms.info['flags'][-1] == 'confirmed' and atoms.get_forces()[0, 0] == 95.0
    assert invoke('configurations', 'suspects', '--raw').split()[-1] == str(pk)
    assert '2 labels confirmed' in invoke('configurations', 'confirm', suspect.pk, '--all')


@pytest.mark.parametrize('suffix', ('extxyz', 'db'))
def test_configurations_export(invoke, configurations, al_frames, suffix, tmp_path):
    """What is written can be read by ASE; a file that is there is not overwritten unless asked."""
    from ase.io import read

    path = tmp_path / f'frames.{suffix}'
    invoke('configurations', 'export', configurations.pk, path)
    frames = read(path, index=':')
    assert len(frames) == len(al_frames)
    assert frames[3].get_potential_energy() == pytest.approx(al_frames[3].get_potential_energy())
    assert 'already' in invoke('configurations', 'export', configurations.pk, path, fails=True)
    invoke('configurations', 'export', '--force', configurations.pk, path)


def test_export_default_name(invoke, configurations, al_potential, tmp_path, monkeypatch):
    """Without a name the pk is in the name."""
    monkeypatch.chdir(tmp_path)
    invoke('configurations', 'export', configurations.pk)
    invoke('configurations', 'export', '-F', 'db', configurations.pk)
    invoke('potential', 'export', al_potential.pk)
    pks = {'extxyz': configurations.pk, 'db': configurations.pk}
    assert all((tmp_path / f'configurations-{pk}.{suffix}').is_file() for suffix, pk in pks.items())
    assert (tmp_path / f'potential-{al_potential.pk}' / 'in.lammps').is_file()


def test_potential_list(invoke, al_potential):
    """The list shows generation and test errors."""
    output = invoke('potential', 'list')
    assert 'Total results: 1' in output
    rmse = al_potential.base.attributes.get('fit')['test']['forces']['rmse']
    assert f'{1000 * rmse:.2f}' in output
    assert 'Total results: 0' in invoke('potential', 'list', '-e', 'Cu')


def test_potential_show(invoke, al_potential):
    """The summary says what the potential is made of and how good it is."""
    output = invoke('potential', 'show', al_potential.uuid)
    for text in ('Generation', 'zbl', '5.0 Å', 'Training errors', 'Test errors', 'on 4 configurations'):
        assert text in output


def test_potential_export(invoke, al_potential, lmp, tmp_path):
    """The folder that is written runs in LAMMPS as it is."""
    folder = tmp_path / 'my potential'
    invoke('potential', 'export', al_potential.pk, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        'SHA256SUMS',
        'in.lammps',
        'metadata.json',
        'posterior.npz',
        'potential.asi',
        'potential.yace',
        'potential.yaml',
        'structure.data',
    ]
    executable, environment = lmp
    run = subprocess.run(
        [executable, '-in', 'in.lammps'], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'Total wall time' in run.stdout

    assert 'is not empty' in invoke('potential', 'export', al_potential.pk, folder, fails=True)
    invoke('potential', 'export', '-f', al_potential.pk, folder)


def test_wrong_node(invoke, configurations, al_potential):
    """A node of another type is refused."""
    invoke('potential', 'show', configurations.pk, fails=True)
    invoke('configurations', 'show', orm.Int(1).store().pk, fails=True)
    invoke('potential', 'show', 999999, fails=True)
