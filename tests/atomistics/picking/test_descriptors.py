"""SOAP and B-projections of frames."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pyacemaker.atomistics.picking.descriptors import ace_features, soap_features


def rattled(seed: int, width: float = 0.1) -> Atoms:
    atoms = bulk('Al', 'fcc', a=4.1, cubic=True)
    atoms.positions += np.random.default_rng(seed).normal(0, width, atoms.positions.shape)
    return atoms


def turned(atoms: Atoms) -> Atoms:
    """The same crystal, turned, shifted across the border and renumbered."""
    other = atoms[[2, 0, 3, 1]]
    other.positions += [1.0, -7.0, 3.0]
    other.rotate(33, (1, 2, 3), rotate_cell=True)
    other.wrap()
    return other


@pytest.mark.parametrize('average', ('outer', 'inner'))
def test_soap_sees_the_structure_only(average):
    atoms = rattled(1)
    vectors = soap_features([atoms, turned(atoms), atoms.repeat((2, 1, 1)), rattled(2)], average=average)
    np.testing.assert_allclose(vectors[1:3], vectors[[0, 0]], atol=1e-6)
    assert np.linalg.norm(vectors[3] - vectors[0]) > 0.1
    assert np.square(vectors - vectors.mean(axis=0)).sum(axis=1).mean() == pytest.approx(1.0)


def test_soap_of_many_elements_and_molecules():
    salt = bulk('NaCl', 'rocksalt', a=5.6)
    swapped = salt.copy()
    swapped.symbols = 'ClNa'
    salts = soap_features([salt, swapped, molecule('CH3CH2OH'), bulk('MgO', 'zincblende', a=4.5)])
    assert salts.shape[0] == 4 and salts.shape[1] < 2000 and np.all(np.isfinite(salts))
    assert np.linalg.norm(salts[0] - salts[3]) > 0.1
    np.testing.assert_allclose(salts[0], salts[1], atol=1e-8)  # in rock salt the two sites are alike
    swapped.symbols = 'NaNa'
    changed = soap_features([salt, swapped])
    assert np.linalg.norm(changed[0] - changed[1]) > 0.1


def test_soap_of_three_elements_sees_their_order():
    """B2 and B32 of one composition and volume, in a set with a third element."""
    cube = bulk('Fe', 'bcc', a=2.9, cubic=True).repeat(2)
    numbers = np.rint(cube.positions / 1.45).astype(int)
    corner, body = cube.copy(), cube.copy()
    corner.symbols[numbers[:, 0] % 2 == 1] = 'Ni'
    # NaTl: two diamond lattices
    body.symbols[(numbers.sum(axis=1) % 4) // 2 == 1] = 'Ni'
    assert corner.symbols.count('Ni') == body.symbols.count('Ni') == 8
    vectors = soap_features([corner, body, bulk('Cr', 'bcc', a=2.9, cubic=True)])
    # of a compressed SOAP the difference is below 1e-12
    assert np.linalg.norm(vectors[0] - vectors[1]) > 0.01
    assert vectors.shape[1] < 600


def test_soap_of_one_frame():
    assert np.all(np.isfinite(soap_features([rattled(1)])))


def test_ace(alloy):
    atoms = rattled(1)
    mixed = rattled(2)
    mixed.symbols[0] = 'Cu'
    vectors = ace_features([atoms, turned(atoms), mixed], alloy)
    np.testing.assert_allclose(vectors[1], vectors[0], rtol=1e-6, atol=1e-6 * np.abs(vectors[0]).max())
    assert np.linalg.norm(vectors[2] - vectors[0]) > 1e-3
    with pytest.raises(ValueError, match='Ni'):
        ace_features([bulk('Ni')], alloy)
