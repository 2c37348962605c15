"""Ideal crystals of covalent bonds: diamond and its polytypes, sheets, chains, structures under pressure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, vdw_radii
from ase.spacegroup import crystal

from ....crystals.elements import ground_state
from .amorphous import amorphous_cells
from .bonds import CHAIN, DIAMOND_VOLUME, Species, bond_length, describe
from .section import Covalent

#: Height (Å) between the two halves of a sheet that is not flat (same source).
BUCKLING = {'Si-Si': 0.44, 'Ge-Ge': 0.64}
#: Distance of sheets in Å.
INTERLAYER = {'C-C': 3.354, 'B-N': 3.33}
#: Stacking of the polytypes.
POLYTYPES = {'2H': 'AB', '4H': 'ABCB', '6H': 'ABCACB'}
#: Volume per atom under pressure in units of that of diamond (silicon: Mujica et al., Rev. Mod. Phys. 75, 863).
DENSER = {'beta_tin': 0.77, 'simple_hexagonal': 0.70, 'bc8': 0.91, 'simple_cubic': 0.81, 'bcc': 0.73, 'fcc': 0.72,
          'rocksalt': 0.82}  # fmt: skip
#: Default stackings of graphite.
STACKINGS = ('AB', 'ABC', 'AA')
#: Default stackings of sheets of a compound.
COMPOUND_STACKINGS = ("AA'", 'AB', 'AA')
#: Where a layer lies, in units of the diagonal of the hexagonal cell.
LATERAL = {'A': 0.0, 'B': 1 / 3, 'C': 2 / 3}
#: Why a structure is proposed.
REASONS = {
    'diamond': 'every atom has four neighbours',
    'zincblende': 'every atom has four unlike neighbours',
    'polytype': 'the double layers of diamond or zincblende in another stacking, with nearly the same energy',
    'ground_state': 'ground state of the element',
    'pressure': 'denser, with more neighbours: takes over under pressure, and teaches what happens there',
}


def ideal_cells(species: Species, structure: str, parameters: Covalent, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the ideal cells of one structure, with `reason`, `parameters` and `vacuum_axes` in their info."""
    bond = bond_length(species[0], species[-1], parameters.bonds)
    if structure == 'amorphous':
        yield from amorphous_cells(species, parameters, rng)
    elif structure == 'graphite':
        for stacking in parameters.stackings or (COMPOUND_STACKINGS if len(species) == 2 else STACKINGS):
            atoms = _sheets(species, stacking, parameters, None)
            yield describe(atoms, f'sheets of threefold atoms stacked {stacking}', stacking=stacking)
    elif structure == 'layered':
        for layers in parameters.layers:
            stacking = ("AA'" if len(species) == 2 else 'AB') * layers
            letters = re.findall("[ABC]'?", stacking)[:layers]
            atoms = _sheets(species, ''.join(letters), parameters, parameters.vacuum)
            yield describe(atoms, f'stack of {layers} sheets in vacuum', [2], layers=layers)
    elif structure == 'graphene':
        atoms = _sheets(species, 'A', parameters, parameters.vacuum)
        yield describe(atoms, 'one sheet of threefold atoms in vacuum', [2])
    elif structure == 'chain':
        short = CHAIN * bond_length(species[0], species[0], parameters.bonds)
        cell = [parameters.vacuum, parameters.vacuum, 2 * short]
        middle = parameters.vacuum / 2
        atoms = Atoms([species[0]] * 2, [[middle, middle, 0], [middle, middle, short]], cell=cell, pbc=True)
        yield describe(atoms, 'straight chain of twofold atoms in vacuum', [0, 1])
    elif structure in POLYTYPES:
        yield describe(_polytype(species, POLYTYPES[structure], bond), REASONS['polytype'], stacking=structure)
    else:
        yield describe(_crystal(species, structure, bond), REASONS.get(structure, REASONS['pressure']))


