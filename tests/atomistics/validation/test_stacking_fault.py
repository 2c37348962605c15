"""Stacking faults: published values, the geometry of the fault, where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.stacking_fault import StackingFault
from aiida_pyacemaker.atomistics.validation.properties.stacking_fault.compute import plan, run
from aiida_pyacemaker.atomistics.variants import NotApplicableError

from .shipped import shipped


def test_copper_of_mishin_has_the_published_faults():
    # Mishin et al., Phys. Rev. B 63, 224106 (2001): 44.4 mJ/m²; unstable by an independent run of LAMMPS: 162 mJ/m²
    with Evaluator(shipped('Cu', 'eam/alloy', 'Cu_mishin1.eam.alloy')) as evaluator:
        crystal = evaluator.evaluate([bulk('Cu', 'fcc', 3.615)])[0]
        found = run(crystal, evaluator, StackingFault(layers=8))
    assert (found['kind'], found['plane'], found['n_atoms']) == ('fcc intrinsic', '(111)', 8)
    assert found['intrinsic'] == pytest.approx(44.4, rel=5e-3)
    assert found['unstable'] == pytest.approx(162, rel=5e-3)


@pytest.mark.parametrize('crystal', [bulk('Cu', 'fcc', 3.6), bulk('Mg', 'hcp', 3.2, 5.2254)])
def test_both_ends_of_the_way_are_close_packed(crystal):
    start, *_, end = plan(crystal, StackingFault())
    for frame in (start, end):
        neighbours = np.bincount(neighbor_list('i', frame, 1.1 * 3.2 if 'Mg' in frame.symbols else 1.1 * 2.546))
        assert sorted(neighbours)[:2] == [9, 9]
        assert (np.sort(neighbours)[2:] == 12).all()
    # a fault it is: of two atoms below and above the slip plane, two planes apart, the one comes to lie above the other
    # in fcc (ABC becomes ABA), and leaves it in hcp
    half = len(start) // 2
    aside = [frame.get_distance(half - 2, half, mic=True, vector=True)[:2] for frame in (start, end)]
    above = [bool(np.linalg.norm(vector) < 0.1) for vector in aside]
    assert above == ([False, True] if 'Cu' in start.symbols else [True, False])


def test_the_fault_costs_what_hcp_layers_do():
    # an intrinsic fault is two planes with the neighbours that they have in hcp: of the order of 2 (E_hcp - E_fcc) / A
    with Evaluator(EMT()) as evaluator:
        crystal = evaluator.relax([bulk('Cu', 'fcc', 3.6)], cell=True)[0]
        hcp = evaluator.relax([bulk('Cu', 'hcp', 2.54, 4.15)], cell=True)[0]
        found = run(crystal, evaluator, StackingFault(layers=8))
    difference = hcp.get_potential_energy() / 2 - crystal.get_potential_energy()
    area = np.sqrt(3) / 2 * crystal.cell.lengths()[0] ** 2
    assert found['intrinsic'] == pytest.approx(2 * difference / area * 16021.77, rel=0.1)
    assert len(found['path']['slips']) == len(found['path']['energies'])


@pytest.mark.parametrize('crystal', [bulk('Fe'), bulk('Si'), bulk('NaCl', 'rocksalt', 5.64)])
def test_only_close_packed_elements_have_faults(crystal):
    with pytest.raises(NotApplicableError, match='neither fcc nor hcp'):
        plan(crystal, StackingFault())
