"""The user's own structures: what is read, in which order, and what is refused with which words."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from aiida_pyacemaker.atomistics.io.files import VACUUM, read_structures

CIF = """data_mixed
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def test_read_structures(tmp_path):
    write(tmp_path / 'two.extxyz', [bulk('Al', cubic=True), bulk('Al')])
    write(tmp_path / 'POSCAR', bulk('Cu'))
    frames = read_structures([tmp_path / 'two.extxyz', str(tmp_path / 'POSCAR')], ['Al', 'Cu'])
    assert [len(atoms) for atoms in frames] == [4, 1, 1]
    assert all(atoms.info['family'] == 'user' and atoms.calc is None and atoms.pbc.all() for atoms in frames)
    assert [(atoms.info['file'], atoms.info['index'], atoms.info['phase']) for atoms in frames] == [
        ('two.extxyz', 0, 'two'),
        ('two.extxyz', 1, 'two'),
        ('POSCAR', 0, 'POSCAR'),
    ]
    assert all('structure 0 of' in atoms.info['reason'] for atoms in frames[::2])
    with pytest.raises(ValueError, match=r'POSCAR, structure 0 has Cu; add it to system.elements'):
        read_structures([tmp_path / 'POSCAR'], ['Al'])


def test_labels_stay_behind_and_oxidation_states_and_moments_come_along(tmp_path):
    atoms = bulk('NaCl', 'rocksalt', a=5.64)
    atoms.set_array('oxidation_states', np.array([1.0, -1.0]))
    atoms.set_initial_magnetic_moments([1.0, 2.0])
    atoms.info['energy_of_another_method'] = 3.0
    atoms.calc = SinglePointCalculator(atoms, energy=-7.0, forces=np.zeros((2, 3)), stress=np.zeros(6))
    write(tmp_path / 'labelled.extxyz', atoms)
    (read,) = read_structures([tmp_path / 'labelled.extxyz'])
    assert read.calc is None
    assert set(read.arrays) == {'numbers', 'positions', 'oxidation_states', 'magnetic_moments'}
    assert read.arrays['magnetic_moments'].tolist() == [1.0, 2.0]
    assert read.arrays['oxidation_states'].tolist() == [1.0, -1.0] and 'energy_of_another_method' not in read.info


@pytest.mark.parametrize('name', ['a.cif', 'a.vasp', 'a.xsf', 'a.json', 'a.traj', 'a.extxyz', 'a@2.extxyz'])
def test_formats(name, tmp_path):
    write(tmp_path / name.replace('@', 'at'), bulk('Cu', cubic=True))
    (tmp_path / name.replace('@', 'at')).rename(tmp_path / name)
    (read,) = read_structures([tmp_path / name])
    assert read.get_chemical_formula() == 'Cu4' and read.get_volume() == pytest.approx(3.61**3)


def test_folders_and_globs_in_natural_order_each_file_once(tmp_path):
    for number in (10, 9, 1):
        write(tmp_path / f'cell{number}.cif', bulk('Al', 'fcc', a=4 + number / 100))
    (tmp_path / 'notes.of_mine').write_text('not a structure')
    (tmp_path / '.hidden.cif').write_text('nonsense')
    (tmp_path / 'below').mkdir()
    write(tmp_path / 'below' / 'deep.cif', bulk('Al'))
    names = [atoms.info['file'] for atoms in read_structures([tmp_path])]
    assert names == ['cell1.cif', 'cell9.cif', 'cell10.cif']
    assert [atoms.info['file'] for atoms in read_structures([tmp_path / 'cell[19]*.cif'])] == names
    assert 'deep.cif' in [atoms.info['file'] for atoms in read_structures([tmp_path / '**' / '*.cif'])]
    again = read_structures([tmp_path / 'cell9.cif', tmp_path, tmp_path / '*.cif'])
    assert [atoms.info['file'] for atoms in again] == ['cell9.cif', 'cell1.cif', 'cell10.cif']


