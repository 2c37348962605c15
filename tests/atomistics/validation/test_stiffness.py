"""What an elastic tensor says: constructed tensors of all eleven Laue classes, and published values."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk
from scipy.spatial.transform import Rotation

from aiida_pyacemaker.atomistics.validation.properties.elasticity.stiffness import (
    INDEPENDENT,
    KELVIN,
    LAUE,
    averages,
    born_criteria,
    debye_temperature,
    describe_tensor,
    rotate,
    symmetrise,
)

#: A space group of each Laue class.
SPACE_GROUPS = {
    '-1': 'P-1', '2/m': 'P2/m', 'mmm': 'Pmmm', '4/m': 'P4/m', '4/mmm': 'P4/mmm', '-3': 'P-3', '-3m': 'P-3m1',
    '6/m': 'P6/m', '6/mmm': 'P6/mmm', 'm-3': 'Pm-3', 'm-3m': 'Pm-3m',
}  # fmt: skip
CLASSES = pytest.mark.parametrize('laue', SPACE_GROUPS)


def point_group(laue: str) -> np.ndarray:
    """Return the Cartesian operations of a Laue class in the standard orientation."""
    kinds = ((number, spglib.get_spacegroup_type(number)) for number in range(1, 531))
    number, _ = next(found for found in kinds if found[1].international_short == SPACE_GROUPS[laue])
    hexagonal = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.6]])
    vectors = (hexagonal if laue.startswith(('-3', '6')) else np.eye(3)).T
    rotations = spglib.get_symmetry_from_database(number)['rotations']
    return np.array([vectors @ rotation @ np.linalg.inv(vectors) for rotation in rotations])


def random_tensor(random: np.random.Generator, spread: float = 30.0) -> np.ndarray:
    tensor = random.normal(scale=spread, size=(6, 6)) + np.diag([200, 180, 190, 60, 70, 80])
    return (tensor + tensor.T) / 2


def symmetrised_units(group: np.ndarray) -> np.ndarray:
    """Return what becomes of each of the 36 components."""
    return np.array([symmetrise((unit + unit.T) / 2, group) for unit in np.eye(36).reshape(36, 6, 6)])


def rotate_four_indices(tensor: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate an elastic tensor by its definition, C_ijkl, without any notation in between."""
    index = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    full = tensor[index[:, :, None, None], index[None, None]]
    full = np.einsum('ia,jb,kc,ld,abcd->ijkl', *[rotation] * 4, full)
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    return np.array([[full[*left, *right] for right in pairs] for left in pairs])


def test_a_rotation_is_that_of_the_tensor_of_four_indices():
    random = np.random.default_rng(0)
    tensor, rotation = random_tensor(random), Rotation.random(rng=1).as_matrix()
    assert np.allclose(rotate(tensor, rotation), rotate_four_indices(tensor, rotation))
    assert not np.allclose(rotate(tensor, rotation), tensor, atol=1)


@CLASSES
def test_a_symmetrised_tensor_has_the_constants_of_its_class(laue):
    group, random = point_group(laue), np.random.default_rng(2)
    tensor = symmetrise(random_tensor(random), group)
    assert all(np.allclose(rotate_four_indices(tensor, rotation), tensor) for rotation in group)
    # the named constants determine the tensor, and none is too many
    basis = symmetrised_units(group)
    rows, columns = np.array(INDEPENDENT[laue]).T - 1
    assert np.linalg.matrix_rank(basis.reshape(36, 36), tol=1e-6) == len(INDEPENDENT[laue])
    assert np.linalg.matrix_rank(basis[:, rows, columns], tol=1e-6) == len(INDEPENDENT[laue])


