"""Rattled cells: every atom displaced at random, the cell slightly strained; and the held-out set."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from pydantic import Field

from ..core.errors import InputError
from ..core.parameters import Count, Section, parameter, require
from .common import STRAIN, periodic_axes, random_strain, record, strain_in_place
from .supercell import supercell

#: Atoms with a smaller covalent radius (Å) than this, H, C, N, O, F, have short and stiff bonds.
SMALL_RADIUS = 1.1
#: Cycles of the Monte Carlo rattle: in each, every atom moves once.
CYCLES = 3
#: Smoothness (Å) of the smallest distance in the Monte Carlo rattle (hiPhive's default).
SOFTNESS = 0.1
#: Monte Carlo rattles tried before giving up.
ATTEMPTS = 20

Width = Annotated[float, Field(ge=0.0, le=1.0)]


class Rattle(Section):
    """Cells whose atoms are displaced at random, strained by up to 3 % where there is no vacuum."""

    number: Count = parameter('Rattled structures per phase.', default=24, ge=0)
    amplitude: list[Width] = parameter(
        'Standard deviations of the displacement in each Cartesian direction, used in turn.',
        unit='Å',
        default=[0.05, 0.1, 0.2],
        min_length=1,
    )
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=16, ge=1)
    scaled: bool = parameter(
        'Whether small atoms (H, C, N, O, F) are displaced less, in proportion to their covalent radius, for their '
        'bonds are short and stiff; `gaussian` only.',
        default=True,
    )
    method: Literal['gaussian', 'monte_carlo'] = parameter(
        'Independent displacements; or Monte Carlo moves that keep the atoms apart (hiPhive), for large amplitudes.',
        default='gaussian',
    )
    closest: float = parameter(
        'Smallest distance that Monte Carlo moves allow, as a fraction of the smallest distance before.',
        default=0.8,
        gt=0.0,
        lt=1.0,
    )


class Test(Section):
    """Held-out structures, never trained on: made as `rattle` says."""

    __test__: ClassVar[bool] = False  # or pytest would take it for a test

    number: Count = parameter('Held-out structures per phase.', default=8, ge=0)


def rattle(parent: Atoms, parameters: Rattle, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a rattled supercell of the parent.

    :raises ValueError: if Monte Carlo moves do not keep the atoms apart: the amplitude is too large.
    """
    width = parameters.amplitude[index % len(parameters.amplitude)]
    atoms = supercell(parent, parameters.atoms)
    if periodic_axes(atoms):
        strain_in_place(atoms, random_strain(rng, STRAIN))
    if parameters.method == 'gaussian':
        displacements = rng.normal(0.0, width, atoms.positions.shape)
        if parameters.scaled:
            displacements *= np.minimum(1.0, covalent_radii[atoms.numbers] / SMALL_RADIUS)[:, None]
        atoms.positions += displacements
    elif width > 0:
        atoms.positions += _monte_carlo(atoms, width, parameters.closest, rng)
    return record(atoms, parent, 'rattle', {'amplitude': width, 'method': parameters.method})


def held_out(parent: Atoms, parameters: Rattle, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a structure of the held-out set: rattled, with the parameters of `rattle`, and info `split` 'test'."""
    atoms = rattle(parent, parameters, rng, index, total)
    atoms.info.update(operation='test', split='test')
    return atoms


def _monte_carlo(atoms: Atoms, width: float, closest: float, rng: np.random.Generator) -> np.ndarray:
    """Displacements (n, 3) of hiPhive's Monte Carlo rattle (Eriksson et al., Adv. Theory Simul. 2, 1800184, 2019).

    hiPhive knows one smallest distance for all pairs and enforces it softly, so that the result is checked.
    """
    mc_rattle = require('hiphive.structure_generation.rattle', 'structures.rattle.method: monte_carlo').mc_rattle
    shortest = _shortest_distance(atoms)
    if shortest is None:
        return rng.normal(0.0, width, atoms.positions.shape)
    smallest = closest * shortest
    for _ in range(ATTEMPTS):
        seed = int(rng.integers(2**31))
        try:
            # the displacement after n cycles is sqrt(n) times that of one
            moves = mc_rattle(atoms, width / math.sqrt(CYCLES), smallest, width=SOFTNESS, n_iter=CYCLES, seed=seed)
        except Exception as exception:  # hiPhive raises nothing more special
            if 'maximum number of attempts' not in str(exception):
                raise
            break
        moved = atoms.copy()
        moved.positions += moves
        if smallest <= 2 * SOFTNESS or len(neighbor_list('i', moved, smallest - 2 * SOFTNESS)) == 0:
            return moves
    raise InputError(
        'rattle.amplitude',
        f'displacements of {width} Å bring atoms closer than structures.rattle.closest ({closest}) times their '
        'distance, whatever the draw',
        f'use at most {width / 2:.3g} Å or a smaller ratio',
    )


def _shortest_distance(atoms: Atoms) -> float | None:
    """Shortest distance (Å) between atoms, None if they are far apart; short neighbour lists are tried first."""
    for cutoff in (1.5, 3.0, 6.0):
        distances = neighbor_list('d', atoms, cutoff)
        if len(distances):
            return float(distances.min())
    return None
