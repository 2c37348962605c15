"""Initial structures: families, sizes, seeds, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from aiida_pyacemaker.atomistics.checks.overlap import overlapping, shortest_distances
from aiida_pyacemaker.atomistics.generators.bulk import DEFAULTS, generate_bulk, starting_cell
from aiida_pyacemaker.atomistics.generators.files import read_structures


def test_aluminium():
    frames = generate_bulk(['Al'], {}, seed=42)
    families = [atoms.info['family'] for atoms in frames if atoms.info['split'] == 'train']
    expected = {'isolated_atom': 1, 'eos': 7, 'strain': 4, 'shear': 3, 'rattled': 10, 'vacancy': 2}
    assert {family: families.count(family) for family in families} == expected
    test = [atoms for atoms in frames if atoms.info['split'] == 'test']
    assert len(test) == 4 and {atoms.info['family'] for atoms in test} == {'rattled'}
    assert not any(overlapping(atoms) for atoms in frames)
    assert not frames[0].pbc.any() and len(frames[0]) == 1
    assert all(atoms.info['phase'] == 'fcc' and atoms.info['seed'] == 42 for atoms in frames[1:])
    volumes = [atoms.get_volume() / 4 for atoms in frames if atoms.info['family'] == 'eos']
    np.testing.assert_allclose([volumes[0], volumes[3], volumes[-1]], 4.05**3 / 4 * np.array([0.9, 1.0, 1.1]))
    assert {len(atoms) for atoms in frames if atoms.info['family'] == 'vacancy'} == {15}
    low = [
        atoms for atoms in frames if atoms.info['family'] in ('rattled', 'vacancy') and atoms.info['split'] == 'train'
    ]
    assert len(low) >= 8


def test_shear_keeps_the_axes_and_strain_is_symmetric():
    frames = generate_bulk(['Al'], {'strain': {'number': 3, 'amplitude': 0.04}}, seed=1)
    for atoms in frames:
        if atoms.info['family'] in ('strain', 'shear'):
            strain = atoms.cell.array / 4.05 - np.eye(3)
            np.testing.assert_allclose(strain, strain.T, atol=1e-12)
            assert np.abs(strain).max() <= 0.05
            if atoms.info['family'] == 'shear':
                np.testing.assert_allclose(np.diag(strain), 0, atol=1e-12)


def test_seed_decides():
    first, again, other = (generate_bulk(['Al'], {}, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.positions, b.positions) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize('atoms', [4, 8, 16, 32])
def test_supercells_are_whole_conventional_cells(atoms):
    cell = starting_cell(['Al'], None, atoms)
    assert len(cell) == atoms
    np.testing.assert_allclose(cell.cell.array, np.diag(np.diag(cell.cell.array)), atol=1e-12)
    repeats = cell.cell.lengths() / 4.05
    np.testing.assert_allclose(repeats, np.round(repeats))
    assert repeats.max() / repeats.min() <= 2


@pytest.mark.parametrize(
    ('element', 'phase', 'atoms'), [('Fe', 'bcc', 2), ('Mg', 'hcp', 4), ('Si', 'diamond', 8), ('Po', 'sc', 1)]
)
def test_ground_states(element, phase, atoms):
    cell = starting_cell([element], None, 1)
    assert len(cell) == atoms and cell.info['phase'] == phase
    primitive = bulk(element)
    assert cell.get_volume() / len(cell) == pytest.approx(primitive.get_volume() / len(primitive))
    generate_bulk([element], {}, seed=0)


def test_other_prototypes_keep_the_volume():
    volume = 4.05**3 / 4
    for phase in ('sc', 'bcc', 'hcp', 'diamond'):
        cell = starting_cell(['Al'], phase, 1)
        assert cell.get_volume() / len(cell) == pytest.approx(volume)
    frames = generate_bulk(['Al'], {'prototypes': ['fcc', 'bcc']}, seed=0)
    assert len(frames) == 2 * len(generate_bulk(['Al'], {}, seed=0)) - 1


def test_alloys_are_decorated():
    frames = generate_bulk(['Cu', 'Al'], {}, seed=0)
    formulas = {atoms.get_chemical_formula() for atoms in frames}
    assert {'Al', 'Cu', 'Al8', 'Cu8', 'Al4Cu4'} <= formulas
    assert starting_cell(['Cu', 'Al'], 'fcc', 16).get_chemical_formula() == 'Al8Cu8'


@pytest.mark.parametrize(
    ('elements', 'parameters', 'message'),
    [
        (['Xx'], {}, "'Xx' is not a chemical element"),
        ([], {}, 'system.elements is empty'),
        (['Ga'], {}, 'name structures.prototypes'),
        (['Al'], {'prototypes': ['perovskite']}, "unknown prototype 'perovskite'"),
        (['Al'], {'eoss': {}}, 'structures.eoss is unknown'),
        (['Al'], {'rattle': {'amplitude': [3.0], 'atoms': 108}}, 'structures.rattle makes atoms overlap'),
    ],
)
def test_bad_input(elements, parameters, message):
    with pytest.raises(ValueError, match=message):
        generate_bulk(elements, parameters, seed=0)
    assert DEFAULTS['rattle']['atoms'] == 8


def test_distances():
    atoms = bulk('Al', 'fcc', a=4.0, cubic=True)
    atoms.symbols[0] = 'Cu'
    found = shortest_distances([atoms, Atoms('O', cell=[10] * 3)])
    assert found.keys() == {('Al', 'Al'), ('Al', 'Cu'), ('Cu', 'Cu')}
    assert found['Al', 'Cu'] == pytest.approx(4 / np.sqrt(2)) and found['Cu', 'Cu'] == pytest.approx(4.0)
    assert overlapping(bulk('Al', 'fcc', a=1.5)) and not overlapping(atoms)


def test_read_structures(tmp_path):
    write(tmp_path / 'two.extxyz', [bulk('Al', cubic=True), bulk('Al')])
    write(tmp_path / 'POSCAR', bulk('Cu'))
    frames = read_structures([tmp_path / 'two.extxyz', str(tmp_path / 'POSCAR')], ['Al', 'Cu'])
    assert [len(atoms) for atoms in frames] == [4, 1, 1]
    assert all(atoms.info['family'] == 'user' and atoms.calc is None and atoms.pbc.all() for atoms in frames)
    assert frames[2].info['file'] == 'POSCAR'
    with pytest.raises(ValueError, match=r'POSCAR, structure 0 has Cu: add it to system.elements'):
        read_structures([tmp_path / 'POSCAR'], ['Al'])


@pytest.mark.parametrize(
    ('content', 'message'), [('', 'is empty'), (' \n\n', 'is empty'), ('nonsense', 'cannot be read')]
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / 'bad.extxyz'
    path.write_text(content)
    with pytest.raises(ValueError, match=rf'bad\.extxyz {message}'):
        read_structures([path])
    with pytest.raises(ValueError, match='does not exist'):
        read_structures([tmp_path / 'none.cif'])


def test_structures_of_no_use(tmp_path):
    write(tmp_path / 'water.xyz', molecule('H2O'))
    with pytest.raises(ValueError, match='has no cell'):
        read_structures([tmp_path / 'water.xyz'])
    write(tmp_path / 'close.extxyz', bulk('Al', 'fcc', a=1.0))
    with pytest.raises(ValueError, match='overlapping atoms'):
        read_structures([tmp_path / 'close.extxyz'])
