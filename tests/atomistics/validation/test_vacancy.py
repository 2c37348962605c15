"""Vacancies: published values, inequivalent sites, compounds, saddle points."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.vacancy import Vacancy
from aiida_pyacemaker.atomistics.validation.properties.vacancy.compute import analyse, plan, run
from aiida_pyacemaker.atomistics.variants import NotApplicableError

from .shipped import shipped


def test_copper_of_mishin_has_the_published_vacancy():
    # Mishin et al., Phys. Rev. B 63, 224106 (2001): 1.27 eV; a = 3.615 Å
    with Evaluator(shipped('Cu', 'eam/alloy', 'Cu_mishin1.eam.alloy')) as evaluator:
        crystal = evaluator.evaluate([bulk('Cu', 'fcc', 3.615, cubic=True)])[0]
        found = run(crystal, evaluator, Vacancy())
    assert found['status'] == 'ok'
    (site,) = found['sites']
    assert (site['element'], site['n_atoms'], site['multiplicity']) == ('Cu', 107, 4)
    assert site['energy'] == pytest.approx(1.272, abs=0.006)
    assert site['energy'] < site['unrelaxed']


def test_silicon_leaves_the_symmetric_saddle_point():
    # Stillinger-Weber: the atoms around an unrelaxed vacancy feel no force at all, at 4.34 eV
    with Evaluator(shipped('Si', 'sw', 'Si.sw')) as evaluator:
        crystal = evaluator.evaluate([bulk('Si', 'diamond', 5.431)])[0]
        (site,) = run(crystal, evaluator, Vacancy(atoms=64))['sites']
    assert site['unrelaxed'] == pytest.approx(4.337, abs=2e-3)
    assert site['energy'] == pytest.approx(2.835, abs=5e-3)


def test_a_compound_is_its_own_reference():
    crystal = bulk('Cu', 'fcc', 3.75, cubic=True)
    crystal.symbols[0] = 'Au'
    with Evaluator(EMT()) as evaluator:
        crystal = evaluator.relax([crystal], cell=True)[0]
        found = run(crystal, evaluator, Vacancy(atoms=32))
    assert found['formula_unit'] == {'Au': 1, 'Cu': 3}
    sites = {site['element']: site for site in found['sites']}
    assert {element: site['multiplicity'] for element, site in sites.items()} == {'Au': 1, 'Cu': 3}
    # three vacancies of copper and one of gold, and a formula unit more of crystal
    removal = {}
    perfect = crystal.repeat(2)
    perfect.calc = EMT()
    for element, atom in (('Au', 0), ('Cu', 1)):
        defective = perfect.copy()
        del defective[atom]
        defective.calc = EMT()
        BFGS(defective, logfile=None).run(fmax=1e-3)
        removal[element] = defective.get_potential_energy() - perfect.get_potential_energy()
    schottky = removal['Au'] + 3 * removal['Cu'] + perfect.get_potential_energy() / 8
    assert found['schottky'] == pytest.approx(schottky, abs=2e-3)
    assert [site['energy'] for site in found['sites']] == pytest.approx([schottky / 4] * 2, abs=1e-3)


def test_inequivalent_sites_are_told_apart():
    # beta tungsten has two kinds of sites
    x = [[0, 0, 0], [0.5, 0.5, 0.5]]
    chains = [[0.25, 0.5, 0], [0.75, 0.5, 0], [0, 0.25, 0.5], [0, 0.75, 0.5], [0.5, 0, 0.25], [0.5, 0, 0.75]]
    crystal = Atoms('Cu8', scaled_positions=x + chains, cell=[4.55] * 3, pbc=True)
    frames = plan(crystal, Vacancy(atoms=8))
    assert [frame.info.get('multiplicity') for frame in frames] == [None, 6, 2]
    relaxed = [with_energy(frame, energy) for frame, energy in zip(frames, (-8.0, -6.0, -5.5), strict=True)]
    found = analyse(crystal, relaxed, Vacancy(atoms=8))
    assert [site['energy'] for site in found['sites']] == pytest.approx([1.0, 1.5])
    few = Vacancy(atoms=8, max_sites=1)
    assert 'only 1 inequivalent' in analyse(crystal, relaxed[:2], few)['message']


def with_energy(frame: Atoms, energy: float, relaxed: bool = True) -> Atoms:
    """Return a frame as relaxations leave it."""
    frame = set_labels(frame.copy(), energy=energy, forces=np.zeros((len(frame), 3)))
    frame.info |= {'relaxed': relaxed, 'unrelaxed_energy': energy}
    return frame


def test_what_does_not_relax_is_said():
    frames = plan(bulk('Cu'), Vacancy(atoms=8))
    with pytest.raises(ValueError, match='does not relax in 300 steps'):
        analyse(bulk('Cu'), [with_energy(frame, -1.0, relaxed=False) for frame in frames], Vacancy(atoms=8))


def test_molecules_have_no_vacancies_but_layers_do():
    water = molecule('H2O', vacuum=6.0, pbc=True)
    with pytest.raises(NotApplicableError, match='is a molecule'):
        plan(water, Vacancy())
    layer = fcc111('Cu', (1, 1, 3), vacuum=6.0)
    layer.pbc = True
    perfect, *_ = plan(layer, Vacancy(atoms=27))
    assert perfect.cell.lengths()[2] == pytest.approx(layer.cell.lengths()[2])
    assert len(perfect) >= 27
