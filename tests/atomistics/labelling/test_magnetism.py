"""Tests of the magnetic moments that calculations start from."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pyacemaker.atomistics.labelling.magnetism import (
    KIND_WIDTH,
    MAX_KINDS,
    START_MOMENTS,
    get_spin,
    kind_tags,
    kinds,
)


def boxed(name: str) -> Atoms:
    """A molecule in a periodic box."""
    atoms = molecule(name, vacuum=5.0)
    atoms.pbc = True
    return atoms


def test_who_is_polarised():
    """Magnetic elements start ferromagnetic, other solids without spin, and on request nothing has any."""
    alloy = bulk('Fe', cubic=True)
    alloy.symbols[1] = 'Al'
    spin = get_spin(alloy)
    assert spin.moments == {'Fe': START_MOMENTS['Fe'], 'Al': 0.0}
    assert spin.total is None
    assert get_spin(bulk('Al')) is None
    assert get_spin(bulk('Pt')) is None
    assert get_spin(alloy, 'none') is None
    with pytest.raises(ValueError, match=r'label\.spin'):
        get_spin(alloy, 'up')


@pytest.mark.parametrize(
    ('symbol', 'moment'), [('H', 1), ('O', 2), ('N', 3), ('Al', 1), ('Cr', 6), ('Fe', 4), ('Cu', 1)]
)
def test_free_atoms(symbol, moment):
    """Free atoms have the moment of Hund's rule, fixed, in a box of whatever periodicity."""
    for pbc in (False, True):
        spin = get_spin(Atoms(symbol, cell=[12] * 3, pbc=pbc, info={'family': 'isolated_atom'}))
        assert (spin.moments, spin.total) == ({symbol: moment}, moment)
    assert get_spin(Atoms('Ar', cell=[12] * 3)) is None
    assert get_spin(Atoms('Al', cell=[2.5] * 3, pbc=True)) is None  # a crystal


def test_molecules():
    """Molecules that cannot pair their electrons, and oxygen, are polarised; others are not."""
    assert get_spin(boxed('H2O')) is None
    assert get_spin(boxed('O2')).moments == {'O': 2.0}
    assert get_spin(boxed('OH')).moments == {'O': 2.0, 'H': 1.0}


def test_remembered():
    """Remembered moments are started from, with kinds for those that differ; vanished and broken ones are not."""
    atoms = bulk('Fe', cubic=True).repeat((2, 1, 1))
    atoms.set_array('magnetic_moments', np.array([2.3, 2.2, -1.9, 2.25]))
    assert kinds(atoms) == ['Fe1', 'Fe1', 'Fe2', 'Fe1']
    assert kind_tags(atoms) == [1, 1, 2, 1]
    spin = get_spin(atoms)
    assert spin.moments == {'Fe1': 2.25, 'Fe2': -1.9}
    # a structure that knows nothing of kinds
    assert get_spin(atoms, names=['Fe'] * 4).moments == {'Fe': pytest.approx(1.2125, abs=1e-3)}

    for moments in (np.full(4, 1e-3), np.array([2.0, np.nan, 2.0, 2.0])):
        atoms.set_array('magnetic_moments', moments)
        assert kinds(atoms) == ['Fe'] * 4
        assert get_spin(atoms).moments == {'Fe': START_MOMENTS['Fe']}


def test_few_kinds():
    """However many moments there are, pw.x gets no more kinds than it can count, and each is narrow if it can be."""
    atoms = bulk('Fe', cubic=True).repeat((4, 4, 2))
    atoms.symbols[::5] = 'O'
    moments = np.random.default_rng(0).uniform(-6, 6, len(atoms))
    atoms.set_array('magnetic_moments', moments)
    names = np.array(kinds(atoms))
    assert len(set(names)) <= MAX_KINDS
    for name in set(names):
        assert len(set(atoms.symbols[names == name])) == 1
    atoms.set_array('magnetic_moments', np.where(moments > 0, 2.0, -2.0) + 0.02 * moments)
    names = np.array(kinds(atoms))
    assert len(set(names)) == 4
    assert all(np.ptp(atoms.arrays['magnetic_moments'][names == name]) <= KIND_WIDTH for name in set(names))
