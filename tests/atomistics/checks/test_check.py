"""Frames with one thing wrong each are rejected for it; overlaps are those of a naive sum over images."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from ase.data import covalent_radii
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.checks.check import Checks, Rejection, check_frames
from aiida_pyacemaker.atomistics.checks.overlap import MAX_ATOMS_ALL_PAIRS
from aiida_pyacemaker.atomistics.checks.radii import contact_distance, ionic_radius

CHECKS = Checks()


def only(atoms: Atoms, checks: Checks = CHECKS, **kwargs) -> Rejection | None:
    (rejection,) = check_frames([atoms], checks, **kwargs)
    return rejection


def kinds(frames: list[Atoms], checks: Checks = CHECKS) -> list[str | None]:
    return [rejection and rejection.kind for rejection in check_frames(frames, checks)]


def smallest_ratio(atoms: Atoms) -> float:
    """Smallest distance in units of the sum of covalent radii, by brute force over 7 x 7 x 7 cells."""
    images = np.array(list(product(range(-3, 4), repeat=3))) @ atoms.cell.array
    smallest = np.inf
    for i, j in product(range(len(atoms)), repeat=2):
        distances = np.linalg.norm(atoms.positions[j] + images - atoms.positions[i], axis=1)
        if i == j:
            distances = distances[distances > 1e-9]
        smallest = min(smallest, distances.min() / covalent_radii[atoms.numbers[[i, j]]].sum())
    return smallest


def crystals() -> list[Atoms]:
    """Frames of many shapes and sizes, rattled strongly, some in skewed or narrow cells."""
    rng = np.random.default_rng(2)
    cells = [
        bulk('Cu'),
        bulk('Cu', cubic=True),
        bulk('NaCl', 'rocksalt', a=5.6),
        bulk('CuAu', 'cesiumchloride', a=3.0),
        bulk('Cu', cubic=True).repeat((1, 1, 4)),
        make_supercell(bulk('Cu'), [[2, 0, 0], [3, 2, 0], [-2, 4, 3]]),
        make_supercell(bulk('Al', cubic=True), [[1, 3, 0], [0, 1, 0], [2, 0, 1]]),
        bulk('Si', cubic=True),
    ]
    frames = []
    for cell in cells:
        for width in (0.1, 0.25, 0.4, 0.6):
            atoms = cell.copy()
            atoms.positions += rng.normal(0, width, atoms.positions.shape)
            frames.append(atoms)
    return frames


@pytest.mark.parametrize('ratio', [0.5, 0.7, 0.9])
def test_overlap_is_that_of_brute_force(ratio: float):
    frames = crystals()
    expected = [smallest_ratio(atoms) for atoms in frames]
    # the slab of vacuum that strong rattles may open is another matter
    found = check_frames(frames, Checks(overlap=ratio))
    assert [bool(x and x.kind == 'overlap') for x in found] == [value < ratio for value in expected]
    assert 3 < sum(value < 0.9 for value in expected) < len(frames)


def test_overlap_of_large_frames():
    atoms = bulk('Cu', cubic=True).repeat(4)
    assert len(atoms) > MAX_ATOMS_ALL_PAIRS and only(atoms) is None
    atoms.positions[7] = atoms.positions[100] + [0, 1.5, 0]
    rejection = only(atoms)
    assert rejection.kind == 'overlap' and '(atoms 7 and 100) are 1.50 Å apart' in rejection.message


def test_message_of_an_overlap():
    atoms = bulk('CuAu', 'cesiumchloride', a=3.1).repeat(2)
    atoms.positions[1] = atoms.positions[0] + [1.2, 0, 0]
    assert only(atoms).message == 'Cu and Au (atoms 0 and 1) are 1.20 Å apart, less than 0.7 x 2.68 Å'


@pytest.mark.parametrize('cell', [bulk('Cu', a=2.2), bulk('Cu', a=2.2).repeat((1, 1, 3))])
def test_an_atom_overlaps_with_its_own_images(cell: Atoms):
    assert only(cell).kind == 'overlap'


def test_two_atoms_in_one_place_overlap():
    atoms = Atoms('Cu2', [[0, 0, 0], [0, 0, 0]], cell=[4, 4, 4], pbc=True, info={'vacuum_axes': [0, 1, 2]})
    assert only(atoms).kind == 'overlap'


def test_images_count_only_along_periodic_axes():
    atoms = Atoms('Cu2', [[0.1, 2, 2], [3.9, 2, 2]], cell=[4, 8, 8], pbc=True, info={'vacuum_axes': [1, 2]})
    assert only(atoms).kind == 'overlap'
    atoms.pbc = [False, True, True]
    assert only(atoms) is None
    assert only(molecule('H2O', info={'vacuum_axes': [0, 1, 2]})) is None  # no cell at all


def test_a_frame_may_allow_itself_to_be_denser():
    dimer = Atoms('Cu2', [[5, 5, 5], [5, 5, 6.2]], cell=[10] * 3, pbc=True, info={'family': 'dimer'})
    assert only(dimer).kind == 'overlap'
    dimer.info['allowed_overlap'] = 0.4
    assert only(dimer) is None
    dimer.info['allowed_overlap'] = 0.5
    assert only(dimer).kind == 'overlap'


def test_ionic_radii_let_small_cations_come_closer():
    """A perovskite's Ti-O at 1.50 Å: below 0.7 x 2.26 Å of covalent, above 0.7 x (0.605 + 1.40) Å of ionic radii."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    atoms = Atoms('SrTiO3', scaled_positions=sites, cell=[3.905] * 3, pbc=True)
    atoms.positions[1, 2] -= 0.4525
    assert only(atoms).kind == 'overlap'
    atoms.set_array('oxidation_states', np.array([2, 4, -2, -2, -2.0]))
    assert only(atoms) is None
    atoms.positions[1, 2] -= 0.2
    assert only(atoms).kind == 'overlap'


