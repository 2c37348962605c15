"""Tests of the run file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aiida_pyacemaker.runfile import (
    RunFileError,
    iterate_fields,
    load_protocols,
    load_runfile,
    protocol_defaults,
    resolve_runfile,
)
from aiida_pyacemaker.runfile.errors import nearest_element

REPOSITORY = Path(__file__).resolve().parents[2]
ALUMINIUM = {'system': {'elements': ['Al']}}


def problems(content=None, overrides=()) -> list[tuple[str, str]]:
    """Return the problems of a run file that must have some."""
    with pytest.raises(RunFileError) as caught:
        resolve_runfile({**ALUMINIUM, **(content or {})}, list(overrides))
    return caught.value.problems


# What works -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('protocol', list(load_protocols()['protocols']))
def test_protocols_are_complete(protocol):
    """Elements are all that a user has to give; every key of the model has its default, and no key is left over."""
    runfile = resolve_runfile({**ALUMINIUM, 'protocol': protocol})
    assert runfile.protocol == protocol
    defaults = protocol_defaults(protocol)
    content = runfile.to_dict()
    assert set(content) == {*defaults, 'system'}
    assert content['validate']['energy_rmse'] == defaults['validate']['energy_rmse']


def test_default_protocol():
    """Without a protocol the default one is taken, and named in the result."""
    assert resolve_runfile(ALUMINIUM).protocol == load_protocols()['default_protocol']


def test_every_key_is_described():
    """The reference documentation is made of the descriptions."""
    assert all(field.description for _, field in iterate_fields())


def test_example():
    """The example says little and is complete."""
    path = REPOSITORY / 'examples' / 'aluminium.yaml'
    written = yaml.safe_load(path.read_text())
    label = {'ecutwfc': 16.0, 'ecutrho': 64.0, 'kpoints_distance': 0.42, 'degauss': 0.05}
    others = {'explore': {'atoms': 16}, 'validate': {'reference_core_hours': 0.03}}
    assert written == {'system': {'elements': ['Al']}, 'protocol': 'fast', 'label': label, **others}
    assert load_runfile(path).train.number_of_functions == protocol_defaults('fast')['train']['number_of_functions']


def test_order_of_merging(tmp_path):
    """The user's file wins over the protocol, the command line over both; lists are replaced as a whole."""
    path = tmp_path / 'run.yaml'
    path.write_text('system: {elements: [Al]}\nprotocol: fast\nexplore: {temperature: [50, 60], steps: 2000}\n')
    runfile = load_runfile(path, ['explore.steps=3000', 'explore.temperature=[300,900]'])
    assert runfile.explore.steps == 3000
    assert runfile.explore.temperature == [300, 900]
    assert runfile.explore.walkers == protocol_defaults('fast')['explore']['walkers']
    stringent = load_runfile(path, ['protocol=stringent'])
    assert stringent.train.cutoff == protocol_defaults('stringent')['train']['cutoff'] != runfile.train.cutoff


def test_overrides_as_in_hydra():
    """Numbers with exponents, items of lists, null, and the equals sign in a value."""
    runfile = resolve_runfile(
        ALUMINIUM,
        ['train.ridge=1e-8', 'explore.steps=1e4', 'explore.temperature.1=700', 'label.pseudo_family=a=b', 'seed=7'],
    )
    assert runfile.train.ridge == 1e-8
    assert runfile.explore.steps == 10000
    assert runfile.explore.temperature == [protocol_defaults()['explore']['temperature'][0], 700]
    assert runfile.label.pseudo_family == 'a=b'
    assert resolve_runfile(ALUMINIUM, ['structures.alloy.lattices=null']).structures.alloy.lattices is None


def test_conveniences(tmp_path):
    """A single temperature stays; an empty section keeps its defaults; exponents without a point are numbers."""
    path = tmp_path / 'run.yaml'
    path.write_text('system: {elements: [Al]}\nexplore: {temperature: 300}\ntrain:\nlabel: {degauss: 2e-2}\n')
    runfile = load_runfile(path)
    assert runfile.explore.temperature == [300, 300]
    assert runfile.train == resolve_runfile(ALUMINIUM).train
    assert runfile.label.degauss == 0.02


