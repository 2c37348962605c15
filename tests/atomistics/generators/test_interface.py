"""Coherent interfaces, checked with distances and strains computed here."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase.data import covalent_radii

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.checks.duplicates import Duplicates
from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum
from aiida_pyacemaker.atomistics.crystals.slabs import bulk_of, stack_planes
from aiida_pyacemaker.atomistics.generators.families.interface.family import InterfaceFamily, materials
from aiida_pyacemaker.atomistics.generators.families.interface.matches import find_matches
from aiida_pyacemaker.atomistics.generators.families.interface.section import Interface

MGO_AL = {'film': 'MgO', 'substrate': 'Al', 'max_atoms': 60, 'max_area': 50.0}


def make(elements, number=20, seed=0, **keys):
    return InterfaceFamily().parents(elements, Interface(**keys), number, np.random.default_rng(seed))


@pytest.fixture(scope='module')
def silicon():
    return make(
        ['Al', 'Si'], 24, max_area=80.0, substrate_miller=[[1, 1, 1], [0, 0, 1]], film_miller=[[1, 1, 1], [0, 0, 1]]
    )


@pytest.fixture(scope='module')
def oxide():
    return make(['Mg', 'O', 'Al'], 40, **MGO_AL)


def interfaces(frames):
    return [atoms for atoms in frames if 'film' in atoms.info['parameters']]


def smallest_ratio(atoms):
    """Shortest distance by covalent radii, over all images within 6 Å (independent of the package)."""
    inverse = np.linalg.inv(atoms.cell.array)
    most = np.ceil(6.0 * np.linalg.norm(inverse, axis=0)).astype(int) + 1
    shifts = np.stack(np.meshgrid(*(range(-n, n + 1) for n in most), indexing='ij'), -1).reshape(-1, 3)
    best = np.inf
    for index in range(len(atoms)):
        delta = atoms.positions - atoms.positions[index] + (shifts @ atoms.cell.array)[:, None]
        lengths = np.linalg.norm(delta, axis=-1)
        lengths[lengths < 1e-9] = np.inf
        radii = covalent_radii[atoms.numbers] + covalent_radii[atoms.numbers[index]]
        best = min(best, float((lengths / radii).min()))
    return best


@pytest.mark.parametrize('which', ['silicon', 'oxide'])
def test_interfaces_are_physical(which, request):
    frames = request.getfixturevalue(which)
    assert len(interfaces(frames)) >= 20 and max(map(len, frames)) <= 120
    assert check_frames(frames, Checks()) == [None] * len(frames)
    for atoms in interfaces(frames):
        assert atoms.pbc.all() and atoms.info['family'] == 'interface' and atoms.info['reason']
        assert 0.7 <= smallest_ratio(atoms) < 1.3
        assert detect_vacuum(atoms).kind == ('slab' if 'vacuum_axes' in atoms.info else 'bulk')


def test_strain_is_what_it_is_said_to_be(silicon):
    """From the cell of the frame alone and the surface cells of the ideal crystals."""
    for atoms in interfaces(silicon):
        values = atoms.info['parameters']
        plane = atoms.info['phase'].split('/')[0].removeprefix('Al(').removesuffix(')')
        stack = stack_planes(bulk_of('Al', ['Al'], 'key'), tuple(int(digit) for digit in plane), 4)
        ideal = np.array(values['film_matrix']) @ stack.vectors
        real = atoms.cell.array[:2, :2]
        # metric tensors: eigenvalues are the squared stretches
        stretches = np.sqrt(np.linalg.eigvals(np.linalg.inv(ideal @ ideal.T) @ (real @ real.T)).real)
        assert np.abs(stretches - 1).max() <= 0.05
        assert sorted(stretches - 1) == pytest.approx(values['strain'], abs=1e-5)
        assert values['area'] == pytest.approx(abs(np.linalg.det(real)), abs=1e-3) and values['area'] <= 80


def test_composition_of_both_materials_is_kept(oxide, silicon):
    for atoms in interfaces(oxide):
        counts = atoms.symbols.formula.count()
        assert counts['Mg'] == counts['O'] > 0 and counts['Al'] > 0
        states = atoms.arrays['oxidation_states']
        assert abs(states.sum()) < 1e-9
        assert set(states[atoms.numbers == 13]) == {0.0} and set(states[atoms.numbers == 12]) == {2.0}
    for atoms in interfaces(silicon):
        values, counts = atoms.info['parameters'], atoms.symbols.formula.count()
        n_film = round(abs(np.linalg.det(values['film_matrix'])))
        n_substrate = round(abs(np.linalg.det(values['substrate_matrix'])))
        assert counts['Al'] % n_film == 0 and counts['Si'] % n_substrate == 0
        assert counts['Al'] >= 4 * n_film and counts['Si'] >= 4 * n_substrate
        assert 'oxidation_states' not in atoms.arrays


def test_film_and_substrate_are_not_deformed_but_by_the_strain(oxide):
    """The substrate of each frame has the bonds of the bulk metal."""
    for atoms in interfaces(oxide)[:12]:
        metal = atoms[atoms.numbers == 13]
        shortest = min(d for d in metal.get_all_distances(mic=True)[np.triu_indices(len(metal), 1)] if d > 0.1)
        assert shortest == pytest.approx(4.05 / np.sqrt(2), abs=0.01) or len(metal) < 8


def test_no_two_are_alike(oxide):
    assert Duplicates().add(oxide).all()
    assert len({atoms.info['phase'] for atoms in interfaces(oxide)}) >= 3
    stackings = [atoms.info['parameters']['stacking'] for atoms in interfaces(oxide)]
    assert stackings.count('periodic') >= 10 and stackings.count('vacuum') >= 10


def test_matches_are_neither_singular_nor_double():
    film = stack_planes(bulk_of('Al', ['Al'], 'key'), (1, 1, 1), 4)
    substrate = stack_planes(bulk_of('Si', ['Si'], 'key'), (1, 1, 1), 4)
    matches = find_matches(film, substrate, 0.05, 120.0)
    assert matches and all(abs(np.linalg.det(match.film)) > 0.5 for match in matches)
    assert all(np.linalg.det(match.substrate) > 0.5 and match.largest <= 0.05 for match in matches)
    # 4 x 4 on 3 x 3, the match known from experiment
    known = [match for match in matches if match.cells == (16, 9) and abs(match.twist) < 0.1]
    assert known and known[0].strain == pytest.approx((3 * 3.8396 / (4 * 2.8638) - 1,) * 2, abs=1e-4)
    rows = {(match.cells, match.strain, round(match.twist, 1), match.flipped) for match in matches}
    assert len(rows) == len(matches)


def test_stackings_gaps_and_layers():
    frames = interfaces(make(['Mg', 'O', 'Al'], 10, **MGO_AL, stacking='vacuum', gap=[2.4, 2.9], vacuum=14.0, shifts=2))
    for atoms in frames:
        assert atoms.info['parameters']['gaps'][0] in (2.4, 2.9) and atoms.info['vacuum_axes'] == [2]
        z = np.sort(atoms.positions[:, 2])
        assert atoms.cell[2, 2] - (z[-1] - z[0]) == pytest.approx(14.0, abs=1e-6)
    thick = interfaces(make(['Mg', 'O', 'Al'], 6, **MGO_AL, substrate_thickness=9.0, stacking='periodic'))
    metal = thick[0].positions[thick[0].numbers == 13, 2]
    assert metal.max() - metal.min() >= 9.0 - 1e-6
    assert all('vacuum_axes' not in atoms.info for atoms in thick)


def test_materials_are_guessed_where_there_is_no_doubt():
    assert [crystal.label for crystal in materials(['Al', 'Si'], Interface())] == ['Al', 'Si']
    assert [crystal.label for crystal in materials(['Mg', 'O', 'Al'], Interface(substrate='MgO'))] == ['Al', 'MgO']
    with pytest.raises(ValueError, match=r'Mg, O, Al could be many pairs.*name film and substrate'):
        materials(['Mg', 'O', 'Al'], Interface())
    with pytest.raises(ValueError, match=r'film: Cu holds Cu'):
        materials(['Mg', 'O', 'Al'], Interface(film='Cu', substrate='MgO'))


def test_no_match_names_the_nearest():
    keys = {'film': 'Al', 'substrate': 'Si', 'film_miller': [[1, 1, 1]], 'substrate_miller': [[1, 1, 1]]}
    with pytest.raises(ValueError, match=r'nearest match is Al\(111\)/Si\(111\): strain .* raise max_strain') as caught:
        make(['Al', 'Si'], **keys, max_strain=0.01, max_area=60.0)
    limit = float(str(caught.value).split('raise max_strain to ')[1].split(',')[0])
    assert 0.01 < limit < 0.02
    # what it says is true
    assert interfaces(make(['Al', 'Si'], 3, **keys, max_strain=limit, max_area=60.0))
    assert 'max_area to 115' in str(caught.value)
    with pytest.raises(ValueError, match=r'max_atoms: no match has 10 atoms or fewer; the smallest .* raise max_atoms'):
        make(['Al', 'Si'], **keys, max_atoms=10)
    with pytest.raises(ValueError, match='already has 13 Å²'):
        make(['Al', 'Si'], **keys, max_area=5.0)


@pytest.mark.parametrize('area', (120.0, 500.0))
def test_nearest_match_is_found_soon(area):
    """A strain that nothing has: the search for what is nearest is bounded, and what it says is true."""
    start = time.process_time()
    with pytest.raises(ValueError, match=r'up to 0.0001 %.*nearest match is Al\(001\)/Si\(001\)') as caught:
        make(['Al', 'Si'], max_strain=1e-6, max_area=area)
    assert time.process_time() - start < 15
    limit = float(str(caught.value).split('raise max_strain to ')[1])
    assert interfaces(make(['Al', 'Si'], 2, max_strain=limit, film_miller=[[0, 0, 1]], substrate_miller=[[0, 0, 1]]))


def test_one_element_is_no_pair():
    with pytest.raises(ValueError, match=r'two materials, and system\.elements names Al alone'):
        make(['Al'])
    assert interfaces(make(['Al'], 3, film='Al', substrate='Al', film_miller=[[1, 1, 1]], max_area=40.0))


def test_other_impossible_requests():
    with pytest.raises(ValueError, match=r'film_miller: \[0, 0, 0\] names no plane'):
        make(['Al', 'Si'], film_miller=[[0, 0, 0]])
    with pytest.raises(ValueError, match=r'film_miller: every slab of MgO\(111\) has a dipole'):
        make(['Mg', 'O', 'Al'], **MGO_AL, film_miller=[[1, 1, 1]])
    with pytest.raises(ValueError, match=r'gap: at 0.2 Å atoms of both materials overlap; .* touch at'):
        make(['Mg', 'O', 'Al'], **MGO_AL, film_miller=[[0, 0, 1]], substrate_miller=[[0, 0, 1]], gap=[0.2])


def test_seed_decides(oxide):
    again = make(['Mg', 'O', 'Al'], 40, **MGO_AL)
    other = make(['Mg', 'O', 'Al'], 40, seed=1, **MGO_AL)
    for a, b in zip(oxide, again, strict=True):
        assert a.positions.tobytes() == b.positions.tobytes() and a.cell.array.tobytes() == b.cell.array.tobytes()
        assert a.info == b.info
    assert any(
        len(a) != len(b) or a.positions.tobytes() != b.positions.tobytes() for a, b in zip(oxide, other, strict=False)
    )


def test_bulk_crystals_come_along(oxide):
    references = [atoms for atoms in oxide if 'reference' in atoms.info['parameters']]
    assert [atoms.info['phase'] for atoms in references] == ['rocksalt', 'fcc']
    assert 'film' in oxide[0].info['parameters']
    assert len(make(['Mg', 'O', 'Al'], 1, **MGO_AL)) == 1
