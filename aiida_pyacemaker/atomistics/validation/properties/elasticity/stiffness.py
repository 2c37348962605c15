"""What an elastic tensor says: symmetry, stability, averages, Debye temperature.

Tensors are (6, 6) in Voigt order xx, yy, zz, yz, xz, xy. Inside, strain and stress stand as vectors of six with the
shears times sqrt(2) (Kelvin's notation): in it a rotation is an orthogonal matrix, the same for both, and eigenvalues
do not depend on the orientation of the crystal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from ase import Atoms
from scipy.constants import angstrom, atomic_mass, hbar
from scipy.constants import k as boltzmann

from . import Averages, ElasticityResult

#: Components of a symmetric tensor in Voigt order, and the factors of Kelvin's notation.
ROWS = (0, 1, 2, 1, 0, 0)
COLUMNS = (0, 1, 2, 2, 2, 1)
KELVIN = np.array([1, 1, 1, math.sqrt(2), math.sqrt(2), math.sqrt(2)])

#: Laue class of the 32 point groups (Hermann-Mauguin, as spglib writes them).
LAUE = {
    group: laue
    for laue, groups in {
        '-1': '1 -1',
        '2/m': '2 m 2/m',
        'mmm': '222 mm2 mmm',
        '4/m': '4 -4 4/m',
        '4/mmm': '422 4mm -42m 4/mmm',
        '-3': '3 -3',
        '-3m': '32 3m -3m',
        '6/m': '6 -6 6/m',
        '6/mmm': '622 6mm -6m2 6/mmm',
        'm-3': '23 m-3',
        'm-3m': '432 -43m m-3m',
    }.items()
    for group in groups.split()
}
_CUBIC = '11 12 44'
_HEXAGONAL = '11 12 13 33 44'
_ORTHORHOMBIC = '11 12 13 22 23 33 44 55 66'
#: Independent constants of the Laue classes in the standard orientation (Nye, Physical Properties of Crystals, 1957).
INDEPENDENT = {
    '-1': tuple((i, j) for i in range(1, 7) for j in range(i, 7)),
    **{
        laue: tuple((int(pair[0]), int(pair[1])) for pair in pairs.split())
        for laue, pairs in {
            '2/m': f'{_ORTHORHOMBIC} 15 25 35 46',
            'mmm': _ORTHORHOMBIC,
            '4/m': f'{_HEXAGONAL} 66 16',
            '4/mmm': f'{_HEXAGONAL} 66',
            '-3': f'{_HEXAGONAL} 14 15',
            '-3m': f'{_HEXAGONAL} 14',
            '6/m': _HEXAGONAL,
            '6/mmm': _HEXAGONAL,
            'm-3': _CUBIC,
            'm-3m': _CUBIC,
        }.items()
    },
}

Tensor = np.ndarray
Criterion = tuple[str, Callable[[Tensor], float]]


def to_vector(tensor: np.ndarray) -> np.ndarray:
    """Return a symmetric tensor (3, 3) as a vector of six in Kelvin's notation."""
    return np.asarray(tensor)[ROWS, COLUMNS] * KELVIN


def to_matrix(vector: np.ndarray) -> np.ndarray:
    """Return the symmetric tensor (3, 3) of a vector in Kelvin's notation."""
    matrix = np.empty((3, 3))
    matrix[ROWS, COLUMNS] = matrix[COLUMNS, ROWS] = np.asarray(vector) / KELVIN
    return matrix


def rotation_of_six(rotation: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix (6, 6) by which a rotation (3, 3) acts on strain and stress in Kelvin's notation."""
    return np.column_stack([to_vector(rotation @ to_matrix(unit) @ rotation.T) for unit in np.eye(6)])


def rotate(tensor: Tensor, rotation: np.ndarray) -> Tensor:
    """Return an elastic tensor (6, 6, Voigt) of a crystal that has been rotated by an orthogonal matrix (3, 3)."""
    six, factors = rotation_of_six(rotation), np.outer(KELVIN, KELVIN)
    return six @ (tensor * factors) @ six.T / factors


def symmetrise(tensor: Tensor, rotations: np.ndarray) -> Tensor:
    """Return the mean of an elastic tensor over a point group: right for every Laue class and orientation.

    :param tensor: (6, 6), Voigt. :param rotations: all operations (n, 3, 3) of the group, Cartesian.
    """
    mean = np.mean([rotate(tensor, rotation) for rotation in rotations], axis=0)
    return (mean + mean.T) / 2


def describe_tensor(tensor: Tensor, laue: str, crystal: Atoms) -> ElasticityResult:
    """Return what a symmetrised elastic tensor (6, 6, GPa, Voigt, standard orientation) says of a crystal.

    `constants`, `born`, `bulk`, `shear`, `young` (GPa), `poisson`, `pugh` (bulk over shear modulus),
    `universal_anisotropy`, `zener`, `debye_temperature` (K) and `soft_strain` (Voigt with engineering shears, the norm
    of its tensor is 1). Young's modulus and what follows are of Hill's averages; of an unstable crystal all but Voigt's
    averages are None.
    """
    eigenvalues, vectors = np.linalg.eigh(tensor * np.outer(KELVIN, KELVIN))
    stable = bool(eigenvalues[0] > 0)
    soft = vectors[:, 0] * math.copysign(1, vectors[np.argmax(np.abs(vectors[:, 0])), 0])
    return {
        'constants': {f'C{i}{j}': float(tensor[i - 1, j - 1]) for i, j in INDEPENDENT[laue]},
        'born': {
            'stable': stable,
            'min_eigenvalue': float(eigenvalues[0]),
            'violated': [text for text, value in born_criteria(laue) if not value(tensor) > 0],
        },
        **averages(tensor, stable),
        'zener': _zener(tensor) if laue in ('m-3', 'm-3m') and stable else None,
        'debye_temperature': debye_temperature(tensor, crystal) if stable else None,
        'soft_strain': [round(float(value), 6) + 0.0 for value in soft * KELVIN],
    }


def averages(tensor: Tensor, stable: bool = True) -> ElasticityResult:
    """Return the averages of Voigt, Reuss and Hill (GPa) and what follows from Hill's.

    R. Hill, Proc. Phys. Soc. A 65, 349 (1952); universal anisotropy: S. Ranganathan and M. Ostoja-Starzewski, Phys.
    Rev. Lett. 101, 055504 (2008).

    :param stable: whether the tensor is positive definite; without it only Voigt's averages mean something.
    """
    c = tensor
    bulk: Averages = {'voigt': float(c[:3, :3].mean()), 'reuss': None, 'hill': None}
    trace, side, shears = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2], np.trace(c[3:, 3:])
    shear: Averages = {'voigt': float((trace - side + 3 * shears) / 15), 'reuss': None, 'hill': None}
    rest: ElasticityResult = {'young': None, 'poisson': None, 'pugh': None, 'universal_anisotropy': None}
    if stable:
        s = np.linalg.inv(c)
        side = s[0, 1] + s[0, 2] + s[1, 2]
        bulk['reuss'] = float(1 / s[:3, :3].sum())
        shear['reuss'] = float(15 / (4 * np.trace(s[:3, :3]) - 4 * side + 3 * np.trace(s[3:, 3:])))
        for modulus in (bulk, shear):
            modulus['hill'] = (modulus['voigt'] + modulus['reuss']) / 2
        k, g = bulk['hill'], shear['hill']
        rest = {
            'young': 9 * k * g / (3 * k + g),
            'poisson': (3 * k - 2 * g) / (6 * k + 2 * g),
            'pugh': k / g,
            'universal_anisotropy': 5 * shear['voigt'] / shear['reuss'] + bulk['voigt'] / bulk['reuss'] - 6,
        }
    return {'bulk': bulk, 'shear': shear, **rest}