def _crystal(species: Species, structure: str, bond: float) -> Atoms:
    """Diamond and zincblende, ground states, and structures under pressure."""
    if structure == 'ground_state':
        return ground_state(species[0])
    if structure in ('diamond', 'zincblende'):
        return bulk(''.join(species), structure, a=4 * bond / math.sqrt(3), cubic=True)
    volume = DENSER[structure] * DIAMOND_VOLUME * bond**3
    if structure == 'rocksalt':
        return bulk(''.join(species), 'rocksalt', a=2 * volume ** (1 / 3), cubic=True)
    element = species[0]
    if structure == 'beta_tin':  # c/a of silicon, 0.55
        a = (4 * volume / 0.55) ** (1 / 3)
        sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.25], [0.5, 0, 0.75]]
        return Atoms([element] * 4, scaled_positions=sites, cell=[a, a, 0.55 * a], pbc=True)
    if structure == 'simple_hexagonal':  # c/a of silicon, 0.94
        a = (volume / (0.94 * math.sqrt(3) / 2)) ** (1 / 3)
        return Atoms(element, cell=[a, a, 0.94 * a, 90, 90, 120], pbc=True)
    if structure == 'bc8':
        made = crystal(element, [(0.1003,) * 3], spacegroup=206, cellpar=[(16 * volume) ** (1 / 3)] * 3 + [90] * 3)
        return Atoms(made.numbers, made.positions, cell=made.cell, pbc=True)
    atoms = {'simple_cubic': 1, 'bcc': 2, 'fcc': 4}[structure]
    lattice = 'sc' if structure == 'simple_cubic' else structure
    return bulk(element, lattice, a=(atoms * volume) ** (1 / 3), cubic=True)


def _polytype(species: Species, stacking: str, bond: float) -> Atoms:
    """Hexagonal stack of double layers of ideal tetrahedra: a = sqrt(8/3) d, a double layer is 4/3 d high."""
    side, height = math.sqrt(8 / 3) * bond, 4 / 3 * bond
    symbols, positions = [], []
    for layer, letter in enumerate(stacking):
        site = LATERAL[letter]
        symbols += [species[0], species[-1]]
        positions += [(site, site * 2, layer * height), (site, site * 2, layer * height + bond)]
    return _hexagonal(symbols, positions, side, height * len(stacking))


def _sheets(species: Species, stacking: str, parameters: Covalent, vacuum: float | None) -> Atoms:
    """Honeycomb sheets; an apostrophe after a letter exchanges the elements."""
    first, second = species[0], species[-1]
    bond = bond_length(first, second, parameters.bonds, neighbours=3)
    name = '-'.join(sorted(species * 2 if len(species) == 1 else species))
    half = BUCKLING.get(name, 0.0) / 2
    distance = INTERLAYER.get(name, _van_der_waals(species))
    # a buckled sheet is narrower at the same bond length
    side = math.sqrt(3 * (bond**2 - (2 * half) ** 2))
    letters = re.findall("[ABC]'?", stacking)
    height = distance * len(letters) if vacuum is None else distance * (len(letters) - 1) + 2 * half + vacuum
    bottom = 0.0 if vacuum is None else vacuum / 2 + half
    symbols, positions = [], []
    for layer, letter in enumerate(letters):
        site, level = LATERAL[letter[0]], bottom + layer * distance
        symbols += [second, first] if letter.endswith("'") else [first, second]
        other = site + 1 / 3
        positions += [(site, site * 2, level - half), (other, other * 2, level + half)]
    return _hexagonal(symbols, positions, side, height)


def _hexagonal(symbols: list[str], positions: list[tuple[float, float, float]], side: float, height: float) -> Atoms:
    scaled = np.array(positions) / [1, 1, height]
    atoms = Atoms(symbols, cell=[side, side, height, 90, 90, 120], pbc=True)
    atoms.set_scaled_positions(scaled)
    atoms.wrap(eps=1e-9)
    return atoms


def _van_der_waals(species: Species) -> float:
    radii = [vdw_radii[atomic_numbers[element]] for element in species]
    return float(2 * np.mean([radius if np.isfinite(radius) else 2.0 for radius in radii]))
