"""The table of prototypes, and crystals built from it."""

from __future__ import annotations

import re
from collections import Counter
from math import gcd

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from aiida_pyacemaker.atomistics.crystals.prototypes import PROTOTYPES, build_prototype, get_prototype, shortest_bond


def space_group(atoms):
    return spglib.get_symmetry_dataset(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3
    ).number


def coordination(atoms, centre, neighbour, ratio=1.25):
    """Mean number of neighbours of one element up to `ratio` times the shortest distance of each centre."""
    symbols = np.array(atoms.get_chemical_symbols())
    first, second, distances = neighbor_list('ijd', atoms, 5.0)
    counts = []
    for index in np.flatnonzero(symbols == centre):
        near = np.sort(distances[(first == index) & (symbols[second] == neighbour)])
        counts.append((near < ratio * near[0]).sum())
    return np.mean(counts)


def test_table_is_large_and_covers_the_common_structures():
    assert len(PROTOTYPES) >= 60
    kinds = Counter(len(prototype.slots) for prototype in PROTOTYPES.values())
    assert kinds[1] >= 15 and kinds[2] >= 60 and kinds[3] >= 20
    for (
        symbol
    ) in 'A1 A2 A3 A4 A5 A7 A8 A9 A10 B1 B2 B3 B4 B8_1 B20 B32 L1_0 L1_1 C1 C3 C4 C5 C6 C14 C15 C36 C16'.split():
        assert get_prototype(symbol).strukturbericht == symbol
    for symbol in 'C11_b C21 C32 C40 C54 L1_2 D0_3 D0_9 D0_11 D0_19 D0_22 D0_24 A15 D5_1 E2_1 H1_1 L2_1 C1_b'.split():
        assert get_prototype(symbol).strukturbericht == symbol


@pytest.mark.parametrize('name', PROTOTYPES)
def test_prototype_is_what_it_claims(name):
    prototype = PROTOTYPES[name]
    species = list(prototype.examples[0])
    atoms = build_prototype(name, species)
    assert space_group(atoms) == prototype.space_group

    counts = Counter(atoms.get_chemical_symbols())
    units = gcd(*counts.values())
    wanted = Counter()
    for element, number in zip(species, prototype.counts, strict=True):
        wanted[element] += number
    assert {key: value // units for key, value in counts.items()} == {
        k: v // gcd(*wanted.values()) for k, v in wanted.items()
    }

    # Pearson: crystal family and atoms in the conventional cell (rhombohedral ones counted in their own cell)
    family, number = re.fullmatch(r'([amothc][A-Z])(\d+)', prototype.pearson).groups()
    assert len(atoms) == int(number) * (3 if family == 'hR' else 1)
    assert sum(int(re.match(r'\d+', site.wyckoff).group()) for site in prototype.sites) == len(atoms)

    # nothing overlaps, and every atom has a neighbour at the distance of a bond
    first, second, distances = neighbor_list('ijd', atoms, 6.0)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / (radii[first] + radii[second])
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, first, ratios)
    assert nearest.min() > 0.7
    assert nearest.max() < 1.45
    assert atoms.pbc.all() and atoms.info['phase'] == name


@pytest.mark.parametrize(
    ('name', 'species', 'centre', 'neighbour', 'expected'),
    [
        ('rocksalt', 'Na Cl', 'Na', 'Cl', 6),
        ('CsCl', 'Cs Cl', 'Cs', 'Cl', 8),
        ('zincblende', 'Zn S', 'Zn', 'S', 4),
        ('wurtzite', 'Zn O', 'Zn', 'O', 4),
        ('fluorite', 'Ca F', 'Ca', 'F', 8),
        ('antifluorite', 'Li O', 'O', 'Li', 8),
        ('rutile', 'Ti O', 'Ti', 'O', 6),
        ('anatase', 'Ti O', 'Ti', 'O', 6),
        ('brookite', 'Ti O', 'Ti', 'O', 6),
        ('cuprite', 'Cu O', 'Cu', 'O', 2),
        ('corundum', 'Al O', 'Al', 'O', 6),
        ('perovskite', 'Sr Ti O', 'Sr', 'O', 12),
        ('perovskite', 'Sr Ti O', 'Ti', 'O', 6),
        ('spinel', 'Mg Al O', 'Mg', 'O', 4),
        ('spinel', 'Mg Al O', 'Al', 'O', 6),
        ('ilmenite', 'Fe Ti O', 'Fe', 'O', 6),
        ('calcite', 'Ca C O', 'C', 'O', 3),
        ('calcite', 'Ca C O', 'Ca', 'O', 6),
        ('delafossite', 'Cu Fe O', 'Cu', 'O', 2),
        ('alpha-NaFeO2', 'Li Co O', 'Co', 'O', 6),
        ('scheelite', 'Ca W O', 'W', 'O', 4),
        ('scheelite', 'Ca W O', 'Ca', 'O', 8),
        ('zircon', 'Si Zr O', 'Zr', 'O', 8),
        ('pyrochlore', 'Y Ti O', 'Ti', 'O', 6),
        ('olivine', 'Si Mg O', 'Si', 'O', 4),
        ('olivine', 'Si Mg O', 'Mg', 'O', 6),
        ('alpha-quartz', 'Si O', 'Si', 'O', 4),
        ('baddeleyite', 'Zr O', 'Zr', 'O', 7),
        ('molybdenite', 'Mo S', 'Mo', 'S', 6),
        ('platinum-sulfide', 'Pt S', 'Pt', 'S', 4),
        ('graphite', 'C', 'C', 'C', 3),
        ('diamond', 'Si', 'Si', 'Si', 4),
        ('fcc', 'Cu', 'Cu', 'Cu', 12),
        ('L1_2', 'Au Cu', 'Au', 'Cu', 12),
    ],
)
def test_coordination(name, species, centre, neighbour, expected):
    assert coordination(build_prototype(name, species.split()), centre, neighbour) == expected


