"""Collective vibrations of a molecule, from a force field that needs no parameters.

The force field is harmonic about the geometry given, with the force constants by which H. B. Schlegel guesses Hessians
(Theor. Chim. Acta 66, 333 (1984); stretches after Badger's rule). It only serves to say which displacements are soft
and which are stiff, so that molecules can be displaced as at a temperature; its frequencies are good to about 20 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.geometry import get_angles_derivatives, get_dihedrals_derivatives

from ....crystals.molecules import bonded_pairs

#: Badger's rule k = A / (r - B)³ in Hartree and Bohr; B by the rows of the two elements (the third for all below).
BADGER_A = 1.734
BADGER_B = np.array([[-0.244, 0.352, 0.660], [0.352, 1.085, 1.522], [0.660, 1.522, 2.068]])
#: Force constant (Hartree/rad²) of angles with hydrogen at an end.
BEND_H = 0.160
#: Force constant (Hartree/rad²) of other angles.
BEND = 0.250
#: Force constant (Hartree/rad²) of atoms out of the plane of their three neighbours.
OUT_OF_PLANE = 0.045
#: Torsions: k = A - B (r - sum of covalent radii); A in Hartree/rad².
TORSION_A = 0.0023
#: B of torsions, Hartree/rad² and Bohr.
TORSION_B = 0.07
#: Cosine of an angle beyond which it counts as straight.
STRAIGHT_COSINE = -0.985
#: Height over bond length below which a centre is planar.
PLANAR_RATIO = 0.1
#: Softer modes are displaced as if they had this wavenumber (cm⁻¹): straight displacements along them would tear bonds.
MIN_WAVENUMBER = 200.0
#: cm⁻¹ of sqrt(eV/(Å² u)).
WAVENUMBER = units._hbar * 1e10 * math.sqrt(units._e / units._amu) / units._e / units.invcm


def harmonic_hessian(atoms: Atoms) -> np.ndarray:
    """Hessian (3n, 3n) in eV/Å² of the force field, for which the geometry is a minimum.

    Each internal coordinate q with the force constant k adds k grad(q) grad(q)^T.
    """
    size = 3 * len(atoms)
    hessian = np.zeros((size, size))
    bonds = [tuple(pair) for pair in bonded_pairs(atoms).tolist()]
    neighbours: dict[int, list[int]] = {k: [] for k in range(len(atoms))}
    for first, second in bonds:
        neighbours[first].append(second)
        neighbours[second].append(first)
    terms = (*_stretches(atoms, bonds), *_bends(atoms, neighbours), *_torsions(atoms, bonds, neighbours))
    for constant, members, gradient in terms:
        index = (3 * np.array(members)[:, None] + np.arange(3)).ravel()
        flat = np.asarray(gradient).ravel()
        hessian[np.ix_(index, index)] += constant * units.Hartree * np.outer(flat, flat)
    return hessian


def normal_modes(atoms: Atoms, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vibrations of a molecule, without translations and rotations.

    :param hessian: (3n, 3n), eV/Å².
    :returns: wavenumbers (m,) in cm⁻¹ in ascending order, imaginary ones as negative numbers, and displacements
        (m, n, 3) in Å/(u^½ Å), that is mass-weighted eigenvectors divided by the root of the masses.
    """
    masses = np.repeat(atoms.get_masses(), 3)
    weighted = hessian / np.sqrt(np.outer(masses, masses))
    basis = _vibrations_only(atoms, masses)
    values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    modes = (basis @ vectors / np.sqrt(masses)[:, None]).T
    # the sign of an eigenvector is arbitrary: its largest component is positive
    largest = np.abs(np.round(modes, 8)).argmax(axis=1)
    modes *= np.sign(modes[np.arange(len(modes)), largest])[:, None]
    return WAVENUMBER * np.sign(values) * np.sqrt(np.abs(values)), modes.reshape(len(values), len(atoms), 3)


