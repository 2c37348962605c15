"""Tests of the pictures of a run."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from matplotlib.figure import Figure

from aiida_pyacemaker.workflows.pictures import draw_parity


@pytest.fixture
def figures(monkeypatch):
    """Return the list of the figures that were saved."""
    saved = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, target, **kwargs: saved.append(self))
    return saved


def label(error, embedded):
    """Return a cell of which one atom is off by an error, masked where it is embedded."""
    atoms = bulk('Cu', cubic=True)
    forces = np.linspace(-1, 1, 12).reshape(4, 3)
    forces[3] += error
    atoms.calc = SinglePointCalculator(atoms, energy=4 * error, forces=forces)
    if embedded:
        atoms.info['energy_weight'] = 0
        atoms.set_array('force_weights', np.array([1.0, 1.0, 1.0, 0.0]))
    return atoms


def test_parity_counts_what_counts(figures):
    """What is masked is not in the picture, as it is not in the errors that are reported."""
    draw_parity([label(0, False), label(0, True)], [label(0.01, False), label(5, True)], 'parity.png')
    energy, force = figures[0].axes
    assert energy.get_title() == 'RMSE 10.00 meV/atom'
    assert force.get_title() == f'RMSE {10 * np.sqrt(3 / 21):.2f} meV/Å'


def test_parity_without_energies(figures):
    """Embedded cells alone have no energies to draw."""
    draw_parity([label(0, True)], [label(5, True)], 'parity.png')
    energy, force = figures[0].axes
    assert energy.get_title() == 'no energy that counts'
    assert force.get_title() == 'RMSE 0.00 meV/Å'
