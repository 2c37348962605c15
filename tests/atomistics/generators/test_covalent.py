"""Covalent networks: known crystals, sheets, amorphous cells and distortions, all of them physical."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.data import covalent_radii
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.generators.families.covalent.bonds import bond_length
from aiida_pyacemaker.atomistics.generators.families.covalent.family import CovalentFamily
from aiida_pyacemaker.atomistics.generators.families.covalent.section import (
    Amorphous,
    Covalent,
    Distortions,
    Interlayer,
)

NONE = {
    'amorphous': Amorphous(number=0),
    'distortions': Distortions(bond=0, dihedral=0),
    'interlayer': Interlayer(number=0),
}


def make(elements: list[str], number: int = 1000, seed: int = 1, **keys) -> list[Atoms]:
    return CovalentFamily().parents(elements, Covalent(**keys), number, np.random.default_rng(seed))


def closest(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Smallest distance in units of the sums of covalent radii, and the distances to all images (n, n * 343)."""
    shifts = np.array(list(itertools.product(range(-3, 4), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[:, None, None] - atoms.positions[None, :, None] + shifts
    found = np.linalg.norm(vectors, axis=-1)
    found[found < 1e-8] = np.inf
    radii = covalent_radii[atoms.numbers]
    ratio = float((found / (radii[:, None] + radii)[:, :, None]).min())
    return ratio, found.reshape(len(atoms), -1)


def neighbours(atoms: Atoms) -> float:
    _, found = closest(atoms)
    return float((found < 1.2 * found.min()).sum(axis=1).mean())


@pytest.mark.parametrize(
    ('elements', 'structure', 'group', 'bond', 'coordination'),
    [
        (['C'], 'diamond', 'Fd-3m', 1.545, 4),
        (['Si'], 'diamond', 'Fd-3m', 2.352, 4),
        (['Si', 'C'], 'zincblende', 'F-43m', 1.888, 4),
        (['Si'], '2H', 'P6_3/mmc', 2.352, 4),
        (['C', 'Si'], '4H', 'P6_3mc', 1.888, 4),
        (['C', 'Si'], '6H', 'P6_3mc', 1.888, 4),
        (['Ga', 'N'], '2H', 'P6_3mc', 1.95, 4),
        (['B', 'N'], 'graphite', 'P6_3/mmc', 1.446, 3),
        (['C'], 'graphite', 'P6_3/mmc', 1.42, 3),
        (['C'], 'graphene', 'P6/mmm', 1.42, 3),
        (['Si'], 'beta_tin', 'I4_1/amd', None, 6),
        (['Si'], 'bc8', 'Ia-3', None, 4),
        (['Si', 'C'], 'rocksalt', 'Fm-3m', None, 6),
        (['P'], 'ground_state', 'Cmce', None, 3),
    ],
)
def test_crystals(elements, structure, group, bond, coordination):
    atoms = make(elements, 1, structures=[structure], **NONE)[0]
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert spglib.get_spacegroup(cell, 1e-3).split()[0] == group
    ratio, found = closest(atoms)
    assert ratio > 0.7
    assert neighbours(atoms) == pytest.approx(coordination)
    if bond:
        assert found.min() == pytest.approx(bond, abs=0.002)


def test_stackings_of_graphite():
    frames = make(['C'], structures=['graphite'], stackings=['AA', 'AB', 'ABC'], **NONE)
    assert [len(atoms) for atoms in frames] == [4, 4, 6]
    groups = [spglib.get_spacegroup((a.cell.array, a.get_scaled_positions(), a.numbers), 1e-3) for a in frames]
    assert [group.split()[0] for group in groups] == ['P6/mmm', 'P6_3/mmc', 'R-3m']
    # graphite: 8.8 Å³ per atom
    assert [a.get_volume() / len(a) for a in frames] == pytest.approx([8.78] * 3, abs=0.05)
    assert not any('vacuum_axes' in atoms.info for atoms in frames)


def test_sheets_in_vacuum():
    single, double, triple = make(['C'], structures=['graphene', 'layered'], layers=[2, 3], vacuum=15.0, **NONE)
    for atoms, sheets in ((single, 1), (double, 2), (triple, 3)):
        assert atoms.info['vacuum_axes'] == [2]
        assert len(atoms) == 2 * sheets
        heights = atoms.positions[:, 2]
        assert atoms.cell[2, 2] - np.ptp(heights) == pytest.approx(15.0)
        assert len(np.unique(np.round(heights, 3))) == sheets
    silicene = make(['Si'], structures=['graphene'], **NONE)[0]
    assert np.ptp(silicene.positions[:, 2]) == pytest.approx(0.44)
    assert closest(silicene)[1].min() == pytest.approx(2.28, abs=1e-6)


def test_interlayer_scan_moves_sheets_and_keeps_the_vacuum():
    scan = Interlayer(number=4, minimum=0.85, maximum=1.5)
    frames = make(
        ['C'], structures=['graphite', 'layered'], stackings=['AB'], layers=[2], **{**NONE, 'interlayer': scan}
    )
    graphite, layered = frames[:2]
    moved = [atoms for atoms in frames if 'interlayer' in atoms.info['parameters']]
    assert len(moved) == 8
    for atoms in moved:
        factor = atoms.info['parameters']['interlayer']
        levels = np.unique(np.round(atoms.positions[:, 2], 4))
        assert np.diff(levels) == pytest.approx(3.354 * factor, abs=1e-3)
        if atoms.info['parameters']['structure'] == 'layered':
            assert atoms.cell[2, 2] - np.ptp(levels) == pytest.approx(
                layered.cell[2, 2] - np.ptp(layered.positions[:, 2])
            )
        else:
            assert atoms.cell[2, 2] == pytest.approx(graphite.cell[2, 2] * factor)
        assert closest(atoms)[1].min() == pytest.approx(1.42, abs=1e-6)


def test_distortions_change_what_they_say():
    section = Distortions(bond=4, dihedral=4, stretch=0.15, angle=30.0, atoms=16)
    frames = make(['Si'], structures=['diamond'], **{**NONE, 'distortions': section})
    ideal = frames[0].repeat((1, 1, 2))
    stretched = [atoms for atoms in frames if 'stretch' in atoms.info['parameters']]
    turned = [atoms for atoms in frames if 'turn' in atoms.info['parameters']]
    assert len(stretched) == len(turned) == 4
    for atoms in stretched + turned:
        assert len(atoms) == 16
        assert closest(atoms)[0] > 0.7
    for atoms in stretched:
        shift = np.linalg.norm(atoms.positions - ideal.positions, axis=1)
        assert (shift > 1e-6).sum() == 2
        assert shift.sum() / 2.352 == pytest.approx(abs(atoms.info['parameters']['stretch']))
        assert 0.03 < abs(atoms.info['parameters']['stretch']) <= 0.15
    for atoms in turned:
        shift = np.linalg.norm(atoms.positions - ideal.positions, axis=1)
        assert (shift > 1e-6).sum() == 3
        # the arms stick out by d sin(109.47°)
        angle = np.radians(atoms.info['parameters']['turn'])
        arm = 2.352 * np.sqrt(8) / 3
        assert shift.max() == pytest.approx(2 * arm * abs(np.sin(angle / 2)), abs=1e-4)


@pytest.mark.parametrize('elements', [['C'], ['Si'], ['Ge'], ['Si', 'C'], ['B', 'N'], ['Ga', 'N'], ['Ga', 'As', 'Al']])
def test_all_that_is_made_by_default_is_physical(elements):
    frames = make(elements, amorphous=Amorphous(number=0))
    assert len(frames) >= 20
    rejections = check_frames(frames, Checks(), elements=elements)
    assert [rejection.message for rejection in rejections if rejection] == []
    assert min(closest(atoms)[0] for atoms in frames) > 0.7
    for atoms in frames:
        assert atoms.pbc.all() and np.isfinite(atoms.positions).all()
        assert atoms.info['family'] == 'covalent' and atoms.info['phase'] and atoms.info['reason']
        assert set(atoms.get_chemical_symbols()) <= set(elements)
        json.dumps(atoms.info)


def test_the_most_common_structures_come_first():
    phases = [atoms.info['phase'] for atoms in make(['C'], 4)]
    assert phases == ['diamond', 'graphite', 'graphite', 'graphite']
    phases = [atoms.info['phase'] for atoms in make(['Si', 'C'], 3)]
    assert phases == ['SiC zincblende', 'Si diamond', 'C diamond']
    phases = [atoms.info['phase'] for atoms in make(['As', 'Ga', 'Al'], 3)]
    assert phases == ['GaAs zincblende', 'AlAs zincblende', 'As ground state']
    assert make(['Ga', 'N'], 1)[0].info['phase'] == 'wurtzite'


def test_amorphous_cells_by_both_methods():
    network = make(['Si'], structures=['amorphous'], amorphous=Amorphous(number=1, atoms=32))
    melt = make(['Si'], structures=['amorphous'], amorphous=Amorphous(number=1, atoms=32, method='melt_quench'))
    for frames, method in ((network, 'network'), (melt, 'melt_quench')):
        assert len(frames) == 1
        atoms = frames[0]
        assert atoms.info['phase'] == 'amorphous' and atoms.info['parameters']['method'] == method
        ratio, found = closest(atoms)
        count = (found < 2.85).sum(axis=1)
        assert ratio > 0.7
        assert 3.7 < count.mean() < 4.6 and count.min() >= 2 and count.max() <= 6
        # within 5 % of the crystal's density
        assert atoms.get_volume() / 32 == pytest.approx(20.0, rel=0.05)


def test_same_seed_same_frames():
    keys = {'structures': ['diamond', 'graphite', 'amorphous'], 'amorphous': Amorphous(number=1, atoms=32)}
    first, second, other = (make(['C'], seed=seed, **keys) for seed in (7, 7, 8))
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes() and one.info == two.info
    assert any(one.positions.tobytes() != two.positions.tobytes() for one, two in zip(first, other, strict=True))


def test_own_bond_lengths():
    own = {'Si-C': 1.80}
    assert closest(make(['Si', 'C'], 1, structures=['zincblende'], bonds=own, **NONE)[0])[1].min() == pytest.approx(1.8)
    assert bond_length('C', 'C', {'C-C': 1.60}, 3) == pytest.approx(1.42 * 1.60 / 1.545)


def test_what_cannot_be_made_says_so():
    with pytest.raises(ValueError, match=r'none of Cu, Au forms a network.*structures\.alloy'):
        make(['Cu', 'Au'])
    with pytest.raises(ValueError, match=r'structures: rocksalt is no structure of Si; possible'):
        make(['Si'], structures=['rocksalt'])
    with pytest.raises(ValidationError, match='stackings'):
        Covalent(stackings=['ABD'])
    with pytest.raises(ValidationError, match='structures'):
        Covalent(structures=['diamant'])
