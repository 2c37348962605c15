"""Symmetry-random crystals, checked with distances and symmetries of their own."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import spglib
from ase.data import covalent_radii

from aiida_pyacemaker.atomistics.crystals.random_crystals import compatible_groups, random_crystals

#: Orders of the point groups of some space groups, one or more of each lattice.
ORDERS = {2: 2, 15: 4, 43: 4, 62: 8, 88: 8, 136: 16, 148: 6, 166: 12, 194: 24, 205: 24, 216: 24, 225: 48, 230: 48}


def shortest_ratio(atoms):
    """Shortest distance in sums of covalent radii, from a distance matrix with periodic images."""
    shifts = np.array(list(product(range(-3, 4), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-8] = np.inf
    assert (np.isinf(distances).sum(axis=(1, 2)) == 1).all(), 'two atoms on one place'
    radii = covalent_radii[atoms.numbers]
    return (distances.min(axis=2) / (radii[:, None] + radii)).min()


@pytest.mark.parametrize(
    ('composition', 'volume'),
    [({'Ti': 2, 'O': 4}, 10.4), ({'Si': 6}, 20.0), ({'Sr': 1, 'Ti': 1, 'O': 3}, 12.0), ({'Fe': 3, 'Pt': 1}, None)],
)
def test_crystals_are_what_was_asked_for(composition, volume):
    frames = random_crystals(composition, 20, np.random.default_rng(1), volume)
    assert len(frames) == 20
    for atoms in frames:
        assert {element: atoms.get_chemical_symbols().count(element) for element in composition} == composition
        assert atoms.pbc.all() and np.isfinite(atoms.positions).all()
        assert shortest_ratio(atoms) >= 0.7
        if volume is not None:
            assert volume * 0.999 < atoms.get_volume() / len(atoms) < 1.51 * volume
        assert atoms.info['phase'] == 'random' and 'space group' in atoms.info['reason']
    assert len({atoms.info['parameters']['space_group'] for atoms in frames}) >= 10


def test_crystals_have_the_symmetry_of_their_group():
    seen = set()
    for number, order in ORDERS.items():
        for atoms in random_crystals({'Si': 8}, 3, np.random.default_rng(number), space_groups=[number]):
            # the number of rotations that map the crystal onto itself is a multiple of those of the group
            found = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-4)
            rotations = {rotation.tobytes() for rotation in found['rotations']}
            assert len(rotations) % order == 0, (number, len(rotations))
            seen.add(number)
    assert len(seen) >= 11


def test_same_seed_same_bytes_other_seed_other_crystals():
    def run(seed):
        return random_crystals({'Na': 2, 'Cl': 2}, 6, np.random.default_rng(seed), 22.4)

    first, again, other = run(3), run(3), run(4)
    for one, two in zip(first, again, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes() and one.cell.array.tobytes() == two.cell.tobytes()
        assert one.info == two.info
    assert any(one.positions.tobytes() != two.positions.tobytes() for one, two in zip(first, other, strict=True))


def test_no_crystal_comes_twice():
    # fcc, bcc, sc, and few others: one atom on a special position leaves no freedom but the cell
    frames = random_crystals({'Cu': 1}, 10, np.random.default_rng(0), 11.8, space_groups=[221, 225, 229])
    assert {atoms.info['parameters']['space_group'] for atoms in frames} == {221, 225, 229}
    assert len(frames) == 3


def test_layers_have_vacuum_along_the_third_axis():
    frames = random_crystals({'C': 4}, 10, np.random.default_rng(2), 8.0, dim=2)
    assert len(frames) == 10
    for atoms in frames:
        assert atoms.info['vacuum_axes'] == [2] and atoms.info['phase'] == 'random layer'
        np.testing.assert_allclose(atoms.cell.array[2, :2], 0, atol=1e-9)
        np.testing.assert_allclose(atoms.cell.array[:2, 2], 0, atol=1e-9)
        assert atoms.cell.array[2, 2] - np.ptp(atoms.positions[:, 2]) > 14.9
        assert shortest_ratio(atoms) >= 0.7


def test_own_distances_are_kept():
    frames = random_crystals(
        {'Ti': 2, 'O': 4}, 10, np.random.default_rng(5), 11.0, min_distances={('O', 'O'): 2.3, ('Ti', 'O'): 1.7}
    )
    assert len(frames) == 10
    for atoms in frames:
        many = atoms.repeat(2)
        distances = many.get_all_distances(mic=True) + 100 * np.eye(len(many))
        oxygen = many.numbers == 8
        assert distances[np.ix_(oxygen, oxygen)].min() >= 2.3
        assert distances[np.ix_(oxygen, ~oxygen)].min() >= 1.7


def test_what_cannot_be_ends_with_a_message():
    rng = np.random.default_rng(0)
    assert 225 not in compatible_groups((1, 2, 3, 1)) and 1 in compatible_groups((1, 2, 3, 1))
    with pytest.raises(ValueError, match=r'none can carry 5 \+ 7 atoms'):
        random_crystals({'Na': 5, 'Cl': 7}, 1, rng, space_groups=[229])
    with pytest.raises(ValueError, match="'Xy' is not a chemical element"):
        random_crystals({'Xy': 1}, 1, rng)
    with pytest.raises(ValueError, match='whole numbers of atoms'):
        random_crystals({'Na': 0}, 1, rng)
    with pytest.raises(ValueError, match='numbers from 1 to 230'):
        random_crystals({'Na': 1}, 1, rng, space_groups=[231])
    # no room at all: the tries are counted
    assert random_crystals({'Na': 4}, 2, rng, volume_per_atom=2.0) == []