def test_contact_distances():
    assert ionic_radius(22, 4) == pytest.approx(0.605) and ionic_radius(8, -2) == pytest.approx(1.40)
    assert ionic_radius(33, -3) is None
    assert contact_distance((22, 4), (8, -2)) == pytest.approx(2.005)
    # like charges, and where ionic radii are the larger ones: covalent radii
    assert contact_distance((22, 4), (22, 4)) == pytest.approx(3.20)
    assert contact_distance((11, 1), (17, -1)) == pytest.approx(1.66 + 1.02)
    assert contact_distance((31, 3), (33, -3)) == pytest.approx(1.22 + 1.19)


def test_charge():
    atoms = bulk('NaCl', 'rocksalt', a=5.6, cubic=True)
    states = np.where(atoms.numbers == 11, 1.0, -1.0)
    atoms.set_array('oxidation_states', states)
    assert only(atoms) is None
    atoms.arrays['oxidation_states'][0] = 2
    assert only(atoms) == Rejection('charge', 'the oxidation states sum to +1')
    assert only(atoms, Checks(neutral=False)) is None


def test_width_and_number_of_atoms():
    atoms = bulk('Cu', cubic=True)
    assert only(atoms, Checks(min_width=3.6)) is None
    assert only(atoms, Checks(min_width=3.7)).message == 'the cell is 3.61 Å wide, not more than 3.7 Å'
    skewed = make_supercell(atoms, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert only(skewed, Checks(min_width=3.0)).kind == 'width'
    assert only(atoms, Checks(max_atoms=3)) == Rejection('too many atoms', '4 atoms, more than 3')
    assert only(atoms, Checks(max_atoms=4)) is None


def test_composition():
    atoms = bulk('CuAu', 'cesiumchloride', a=3.1)
    assert only(atoms, elements=['Au', 'Cu']) is None
    assert only(atoms, elements=['Cu', 'Ni']) == Rejection('composition', 'Au not among the elements Cu, Ni')
    assert only(atoms, compositions=[{'Cu': 3, 'Au': 1}, {'Cu': 0.5, 'Au': 0.5}]) is None
    assert only(atoms, compositions=[{'Cu': 3, 'Au': 1}]).kind == 'composition'


def test_not_finite():
    broken = bulk('Cu', cubic=True)
    broken.positions[2, 1] = np.inf
    flat = Atoms('Cu', cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True)
    good = bulk('Cu', cubic=True)
    # the others of the same size are looked at all the same
    assert kinds([broken, good, flat, Atoms(), bulk('Cu')]) == ['not finite', None, 'not finite', 'not finite', None]


def test_vacuum_that_is_not_meant():
    slab = fcc111('Cu', (2, 2, 4), vacuum=5, periodic=True)
    thin = bulk('Cu', cubic=True).repeat((2, 2, 2))
    thin.cell[2, 2] += 5.0
    assert kinds([slab, bulk('Cu', cubic=True).repeat((2, 2, 1)), thin]) == ['vacuum', None, 'vacuum']
    assert only(slab).message == 'the frame holds vacuum, 10.0 Å wide: it is a slab cell, not bulk'
    slab.info['vacuum_axes'] = [2]
    assert only(slab) is None


@pytest.mark.parametrize('family', ['isolated_atom', 'dimer', 'trimer'])
def test_free_atoms_need_not_say_that_they_are_in_vacuum(family: str):
    atom = Atoms('Cu', cell=[10] * 3, pbc=family != 'isolated_atom')
    assert only(atom).kind == 'vacuum'
    atom.info['family'] = family
    assert only(atom) is None


def test_defaults_and_limits():
    assert CHECKS.model_dump() == {
        'overlap': 0.7,
        'neutral': True,
        'min_width': None,
        'max_atoms': None,
        'max_attempts': 100,
        'duplicates': True,
    }
    for wrong in ({'overlap': -0.1}, {'max_atoms': 0}, {'max_attempts': 0}, {'min_width': 0.0}, {'unknown': 1}):
        with pytest.raises(ValidationError):
            Checks(**wrong)


def test_no_frames():
    assert check_frames([], CHECKS) == []


def test_order_does_not_matter():
    frames = crystals()
    order = np.random.default_rng(0).permutation(len(frames))
    found = check_frames(frames, CHECKS)
    assert check_frames([frames[k] for k in order], CHECKS) == [found[k] for k in order]


def test_ten_thousand_frames_take_seconds():
    rng = np.random.default_rng(0)
    cell = bulk('Cu', cubic=True).repeat(2)
    frames = []
    for _ in range(10000):
        atoms = cell.copy()
        atoms.numbers = rng.choice([28, 29, 79], len(cell))
        atoms.positions += rng.normal(0, 0.08, atoms.positions.shape)
        frames.append(atoms)
    frames[1234].positions[0] = frames[1234].positions[9] + 0.5
    start = time.process_time()
    found = check_frames(frames, CHECKS)
    assert time.process_time() - start < 6
    assert [k for k, rejection in enumerate(found) if rejection] == [1234]
