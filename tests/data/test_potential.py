"""Tests of `AcePotentialData`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError

from aiida_pyacemaker.data.potential import AcePotentialData, find_not_finite

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def directory(al_potential_directory, tmp_path):
    """Return a copy of a potential, to be damaged."""
    return shutil.copytree(al_potential_directory, tmp_path / 'potential')


def test_round_trip(al_potential_directory, al_potential, tmp_path):
    """What is written out are the files that went in, error bars too."""
    node = orm.load_node(al_potential.pk)
    names = node.write(tmp_path / 'new' / 'folder')
    assert names == [*AcePotentialData.FILENAMES, 'posterior.npz'] == node.filenames
    for filename in names:
        assert (tmp_path / 'new' / 'folder' / filename).read_bytes() == (al_potential_directory / filename).read_bytes()


def test_without_error_bars(directory, tmp_path):
    """A potential of another origin need not have them."""
    (directory / 'posterior.npz').unlink()
    node = AcePotentialData.from_directory(directory).store()
    assert node.write(tmp_path / 'written') == list(AcePotentialData.FILENAMES)


def test_attributes(al_potential):
    """The attributes answer queries."""
    assert al_potential.elements == ['Al']
    assert al_potential.cutoff == 5.0
    assert al_potential.generation == 0
    assert al_potential.metadata['elements'] == ['Al']
    filters = {
        'attributes.elements': {'contains': ['Al']},
        'attributes.number_of_functions': {'>=': 1},
        'attributes.fit.train.forces.rmse': {'<': 1.0},
        'attributes.baseline.kind': 'zbl',
    }
    query = orm.QueryBuilder().append(AcePotentialData, filters=filters, project=['attributes.reference_energies'])
    assert query.all() == [[{'Al': pytest.approx(al_potential.metadata['reference_energies']['Al'])}]]


def test_hash(al_potential_directory, al_potential):
    """The same files make the same hash."""
    again = AcePotentialData.from_directory(al_potential_directory).store()
    assert again.base.caching.get_hash() == al_potential.base.caching.get_hash()


def test_in_lammps(al_potential):
    """The input to start from uses the potential and its baseline."""
    script = al_potential.in_lammps()
    assert 'pair_style hybrid/overlay' in script
    assert 'potential.yace' in script
    assert 'zbl' in script


@pytest.mark.parametrize('filename', AcePotentialData.FILENAMES)
def test_incomplete(directory, filename):
    """A directory that lacks a file is refused in a message that names it."""
    (directory / filename).write_text('')
    with pytest.raises(ValueError, match=f'{filename} is missing or empty'):
        AcePotentialData.from_directory(directory)


def test_broken_metadata(directory):
    """Metadata that are no JSON, lack a key, or hold NaN are refused."""
    path = directory / 'metadata.json'
    metadata = json.loads(path.read_text())
    path.write_text('{')
    with pytest.raises(ValueError, match='is not JSON'):
        AcePotentialData.from_directory(directory)
    path.write_text(json.dumps({**metadata, 'baseline': None}))
    with pytest.raises(ValueError, match='has no `baseline`'):
        AcePotentialData.from_directory(directory)
    path.write_text(json.dumps({**metadata, 'fit': {'train': {'energy': {'rmse': float('nan')}}}}))
    with pytest.raises(ValueError, match=r'fit\.train\.energy\.rmse is not a finite number'):
        AcePotentialData.from_directory(directory)


def test_empty():
    """An empty node cannot be stored."""
    with pytest.raises(ValidationError, match=r'the potential lacks metadata\.json'):
        AcePotentialData().store()


def test_find_not_finite():
    """The paths of all NaN are found."""
    value = {'a': [1.0, float('nan')], 'b': {'c': float('inf'), 'd': 'nan'}, 'e': None}
    assert find_not_finite(value) == ['a[1]', 'b.c']


@pytest.mark.parametrize('filename', ['potential.yaml', 'potential.asi', 'metadata.json'])
def test_corrupt_repository(al_potential_directory, tmp_path, filename):
    """A byte that has changed in the repository is found before it is handed out."""
    node = AcePotentialData.from_directory(al_potential_directory).store()
    assert node.find_corrupt() == []
    content = node.read(filename)
    path = get_stored_path(node, filename)
    path.chmod(0o600)
    try:
        path.write_bytes(content[:-20] + b'0' + content[-19:])
        assert node.find_corrupt() == [filename]
        with pytest.raises(ValueError, match=f'{filename} is no longer what was stored: restore the repository'):
            node.write(tmp_path)
        path.unlink()
        assert node.find_corrupt() == [filename]
    finally:
        path.write_bytes(content)


def get_stored_path(node, filename: str) -> Path:
    """Return where the repository keeps a file that has not been packed."""
    key = node.base.repository.get_object(filename).key
    return Path(node.backend.get_repository()._container._get_loose_path_from_hashkey(key))


def test_corrupt_directory(al_potential, tmp_path):
    """What is written out says what it has to be, and is refused when it no longer is."""
    al_potential.write(tmp_path)
    subprocess.run(['sha256sum', '--check', '--quiet', 'SHA256SUMS'], cwd=tmp_path, check=True)
    AcePotentialData.from_directory(tmp_path)
    content = (tmp_path / 'potential.asi').read_bytes()
    (tmp_path / 'potential.asi').write_bytes(content[:-1000])
    with pytest.raises(ValueError, match=r'potential\.asi in .* is not the file that was written there'):
        AcePotentialData.from_directory(tmp_path)
