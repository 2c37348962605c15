"""Free atoms, dimers, trimers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.checks.overlap import covalent_distance
from aiida_pyacemaker.atomistics.variants.clusters import Dimer, Trimer, dimers, isolated_atom, trimers


def test_free_atom():
    atoms = isolated_atom('Al')
    assert len(atoms) == 1 and not atoms.pbc.any() and np.allclose(atoms.cell.lengths(), 10)
    assert atoms.info == {'family': 'isolated_atom', 'phase': 'atom', 'split': 'train'}


@pytest.mark.parametrize('spacing', ['logarithmic', 'uniform'])
def test_dimers_of_every_pair(rng, spacing):
    frames = dimers(['Ni', 'Al'], Dimer(number=5, spacing=spacing), rng)
    assert Counter(atoms.info['phase'] for atoms in frames) == {'Al-Al dimer': 5, 'Al-Ni dimer': 5, 'Ni-Ni dimer': 5}
    for start, pair in zip((0, 5, 10), (('Al', 'Al'), ('Al', 'Ni'), ('Ni', 'Ni')), strict=True):
        lengths = [atoms.get_distance(0, 1, mic=True) for atoms in frames[start : start + 5]]
        steps = np.diff(np.log(lengths)) if spacing == 'logarithmic' else np.diff(lengths)
        assert np.allclose(steps, steps[0])
        assert np.isclose(lengths[0], 0.6 * covalent_distance(pair), rtol=1e-4) and np.isclose(lengths[-1], 5.0)
        assert np.allclose([atoms.info['parameters']['distance'] for atoms in frames[start : start + 5]], lengths)
    assert len({tuple(atoms.cell.lengths()) for atoms in frames}) == 1
    assert dimers(['Al'], Dimer(), rng) == []


def test_boxes_are_large_not_cubic_and_periodic(rng):
    for atoms in [*dimers(['Al'], Dimer(number=4), rng), *trimers(['Al', 'O'], Trimer(number=6), rng)]:
        sides = atoms.cell.lengths()
        assert len(set(sides.round(3))) == 3 and atoms.pbc.all()
        assert (sides - np.ptp(atoms.positions, axis=0) >= 9.5 - 1e-9).all()
        assert atoms.info['vacuum_axes'] == [0, 1, 2] and atoms.info['allowed_overlap'] == 0.6
        assert atoms.info['split'] == 'train' and atoms.info['family'] in ('dimer', 'trimer')
        assert check_frames([atoms], Checks()) == [None]
        assert np.allclose((atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2, sides / 2)


def test_trimers_of_every_triple(rng):
    frames = trimers(['O', 'Al'], Trimer(number=30), rng)
    assert Counter(atoms.get_chemical_formula() for atoms in frames) == {'Al3': 30, 'Al2O': 30, 'AlO2': 30, 'O3': 30}
    corners = {atoms.symbols[0] for atoms in frames if atoms.get_chemical_formula() == 'Al2O'}
    assert corners == {'Al', 'O'}
    for atoms in frames:
        for i, j in ((0, 1), (0, 2), (1, 2)):
            length = atoms.get_distance(i, j, mic=True)
            assert 0.6 * covalent_distance((atoms.symbols[i], atoms.symbols[j])) <= length + 1e-9 <= 5.0 + 1e-6
    angles = [atoms.get_angle(1, 0, 2) for atoms in frames]
    assert min(angles) < 60 and max(angles) > 120
    again = trimers(['O', 'Al'], Trimer(number=30), np.random.default_rng(7))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(frames, again, strict=True))


def test_impossible_distances(rng):
    with pytest.raises(ValueError, match=r'dimer\.farthest: 1\.0 Å.*Al-Al, 1\.45 Å'):
        dimers(['Al'], Dimer(number=2, farthest=1.0), rng)
    with pytest.raises(ValueError, match=r'trimer\.farthest'):
        trimers(['Al'], Trimer(number=2, farthest=1.0), rng)
