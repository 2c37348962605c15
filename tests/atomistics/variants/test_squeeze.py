"""Cells with a squeezed pair."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.variants import NotApplicableError
from aiida_pyacemaker.atomistics.variants.squeeze import Squeeze, squeeze


def test_one_pair_is_close(parents, rng):
    """From the smallest to the largest distance; all other atoms stay as far apart as thermal motion leaves them."""
    section = Squeeze(closest=0.6, farthest=0.9, atoms=32)
    cells = [squeeze(parents['fcc'], section, rng, index, 4) for index in range(4)]
    for cell in cells:
        lengths = np.sort(cell.get_all_distances(mic=True)[np.triu_indices(len(cell), 1)])
        assert lengths[0] == pytest.approx(cell.info['parameters']['distance'], abs=1e-3)
        assert lengths[1] > 2.3
    found = [cell.info['parameters']['distance'] for cell in cells]
    assert found == sorted(found)
    assert found[-1] / found[0] == pytest.approx(1.5, abs=0.2)


def test_every_kind_of_pair(parents, rng):
    cells = [squeeze(parents['rocksalt'], Squeeze(), rng, index, 6) for index in range(6)]
    assert [cell.info['parameters']['pair'] for cell in cells] == 2 * ['Cl-Cl', 'Cl-Na', 'Na-Na']


def test_molecules_are_left_alone(parents, rng):
    with pytest.raises(NotApplicableError):
        squeeze(parents['molecule'], Squeeze(), rng, 0, 1)


@pytest.mark.parametrize(('element', 'closest'), [('Al', 2.0), ('Si', 1.75)])
def test_generated_cells_pass_the_checks(element, closest):
    """Also where bonds are short already."""
    frames = generate([element], Structures(parents=1, squeeze={'number': 6}), seed=1).frames
    cells = [atoms for atoms in frames if atoms.info['operation'] == 'squeeze']
    assert len(cells) >= 6
    assert min(atoms.info['parameters']['distance'] for atoms in cells) < closest
