"""The family `helix`: wires of one element that wind around their axis."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from pydantic import Field

from aiida_pyacemaker.atomistics.core.parameters import Positive, Section, parameter
from aiida_pyacemaker.atomistics.generators.family import Family

#: Atoms of a turn.
TURN = 3
#: Rise from one atom to the next, in units of the bond.
RISE = 0.6


class Helix(Section):
    """Wires of three atoms a turn."""

    scales: list[Annotated[float, Field(gt=0.8, lt=1.5)]] = parameter(
        'Bond lengths, in units of twice the covalent radius.', default=[1.0, 1.05, 1.1, 1.15], min_length=1
    )
    vacuum: Positive = parameter('Distance between wires.', unit='Å', default=10.0)


class HelixFamily(Family[Helix]):
    """Helical wires."""

    name = 'helix'
    help = 'Helical wires of each element.'
    Parameters = Helix
    cuttable = False

    def parents(self, elements: list[str], section: Helix, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return a wire of each bond length and element."""
        return [self.wind(element, scale, section) for scale in section.scales for element in elements][:number]

    def wind(self, element: str, scale: float, section: Helix) -> Atoms:
        """Return a turn of a wire."""
        bond = scale * 2 * covalent_radii[atomic_numbers[element]]
        rise = RISE * bond
        radius = np.sqrt(bond**2 - rise**2) / (2 * np.sin(np.pi / TURN))
        angles = 2 * np.pi * np.arange(TURN) / TURN
        positions = np.transpose([radius * np.cos(angles), radius * np.sin(angles), rise * np.arange(TURN)])
        width = 2 * radius + section.vacuum
        positions += np.array([width / 2, width / 2, 0.0])
        atoms = Atoms([element] * TURN, positions, cell=[width, width, TURN * rise], pbc=True)
        atoms.info = {
            'family': self.name,
            'phase': 'helix',
            'reason': f'wire of {element} with {TURN} atoms a turn and bonds of {bond:.2f} Å',
            'parameters': {'element': element, 'scale': scale},
            'vacuum_axes': [0, 1],
        }
        return atoms
