"""Rattled cells."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms

from aiida_pyacemaker.atomistics.variants.rattle import Rattle, Test, held_out, rattle
from aiida_pyacemaker.atomistics.variants.supercell import supercell

from .conftest import distances


def displacements(parent: Atoms, atoms: Atoms, number: int) -> np.ndarray:
    """Displacements from the ideal sites of the strained cell, without their mean."""
    ideal = supercell(parent, number)
    ideal.set_cell(atoms.cell, scale_atoms=True)
    return atoms.positions - ideal.positions


def test_amplitudes_are_used_in_turn(parents, rng):
    section = Rattle(amplitude=[0.02, 0.2], atoms=32)
    widths = [
        np.std(
            [displacements(parents['fcc'], rattle(parents['fcc'], section, rng, k, 9), 32) for k in range(start, 40, 2)]
        )
        for start in (0, 1)
    ]
    assert np.allclose(widths, [0.02, 0.2], rtol=0.05)


def test_cells_are_strained_by_at_most_three_percent(parents, rng):
    cells = [rattle(parents['fcc'], Rattle(), rng, k, 9).cell.array for k in range(20)]
    strains = np.linalg.solve(supercell(parents['fcc'], 16).cell.array, cells) - np.eye(3)
    assert np.abs(strains).max() <= 0.03 and np.abs(strains).max() > 0.02


def test_small_atoms_move_less(parents, rng):
    section = Rattle(amplitude=[0.1])
    frames = [rattle(parents['molecule'], section, rng, k, 9) for k in range(200)]
    moved = np.array([atoms.positions - parents['molecule'].positions for atoms in frames]).std(axis=(0, 2))
    assert np.allclose(moved, 0.1 * np.array([0.66, 0.31, 0.31]) / 1.1, rtol=0.15)
    assert all(np.allclose(atoms.cell, parents['molecule'].cell) for atoms in frames)
    equal = [rattle(parents['molecule'], Rattle(amplitude=[0.1], scaled=False), rng, k, 9) for k in range(200)]
    moved = np.array([atoms.positions - parents['molecule'].positions for atoms in equal]).std(axis=(0, 2))
    assert np.allclose(moved, 0.1, rtol=0.15)


def test_slabs_keep_their_vacuum(parents, rng):
    atoms = rattle(parents['slab'], Rattle(), rng, 0, 1)
    assert np.allclose(atoms.cell[2], parents['slab'].cell[2]) and not np.allclose(
        atoms.cell[0], parents['slab'].cell[0]
    )


def test_monte_carlo_keeps_atoms_apart_where_gaussian_does_not(parents, rng):
    wide = [0.35]
    apart = Rattle(amplitude=wide, atoms=16, method='monte_carlo', closest=0.85)
    frames = [rattle(parents['fcc'], apart, rng, k, 4) for k in range(3)]
    nearest = 4.05 / np.sqrt(2)
    assert min(distances(atoms, 1).min() for atoms in frames) > 0.85 * nearest * 0.96 - 0.2
    free = [rattle(parents['fcc'], Rattle(amplitude=wide), rng, k, 4) for k in range(4)]
    assert min(distances(atoms, 1).min() for atoms in free) < 0.85 * nearest * 0.96 - 0.2
    moved = [displacements(parents['fcc'], atoms, 16) for atoms in frames]
    assert np.std(moved) > 0.15


def test_monte_carlo_that_cannot_work_says_so(parents, rng, monkeypatch):
    """An atom, caged by its neighbours, that may not come closer to any neighbour cannot move at all."""
    monkeypatch.setattr('aiida_pyacemaker.atomistics.variants.rattle.SOFTNESS', 1e-6)
    section = Rattle(amplitude=[1.0], method='monte_carlo', closest=0.9999, atoms=2)
    with pytest.raises(ValueError, match=r'rattle\.amplitude.*use at most 0\.5 Å'):
        rattle(parents['bcc'], section, rng, 0, 1)


def test_held_out_cells_are_rattled_cells(parents):
    first = held_out(parents['fcc'], Rattle(), np.random.default_rng(1), 0, 1)
    second = rattle(parents['fcc'], Rattle(), np.random.default_rng(1), 0, 1)
    assert np.array_equal(first.positions, second.positions)
    assert first.info['split'] == 'test' and first.info['operation'] == 'test' and 'split' not in second.info
    assert Test().number == 8


def test_ten_thousand_are_a_matter_of_a_second(parents, rng):
    """Measured 80 µs each for 32 atoms; the limit leaves room for a busy machine."""
    section, parent = Rattle(atoms=32), supercell(parents['fcc'], 32)
    times = []
    for _ in range(5):
        start = time.process_time()
        for index in range(200):
            rattle(parent, section, rng, index, 200)
        times.append((time.process_time() - start) / 200)
    assert min(times) < 400e-6
