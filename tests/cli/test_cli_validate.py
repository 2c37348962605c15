"""`aiida-pyacemaker validate`, without a profile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.validation.evaluator import identify
from aiida_pyacemaker.cli import cmd_root
from aiida_pyacemaker.cli.validate import read_potential

TEACHER = """
label:
  oracle: teacher
  teacher:
    calculator: lammps
    model: Al.fs
    parameters: {elements: [Al], pair_style: eam/fs, pair_coeff: ['* * Al.fs Al']}
"""


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, ['validate', *map(str, arguments)])


def test_several_side_by_side(al_potential_directory, al_frames, tmp_path):
    """A fitted potential and a calculator: a table, a verdict and a report of each."""
    write(tmp_path / 'data.extxyz', [atoms for atoms in al_frames if atoms.info['split'] == 'test'])
    write(tmp_path / 'al.cif', [bulk('Al', cubic=True)])
    target = tmp_path / 'out'
    found = invoke(
        al_potential_directory, 'emt', '-s', tmp_path / 'al.cif', '--properties', 'eos,elasticity', '--processes', 1,
        '--data', tmp_path / 'data.extxyz', '-o', target,
    )  # fmt: skip
    assert found.exit_code in (0, 3), found.output
    name = al_potential_directory.name
    assert 'bulk modulus (GPa)' in found.output and 'experiment' in found.output
    assert 'energy RMSE (meV/atom)' in found.output
    verdicts = {}
    for title in (name, 'emt'):
        numbers = json.loads((target / title / 'validation.json').read_text())
        page = (target / title / 'validation_report.html').read_text()
        verdicts[title] = numbers['verdict']['verdict']
        assert numbers['content']['crystals'][0]['must_be_stable']
        assert numbers['content']['errors']['forces']['rmse'] < 0.5
        assert verdicts[title] in page and f'{title}: {verdicts[title]}' in found.output
    assert found.exit_code == (3 if 'FAIL' in verdicts.values() else 0)
    # the calculator that labelled the data is exact
    assert numbers['content']['errors']['energy']['max'] < 1e-6


def test_exit_status_of_a_failure(al_frames, tmp_path):
    """Data of three times the forces: the calculator that labelled them otherwise passes."""
    for factor, status in ((1.0, 0), (3.0, 3)):
        frames = []
        for atoms in al_frames[:4]:
            found = labels(atoms)
            frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
            frames.append(set_labels(frame, found['energy'], factor * found['forces']))
        write(tmp_path / 'data.extxyz', frames)
        arguments = ('--elements', 'Al', '--properties', 'elasticity', '--data', tmp_path / 'data.extxyz')
        found = invoke('emt', *arguments, '--processes', 1, '-o', tmp_path)
        verdict = json.loads((tmp_path / 'validation.json').read_text())['verdict']
        assert found.exit_code == status, found.output
        assert verdict['verdict'] == ('FAIL' if status else 'PASS')


def test_layer_asked_for_a_bulk_modulus(tmp_path):
    write(tmp_path / 'layer.extxyz', fcc111('Cu', (1, 1, 3), vacuum=6))
    found = invoke('emt', '-s', tmp_path / 'layer.extxyz', '--properties', 'eos,elasticity', '-o', tmp_path / 'out')
    assert 'is a layer, which has no volume of its own' in found.output


def test_molecule_asked_for_phonons(tmp_path):
    write(tmp_path / 'co.xyz', molecule('CO'))
    found = invoke('emt', '-s', tmp_path / 'co.xyz', '--properties', 'phonons,eos', '-o', tmp_path / 'out')
    assert 'CO molecule is a molecule' in found.output and 'Error' not in found.output


def test_teacher_file(tmp_path):
    """The model file is found beside the YAML file; a missing one is named."""
    (tmp_path / 'al.yaml').write_text(TEACHER)
    found = invoke(tmp_path / 'al.yaml')
    assert found.exit_code == 1 and 'Al.fs' in found.output
    (tmp_path / 'empty.yaml').write_text('label: {oracle: qe}')
    found = invoke(tmp_path / 'empty.yaml')
    assert found.exit_code == 1 and 'no section `label.teacher`' in found.output


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nope', '--elements', 'Al'], 'nope is neither a folder nor a file nor a calculator'),
        (['./nope', '--elements', 'Al'], './nope is neither a folder nor a file;'),
        (['emt'], '--structures: there is nothing to look at'),
        (['emt', '--elements', 'Xx'], '--elements'),
        (['emt', '--elements', 'Si'], 'cannot be evaluated'),
        (['emt', '-s', 'none.cif'], '--structures: structure file none.cif does not exist'),
        (['emt', '-s', 'none.cif', '--elements', 'Al'], 'give one of them'),
        (['emt', '--elements', 'Al', '--properties', 'eos,colour'], 'there is no property colour'),
        (['emt', '--elements', 'Al', '--protocol', 'slow'], 'there is no protocol slow'),
        (['emt', '--elements', 'Al', '--data', 'none.xyz'], 'none.xyz'),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    found = invoke(*arguments)
    assert found.exit_code == 1
    assert message in found.output and 'Traceback' not in found.output


def test_exported_run(al_potential_directory, tmp_path):
    """The production potential of an exported run, else the newest generation, else the file that is named."""
    folder = tmp_path / 'aluminium' / 'potentials'
    folder.mkdir(parents=True)
    suffixes = {'yaml': 'potential.yaml', 'yace': 'potential.yace', 'asi': 'potential.asi', 'json': 'metadata.json'}
    for stem in ('generation_000', 'generation_001', 'production'):
        for suffix, name in suffixes.items():
            shutil.copy(al_potential_directory / name, folder / f'{stem}.{suffix}')
    context = click.Context(cmd_root)
    with context:
        assert read_potential(str(tmp_path / 'aluminium'))[0] == 'aluminium-production'
        assert read_potential(str(folder / 'generation_000.yace'))[0] == 'aluminium-generation_000'
        (folder / 'production.asi').unlink()
        title, description = read_potential(str(folder))
        assert title == 'aluminium-generation_001' and identify(description)['elements'] == ['Al']
    assert not Path(description).exists()


def test_melting_of_what_lammps_cannot_do(tmp_path):
    found = invoke('emt', '--elements', 'Al', '--properties', 'melting', '-o', tmp_path)
    assert found.exit_code == 1 and 'melting is simulated by LAMMPS' in found.output


def test_wrong_elements(al_potential_directory):
    found = invoke(al_potential_directory, '--elements', 'Cu')
    assert found.exit_code == 1 and 'has Cu, but the potential is for Al' in found.output
