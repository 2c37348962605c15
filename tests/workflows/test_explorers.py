"""Every explorer that is installed keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.plugins import EXPLORERS, find_plugins
from aiida_pyacemaker.atomistics.explorers.walker import EndReason, WalkerResult
from aiida_pyacemaker.atomistics.lammps.watch import WATCH, WATCHED
from aiida_pyacemaker.testing.explorers import check_builder, check_explorer
from aiida_pyacemaker.workflows.explorers import load_explorer


@pytest.mark.parametrize('name', find_plugins(EXPLORERS))
def test_contract(name):
    check_explorer(name)


def test_lammps_builder(lammps_code, al_potential):
    check_builder('lammps', {'lammps': lammps_code}, al_potential)


def test_unknown():
    with pytest.raises(InputError, match=r'explore\.explorer: there is no plug-in .lamps.; known are lammps'):
        load_explorer('lamps')


def test_live(tmp_path):
    """Where a simulation is, by the record of its watch."""
    explorer = load_explorer('lammps')
    assert explorer.live_file == WATCH
    path = Path(tmp_path) / WATCH
    assert explorer.read_live(path) is None
    np.savetxt(path, [[0, 0.9, 0, 100, 1, 0, 0], [50, 1.2, 0, 110, 1, 0, 0]][:2], fmt='%g')
    assert len(WATCHED) == 6
    assert explorer.read_live(path) == {'first_step': 0, 'step': 50, 'temperature': 110.0, 'gamma': 1.2}


def test_reasons():
    """What ended by gamma resumes; what is the fault of the potential is a violation; results survive being stored."""
    assert [reason.value for reason in EndReason if reason.is_resumable] == ['gamma']
    violations = [reason.value for reason in EndReason if reason.is_violation]
    assert violations == ['volume', 'temperature', 'overlap', 'lost_atoms', 'crashed']
    result = WalkerResult(3, EndReason.GAMMA, 300, 1000, 6.0, details={'swaps_tried': 4})
    assert result.to_dict()['reason'] == 'gamma' and result.to_dict()['swaps_tried'] == 4
    assert WalkerResult.from_dict(result.to_dict()) == result
