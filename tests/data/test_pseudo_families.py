"""What the loaded profile knows of pseudopotentials."""

from __future__ import annotations

import pytest

from aiida_pyacemaker.data.pseudos import get_cost_model
from aiida_pyacemaker.runfile.sections import read_label


def test_cost_model(pseudo_family):
    """Cutoffs are the family's for the hardest element, valences those of the files: copper has its semicore."""
    model = get_cost_model(read_label({'pseudo_family': pseudo_family}), ['Al', 'Cu', 'Fe'])
    assert model.valences == {'Al': 3, 'Cu': 19, 'Fe': 16}
    assert model.ecutwfc > 80 and model.kpoints_distance == 0.2 and model.magnetic == {'Fe'}
    given = {'ecutwfc': 20.0, 'ecutrho': 80.0, 'kpoints_distance': 0.4, 'spin': 'none'}
    model = get_cost_model(read_label({'pseudo_family': pseudo_family, **given}), ['Fe'])
    assert (model.ecutwfc, model.kpoints_distance, model.magnetic) == (20.0, 0.4, frozenset())


def test_cost_model_of_unknown_element(pseudo_family):
    with pytest.raises(ValueError, match='has no pseudopotential for Mo'):
        get_cost_model(read_label({'pseudo_family': pseudo_family}), ['Al', 'Mo'])
