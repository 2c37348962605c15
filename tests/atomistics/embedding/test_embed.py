"""Small periodic cells around atoms of large ones, measured by exact potentials."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from scipy.spatial import cKDTree

from aiida_pyacemaker.atomistics.checks.charge import is_neutral
from aiida_pyacemaker.atomistics.crystals.ions import states_of
from aiida_pyacemaker.atomistics.embedding.embed import embed
from aiida_pyacemaker.atomistics.embedding.environments import find_environments, local_region
from aiida_pyacemaker.atomistics.embedding.parameters import Embedding
from aiida_pyacemaker.atomistics.embedding.relax import relax_buffer

#: Å, lattice constant of EMT's aluminium.
LATTICE = 3.995


def crystal(repeat: int | tuple = 9, width: float = 0.0, seed: int = 0, element: str = 'Al') -> Atoms:
    atoms = bulk(element, 'fcc', a=LATTICE, cubic=True).repeat(repeat)
    atoms.positions += np.random.default_rng(seed).normal(0, width, atoms.positions.shape)
    return atoms


def core_error(cell: Atoms, parent: Atoms, calculator: Calculator) -> float:
    """Root of the mean square of the components of the error of the core forces, eV/Å."""
    core = cell.arrays['force_weights'] > 0
    exact = forces(parent, calculator)[cell.arrays['parent_index'][core]] @ np.array(cell.info['embedding']['axes']).T
    return float(np.sqrt(((forces(cell, calculator)[core] - exact) ** 2).mean()))


def forces(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = calculator
    return atoms.get_forces()


def smallest_distance(cell: Atoms) -> float:
    edges = cell.cell.lengths()
    tree = cKDTree(cell.positions % edges % edges, boxsize=edges)
    return float(tree.query(tree.data, k=2)[0][:, 1].min())


@pytest.mark.parametrize('max_atoms', [80, 110, 200, 500])
def test_perfect_crystal_is_reproduced(max_atoms):
    """Whatever the cap: a box commensurate with the lattice, no force anywhere, volume per atom as it was."""
    # turned, so that neither the cell nor the frame shows the lattice
    parent = crystal(8)
    parent.rotate(33, (1, 2, 3), rotate_cell=True)
    [cell] = embed(parent, [1000], max_atoms=max_atoms)
    assert len(cell) <= max_atoms and cell.pbc.all()
    assert np.abs(forces(cell, EMT())).max() < 1e-8
    assert cell.get_volume() / len(cell) == pytest.approx(LATTICE**3 / 4, rel=1e-9)
    np.testing.assert_allclose(cell.cell.array, np.diag(cell.cell.lengths()), atol=1e-12)


def test_mask_and_report():
    parent = crystal(9, 0.08)
    parent.info.update(step=3, energy=-1.0)
    [cell] = embed(parent, [500], max_atoms=150, parameters=Embedding(core_radius=3.5, buffer=4.0), calculator=EMT())
    report = cell.info['embedding']
    centre = int(np.flatnonzero(cell.arrays['parent_index'] == 500)[0])
    near = cell.get_distances(centre, range(len(cell)), mic=True) <= report['core_radius']
    np.testing.assert_array_equal(cell.arrays['force_weights'], near.astype(float))
    assert cell.info['core'] == near.sum() and cell.info['energy_weight'] == 0 and cell.info['family'] == 'embedded'
    assert cell.info['step'] == 3 and 'energy' not in cell.info and cell.calc is None
    assert cell.info['vacuum_axes'] == []
    assert report['parent_atoms'] == len(parent) and report['atoms'] == len(cell) <= 150
    assert any('buffer' in text for text in report['given_up'])
    # the core sits exactly as it did
    core, rows = np.flatnonzero(near), cell.arrays['parent_index'][near]
    vectors = cell.get_distances(centre, core, mic=True, vector=True)
    there = parent.get_distances(500, rows, mic=True, vector=True) @ np.array(report['axes']).T
    np.testing.assert_allclose(vectors, there, atol=1e-9)


def test_core_forces_are_true():
    """A vacancy at high temperature: far better than the same atoms in vacuum, and than a box cut anyhow."""
    parent = crystal(7, 0.12, seed=4)
    hole = parent.positions[700].copy()
    del parent[700]
    atom = int(np.linalg.norm(parent.positions - hole, axis=1).argmin())
    parameters = Embedding(core_radius=3.5, buffer=4.0)
    [plain] = embed(parent, [atom], max_atoms=150, parameters=parameters)
    [ours] = embed(parent, [atom], max_atoms=150, parameters=parameters, calculator=EMT())
    cluster = plain.copy()
    cluster.info = ours.info | {'embedding': plain.info['embedding']}
    cluster.center(vacuum=8)
    cluster.pbc = False
    naive = plain.copy()
    naive.set_cell(plain.cell.lengths() * [1.04, 0.97, 1.03])
    errors = [core_error(cell, parent, EMT()) for cell in (ours, plain, cluster, naive)]
    assert errors[0] < errors[1] < min(errors[2:])
    assert 5 * errors[0] < errors[2] and 3 * errors[0] < errors[3], errors
    before, after = ours.info['embedding']['relaxation']['core_force_error']
    assert after < 0.6 * before


def test_disorder_keeps_density_and_distance():
    rng = np.random.default_rng(2)
    parent = crystal(6)
    # random displacements of half a neighbour distance, eased: no lattice is left
    parent.positions += rng.normal(0, 0.8, parent.positions.shape)
    parent, _ = relax_buffer(parent, np.ones(len(parent), dtype=bool), EMT(), 12, 3.0)
    [cell] = embed(parent, [77], max_atoms=150)
    density = len(parent) / parent.get_volume()
    assert len(cell) / cell.get_volume() == pytest.approx(density, rel=0.06)
    assert smallest_distance(cell) > 0.85 * smallest_distance(parent)


@pytest.mark.parametrize('named', [True, False])
def test_charge_is_balanced(named):
    parent = bulk('NaCl', 'rocksalt', 5.64, cubic=True).repeat(6)
    parent.positions += np.random.default_rng(0).normal(0, 0.1, parent.positions.shape)
    sodium = parent.numbers == 11
    if named:
        parent.set_array('oxidation_states', np.where(sodium, 1.0, -1.0))
    hole = parent.positions[800].copy()
    del parent[800]
    atom = int(np.linalg.norm(parent.positions - hole, axis=1).argmin())
    [cell] = embed(parent, [atom], max_atoms=200)
    assert (cell.numbers == 11).sum() == (cell.numbers == 17).sum()
    assert is_neutral(cell) and cell.arrays['oxidation_states'].any()
    assert cell.info['embedding']['charge'] == 0
    assert cell.info['embedding']['removed_for_charge'] == 1, (
        'the vacancy in the core has a counterpart at the boundary'
    )
    assert smallest_distance(cell) > 2.0


def test_states():
    assert states_of(crystal(2)) is None
    alumina = Atoms('Al4O6', np.random.default_rng(0).random((10, 3)))
    np.testing.assert_array_equal(states_of(alumina), [3] * 4 + [-2] * 6)
    assert states_of(Atoms('CuAu', [[0, 0, 0], [0, 0, 2]])) is None
    assert states_of(Atoms('Fe3O4', np.zeros((7, 3)))) is None, 'two states of one element are not guessed'


def test_vacuum_stays_vacuum():
    parent = fcc111('Al', (10, 10, 9), a=LATTICE, vacuum=9.0, periodic=True)
    parent.positions += np.random.default_rng(0).normal(0, 0.05, parent.positions.shape)
    top = int(parent.positions[:, 2].argmax())
    [cell] = embed(parent, [top], max_atoms=180, calculator=EMT())
    axes = cell.info['vacuum_axes']
    assert len(axes) == 1 and len(cell) <= 180
    normal = np.array(cell.info['embedding']['axes'])[axes[0]]
    np.testing.assert_allclose(np.abs(normal), [0, 0, 1], atol=1e-6)
    assert cell.cell.lengths()[axes[0]] - np.ptp(cell.positions[:, axes[0]]) > 8
    [plain] = embed(parent, [top], max_atoms=180)
    assert core_error(cell, parent, EMT()) < core_error(plain, parent, EMT()) < 0.1


def test_small_parents_are_used_whole():
    parent = crystal(2, 0.05)
    [cell] = embed(parent, [3], max_atoms=40)
    assert 'force_weights' not in cell.arrays and 'energy_weight' not in cell.info
    np.testing.assert_array_equal(cell.positions, parent.positions)


def test_thin_parents_keep_their_period():
    """A cell that is one lattice constant thin is periodic there, really: no search for another period."""
    parent = crystal((12, 12, 2), 0.1, seed=1)
    [cell] = embed(parent, [300], max_atoms=120, calculator=EMT())
    assert np.isclose(cell.cell.lengths(), 2 * LATTICE, atol=1e-6).any()
    assert core_error(cell, parent, EMT()) < 0.02


class _Unknown(Calculator):
    """EMT with an extrapolation grade."""

    implemented_properties = ('energy', 'forces')

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        inner = self.atoms.copy()
        inner.calc = EMT()
        self.results = {'energy': inner.get_potential_energy(), 'forces': inner.get_forces()}
        self.results['gamma'] = 0.5 + np.linalg.norm(self.results['forces'], axis=1)


def test_gamma_of_the_boundary_is_reported():
    parent = crystal(9, 0.05)
    grades = np.ones(len(parent))
    grades[[5, 800, 801]] = [4.0, 9.0, 3.0]
    cells = embed(parent, gamma=grades, threshold=2.0, max_atoms=110, calculator=_Unknown(),
                  parameters=Embedding(core_radius=3.0, relax_steps=4))  # fmt: skip
    assert [cell.info['embedding']['centre'] for cell in cells] == [800, 5]
    assert [cell.info['embedding']['gamma'] for cell in cells] == [9.0, 4.0]
    for cell in cells:
        relaxation = cell.info['embedding']['relaxation']
        assert len(relaxation['max_gamma']) == 2 and relaxation['known'] is (relaxation['max_gamma'][1] <= 2.0)


def test_environments():
    atoms = crystal(6, 0.05)
    grades = np.ones(len(atoms))
    near = int(np.argsort(atoms.get_distances(100, range(len(atoms)), mic=True))[1])
    grades[[100, near, 500, 700]] = [8.0, 9.0, 3.0, 5.0]
    assert find_environments(atoms, gamma=grades) == [near, 700, 500]
    assert find_environments(atoms, gamma=grades, maximum=2) == [near, 700]
    assert find_environments(atoms, gamma=grades, threshold=20) == []
    assert find_environments(atoms, centers=[100, near, 500]) == [100, 500]
    perfect = crystal(4)
    assert find_environments(perfect, centers=[10, 200]) == [10], 'the same twice'


def test_region_is_that_of_the_neighbour_list():
    atoms = crystal((2, 3, 5), 0.1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]]), scale_atoms=True)
    from ase.neighborlist import neighbor_list

    region = local_region(atoms, atoms.positions[7], 11.0)
    first, distance = neighbor_list('id', atoms, 11.0)
    found = np.sort(np.linalg.norm(region.positions, axis=1))
    np.testing.assert_allclose(found[1:], np.sort(distance[first == 7]), atol=1e-9)


@pytest.mark.parametrize(
    ('what', 'message'),
    [
        ({}, 'give one'),
        ({'centers': [1], 'gamma': np.ones(2916)}, 'give one'),
        ({'centers': []}, 'not empty'),
        ({'centers': [5000]}, 'has 2916 atoms'),
        ({'gamma': np.ones(3)}, r'gamma has shape \(3,\)'),
        ({'centers': [1], 'max_atoms': 5}, 'embed.max_atoms = 5'),
    ],
)
def test_bad_input(what, message):
    with pytest.raises(ValueError, match=message):
        embed(crystal(9), **what)
