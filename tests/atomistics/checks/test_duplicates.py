"""Equal structures are found in any disguise, different ones are kept apart, and 10,000 take seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.spatial.transform import Rotation

from aiida_pyacemaker.atomistics.checks.duplicates import Duplicates
from aiida_pyacemaker.atomistics.checks.fingerprint import MAX_ATOMS_ALL_PAIRS, fingerprints, reduced_composition

SKEW = [[1, 2, 0], [0, 1, 0], [-1, 0, 1]]


def alloys(number: int, seed: int = 0, repeat: tuple[int, int, int] = (2, 2, 2)) -> list[Atoms]:
    """Random decorations of one fcc lattice, all of one composition."""
    rng = np.random.default_rng(seed)
    cell = bulk('Cu', cubic=True).repeat(repeat)
    frames = []
    for _ in range(number):
        atoms = cell.copy()
        atoms.numbers = rng.permutation(np.repeat([29, 79], len(cell) // 2))
        frames.append(atoms)
    return frames


def are_equal(first: Atoms, second: Atoms) -> bool:
    return not Duplicates().add([first, second])[1]


def rotated(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ Rotation.random(random_state=4).as_matrix(), scale_atoms=True)
    return atoms


def moved(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += [0.7, -3.1, 12.3]
    atoms.wrap()
    return atoms


def reflected(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array * [-1, 1, 1], scale_atoms=True)
    return atoms


STRUCTURES = {
    'random alloy': lambda: alloys(1)[0],
    'rattled alloy': lambda: rattled(alloys(1, repeat=(2, 1, 1))[0], 0.1),
    'primitive cell': lambda: bulk('Cu'),
    'hexagonal': lambda: bulk('ZnO', 'wurtzite', a=3.25, c=5.2),
    'slab': lambda: fcc111('Cu', (2, 1, 3), vacuum=5.0, periodic=True),
    'molecule': lambda: molecule('CH3CH2OH', vacuum=4.0, pbc=True),
}
DISGUISES = {
    'rotation': rotated,
    'translation': moved,
    'reflection': reflected,
    'permutation': lambda atoms: atoms[np.random.default_rng(1).permutation(len(atoms))],
    'supercell': lambda atoms: atoms.repeat((1, 3, 1)),
    'skewed cell': lambda atoms: make_supercell(atoms, SKEW),
    'skewed supercell, rotated and moved': lambda atoms: moved(rotated(make_supercell(atoms.repeat((2, 1, 1)), SKEW))),
}


def rattled(atoms: Atoms, width: float) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(width, seed=7)
    return atoms


@pytest.mark.parametrize('structure', STRUCTURES)
@pytest.mark.parametrize('disguise', DISGUISES)
def test_disguises_are_seen_through(structure: str, disguise: str):
    atoms = STRUCTURES[structure]()
    assert are_equal(atoms, DISGUISES[disguise](atoms))


@pytest.mark.parametrize('width', [0.01, 0.005])
@pytest.mark.parametrize('structure', STRUCTURES)
def test_small_rattles_are_new(structure: str, width: float):
    atoms = STRUCTURES[structure]()
    if len(atoms) < 4:  # an atom alone in its cell only moves as a whole
        atoms = atoms.repeat(3)
    assert not are_equal(atoms, rattled(atoms, width))


def test_one_moved_atom_is_new():
    cell = bulk('Al', cubic=True).repeat(2)
    other = cell.copy()
    other.positions[5, 0] += 0.01
    assert not are_equal(cell, other)


def test_rounded_positions_are_no_new_structure():
    for make in STRUCTURES.values():
        atoms = make()
        rounded = atoms.copy()
        rounded.positions = rounded.positions.round(6)
        assert are_equal(atoms, rounded)


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        (bulk('Cu', 'fcc', a=3.6), bulk('Cu', 'hcp', a=3.6 / 2**0.5, c=3.6 / 2**0.5 * (8 / 3) ** 0.5)),
        (bulk('ZnS', 'zincblende', a=5.4), bulk('ZnS', 'wurtzite', a=5.4 / 2**0.5, c=5.4 / 2**0.5 * (8 / 3) ** 0.5)),
        (bulk('NaCl', 'rocksalt', a=5.6), bulk('NaF', 'rocksalt', a=5.6)),
        (bulk('Cu', a=3.6), bulk('Cu', a=3.601)),
        (bulk('Cu', cubic=True), bulk('Cu', cubic=True).repeat(2)[1:]),
        (molecule('C2H6', vacuum=4, pbc=True), molecule('C2H6', vacuum=5, pbc=True)),
        (molecule('H2O', vacuum=4, pbc=True), molecule('H2O', vacuum=4, pbc=False)),
    ],
)
def test_different_structures(first: Atoms, second: Atoms):
    assert not are_equal(first, second)


def stacking(sequence: str) -> Atoms:
    """Close-packed layers in a sequence of A, B, C."""
    shifts = {'A': 0, 'B': 1 / 3, 'C': 2 / 3}
    height = len(sequence)
    layers = [[shifts[letter], 2 * shifts[letter], k / height] for k, letter in enumerate(sequence)]
    cell = [[2.55, 0, 0], [-1.275, 2.55 * 0.75**0.5, 0], [0, 0, height * 2.55 * (2 / 3) ** 0.5]]
    return Atoms(f'Cu{height}', scaled_positions=layers, cell=cell, pbc=True)


def test_polytypes_are_told_apart():
    sequences = ['AB', 'ABC', 'ABAC', 'ABCACB', 'ABABAC', 'ABCBCACAB', 'ABCABAC']
    assert Duplicates().add([stacking(sequence) for sequence in sequences]).all()
    assert are_equal(stacking('ABCABC'), bulk('Cu', a=2.55 * 2**0.5))


def test_permuted_ordered_compounds():
    """Of the 70 ways to put two elements on eight sites of a fcc cell, few differ by symmetry: as pymatgen says."""
    cell = bulk('Cu', cubic=True).repeat((2, 1, 1))
    frames = []
    for bits in range(256):
        if bits.bit_count() == 4:
            atoms = cell.copy()
            atoms.numbers = [79 if bits >> k & 1 else 29 for k in range(8)]
            frames.append(atoms)
    new = Duplicates().add(frames)
    matcher = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1)
    groups = matcher.group_structures([AseAtomsAdaptor.get_structure(atoms) for atoms in frames])
    assert new[0] and new.sum() == len(groups)


def test_agrees_with_pymatgen_on_rattled_and_equal_frames():
    rng = np.random.default_rng(5)
    frames = []
    for atoms in alloys(6, repeat=(2, 1, 1)):
        frames += [atoms, rattled(atoms, 0.03), moved(rotated(atoms[rng.permutation(len(atoms))]))]
    new = Duplicates().add(frames)
    matcher = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=0.01, primitive_cell=True)
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in frames]
    expected = [
        not any(matcher.fit(structure, earlier) for earlier in structures[:index])
        for index, structure in enumerate(structures)
    ]
    assert new.tolist() == expected


def test_large_frames_by_lists_of_neighbours():
    atoms = alloys(1)[0]
    assert len(atoms.repeat(3)) > MAX_ATOMS_ALL_PAIRS
    assert np.allclose(*fingerprints([atoms, atoms.repeat(3)]), rtol=0, atol=1e-9)


def test_added_at_once_or_one_by_one():
    frames = alloys(60, repeat=(2, 1, 1))
    frames += [moved(rotated(atoms)) for atoms in frames[:20]]
    at_once, one_by_one = Duplicates(), Duplicates()
    flags = at_once.add(frames)
    assert flags.tolist() == [bool(one_by_one.add([atoms])[0]) for atoms in frames]
    assert len(at_once) == len(one_by_one) == flags.sum() and not flags[60:].any()
    assert at_once.add([]).shape == (0,)


def test_borders_of_buckets():
    """Two structures on both sides of a border between buckets of volumes, nearer than the tolerance."""
    border = 2.5  # of the logarithm of the volume per atom: a whole number of widths
    low, high = (bulk('Cu', a=(4 * np.exp(border + side)) ** (1 / 3)) for side in (-3e-7, 3e-7))
    assert are_equal(low, high) and are_equal(high, low)
    assert not are_equal(low, bulk('Cu', a=(4 * np.exp(border + 2e-6)) ** (1 / 3)))


def test_reduced_composition():
    assert reduced_composition(molecule('C2H6')) == ((1, 3), (6, 1))


def test_ten_thousand_random_alloys_take_seconds():
    """Expected by the birthday problem: 32!/(16!)² decorations, 1536 symmetries, 10,000² / 2 pairs: about 130."""
    frames = alloys(10000)
    start = time.process_time()
    new = Duplicates().add(frames)
    assert time.process_time() - start < 8
    assert 80 < (~new).sum() < 180
    # those are equal indeed
    dropped = int(np.flatnonzero(~new)[0])
    near = np.abs(fingerprints(frames[:dropped]) - fingerprints([frames[dropped]])).max(axis=1).argmin()
    matcher = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1, primitive_cell=False)
    assert matcher.fit(*(AseAtomsAdaptor.get_structure(frames[k]) for k in (int(near), dropped)))


def test_many_copies_of_one_structure():
    assert Duplicates().add([bulk('Cu')] * 5000).sum() == 1
