"""Variants keep the magnetic moments of what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell

from aiida_pyacemaker.atomistics.checks.duplicates import Duplicates
from aiida_pyacemaker.atomistics.generators.generate import generate, starting_cells
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.variants.defects import Antisite, Interstitial, antisite, interstitial


def manganese_oxide(order: tuple[float, ...] = (5.0, 0.0, -5.0, 0.0)) -> Atoms:
    """MnO, antiferromagnetic of the second kind: planes (111) of Mn up and down in turn."""
    atoms = make_supercell(bulk('MnO', 'rocksalt', a=4.445), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert atoms.get_chemical_symbols() == ['Mn', 'O'] * 2
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, info={'family': 'user', 'phase': 'MnO'})
    atoms.set_array('magnetic_moments', np.array(order))
    return atoms


def test_an_order_is_a_structure_of_its_own():
    """Ferro- and antiferromagnetic starts are both kept; the same order in another cell or turned over is not."""
    afm, fm, bare = manganese_oxide(), manganese_oxide((5.0, 0.0, 5.0, 0.0)), manganese_oxide()
    del bare.arrays['magnetic_moments']
    turned = manganese_oxide((-5.0, 0.0, 5.0, 0.0))
    weaker = manganese_oxide((4.6, 0.1, -4.6, 0.1))
    new = Duplicates().add([afm, fm, afm.repeat((2, 1, 1)), bare, turned, weaker])
    assert new.tolist() == [True, True, False, False, False, False]


def test_variants_of_an_antiferromagnet():
    """All that is made of an antiferromagnet remains one: each manganese has its moment, each oxygen none."""
    small = {'number': 2, 'atoms': 8}
    structures = Structures(
        automatic=False, subsystems=False, rattle=small, eos={'number': 3}, strain={'number': 1}, vacancy=small,
        divacancy=small, interstitial=small, antisite=small, surface={'number': 3}, dimer={'number': 0},
    )  # fmt: skip
    own = manganese_oxide()
    frames = [atoms for atoms in generate(['Mn', 'O'], structures, 0, own=[own]).frames if len(atoms) > 1]
    frames += starting_cells(['Mn', 'O'], structures, 0, 32, 2, own=[own], hop=True)
    made = {atoms.info['operation'] for atoms in frames}
    assert made >= {'rattle', 'eos', 'strain', 'vacancy', 'divacancy', 'interstitial', 'antisite', 'surface', 'hop'}
    for atoms in frames:
        moments = atoms.arrays['magnetic_moments']
        manganese = atoms.numbers == 25
        assert np.abs(moments[manganese]).tolist() == [5.0] * manganese.sum()
        assert not moments[~manganese].any()
        if atoms.info['operation'] in ('rattle', 'eos', 'strain', 'surface', 'start'):
            assert moments.sum() == 0.0


def test_moments_of_foreign_atoms():
    """Atoms that change places take their moments along; one that becomes another has the usual one of its element."""
    iron = bulk('Fe', a=2.87, cubic=True).repeat(2)
    atoms = Atoms(iron.numbers, iron.positions, cell=iron.cell, pbc=True, info={'phase': 'bcc'})
    atoms.symbols[:4] = 'Al'
    atoms.set_array('magnetic_moments', np.where(atoms.numbers == 26, 2.2, -0.1))
    rng = np.random.default_rng(1)
    for kind, change in (('swap', 0), ('substitute', 1)):
        made = antisite(atoms, Antisite(atoms=16, kind=kind), rng, 0, 1)
        assert abs(np.sum(made.numbers == 26) - 12) == change
        assert np.abs(made.arrays['magnetic_moments']) == pytest.approx(np.where(made.numbers == 26, 2.2, 0.1))
    added = interstitial(atoms, Interstitial(atoms=16, element='Fe'), rng, 0, 1)
    assert (len(added), added.arrays['magnetic_moments'][-1]) == (17, pytest.approx(2.2))


def test_the_order_of_the_user_stands():
    """A family does not propose the crystal, of whatever volume, whose order the user knows."""
    structures = Structures(subsystems=False, ionic={'formulas': ['MnO'], 'prototypes': ['rocksalt', 'CsCl']})
    known, unknown = manganese_oxide(), manganese_oxide()
    del unknown.arrays['magnetic_moments']
    for own, expected in ((known, {'CsCl'}), (unknown, {'rocksalt', 'CsCl'})):
        cells = starting_cells(['Mn', 'O'], structures, 0, 1, 20, own=[own])
        phases = {atoms.info['phase'] for atoms in cells if atoms.info['family'] == 'ionic'}
        assert phases - {'random'} == expected
