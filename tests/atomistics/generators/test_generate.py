"""Tests of the pipeline: families, operations, checks and selection put together."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pyacemaker.atomistics.checks.overlap import closest_ratios
from aiida_pyacemaker.atomistics.generators.generate import GenerationError, generate, starting_cells
from aiida_pyacemaker.atomistics.generators.plan import Structures, automatic_family
from aiida_pyacemaker.atomistics.variants.defects import hopping_cell

OFF = {'number': 0}
SMALL = {
    'pristine': {'number': 1}, 'eos': {'number': 3}, 'strain': {'number': 2}, 'shear': {'number': 1},
    'rattle': {'number': 4, 'atoms': 4}, 'vacancy': {'number': 1, 'atoms': 8}, 'test': {'number': 2},
}  # fmt: skip


def operations(frames: list[Atoms]) -> list[str]:
    return [atoms.info['operation'] for atoms in frames]


def test_one_phase_has_what_the_operations_say():
    """Without a number every operation has its own, and each frame says where it comes from."""
    generation = generate(['Al'], Structures(**SMALL), seed=1)
    found = operations(generation.frames)
    assert {name: found.count(name) for name in set(found)} == {
        'free atom': 1, 'pristine': 1, 'eos': 3, 'strain': 2, 'shear': 1, 'rattle': 4, 'vacancy': 1, 'test': 2,
    }  # fmt: skip
    for atoms in generation.frames:
        assert {'family', 'phase', 'operation', 'parameters', 'reason', 'seed', 'split'} <= set(atoms.info)
        assert atoms.info['split'] == ('test' if atoms.info['operation'] == 'test' else 'train')
    volumes = [a.get_volume() / len(a) for a in generation.frames if a.info['operation'] == 'eos']
    reference = bulk('Al').get_volume()
    # the volume in the middle is the pristine cell, which is there already: another is drawn in its place
    assert min(volumes) == pytest.approx(0.9 * reference) and max(volumes) == pytest.approx(1.1 * reference)


@pytest.mark.parametrize('number', (30, 101))
def test_number_is_shared_in_proportion(number):
    """Asked for n it returns n, each operation with its share."""
    frames = generate(['Cu', 'Ni'], Structures(number=number, alloy={}, **SMALL), seed=1).frames
    assert len(frames) == number
    found = operations(frames)
    assert found.count('free atom') == 2
    assert found.count('rattle') > found.count('strain') > 0
    assert closest_ratios([atoms for atoms in frames if atoms.pbc.all()]).min() >= 0.7


def test_seed_decides():
    """The same seed gives the same frames to the last bit, another one others."""
    structures = Structures(number=40, alloy={}, **SMALL)
    first, again, other = (generate(['Cu', 'Au'], structures, seed).frames for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes() and one.info == two.info
        assert one.cell.array.tobytes() == two.cell.array.tobytes()
    rattled = [atoms.positions.tobytes() for atoms in other if atoms.info['operation'] == 'rattle']
    assert not {atoms.positions.tobytes() for atoms in first} & set(rattled)


def test_nothing_new_is_said():
    """Where there is nothing new to make, that is said; nothing is made twice."""
    atom = Atoms('Al', cell=[10.0] * 3, pbc=True, info={'vacuum_axes': [0, 1, 2]})
    generation = generate(['Al'], Structures(**SMALL, automatic=False), seed=1, own=[atom])
    assert operations(generation.frames) == ['free atom', 'as given']
    assert '14 variants were not made' in ' '.join(generation.notes)


def test_subsystems_are_covered():
    """All elements and pairs of elements occur, though only the ternary compound was asked for."""
    structures = Structures(number=80, knowledge={'formulas': ['SrTiO3']}, **SMALL)
    frames = generate(['Sr', 'Ti', 'O'], structures, seed=1).frames
    present = {frozenset(atoms.get_chemical_symbols()) for atoms in frames if len(atoms) > 1}
    for names in (['Sr'], ['Ti'], ['O'], ['Sr', 'Ti'], ['Sr', 'O'], ['Ti', 'O'], ['Sr', 'Ti', 'O']):
        assert frozenset(names) in present, names
    without = generate(['Sr', 'Ti', 'O'], structures.model_copy(update={'subsystems': False}), seed=1).frames
    assert {frozenset(a.get_chemical_symbols()) for a in without if len(a) > 1} == {frozenset(['Sr', 'Ti', 'O'])}


def test_own_structures_are_kept_and_varied():
    """The user's structures are in the set as they are, and variants of them are made if wanted."""
    own = bulk('Al', 'bcc', a=3.3, cubic=True)
    structures = Structures(**SMALL)
    varied = generate(['Al'], structures, seed=1, own=[own]).frames
    assert np.array_equal(varied[1].positions, own.positions) and varied[1].info['operation'] == 'as given'
    assert sum(atoms.info['family'] == 'user' for atoms in varied) == 1 + 14
    alone = generate(['Al'], structures.model_copy(update={'automatic': False}), seed=1, own=[own]).frames
    assert {atoms.info['family'] for atoms in alone} == {'isolated_atom', 'user'}
    plain = generate(['Al'], structures.model_copy(update={'vary': False}), seed=1, own=[own]).frames
    assert sum(atoms.info['family'] == 'user' for atoms in plain) == 1