def test_sections_that_may_be_null(tmp_path):
    """Null does away with a section that may be left out, in the file and on the command line, and comes back."""
    path = tmp_path / 'run.yaml'
    path.write_text('system: {elements: [Cu, Au]}\ntrain: {production: null}\n')
    runfile = load_runfile(path, ['explore.swap=null'])
    assert runfile.train.production is None
    assert runfile.explore.swap is None
    assert resolve_runfile({'system': {'elements': ['Cu', 'Au']}}).train.production is not None
    path.write_text(runfile.to_yaml())
    assert load_runfile(path) == runfile


def test_round_trip(tmp_path):
    """The complete run file, written out, is the same run file."""
    runfile = resolve_runfile({**ALUMINIUM, 'options': {'pw': {'resources': {'num_machines': 2}, 'account': 'me'}}})
    path = tmp_path / 'complete.yaml'
    path.write_text(runfile.to_yaml())
    again = load_runfile(path)
    assert again == runfile
    assert again.content_hash() == runfile.content_hash()
    assert again.to_dict()['options']['pw'] == {'resources': {'num_machines': 2}, 'account': 'me'}
    assert again.to_dict()['options']['lammps'] == {}


def test_structure_files(tmp_path):
    """Files are found beside the run file, and their content is a part of its identity."""
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / 'own.extxyz', [bulk('Al'), bulk('Al', cubic=True)])
    path = tmp_path / 'run.yaml'
    path.write_text('system: {elements: [Al]}\nstructures: {files: [own.extxyz]}\n')
    runfile = load_runfile(path)
    assert runfile.structures.files == [str(tmp_path / 'own.extxyz')]
    assert [len(atoms) for atoms in runfile.read_structures()] == [1, 4]
    before = runfile.content_hash()
    assert before == load_runfile(path).content_hash() != resolve_runfile(ALUMINIUM).content_hash()
    write(tmp_path / 'own.extxyz', [bulk('Al', a=4.1)])
    assert load_runfile(path).content_hash() != before


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('override', 'location', 'message'),
    [
        ('explore.temprature=300', 'explore.temprature', 'did you mean `explore.temperature`?'),
        ('temperature=300', 'temperature', 'did you mean `explore.temperature`?'),
        ('structures.rattle.atom=8', 'structures.rattle.atom', 'did you mean `structures.rattle.atoms`?'),
        ('options.pw.acount=me', 'options.pw.acount', 'did you mean `options.pw.account`?'),
        ('xyzzy=1', 'xyzzy', 'known are protocol, seed, system'),
        ('explore.temperature=[300,-900]', 'explore.temperature.1', 'must be above 0'),
        ('explore.temperature=[300]', 'explore.temperature', 'at least 2 needed'),
        ('explore.temperature=hot', 'explore.temperature', 'must be a list'),
        ('explore.timestep=0', 'explore.timestep', 'must be above 0 (Time step, in fs)'),
        ('explore.timestep=.nan', 'explore.timestep', 'must be a finite number'),
        ('explore.steps=1.5', 'explore.steps', 'must be a whole number'),
        ('explore.steps=null', 'explore.steps', 'must be a whole number'),
        ('explore.steps=1005', 'explore.steps', '1005 is not a multiple of gamma_every'),
        ('explore.ensemble=npq', 'explore.ensemble', 'did you mean `npt`?'),
        ('explore.gamma_select=7', 'explore.gamma_select', 'lower gamma_select'),
        ('explore=5', 'explore', '5 is not a section; known keys of it are explorer'),
        ('seed=true', 'seed', 'must be a whole number'),
        ('train.cutoff=yes', 'train.cutoff', 'must be a number'),
        ('train.mode=quadratic', 'train.mode', 'is not one of linear, nonlinear'),
        ('label.ecutwfc=-3', 'label.ecutwfc', 'must be above 0'),
        ('label.ecutwfc=30', 'label', 'give both, or null for both'),
        ('label.max_failed_fraction=20', 'label.max_failed_fraction', 'must be at most 1'),
        ('structures.alloy.lattices=[]', 'structures.alloy.lattices', 'at least 1 needed'),
        ('structures.supercell.mode=wid', 'structures.supercell.mode', 'did you mean `wide`?'),
        ('structures.rattle.amplitude=[]', 'structures.rattle.amplitude', 'at least 1 needed'),
        ('structures.files=[none.cif]', 'structures.files', 'paths are relative to the run file'),
        ('codes.pw=5', 'codes.pw', 'must be text'),
        ('embed.select_per_halt=50', 'embed.select_per_halt', 'raise candidates_per_halt'),
        ('validate.energy_rmse=0', 'validate.energy_rmse', 'must be above 0'),
        ('budget.max_labels=0', 'budget.max_labels', 'must be at least 1'),
        ('protocol=fst', 'protocol', 'did you mean `fast`?'),
        ('protocol=[fast]', 'protocol', 'is not a protocol'),
        ('explore.steps', 'explore.steps', 'write key=value'),
        ('=5', '=5', 'write key=value'),
        ('explore..steps=5', 'explore..steps=5', 'write key=value'),
        ('system.elements.9=Cu', 'system.elements.9', 'cannot be applied'),
        ('explore.steps=[', 'explore.steps', 'cannot be applied'),
    ],
)
def test_bad_values(override, location, message):
    """Each problem has its dotted location, what is wrong, and what helps."""
    found = problems(overrides=[override])
    assert found[0][0] == location
    assert message in found[0][1]


