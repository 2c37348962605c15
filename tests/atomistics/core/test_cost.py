"""What a label costs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers

from aiida_pyacemaker.atomistics.core.cost import frame_costs, valence_electrons

#: Electrons of pseudopotentials in common libraries, whose semicore differs by element.
ELECTRONS = {
    'H': 1, 'C': 4, 'N': 5, 'O': 6, 'F': 7, 'Na': 9, 'Mg': 10, 'Al': 3, 'Si': 4, 'Cl': 7, 'K': 9, 'Ti': 12, 'Fe': 16,
    'Ni': 18, 'Cu': 11, 'Zn': 12, 'Ga': 3, 'Sr': 10, 'Ag': 11, 'Sn': 4, 'Ba': 10, 'Ce': 12, 'Hf': 12, 'W': 14,
    'Pt': 18, 'Au': 11, 'Pb': 4,
}  # fmt: skip


def test_valence_electrons():
    assert {symbol: valence_electrons(atomic_numbers[symbol]) for symbol in ELECTRONS} == ELECTRONS
    assert all(1 <= valence_electrons(number) <= 32 for number in range(1, 119))


def test_frame_costs():
    cell = bulk('Al', cubic=True)
    frames = [cell, cell.repeat((2, 1, 1)), Atoms('H2O')]
    costs = frame_costs(frames, 2.5)
    assert costs[1] / costs[0] == pytest.approx(2**2.5)
    assert costs[2] / costs[0] == pytest.approx((8 / 12) ** 2.5)
    assert costs.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(frame_costs(frames, 0.0), 1.0)
    atoms = frame_costs(frames, 1.0, count='atoms')
    np.testing.assert_allclose(atoms / atoms[2], [4 / 3, 8 / 3, 1])
    with pytest.raises(ValueError, match="'electrons' or 'atoms'"):
        frame_costs(frames, 1.0, count='volume')