def test_molecules_are_not_strained():
    """Operations that are senseless for a parent leave their share to the others."""
    water = molecule('H2O', vacuum=5.0, pbc=True)
    water.info['vacuum_axes'] = [0, 1, 2]
    frames = generate(['H', 'O'], Structures(number=40, **SMALL), seed=1, own=[water]).frames
    mine = [atoms for atoms in frames if atoms.info['family'] == 'user']
    assert len(frames) == 40 and len(mine) > 1
    assert {atoms.info['operation'] for atoms in mine} <= {'as given', 'pristine', 'rattle', 'test'}


def test_wide_cells():
    """In wide mode every perpendicular width exceeds twice the cutoff, strained or not."""
    structures = Structures(**SMALL, supercell={'mode': 'wide', 'max_atoms': 200})
    frames = generate(['Al'], structures, seed=1, cutoff=4.0).frames
    for atoms in frames:
        if len(atoms) > 1:
            cell = atoms.cell.array
            widths = atoms.get_volume() / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
            assert widths.min() > 8.0


@pytest.mark.parametrize('method', ('random', 'farthest_point', 'maxvol'))
def test_selection(method):
    """Out of more candidates the number asked for is chosen, the held-out ones in their share."""
    structures = Structures(number=40, alloy={}, **SMALL, selection={'method': method, 'oversampling': 3})
    frames = generate(['Cu', 'Au'], structures, seed=1).frames
    assert len(frames) == 40
    assert sum(atoms.info['split'] == 'test' for atoms in frames) == 5


def test_dimers_and_trimers():
    """The repulsive wall is there on request, and counts."""
    structures = Structures(number=60, **SMALL, dimer={'number': 8}, trimer={'number': 3})
    frames = generate(['Al', 'Cu'], structures, seed=1).frames
    families = [atoms.info['family'] for atoms in frames]
    assert len(frames) == 60 and families.count('dimer') == 3 * 8 and families.count('trimer') == 4 * 3


@pytest.mark.parametrize(
    ('elements', 'family'),
    (
        (['Al'], 'alloy'), (['Cu', 'Au', 'Ni'], 'alloy'), (['Na', 'Cl'], 'ionic'), (['Sr', 'Ti', 'O'], 'ionic'),
        (['Si'], 'covalent'), (['Si', 'C'], 'covalent'), (['B', 'N'], 'covalent'), (['S'], 'knowledge'),
    ),
)  # fmt: skip
def test_automatic_family(elements, family):
    """What is made without being told suits the elements."""
    assert list(automatic_family(elements)) == [family]


