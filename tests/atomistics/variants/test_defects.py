"""Point defects: neutral, where they should be, and only where they make sense."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.data import covalent_radii

from aiida_pyacemaker.atomistics.variants import NotApplicableError, defects
from aiida_pyacemaker.atomistics.variants.defects import (
    Antisite,
    Divacancy,
    Interstitial,
    Vacancy,
    antisite,
    divacancy,
    interstitial,
    vacancy,
)
from aiida_pyacemaker.atomistics.variants.supercell import supercell

from .conftest import distances


@pytest.fixture
def still(monkeypatch):
    """No strain and no rattle: what is left are the defects."""
    monkeypatch.setattr(defects, 'disturb', lambda atoms, rng: None)


def missing(atoms, complete):
    return Counter(complete.get_chemical_symbols()) - Counter(atoms.get_chemical_symbols())


def test_one_atom_is_missing(parents, rng, still):
    atoms = vacancy(parents['fcc'], Vacancy(), rng, 0, 4)
    complete = supercell(parents['fcc'], 32)
    site = atoms.info['parameters']['sites'][0]
    del complete[site]
    assert np.allclose(atoms.positions, complete.positions) and len(atoms) == 31
    assert atoms.info['parameters'] == {'given': 1, 'defect': 'vacancy', 'removed': {'Al': 1}, 'sites': [site]}
    sites = {vacancy(parents['fcc'], Vacancy(), rng, 0, 4).info['parameters']['sites'][0] for _ in range(30)}
    assert len(sites) > 10


def test_the_cell_is_strained_and_rattled(parents, rng):
    atoms = vacancy(parents['fcc'], Vacancy(), rng, 0, 4)
    strain = np.linalg.solve(supercell(parents['fcc'], 32).cell.array, atoms.cell.array) - np.eye(3)
    assert 0 < abs(strain).max() <= 0.03
    complete = supercell(parents['fcc'], 32)
    complete.set_cell(atoms.cell, scale_atoms=True)
    del complete[atoms.info['parameters']['sites']]
    assert 0.03 < (atoms.positions - complete.positions).std() < 0.07


def test_density(parents, rng):
    section = Vacancy(count=[1, 4], atoms=32)
    assert [len(vacancy(parents['fcc'], section, rng, k, 4)) for k in range(4)] == [31, 28, 31, 28]
    with pytest.raises(ValueError, match=r'count: with 20 of them 20 of 32 atoms .*; give 16 at most, or atoms 40'):
        Vacancy(count=[1, 20])
    with pytest.raises(ValueError, match=r'count: with 9 of them 18 of 32 atoms .* give 8 at most'):
        Divacancy(count=[9])
    # of ions each is a pair or more
    with pytest.raises(NotApplicableError, match=r'structures.vacancy.count'):
        vacancy(parents['rocksalt'], Vacancy(count=[16]), rng, 0, 1)


@pytest.mark.parametrize(
    ('name', 'sets'),
    [
        ('rocksalt', [{'Na': 1, 'Cl': 1}]),
        ('rutile', [{'Ti': 1, 'O': 2}]),
        ('perovskite', [{'Sr': 1, 'O': 1}, {'Ti': 1, 'O': 2}]),
    ],
)
def test_vacancies_of_ions_are_schottky_defects(parents, rng, name, sets):
    for operation, section, kind in (
        (vacancy, Vacancy(), 'Schottky'),
        (divacancy, Divacancy(), 'bound Schottky'),
        (vacancy, Vacancy(count=[2]), 'Schottky'),
    ):
        for index in range(4):
            atoms = operation(parents[name], section, rng, index, 4)
            assert atoms.arrays['oxidation_states'].sum() == 0
            expected = {symbol: n * section.count[0] for symbol, n in sets[index % len(sets)].items()}
            assert missing(atoms, supercell(parents[name], 32)) == expected
            assert atoms.info['parameters']['defect'] == kind
            assert atoms.info['parameters']['removed'] == expected


def test_bound_defects_are_of_neighbours(parents, rng):
    for name, nearest in (('rocksalt', 2.82), ('fcc', 4.05 / np.sqrt(2)), ('diamond', 2.3512)):
        complete = supercell(parents[name], 32)
        for index in range(5):
            first, second = divacancy(parents[name], Divacancy(), rng, index, 5).info['parameters']['sites']
            assert np.isclose(complete.get_distance(first, second, mic=True), nearest, atol=1e-3)


def test_mixed_valence_is_told_apart(parents, rng):
    """Fe2O3 and FeO in one: Fe(2+) goes with one O, Fe(3+) with one and a half."""
    parent = parents['rocksalt']
    parent.symbols = ['Fe', 'O'] * 4
    parent.arrays['oxidation_states'] = np.array([2, -2.5, 3, -2.5, 2, -2.5, 3, -2.5])
    found = []
    for index in range(6):
        atoms = vacancy(parent, Vacancy(atoms=64), rng, index, 6)
        assert abs(atoms.arrays['oxidation_states'].sum()) < 1e-9
        found.append(tuple(atoms.info['parameters']['removed'].items()))
    assert set(found) == {(('Fe', 5), ('O', 4)), (('Fe', 5), ('O', 6))}


def test_interstitials_are_in_the_voids_and_have_room(parents, rng, still):
    for name, radius in (('fcc', 2.025), ('diamond', 2.3512), ('hcp', 2.266)):
        atoms = interstitial(parents[name], Interstitial(), rng, 0, 4)
        assert len(atoms) == len(supercell(parents[name], 32)) + 1
        assert np.isclose(atoms.info['parameters']['void_radius'], radius, atol=1e-3)
        assert atoms.info['parameters']['sites'] == [len(atoms) - 1]
        near = distances(atoms, 1)[-1].min()
        assert near >= 0.78 * 2 * covalent_radii[atoms.numbers[0]] - 1e-6
        assert near >= radius - 1e-3


def test_neighbours_are_pushed_away_in_order(parents, rng, still):
    """The octahedral void of copper, 1.805 Å, is too small: its neighbours move out, farther atoms less."""
    parent = parents['fcc']
    parent.symbols = 'Cu4'
    parent.set_cell(parent.cell * 3.61 / 4.05, scale_atoms=True)
    atoms = interstitial(parent, Interstitial(), rng, 0, 4)
    complete = supercell(parent, 32)
    moves = np.linalg.norm(atoms.positions[:-1] - complete.positions, axis=1)
    away = distances(atoms, 1)[-1].reshape(33, -1).min(axis=1)[:-1]
    assert np.isclose(away.min(), 0.78 * 2 * 1.32)
    order = np.argsort(away)
    assert moves[order[0]] > 0.2 and moves[order[0]] > 3 * moves[order[-1]]
    others = distances(atoms[:-1], 1)
    assert others.min() > 0.7 * 2 * 1.32


def test_voids_and_elements_take_turns(parents, rng):
    found = {
        (p['element'], p['void_radius'])
        for p in (interstitial(parents['alloy'], Interstitial(), rng, k, 6).info['parameters'] for k in range(6))
    }
    assert len(found) > 3 and {element for element, _ in found} == {'Cu', 'Au'}
    atoms = interstitial(parents['fcc'], Interstitial(element='H', count=[3]), rng, 0, 1)
    assert atoms.symbols.count('H') == 3
    assert len(interstitial(parents['slab'], Interstitial(), rng, 0, 1)) == 37


def test_interstitials_of_ions_are_frenkel_pairs(parents, rng, still):
    for index in range(4):
        atoms = interstitial(parents['rocksalt'], Interstitial(), rng, index, 4)
        complete = supercell(parents['rocksalt'], 32)
        assert Counter(atoms.symbols) == Counter(complete.symbols)
        assert atoms.arrays['oxidation_states'].sum() == 0
        (moved,) = atoms.info['parameters']['sites']
        assert atoms.info['parameters']['defect'] == 'Frenkel pair'
        hop = complete.copy()
        hop.positions[0] = atoms.positions[moved]
        hop.positions[1] = complete.positions[moved]
        assert hop.get_distance(0, 1, mic=True) > 3.0  # not next to the vacancy it leaves, 2.44 Å
    with pytest.raises(NotApplicableError, match=r'structures.interstitial.element: K .*choose from Cl, Na'):
        interstitial(parents['rocksalt'], Interstitial(element='K'), rng, 0, 1)
    with pytest.raises(NotApplicableError, match='no void'):
        interstitial(parents['perovskite'], Interstitial(), rng, 0, 1)


def test_antisites(parents, rng, still):
    complete = supercell(parents['alloy'], 32)
    atoms = antisite(parents['alloy'], Antisite(count=[3]), rng, 0, 1)
    assert Counter(atoms.symbols) == Counter(complete.symbols)
    assert sum(a != b for a, b in zip(atoms.symbols, complete.symbols, strict=True)) == 6
    for first, second, here, there in atoms.info['parameters']['sites']:
        assert (complete.symbols[here], complete.symbols[there]) == (first, second)
        assert (atoms.symbols[here], atoms.symbols[there]) == (second, first)
    atoms = antisite(parents['alloy'], Antisite(kind='substitute'), rng, 0, 1)
    assert atoms.symbols.count('Cu') in (15, 17)


def test_antisites_of_ions_are_of_equal_charge(parents, rng):
    for index in range(5):
        atoms = antisite(parents['mixed'], Antisite(), rng, index, 5)
        ((first, second, *_),) = atoms.info['parameters']['sites']
        assert {first, second} == {'Mg', 'Ca'}
        assert np.array_equal(atoms.arrays['oxidation_states'] < 0, np.array(atoms.symbols) == 'O')
    for name, message in (('rocksalt', 'same charge'), ('fcc', 'one element')):
        with pytest.raises(NotApplicableError, match=message):
            antisite(parents[name], Antisite(), rng, 0, 1)


def test_adsorbed_molecules_are_left_alone(parents, rng, still):
    parent = parents['slab']
    parent += parents['molecule']
    parent.positions[-3:] = [[0, 0, 16], [0.7, 0, 16.6], [-0.7, 0, 16.6]]
    parent.info['vacuum_axes'] = [2]
    parent.info['family'] = 'adsorption'
    with pytest.raises(NotApplicableError, match='which atoms'):
        vacancy(parent, Vacancy(), rng, 0, 10)
    parent.set_array('adsorbate', np.array([False] * 4 + [True] * 3))
    for index in range(10):
        assert vacancy(parent, Vacancy(), rng, index, 10).symbols.count('O') == 6
        assert divacancy(parent, Divacancy(), rng, index, 10).symbols.count('H') == 12
    with pytest.raises(NotApplicableError):
        antisite(parent, Antisite(), rng, 0, 1)


@pytest.mark.parametrize(
    ('operation', 'section'),
    [(vacancy, Vacancy()), (divacancy, Divacancy()), (interstitial, Interstitial()), (antisite, Antisite())],
)
def test_not_in_molecules(parents, rng, operation, section):
    with pytest.raises(NotApplicableError, match='molecule'):
        operation(parents['molecule'], section, rng, 0, 1)
    parents['fcc'].info['family'] = 'molecular'
    with pytest.raises(NotApplicableError, match='molecules'):
        operation(parents['fcc'], section, rng, 0, 1)
