"""Tests of `ConfigurationsData`."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_pyacemaker.atomistics.labelling.settings import fingerprint
from aiida_pyacemaker.data.configurations import ConfigurationsData

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def frames():
    """Return a labelled crystal, a partly labelled one and an unlabelled atom."""
    crystal = bulk('Al', 'fcc', a=4.05, cubic=True)
    crystal.rattle(0.05, seed=1)
    forces = np.arange(12.0).reshape(4, 3) / 7
    crystal.calc = SinglePointCalculator(crystal, energy=-12.5, forces=forces, stress=np.arange(6) * 1e-3)
    crystal.info.update({'family': 'rattled', 'split': 'train', 'calculation': 'some-uuid', 'seed': 3})
    crystal.set_array('gamma', np.array([0.5, 1.0, 1.5, 2.0]))

    alloy = bulk('NiAl', 'cesiumchloride', a=2.9)
    alloy.calc = SinglePointCalculator(alloy, energy=-8.0, forces=np.zeros((2, 3)))
    alloy.info['family'] = 'eos'

    atom = Atoms('Al', cell=[10] * 3, pbc=False)
    return [crystal, alloy, atom]


def test_round_trip(frames):
    """What is put in comes out, labels, arrays and info included, also from the stored node."""
    node = orm.load_node(ConfigurationsData(frames).store().pk)
    assert len(node) == 3
    for given, found in zip(frames, node.get_frames(), strict=True):
        assert given == found
        assert given.info == found.info
        assert (given.calc is None) == (found.calc is None)
    crystal = node.get_structure_ase(0)
    assert crystal.get_potential_energy() == -12.5
    np.testing.assert_array_equal(crystal.get_forces(), frames[0].get_forces())
    np.testing.assert_array_equal(crystal.get_stress(), frames[0].get_stress())
    np.testing.assert_array_equal(crystal.get_array('gamma'), frames[0].get_array('gamma'))
    assert not node.get_structure_ase(-1).pbc.any()
    with pytest.raises(ValueError, match='no configuration 3'):
        node.get_structure_ase(3)


def test_attributes(frames):
    """The attributes answer queries."""
    node = ConfigurationsData(frames).store()
    assert node.base.attributes.get('number_of_atoms') == 7
    assert node.elements == ['Al', 'Ni']
    assert node.base.attributes.get('formulas') == ['Al4', 'AlNi', 'Al']
    assert node.labels == {'energy': 2, 'forces': 2, 'stress': 1}
    assert node.families == {'eos': 1, 'rattled': 1, 'unknown': 1}
    assert node.base.attributes.get('energy_range') == [-4.0, -3.125]

    query = orm.QueryBuilder().append(
        ConfigurationsData, filters={'attributes.elements': {'contains': ['Ni']}, 'attributes.labels.stress': {'>': 0}}
    )
    assert [found.pk for (found,) in query.all()] == [node.pk]


def test_settings(frames):
    """Who labelled, with what, and how many labels carry a remark is asked of the database; candidates have none."""
    settings = {'oracle': 'qe', 'ecutwfc': 40.0, 'pseudos': {'Al': 'a'}}
    frames[0].info['settings'] = settings
    frames[1].info['settings'] = {**settings, 'pseudos': {'Al': 'a', 'Ni': 'n'}}
    frames[1].info['flags'] = ['smearing raised to 0.04 Ry']
    frames[2].info['settings'] = {'oracle': 'teacher'}
    attributes = ConfigurationsData(frames).base.attributes
    assert attributes.get('oracles') == ['qe']
    assert attributes.get('settings') == [fingerprint(frames[1].info['settings'])]
    assert attributes.get('number_flagged') == 1
    frames[1].info.pop('settings')
    attributes = ConfigurationsData(frames).base.attributes
    assert attributes.get('oracles') == ['qe', 'unknown settings']
    assert attributes.get('settings') == [fingerprint(settings), 'unknown']
    attributes = ConfigurationsData(frames[2:]).base.attributes
    assert (attributes.get('oracles'), attributes.get('settings'), attributes.get('number_flagged')) == ([], [], 0)


def test_unlabelled(frames):
    """Candidates carry no labels."""
    node = ConfigurationsData(frames[2:]).store()
    assert node.labels == {'energy': 0, 'forces': 0, 'stress': 0}
    assert node.base.attributes.get('energy_range') is None


def test_frames_are_copies(frames):
    """Nobody can change a node, nor what the next one reads from it."""
    node = ConfigurationsData(frames).store()
    mutable = node.get_frames()
    mutable[0].positions += 1
    mutable[0].info['family'] = 'changed'
    mutable[1].calc.results['forces'] += 1
    assert node.get_frames()[0] == frames[0]
    assert node.get_frames()[0].info['family'] == 'rattled'
    assert not node.get_frames()[1].get_forces().any()
    with pytest.raises(ModificationNotAllowed):
        node.set_frames(frames)
    assert len(node) == 3


def test_hash(frames):
    """Equal configurations have equal hashes, so that caching works; another digit makes another hash."""
    first = ConfigurationsData(frames).store()
    second = ConfigurationsData(orm.load_node(first.pk).get_frames()).store()
    frames[0].positions[0, 0] += 1e-12
    frames[0].calc.atoms.positions[0, 0] += 1e-12
    third = ConfigurationsData(frames).store()
    assert first.base.caching.get_hash() == second.base.caching.get_hash()
    assert first.base.caching.get_hash() != third.base.caching.get_hash()


def test_empty():
    """A node without configurations is refused."""
    with pytest.raises(ValueError, match='There are no configurations'):
        ConfigurationsData([])
    with pytest.raises(ValidationError, match='holds no configurations'):
        ConfigurationsData().store()
    with pytest.raises(ValueError, match='Configuration 1 has no atoms'):
        ConfigurationsData([Atoms('Al'), Atoms()])


@pytest.mark.parametrize('what', ('positions', 'energy', 'forces', 'stress'))
def test_not_finite(frames, what):
    """NaN is refused in a message that names the configuration and what is wrong."""
    if what == 'positions':
        frames[0].positions[1, 2] = np.nan
        frames[0].calc = None
    elif what == 'energy':
        frames[0].calc.results['energy'] = np.nan
    else:
        frames[0].calc.results[what][1] = np.nan
    with pytest.raises(ValueError, match=rf'Configuration 0 \(Al4\): the {what} hold NaN'):
        ConfigurationsData(frames)


def test_from_file(frames, tmp_path):
    """The node can be made of any file that ASE reads; an empty or unreadable one is refused."""
    from ase.io import write

    write(tmp_path / 'frames.extxyz', frames)
    node = ConfigurationsData.from_file(tmp_path / 'frames.extxyz')
    assert len(node) == 3
    assert node.labels['energy'] == 2

    (tmp_path / 'empty.xyz').write_text('')
    with pytest.raises(ValueError, match=r'empty\.xyz'):
        ConfigurationsData.from_file(tmp_path / 'empty.xyz')


def test_export_extxyz(frames):
    """The extended xyz that is exported holds everything."""
    from ase.io import read

    frames[1].info['parent'] = None
    node = ConfigurationsData(frames)
    content, extra = node._exportcontent('extxyz')
    assert extra == {}
    found = read(io.StringIO(content.decode()), index=':', format='extxyz')
    assert len(found) == 3
    np.testing.assert_allclose(found[0].get_forces(), frames[0].get_forces(), atol=1e-8)
    assert found[0].info['family'] == 'rattled'
    assert found[0].has('gamma')


def test_export_db(frames, tmp_path):
    """The ASE database that is exported holds everything and can be queried by family."""
    from ase.db import connect

    node = ConfigurationsData(frames)
    node.export(str(tmp_path / 'frames.db'), fileformat='db')
    with connect(tmp_path / 'frames.db') as database:
        assert database.count() == 3
        row = database.get(family='rattled')
    assert row.energy == -12.5
    assert row.data['calculation'] == 'some-uuid'
    np.testing.assert_array_equal(row.data['gamma'], frames[0].get_array('gamma'))