@pytest.mark.parametrize(
    ('elements', 'sections', 'words'),
    (
        (['Al'], {'checks': {'overlap': 1.19}}, ['structures.alloy', 'ratio of 1.18', 'structures.checks.overlap']),
        (['Al'], {'rattle': {'number': 9, 'amplitude': [1.0]}, 'checks': {'overlap': 1.15}}, ['refused for overlap']),
        (['Cu', 'Au'], {'number': 1}, ['structures.number', 'give at least']),
        (['Al'], {'number': 9, **dict.fromkeys(SMALL, OFF)}, ['every operation has number 0']),
        (['Al'], {'automatic': False}, ['no family is named']),
        (['Xx'], {}, ['system.elements', "'Xx' is not a chemical element"]),
        ([], {}, ['system.elements: the list is empty']),
        (['Na', 'Mg'], {'ionic': {}}, ['structures.ionic']),
        (['Na', 'Cl'], {'ionic': {'formulas': ['Na2Cl']}}, ['NaCl']),
        (['Al', 'Si'], {'interface': {'film': 'Al', 'substrate': 'Si', 'max_strain': 1e-6}}, ['max_strain']),
        (['Pt', 'C', 'O'], {'adsorption': {'slab': 'Pt', 'molecules': ['COO2']}}, ['structures.adsorption', 'COO2']),
        (['Pt', 'C', 'O'], {'adsorption': {'slab': 'Pt', 'miller': [[0, 0, 0]]}}, ['miller']),
    ),
)  # fmt: skip
def test_impossible(elements, sections, words):
    """What cannot be made ends in one message that names the key and what would be possible."""
    with pytest.raises(ValueError) as caught:
        generate(elements, Structures(**{**SMALL, **sections}), seed=1)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_generation_error_is_a_value_error():
    """Callers that know only bad input see it as such."""
    assert issubclass(GenerationError, ValueError)


def test_starting_cells():
    """Simulations start in ideal structures: those of most elements first, each phase once, molecules last."""
    cells = starting_cells(['Al'], Structures(), 1, atoms=16, number=4)
    assert len(cells) == 1 and len(cells[0]) == 16
    cells = starting_cells(['Cu', 'Au'], Structures(), 1, atoms=16, number=4)
    assert len(cells) == 4 and all(len(set(cell.get_chemical_symbols())) == 2 for cell in cells[:2])
    with pytest.raises(ValueError, match=r'has 16 atoms, more than embed\.max_atoms \(8\)'):
        starting_cells(['Al'], Structures(), 1, atoms=16, number=4, max_atoms=8)
    graphene = starting_cells(['C'], Structures(covalent={'structures': ['graphene']}), 1, 16, 1)
    assert graphene[0].info['vacuum_axes'] == [2] and len(graphene[0]) >= 16
    water = starting_cells(['H', 'O'], Structures(), 1, atoms=8, number=5)
    assert [len(cell.info.get('vacuum_axes', [])) for cell in water] == [0, 0, 3, 3, 3]


def test_cells_with_an_atom_on_its_way_into_a_vacancy():
    """Beside each crystal one with a vacancy, halfway to which its neighbour stands; ions leave in neutral sets."""
    crystal, hop = starting_cells(['Al'], Structures(), 1, atoms=32, number=1, hop=True)
    assert (crystal.info['operation'], hop.info['operation']) == ('start', 'hop')
    assert (len(crystal), len(hop)) == (32, 31)
    mover = hop.info['parameters']['hopping']
    neighbours = np.sort(hop.get_distances(mover, [k for k in range(31) if k != mover], mic=True))
    # in fcc the atoms that form the window are at sqrt(3/8) of the lattice constant from its middle
    assert np.allclose(neighbours[:4], 4.05 * np.sqrt(3 / 8))
    salt = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    salt.set_array('oxidation_states', np.array([1.0, -1.0] * 4))
    cell = hopping_cell(salt, 16, np.random.default_rng(1))
    assert cell.get_chemical_formula() == 'Cl7Na7' and cell.arrays['oxidation_states'].sum() == 0
    mover = cell.info['parameters']['hopping']
    gone = cell.info['parameters']['sites'][0]
    assert cell.symbols[mover] == salt.repeat((1, 1, 2)).symbols[gone]
    assert closest_ratios([cell])[0] > 0.7
    assert all(cell.info['operation'] == 'start' for cell in starting_cells(['H'], Structures(), 1, 8, 2, hop=True))
