"""spglib says that there is no symmetry in two ways, and everybody who asks gets one answer."""

from __future__ import annotations

import pytest
import spglib
import spglib.error
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.symmetry import call_spglib
from aiida_pyacemaker.atomistics.generators.spread import space_group
from aiida_pyacemaker.atomistics.labelling.kpoints import kpoints_mesh

OVERLAPPING = Atoms('Al2', scaled_positions=[[0, 0, 0], [0, 0, 0]], cell=[4.0, 4.0, 4.0], pbc=True)


@pytest.mark.parametrize('returns_none', [True, False])
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_one_answer(monkeypatch, returns_none):
    """Whatever phonopy or ASE have told spglib to do, atoms on top of each other are no crystal, and no crash."""
    monkeypatch.setattr(spglib.error, 'OLD_ERROR_HANDLING', returns_none)
    for atoms, found in ((OVERLAPPING, False), (bulk('Al', cubic=True), True)):
        cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        assert (call_spglib(spglib.get_symmetry_dataset, cell, symprec=1e-3) is not None) is found
    assert space_group(OVERLAPPING) == 'P1'
    assert min(kpoints_mesh(OVERLAPPING, 0.3)) > 1
