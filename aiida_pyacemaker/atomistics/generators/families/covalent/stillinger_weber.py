"""A Stillinger-Weber potential for any element that likes four neighbours: good enough to melt and quench with."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

#: F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), in units of epsilon and sigma.
A = 7.049556277
B = 0.6022245584
P = 4
RANGE = 1.80
GAMMA = 1.20
#: Strength of the angles, of R. L. C. Vink et al., J. Non-Cryst. Solids 282, 248 (2001): the original 21 makes
#: amorphous silicon with too many neighbours.
LAMBDA = 31.5
#: epsilon (eV), of the same.
EPSILON = 1.64833
#: Nearest-neighbour distance in diamond, in units of sigma.
BOND = 2 ** (1 / 6)
#: Atoms up to which all pairs are looked at.
MAX_ATOMS_ALL_PAIRS = 300


class StillingerWeber(Calculator):
    """Energy (eV), forces (eV/Å) and nothing else; all atoms are taken for one element.

    :param bond: nearest-neighbour distance in diamond, Å; scales all lengths.
    :param epsilon: depth of a bond, eV; silicon's by default.
    """

    implemented_properties: ClassVar[list[str]] = ['energy', 'forces']

    def __init__(self, bond: float, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.sigma, self.epsilon = bond / BOND, epsilon

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes) -> None:
        """Two-body terms, then the angle between every two bonds of an atom."""
        super().calculate(atoms, properties, system_changes)
        size = len(self.atoms)
        center, other, vectors = _neighbours(self.atoms, RANGE * self.sigma * (1 - 1e-9))
        vectors = vectors / self.sigma
        distances = np.linalg.norm(vectors, axis=1)
        # pairs: A (B r^-p - 1) exp(1 / (r - a)), each counted twice in the list
        decay = np.exp(1 / (distances - RANGE))
        power = B * distances**-P
        pair = A * (power - 1) * decay
        slope = A * decay * (-P * power / distances - (power - 1) / (distances - RANGE) ** 2)
        # angles: lambda (cos + 1/3)² exp(gamma / (r - a) + gamma / (r' - a))
        first, second = _pairs_of_bonds(center, size)
        units = vectors / distances[:, None]
        cosine = np.einsum('ij,ij->i', units[first], units[second])
        damping = np.exp(GAMMA / (distances - RANGE))
        weight = LAMBDA * damping[first] * damping[second]
        bend = cosine + 1 / 3
        energy = 0.5 * pair.sum() + (weight * bend**2).sum()
        by_bond = 0.5 * slope[:, None] * units
        for one, two in ((first, second), (second, first)):
            radial = -weight * bend**2 * GAMMA / (distances[one] - RANGE) ** 2
            turn = 2 * weight * bend / distances[one]
            gradient = radial[:, None] * units[one] + turn[:, None] * (units[two] - cosine[:, None] * units[one])
            for axis in range(3):
                by_bond[:, axis] += np.bincount(one, gradient[:, axis], minlength=len(vectors))
        forces = np.empty((size, 3))
        for axis in range(3):
            forces[:, axis] = np.bincount(center, by_bond[:, axis], minlength=size)
            forces[:, axis] -= np.bincount(other, by_bond[:, axis], minlength=size)
        self.results = {'energy': self.epsilon * float(energy), 'forces': self.epsilon / self.sigma * forces}


def _neighbours(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbour list sorted by centre; by minimum images where the cell allows, which is faster for few atoms."""
    sides = np.diag(atoms.cell.array)
    right = atoms.pbc.all() and (atoms.cell.array == np.diag(sides)).all()
    if len(atoms) > MAX_ATOMS_ALL_PAIRS or not right or sides.min() < 2 * cutoff:
        return neighbor_list('ijD', atoms, cutoff)
    vectors = atoms.positions[None, :, :] - atoms.positions[:, None, :]
    vectors -= sides * np.round(vectors / sides)
    squares = np.einsum('ijk,ijk->ij', vectors, vectors)
    np.fill_diagonal(squares, np.inf)
    center, other = np.nonzero(squares < cutoff**2)
    return center, other, vectors[center, other]


def _pairs_of_bonds(center: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (first < second) of bonds with the same centre, for a list that is sorted by centre."""
    count = np.bincount(center, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    bonds = np.arange(len(center))
    # each bond is paired with those that follow it in the list of its centre
    following = start[center] + count[center] - bonds - 1
    first = np.repeat(bonds, following)
    ends = np.cumsum(following)
    offset = np.arange(len(first)) - np.repeat(ends - following, following)
    return first, first + 1 + offset
