"""Planes, terminations, polarity and contact of slabs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, hcp0001
from ase.io import write

from aiida_pyacemaker.atomistics.crystals import slabs
from aiida_pyacemaker.atomistics.crystals.slabs import (
    bulk_of,
    choose_terminations,
    contact_distance,
    contact_offset,
    fingerprint,
    lateral_distances,
    low_index_planes,
    make_slab,
    read_miller,
    stack_planes,
    surfaces_by_stability,
    terminations,
    with_vacuum,
)

KEY = 'structures.test'


def crystal(name, elements=None):
    elements = elements or ['Pt', 'Mg', 'O', 'Si', 'Ti', 'Sr', 'Fe', 'Al']
    return bulk_of(name, elements, KEY)


def slab(name, miller, layers=4):
    stack = stack_planes(crystal(name), miller, layers)
    return make_slab(stack, terminations(stack, layers)[0])


def distances(atoms, origin=None, cutoff=5.0):
    """Distances from one atom or from all, by brute force over images (independent of the package)."""
    most = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)).astype(int) + 1
    shifts = np.stack(np.meshgrid(*(range(-n, n + 1) for n in most), indexing='ij'), -1).reshape(-1, 3)
    start = atoms.positions if origin is None else atoms.positions[[origin]]
    delta = atoms.positions[None, :, None] - start[:, None, None] + shifts @ atoms.cell.array
    found = np.linalg.norm(delta, axis=-1).ravel()
    return np.sort(found[(found > 1e-6) & (found < cutoff)])


@pytest.mark.parametrize(
    ('name', 'miller', 'reference'),
    [
        ('Pt', (1, 1, 1), lambda: fcc111('Pt', (1, 1, 4), a=3.92, vacuum=6)),
        ('Mg', (0, 0, 1), lambda: hcp0001('Mg', (1, 1, 4), a=3.21, c=1.624 * 3.21, vacuum=6)),
    ],
)
def test_slabs_are_those_of_ase(name, miller, reference):
    mine = with_vacuum(slab(name, miller), 12.0)
    expected = reference()
    expected.pbc = True
    assert len(mine) == len(expected)
    assert np.allclose(distances(mine), distances(expected), atol=2e-3)


@pytest.mark.parametrize('miller', [(1, 1, 1), (1, 0, 0), (1, 1, 0), (2, 1, 1), (3, 1, 0), (1, -1, 2)])
def test_bulk_is_found_inside_a_slab(miller):
    """An atom deep inside has the neighbours that it has in the crystal."""
    stack = stack_planes(crystal('MgO'), miller, 20)
    atoms = with_vacuum(make_slab(stack, terminations(stack, 20)[0]), 12.0)
    middle = int(np.argmin(np.abs(atoms.positions[:, 2] - atoms.cell[2, 2] / 2)))
    depth = min(4.5, float(np.ptp(atoms.positions[:, 2])) / 2 - 1.0)
    rock = bulk('MgO', 'rocksalt', a=2 * crystal('MgO').nearest)
    assert np.allclose(distances(atoms, middle, depth), distances(rock, 0, depth), atol=1e-3)


def test_normal_is_along_z_and_cell_is_reduced_and_right_handed():
    stack = stack_planes(crystal('Pt'), (3, 1, 1), 4)
    a, b = stack.vectors
    assert a[1] == 0 and b[1] > 0
    assert abs(a @ b) <= a @ a / 2 + 1e-6 and a @ a <= b @ b + 1e-6
    # area of the primitive cell of a plane: volume / spacing
    spacing = 3.92 / np.sqrt(11)
    assert stack.area == pytest.approx(3.92**3 / 4 / spacing, rel=1e-6)


@pytest.mark.parametrize('miller', [(1, 1, 1), (2, 1, 0), (4, 3, 1), (7, 5, 2)])
def test_planes_repeat_where_they_lie_densely(miller):
    """Corundum has atoms at nearly all heights along such normals."""
    stack = stack_planes(crystal('Al2O3'), miller, 3)
    for option in terminations(stack, 3):
        atoms = make_slab(stack, option)
        assert abs(atoms.arrays['oxidation_states'].sum()) < 1e-9
        counts = atoms.symbols.formula.count()
        assert not option.stoichiometric or 2 * counts['O'] == 3 * counts['Al']
    sizes = [len(plane) for plane in stack.planes[stack.margin : stack.margin + 2 * stack.period]]
    assert sizes[: stack.period] == sizes[stack.period :] and sum(sizes) == 20


def test_miller_indices_are_checked():
    platinum, magnesium = crystal('Pt'), crystal('Mg')
    assert read_miller([2, 2, 2], platinum, KEY) == (1, 1, 1)
    assert read_miller([1, 0, -1, 0], magnesium, KEY) == (1, 0, 0)
    with pytest.raises(ValueError, match=r'structures.test: \[0, 0, 0\] names no plane.*\[0, 0, 1\]'):
        read_miller([0, 0, 0], platinum, KEY)
    with pytest.raises(ValueError, match=r'four indices, but Pt .* not hexagonal'):
        read_miller([1, 0, -1, 0], platinum, KEY)
    with pytest.raises(ValueError, match=r'sum to zero: \[1, 1, -2, 0\]'):
        read_miller([1, 1, 0, 0], magnesium, KEY)
    with pytest.raises(ValueError, match='has 2 indices'):
        read_miller([1, 0], platinum, KEY)


def test_low_index_planes_are_distinct_by_symmetry():
    assert low_index_planes(crystal('Pt')) == [(0, 0, 1), (1, 1, 1), (1, 1, 0)]
    assert (0, 0, 1) in low_index_planes(crystal('TiO2')) and (1, 0, 0) in low_index_planes(crystal('TiO2'))
    assert (0, 1, 0) not in low_index_planes(crystal('TiO2'))


@pytest.mark.parametrize(
    ('name', 'best'),
    [
        ('Pt', 'Pt(111)'), ('Fe', 'Fe(110)'), ('Mg', 'Mg(0001)'), ('MgO', 'MgO(001)'), ('Si', 'Si(111)'),
        ('Al2O3', 'Al2O3(0001)'),
    ],
)  # fmt: skip
def test_the_most_stable_surface_comes_first(name, best):
    assert surfaces_by_stability(crystal(name), 4)[0].label == best


def test_silicon_is_cut_between_the_double_layers():
    stack = stack_planes(crystal('Si'), (1, 1, 1), 4)
    best = choose_terminations(stack, 4, None, False, KEY)
    assert len(best) == 1
    gaps = np.diff(np.unique(np.round(make_slab(stack, best[0]).positions[:, 2], 3)))
    # closely, widely, closely spaced: one dangling bond per surface atom
    assert gaps == pytest.approx([0.784, 2.352, 0.784], abs=2e-3)


def test_rutile_110_has_no_dipole_and_is_stoichiometric():
    stack = stack_planes(crystal('TiO2'), (1, 1, 0), 4)
    (best,) = choose_terminations(stack, 4, None, False, KEY)
    atoms = make_slab(stack, best)
    counts = atoms.symbols.formula.count()
    assert counts['O'] == 2 * counts['Ti']
    states = atoms.arrays['oxidation_states']
    assert abs(states.sum()) < 1e-9 and abs(states @ atoms.positions[:, 2]) < 1e-6
    assert best.top == best.bottom == 'O' and best.mirrored


def test_polar_surfaces_are_refused_unless_their_termination_is_named():
    stack = stack_planes(crystal('MgO'), (1, 1, 1), 4)
    with pytest.raises(ValueError, match=r'every slab of MgO\(111\) has a dipole.*\(O, Mg\)|\(Mg, O\)'):
        choose_terminations(stack, 4, None, False, KEY)
    (chosen,) = choose_terminations(stack, 4, ['Mg'], False, KEY)
    assert chosen.polar and chosen.top == 'Mg' and chosen.bottom == 'O'
    with pytest.raises(ValueError, match='does not end in Al; it can end in'):
        choose_terminations(stack, 4, ['Al'], False, KEY)


def test_perovskite_ends_in_either_plane():
    stack = stack_planes(crystal('SrTiO3'), (0, 0, 1), 4)
    assert {option.top for option in terminations(stack, 4)} == {'SrO', 'TiO2'}
    symmetric = choose_terminations(stack, 4, ['O2Ti'], True, KEY)[0]
    assert symmetric.top == symmetric.bottom == 'TiO2' and symmetric.number % 2 == 1
    assert abs(make_slab(stack, symmetric).arrays['oxidation_states'].sum()) < 1e-9


def test_vacuum_is_as_wide_as_asked():
    atoms = with_vacuum(slab('Pt', (1, 1, 1)), 11.0)
    z = atoms.positions[:, 2]
    assert atoms.cell[2, 2] - (z.max() - z.min()) == pytest.approx(11.0)
    assert atoms.info['vacuum_axes'] == [2] and atoms.pbc.all()
    assert (atoms.get_scaled_positions(wrap=False)[:, 2] > 0).all()


def test_materials_come_from_files_too(tmp_path):
    path = tmp_path / 'rock.cif'
    write(path, bulk('MgO', 'rocksalt', a=4.21))
    found = crystal(str(path))
    assert found.label == 'MgO' and found.space_group == 225 and len(found.conventional) == 8
    assert found.nearest == pytest.approx(2.105, abs=1e-3)
    assert set(found.conventional.arrays['oxidation_states']) == {2.0, -2.0}


def test_oxidation_states_of_a_file_are_kept(tmp_path):
    atoms = bulk('MgO', 'rocksalt', a=4.21)
    atoms.set_array('oxidation_states', np.array([1.0, -1.0]))
    path = tmp_path / 'rock.xyz'
    write(path, atoms, format='extxyz')
    assert set(crystal(str(path)).conventional.arrays['oxidation_states']) == {1.0, -1.0}


def test_impossible_materials(tmp_path):
    with pytest.raises(ValueError, match=r'structures.test: SrTiO3 holds Sr, Ti.*add Sr, Ti to system.elements'):
        bulk_of('SrTiO3', ['O', 'Al'], KEY)
    with pytest.raises(ValueError, match='neither a formula nor a file'):
        crystal('magnesia')
    with pytest.raises(ValueError, match='does not exist'):
        crystal(str(tmp_path / 'none.cif'))
    empty = tmp_path / 'empty.cif'
    empty.write_text('')
    with pytest.raises(ValueError, match='cannot be read'):
        crystal(str(empty))


def test_lateral_distances_against_brute_force():
    rng = np.random.default_rng(0)
    vectors = np.array([[3.0, 0.0], [1.4, 2.2]])
    first, second = rng.normal(size=(4, 3)) * 5, rng.normal(size=(3, 3)) * 5
    images = np.array([[i, j] for i in range(-12, 13) for j in range(-12, 13)]) @ vectors
    brute = np.linalg.norm(second[None, :, None, :2] - first[:, None, None, :2] + images, axis=-1)
    mine = lateral_distances(first, second, vectors, 4.0)
    for i in range(4):
        for j in range(3):
            near = np.sort(brute[i, j][brute[i, j] < 4.0])
            assert np.allclose(np.sort(mine[i, j][mine[i, j] < 4.0]), near)


def test_contact_touches_and_does_not_overlap():
    lower = slab('MgO', (0, 0, 1))
    upper = Atoms('OH', [[1.0, 0.3, 0.0], [1.6, 0.3, 0.7]])
    upper.positions[:, 2] += contact_offset(lower, upper)
    both = with_vacuum(lower + upper, 15.0)
    ratios = [
        both.get_distance(i, j, mic=True) / contact_distance(both.symbols[i], both.symbols[j])
        for i in range(len(lower))
        for j in (len(lower), len(lower) + 1)
    ]
    assert min(ratios) == pytest.approx(1.0, abs=1e-6)


def test_fingerprints_know_equivalent_cells():
    atoms = slab('MgO', (0, 0, 1))
    turned = with_vacuum(atoms, 12.0).repeat((2, 1, 1))
    turned.rotate(33, 'z', rotate_cell=True)
    turned.positions += [0.3, 0.2, 0.0]
    assert np.allclose(fingerprint(with_vacuum(atoms, 12.0)), fingerprint(turned), atol=1e-8)
    turned.positions[0, 2] += 0.2
    assert not slabs.is_new(fingerprint(with_vacuum(atoms, 12.0)), [fingerprint(with_vacuum(atoms, 12.0))])
    assert slabs.is_new(fingerprint(turned), [fingerprint(with_vacuum(atoms, 12.0))])
