"""Ionic crystals: neutral formulas, bond lengths of experiment, mixed valence, disorder, clear refusals."""

from __future__ import annotations

import json
from itertools import combinations, product

import numpy as np
import pytest
from ase.data import covalent_radii
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor

from aiida_pyacemaker.atomistics.checks.overlap import closest_ratios
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.crystals.oxidation import compound_of, compounds_of
from aiida_pyacemaker.atomistics.generators.families.ionic import Ionic, IonicFamily


def make(elements, number=40, seed=1, **parameters):
    return IonicFamily().parents(elements.split(), Ionic(**parameters), number, np.random.default_rng(seed))


def distances_of(atoms):
    """Distances (n, n) to the nearest image, infinite where there is none but the atom itself."""
    shifts = np.array(list(product(range(-3, 4), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-8] = np.inf
    return distances.min(axis=2)


def shortest(atoms, one, two):
    symbols = np.array(atoms.get_chemical_symbols())
    return distances_of(atoms)[np.ix_(symbols == one, symbols == two)].min()


def first(frames, phase, formula=None):
    return next(
        atoms
        for atoms in frames
        if atoms.info['phase'] == phase and formula in (None, atoms.info['parameters']['formula'])
    )


@pytest.fixture(scope='module')
def strontium_titanate():
    return make('Sr Ti O', 200)


@pytest.mark.parametrize(
    ('elements', 'phase', 'bond', 'length'),
    [
        # measured lengths in Å (Wyckoff, Crystal Structures, 1963)
        ('Na Cl', 'rocksalt', ('Na', 'Cl'), 2.82),
        ('Mg O', 'rocksalt', ('Mg', 'O'), 2.106),
        ('Ti O', 'rutile', ('Ti', 'O'), 1.95),
        ('Cs Cl', 'CsCl', ('Cs', 'Cl'), 3.57),
        ('Ca F', 'fluorite', ('Ca', 'F'), 2.365),
        ('Li O', 'antifluorite', ('Li', 'O'), 2.00),
        ('Zn S', 'zincblende', ('Zn', 'S'), 2.34),
        ('Zn O', 'wurtzite', ('Zn', 'O'), 1.97),
        ('Mg Al O', 'spinel', ('Al', 'O'), 1.92),
        ('Mg Al O', 'spinel', ('Mg', 'O'), 1.92),
    ],
)
def test_bonds_are_as_long_as_measured(elements, phase, bond, length):
    atoms = first(make(elements, random_crystals=0, disorder=0), phase)
    assert shortest(atoms, *bond) == pytest.approx(length, rel=0.05)


def test_perovskite_has_titanium_in_the_octahedra(strontium_titanate):
    atoms = first(strontium_titanate, 'perovskite')
    assert atoms.get_chemical_formula() == 'O3SrTi'
    assert shortest(atoms, 'Ti', 'O') == pytest.approx(1.95, rel=0.02)
    assert shortest(atoms, 'Sr', 'O') == pytest.approx(2.76, rel=0.02)
    assert atoms.cell.lengths() == pytest.approx([3.905] * 3, rel=0.02)


def test_every_frame_is_neutral_physical_and_explained(strontium_titanate):
    for atoms in strontium_titanate:
        states = atoms.arrays['oxidation_states']
        assert states.shape == (len(atoms),) and states.sum() == 0
        symbols = np.array(atoms.get_chemical_symbols())
        assert set(states[symbols == 'O']) <= {-2.0} and set(states[symbols == 'Sr']) <= {2.0}
        radii = covalent_radii[atoms.numbers]
        assert (distances_of(atoms) / (radii[:, None] + radii)).min() > 0.7
        assert atoms.pbc.all() and atoms.info['family'] == 'ionic' and atoms.info['reason']
        json.dumps(atoms.info)


def test_the_formula_and_all_neutral_subsystems_are_covered(strontium_titanate):
    formulas = {atoms.info['parameters']['formula'] for atoms in strontium_titanate}
    assert {'SrO', 'TiO2', 'SrTiO3', 'Ti2O3'} <= formulas
    # the most plausible formulas come first, each with its known structure
    leading = [(a.info['parameters']['formula'], a.info['phase']) for a in strontium_titanate[:3]]
    assert leading == [('SrO', 'rocksalt'), ('TiO2', 'rutile'), ('SrTiO3', 'perovskite')]
    phases = {atoms.info['phase'] for atoms in strontium_titanate}
    assert {'random', 'anatase', 'CsCl'} <= phases


def test_oxidation_states_that_are_given_decide():
    frames = make('Ti O', oxidation_states={'Ti': [3]})
    assert {atoms.info['parameters']['formula'] for atoms in frames} == {'Ti2O3'}
    titanium = np.concatenate([a.arrays['oxidation_states'][a.numbers == 22] for a in frames])
    assert set(titanium) == {3.0}


def test_magnetite_has_two_kinds_of_iron():
    frames = make('Fe O', formulas=['Fe3O4'])
    atoms = first(frames, 'spinel')
    iron = atoms.arrays['oxidation_states'][atoms.numbers == 26]
    assert sorted(iron) == [2, 2, 3, 3, 3, 3] and len(atoms) == 14
    # Fe2+ sits among four oxygen atoms, Fe3+ among six
    around = (distances_of(atoms) < 2.4)[:, atoms.numbers == 8]
    assert around.any(axis=1)[atoms.numbers == 26].all()
    assert [a.info['phase'] for a in frames].count('binary-spinel') == 0, 'the same crystal by another name'
    for frame in frames:
        assert frame.arrays['oxidation_states'].sum() == 0
        assert set(frame.arrays['oxidation_states']) == {2.0, 3.0, -2.0}
    assert any(frame.info['phase'] == 'random' for frame in frames)


@pytest.mark.parametrize(
    ('formula', 'elements', 'ions'),
    [
        ('Fe2O3', 'Fe O', '2 Fe3+ 3 O2-'),
        ('Mn3O4', 'Mn O', 'Mn2+ 2 Mn3+ 4 O2-'),
        ('LiMn2O4', 'Li Mn O', 'Li+ Mn3+ Mn4+ 4 O2-'),
        ('Cu2O', 'Cu O', '2 Cu+ O2-'),
        ('Na2O2', 'Na O', 'Na+ O-'),
        ('KH', 'K H', 'K+ H-'),
    ],
)
def test_states_of_a_formula(formula, elements, ions):
    assert compound_of(formula, elements.split(), None).described() == ions


def test_formulas_are_neutral_small_and_each_there_once():
    found = compounds_of('Li Ni Mn Co O'.split(), None, 8, 16)
    assert len(found) == 16
    assert len({compound.formula for compound in found}) == 16
    for compound in found:
        assert sum(state * count for (_, state), count in compound.ions) == 0
    assert {'Li2O', 'NiO', 'MnO2', 'CoO', 'LiCoO2'} <= {compound.formula for compound in found}
    assert any(len(compound.counts) == 5 for compound in found)


def test_carbonate_is_more_plausible_than_a_carbide_with_oxygen():
    names = [compound.formula for compound in compounds_of('Sr C O'.split(), None, 8, 10)]
    assert 'SrCO3' in names and 'SrO' in names
    assert 'Sr3CO' not in names[: names.index('SrCO3')]


def test_frames_are_distinct():
    # of two chlorine atoms on eight sites there are few arrangements
    frames = make('Na Cl Br', 60, formulas=['Na4ClBr3'], random_crystals=0, disorder=12)
    assert 2 <= len(frames) < 12
    matcher = StructureMatcher(scale=False, ltol=0.01, stol=0.01, angle_tol=0.5)
    crystals = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]
    assert not any(matcher.fit(one, two) for one, two in combinations(crystals, 2))


def test_cations_share_sites_and_change_places():
    frames = make('Li Co O', 40, formulas=['LiCoO2'], random_crystals=0, disorder=4)
    shared = first(frames, 'disordered rocksalt')
    assert len(shared) >= 16
    symbols = shared.get_chemical_symbols()
    assert symbols.count('Li') == symbols.count('Co') == len(shared) // 4
    # a rock salt still: six oxygen neighbours at one distance
    states = shared.arrays['oxidation_states']
    near = distances_of(shared.repeat(2))
    assert states.sum() == 0 and set(states) == {1.0, 3.0, -2.0}
    cations = shared.repeat(2).arrays['oxidation_states'] > 0
    to_oxygen = np.sort(near[np.ix_(cations, ~cations)], axis=1)
    np.testing.assert_allclose(to_oxygen[:, :6], to_oxygen[0, 0], rtol=1e-6)
    swapped = first(frames, 'disordered alpha-NaFeO2')
    assert swapped.arrays['oxidation_states'].sum() == 0 and 'changed places' in swapped.info['reason']


def test_inverted_spinel_keeps_its_composition():
    frames = make('Mg Al O', 40, formulas=['MgAl2O4'], random_crystals=0, disorder=6)
    swapped = [atoms for atoms in frames if atoms.info['phase'] == 'disordered spinel']
    assert swapped
    for atoms in swapped:
        symbols = np.array(atoms.get_chemical_symbols())
        states = atoms.arrays['oxidation_states']
        assert (symbols == 'Al').sum() == 2 * (symbols == 'Mg').sum()
        assert set(states[symbols == 'Al']) == {3.0} and set(states[symbols == 'Mg']) == {2.0}


def test_ions_of_different_size_do_not_share_sites():
    assert not any(
        atoms.info['phase'].startswith('disordered') for atoms in make('Sr Ti O', formulas=['SrTiO3'], disorder=4)
    )
    assert any(
        atoms.info['phase'].startswith('disordered')
        for atoms in make('Sr Ti O', formulas=['SrTiO3'], disorder=4, disorder_mismatch=2.0)
    )


def test_prototypes_that_are_named_are_made_at_their_bond_length():
    frames = make('Na Cl', prototypes=['CsCl', 'zinc blende'], random_crystals=0)
    assert [atoms.info['phase'] for atoms in frames] == ['CsCl', 'zincblende']
    assert shortest(frames[0], 'Na', 'Cl') == pytest.approx(2.99, abs=0.01)  # 1.18 + 1.81 Å, eightfold


def test_no_more_than_asked_for_best_first():
    frames = make('Na Cl', 2)
    assert len(frames) == 2 and frames[0].info['phase'] == 'rocksalt'


def test_same_seed_same_bytes():
    first_set, again, other = (make('Li Co O', formulas=['LiCoO2'], seed=seed) for seed in (1, 1, 2))
    for one, two in zip(first_set, again, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes() and one.info == two.info
        assert one.arrays['oxidation_states'].tobytes() == two.arrays['oxidation_states'].tobytes()
    assert any(
        len(one) != len(two) or one.positions.tobytes() != two.positions.tobytes()
        for one, two in zip(first_set, other, strict=False)
    )


@pytest.mark.parametrize(
    ('elements', 'parameters', 'message'),
    [
        ('Na Cl', {'formulas': ['Na2Cl']}, r'formulas: .*Na2Cl charge-neutral.*nearest neutral formula is NaCl'),
        ('Na Mg', {}, r'no charge-neutral formula of Na, Mg.*structures\.alloy.*NaCl'),
        ('Na Mg Cl', {'formulas': ['NaMg']}, r'NaMg charge-neutral.*nearest neutral formula is NaCl'),
        ('Sr Ti O', {'formulas': ['SrTiO4']}, r'nearest neutral formula is SrTiO3'),
        ('Si', {}, r'no charge-neutral formula of Si'),
        ('Na Cl', {'formulas': ['KCl']}, r"'KCl' holds K, which system.elements"),
        ('Na Cl', {'formulas': ['salt']}, r"'salt' is not a formula"),
        ('Na Cl', {'prototypes': ['rocksal']}, r'^prototypes: .*nearest are rocksalt'),
        ('Na Cl', {'prototypes': ['perovskite']}, r'perovskite \(ABC3\) cannot hold NaCl; what fits: rocksalt, CsCl'),
        ('Na Cl', {'prototypes': ['L1_0']}, r'ions of one charge are neighbours'),
        ('Na Cl', {'oxidation_states': {'K': [1]}}, r"oxidation_states: 'K' is not among the elements Na, Cl"),
        ('Na Cl', {'oxidation_states': {'Na': [0]}}, r'whole numbers from -9 to 9, not zero; known are 1'),
        ('Na Cl', {'oxidation_states': {'Cl': [1]}}, r'no charge-neutral formula of Na, Cl'),
    ],
)
def test_what_cannot_be_ends_with_one_message(elements, parameters, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(elements, **parameters)
    assert '\n' not in str(caught.value) and isinstance(caught.value, InputError)


def test_no_prototype_is_far_more_open_than_the_best():
    """Li3P is sodium arsenide (12.5 Å³ per atom), not as open as Cu3N (31 Å³), unless one asks for that."""
    frames = make('Li P', 30, formulas=['Li3P'])
    volumes = {frame.info['phase']: frame.get_volume() / len(frame) for frame in frames}
    assert next(iter(volumes)) == 'sodium-arsenide'
    assert max(volumes.values()) < 1.8 * volumes['sodium-arsenide'] + 1e-6
    assert any(frame.info['phase'] == 'Cu3N' for frame in make('Li P', 30, formulas=['Li3P'], prototypes=['Cu3N']))


@pytest.mark.parametrize(
    ('elements', 'formula', 'volume'),
    [('Ca F', 'CaF2', 13.6), ('Zn O', 'ZnO', 11.9), ('Ba Ti O', 'BaTiO3', 12.9), ('Ti O', 'TiO2', 10.4)],
)
def test_random_crystals_are_as_dense_as_the_known_one(elements, formula, volume):
    """Volumes (Å³ per atom) measured of the crystals; and variants have room before they overlap."""
    found = [frame for frame in make(elements, 30, formulas=[formula]) if frame.info['phase'] == 'random']
    assert len(found) >= 4
    volumes = [frame.get_volume() / len(frame) for frame in found]
    assert min(volumes) > 0.85 * volume and np.median(volumes) < 1.4 * volume, volumes
    assert closest_ratios(found).min() > 0.8


def test_non_metals_alone_are_no_ions():
    """Beside a metal, oxides of non-metals are no crystals of their own, though their charges sum to zero."""
    for elements in ('Na N O', 'Li P S', 'Ca C O'):
        frames = make(elements, 30)
        assert {frozenset(frame.get_chemical_symbols()) for frame in frames} >= {frozenset(elements.split())}
        assert all(elements.split()[0] in frame.get_chemical_symbols() for frame in frames), elements
