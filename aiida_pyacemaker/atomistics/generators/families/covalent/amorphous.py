"""Amorphous cells of a covalent material."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms

from ....checks.overlap import overlapping
from ....core.chemistry import GRAM_PER_CM3
from ....core.errors import InputError
from ....core.sketch import is_sketching, sketch
from .bonds import DIAMOND_VOLUME, Species, bond_length, describe
from .networks import amorphous_network, melt_quench, random_packing
from .section import Covalent
from .stillinger_weber import StillingerWeber

#: Densities (g/cm³) of amorphous carbon: tetrahedral, and with many threefold atoms.
AMORPHOUS_CARBON = (3.1, 2.4)
#: Density of other amorphous materials, in units of that of the crystal.
AMORPHOUS = 0.97
#: Melts that are quenched until one ends without overlapping atoms.
MAX_MELTS = 10


def amorphous_cells(species: Species, parameters: Covalent, rng: np.random.Generator) -> Iterator[Atoms]:
    section = parameters.amorphous
    densities = section.density or _densities(species, parameters)
    for index in range(section.number):
        density = densities[index % len(densities)]
        if section.method == 'network':
            length = _length_function(parameters)
            atoms = amorphous_network(dict.fromkeys(species, 1), section.atoms, density, length, rng)
        else:
            atoms = _quenched(species, density, parameters, rng)
        reason = f'amorphous at {density:.2f} g/cm³, made as {section.method.replace("_", " ")}'
        yield describe(atoms, reason, density=density, method=section.method, index=index)


def _densities(species: Species, parameters: Covalent) -> tuple[float, ...]:
    """Default densities in g/cm³."""
    if species == ('C',):
        return AMORPHOUS_CARBON
    volume = DIAMOND_VOLUME * bond_length(species[0], species[-1], parameters.bonds) ** 3
    return (round(AMORPHOUS * float(Atoms(list(species)).get_masses().mean()) / (volume * GRAM_PER_CM3), 3),)


def _length_function(parameters: Covalent) -> Callable[[str, str, int], float]:
    def length(first: str, second: str, threefold: int) -> float:
        ends = [bond_length(first, second, parameters.bonds, neighbours) for neighbours in (4, 3)]
        return float(np.interp(threefold, (0, 2), ends))

    return length


def _quenched(species: Species, density: float, parameters: Covalent, rng: np.random.Generator) -> Atoms:
    section = parameters.amorphous
    bond = bond_length(species[0], species[-1], parameters.bonds)
    size = 8 * math.ceil(section.atoms / 8)
    symbols = rng.permutation(list(species) * (size // len(species))).tolist()
    if is_sketching():
        mass = float(Atoms(symbols).get_masses().mean())
        return sketch(Counter(symbols), mass / (density * GRAM_PER_CM3))
    for _ in range(MAX_MELTS):
        start = random_packing(symbols, density, 0.75 * bond, rng)
        # as fine in time for light atoms and short bonds as 2 fs is for silicon
        timestep = 2.0 * bond / 2.35 * math.sqrt(start.get_masses().min() / 28.0)
        atoms = melt_quench(start, StillingerWeber(bond), rng, temperature=section.temperature, timestep=timestep)
        if not overlapping(atoms, 0.72):
            return atoms
    raise InputError(
        'amorphous.density',
        f'melts of {"".join(species)} at {density:g} g/cm³ end with overlapping atoms',
        'lower the density or take method network',
    )
