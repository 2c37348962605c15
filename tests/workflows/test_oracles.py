"""Tests of what all oracles share: the contract, and the run file that is made of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.plugins import ORACLES, find_plugins
from aiida_pyacemaker.runfile import RunFileError, resolve_runfile
from aiida_pyacemaker.testing.oracles import check_oracle
from aiida_pyacemaker.workflows.oracles import load_oracle

EMT = {'calculator': 'emt'}
#: Sections with which each can label without a profile; VASP asks one for its potentials.
LABELS = {
    'qe': {'pseudo_family': 'any', 'ecutwfc': 30.0, 'ecutrho': 120.0},
    'teacher': {'teacher': EMT},
    'tiered': {'teacher': EMT, 'tiers': {'expensive': 'teacher', 'reference': EMT, 'committee': [EMT]}},
}


@pytest.mark.parametrize('name', list(find_plugins(ORACLES)))
def test_contract(name):
    """Every oracle that is installed keeps the contract."""
    check_oracle(name, label=LABELS.get(name))


def test_no_aiida(tmp_path):
    """Structures are generated, and the schema with all its plug-ins made, without a look at AiiDA."""
    (tmp_path / 'run.yaml').write_text('system: {elements: [Al]}\nprotocol: fast\nstructures: {number: 3}\n')
    lines = (
        'import sys',
        'from aiida_pyacemaker.cli.generate import cmd_generate',
        "cmd_generate(['run.yaml'], standalone_mode=False)",
        "sys.exit('aiida' in sys.modules)",
    )
    done = subprocess.run([sys.executable, '-c', '\n'.join(lines)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run.extxyz').exists()


def test_section_is_the_declaration():
    """What is left out has the default of the section; what is wrong is named by its key."""
    assert load_oracle({'oracle': 'qe'}).label.max_wallclock_seconds == 43200
    # what a family recommends stays as it is, so that input files and the cache do
    assert str(load_oracle({'ecutwfc': 90, 'ecutrho': 360}).label.model_dump()['ecutwfc']) == '90'
    with pytest.raises(InputError, match=r'^label\.degauss: '):
        load_oracle({'degauss': -1.0})
    with pytest.raises(InputError, match=r'^label\.oracle: '):
        load_oracle({'oracle': 'delphi'})


@dataclass
class Case:
    """A section `label`, the codes that follow from it, and what is lacking."""

    label: dict
    codes: list[str]
    missing: str = ''


@pytest.mark.parametrize(
    'case',
    [
        Case({}, ['pw', 'lammps', 'worker']),
        Case({'oracle': 'teacher'}, ['teacher', 'lammps', 'worker']),
        Case({'oracle': 'tiered'}, ['teacher', 'pw', 'lammps', 'worker']),
        Case({'oracle': 'vasp', 'vasp': {'potential_family': 'any'}}, [], 'codes.vasp: the oracle `vasp` needs it'),
    ],
)
def test_needed_codes(case):
    """Codes follow from the oracles that label; the teacher's is the worker's where none is named."""
    runfile = resolve_runfile({'system': {'elements': ['Al']}, 'label': case.label})
    if case.missing:
        with pytest.raises(RunFileError, match=case.missing):
            runfile.needed_codes()
        return
    needed = runfile.needed_codes()
    assert list(needed) == case.codes
    assert needed.get('teacher', needed['worker']) == needed['worker']


def test_model_files(tmp_path):
    """The files of all teachers that are asked decide the identity of a run."""
    (tmp_path / 'a.pth').write_text('a model')
    asked = {'calculator': 'sevennet', 'model': str(tmp_path / 'a.pth'), 'trust_model': True}
    content = {'system': {'elements': ['Al']}, 'label': {'oracle': 'tiered', 'tiers': {'committee': [asked]}}}
    runfile = resolve_runfile(content)
    assert [path.name for path in runfile.model_files()] == ['a.pth']
    before = runfile.content_hash()
    (tmp_path / 'a.pth').write_text('another model')
    assert runfile.content_hash() != before


def test_tiers_know_their_parts():
    """Each batch has a section of its own; what references are computed with is the expensive oracle."""
    oracle = load_oracle({'oracle': 'tiered', **LABELS['tiered']})
    assert list(oracle.parts) == ['teacher', 'committee_00', 'expensive']
    assert 'tiers' not in oracle.get_reference()
    assert oracle.get_reference()['oracle'] == 'teacher'
    with pytest.raises(InputError, match=r'label\.tiers\.expensive: .*tiered'):
        load_oracle({'oracle': 'tiered', 'tiers': {'expensive': 'tiered'}})
