"""Amorphous cells have the coordination, density and first shell of the real thing, and are no crystals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.generators.families.covalent.bonds import bond_length
from aiida_pyacemaker.atomistics.generators.families.covalent.networks import (
    amorphous_network,
    bond_cutoffs,
    coordination,
    melt_quench,
    random_network,
    random_packing,
)
from aiida_pyacemaker.atomistics.generators.families.covalent.stillinger_weber import StillingerWeber


def length(first: str, second: str, threefold: int) -> float:
    return float(np.interp(threefold, (0, 2), [bond_length(first, second, None, n) for n in (4, 3)]))


def distances(atoms: Atoms) -> np.ndarray:
    """Distance matrix (n, n) over the 27 nearest images, by hand; infinite on the diagonal of the home cell."""
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[:, None, None] - atoms.positions[None, :, None] + shifts
    found = np.linalg.norm(vectors, axis=-1)
    found[np.arange(len(atoms)), np.arange(len(atoms)), 13] = np.inf
    return found.min(axis=2)


@pytest.fixture(scope='module')
def silicon() -> Atoms:
    return amorphous_network({'Si': 1}, 64, 2.29, length, np.random.default_rng(3))


def test_gradient_of_network():
    network = random_network(32, 1.54, np.random.default_rng(0))
    network.bonded[0, 1] = False
    network.refresh()
    flat = network.positions.ravel() + np.random.default_rng(1).normal(0, 0.1, network.positions.size)
    _, gradient = network.energy_and_gradient(flat)
    for index in (0, 10, 50):
        step = np.zeros(flat.size)
        step[index] = 1e-5
        slope = (network.energy_and_gradient(flat + step)[0] - network.energy_and_gradient(flat - step)[0]) / 2e-5
        assert gradient[index] == pytest.approx(slope, abs=1e-5)


def test_silicon_has_four_neighbours_and_a_sharp_first_shell(silicon):
    near = distances(silicon)
    neighbours = (near < 2.85).sum(axis=1)
    assert len(silicon) == 64
    assert 3.8 <= neighbours.mean() <= 4.2
    assert neighbours.min() >= 2 and neighbours.max() <= 6
    assert near.min() > 0.75 * 2 * 1.11
    shell = near[near < 2.85]
    assert shell.mean() == pytest.approx(2.35, abs=0.06)
    assert shell.std() < 0.15
    # a gap between the first shell and the second
    assert ((near > 2.75) & (near < 2.95)).sum() < 0.1 * len(shell)
    density = silicon.get_masses().sum() / silicon.get_volume() / 0.602214076
    assert density == pytest.approx(2.29, abs=0.001)


def test_silicon_is_no_crystal(silicon):
    # In diamond the (111) reflections of the 2x2x2 cell reach n/2.
    scaled = silicon.get_scaled_positions()
    reflections = [2 * np.array(hkl) for hkl in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))]
    strengths = [abs(np.exp(2j * np.pi * scaled @ hkl).sum()) ** 2 / 64 for hkl in reflections]
    assert max(strengths) < 0.35 * 64
    assert np.mean(strengths) < 0.25 * 64


def test_carbon_becomes_threefold_as_it_becomes_lighter():
    means = []
    for density in (3.2, 2.3):
        atoms = amorphous_network({'C': 1}, 40, density, length, np.random.default_rng(1))
        neighbours = (distances(atoms) < 1.85).sum(axis=1)
        assert neighbours.min() >= 2 and neighbours.max() <= 5
        means.append(neighbours.mean())
    assert means[0] > 3.8
    # sp3 fraction (2.3 - 1.92) / 1.37 = 0.28
    assert means[1] == pytest.approx(3.28, abs=0.2)


def test_compound_has_mostly_unlike_neighbours():
    atoms = amorphous_network({'Si': 1, 'C': 1}, 32, 3.0, length, np.random.default_rng(2))
    symbols = np.array(atoms.get_chemical_symbols())
    near = distances(atoms)
    limits = bond_cutoffs(['Si', 'C'], length)
    limit = np.array([[limits.get((a, b), limits.get((b, a))) for b in symbols] for a in symbols])
    bonded = near < limit
    assert (symbols == 'C').sum() == 16
    assert 3.7 < bonded.sum(axis=1).mean() < 4.6
    assert (bonded & (symbols[:, None] == symbols)).sum() < 0.35 * bonded.sum()
    assert (bonded.sum(axis=1) == coordination(atoms, limits)).all()


def test_same_seed_same_network():
    first, second, other = (
        amorphous_network({'Si': 1}, 32, 2.29, length, np.random.default_rng(seed)).positions for seed in (5, 5, 6)
    )
    assert (first == second).all()
    assert not (first == other).all()


def test_impossible_density_ends_in_a_message():
    with pytest.raises(ValueError, match=r'amorphous\.density: 9 g/cm³ makes no network of Si'):
        amorphous_network({'Si': 1}, 32, 9.0, length, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r'a fourfold crystal has 2\.3'):
        amorphous_network({'Si': 1}, 32, 0.5, length, np.random.default_rng(0))
    with pytest.raises(ValueError, match='apart; lower the density'):
        random_packing(['Si'] * 32, 8.0, 2.0, np.random.default_rng(0), tries=2000)


def test_stillinger_weber_is_that_of_the_paper():
    crystal = bulk('Si', a=4 * 2.3517 / np.sqrt(3), cubic=True).repeat(2)
    crystal.calc = StillingerWeber(2.3517)
    # two bonds per atom; angles are ideal
    assert crystal.get_potential_energy() / len(crystal) == pytest.approx(-2 * 1.64833, abs=1e-4)
    crystal.rattle(0.2, seed=1)
    forces = crystal.get_forces()
    for axis in range(3):
        energies = []
        for sign in (1, -1):
            moved = crystal.copy()
            moved.positions[7, axis] += sign * 1e-4
            moved.calc = StillingerWeber(2.3517)
            energies.append(moved.get_potential_energy())
        assert forces[7, axis] == pytest.approx((energies[1] - energies[0]) / 2e-4, abs=1e-5)
    # cells in which not every pair has one nearest image take another road to the same
    small = bulk('Si', a=4 * 2.3517 / np.sqrt(3), cubic=True)
    small.calc = StillingerWeber(2.3517)
    assert small.get_potential_energy() / 8 == pytest.approx(-2 * 1.64833, abs=1e-4)


def test_quenched_melt_is_fourfold_again():
    rng = np.random.default_rng(0)
    start = random_packing(['Si'] * 64, 2.29, 1.76, rng)
    assert (distances(start) < 2.0).any()
    atoms = melt_quench(start, StillingerWeber(2.35), rng, temperature=3000.0, quench_steps=600, timestep=2.0)
    neighbours = (distances(atoms) < 2.85).sum(axis=1)
    assert 3.7 <= neighbours.mean() <= 4.6
    assert neighbours.min() >= 2 and neighbours.max() <= 6
    assert atoms.calc is None and 'momenta' not in atoms.arrays
