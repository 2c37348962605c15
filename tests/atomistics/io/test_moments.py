"""Magnetic moments of the user's files: where they are found, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.io.files import read_structures

#: A-type antiferromagnetic LaMnO3 (MAGNDATA 0.1): four sites, of which the magnetic symmetry makes twenty atoms.
LAMNO3 = """data_lamno3
_chemical_formula_sum 'La Mn O3'
_cell_length_a 5.7461(2)
_cell_length_b 7.6637(4)
_cell_length_c 5.5333(2)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_space_group_symop_magn_operation.id
_space_group_symop_magn_operation.xyz
1 x,y,z,+1
2 -x,y+1/2,-z,+1
3 -x,-y,-z,+1
4 x,-y+1/2,z,+1
5 x+1/2,-y+1/2,-z+1/2,-1
6 -x+1/2,-y,z+1/2,-1
7 -x+1/2,y+1/2,z+1/2,-1
8 x+1/2,y,-z+1/2,-1
loop_
_space_group_symop_magn_centering.id
_space_group_symop_magn_centering.xyz
1 x,y,z,+1
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
La La 0.0513(7) 0.25000 -0.0095(5) 1
Mn Mn 0.00000 0.00000 0.50000 1
O1 O 0.48493(80) 0.25000 0.0777(7) 1
O2 O 0.3085(5) 0.0408(4) 0.7227(5) 1
loop_
_atom_site_moment.label
_atom_site_moment.crystalaxis_x
_atom_site_moment.crystalaxis_y
_atom_site_moment.crystalaxis_z
_atom_site_moment.symmform
Mn 3.87(3) 0.0 0.0 mx,my,mz
"""


def chromium() -> Atoms:
    """Two atoms of chromium."""
    return Atoms(bulk('Cr', cubic=True).numbers, [[0, 0, 0], [1.44] * 3], cell=[2.88] * 3, pbc=True)


@pytest.mark.parametrize('name', ['initial_magmoms', 'magmoms', 'magmom', 'magnetic_moments', 'calculator'])
def test_moments_of_extxyz(name, tmp_path):
    """Under whatever name a file has its moments, they are what a label starts from."""
    atoms = chromium()
    if name == 'calculator':
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, magmoms=np.array([1.2, -1.2]))
    else:
        atoms.set_array(name, np.array([1.2, -1.2]))
    write(tmp_path / 'cr.extxyz', atoms)
    (found,) = read_structures([tmp_path / 'cr.extxyz'])
    assert found.arrays['magnetic_moments'].tolist() == [1.2, -1.2] and found.calc is None


def test_vectors_and_nothing(tmp_path):
    """Collinear vectors in any direction become numbers, a weak canting is left out; zeros are no moments."""
    atoms = chromium()
    for vectors, expected in (
        ([[0, 1, 1], [0, -1, -1]], [2**0.5, -(2**0.5)]),
        ([[-3, 0.1, 0], [3, 0.1, 0]], [-3, 3]),
        ([[0, 0, 0], [0, 0, 0]], None),
    ):
        atoms.arrays.pop('magmoms', None)
        atoms.set_array('magmoms', np.array(vectors, dtype=float))
        write(tmp_path / 'cr.extxyz', atoms)
        (found,) = read_structures([tmp_path / 'cr.extxyz'])
        if expected is None:
            assert 'magnetic_moments' not in found.arrays
        else:
            assert found.arrays['magnetic_moments'] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('moments', 'message'),
    [
        ([[0, 0, 2], [2, 0, 0]], 'not collinear'),
        ([1.0, np.nan], 'not finite'),
        ([1.0, 25.0], '25 on atom 1'),
    ],
)
def test_refused_moments(moments, message, tmp_path):
    """Moments that no collinear calculation can start from are told in one message with the file."""
    atoms = chromium()
    atoms.set_array('magmoms', np.array(moments, dtype=float))
    write(tmp_path / 'cr.extxyz', atoms)
    with pytest.raises(InputError, match=rf'cr\.extxyz, structure 0 .*{message}'):
        read_structures([tmp_path / 'cr.extxyz'])


@pytest.mark.parametrize('name', ['a.mcif', 'a.cif'])
def test_magnetic_cif(name, tmp_path):
    """A magnetic CIF has the atoms of its magnetic symmetry, and their moments."""
    (tmp_path / name).write_text(LAMNO3)
    (found,) = read_structures([tmp_path / name])
    assert found.get_chemical_formula() == 'La4Mn4O12'
    moments = found.arrays['magnetic_moments']
    assert moments[found.symbols == 'Mn'] == pytest.approx([3.87, -3.87, -3.87, 3.87])
    assert not moments[found.numbers != 25].any()


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('\nMn 3.87(3)', '\nMn3 3.87(3)', 'moments for atoms that are not there: Mn3'),
        ('O2 O 0.3085(5) 0.0408(4) 0.7227(5) 1\n', '', 'says La Mn O3, .* give LaMnO: atoms are missing'),
        ('Mn 3.87(3) 0.0 0.0', 'Mn 3.87(3) 2.0 0.0', 'not collinear'),
        ('0.50000 1\n', '0.50000 0.5\n', 'partial occupancy'),
    ],
)
def test_refused_magnetic_cif(old, new, message, tmp_path):
    """What a magnetic CIF says of itself is compared with what was read."""
    assert old in LAMNO3
    (tmp_path / 'a.mcif').write_text(LAMNO3.replace(old, new))
    with pytest.raises(InputError, match=rf'a\.mcif.*{message}'):
        read_structures([tmp_path / 'a.mcif'])


def test_formula_of_any_cif(tmp_path):
    """A CIF whose symmetry nobody knew has too few atoms for its formula; one without a formula is taken as it is."""
    plain = re.sub(r'(?s)loop_\n_atom_site_moment.*', '', LAMNO3).replace('_symop_magn_', '_symop_other_')
    (tmp_path / 'a.cif').write_text(plain)
    with pytest.raises(InputError, match=r'says La Mn O3, .* give LaMnO2: atoms are missing'):
        read_structures([tmp_path / 'a.cif'])
    (tmp_path / 'a.cif').write_text(plain.replace("'La Mn O3'", '?'))
    assert read_structures([tmp_path / 'a.cif'])[0].get_chemical_formula() == 'LaMnO2'