def thermal_displacement(
    wavenumbers: np.ndarray, modes: np.ndarray, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Random displacements (n, 3) in Å at a temperature in K: classical, every mode has kT/2 of potential energy.

    Modes below `MIN_WAVENUMBER`, and unstable ones, are displaced as if they had that wavenumber.
    """
    frequencies = np.maximum(wavenumbers, MIN_WAVENUMBER) / WAVENUMBER
    amplitudes = np.sqrt(units.kB * temperature) / frequencies * rng.normal(size=len(modes))
    return np.tensordot(amplitudes, modes, axes=1)


def _stretches(atoms: Atoms, bonds: list[tuple[int, int]]) -> Iterator[tuple[float, tuple[int, ...], np.ndarray]]:
    for first, second in bonds:
        vector = atoms.positions[second] - atoms.positions[first]
        length = float(np.linalg.norm(vector))
        rows = [_row(int(atoms.numbers[atom])) for atom in (first, second)]
        # bonds shorter than any known would be infinitely stiff
        reach = max(length / units.Bohr - BADGER_B[rows[0], rows[1]], 1.0)
        gradient = np.array([-vector, vector]) / length
        yield BADGER_A / reach**3 / units.Bohr**2, (first, second), gradient


def _bends(atoms: Atoms, neighbours: dict[int, list[int]]) -> Iterator[tuple[float, tuple[int, ...], np.ndarray]]:
    for center, around in neighbours.items():
        arms = {atom: atoms.positions[atom] - atoms.positions[center] for atom in around}
        for first, second in itertools.combinations(around, 2):
            one, two = arms[first], arms[second]
            lengths = np.linalg.norm(one), np.linalg.norm(two)
            constant = BEND_H if 1 in atoms.numbers[[first, second]] else BEND
            if one @ two / (lengths[0] * lengths[1]) < STRAIGHT_COSINE:
                for across in _perpendicular(one):
                    ends = np.array([across / lengths[0], across / lengths[1]])
                    yield constant, (first, center, second), np.array([ends[0], -ends.sum(axis=0), ends[1]])
            else:
                gradient = np.radians(get_angles_derivatives([one], [two])[0])
                yield constant, (first, center, second), gradient
        if len(around) == 3:
            normal = np.cross(arms[around[1]] - arms[around[0]], arms[around[2]] - arms[around[0]])
            normal = normal / max(np.linalg.norm(normal), 1e-9)
            length = float(np.mean([np.linalg.norm(arm) for arm in arms.values()]))
            if abs(normal @ arms[around[0]]) < PLANAR_RATIO * length:
                gradient = np.array([normal, *[-normal / 3] * 3]) * 3 / length
                yield OUT_OF_PLANE, (center, *around), gradient


def _torsions(
    atoms: Atoms, bonds: list[tuple[int, int]], neighbours: dict[int, list[int]]
) -> Iterator[tuple[float, tuple[int, ...], np.ndarray]]:
    positions = atoms.positions
    for second, third in bonds:
        axis = positions[third] - positions[second]
        length = float(np.linalg.norm(axis))
        longer = (length - covalent_radii[atoms.numbers[[second, third]]].sum()) / units.Bohr
        constant = max(TORSION_A - TORSION_B * longer, TORSION_A / 4)
        for first, fourth in itertools.product(neighbours[second], neighbours[third]):
            if first == third or fourth in (second, first):
                continue
            arms = positions[second] - positions[first], positions[fourth] - positions[third]
            if any(np.linalg.norm(np.cross(arm, axis)) < 0.17 * np.linalg.norm(arm) * length for arm in arms):
                continue  # three atoms in line have no dihedral angle
            gradient = np.radians(get_dihedrals_derivatives([arms[0]], [axis], [arms[1]])[0])
            yield constant, (first, second, third, fourth), gradient


def _row(number: int) -> int:
    """Row of the periodic table, counted from 0; the third stands for all below."""
    return 0 if number <= 2 else 1 if number <= 10 else 2


def _perpendicular(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axis = vector / np.linalg.norm(vector)
    first = np.cross(axis, np.eye(3)[int(np.abs(axis).argmin())])
    first /= np.linalg.norm(first)
    return first, np.cross(axis, first)


def _vibrations_only(atoms: Atoms, masses: np.ndarray) -> np.ndarray:
    """Orthonormal basis (3n, m) of the mass-weighted displacements that neither move nor turn the molecule."""
    relative = atoms.positions - atoms.get_center_of_mass()
    rigid = [np.tile(axis, len(atoms)) for axis in np.eye(3)]
    rigid += [np.cross(axis, relative).ravel() for axis in np.eye(3)]
    vectors, sizes, _ = np.linalg.svd((np.array(rigid) * np.sqrt(masses)).T, full_matrices=True)
    return vectors[:, int((sizes > 1e-6 * sizes[0]).sum()) :]
