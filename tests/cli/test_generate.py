"""Tests of `aiida-pyacemaker generate`, as a user would call it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.io import read, write
from click.testing import CliRunner

from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.cli import cmd_root

#: Few and small structures.
SMALL = {
    'pristine': {'number': 1}, 'eos': {'number': 2}, 'strain': {'number': 1}, 'shear': {'number': 1},
    'rattle': {'number': 2, 'atoms': 4}, 'squeeze': {'number': 0}, 'vacancy': {'number': 1, 'atoms': 8},
    'test': {'number': 1},
}  # fmt: skip
OFF = {name: {'number': 0} for name in SMALL}


def write_runfile(folder: Path, elements=('Al',), **structures) -> Path:
    path = folder / 'run.yaml'
    content = {'system': {'elements': list(elements)}, 'structures': {**SMALL, **structures}}
    path.write_text(yaml.safe_dump(content), encoding='utf-8')
    return path


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('AIIDA_PYACEMAKER_TRACEBACK', raising=False)
    return lambda *arguments: CliRunner().invoke(cmd_root, ['generate', *map(str, arguments)])


@pytest.fixture
def refused(call, tmp_path):
    """Return a function that runs the command, which must fail in one message and leave the folder as it was."""

    def function(*arguments) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
        start = time.process_time()
        result = call(*arguments)
        assert time.process_time() - start < 20
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.output.count('Error: ') == 1 and 'Traceback' not in result.output
        assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before
        return result.output

    return function


# What is written ------------------------------------------------------------------------------------------------------


def test_table_and_file(call, tmp_path):
    """The table has families, counts and rejections; the spread is there; the file has the name of the run file."""
    result = call(write_runfile(tmp_path))
    assert result.exit_code == 0, result.output
    frames = read(tmp_path / 'run.extxyz', ':')
    assert len(frames) == 10
    header = next(line for line in result.output.splitlines() if line.startswith('family'))
    assert re.split(r'\s{2,}', header) == ['family', 'ideal', 'structures', 'of these', 'refused and replaced']
    row = next(line for line in result.output.splitlines() if line.startswith('alloy'))
    assert re.match(r'alloy +1 +9 +pristine 1, eos 2', row)
    assert re.search(
        r'spread: [\d.]+ to [\d.]+ Å³ per atom .*; \d+ space groups; \d+ coordination shells', result.output
    )
    assert '10 structures are in run.extxyz' in result.output
    assert {path.name for path in tmp_path.iterdir()} == {'run.yaml', 'run.extxyz'}
    volumes = [atoms.get_volume() / len(atoms) for atoms in frames if atoms.pbc.all()]
    said = [float(value) for value in re.search(r'spread: ([\d.]+) to ([\d.]+)', result.output).groups()]
    assert said == pytest.approx([min(volumes), max(volumes)], abs=0.005)
    for atoms in frames:
        assert {'family', 'phase', 'operation', 'parameters', 'reason', 'seed', 'split'} <= set(atoms.info)


def test_seed(call, tmp_path):
    """The same seed gives the same bytes, another one others; --seed goes before that of the run file."""
    path = write_runfile(tmp_path)
    contents = {}
    for name, arguments in {
        'one': ['--seed', 3],
        'two': ['--seed', 3],
        'key': ['seed=3'],
        'other': ['--seed', 4],
    }.items():
        assert call(path, *arguments, '-o', f'{name}.extxyz').exit_code == 0
        contents[name] = (tmp_path / f'{name}.extxyz').read_bytes()
    assert contents['one'] == contents['two'] == contents['key'] != contents['other']
    assert {atoms.info['seed'] for atoms in read(tmp_path / 'one.extxyz', ':')} == {3}
    assert call(path, '--seed', -1).exit_code == 2


def test_overrides(call, tmp_path):
    """Values given after the run file go before it."""
    path = write_runfile(tmp_path)
    assert call(path, 'structures.number=6', 'system.elements=[Cu]', '-o', 'few.extxyz').exit_code == 0
    frames = read(tmp_path / 'few.extxyz', ':')
    assert len(frames) == 6 and {symbol for atoms in frames for symbol in atoms.symbols} == {'Cu'}


def test_npz(call, tmp_path):
    """The other format holds the same structures."""
    path = write_runfile(tmp_path, ['Na', 'Cl'], number=12, ionic={'formulas': ['NaCl'], 'random_crystals': 0})
    assert call(path, '-o', 'a.npz').exit_code == 0 and call(path, '-o', 'a.extxyz').exit_code == 0
    arrays, text = load_configurations(tmp_path / 'a.npz'), read(tmp_path / 'a.extxyz', ':')
    assert len(arrays) == len(text) == 12
    for one, two in zip(arrays, text, strict=True):
        assert np.array_equal(one.numbers, two.numbers) and one.positions == pytest.approx(two.positions, abs=1e-6)
        assert one.info['phase'] == two.info['phase']
        assert ('oxidation_states' in one.arrays) == ('oxidation_states' in two.arrays)


def test_overwrite(call, refused, tmp_path):
    """What is there stays, unless one says otherwise."""
    path = write_runfile(tmp_path)
    target = tmp_path / 'mine.extxyz'
    target.write_text('precious')
    assert 'is there already; give another name with -o, or --overwrite' in refused(path, '-o', 'mine.extxyz')
    assert target.read_text() == 'precious'
    page = tmp_path / 'new.html'
    page.write_text('precious')
    assert 'new.html is there already' in refused(path, '-o', 'new.extxyz', '--plot')
    assert call(path, '-o', 'mine.extxyz', '--overwrite').exit_code == 0
    assert len(read(target, ':')) == 10


def test_plot(call, tmp_path):
    """The page needs nothing from elsewhere, and holds every structure."""
    path = write_runfile(tmp_path, ['Cu', 'Au'], number=14)
    result = call(path, '-o', 'a.extxyz', '--plot')
    assert result.exit_code == 0, result.output
    assert 'Look at them:  a.html' in result.output
    assert {item.name for item in tmp_path.iterdir()} == {'run.yaml', 'a.extxyz', 'a.html'}
    page = (tmp_path / 'a.html').read_text(encoding='utf-8')
    assert page.lstrip().lower().startswith('<!doctype html') and page.count('</html>') == 1
    tags = re.findall(r'<(?:script|link|img|iframe|source|object|embed|video|audio)\b[^>]*>', page)
    assert tags, 'there is a script at least'
    for tag in tags:
        assert not re.search(r'(?:src|href|data)\s*=\s*["\']?(?!data:|#)', tag), tag[:200]
    assert not re.search(r'@import|url\(\s*["\']?https?:', page)
    for phase in {atoms.info['phase'] for atoms in read(tmp_path / 'a.extxyz', ':')} - {'atom'}:
        assert phase in page, phase


def test_files(call, tmp_path):
    """Own structures are named by file, folder or glob, relative to the run file, wherever one is."""
    project = tmp_path / 'project'
    (project / 'more').mkdir(parents=True)
    (tmp_path / 'elsewhere').mkdir()
    constants = {
        'one.cif': 4.0,
        'more/two.xyz': 4.1,
        'more/three.vasp': 4.2,
        'glob_a.extxyz': 4.3,
        'glob_b.extxyz': 4.4,
    }
    for name, a in constants.items():
        atoms = bulk('Al', a=a, cubic=True)
        write(project / name, atoms, format={'.xyz': 'extxyz'}.get(Path(name).suffix))
    path = write_runfile(project, files=['one.cif', 'more', 'glob_*.extxyz'], **OFF, vary=False)
    os.chdir(tmp_path / 'elsewhere')
    result = call(path, 'structures.pristine.number=1')
    assert result.exit_code == 0, result.output
    own = [atoms for atoms in read('run.extxyz', ':') if atoms.info['family'] == 'user']
    assert sorted(round(float(atoms.cell.lengths()[0]), 3) for atoms in own) == sorted(constants.values())
    assert {atoms.info['operation'] for atoms in own} == {'as given'}


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        ('a.cif', 'a.cif: the suffix says the format; known are .extxyz, .xyz, .npz'),
        ('a', 'the suffix says the format'),
        ('no/where/a.extxyz', 'make it first'),
    ],
)
def test_target(refused, tmp_path, target, message):
    """A wrong suffix, a folder that is not there."""
    assert message in refused(write_runfile(tmp_path), '-o', target)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('system: {elements: [Al]\n', 'not valid YAML'),
        ('', 'the file is empty'),
        ('- Al\n', 'not sections such as `system:`'),
        ('system: {elements: [Al]}\nstructures: {ratle: {number: 3}}\n', 'did you mean `structures.rattle`?'),
        ('system: {elements: [Al]}\nstructures: {rattle: {nmber: 3}}\n', 'did you mean `structures.rattle.number`?'),
        ('system: {elements: [Xx]}\n', "'Xx' is not a chemical element"),
    ],
)
def test_bad_yaml(refused, tmp_path, content, message):
    """What is wrong in the file, with the nearest key."""
    path = tmp_path / 'run.yaml'
    path.write_text(content)
    assert message in refused(path)


def test_no_file(refused):
    assert 'there is no such file' in refused('none.yaml')


PT = ['Pt', 'C', 'O']
CO = {'slab': 'Pt', 'molecules': ['CO']}


@pytest.mark.parametrize(
    ('elements', 'structures', 'words'),
    [
        (['Na', 'Cl'], {'ionic': {'formulas': ['Na2Cl']}}, ['structures.ionic.formulas', 'nearest neutral', 'NaCl']),
        (['Na', 'Mg'], {'ionic': {}}, ['structures.ionic: no charge-neutral formula', 'structures.alloy']),
        (
            ['Cu', 'Au'],
            {'alloy': {'compositions': [{'Cu': 0.917, 'Au': 0.083}], 'max_atoms': 20}},
            ['structures.alloy.compositions', 'nearest possible', 'max_atoms'],
        ),
        (['Cu'], {'alloy': {'lattices': ['fccc']}}, ['structures.alloy.lattices', 'fcc']),
        (['Cu', 'Au'], {'alloy': {'compositions': [{'Cu': 0.5, 'Ni': 0.5}]}}, ["'Ni' is not in system.elements"]),
        (
            ['Al', 'Si'],
            {'interface': {'film': 'Al', 'substrate': 'Si', 'max_strain': 1e-6}},
            ['structures.interface', 'nearest match', 'raise max_strain'],
        ),
        (['Mg', 'O', 'Al'], {'interface': {}}, ['structures.interface', 'name film and substrate']),
        (['Al'], {'interface': {}}, ['structures.interface', 'two materials']),
        (['C', 'H', 'O'], {'molecular': {'molecules': ['ethanoll']}}, ['structures.molecular.molecules', 'ethanol']),
        (PT, {'adsorption': {**CO, 'molecules': ['COO2']}}, ['structures.adsorption.molecules', 'CO2']),
        (PT, {'adsorption': {**CO, 'miller': [[0, 0, 0]]}}, ['structures.adsorption.miller', '[0, 0, 1]']),
        (['Pt'], {'adsorption': CO}, ['structures.adsorption.molecules', 'add C, O to system.elements']),
        (['Fe'], {'knowledge': {'formulas': ['Fe3Pt']}}, ['structures.knowledge.formulas', 'system.elements (Fe)']),
        (
            ['Na', 'Cl'],
            {'ionic': {'formulas': ['NaCl'], 'prototypes': ['rocksalt2']}},
            ['structures.ionic.prototypes', 'nearest are rocksalt'],
        ),
        (['C'], {'covalent': {'structures': ['diamnd']}}, ['did you mean `diamond`?']),
        (['Al'], {'checks': {'overlap': 1.19}}, ['ratio of 1.183', 'structures.checks.overlap']),
        (['Al'], {'vacancy': {'number': 4, 'atoms': 8, 'count': [50]}}, ['structures.vacancy', 'give 4 at most']),
        (['Al'], {'rattle': {'number': 9, 'amplitude': [3.0]}}, ['structures.rattle.amplitude', 'at most 1']),
        (['Al'], {'rattle': {'number': 9, 'amplitude': [1.0]}}, ['refused for overlap', 'lower the amplitudes']),
        (['Cu', 'Au', 'Ni', 'Pt'], {'number': 3}, ['structures.number', 'give at least 5']),
        (['Al'], {'supercell': {'mode': 'wide', 'max_atoms': 20}}, ['supercell.max_atoms', 'needs 192 atoms']),
        (['Al'], {'selection': {'method': 'random'}}, ['give structures.number']),
        (
            ['Al'],
            {'number': 9, 'selection': {'method': 'farthest_point', 'descriptor': 'ace'}},
            ['structures.selection.descriptor', 'soap'],
        ),
        (['Fe', 'Pt'], {'knowledge': {'formulas': []}}, ['structures.knowledge.formulas', 'at least 1 needed']),
        (PT, {'adsorption': {**CO, 'molecules': []}}, ['structures.adsorption.molecules', 'list is empty']),
        (['Al'], {'rattle': {'number': -3}}, ['structures.rattle.number: -3', 'at least 0']),
        (['Al'], {'rattle': {'number': 'many'}}, ['structures.rattle.number', 'whole number']),
        (['Al'], {'number': '20'}, ['structures.number', 'whole number']),
        (['Al'], {'files': ['none.cif']}, ['structures.files', 'there is no file']),
        (['Al'], {'files': ['no*.cif']}, ['structures.files', 'matches no file']),
    ],
)  # fmt: skip
def test_impossible(refused, tmp_path, elements, structures, words):
    """One message with the key and what would be possible; nothing is written; it ends soon."""
    message = refused(write_runfile(tmp_path, elements, **structures))
    for word in words:
        assert word in message, message


def test_partial_occupancy(refused, tmp_path):
    """A file with mixed sites is no structure."""
    content = ['data_x', *(f'_cell_length_{axis} 3.8' for axis in 'abc')]
    content += [f'_cell_angle_{angle} 90' for angle in ('alpha', 'beta', 'gamma')]
    content += ["_symmetry_space_group_name_H-M 'F m -3 m'", '_symmetry_Int_Tables_number 225', 'loop_']
    content += [f'_atom_site_{name}' for name in ('label', 'type_symbol', 'fract_x', 'fract_y', 'fract_z', 'occupancy')]
    content += ['Cu1 Cu 0 0 0 0.5', 'Au1 Au 0 0 0 0.5', '']
    (tmp_path / 'mixed.cif').write_text('\n'.join(content))
    message = refused(write_runfile(tmp_path, ['Cu', 'Au'], files=['mixed.cif']))
    assert 'structures.files' in message and 'partial occupancy' in message and 'lattice_files' in message


# In a process of its own ----------------------------------------------------------------------------------------------


def command(*arguments) -> list[str]:
    # SIGINT is ignored in children of jobs in the background
    handler = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)'
    code = f'{handler}; from aiida_pyacemaker.cli import cmd_root; cmd_root()'
    return [sys.executable, '-c', code, 'generate', *map(str, arguments)]


def test_without_profile(tmp_path):
    """Nobody needs a profile, and none is made: neither where AIIDA_PATH says nor in the home."""
    home = tmp_path / 'home'
    (tmp_path / 'aiida').mkdir()
    home.mkdir()
    environment = {**os.environ, 'AIIDA_PATH': str(tmp_path / 'aiida'), 'HOME': str(home)}
    path = write_runfile(tmp_path)
    done = subprocess.run(
        command(path, '-o', tmp_path / 'a.extxyz'), cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / 'a.extxyz', ':')) == 10
    left = [*home.rglob('*'), *(tmp_path / 'aiida').rglob('*')]
    assert not [item for item in left if 'aiida' in item.name or item.name in ('config.json', 'access')], left


def test_interrupted(tmp_path):
    """Ctrl-C leaves nothing behind and prints no traceback."""
    path = write_runfile(tmp_path, ['Cu', 'Au', 'Ni'], number=300_000)
    process = subprocess.Popen(
        command(path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    # the label of the progress bar is printed when it begins
    assert 'structures' in process.stderr.readline()
    time.sleep(1.0)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert 'Aborted!' in error and 'Traceback' not in error + output
    assert {item.name for item in tmp_path.iterdir()} == {'run.yaml'}
