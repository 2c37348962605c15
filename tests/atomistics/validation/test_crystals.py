"""What a crystal is, its equilibrium, and what can be asked of it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule, nanotube

from aiida_pyacemaker.atomistics.core.frame import labels
from aiida_pyacemaker.atomistics.validation.crystals import (
    check_crystals,
    describe,
    equilibrate,
    unique_names,
)
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.property import load_properties

EMT = {'calculator': 'emt'}


@pytest.mark.parametrize(
    'atoms, name, space_group, dimension',
    [
        (bulk('Al', cubic=True), 'Al fcc', 'Fm-3m (225)', 3),
        (bulk('Fe').repeat((2, 2, 1)), 'Fe bcc', 'Im-3m (229)', 3),
        (bulk('Mg'), 'Mg hcp', 'P6_3/mmc (194)', 3),
        (bulk('Si', cubic=True), 'Si diamond', 'Fd-3m (227)', 3),
        (bulk('NaCl', 'rocksalt', a=5.64, cubic=True), 'NaCl rocksalt', 'Fm-3m (225)', 3),
        (fcc111('Cu', (1, 1, 3), vacuum=6), 'Cu layer', '', 2),
        (nanotube(3, 0, vacuum=6), 'C wire', '', 1),
        (molecule('CO'), 'CO molecule', '', 0),
    ],
)
def test_describe(atoms, name, space_group, dimension):
    found = describe(atoms)
    assert (found['name'], found['space_group'], found['dimension']) == (name, space_group, dimension)
    assert found['n_atoms'] == len(atoms) == len(found['positions'])


def test_equilibrium_of_any_cell():
    """A supercell in any orientation, off its equilibrium, is the same crystal."""
    turned = bulk('Cu', a=3.7, cubic=True).repeat((2, 2, 1))
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    (plainly, one), (small, two) = equilibrate(Evaluator(EMT), [bulk('Cu', a=3.7, cubic=True), turned])
    assert len(small) == 4 and len(plainly) == 4
    assert one['a'] == pytest.approx(two['a'], abs=2e-5) and one['a'] == pytest.approx(3.590, abs=0.001)
    assert one['energy'] == pytest.approx(two['energy'], abs=1e-7)
    assert one['strain'] == pytest.approx(1 - one['a'] / 3.7, abs=1e-4)
    assert one['pressure'] < -5 and '3.0 % off' in one['message']
    assert np.abs(labels(plainly)['stress']).max() < 1e-5
    # it is still turned
    assert abs(small.cell.array[0, 1]) > 0.1


def test_symmetry_is_made_exact():
    """A structure that is off its symmetry by rounding does not stay off."""
    rough = bulk('Cu', cubic=True)
    rough.positions[1] += 0.003
    relaxed, _ = equilibrate(Evaluator(EMT), [rough])[0]
    assert np.abs(labels(relaxed)['forces']).max() < 1e-8


def why_not(name, crystal):
    return load_properties()[name]().why_not(crystal)


def test_layer_and_molecule():
    """A layer relaxes within its plane, however it lies; what depends on the vacuum is not told."""
    slab = fcc111('Cu', (1, 1, 3), vacuum=6)
    slab.rotate(40, (1, 0, 1), rotate_cell=True)
    (layer, plane), (_, single) = equilibrate(Evaluator(EMT), [slab, molecule('CO')])
    assert plane['status'] == 'ok' and plane['volume'] is None and plane['pressure'] is None
    assert plane['a'] == pytest.approx(2.5315, abs=0.001) and plane['a'] == pytest.approx(plane['b'])
    np.testing.assert_allclose(layer.cell.array[:2, 2], 0, atol=1e-6)
    assert single['status'] == 'ok' and single['a'] is None
    assert 'bulk modulus' in why_not('eos', layer)
    assert why_not('phonons', layer) == ''


def test_what_has_no_equilibrium_says_why():
    """Far off, and of another element."""
    (given, far), (_, foreign) = equilibrate(Evaluator(EMT), [bulk('Al', a=7), bulk('Si')])
    assert far['status'] == foreign['status'] == 'failed'
    assert 'volume became' in far['message'] and 'EMT-potential for Si' in foreign['message']
    assert given.cell.lengths()[0] == pytest.approx(7 / np.sqrt(2))


def test_molecule_asked_for_phonons():
    crystal, _ = equilibrate(Evaluator(EMT), [molecule('CO')])[0]
    assert why_not('phonons', crystal).startswith('CO molecule is a molecule')
    assert why_not('elasticity', crystal) and why_not('vacancy', crystal)


def test_wrong_elements():
    with pytest.raises(ValueError, match=r'structure 1 \(Si2\) has Si, but the potential is for Al'):
        check_crystals([bulk('Al'), bulk('Si')], ['Al'])
    with pytest.raises(ValueError, match='no crystal'):
        check_crystals([], None)
    check_crystals([bulk('Si')], None)


def test_names_are_told_apart():
    frames = [Atoms('Al', info={'file': 'a.cif'}), Atoms('Al', info={'file': 'a.cif'}), Atoms('Al')]
    described = [{'name': 'Al fcc'}, {'name': 'Al fcc'}, {'name': 'Al hcp'}]
    assert unique_names(described, frames) == ['Al fcc (a.cif)', 'Al fcc (2)', 'Al hcp']
