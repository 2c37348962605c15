"""Tests of what a judgement asks for: structures where something is wrong, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, make_supercell
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.checks.overlap import covalent_distance
from aiida_pyacemaker.atomistics.validation.properties.elasticity.cures import STRAINS
from aiida_pyacemaker.atomistics.validation.properties.phonons.cures import AMPLITUDES, find_confirmed
from aiida_pyacemaker.atomistics.validation.requests import make_structures

CRYSTALS = [bulk('Al', cubic=True), bulk('NiAl', 'cesiumchloride', a=2.9)]


def make(kind: str, crystal: int = 0, seed: int = 1, **request) -> list[Atoms]:
    return make_structures([{'kind': kind, 'crystal': crystal, 'reason': 'a test', **request}], CRYSTALS, seed)


def closest(atoms: Atoms) -> float:
    return float(neighbor_list('d', atoms, 6.0).min())


def test_mode():
    """Along the mode to both sides, each amplitude that of the atom that moves most."""
    cell = make_supercell(CRYSTALS[0], np.diag([1, 1, 2]))
    displacements = np.zeros((8, 3))
    displacements[:4, 0], displacements[4:, 0] = 3.0, -3.0
    mode = {'numbers': cell.numbers.tolist(), 'positions': cell.positions.tolist(), 'cell': cell.cell.tolist()}
    frames = make('mode', **mode, displacements=displacements.tolist())
    moved = [frame.positions - cell.positions for frame in frames]
    assert [np.abs(move).max() for move in moved] == pytest.approx(AMPLITUDES)
    assert {np.sign(move[0, 0]) for move in moved} == {1.0, -1.0}
    assert all(np.allclose(move[:, 1:], 0) for move in moved)


def test_labels_may_confirm_a_mode():
    """A mode along which the labelled energies fall is unstable in truth; one along which they rise is not."""
    cell = CRYSTALS[0]
    mode = {'numbers': cell.numbers, 'positions': cell.positions, 'cell': cell.cell, 'displacements': np.eye(4)[:, :3]}
    for sign, expected in ((-1, {'Al4'}), (1, set())):
        frames = make('mode', **mode, q=[0.5, 0, 0])
        for atoms in frames:
            atoms.info['phase'] = 'Al4'
            energy = sign * atoms.info['parameters']['amplitude'] ** 2
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=0 * atoms.positions)
        assert find_confirmed(frames) == expected


def test_strain_along_a_soft_direction():
    frames = make('strain', strain=[1.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    found = [frame.cell.array @ np.linalg.inv(CRYSTALS[0].cell.array) - np.eye(3) for frame in frames]
    assert sorted(strain[0, 0] for strain in found) == pytest.approx(sorted([*STRAINS, *(-size for size in STRAINS)]))
    for strain in found:
        np.testing.assert_allclose(strain, np.diag([1, -0.5, 0]) * strain[0, 0], atol=1e-12)
    # the other side of a tetragonal shear is the same by symmetry
    assert len(make('strain', strain=[1.0, -1.0, 0.0, 0.0, 0.0, 0.0])) == 3


def test_volume():
    """Volumes over the range, but never so small that a label means nothing."""
    frames = make('volume', volume=[10.0, 20.0])
    volumes = [frame.get_volume() / len(frame) for frame in frames]
    assert volumes == pytest.approx(np.linspace(10.0, 20.0, 6).tolist())
    frames = make('volume', volume=[0.1, 16.0])
    assert min(frame.get_volume() / len(frame) for frame in frames) == pytest.approx(8.0)
    frames = make('volume', volume=[0.1, 5.0])
    assert min(closest(frame) for frame in frames) > 0.6 * covalent_distance(('Al', 'Al'))


def test_pairs():
    """Two atoms of the pair, and no others, are at the distances that are asked for."""
    frames = make('pair', 1, elements=['Al', 'Ni'], distances=[1.9, 2.1])
    assert [closest(frame) for frame in frames] == pytest.approx(np.linspace(1.9, 2.1, 6).tolist())
    pair = neighbor_list('i', frames[0], 2.0)
    assert set(frames[0].symbols[pair]) == {'Al', 'Ni'} and len(pair) == 2


def test_dimers():
    """Alone in a box, and in the crystal if it has both elements."""
    frames = make('dimer', elements=['Al', 'Ni'], distances=[2.0, 2.4])
    assert [len(frame) for frame in frames] == [2] * 6
    assert all(frame.info['vacuum_axes'] == [0, 1, 2] for frame in frames)
    assert len(make('dimer', 1, elements=['Al', 'Ni'], distances=[2.0, 2.4])) == 12


@pytest.mark.parametrize('kind', ['rattle', 'strain', 'volume', 'vacancy', 'surface'])
def test_kinds_without_parameters(kind):
    frames = make(kind)
    assert 3 <= len(frames) <= 6
    for frame in frames:
        assert frame.info['family'] == 'request' and frame.info['operation'] == kind
        assert frame.info['split'] == 'train' and frame.info['reason'] == 'a test'


def test_hot():
    """The hotter the simulation that broke off, the farther are the atoms displaced."""
    cold, hot = make('temperature', temperature=300.0), make('temperature', temperature=2000.0)
    assert cold[0].info['parameters']['amplitude'] < hot[0].info['parameters']['amplitude']


def test_surface_of_a_plane():
    assert {tuple(frame.info['parameters']['miller']) for frame in make('surface', miller=[1, 1, 1])} == {(1, 1, 1)}


def test_what_is_flat_stays_flat():
    """The vacuum of a layer is not strained."""
    layer = graphene(vacuum=8.0)
    layer.pbc = True
    frames = make_structures([{'kind': 'strain', 'crystal': 0, 'reason': ''}], [layer], 1)
    assert [frame.cell.lengths()[2] for frame in frames] == pytest.approx([16.0] * 6)


def test_the_seed_decides():
    one, same, other = (make('rattle', seed=seed)[0].positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_the_budget_is_shared():
    """With room for few structures every request gets its share."""
    requests = [{'kind': kind, 'crystal': 0, 'reason': ''} for kind in ('rattle', 'vacancy', 'surface')]
    found = make_structures(requests, CRYSTALS, 1, number=4)
    assert [atoms.info['operation'] for atoms in found] == ['rattle', 'vacancy', 'surface', 'rattle']


def test_unknown_kind():
    request = {'kind': 'volume', 'crystal': 0, 'reason': '', 'volume': [12.0, 16.0]}
    assert make_structures([], CRYSTALS, 1) == []
    with pytest.raises(ValueError, match='dance'):
        make_structures([request, {**request, 'kind': 'dance'}], CRYSTALS, 1)