def test_a_molecule_without_a_cell_gets_a_box(tmp_path):
    water = molecule('H2O')
    write(tmp_path / 'water.xyz', water)
    (read,) = read_structures([tmp_path / 'water.xyz'])
    assert read.info['vacuum_axes'] == [0, 1, 2] and read.pbc.all()
    np.testing.assert_allclose(read.get_all_distances(), water.get_all_distances())
    # no image is nearer than the vacuum, which an own sum over images says
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) != (0, 0, 0)])
    offsets = read.positions[None, :] - read.positions[:, None]
    assert np.linalg.norm(offsets[None] + (shifts @ read.cell.array)[:, None, None], axis=-1).min() >= VACUUM - 1e-6


def test_slabs_say_where_their_vacuum_is(tmp_path):
    slab = fcc111('Al', (1, 1, 4), vacuum=6.0)
    write(tmp_path / 'slab.extxyz', slab)
    flat = fcc111('Al', (1, 1, 4))  # no third axis at all
    assert flat.cell.rank == 2
    write(tmp_path / 'flat.extxyz', flat)
    write(tmp_path / 'bulk.extxyz', bulk('Al'))
    frames = read_structures([tmp_path / name for name in ('slab.extxyz', 'flat.extxyz', 'bulk.extxyz')])
    assert [atoms.info.get('vacuum_axes') for atoms in frames] == [[2], [2], None]
    assert frames[1].cell.rank == 3


@pytest.mark.parametrize(
    ('content', 'message'), [('', 'is empty'), (' \n\n', 'is empty'), ('nonsense', 'cannot be read')]
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / 'bad.extxyz'
    path.write_text(content)
    with pytest.raises(ValueError, match=rf'files: structure file .*bad\.extxyz {message}'):
        read_structures([path])
    with pytest.raises(ValueError, match=r'none\.cif does not exist'):
        read_structures([tmp_path / 'none.cif'])
    with pytest.raises(ValueError, match=r'\*\.cif matches no file'):
        read_structures([tmp_path / '*.cif'])
    with pytest.raises(ValueError, match=r'bad\.extxyz'):  # a folder hides no broken file
        read_structures([tmp_path])


def test_folders_without_structures(tmp_path):
    with pytest.raises(ValueError, match='has no file in it'):
        read_structures([tmp_path])
    (tmp_path / 'notes.of_mine').write_text('not a structure')
    with pytest.raises(ValueError, match='has no structure file in it'):
        read_structures([tmp_path])
    with pytest.raises(ValueError, match='no format that ASE recognises; convert it'):
        read_structures([tmp_path / 'notes.of_mine'])


def test_structures_of_no_use(tmp_path):
    cases = {
        'close': (bulk('Al', 'fcc', a=1.0), 'overlapping atoms'),
        'dummy': (Atoms('X', cell=[3] * 3, pbc=True), 'no element'),
        'flat': (Atoms('Al', cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), 'lie in one plane'),
        'endless': (Atoms('Al', [[0.0, 0.0, np.inf]], cell=[3] * 3, pbc=True), 'not finite'),
    }
    for name, (atoms, message) in cases.items():
        write(tmp_path / f'{name}.extxyz', atoms)
        with pytest.raises(ValueError, match=rf'{name}\.extxyz, structure 0 .*{message}'):
            read_structures([tmp_path / f'{name}.extxyz'])
    (tmp_path / 'lost.extxyz').write_text('1\nProperties=species:S:1:pos:R:3 pbc="T T T"\nAl 0 0 0\n')
    with pytest.raises(ValueError, match='has no cell but says that it is periodic'):
        read_structures([tmp_path / 'lost.extxyz'])


@pytest.mark.parametrize(
    ('sites', 'mix'),
    [('Cu1 Cu 0 0 0 0.75\nAu1 Au 0 0 0 0.25\n', 'Cu 0.75, Au 0.25'), ('Cu1 Cu 0 0 0 0.9\n', 'Cu 0.9')],
)
def test_partial_occupancy_is_refused_in_plain_words(sites, mix, tmp_path):
    (tmp_path / 'mixed.cif').write_text(CIF + sites)
    with pytest.raises(ValueError, match=rf'mixed\.cif, structure 0, has a site with partial occupancy \({mix}\)'):
        read_structures([tmp_path / 'mixed.cif'])
    (tmp_path / 'full.cif').write_text(CIF + 'Cu1 Cu 0 0 0 1.0\n')
    assert len(read_structures([tmp_path / 'full.cif'])[0]) == 4
