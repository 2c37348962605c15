"""One crystal on another in their common cell, with and without vacuum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import make_supercell

from ....crystals.slabs import (
    OXIDATION,
    Stack,
    Termination,
    contact_offset,
    too_close,
    with_vacuum,
)
from .matches import Match
from .section import Interface

#: No interface is closer than this (Å), however its atoms fit between each other.
SMALLEST_GAP = 1.0
#: Points along each axis at which it is tried how near the film comes.
REGISTRY = 4


@dataclass(frozen=True, eq=False)
class Motif:
    """What an interface is made of, but for gap, shift and stacking."""

    film: Stack
    substrate: Stack
    film_slab: Atoms
    substrate_slab: Atoms
    ends: tuple[Termination, Termination]
    match: Match

    @cached_property
    def registry(self) -> np.ndarray:
        """Shift at which the film comes nearest to the substrate, in units of its surface cell."""
        lower, upper = lower_slab(self), upper_slab(self)
        steps = np.arange(REGISTRY) / REGISTRY
        grid = [np.array(shift) for shift in product(steps, steps)]
        offsets = []
        for shift in grid:
            moved = upper.copy()
            moved.positions[:, :2] += shift @ self.substrate.vectors
            offsets.append(round(contact_offset(lower, moved), 4))
        return grid[int(np.argmin(offsets))]

    @property
    def phase(self) -> str:
        return f'{self.film.label}/{self.substrate.label}'

    @property
    def atoms(self) -> int:
        n_film, n_substrate = self.match.cells
        return n_film * len(self.film_slab) + n_substrate * len(self.substrate_slab)


def build(
    motif: Motif, shift: np.ndarray, gap: float | None, extra: float, vacuum: float | None
) -> tuple[Atoms, list[float]]:
    """Put the film on the substrate.

    :param shift: of the film, in units of the surface cell of the substrate.
    :param gap: Å between the outermost planes; None: where the atoms touch, plus `extra`.
    :param vacuum: Å above the film; None: a bilayer with a second interface, film below substrate.
    :returns: the interface without info, and the gaps (Å) of its interfaces.
    """
    lower, upper = lower_slab(motif), upper_slab(motif)
    upper.positions[:, :2] += shift @ motif.substrate.vectors
    top = float(lower.positions[:, 2].max())
    first = _gap(lower, upper, gap, extra)
    upper.positions[:, 2] += top + first
    atoms = lower + upper
    if vacuum is not None:
        atoms = with_vacuum(atoms, vacuum)
        atoms.wrap()
        return atoms, [first]
    high = float(atoms.positions[:, 2].max())
    # the substrate above the film is the image of that below it
    second = _gap(upper, lower, gap, extra)
    atoms.set_cell(np.vstack([lower.cell.array[:2], [0, 0, high + second]]))
    atoms.pbc = True
    atoms.wrap()
    return atoms, [first, second]


def _gap(lower: Atoms, upper: Atoms, gap: float | None, extra: float) -> float:
    if gap is not None:
        return gap
    offset = contact_offset(lower, upper)
    touching = offset + upper.positions[:, 2].min() - lower.positions[:, 2].max()
    return max(float(touching), SMALLEST_GAP) + extra


def lower_slab(motif: Motif) -> Atoms:
    """Return the substrate in the common cell."""
    return _repeated(motif.substrate_slab, motif.match.substrate)


def upper_slab(motif: Motif) -> Atoms:
    """Return the film in the common cell, strained and turned to fit; its lowest atom is at z = 0."""
    film = _repeated(motif.film_slab, motif.match.film)
    scaled = film.get_scaled_positions(wrap=False)[:, :2]
    z = film.positions[:, 2].copy()
    # a mirrored cell is that of the film upside down
    z = z.max() - z if motif.match.flipped else z - z.min()
    cell = motif.match.substrate @ motif.substrate.vectors
    film.set_cell(np.block([[cell, np.zeros((2, 1))], [np.zeros((1, 2)), np.array([[max(z.max(), 1.0)]])]]))
    film.positions = np.column_stack([scaled @ cell, z])
    return film


def _repeated(slab: Atoms, matrix: np.ndarray) -> Atoms:
    full = np.eye(3, dtype=int)
    full[:2, :2] = matrix
    found = make_supercell(slab, full, wrap=False)
    _same_states(slab, found)
    return found


def _same_states(slab: Atoms, found: Atoms) -> None:
    """:raises RuntimeError: if a supercell does not hold whole slabs."""
    here, there = Counter(slab.get_chemical_symbols()), Counter(found.get_chemical_symbols())
    if {symbol: count * len(found) for symbol, count in here.items()} != {
        symbol: count * len(slab) for symbol, count in there.items()
    }:
        raise RuntimeError('a supercell of a slab has another composition than the slab')


def is_sound(atoms: Atoms, motif: Motif, parameters: Interface) -> bool:
    """Return whether an interface is what it should be: no overlap, all atoms there, strain within the limit."""
    n_film, n_substrate = motif.match.cells
    wanted = Counter()
    for slab, count in ((motif.film_slab, n_film), (motif.substrate_slab, n_substrate)):
        wanted.update({symbol: count * n for symbol, n in Counter(slab.get_chemical_symbols()).items()})
    stretches = np.linalg.svd(
        np.linalg.solve(motif.match.film @ motif.film.vectors, atoms.cell.array[:2, :2]), compute_uv=False
    )
    return (
        Counter(atoms.get_chemical_symbols()) == wanted
        and float(np.abs(stretches - 1).max()) <= parameters.max_strain + 1e-9
        and not too_close(atoms)
    )


def set_states(atoms: Atoms, motif: Motif) -> None:
    """Oxidation states of a material that has none are zero where the other has them."""
    slabs = (motif.substrate_slab, motif.film_slab)
    if not any(OXIDATION in slab.arrays for slab in slabs):
        return
    parts = []
    for slab, count in zip(slabs, motif.match.cells[::-1], strict=True):
        states = slab.arrays.get(OXIDATION, np.zeros(len(slab)))
        parts.append(np.tile(states, count))
    atoms.arrays.pop(OXIDATION, None)
    atoms.set_array(OXIDATION, np.concatenate(parts))


def describe(motif: Motif, shift: np.ndarray, gaps: list[float], vacuum: float | None) -> dict:
    match = motif.match
    n_film, n_substrate = match.cells
    stacking = 'bilayer without vacuum' if vacuum is None else f'with {vacuum:g} Å of vacuum'
    info = {
        'family': 'interface',
        'phase': motif.phase,
        'reason': (
            f'coherent match of {motif.film.label} and {motif.substrate.label}, {n_film} on {n_substrate} cells: '
            f'strain {100 * match.largest:.1f} %, {match.area:.0f} Å², {stacking}'
        ),
        'parameters': {
            'film': motif.film.label,
            'substrate': motif.substrate.label,
            'film_termination': motif.ends[0].label,
            'substrate_termination': motif.ends[1].label,
            'film_matrix': match.film.tolist(),
            'substrate_matrix': match.substrate.tolist(),
            'strain': [round(value, 6) for value in match.strain],
            'area': round(match.area, 4),
            'twist': match.twist,
            'gaps': [round(value, 4) for value in gaps],
            'shift': [round(float(value % 1), 6) for value in shift],
            'stacking': 'periodic' if vacuum is None else 'vacuum',
        },
    }
    if vacuum is not None:
        info['vacuum_axes'] = [2]
    return info