@pytest.mark.parametrize(
    ('laue', 'relations'),
    {
        'm-3': ['11 = 33', '12 = 23', '44 = 66', '14 = 0'],
        '6/m': ['66 = (11-12)/2', '14 = 0', '16 = 0', '13 = 23'],
        '4/m': ['26 = -16', '44 = 55', '15 = 0'],
        '-3m': ['24 = -14', '56 = 14', '66 = (11-12)/2', '15 = 0'],
        '-3': ['24 = -14', '56 = 14', '25 = -15', '46 = -15'],
        '2/m': ['14 = 0', '45 = 0', '16 = 0', '34 = 0'],
    }.items(),
)
def test_dependent_constants_are_those_of_the_books(laue, relations):
    """J. F. Nye, Physical Properties of Crystals, table 9: c_ij, axes as ours."""
    c = symmetrise(random_tensor(np.random.default_rng(3)), point_group(laue))
    value = {f'{i}{j}': c[i - 1, j - 1] for i in range(1, 7) for j in range(1, 7)}
    value |= {f'-{pair}': -number for pair, number in value.items()} | {'0': 0.0}
    value['(11-12)/2'] = (value['11'] - value['12']) / 2
    for relation in relations:
        left, right = relation.split(' = ')
        assert value[left] == pytest.approx(value[right], abs=1e-9), relation


@CLASSES
def test_a_crystal_may_lie_anyhow(laue):
    group, random = point_group(laue), np.random.default_rng(4)
    tensor, turn = random_tensor(random), Rotation.random(rng=5).as_matrix()
    turned = symmetrise(rotate(tensor, turn), turn @ group @ turn.T)
    assert np.allclose(turned, rotate(symmetrise(tensor, group), turn))


@CLASSES
def test_the_criteria_of_born_are_positive_eigenvalues(laue):
    """The closed forms of a class say of tensors what their eigenvalues say, many of them unstable."""
    basis, random, unstable = symmetrised_units(point_group(laue)), np.random.default_rng(6), 0
    for _ in range(300):
        tensor = np.tensordot(random_tensor(random, spread=random.uniform(10, 200)).ravel(), basis, 1)
        tensor *= random.choice([-1, 1], p=[0.1, 0.9])
        smallest = np.linalg.eigvalsh(tensor * np.outer(KELVIN, KELVIN))[0]
        violated = [text for text, value in born_criteria(laue) if not value(tensor) > 0]
        assert bool(violated) == (smallest <= 0), (violated, smallest)
        unstable += smallest <= 0
    assert 20 < unstable < 280


def test_what_is_violated_is_named():
    crystal = bulk('Cu')
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = 120
    tensor[range(6), range(6)] = [100, 100, 100, 70, 70, 70]
    found = describe_tensor(tensor, 'm-3m', crystal)
    assert found['born'] == {'stable': False, 'min_eigenvalue': pytest.approx(-20), 'violated': ['C11 - C12 > 0']}
    assert sum(found['soft_strain'][:3]) == pytest.approx(0, abs=1e-5)
    assert found['soft_strain'][3:] == pytest.approx([0, 0, 0], abs=1e-5)
    assert found['debye_temperature'] is found['bulk']['hill'] is found['young'] is None
    assert found['bulk']['voigt'] == pytest.approx(340 / 3)


def test_averages_of_copper_are_the_published_ones():
    """C_ij of copper at 300 K (W. C. Overton, J. Gaffney, Phys. Rev. 98, 969): 168.4, 121.4, 75.4 GPa."""
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = 121.4
    tensor[range(6), range(6)] = [168.4] * 3 + [75.4] * 3
    found = averages(tensor)
    assert found['bulk']['voigt'] == pytest.approx(found['bulk']['reuss']) == pytest.approx(137.07, abs=0.01)
    assert found['shear']['voigt'] == pytest.approx((168.4 - 121.4 + 3 * 75.4) / 5)
    assert found['shear']['reuss'] == pytest.approx(5 * 47 * 75.4 / (4 * 75.4 + 3 * 47))
    assert found['young'] == pytest.approx(127.5, abs=1.5) and found['poisson'] == pytest.approx(0.345, abs=0.003)
    assert found['universal_anisotropy'] == pytest.approx(1.81, abs=0.02)
    # Anderson's table of elastic Debye temperatures: copper 342 K
    assert debye_temperature(tensor, bulk('Cu', a=3.615)) == pytest.approx(333, abs=10)
    assert describe_tensor(tensor, 'm-3m', bulk('Cu'))['zener'] == pytest.approx(3.2085, abs=1e-3)


def test_every_point_group_has_its_class():
    groups = {spglib.get_spacegroup_type(number).pointgroup_international for number in range(1, 531)}
    assert set(LAUE) == groups and len(groups) == 32 and set(LAUE.values()) == set(SPACE_GROUPS)
