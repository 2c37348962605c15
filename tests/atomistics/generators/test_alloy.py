"""Alloys: what is proposed, in which order, how densely, and what is impossible."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii
from ase.io import write
from ase.neighborlist import neighbor_list
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.crystals.compositions import Limits, carrying, counts, grid, shapes_of
from aiida_pyacemaker.atomistics.crystals.elements import ATOMS_PER_CELL, conventional_cell, volume_per_atom
from aiida_pyacemaker.atomistics.crystals.ordered import ORDERED, assignments, decorated
from aiida_pyacemaker.atomistics.generators.families.alloy import Alloy, AlloyFamily

SPACE_GROUPS = {
    'L1_0': 123, 'L1_2': 221, 'D0_22': 139, 'B2': 221, 'D0_3': 225, 'B32': 227, 'B19': 51, 'B_h': 187, 'D0_a': 59,
    'D0_19': 194, 'B3': 216, 'B1': 225, 'ABC2': 123, 'L2_1': 225, 'X_a': 216, 'ABCD': 47, 'Y': 216,
}  # fmt: skip


def make(elements, number=50, seed=0, **parameters):
    return AlloyFamily().parents(elements, Alloy(**parameters), number, np.random.default_rng(seed))


def fractions(atoms):
    return {symbol: n / len(atoms) for symbol, n in Counter(atoms.get_chemical_symbols()).items()}


def alpha(atoms, first, second):
    """Warren-Cowley parameter of the first shell, written anew from distances."""
    reach = 1.1 * neighbor_list('d', atoms, 4.5).min()
    symbols = np.array(atoms.get_chemical_symbols())
    i, j = neighbor_list('ij', atoms, reach)
    of_first = symbols[i] == first
    return 1 - (symbols[j][of_first] == second).mean() / fractions(atoms)[second]


def test_aluminium_is_the_conventional_cell_of_ase():
    (atoms,) = make(['Al'])
    assert atoms == bulk('Al', cubic=True)
    assert atoms.info['phase'] == 'fcc' and atoms.info['family'] == 'alloy'


def test_one_element_in_lattices():
    frames = make(['Al'], lattices=['bcc', 'hcp', 'sc', 'diamond'])
    assert [atoms.info['phase'] for atoms in frames] == ['bcc', 'hcp', 'sc', 'diamond']
    for atoms in frames:
        assert atoms.get_volume() / len(atoms) == pytest.approx(4.05**3 / 4)
    assert make(['Ga'])[0].info['phase'] == 'Ga ground state' and len(make(['Ga'])) == 1


def test_all_parents_are_physical_neutral_of_tags_and_json_able():
    for elements in (['Cu', 'Au', 'Ni'], ['Fe', 'Pt'], ['Cr', 'Mn', 'Fe', 'Co', 'Ni'], ['Mg', 'Zn'], ['Li', 'Cs']):
        frames = make(elements, 120)
        assert len(frames) == 120
        volumes = {element: volume_per_atom(element) for element in elements}
        for atoms in frames:
            assert atoms.pbc.all() and set(atoms.arrays) == {'numbers', 'positions'}
            assert json.loads(json.dumps(atoms.info)) == atoms.info
            assert {'family', 'phase', 'reason', 'parameters'} == set(atoms.info)
            assert atoms.info['parameters']['composition'] == pytest.approx(fractions(atoms))
            expected = sum(x * volumes[element] for element, x in fractions(atoms).items())
            assert atoms.get_volume() / len(atoms) == pytest.approx(expected)
            # no two atoms closer than 0.7 of the covalent radii, by an own list of neighbours
            i, j, d = neighbor_list('ijd', atoms, 4.0)
            radii = covalent_radii[atoms.numbers]
            if elements != ['Li', 'Cs']:  # the volumes of these differ five-fold: no common lattice is natural
                assert (d > 0.7 * (radii[i] + radii[j])).all(), atoms.info


def test_all_pure_and_binary_subsystems_are_there_and_pure_comes_first():
    elements = ['Cr', 'Fe', 'Co', 'Ni']
    frames = make(elements, 120)
    systems = [frozenset(atoms.get_chemical_symbols()) for atoms in frames]
    for size in (1, 2, 4):
        assert {frozenset(names) for names in itertools.combinations(elements, size)} <= set(systems)
    sizes = [len(system) for system in systems]
    assert max(sizes[: sizes.count(1)]) == 1
    ground = [atoms.info['phase'] for atoms in frames[:4]]
    assert ground == ['bcc', 'bcc', 'hcp', 'fcc'] and 'ground state of Cr' in frames[0].info['reason']
    solutions = [atoms for atoms in frames if atoms.info['parameters']['occupation'] == 'random']
    assert set(solutions[0].get_chemical_symbols()) == set(elements)  # the middle of the diagram is not forgotten


def test_lattices_are_those_that_occur_in_nature():
    assert {atoms.info['phase'] for atoms in make(['Ti', 'C'], 9, ordered=False)} == {'hcp', 'diamond'}
    with pytest.raises(ValueError, match=r'H does not form alloys'):
        make(['Ti', 'H'], 9)
    assert {atoms.info['phase'] for atoms in make(['Ga', 'In'], 9, ordered=False)} == {'Ga ground state', 'bct', 'fcc'}


def test_ordered_compounds_have_their_space_groups():
    for name, (lattice, _, letters, _) in ORDERED.items():
        species = ['Cu', 'Au', 'Ni', 'Pt'][: len(set(letters))]
        atoms = decorated(conventional_cell(['Cu'], lattice), name, species)
        group = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-3)
        assert group.number == SPACE_GROUPS[name], name
    kinds = [('L1_0', 'fcc', 2), ('L1_2', 'fcc', 2), ('L2_1', 'bcc', 3), ('Y', 'bcc', 4)]
    elements = ['Cu', 'Au', 'Ni', 'Pt']
    ways = {name: len(assignments(conventional_cell(['Cu'], at), name, elements[:n])) for name, at, n in kinds}
    assert ways == {'L1_0': 1, 'L1_2': 2, 'L2_1': 3, 'Y': 3}


def test_ordered_compounds_of_the_lattices_only():
    frames = make(['Cu', 'Au'], 40, lattices=['fcc'])
    ordered = Counter(atoms.info['phase'] for atoms in frames if atoms.info['phase'] != 'fcc')
    assert ordered == {'L1_0': 1, 'L1_2': 2, 'D0_22': 2}
    gold = [atoms for atoms in frames if atoms.info['phase'] == 'L1_2' and fractions(atoms)['Cu'] == 0.75]
    assert len(gold) == 1 and (neighbor_list('ij', gold[0], 3.0)[0] == 0).sum() == 12
    assert not any('ordered' in atoms.info['reason'] for atoms in make(['Cu', 'Au'], 40, ordered=False))


def test_given_compositions_and_nothing_else():
    frames = make(['Cu', 'Au', 'Ni'], 30, compositions=[{'Cu': 0.75, 'Au': 0.25}, {'Ni': 1.0}])
    found = {tuple(sorted(fractions(atoms).items())) for atoms in frames}
    assert found == {(('Au', 0.25), ('Cu', 0.75)), (('Ni', 1.0),)}
    assert {atoms.info['phase'] for atoms in frames} == {'fcc', 'L1_2', 'D0_22'} and len(frames) == 30


def test_a_third_takes_the_smallest_cell_that_carries_it():
    frames = make(['Cu', 'Au'], 5, compositions=[{'Cu': 1 / 3, 'Au': 2 / 3}], ordered=False)
    assert {len(atoms) for atoms in frames} == {24}
    repeats = frames[0].cell.lengths() / min(frames[0].cell.lengths())
    np.testing.assert_allclose(repeats, [1, 2, 3])
    message = r'16 to 16 atoms carries {Cu: 0\.3333, Au: 0\.6667}; the nearest possible is {Cu: 0\.3125, Au: 0\.6875}'
    with pytest.raises(ValueError, match=message):
        make(['Cu', 'Au'], 5, compositions=[{'Cu': 1 / 3, 'Au': 2 / 3}], max_atoms=16)


def test_range_limits_every_composition():
    frames = make(['Al', 'Ni', 'Ti'], 60, range={'Al': [0.4, 0.8], 'Ti': [0.1, 0.5]})
    assert len(frames) == 60 and all('phase' in atoms.info for atoms in frames)
    for atoms in frames:
        x = fractions(atoms)
        assert 0.395 <= x['Al'] <= 0.805 and 0.095 <= x['Ti'] <= 0.505
    # narrower than the grid: a finer one is taken
    assert {round(fractions(atoms)['Al'], 3) for atoms in make(['Al', 'Ni'], 20, range={'Al': [0.9, 0.95]})} <= {
        0.906, 0.922, 0.938, 0.925
    }  # fmt: skip


def test_grid_is_the_simplex():
    points = list(grid(Limits.of(['A', 'B', 'C'], None, 'key'), 4))
    assert points[0] == pytest.approx({'A': 1 / 3, 'B': 1 / 3, 'C': 1 / 3})
    assert len(points) == 1 + 3 * 3 + 3  # middle, three binaries at three fractions, three ternaries
    assert all(sum(point.values()) == pytest.approx(1) for point in points)
    assert [set(point) for point in points[1:4]] == [{'A', 'B'}, {'A', 'C'}, {'B', 'C'}]


def test_cells_for_compositions():
    assert counts({'A': 1 / 3, 'B': 2 / 3}, 10) == {'A': 3, 'B': 7}
    assert counts({'A': 0.5, 'B': 0.5}, 3) == {
        'A': 2,
        'B': 1,
    }
    shapes = shapes_of([4.0, 4.0, 4.0], 4, 16, 64)
    assert next(iter(shapes.items())) == (16, (1, 2, 2)) and shapes[32] == (2, 2, 2)
    assert carrying({'A': 0.5, 'B': 0.5}, shapes) == ((1, 2, 2), 0.0)
    # 1 in 20: a cell of 20 atoms would be five times as long as wide, so a larger compact one is taken only if it fits
    assert carrying({'A': 0.05, 'B': 0.95}, {16: (1, 2, 2), 20: (1, 1, 5)})[0] == (1, 1, 5)


def test_vegard_can_be_overridden():
    half = [{'Cu': 0.5, 'Au': 0.5}]
    small = make(['Cu', 'Au'], 3, compositions=half, volumes={'Cu': 10.0, 'Au': 20.0}, ordered=False)
    assert small[0].get_volume() / len(small[0]) == pytest.approx(15.0)
    (pure,) = make(['Cu'], lattice_constants={'Cu': 3.7})
    assert pure.cell.lengths()[0] == pytest.approx(3.7)


def test_own_lattice(tmp_path):
    lattice = bulk('In')
    write(tmp_path / 'mine.cif', lattice)
    write(tmp_path / 'two.extxyz', [bulk('Al'), bulk('Cu')])
    (tmp_path / 'water.xyz').write_text('1\n\nO 0 0 0\n')
    frames = make(['Cu', 'Au'], 12, lattice_files=[str(tmp_path / 'mine.cif')])
    assert {atoms.info['phase'] for atoms in frames} == {'mine'} and len(frames) == 12
    assert [atoms.get_chemical_formula() for atoms in frames[:2]] == ['Cu', 'Au']
    ratio = lattice.cell.lengths() / frames[0].cell.lengths()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    bad = [('none.cif', 'does not exist'), ('two.extxyz', 'has 2 structures'), ('water.xyz', 'has no cell')]
    for path, message in bad:
        with pytest.raises(ValueError, match=rf'lattice_files.*{message}'):
            make(['Cu', 'Au'], lattice_files=[str(tmp_path / path)])


@pytest.mark.parametrize('lattice', ATOMS_PER_CELL)
def test_special_quasirandom_structures_are_more_random_than_random_ones(lattice):
    asked = {'compositions': [{'Cu': 0.5, 'Au': 0.5}], 'lattices': [lattice], 'ordered': False, 'atoms': 16}
    (special,) = make(['Cu', 'Au'], 1, occupation='sqs', **asked)
    assert special.info['parameters']['occupation'] == 'sqs' and fractions(special) == {'Cu': 0.5, 'Au': 0.5}
    typical = np.mean([abs(alpha(atoms, 'Cu', 'Au')) for atoms in make(['Cu', 'Au'], 20, **asked)])
    assert abs(alpha(special, 'Cu', 'Au')) <= min(0.13, typical)


def test_special_and_random():
    frames = make(['Cu', 'Au'], 8, occupation='both', ordered=False, lattices=['fcc'])
    assert [atoms.info['parameters']['occupation'] for atoms in frames] == ['pure'] * 2 + ['sqs'] * 3 + ['random'] * 3
    # no more than asked for, however many are wanted
    assert len(make(['Cu', 'Au'], 100, occupation='sqs', ordered=False, lattices=['fcc'])) == 2 + 3


@pytest.mark.parametrize(('target', 'within'), [(-0.2, 0.03), (0.0, 0.03), (0.25, 0.03)])
def test_short_range_order_is_reached_and_reported(target, within):
    frames = make(
        ['Cu', 'Au'], 4, compositions=[{'Cu': 0.5, 'Au': 0.5}], short_range_order=target, atoms=32, ordered=False
    )
    assert len(frames) == 4
    for atoms in frames:
        assert alpha(atoms, 'Cu', 'Au') == pytest.approx(target, abs=within)
        reported = atoms.info['parameters']['short_range_order']
        assert reported == {'Cu-Au': pytest.approx(alpha(atoms, 'Cu', 'Au'), abs=1e-5)}


def test_short_range_order_per_pair():
    given = {'compositions': [{'Cu': 0.5, 'Au': 0.25, 'Ni': 0.25}], 'atoms': 32, 'ordered': False}
    frames = make(['Cu', 'Au', 'Ni'], 3, short_range_order={'Ni-Au': 0.5}, **given)
    for atoms in frames:
        assert list(atoms.info['parameters']['short_range_order']) == ['Ni-Au']
        assert alpha(atoms, 'Ni', 'Au') == pytest.approx(0.5, abs=0.1)
    # out of reach: as near as may be, said in the info, and no endless search
    far = make(['Cu', 'Au', 'Ni'], 1, short_range_order=-5.0, **given)[0].info['parameters']['short_range_order']
    assert all(-1 < value < 0 for value in far.values())


def test_ten_thousand_are_cheap_and_all_different():
    parameters = Alloy(atoms=32, lattices=['fcc'], ordered=False, compositions=[{'Cu': 0.5, 'Au': 0.25, 'Ni': 0.25}])
    AlloyFamily().parents(['Cu', 'Au', 'Ni'], parameters, 10, np.random.default_rng(0))
    start = time.process_time()
    frames = AlloyFamily().parents(['Cu', 'Au', 'Ni'], parameters, 10_000, np.random.default_rng(0))
    spent = (time.process_time() - start) / len(frames)
    assert len(frames) == 10_000 and len({atoms.numbers.tobytes() for atoms in frames}) == 10_000
    assert {len(atoms) for atoms in frames} == {32}
    assert spent < 100e-6
    frames[0].info['parameters']['composition']['Cu'] = 0.0  # frames share nothing
    frames[0].numbers[:] = 1
    assert frames[1].info['parameters']['composition']['Cu'] == 0.5 and 1 not in frames[1].numbers


def test_finite_choice_ends():
    frames = make(['Cu', 'Au'], 10_000, atoms=1, max_atoms=4, lattices=['fcc'], ordered=False)
    assert len(frames) == 2 + 6 + 4 + 4  # pure, and all ways to fill four sites half and by quarters


def test_many_elements_are_quick():
    elements = 'Ti V Cr Mn Fe Co Ni Cu Zr Nb Mo Ta W'.split()
    frames = make(elements, 400, step=0.05)
    assert len(frames) == 400
    systems = {frozenset(atoms.get_chemical_symbols()) for atoms in frames}
    assert {frozenset(pair) for pair in itertools.combinations(elements, 2)} <= systems


def test_the_seed_decides():
    def bytes_of(seed):
        middle = [{'Cu': 0.5, 'Au': 0.25, 'Ni': 0.25}]
        frames = make(['Cu', 'Au', 'Ni'], 12, seed=seed, occupation='both', short_range_order=0.1, compositions=middle)
        return [(atoms.numbers.tobytes(), atoms.positions.tobytes(), json.dumps(atoms.info)) for atoms in frames]

    assert bytes_of(1) == bytes_of(1) != bytes_of(2)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'lattices': ['fcc', 'foo']}, r"lattices: 'foo' is not a known lattice; choose from sc, bcc"),
        ({'compositions': [{'Cu': 0.5, 'Au': 0.6}]}, r"compositions\[0\]: .* add up to 1.*take {'Cu': 0\.4545"),
        ({'compositions': [{'Cu': 0.5, 'Pt': 0.5}]}, r"compositions\[0\]: 'Pt' is not in system\.elements"),
        ({'range': {'Pt': [0, 1]}}, r"range: 'Pt' is not in system\.elements"),
        ({'range': {'Cu': [0.8, 0.2]}}, r'range\.Cu: \[0\.8, 0\.2\] is no range of fractions; give \[least, most\]'),
        ({'range': {'Cu': [0.6, 1], 'Au': [0.6, 1]}}, r'least fractions add up to 1\.2'),
        ({'range': {'Cu': [0, 0.2], 'Au': [0, 0.3]}}, r'largest fractions add up to 0\.5'),
        ({'range': {'Cu': [0.901, 0.902]}, 'max_atoms': 16}, r'nearest possible is {Cu: 0\.875, Au: 0\.125}'),
        ({'step': 0.3}, r'step: 0\.3 does not divide 1; the nearest that does is 0\.333333'),
        ({'atoms': 30, 'max_atoms': 20}, r'max_atoms: 20 is below structures\.alloy\.atoms \(30\)'),
        ({'atoms': 30, 'max_atoms': 31}, r'no supercell of fcc \(4 atoms per cell\).*raise it to 32'),
        ({'volumes': {'Pt': 15.0}}, r"volumes\.Pt: 'Pt' is not in system\.elements"),
        ({'short_range_order': {'CuAu': 0.1}}, r'CuAu: this is not a pair of unlike elements; write it as Cu-Au'),
        ({'short_range_order': 1.5}, r'short_range_order: 1\.5 is above 1'),
        ({'short_range_order': 0.1, 'occupation': 'sqs'}, r'special quasirandom structures have none'),
    ],
)
def test_impossible(parameters, message):
    with pytest.raises(ValueError, match=r'') as error:
        make(['Cu', 'Au'], **parameters)
    assert error.match(message)


def test_impossible_lattice_constant():
    with pytest.raises(ValueError, match=r'lattice_constants\.Zn: the ground state of Zn is not a cubic lattice'):
        make(['Zn'], lattice_constants={'Zn': 3.0})
    for wrong in ({'atoms': 0}, {'step': 0.0}, {'occupation': 'some'}, {'volumes': {'Cu': -1.0}}, {'latices': ['fcc']}):
        with pytest.raises(ValidationError):
            Alloy(**wrong)


def test_every_key_says_what_it_is():
    for name, field in Alloy.model_fields.items():
        assert field.description and not field.is_required(), name
    assert atomic_numbers['Cu'] == 29
