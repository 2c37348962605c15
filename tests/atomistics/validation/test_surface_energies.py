"""Surface energies: published values, the formula, which surfaces are cut."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc111, hcp0001
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.crystals.elements import ground_state
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.surfaces import Surfaces
from aiida_pyacemaker.atomistics.validation.properties.surfaces.compute import plan, run
from aiida_pyacemaker.atomistics.validation.properties.vacancy import Vacancy
from aiida_pyacemaker.atomistics.validation.properties.vacancy.compute import plan as plan_vacancies
from aiida_pyacemaker.atomistics.variants import NotApplicableError

from .shipped import shipped


def name(surface: dict) -> str:
    return ''.join(map(str, surface['miller']))


def test_copper_of_mishin_has_the_published_surfaces():
    # Mishin et al., Phys. Rev. B 63, 224106 (2001), relaxed, mJ/m²
    published = {'111': 1239, '100': 1345, '110': 1475}
    crystal = bulk('Cu', 'fcc', 3.615)
    with Evaluator(shipped('Cu', 'eam/alloy', 'Cu_mishin1.eam.alloy')) as evaluator:
        found = run(evaluator.evaluate([crystal])[0], evaluator, Surfaces())
    assert {name(s): 1e3 * s['energy'] for s in found['surfaces']} == pytest.approx(published, rel=2e-3)
    assert all(s['energy'] < s['unrelaxed'] and s['thickness'] > 12 for s in found['surfaces'])


def unrelaxed(slab: Atoms, crystal: Atoms) -> float:
    """Return the energy (J/m²) of a slab of ASE's own making."""
    for atoms in (slab, crystal):
        atoms.calc = EMT()
    excess = slab.get_potential_energy() - len(slab) * crystal.get_potential_energy() / len(crystal)
    area = np.linalg.norm(np.cross(*slab.cell.array[:2]))
    return excess / (2 * area) / units.J * 1e20


def test_slabs_cost_what_those_of_ase_do():
    crystal = bulk('Al', 'fcc', 4.0)
    with Evaluator(EMT()) as evaluator:
        found = run(evaluator.evaluate([crystal])[0], evaluator, Surfaces())
    energies = {name(s): s['unrelaxed'] for s in found['surfaces']}
    for miller, build in (('111', fcc111), ('100', fcc100)):
        assert energies[miller] == pytest.approx(unrelaxed(build('Al', (1, 1, 8), a=4.0, vacuum=8), crystal), abs=1e-6)


def test_neither_the_cell_nor_its_orientation_matters():
    crystal = bulk('Cu', 'fcc', 3.6, cubic=True)
    crystal.rotate(37, (1, 2, 3), rotate_cell=True)
    turned, plain = (plan(atoms, Surfaces()) for atoms in (crystal, bulk('Cu', 'fcc', 3.6)))
    assert [(name(a.info), len(a)) for a in turned] == [(name(a.info), len(a)) for a in plain]
    assert [a.info['area'] for a in turned] == pytest.approx([a.info['area'] for a in plain])


def test_the_basal_plane_of_hexagonal_crystals_comes_first():
    first, *others = plan(bulk('Mg', 'hcp', 3.2, 5.2), Surfaces())
    assert first.info['miller'] == [0, 0, 0, 1]
    assert [slab.info['miller'] for slab in others] == [[1, 0, -1, 0], [1, 0, -1, 1]]


def test_slabs_of_salts_are_neutral_and_without_a_dipole():
    slabs = plan(bulk('NaCl', 'rocksalt', 5.64), Surfaces())
    assert {name(slab.info) for slab in slabs} == {'100', '110'}
    for slab in slabs:
        charges = np.where(slab.symbols == 'Na', 1, -1)
        assert charges.sum() == 0
        assert charges @ slab.positions[:, 2] == pytest.approx(0, abs=1e-6)


def test_layers_have_no_surfaces_of_their_own():
    layer = hcp0001('Mg', (1, 1, 2), a=3.2, vacuum=8)
    layer.pbc = True
    with pytest.raises(NotApplicableError, match='surfaces: Mg2 is a slab'):
        plan(layer, Surfaces())


def test_molecules_are_not_cut_through():
    for plan_of in (plan, lambda crystal, _: plan_vacancies(crystal, Vacancy())):
        with pytest.raises(NotApplicableError, match='made of molecules'):
            plan_of(ground_state('N'), Surfaces())
    # but atoms of a noble gas, and weakly bonded metals, are
    assert len(plan(ground_state('Ar'), Surfaces())) == 3
    assert len(plan(ground_state('Pb'), Surfaces())) == 3


def test_slabs_that_are_too_large_are_left_out():
    with pytest.raises(NotApplicableError, match='at most 3 atoms'):
        plan(bulk('Cu'), Surfaces(max_atoms=3))
