"""Properties of crystals, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from aiida_pyacemaker.atomistics.validation.crystal import crystal_properties, elastic_tensor


def test_cubic_crystal():
    """Symmetry, and the bulk modulus from energies instead of stresses."""
    found = crystal_properties(EMT(), bulk('Cu', a=3.7, cubic=True))
    assert found['a'] == pytest.approx(found['c'], abs=1e-5)
    for name in ('C22', 'C33'):
        assert found[name] == pytest.approx(found['C11'], rel=1e-3)
    assert found['C55'] == pytest.approx(found['C44'], rel=1e-3)
    volumes, energies = [], []
    for scale in (0.995, 1.0, 1.005):
        atoms = bulk('Cu', a=found['a'] * scale)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    second = np.polyfit(volumes, energies, 2)[0] * 2
    assert found['bulk_modulus'] == pytest.approx(volumes[1] * second / units.GPa, rel=0.01)


def test_cauchy_relation():
    """A crystal of inversion centres held by pair forces alone obeys the Cauchy relation C12 = C44."""
    crystal = bulk('Ar', a=5.26, cubic=True)
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, smooth=True)
    found = crystal_properties(calculator, crystal)
    assert found['C12'] == pytest.approx(found['C44'], rel=0.02)
    crystal.set_cell([found['a']] * 3, scale_atoms=True)
    tensor = elastic_tensor(calculator, crystal)
    np.testing.assert_array_equal(tensor, tensor.T)


def test_what_does_not_hold_together_is_said(monkeypatch):
    monkeypatch.setattr('aiida_pyacemaker.atomistics.validation.crystal.STEPS', 2)
    with pytest.raises(ValueError, match='does not relax'):
        crystal_properties(EMT(), bulk('Cu', a=4.2, cubic=True))
