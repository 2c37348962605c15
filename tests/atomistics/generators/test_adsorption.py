"""Molecules on surfaces, checked with distances computed here."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.build import molecule
from ase.data import covalent_radii
from ase.io import write

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.checks.duplicates import Duplicates
from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum
from aiida_pyacemaker.atomistics.crystals.molecules import get_molecule
from aiida_pyacemaker.atomistics.crystals.slabs import bulk_of, make_slab, stack_planes, terminations
from aiida_pyacemaker.atomistics.generators.families.adsorption.family import AdsorptionFamily
from aiida_pyacemaker.atomistics.generators.families.adsorption.molecules import orientations
from aiida_pyacemaker.atomistics.generators.families.adsorption.section import Adsorption
from aiida_pyacemaker.atomistics.generators.families.adsorption.surfaces import find_sites
from aiida_pyacemaker.atomistics.variants.defects import Vacancy, vacancy

PT, MGO = ['Pt', 'C', 'O'], ['Mg', 'O', 'H']


def make(elements, number=12, seed=0, **keys):
    return AdsorptionFamily().parents(elements, Adsorption(**keys), number, np.random.default_rng(seed))


def adsorbed(frames):
    return [atoms for atoms in frames if 'site' in atoms.info['parameters']]


@pytest.fixture(scope='module')
def platinum():
    return make(PT, 110, slab='Pt', molecules=['CO'], miller=[[1, 1, 1]])


@pytest.fixture(scope='module')
def magnesia():
    return make(MGO, 110, slab='MgO', molecules=['H2O'])


def distances(atoms):
    """Shortest distances between atoms, periodic in the plane, (n, n), itself left out (independent of the package)."""
    shifts = np.array([[i, j, 0] for i in range(-2, 3) for j in range(-2, 3)]) @ atoms.cell.array
    delta = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    found = np.linalg.norm(delta, axis=-1)
    found[found < 1e-9] = np.inf
    return found.min(axis=2)


@pytest.mark.parametrize('which', ['platinum', 'magnesia'])
def test_a_hundred_distinct_parents(which, request):
    frames = request.getfixturevalue(which)
    assert len(frames) == 110
    assert Duplicates().add(frames).all()
    assert check_frames(frames, Checks()) == [None] * len(frames)
    names = [atoms.info['phase'] for atoms in frames]
    surface, small = {'platinum': ('Pt(111)', 'CO'), 'magnesia': ('MgO(001)', 'H2O')}[which]
    assert set(names) == {f'{small}/{surface}', surface, small, {'platinum': 'fcc', 'magnesia': 'rocksalt'}[which]}
    assert names.count(f'{small}/{surface}') == 107
    for atoms in frames:
        radii = covalent_radii[atoms.numbers]
        assert (distances(atoms) / (radii[:, None] + radii[None])).min() >= 0.7
        assert atoms.pbc.all() and atoms.info['family'] == 'adsorption' and atoms.info['reason']


@pytest.mark.parametrize('which', ['platinum', 'magnesia'])
def test_vacuum_is_where_it_is_said_to_be(which, request):
    frames = request.getfixturevalue(which)
    for atoms in frames:
        axes = atoms.info.get('vacuum_axes', [])
        assert list(detect_vacuum(atoms).axes) == axes
    for atoms in adsorbed(frames):
        z = atoms.positions[:, 2]
        assert atoms.cell[2, 2] - (z.max() - z.min()) == pytest.approx(12.0, abs=1e-6)


def test_sites_orientations_heights_and_coverages_vary(platinum):
    parameters = [atoms.info['parameters'] for atoms in adsorbed(platinum)]
    assert {site for values in parameters for site in values['site']} == {
        'top Pt',
        'bridge Pt-Pt',
        '3-fold hollow over plane 2',
        '3-fold hollow over plane 3',
    }
    assert {way for values in parameters for way in values['orientation']} == {'C-down', 'O-down', 'lying', 'random'}
    assert {values['coverage'] for values in parameters} == {1, 2}
    assert len({values['height'][0] for values in parameters}) > 20


def test_geometry_is_what_it_is_said_to_be(platinum):
    """Carbon over a site has as many nearest platinum atoms as the site says, and the height is that of the lowest."""
    neighbours = {'top Pt': 1, 'bridge Pt-Pt': 2, '3-fold hollow over plane 2': 3, '3-fold hollow over plane 3': 3}
    seen = Counter()
    for atoms in adsorbed(platinum):
        values = atoms.info['parameters']
        top = atoms.positions[atoms.numbers == 78, 2].max()
        carbon, oxygen = (np.flatnonzero(atoms.numbers == number) for number in (6, 8))
        lowest = atoms.positions[np.concatenate([carbon, oxygen]), 2].min()
        assert lowest - top == pytest.approx(min(values['height']), abs=1e-3)
        if ' on ' not in atoms.info['reason'] or values['orientation'][0] != 'C-down' or values['coverage'] > 1:
            continue
        near = np.sort(distances(atoms)[carbon[0]][atoms.numbers == 78])
        assert (near < near[0] + 0.1).sum() == neighbours[values['site'][0]]
        bond = atoms.positions[oxygen[0]] - atoms.positions[carbon[0]]
        assert bond == pytest.approx([0, 0, np.linalg.norm(bond)], abs=1e-6)
        seen[values['site'][0]] += 1
    assert set(seen) == set(neighbours)


def test_atoms_of_molecules_are_marked(platinum):
    """So that vacancies are made in the metal, and molecules stay whole."""
    for atoms in platinum:
        assert np.array_equal(atoms.arrays['adsorbate'], atoms.numbers != 78), atoms.info
    parent = adsorbed(platinum)[0]
    for seed in range(20):
        found = vacancy(parent, Vacancy(), np.random.default_rng(seed), seed, 20)
        before, after = (Counter(atoms.get_chemical_symbols()) for atoms in (parent, found))
        assert after['Pt'] % before['Pt'] == before['Pt'] - 1
        assert after['C'] == after['O'] == before['C'] * (after['Pt'] + 1) // before['Pt']


def test_molecules_are_whole_and_apart(magnesia):
    bond = molecule('H2O').get_distance(0, 1)
    for atoms in adsorbed(magnesia):
        near = distances(atoms)
        hydrogens = np.flatnonzero(atoms.numbers == 1)
        assert len(hydrogens) == 2 * atoms.info['parameters']['coverage']
        for hydrogen in hydrogens:
            lengths = np.sort(near[hydrogen][atoms.numbers == 8])
            assert lengths[0] == pytest.approx(bond, abs=1e-4) and lengths[1] > 1.4


def test_oxidation_states_sum_to_zero(magnesia, platinum):
    for atoms in adsorbed(magnesia):
        states = atoms.arrays['oxidation_states']
        assert abs(states.sum()) < 1e-9
        assert set(states[atoms.numbers == 1]) == {1.0} and set(states[atoms.numbers == 8]) == {-2.0}
    assert all('oxidation_states' not in atoms.arrays for atoms in platinum)


@pytest.mark.parametrize(
    ('name', 'miller', 'labels'),
    [
        ('Pt', (0, 0, 1), {'top Pt', 'bridge Pt-Pt', '4-fold hollow over plane 2'}),
        ('MgO', (0, 0, 1), {'top Mg', 'top O', 'bridge Mg-O', '4-fold hollow'}),
        ('Fe', (1, 1, 0), {'top Fe', 'bridge Fe-Fe (1)', 'bridge Fe-Fe (2)', '3-fold hollow'}),
    ],
)
def test_sites_of_known_surfaces(name, miller, labels):
    stack = stack_planes(bulk_of(name, ['Pt', 'Mg', 'O', 'Fe'], 'key'), miller, 4)
    found = {site.label for site in find_sites(make_slab(stack, terminations(stack, 4)[0]), stack)}
    assert found == labels


def test_symmetric_slabs_carry_the_same_on_both_sides():
    for atoms in adsorbed(make(PT, 16, slab='Pt', molecules=['CO'], symmetric=True)):
        z = atoms.positions[:, 2] - atoms.positions[atoms.numbers == 78, 2].mean()
        for number in (6, 8):
            mine = np.sort(z[atoms.numbers == number])
            assert np.allclose(mine, -mine[::-1], atol=1e-6) and len(mine) == 2 * atoms.info['parameters']['coverage']
        # both sides see the same neighbours
        near = distances(atoms)
        carbon = np.flatnonzero(atoms.numbers == 6)
        rows = np.sort(np.sort(near[carbon][:, atoms.numbers == 78], axis=1)[:, :6], axis=0)
        assert np.allclose(rows[::2], rows[1::2], atol=1e-4)


def test_solvent_has_its_density():
    frames = adsorbed(make(['Pt', 'H', 'O'], 8, slab='Pt', molecules=[], solvent='water', repeats=[3, 3]))
    assert len(frames) >= 4
    for atoms in frames:
        water = int((atoms.numbers == 8).sum())
        area = atoms.cell[0, 0] * atoms.cell[1, 1]
        assert water * 18.015 / (area * 6.0) / 0.602214 == pytest.approx(0.997, abs=0.15)
        near = distances(atoms)
        oxygen = near[np.ix_(atoms.numbers == 8, atoms.numbers == 8)]
        assert oxygen.min() > 1.9
        assert atoms.info['parameters']['solvent_molecules'] == water
        assert atoms.info['phase'] == 'H2O/Pt(111) wet'
    assert check_frames(frames, Checks()) == [None] * len(frames)


def test_every_second_structure_is_wet():
    frames = adsorbed(make(['Pt', 'C', 'O', 'H'], 12, slab='Pt', molecules=['CO'], solvent='water'))
    assert Counter(atoms.info['phase'] for atoms in frames) == {'CO/Pt(111)': 4, 'CO/Pt(111) wet': 4}


def test_several_molecules_mix():
    frames = adsorbed(make([*PT, 'H'], 90, slab='Pt', molecules=['CO', 'water'], coverages=[2]))
    assert {'CO/Pt(111)', 'H2O/Pt(111)', 'CO+H2O/Pt(111)'} <= {atoms.info['phase'] for atoms in frames}


def test_keys_are_obeyed(tmp_path):
    path = tmp_path / 'thing.xyz'
    write(path, molecule('CO'))
    keys = {'sites': ['bridge'], 'orientations': ['O-down'], 'heights': [1.7, 2.2], 'coverages': [1], 'repeats': [2, 3]}
    frames = adsorbed(make(PT, 12, slab='Pt', molecules=[str(path)], **keys, layers=3, vacuum=15.0, references=False))
    assert len(frames) == 12 and frames[0].info['phase'] == 'CO/Pt(111)'
    for atoms in frames:
        values = atoms.info['parameters']
        assert values['site'] == ['bridge Pt-Pt'] and values['orientation'] == ['O-down']
        assert 1.7 - 1e-9 <= values['height'][0] <= 2.2 + 1e-9 and values['repeats'] == [2, 3]
        assert (atoms.numbers == 78).sum() == 18
        z = atoms.positions[:, 2]
        assert atoms.cell[2, 2] - (z.max() - z.min()) == pytest.approx(15.0, abs=1e-6)


def test_orientations_of_molecules():
    assert orientations(get_molecule('CO')) == ['C-down', 'O-down', 'lying', 'random']
    assert orientations(get_molecule('H2O')) == ['O-down', 'H-down', 'lying', 'random']
    # the carbon of CO2 is in the middle
    assert orientations(get_molecule('CO2')) == ['O-down', 'lying', 'random']


def test_materials_are_guessed_where_there_is_no_doubt():
    assert {atoms.info['phase'] for atoms in make(PT, 8)} == {'CO/Pt(111)', 'Pt(111)', 'CO', 'fcc'}
    assert make(MGO, 3, slab='MgO')[0].info['phase'] == 'H2O/MgO(001)'
    with pytest.raises(ValueError, match=r'slab: which crystal of Mg, O, H'):
        make(MGO)


@pytest.mark.parametrize(
    ('elements', 'keys', 'message'),
    [
        (PT, {'molecules': ['watr']}, r"^molecules: molecule 'watr' is unknown: nearest are water"),
        (PT, {'slab': 'Pt', 'molecules': ['H2O']}, r'molecules: water \(H2O\) holds H.*add H to system.elements'),
        (PT, {'slab': 'Pd', 'molecules': ['CO']}, r'^slab: Pd holds Pd.*add Pd to system.elements'),
        (PT, {'slab': 'Pt', 'miller': [[0, 0, 0]]}, r'^miller: \[0, 0, 0\] names no plane'),
        (MGO, {'slab': 'MgO', 'miller': [[1, 1, 1]]}, r'every slab of MgO\(111\) has a dipole'),
        (PT, {'slab': 'Pt', 'terminations': ['O']}, r'terminations: Pt\(111\) does not end in O; it can end in Pt'),
        (
            PT,
            {'slab': 'Pt', 'orientations': ['H-down']},
            r"no orientation 'H-down'; it has C-down, O-down, lying, random",
        ),
        (PT, {'slab': 'Pt', 'coverages': [9]}, r'coverages: 9 carbon monoxide do not fit on 2 x 2.*raise repeats'),
        (PT, {'slab': 'Pt', 'sites': ['top'], 'heights': [0.4]}, r'heights: carbon monoxide overlaps.*touches at 2.12'),
        (
            MGO,
            {'slab': 'MgO', 'molecules': [], 'solvent': 'water', 'solvent_density': 6.0},
            r'lower it from 6.00 to 1\.',
        ),
        (MGO, {'slab': 'MgO', 'molecules': []}, r'the list is empty; name at least one molecule, or a solvent'),
    ],
)
def test_impossible_requests(elements, keys, message):
    with pytest.raises(ValueError, match=message):
        make(elements, **keys)


def test_seed_decides(magnesia):
    again = make(MGO, 110, slab='MgO', molecules=['H2O'])
    other = make(MGO, 110, seed=1, slab='MgO', molecules=['H2O'])
    for a, b in zip(magnesia, again, strict=True):
        assert a.positions.tobytes() == b.positions.tobytes() and a.info == b.info
    assert sum(a.positions.tobytes() != b.positions.tobytes() for a, b in zip(magnesia, other, strict=True)) > 50
