"""Pairs pushed together and crystals compressed: holes that are put in are found, and there is no false alarm."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.properties.pairs import Pairs
from aiida_pyacemaker.atomistics.validation.properties.pairs.compute import (
    analyse,
    analyse_dimers,
    find_hole,
    interpolate,
    plan,
    plan_dimers,
)

from .shipped import shipped


class WithHole(Calculator):
    """EMT and a Gaussian well in the distance of every pair."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress']

    def __init__(self, depth: float, distance: float, width: float = 0.06):
        super().__init__()
        self.well = depth, distance, width

    def calculate(self, atoms=None, properties=(), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        work, (depth, distance, width) = atoms.copy(), self.well
        work.calc = EMT()
        first, vectors, distances = neighbor_list('iDd', atoms, distance + 6 * width)
        wells = -0.5 * depth * np.exp(-0.5 * ((distances - distance) / width) ** 2)
        pulls = (-wells * (distances - distance) / width**2 / distances)[:, None] * vectors
        forces, stress = work.get_forces(), np.zeros(6)
        np.add.at(forces, first, 2 * pulls)
        if atoms.pbc.all():
            virial = np.einsum('ni,nj->ij', pulls, vectors) / atoms.get_volume()
            stress = work.get_stress() + virial.ravel()[[0, 4, 8, 5, 2, 1]]
        energy = work.get_potential_energy() + wells.sum()
        self.results = {'energy': energy, 'free_energy': energy, 'forces': forces, 'stress': stress}


def look(calculator, crystal: Atoms) -> tuple[dict, dict]:
    """Return what is found in a crystal, and of its dimers."""
    with Evaluator(calculator) as evaluator:
        labelled = evaluator.evaluate(plan(crystal, Pairs()))
        dimers = evaluator.evaluate(plan_dimers([crystal], sorted(set(crystal.symbols)), Pairs()))
    found = analyse(crystal, labelled, Pairs()), analyse_dimers(dimers, Pairs())
    json.dumps(found, allow_nan=False)
    return found


def test_forces_of_the_test_potential_are_right():
    crystal = bulk('Cu', 'fcc', 3.0, cubic=True)
    crystal.rattle(0.05, seed=1)
    crystal.calc = WithHole(3.0, 2.1)
    assert np.abs(crystal.get_forces() - calculate_numerical_forces(crystal, eps=1e-4)).max() < 1e-4
    assert np.abs(crystal.get_stress() - calculate_numerical_stress(crystal, eps=1e-5)).max() < 1e-5


@pytest.mark.parametrize(
    ('description', 'crystal'),
    [
        (EMT(), bulk('Cu', 'fcc', 3.59)),
        (shipped('Cu', 'eam/alloy', 'Cu_mishin1.eam.alloy'), bulk('Cu', 'fcc', 3.615)),
        # its energy grows by a factor of 100 from one step of the compression to the next
        (shipped('Al', 'eam/fs', 'Al_mm.eam.fs'), bulk('Al', 'fcc', 4.045)),
        (shipped('Si', 'sw', 'Si.sw'), bulk('Si', 'diamond', 5.431)),
    ],
)
def test_sound_potentials_repel(description, crystal):
    found, dimers = look(description, crystal)
    element = crystal.symbols[0]
    for pair in (found['pairs'][f'{element}-{element}'], dimers['pairs'][f'{element}-{element}']):
        assert pair['monotone'] and pair['hole'] is None
        assert pair['shortest'] == pytest.approx(pair['distances'][0])
        # the forces are those of the energies
        slopes = np.gradient(pair['energies'], pair['distances'])[2:-2]
        assert np.corrcoef(slopes, pair['forces'][2:-2])[0, 1] < -0.97
    assert found['compression']['monotone']
    assert found['compression']['scales'][0] == 0.5
    assert found['compression']['energies'][-1] == 0
    assert found['compression']['pressures'][-2] > 10
    assert found['compression']['volumes'][0] == pytest.approx(crystal.get_volume() / len(crystal) / 8)


@pytest.mark.parametrize('distance', [1.45, 1.5, 1.63, 1.77])
def test_a_hole_that_is_put_in_is_found(distance):
    crystal = bulk('Cu', 'fcc', 3.59)
    found, dimers = look(WithHole(15.0, distance), crystal)
    for pair in (found['pairs']['Cu-Cu'], dimers['pairs']['Cu-Cu']):
        assert not pair['monotone']
        hole = pair['hole']
        assert hole['bottom'] == pytest.approx(distance, abs=0.1)
        assert distance < hole['distance'] < distance + 0.35
        assert hole['energy'] > 0.5 and hole['depth'] > 1
    hole = found['compression']['hole']
    assert not found['compression']['monotone']
    scale = np.sqrt(2) * distance / 3.59
    assert scale < hole['scale'] < scale + 0.15
    assert hole['volume'] == pytest.approx(crystal.get_volume() * hole['scale'] ** 3)
    assert hole['bottom'] < hole['volume']
    assert hole['pressure'] > 50


def test_the_minimum_of_a_dimer_is_no_hole():
    # 2.2 Å in vacuum, 2.54 Å in the crystal
    pair = look(EMT(), bulk('Cu', 'fcc', 3.59))[1]['pairs']['Cu-Cu']
    assert pair['minimum'] == pytest.approx(2.2, abs=0.1)
    assert min(pair['energies']) < 0 < pair['energies'][0]


def test_every_pair_of_a_compound_is_pushed_together():
    crystal = bulk('NaCl', 'rocksalt', 5.64)
    frames = [frame for frame in plan(crystal, Pairs()) if 'pair' in frame.info]
    bonds = {'Cl-Na': 2.82, 'Cl-Cl': 5.64 / np.sqrt(2), 'Na-Na': 5.64 / np.sqrt(2)}
    assert {frame.info['pair'] for frame in frames} == set(bonds)
    for frame in frames:
        first, second = frame.info['atoms']
        assert '-'.join(sorted((frame.symbols[first], frame.symbols[second]))) == frame.info['pair']
        assert frame.get_distance(first, second, mic=True) == pytest.approx(frame.info['distance'])
    for name, bond in bonds.items():
        mine = [frame.info['distance'] for frame in frames if frame.info['pair'] == name]
        assert (min(mine), max(mine)) == pytest.approx((bond / 2, bond))


def test_dimers_of_all_elements_of_the_potential():
    crystal = bulk('NaCl', 'rocksalt', 5.64)
    frames = plan_dimers([crystal], ['Cl', 'K', 'Na'], Pairs())
    bonds = {frame.info['pair']: frame.info['bond'] for frame in frames}
    # neighbours in the crystal (Na-Na just so), else the sum of the covalent radii
    assert bonds == pytest.approx(
        {'Cl-Cl': 2.04, 'Cl-K': 3.05, 'Cl-Na': 2.82, 'K-K': 4.06, 'K-Na': 3.69, 'Na-Na': 5.64 / np.sqrt(2)}
    )


def test_steep_repulsion_is_no_hole():
    x = np.linspace(0.5, 1.0, 11)
    energies = np.exp(40 * (1 - x)) - 1
    points, values = interpolate(x, energies, -40 * (energies + 1))
    assert (np.diff(values) < 0).all()
    assert find_hole(points, values, 1.0) is None


def test_a_hole_between_two_points_is_seen_by_the_forces():
    x = np.array([1.0, 1.5, 2.0])
    # the energies alone rise inwards
    points, values = interpolate(x, np.array([3.0, 1.0, 0.0]), np.array([-4.0, 3.0, 0.0]))
    hole = find_hole(points, values, 2.0)
    assert 1.5 < hole['distance'] < 2.0 and hole['bottom'] < 1.5
