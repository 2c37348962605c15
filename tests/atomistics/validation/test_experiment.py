"""The table of measured values against other collections, and the numbers of a crystal beside it."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from pymatgen.core import Element

from aiida_pyacemaker.atomistics.validation.references import (
    compare,
    find_experiment,
    find_quantity,
    quantities,
    read_experiment,
    voigt_bulk,
)

LATTICES = {'fcc': 225, 'bcc': 229, 'hcp': 194, 'diamond': 227}


def test_lattices_of_elements():
    """Those that ASE has, of which sodium is a cold one, in the same structure."""
    for crystal, values in read_experiment().items():
        formula, group = crystal.split()
        if formula not in atomic_numbers:
            continue
        state = reference_states[atomic_numbers[formula]]
        assert LATTICES[state['symmetry']] == int(group), crystal
        assert values['a'][0] == pytest.approx(state['a'], rel=0.015), crystal
        if 'c' in values:
            assert values['c'][0] == pytest.approx(state['a'] * state['c/a'], rel=0.015), crystal


def test_melting_and_stiffness_of_elements():
    """Melting points that pymatgen has, to 1 %; its bulk moduli, some of which are guesses, in nearly all cases."""
    ratios = []
    for crystal, values in read_experiment().items():
        symbol = crystal.split()[0]
        if symbol not in atomic_numbers:
            continue
        element = Element(symbol)
        if 'melting_temperature' in values:
            assert values['melting_temperature'][0] == pytest.approx(float(element.melting_point), rel=0.01), crystal
        modulus = voigt_bulk({name: value for name, (value, _) in values.items()})
        if modulus is not None and symbol not in ('C', 'Ge', 'Zr'):  # graphite's, and two that are missing
            ratios.append(modulus / float(element.bulk_modulus))
    ratios = np.abs(np.array(ratios) - 1)
    assert len(ratios) == 22 and np.median(ratios) < 0.05 and np.mean(ratios < 0.15) > 0.8


def test_constants_are_stable():
    """Every measured tensor is positive definite, as every crystal's is."""
    for crystal, values in read_experiment().items():
        c = {name: value for name, (value, _) in values.items() if name[0] == 'C'}
        if not c:
            continue
        c = {'C13': c['C12'], 'C33': c['C11'], **c}
        upper = np.array(
            [[c['C11'], c['C12'], c['C13']], [c['C12'], c['C11'], c['C13']], [c['C13'], c['C13'], c['C33']]]
        )
        assert np.linalg.eigvalsh(upper).min() > 0 and c['C44'] > 0, crystal
        assert all(find_quantity(name).unit for name in values) and all(source for _, source in values.values())


@pytest.mark.parametrize(
    ('atoms', 'group', 'known'),
    [
        (bulk('Al', cubic=True), 'Fm-3m (225)', {'a': 4.05, 'C44': 28.3, 'vacancy Al': 0.67, 'bulk_modulus': 75.9}),
        (bulk('NaCl', 'rocksalt', a=5.6), 'Fm-3m (225)', {'a': 5.64, 'melting_temperature': 1074}),
        (bulk('NaCl', 'cesiumchloride', a=3.5), 'Pm-3m (221)', {}),
        (bulk('Mg'), 'P6_3/mmc (194)', {'c': 5.211, 'bulk_modulus': 35.6}),
    ],
)
def test_find(atoms, group, known):
    """Whatever the cell; another phase of the same composition is another crystal."""
    found = find_experiment({'numbers': (atoms * (1, 1, 2)).numbers.tolist(), 'space_group': group})
    assert {name: found[name]['value'] for name in known} == pytest.approx(known, rel=2e-3)
    assert bool(found) == bool(known)
    assert all(entry['source'] for entry in found.values())


def test_volume():
    """That of the measured lengths, of a cubic and of a hexagonal crystal."""
    for symbol, group in (('Al', 'Fm-3m (225)'), ('Mg', 'P6_3/mmc (194)')):
        atoms = bulk(symbol, a=3.0)
        conventional = bulk(symbol, a=3.0, cubic=symbol == 'Al')
        lengths = dict(zip('abc', conventional.cell.lengths(), strict=True))
        cell = {**lengths, 'volume': atoms.get_volume() / len(atoms)}
        crystal = {'numbers': atoms.numbers.tolist(), 'space_group': group, 'equilibrium': cell}
        known = {'Al': 4.05**3 / 4, 'Mg': 3.209**2 * 5.211 * np.sqrt(3) / 4}[symbol]
        assert find_experiment(crystal)['volume']['value'] == pytest.approx(known, abs=0.01)


CRYSTAL = {
    'name': 'Al fcc',
    'numbers': [13],
    'space_group': 'Fm-3m (225)',
    'equilibrium': {'a': 4.0, 'b': 4.0, 'c': 4.0, 'alpha': 90.0, 'beta': 90.0, 'gamma': 90.0, 'volume': 16.0},
    'eos': {'status': 'ok', 'birch_murnaghan': {'v0': 16.1, 'e0': -3.0, 'b0': 80.0, 'b0_prime': 4.5}},
    'elasticity': {'status': 'failed', 'message': 'why not', 'constants': {'C11': 1.0}},
    'vacancy': {'sites': [{'element': 'Al', 'energy': 0.7}, {'element': 'Al', 'energy': 0.6}]},
    'surfaces': {'surfaces': [{'miller': [1, 1, 1], 'energy': 0.9}, {'miller': [1, 0, 0], 'energy': 1.0}]},
    'phonons': {'status': 'not_applicable', 'message': 'why not'},
}  # fmt: skip


def test_quantities():
    """What failed is no number; of several sites or terminations that of lowest energy."""
    found = quantities(CRYSTAL)
    assert found['bulk_modulus'] == 80.0 and found['volume'] == 16.0 and found['b0_prime'] == 4.5
    assert found['vacancy Al'] == 0.6 and found['surface (111)'] == found['surface_lowest'] == 0.9
    assert not {'C11', 'max_frequency', 'melting_temperature'} & found.keys()
    assert quantities({}) == {}


def test_compare():
    """Potential, DFT and experiment side by side; what only experiment knows is no row."""
    rows = compare(CRYSTAL, {'DFT': {'a': 4.1, 'C11': 100.0}, 'experiment': find_experiment(CRYSTAL)})
    by_name = {row['name']: row for row in rows}
    assert [row['name'] for row in rows][:4] == ['a', 'volume', 'C11', 'bulk_modulus']
    assert by_name['a']['others']['DFT']['difference'] == pytest.approx(4.0 / 4.1 - 1)
    assert by_name['C11']['value'] is None and by_name['C11']['others']['DFT']['difference'] is None
    assert by_name['C11']['others']['experiment']['value'] == 106.8
    assert by_name['volume']['others']['DFT'] is None
    assert by_name['volume']['others']['experiment']['value'] == pytest.approx(4.05**3 / 4, abs=0.01)
    assert by_name['b0_prime']['others'] == {'DFT': None, 'experiment': None}
    assert not {'b', 'gamma', 'C44', 'melting_temperature'} & by_name.keys()
    assert (by_name['vacancy Al']['label'], by_name['vacancy Al']['unit']) == ('vacancy, Al', 'eV')
