"""Tests of the calcfunctions that make and arrange configurations."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.calculations.functions.get_structure import get_structure
from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations
from aiida_pyacemaker.data.configurations import ConfigurationsData, copy_frame

pytestmark = pytest.mark.usefixtures('aiida_profile')


def test_get_structure():
    """A structure has the same atoms in the same order, one kind per element, and says what it is."""
    atoms = bulk('NiAl', 'cesiumchloride', a=2.9).repeat((2, 1, 1))
    atoms.set_tags([0, 1, 2, 3])
    atoms.rattle(0.1, seed=1)
    atoms.info['family'] = 'rattled'
    node = ConfigurationsData([Atoms('Al', cell=[10] * 3, pbc=False), atoms])
    structure, function = get_structure.run_get_node(node, orm.Int(1))
    assert function.is_finished_ok
    assert sorted(structure.get_kind_names()) == ['Al', 'Ni']
    found = structure.get_ase()
    assert found.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(found.cell.array, atoms.cell.array, atol=1e-12)
    assert structure.label == 'Al2Ni2 rattled 1'
    assert structure.base.extras.get('index') == 1

    isolated = get_structure(node, orm.Int(0))
    assert isolated.pbc == (False, False, False)
    with pytest.raises(ValueError, match='no configuration 2'):
        get_structure(node, orm.Int(2))


def test_merge_configurations(al_frames):
    """Sets are put together in the order of their names, with labels and info."""
    sets = {'b_new': ConfigurationsData(al_frames[:2]), 'a_former': ConfigurationsData(al_frames[2:4])}
    merged, function = merge_configurations.run_get_node(**sets)
    assert function.is_finished_ok
    energies = [atoms.get_potential_energy() for atoms in merged.get_frames()]
    assert energies == [al_frames[index].get_potential_energy() for index in (2, 3, 0, 1)]
    assert merged.get_structure_ase(0).info == al_frames[2].info


def test_merge_refuses_mixtures(al_frames):
    """Labels of different settings are not merged unless asked for; snapshots without labels are nobody's."""
    frames = [copy_frame(atoms) for atoms in al_frames[:3]]
    frames[0].info['settings'] = {'oracle': 'qe', 'version': '6.7'}
    frames[1].info['settings'] = {'oracle': 'qe', 'version': '7.2'}
    one, other, unknown = (ConfigurationsData([atoms]) for atoms in frames)
    message = r'Quantum ESPRESSO 6\.7 against 7\.2; 1 configuration \(0\) against 1 configuration \(1\)'
    with pytest.raises(ValueError, match=message):
        merge_configurations(a=one, b=other)
    with pytest.raises(ValueError, match=r'labelled by qe against unknown settings.*`label\.mix_settings: true`'):
        merge_configurations(a=one, b=unknown)
    with pytest.raises(ValueError, match=r'6\.7 against 7\.2'):
        merge_configurations(a=one, b=other, mix_settings=orm.Bool(False))
    mixed = merge_configurations(a=one, b=other, c=unknown, mix_settings=orm.Bool(True))
    assert len(mixed.base.attributes.get('settings')) == 3
    snapshots = ConfigurationsData([al_frames[3].copy()])
    assert len(merge_configurations(a=one, b=snapshots)) == 2
