"""Molecules by name and file, turned, stretched, in clusters, liquids and crystals, all of them physical."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as ase_molecule
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.io import write
from ase.optimize import BFGS
from ase.units import invcm, kB

from aiida_pyacemaker.atomistics.checks.check import Checks, check_frames
from aiida_pyacemaker.atomistics.crystals.molecules import COMMON_NAMES, bonded_pairs, get_molecule
from aiida_pyacemaker.atomistics.generators.families.molecular.family import MolecularFamily, default_molecules
from aiida_pyacemaker.atomistics.generators.families.molecular.force_field import (
    harmonic_hessian,
    normal_modes,
    thermal_displacement,
)
from aiida_pyacemaker.atomistics.generators.families.molecular.geometry import rotatable_bonds, turned
from aiida_pyacemaker.atomistics.generators.families.molecular.packing import cluster, molecular_crystal, packed_box
from aiida_pyacemaker.atomistics.generators.families.molecular.section import Liquids, Molecular


def calculated_hessian(atoms: Atoms, calculator, step: float = 0.01) -> np.ndarray:
    """Hessian (3n, 3n) in eV/Å² by central differences of the forces of an ASE calculator.

    :param atoms: relaxed with this calculator.
    :param step: Å.
    """
    moved = atoms.copy()
    moved.calc = calculator
    size = len(atoms)
    hessian = np.zeros((3 * size, 3 * size))
    for row, (atom, axis) in enumerate(np.ndindex(size, 3)):
        forces = []
        for sign in (1, -1):
            moved.set_positions(atoms.positions)
            moved.positions[atom, axis] += sign * step
            forces.append(moved.get_forces().ravel())
        hessian[row] = (forces[1] - forces[0]) / (2 * step)
    return (hessian + hessian.T) / 2


def images(atoms: Atoms, reach: int = 2) -> np.ndarray:
    """Distances (n, n, m) to the images of all atoms, by hand; infinite for an atom and itself."""
    shifts = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3))) @ atoms.cell.array
    vectors = atoms.positions[:, None, None] - atoms.positions[None, :, None] + shifts
    found = np.linalg.norm(vectors, axis=-1)
    found[found < 1e-8] = np.inf
    return found


def closest(atoms: Atoms) -> float:
    """Smallest distance in units of the sums of covalent radii."""
    radii = covalent_radii[atoms.numbers]
    return float((images(atoms) / (radii[:, None] + radii)[:, :, None]).min())


def molecules_of(atoms: Atoms) -> list[int]:
    """Sizes of the groups of atoms that are bonded, periodic images included, by flooding."""
    radii = covalent_radii[atoms.numbers]
    bonded = (images(atoms) < 1.3 * (radii[:, None] + radii)[:, :, None]).any(axis=2)
    left, sizes = set(range(len(atoms))), []
    while left:
        group, edge = set(), {min(left)}
        while edge:
            group |= edge
            edge = {int(k) for atom in edge for k in np.flatnonzero(bonded[atom])} - group
        sizes.append(len(group))
        left -= group
    return sizes


@pytest.fixture(scope='module')
def ethanol_frames() -> list[Atoms]:
    return MolecularFamily().parents(['C', 'H', 'O'], Molecular(molecules=['ethanol']), 1000, np.random.default_rng(1))


# Molecules by name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'formula', 'label'),
    [
        ('ethanol', 'C2H6O', 'ethanol'),
        ('CH3CH2OH', 'C2H6O', 'ethanol'),
        ('C2H5OH', 'C2H6O', 'ethanol'),
        ('Water', 'H2O', 'water'),
        ('H2S', 'H2S', 'hydrogen sulfide'),
        ('CO', 'CO', 'carbon monoxide'),
        ('NO', 'NO', 'nitric oxide'),
        ('ammonia', 'H3N', 'ammonia'),
        ('benzene', 'C6H6', 'benzene'),
        ('propane', 'C3H8', 'propane'),
    ],
)
def test_molecule_by_name(name, formula, label):
    atoms = get_molecule(name)
    assert atoms.get_chemical_formula() == formula
    assert atoms.info['name'] == label
    assert not atoms.pbc.any() and atoms.cell.rank == 0
    assert atoms.get_center_of_mass() == pytest.approx(np.zeros(3), abs=1e-9)


def test_every_common_name_leads_to_its_molecule():
    for key, names in COMMON_NAMES.items():
        for name in names:
            assert get_molecule(name).get_chemical_formula() == ase_molecule(key).get_chemical_formula(), name


def test_unknown_molecule_names_the_nearest():
    with pytest.raises(ValueError, match=r"molecule 'ethnol' is unknown: nearest are ethanol.*path of a file"):
        get_molecule('ethnol')
    with pytest.raises(ValueError, match=r"molecule 'xqzvw' is unknown: known are for example water"):
        get_molecule('xqzvw')
    with pytest.raises(ValueError, match=r"molecule 'nowhere/it.xyz' is a file that does not exist"):
        get_molecule('nowhere/it.xyz')


def test_molecule_from_file(tmp_path):
    path = tmp_path / 'methanol.xyz'
    write(path, ase_molecule('CH3OH'))
    atoms = get_molecule(path)
    assert atoms.info == {'name': 'methanol', 'formula': 'CH4O'}
    # broken over the boundaries of a cell
    broken = ase_molecule('CH3OH')
    broken.set_cell([8, 8, 8])
    broken.pbc = True
    broken.wrap()
    write(tmp_path / 'broken.cif', broken)
    joined = get_molecule(tmp_path / 'broken.cif')
    assert np.ptp(joined.positions, axis=0).max() < 3
    assert len(bonded_pairs(joined)) == 5
    broken += broken
    broken.positions[6:] += 4
    write(tmp_path / 'two.cif', broken)
    with pytest.raises(ValueError, match='give one molecule per file'):
        get_molecule(tmp_path / 'two.cif')


# Internal coordinates and vibrations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'number'),
    [('ethanol', 2), ('ethane', 1), ('water', 0), ('benzene', 0), ('ethylene', 0), ('biphenyl', 1), ('butane', 3),
     ('2-butyne', 2), ('hydrogen peroxide', 1), ('acetonitrile', 0)],
)  # fmt: skip
def test_rotatable_bonds(name, number):
    assert len(rotatable_bonds(get_molecule(name))) == number


def test_turning_sets_the_dihedral_angle_and_nothing_else():
    atoms = get_molecule('hydrogen peroxide')
    (bond,) = rotatable_bonds(atoms)
    changed = turned(atoms, bond, 50.0)
    pairs = bonded_pairs(atoms)
    chain = [next(int(k) for k in np.flatnonzero(atoms.numbers == 1) if (pairs == sorted((k, end))).all(1).any())
             for end in bond[:2]]  # fmt: skip
    indices = [chain[0], bond[0], bond[1], chain[1]]
    turn = (changed.get_dihedral(*indices) - atoms.get_dihedral(*indices)) % 360
    assert min(abs(turn - 50), abs(turn - 310)) < 1e-6
    for first, second in bonded_pairs(atoms):
        assert changed.get_distance(first, second) == pytest.approx(atoms.get_distance(first, second))


@pytest.mark.parametrize(
    ('name', 'measured'),
    [
        ('H2', [4401]),
        ('H2O', [1595, 3657, 3756]),
        ('CO2', [667, 667, 1333, 2349]),
        ('CH4', [1306] * 3 + [1534] * 2 + [2917] + [3019] * 3),
        ('NH3', [950, 1627, 1627, 3337, 3444, 3444]),
    ],
)
def test_generic_force_field_has_vibrations_like_the_molecule(name, measured):
    atoms = get_molecule(name)
    hessian = harmonic_hessian(atoms)
    wavenumbers, modes = normal_modes(atoms, hessian)
    assert len(wavenumbers) == len(measured)
    assert wavenumbers == pytest.approx(measured, rel=0.40)
    # moving and turning the molecule costs nothing
    shift = np.tile([1.0, 0.0, 0.0], len(atoms))
    turn = np.cross([0.3, 0.5, 0.8], atoms.positions).ravel()
    assert np.abs(hessian @ shift).max() < 1e-9 and np.abs(hessian @ turn).max() < 1e-6
    masses = atoms.get_masses()[:, None]
    overlaps = np.einsum('ina,jna->ij', modes * masses, modes)
    assert overlaps == pytest.approx(np.eye(len(modes)), abs=1e-9)


def test_hessian_of_a_calculator():
    atoms = get_molecule('N2')
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-6)
    relaxed = Atoms(atoms.numbers, atoms.positions)
    wavenumbers, _ = normal_modes(relaxed, calculated_hessian(relaxed, EMT()))
    # by hand: second difference of the energy along the bond
    energies = []
    for step in (-1e-3, 0.0, 1e-3):
        moved = relaxed.copy()
        moved.set_distance(0, 1, relaxed.get_distance(0, 1) + step)
        moved.calc = EMT()
        energies.append(moved.get_potential_energy())
    constant = (energies[0] - 2 * energies[1] + energies[2]) / 1e-6
    # hbar in eV sqrt(u) Å / sqrt(eV)
    by_hand = np.sqrt(constant / (14.007 / 2)) * 0.06465415 / invcm
    assert len(wavenumbers) == 1
    assert wavenumbers[0] == pytest.approx(by_hand, rel=1e-2)


def test_displacements_obey_equipartition():
    atoms = get_molecule('water')
    hessian = harmonic_hessian(atoms)
    modes = normal_modes(atoms, hessian)
    rng = np.random.default_rng(0)
    energies = []
    for _ in range(2000):
        shift = thermal_displacement(*modes, 300.0, rng).ravel()
        energies.append(shift @ hessian @ shift / 2)
    assert np.mean(energies) == pytest.approx(3 * kB * 300.0 / 2, rel=0.08)
    modes = normal_modes(atoms, harmonic_hessian(atoms))
    hot = [np.abs(thermal_displacement(*modes, t, np.random.default_rng(1))).max() for t in (300, 1200)]
    assert hot[1] == pytest.approx(2 * hot[0])


# Several molecules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('contact', [0.7, 1.0, 1.4])
def test_molecules_of_a_cluster_touch_as_asked(contact):
    water = get_molecule('water')
    radii = np.array([1.52, 1.2, 1.2])
    for seed in range(5):
        pair = cluster([water, water], contact, np.random.default_rng(seed))
        between = np.linalg.norm(pair.positions[:3, None] - pair.positions[None, 3:], axis=2)
        assert (between / (radii[:, None] + radii)).min() == pytest.approx(contact, rel=1e-6)


def test_packed_box_has_its_density_and_whole_molecules():
    water = get_molecule('water')
    box = packed_box([water] * 12, 12 * 29.9, np.random.default_rng(0))
    assert box.get_masses().sum() / box.get_volume() / 0.602214076 == pytest.approx(1.0, abs=0.01)
    assert molecules_of(box) == [3] * 12
    assert closest(box) > 0.72
    for start in range(0, 36, 3):
        assert box.get_distance(start, start + 1, mic=True) == pytest.approx(water.get_distance(0, 1))
    with pytest.raises(ValueError, match=r'liquids\.density: 12 molecules do not fit'):
        packed_box([water] * 12, 12 * 7.0, np.random.default_rng(0))


def test_molecular_crystal_is_dense_and_of_whole_molecules():
    methane = get_molecule('methane')
    found = [molecular_crystal(methane, 14, 4, np.random.default_rng(seed)) for seed in range(4)]
    found = [crystal for crystal in found if crystal is not None]
    assert found
    for crystal in found:
        assert molecules_of(crystal) == [5] * 4
        assert closest(crystal) > 0.7
        # solid methane: 50 Å³ per molecule
        assert 25 < crystal.get_volume() / 4 < 60


# The family ---------------------------------------------------------------------------------------------------------


def test_ethanol_gives_two_hundred_distinct_valid_structures(ethanol_frames):
    rejections = check_frames(ethanol_frames, Checks(), elements=['C', 'H', 'O'])
    good = [atoms for atoms, rejection in zip(ethanol_frames, rejections, strict=True) if rejection is None]
    assert len(good) >= 200
    assert len(good) >= 0.95 * len(ethanol_frames)
    fingerprints = set()
    for atoms in good:
        assert closest(atoms) > 0.7
        distances = np.sort(images(atoms, 1)[images(atoms, 1) < 5.0])
        fingerprints.add((len(atoms), np.round(distances, 3).tobytes()))
    assert len(fingerprints) == len(good)
    phases = Counter(atoms.info['phase'] for atoms in good)
    assert set(phases) == {f'ethanol {kind}' for kind in ('molecule', 'dimer', 'trimer', 'liquid', 'crystal')}


def test_ethanol_stays_ethanol(ethanol_frames):
    for atoms in ethanol_frames:
        kind = atoms.info['phase'].split()[-1]
        count = {'molecule': 1, 'dimer': 2, 'trimer': 3}.get(kind) or atoms.info['parameters']['count']
        assert atoms.get_chemical_symbols().count('O') == count and len(atoms) == 9 * count
        assert atoms.info.get('vacuum_axes') == (None if kind in ('liquid', 'crystal') else [0, 1, 2])
        assert atoms.pbc.all() and atoms.info['family'] == 'molecular' and atoms.info['reason']
        json.dumps(atoms.info)
        if 'factor' not in atoms.info['parameters']:
            assert molecules_of(atoms) == [9] * count
        if 'vacuum_axes' in atoms.info:
            assert atoms.cell.lengths() - np.ptp(atoms.positions, axis=0) == pytest.approx([10.0] * 3)


def test_first_parents_are_a_mixture(ethanol_frames):
    few = MolecularFamily().parents(['C', 'H', 'O'], Molecular(molecules=['ethanol']), 25, np.random.default_rng(1))
    assert len(few) == 25
    assert few[0].info['reason'].endswith('as it is')
    assert len({atoms.info['phase'] for atoms in few}) == 5
    kinds = [set(atoms.info['parameters']) for atoms in few]
    for key in ('torsions', 'temperature', 'factor', 'contact', 'density', 'space_group'):
        assert any(key in keys for keys in kinds), key
    # the same frames as the first ones of the long list
    for short, long in zip(few, ethanol_frames, strict=False):
        assert short.positions.tobytes() == long.positions.tobytes()


def test_mixtures_of_molecules():
    parameters = Molecular(molecules=['water', 'methanol'])
    frames = MolecularFamily().parents(['C', 'H', 'O'], parameters, 60, np.random.default_rng(2))
    phases = {atoms.info['phase'] for atoms in frames}
    assert {'water-methanol dimer', 'water-methanol liquid', 'water molecule', 'methanol molecule'} <= phases
    pair = next(atoms for atoms in frames if atoms.info['phase'] == 'water-methanol dimer')
    assert sorted(molecules_of(pair)) == [3, 6]
    assert min(closest(atoms) for atoms in frames) > 0.7


def test_same_seed_same_frames():
    parameters = Molecular(molecules=['water'])
    first, second, other = (
        MolecularFamily().parents(['H', 'O'], parameters, 40, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    for one, two in zip(first, second, strict=True):
        assert one.positions.tobytes() == two.positions.tobytes() and one.info == two.info
    assert any(one.positions.tobytes() != two.positions.tobytes() for one, two in zip(first, other, strict=True))


def test_molecules_are_found_for_elements():
    assert default_molecules(['H', 'O'])[0] == 'H2O'
    assert default_molecules(['N']) == ['N2']
    for name in default_molecules(['C', 'H', 'O']):
        assert set(get_molecule(name).get_chemical_symbols()) == {'C', 'H', 'O'}


def test_what_cannot_be_made_says_so():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r'molecules: ethanol .* holds O, .*system\.elements'):
        MolecularFamily().parents(['C', 'H'], Molecular(molecules=['ethanol']), 5, rng)
    with pytest.raises(ValueError, match=r"^molecules: molecule 'etanol' is unknown: nearest are e"):
        MolecularFamily().parents(['C', 'H', 'O'], Molecular(molecules=['etanol']), 5, rng)
    with pytest.raises(ValueError, match=r'no common molecule is made of Cu alone'):
        MolecularFamily().parents(['Cu'], Molecular(), 5, rng)
    with pytest.raises(ValueError, match=r'liquids\.density'):
        dense = Molecular(molecules=['water'], liquids=Liquids(density=4.0))
        MolecularFamily().parents(['H', 'O'], dense, 100, rng)


def test_atoms_and_cages_are_molecules_too():
    rng = np.random.default_rng(0)
    frames = MolecularFamily().parents(['Na', 'H'], Molecular(molecules=['Na', 'H2']), 60, rng)
    assert {'Na molecule', 'Na dimer', 'Na-hydrogen liquid'} <= {atoms.info['phase'] for atoms in frames}
    cage = MolecularFamily().parents(['C'], Molecular(molecules=['fullerene']), 8, rng)
    assert max(len(atoms) for atoms in cage) > 60
    assert min(closest(atoms) for atoms in [*frames, *(atoms for atoms in cage if len(atoms) == 60)]) > 0.7
