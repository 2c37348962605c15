"""Ziegler-Biersack-Littmark universal screened nuclear repulsion, switched as LAMMPS `pair_style zbl` does it."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from .base import Baseline, Pair

#: e²/(4 pi eps0) in eV Å: LAMMPS's value for `units metal`; a more precise one would not agree with LAMMPS.
COULOMB = 14.399645
#: Screening length prefactor (Å) and exponent of the universal potential.
A0 = 0.46850
EXPONENT = 0.23
#: Universal screening function, phi(x) = sum_k c_k exp(-d_k x).
AMPLITUDES = np.array([0.02817, 0.28022, 0.50986, 0.18175])
DECAYS = np.array([0.20162, 0.40290, 0.94229, 3.19980])


def zbl_energy(z: tuple[int, int], r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unswitched ZBL energy and its first and second derivative.

    J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids (1985).

    :param z: nuclear charges. :param r: distances in Å, shape (m,).
    :returns: eV, eV/Å, eV/Å², each (m,).
    """
    decays = DECAYS * (z[0] ** EXPONENT + z[1] ** EXPONENT) / A0
    terms = AMPLITUDES[:, None] * np.exp(-decays[:, None] * r)
    phi, dphi, d2phi = terms.sum(0), -(decays[:, None] * terms).sum(0), (decays[:, None] ** 2 * terms).sum(0)
    charge = COULOMB * z[0] * z[1]
    return (
        charge * phi / r,
        charge * (dphi / r - phi / r**2),
        charge * (d2phi / r - 2 * dphi / r**2 + 2 * phi / r**3),
    )


class ZBL(Baseline):
    """ZBL, full below `inner` and switched off smoothly (energy, force, curvature) at `outer` (both Å)."""

    kind = 'zbl'

    @classmethod
    def _parameters(cls, pair: Pair, shortest: float) -> dict[str, float]:
        return {'inner': cls.ACE_OFF * shortest, 'outer': cls.OUTER * shortest}

    def cutoff(self, pair: Pair) -> float:
        return self.pairs[pair]['outer']

    def pair_energy(self, pair: Pair, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inner, outer = self.pairs[pair]['inner'], self.pairs[pair]['outer']
        z = _charges(pair)
        energy, slope, _ = zbl_energy(z, r)
        # The switching polynomial of LAMMPS, https://docs.lammps.org/pair_gromacs.html:
        # S(r) = C + A/3 (r - inner)³ + B/4 (r - inner)⁴ brings energy, force and curvature to zero at `outer`.
        (e_c,), (f_c,), (c_c,) = zbl_energy(z, np.array([outer]))
        width = outer - inner
        a = (-3 * f_c + width * c_c) / width**2
        b = (2 * f_c - width * c_c) / width**3
        c = -e_c + width * f_c / 2 - width**2 * c_c / 12
        x = np.clip(r - inner, 0, None)
        return energy + c + a / 3 * x**3 + b / 4 * x**4, slope + a * x**2 + b * x**3

    def lammps(self, elements: list[str]) -> tuple[list[str], list[str]]:
        typed = self._typed_pairs(elements)
        styles = [f'zbl {self.pairs[pair]["inner"]!r} {self.pairs[pair]["outer"]!r}' for _, _, pair in typed]
        # Each substyle knows all pairs, those that are not its own without charge: where atoms change their type on the
        # way (`fix atom/swap`), LAMMPS refuses substyles that skip some.
        coeffs = [f'pair_coeff * * zbl {number} 0 0' for number in range(1, len(typed) + 1)] if len(typed) > 1 else []
        for number, (first, second, _) in enumerate(typed, start=1):
            # LAMMPS wants the number of the substyle if, and only if, the style occurs more than once.
            name = f'zbl {number}' if len(typed) > 1 else 'zbl'
            z = (atomic_numbers[elements[first - 1]], atomic_numbers[elements[second - 1]])
            coeffs.append(f'pair_coeff {first} {second} {name} {z[0]} {z[1]}')
        return styles, coeffs


def _charges(pair: Pair) -> tuple[int, int]:
    return atomic_numbers[pair[0]], atomic_numbers[pair[1]]