@pytest.mark.parametrize(
    ('elements', 'message'),
    [
        (['AL'], 'did you mean Al?'),
        (['Aluminium'], 'did you mean Al?'),
        (['Alu'], 'did you mean Al?'),
        (['Al', 'Xx'], "'Xx' is not a chemical element"),
        (['X'], "'X' is not a chemical element"),
        ([13], '13 is not a chemical element'),
        ([False], "write nobelium in quotes, 'No'"),
        (['Al', 'Al'], 'list each element once'),
        ([], 'for example [Al]'),
        ('Al', 'for example [Al]'),
        (None, 'for example [Al]'),
    ],
)
def test_bad_elements(elements, message):
    """Elements are checked against the periodic table."""
    ((location, text),) = problems({'system': {'elements': elements}})
    assert location == 'system.elements'
    assert message in text


def test_nearest_element():
    """Names, other languages' endings and slips."""
    words = ('copper', 'IRON', 'sulphur', 'aluminum', 'silicium', 'qqqqqq')
    assert [nearest_element(word) for word in words] == ['Cu', 'Fe', 'S', 'Al', 'Si', None]


def test_all_problems_at_once():
    """One message lists everything that is wrong."""
    with pytest.raises(RunFileError) as caught:
        resolve_runfile({'system': {'elements': ['Aluminium']}, 'train': {'cutof': 6}, 'explore': {'steps': -1}})
    lines = str(caught.value).splitlines()
    assert lines[0] == 'the run file `run file` cannot be used:'
    assert [line.split(':')[0].strip() for line in lines[1:]] == ['system.elements', 'train.cutof', 'explore.steps']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the file is empty'),
        ('- Al\n', 'it holds a list, not sections'),
        ('system: {elements: [Al]\n', 'line 2, column 1: not valid YAML'),
        ('seed: 1\nseed: 2\n', "line 2, column 1: not valid YAML: the key 'seed' comes twice"),
        ('on: 1\n', "the key 'on' is not text"),
        ('system: !!python/object/apply:os.system ["true"]\n', 'could not determine a constructor'),
        ('seed: 1\n', 'system.elements: missing; for example [Al]'),
        ('system:\n', 'system.elements: missing; for example [Al]'),
        ('system: {elements: ["${oc.env:HOME}"]}\n', 'system.elements.0: interpolations'),
    ],
)
def test_bad_files(tmp_path, text, message):
    """Whatever a file holds, there is one message about it."""
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    with pytest.raises(RunFileError) as caught:
        load_runfile(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_unreadable_files(tmp_path):
    """A missing file, a folder and a binary file are told apart."""
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\x00')
    for name, message in (('none.yaml', 'there is no such file'), ('', 'it is a folder'), ('binary', 'as text')):
        with pytest.raises(RunFileError, match=message):
            load_runfile(tmp_path / name)


def test_interpolation_is_not_resolved(monkeypatch):
    """Nothing of the environment gets into a run file."""
    monkeypatch.setenv('SECRET', 'fcc')
    for override in ('structures.files=["${oc.env:SECRET}"]', 'codes.pw=${oc.env:SECRET}'):
        ((_, message),) = problems(overrides=[override])
        assert message == 'interpolations (${...}) are not supported; write the value itself'