def debye_temperature(tensor: Tensor, crystal: Atoms) -> float:
    """Return the Debye temperature (K) of Hill's averages: O. L. Anderson, J. Phys. Chem. Solids 24, 909 (1963)."""
    found = averages(tensor)
    k, g = found['bulk']['hill'] * 1e9, found['shear']['hill'] * 1e9
    volume = crystal.get_volume() * angstrom**3
    density = crystal.get_masses().sum() * atomic_mass / volume
    longitudinal, transverse = math.sqrt((k + 4 * g / 3) / density), math.sqrt(g / density)
    mean = (3 / (2 / transverse**3 + 1 / longitudinal**3)) ** (1 / 3)
    return float(hbar / boltzmann * (6 * math.pi**2 * len(crystal) / volume) ** (1 / 3) * mean)


def born_criteria(laue: str) -> list[Criterion]:
    """Return what must be greater than zero for a crystal to be stable: a text, and the value of a tensor (Voigt).

    F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014). Together they say the same as all eigenvalues greater
    than zero, and name what fails. Where there is no closed form: the leading minors of the blocks (Sylvester).
    """
    if laue in ('-1', '2/m', 'mmm'):
        blocks = {'-1': ('123456',), '2/m': ('1235', '46'), 'mmm': ('123', '4', '5', '6')}[laue]
        return [_minor(block[:size]) for block in blocks for size in range(1, len(block) + 1)]
    if laue in ('m-3', 'm-3m'):
        return [
            ('C11 - C12 > 0', lambda c: c[0, 0] - c[0, 1]),
            ('C11 + 2 C12 > 0', lambda c: c[0, 0] + 2 * c[0, 1]),
            ('C44 > 0', lambda c: c[3, 3]),
        ]
    criteria: list[Criterion] = [
        ('C11 > |C12|', lambda c: c[0, 0] - abs(c[0, 1])),
        ('C33 (C11 + C12) > 2 C13^2', lambda c: min(c[2, 2] * (c[0, 0] + c[0, 1]) - 2 * c[0, 2] ** 2, c[2, 2])),
        ('C44 > 0', lambda c: c[3, 3]),
    ]
    if laue == '4/mmm':
        criteria.append(('C66 > 0', lambda c: c[5, 5]))
    elif laue == '4/m':
        text = 'C66 (C11 - C12) > 2 C16^2'
        criteria.append((text, lambda c: min(c[5, 5] * (c[0, 0] - c[0, 1]) - 2 * c[0, 5] ** 2, c[5, 5])))
    elif laue == '-3m':
        text = 'C44 (C11 - C12) > 2 C14^2'
        criteria.append((text, lambda c: c[3, 3] * (c[0, 0] - c[0, 1]) - 2 * c[0, 3] ** 2))
    elif laue == '-3':
        text = 'C44 (C11 - C12) > 2 (C14^2 + C15^2)'
        criteria.append((text, lambda c: c[3, 3] * (c[0, 0] - c[0, 1]) - 2 * (c[0, 3] ** 2 + c[0, 4] ** 2)))
    return criteria


def _minor(indices: str) -> Criterion:
    chosen = [int(index) - 1 for index in indices]
    text = f'C{indices}{indices} > 0' if len(indices) == 1 else f'det C[{",".join(indices)}] > 0'
    return text, lambda c: float(np.linalg.det(c[np.ix_(chosen, chosen)]))


def _zener(c: Tensor) -> float:
    return float(2 * c[3, 3] / (c[0, 0] - c[0, 1]))
