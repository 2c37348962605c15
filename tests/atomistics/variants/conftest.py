"""Parents of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.spacegroup import crystal


def with_info(atoms: Atoms, phase: str, states: dict[str, float] | None = None, **info) -> Atoms:
    bare = Atoms(atoms.get_chemical_symbols(), atoms.positions, cell=atoms.cell, pbc=True)
    bare.info = {'family': 'test', 'phase': phase, 'reason': 'to be tested', 'parameters': {'given': 1}, **info}
    if states:
        bare.set_array('oxidation_states', np.array([states[symbol] for symbol in bare.symbols], dtype=float))
    return bare


@pytest.fixture
def parents() -> dict[str, Atoms]:
    gold = bulk('Cu', a=3.8, cubic=True)
    gold.symbols = 'CuAuAuCu'
    rutile = crystal('TiO', [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90])
    perovskite = Atoms(
        'SrTiO3', scaled_positions=[[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cell=[3.905] * 3
    )
    ordered = bulk('NaCl', 'rocksalt', a=4.2, cubic=True)  # two cations of the same charge
    ordered.symbols = ['Mg', 'O', 'Ca', 'O', 'Mg', 'O', 'Ca', 'O']
    water = molecule('H2O')
    water.set_cell([12, 12, 12])
    water.center()
    return {
        'fcc': with_info(bulk('Al', cubic=True), 'fcc'),
        'primitive': with_info(bulk('Al'), 'fcc'),
        'bcc': with_info(bulk('Fe', cubic=True), 'bcc'),
        'hcp': with_info(bulk('Mg'), 'hcp'),
        'diamond': with_info(bulk('Si', cubic=True), 'diamond'),
        'alloy': with_info(gold, 'L1_0'),
        'rocksalt': with_info(bulk('NaCl', 'rocksalt', a=5.64, cubic=True), 'rocksalt', {'Na': 1, 'Cl': -1}),
        'rutile': with_info(rutile, 'rutile', {'Ti': 4, 'O': -2}),
        'perovskite': with_info(perovskite, 'perovskite', {'Sr': 2, 'Ti': 4, 'O': -2}),
        'mixed': with_info(ordered, 'rocksalt', {'Mg': 2, 'Ca': 2, 'O': -2}),
        'slab': with_info(fcc111('Al', (1, 1, 4), vacuum=6), 'Al(111)', vacuum_axes=[2]),
        'molecule': with_info(water, 'H2O', vacuum_axes=[0, 1, 2]),
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def distances(atoms: Atoms, reach: int = 2) -> np.ndarray:
    """All distances between different atoms or images, shape (n, n, images); zero (an atom to itself) is infinite."""
    shifts = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing='ij'), axis=-1).reshape(-1, 3)
    vectors = atoms.positions[None, :, None] + (shifts @ atoms.cell.array)[None, None] - atoms.positions[:, None, None]
    lengths = np.linalg.norm(vectors, axis=-1)
    lengths[lengths < 1e-9] = np.inf
    return lengths
