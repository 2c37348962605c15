"""What all baselines share: sums over pairs, ranges, and the hand-over to ACE at short distance."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from ..checks.pairs import periodic_pairs
from ..core.plain import Json

Pair = tuple[str, str]


class Baseline(ABC):
    """A sum of repulsive pair potentials, one per pair of elements.

    With d the shortest distance of a pair in the data, ACE acts fully above `ACE_FULL` d, not at all below `ACE_OFF` d,
    and the baseline reaches up to `OUTER` d. So the baseline leaves the data to ACE, and where the data end it takes
    over: all three distances scale with the data, none is absolute.

    Unseen configurations come a little closer than the data, and there ACE extrapolates far better than any baseline:
    a melt of copper whose closest pair was at 0.93 d had a force error of 55 meV/Å with a baseline that reached up to
    d, and of 6 with this one. Switching ACE off within a shorter distance (0.85 to 0.70 d) made a pair in aluminium
    attractive at 0.78 d, because ACE, repulsive there, vanished faster than ZBL grew; a longer baseline (1.2 d) raised
    the force error by half or more. With the values here free and nearest pairs of Cu, Si, NaCl and Cu-Ag-Au (EAM and
    a universal potential, 20 to 120 configurations) repelled each other from 0.9 d down to 0.6 Å.
    """

    kind: str
    OUTER = 0.92
    ACE_FULL = 0.82
    ACE_OFF = 0.58

    def __init__(self, pairs: dict[Pair, dict[str, float]]):
        """:param pairs: pair in alphabetical order -> its parameters (Å, eV)."""
        self.pairs: dict[Pair, dict[str, float]] = {
            (min(pair), max(pair)): dict(values) for pair, values in sorted(pairs.items())
        }

    @classmethod
    def from_distances(cls, shortest: dict[Pair, float]) -> Baseline:
        """Make the baseline from the shortest distance (Å) of every pair."""
        return cls({pair: {'shortest': d, **cls._parameters(pair, d)} for pair, d in shortest.items()})

    @classmethod
    def from_dict(cls, values: Json) -> Baseline:
        """Inverse of :meth:`to_dict`."""
        entries = [dict(entry) for entry in values['pairs']]
        return cls({tuple(entry.pop('elements')): entry for entry in entries})

    def to_dict(self) -> Json:
        """Return kind and parameters, JSON-able."""
        return {
            'kind': self.kind,
            'pairs': [{'elements': list(pair), **values} for pair, values in self.pairs.items()],
        }

    @property
    def elements(self) -> list[str]:
        return sorted({element for pair in self.pairs for element in pair})

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Return energy (eV), forces ((n, 3), eV/Å) and stress ((6,) Voigt, eV/Å³; zero without a cell).

        :raises ValueError: if the frame has an element that the baseline does not know.
        """
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
        if unknown:
            raise ValueError(f'element {unknown[0]} is not in the baseline, which knows {", ".join(self.elements)}')
        energy, forces, virial = 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3))
        cutoffs = {pair: self.cutoff(pair) for pair in self.pairs}
        cell = atoms.cell.complete().array
        # every pair once; ASE's own list takes ten times as long, and as long as all of ACE in a small cell
        i, j, shift, r = periodic_pairs(atoms.positions, cell, atoms.pbc, max(cutoffs.values()))
        vectors = atoms.positions[j] + shift @ cell - atoms.positions[i]
        symbols = np.array(atoms.get_chemical_symbols())
        for pair, cutoff in cutoffs.items():
            one, other = (
                (symbols[i] == pair[0]) & (symbols[j] == pair[1]),
                (symbols[i] == pair[1]) & (symbols[j] == pair[0]),
            )
            mine = (one | other) & (r < cutoff)
            if not mine.any():
                continue
            value, slope = self.pair_energy(pair, r[mine])
            energy += value.sum()
            pull = (slope / r[mine])[:, None] * vectors[mine]
            np.add.at(forces, i[mine], pull)
            np.subtract.at(forces, j[mine], pull)
            virial += pull.T @ vectors[mine]
        volume = abs(np.linalg.det(atoms.cell.array))
        stress = full_3x3_to_voigt_6_stress(virial / volume) if volume > 0 else np.zeros(6)
        return float(energy), forces, stress

    def inner_cutoffs(self) -> dict[Pair, tuple[float, float]]:
        """Return for every pair (r_in, delta_in) in Å: ACE is full above r_in and zero below r_in - delta_in."""
        return {
            pair: (self.ACE_FULL * values['shortest'], (self.ACE_FULL - self.ACE_OFF) * values['shortest'])
            for pair, values in self.pairs.items()
        }

    def covers(self, shortest: dict[Pair, float]) -> bool:
        """Return whether data with these shortest distances (Å) lie where ACE acts fully."""
        inner = self.inner_cutoffs()
        return all(pair in inner and distance >= inner[pair][0] for pair, distance in shortest.items())

    def lammps_modify(self) -> list[str]:
        """Return the `pair_modify` lines that must follow `pair_style`."""
        return []

    @classmethod
    @abstractmethod
    def _parameters(cls, pair: Pair, shortest: float) -> dict[str, float]:
        """Parameters of a pair from its shortest distance (Å)."""

    @abstractmethod
    def cutoff(self, pair: Pair) -> float:
        """Distance (Å) at which the pair energy ends."""

    @abstractmethod
    def pair_energy(self, pair: Pair, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy (eV) and its derivative (eV/Å) at distances r (Å) below the cutoff."""

    @abstractmethod
    def lammps(self, elements: list[str]) -> tuple[list[str], list[str]]:
        """Return the `pair_style` parts and the `pair_coeff` lines for a `hybrid/overlay`.

        :param elements: element of atom type 1, 2, ...
        """

    def _typed_pairs(self, elements: list[str]) -> list[tuple[int, int, Pair]]:
        """Return (type, type, pair), the smaller type first, for all pairs of the given elements."""
        types = [(a, b) for a in range(len(elements)) for b in range(a, len(elements))]
        names = [(elements[a], elements[b]) for a, b in types]
        return [(a + 1, b + 1, (min(pair), max(pair))) for (a, b), pair in zip(types, names, strict=True)]
