"""Tests of the oracle Quantum ESPRESSO: the inputs that it makes, and labels of the real pw.x."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule

from aiida_pyacemaker.calculations.functions.get_structure import make_structure
from aiida_pyacemaker.workflows.oracles import load_oracle

LabelWorkChain = WorkflowFactory('pyacemaker.label')
ConfigurationsData = DataFactory('pyacemaker.configurations')


@pytest.fixture
def get_builder(pw_code, label_parameters):
    """Return a factory of builders of one frame, with some parameters changed."""

    def factory(atoms: Atoms, others: tuple[Atoms, ...] = (), **changes):
        oracle = load_oracle({**label_parameters, **changes})
        return oracle.get_builder(pw_code, ConfigurationsData([atoms, *others]), [0], make_structure(atoms, 0), {})

    return factory


def system(builder) -> dict:
    """The namelist SYSTEM of a builder."""
    return builder.pw.parameters.get_dict()['SYSTEM']


def test_magnetic_builder(get_builder):
    """Iron is spin-polarised with a ferromagnetic start, and has bands enough for its smearing."""
    found = system(get_builder(bulk('Fe', a=2.87)))

    assert found['nspin'] == 2
    assert found['starting_magnetization']['Fe'] == pytest.approx(3 / 16, abs=1e-4)
    assert found['nbnd'] == 15  # 1.3 * 16 / 2 + 4, rounded up
    assert 'nspin' not in system(get_builder(bulk('Fe', a=2.87), spin='none'))
    assert 'nspin' not in system(get_builder(bulk('Al')))
