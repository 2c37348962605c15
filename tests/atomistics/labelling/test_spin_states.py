"""Labels in another spin state than their neighbours are found; where the state changes with the volume none is."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.labelling.spin_states import find_other_states
from aiida_pyacemaker.atomistics.labelling.suspects import find_suspects


def iron(volume: float, moment: float, energy: float = 0.0, rattled: int | None = None, sign: int = 1) -> Atoms:
    """Two atoms of bcc iron, labelled.

    :param volume: Å³/atom. :param moment: of each atom. :param energy: eV/atom. :param sign: -1 for antiferromagnetic.
    """
    cell = bulk('Fe', a=(2 * volume) ** (1 / 3), cubic=True)
    atoms = Atoms(cell.numbers, cell.positions, cell=cell.cell, pbc=True, info={'family': 'alloy', 'phase': 'bcc'})
    if rattled is not None:
        atoms.rattle(0.1, seed=rattled)
    atoms.set_array('magnetic_moments', np.array([moment, sign * moment]))
    atoms.info |= {'total_magnetization': moment * (1 + sign), 'absolute_magnetization': 2.1 * moment}
    return set_labels(atoms, energy=2 * energy, forces=np.zeros((2, 3)))


@pytest.fixture
def frames() -> list[Atoms]:
    """High spin, whose moment grows with the volume, rattled and strained: sound labels."""
    volumes = np.linspace(10.5, 12.5, 15)
    return [iron(volume, 1.8 + 0.3 * (volume - 10.5), rattled=seed) for seed, volume in enumerate(volumes)]


def test_sound_labels(frames):
    """A moment that grows with the volume is one state."""
    assert find_other_states(frames) == {}


@pytest.mark.parametrize(('moment', 'sign'), [(0.0, 1), (0.7, 1), (2.2, -1)])
def test_one_that_fell(frames, moment, sign):
    """One without spins, with low spin, or antiferromagnetic among others is a suspect; its energy is told."""
    frames[7] = iron(11.5, moment, energy=0.4, rattled=7, sign=sign)
    found = find_other_states(frames)
    assert set(found) == {7}
    assert '400 meV/atom above them' in found[7] and 'per magnetic atom' in found[7]
    assert find_suspects(frames)[7] == [found[7]]


def test_a_transition_is_none(frames):
    """Where iron loses its moment under pressure, neither side is suspicious, nor is what lies at its border."""
    lost = [iron(volume, 0.02, rattled=seed) for seed, volume in enumerate(np.linspace(8.5, 10.4, 6))]
    assert find_other_states([*lost, *frames]) == {}
    assert find_other_states([*lost[-2:-1], *frames]) == {}  # the only one of its side


def test_equal_structures():
    """Of one structure in several states the one of lowest energy is right, whatever else is there."""
    labelled = [iron(11.5, 2.2, -1.0), iron(11.5, 2.2, -0.9, sign=-1), iron(11.5, 0.0, -0.6)]
    found = find_other_states(labelled)
    assert set(found) == {1, 2}
    assert 'the same structure with 2.20 total and 2.31 absolute' in found[1] and '100 meV/atom lower' in found[1]
    # of one state, however much their energies differ: not for us to judge
    assert find_other_states([iron(11.5, 2.2, -1.0), iron(11.5, 2.1, -0.9)]) == {}


def test_what_cannot_be_judged(frames):
    """Few neighbours, other phases, molecules, slabs and labels without spins are left alone."""
    alone = iron(11.5, 0.0, 0.4, rattled=3)
    assert find_other_states([*frames[6:8], alone]) == {}
    other = iron(11.5, 0.0, 0.4, rattled=3)
    other.info['phase'] = 'fcc'
    assert find_other_states([*frames, other]) == {}
    slab = iron(11.5, 0.0, 0.4, rattled=3)
    slab.info['vacuum_axes'] = [2]
    silent = iron(11.5, 0.0, 0.4, rattled=4)
    del silent.info['total_magnetization'], silent.info['absolute_magnetization'], silent.arrays['magnetic_moments']
    assert find_other_states([*frames, slab, silent]) == {}
    # no consensus: half of them are in each state
    mixed = [iron(11.5, 2.2 * (seed % 2), rattled=seed) for seed in range(8)]
    assert find_other_states(mixed) == {}