@pytest.mark.parametrize(
    ('name', 'species', 'a', 'tolerance'),
    [
        # not the compounds that the lattice constants of the table are of
        ('rocksalt', 'Mg O', 4.212, 0.02),
        ('rocksalt', 'Pb Te', 6.46, 0.02),
        ('rocksalt', 'Ti C', 4.33, 0.03),
        ('zincblende', 'Ga As', 5.653, 0.02),
        ('zincblende', 'In Sb', 6.479, 0.03),
        ('perovskite', 'Ba Ti O', 4.00, 0.02),
        ('spinel', 'Zn Fe O', 8.44, 0.02),
        ('corundum', 'Fe O', 5.038, 0.02),
        ('antifluorite', 'Mg Si', 6.35, 0.02),
        ('chalcopyrite', 'Cu In Se', 5.78, 0.02),
        ('L1_2', 'Pt Fe', 3.73, 0.02),
        ('full-Heusler', 'Ga Mn Ni', 5.825, 0.02),
        ('A15', 'Sn Nb', 5.29, 0.02),
        ('bcc', 'Cu', 2.88, 0.02),
        ('bcc', 'Si', 3.09, 0.03),
        ('C15', 'Zr V', 7.44, 0.03),
    ],
)
def test_default_size_is_near_the_real_one(name, species, a, tolerance):
    assert build_prototype(name, species.split()).cell.lengths()[0] == pytest.approx(a, rel=tolerance)


def test_scale_can_be_given():
    atoms = build_prototype('rutile', ['Ti', 'O'], volume_per_atom=12.0)
    assert atoms.get_volume() / len(atoms) == pytest.approx(12.0)
    assert shortest_bond(build_prototype('perovskite', ['Sr', 'Ti', 'O'], bond_length=2.1)) == pytest.approx(2.1)
    made = build_prototype('diamond', ['C'], a=3.567)
    same = bulk('C', 'diamond', a=3.567, cubic=True)
    np.testing.assert_allclose(sorted(made.get_all_distances(mic=True)[0]), sorted(same.get_all_distances(mic=True)[0]))


@pytest.mark.parametrize(
    ('name', 'atoms'), [('spinel', 14), ('rocksalt', 2), ('corundum', 10), ('rutile', 6), ('C15', 6)]
)
def test_primitive_cell_is_the_same_crystal(name, atoms):
    prototype = PROTOTYPES[name]
    large = build_prototype(name, list(prototype.examples[0]))
    small = build_prototype(name, list(prototype.examples[0]), primitive=True)
    assert len(small) == atoms
    assert small.get_volume() / len(small) == pytest.approx(large.get_volume() / len(large))
    assert space_group(small) == prototype.space_group
    assert shortest_bond(small) == pytest.approx(shortest_bond(large))


def test_wrong_requests_name_the_nearest():
    with pytest.raises(ValueError, match=r'nearest are .*spinel'):
        build_prototype('spinell', ['Mg', 'Al', 'O'])
    with pytest.raises(ValueError, match=r'takes 2 species, such as Na Cl; got 3'):
        build_prototype('rocksalt', ['Na', 'Cl', 'O'])
    with pytest.raises(ValueError, match="'Xx' is not a chemical element"):
        build_prototype('rocksalt', ['Na', 'Xx'])
    with pytest.raises(ValueError, match='one positive length'):
        build_prototype('rocksalt', ['Na', 'Cl'], a=5.0, volume_per_atom=20.0)
