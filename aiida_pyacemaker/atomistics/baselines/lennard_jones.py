"""Purely repulsive Lennard-Jones (Weeks-Chandler-Andersen): cut and shifted at its minimum."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from .base import Baseline, Pair
from .zbl import zbl_energy


class LennardJones(Baseline):
    """V(r) = 4 epsilon [(sigma/r)^12 - (sigma/r)^6] + epsilon below r_c = 2^(1/6) sigma, zero above.

    J. D. Weeks, D. Chandler, H. C. Andersen, J. Chem. Phys. 54, 5237 (1971). Energy and force vanish at r_c, the
    baseline's outer range. epsilon (eV) makes V equal to the ZBL energy where ACE is switched off, so the
    repulsion below has a physical size.
    """

    kind = 'lj'

    @classmethod
    def _parameters(cls, pair: Pair, shortest: float) -> dict[str, float]:
        sigma = cls.OUTER * shortest / 2 ** (1 / 6)
        off = cls.ACE_OFF * shortest
        zbl = zbl_energy((atomic_numbers[pair[0]], atomic_numbers[pair[1]]), np.array([off]))[0][0]
        power = (sigma / off) ** 6
        return {'epsilon': float(zbl / (4 * (power**2 - power) + 1)), 'sigma': sigma, 'cutoff': cls.OUTER * shortest}

    def cutoff(self, pair: Pair) -> float:
        return self.pairs[pair]['cutoff']

    def pair_energy(self, pair: Pair, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epsilon, sigma, cutoff = (self.pairs[pair][name] for name in ('epsilon', 'sigma', 'cutoff'))
        power, at_cutoff = (sigma / r) ** 6, (sigma / cutoff) ** 6
        energy = 4 * epsilon * (power**2 - power - at_cutoff**2 + at_cutoff)
        return energy, -24 * epsilon * (2 * power**2 - power) / r

    def lammps(self, elements: list[str]) -> tuple[list[str], list[str]]:
        typed = self._typed_pairs(elements)
        coeffs = []
        for first, second, pair in typed:
            values = self.pairs[pair]
            coeffs.append(
                f'pair_coeff {first} {second} lj/cut {values["epsilon"]!r} {values["sigma"]!r} {values["cutoff"]!r}'
            )
        return [f'lj/cut {max(self.cutoff(pair) for _, _, pair in typed)!r}'], coeffs

    def lammps_modify(self) -> list[str]:
        return ['pair_modify pair lj/cut shift yes']
