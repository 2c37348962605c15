"""Distances between sheets, stretched bonds, and turns about bonds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from ....checks.overlap import overlapping
from .section import Distortions, Interlayer

#: Sheets farther apart than the size of their atoms plus this (Å) have vacuum between them.
VACUUM_GAP = 2.5
#: Two atoms are bonded if they are closer than this times the shortest distance.
BONDED = 1.2
#: Distortions that are drawn, with less amplitude each time, until no atoms overlap.
MAX_DISTORTIONS = 10
#: Centres (m,), other ends (m,) and vectors (m, 3) in Å.
Bonds = tuple[np.ndarray, np.ndarray, np.ndarray]


def interlayer_scans(ideals: list[Atoms], section: Interlayer) -> Iterator[Atoms]:
    """Other distances between sheets; all structures at one distance before the next."""
    stacked = [atoms for atoms in ideals if atoms.info['parameters']['structure'] in ('graphite', 'layered')]
    for index, factor in enumerate(np.linspace(section.minimum, section.maximum, section.number)):
        if abs(factor - 1) < 1e-3:
            continue
        for atoms in stacked:
            moved = _stretched_stack(atoms, float(factor))
            moved.info['reason'] = f'{atoms.info["reason"]}, {factor:.2f} times as far apart as in equilibrium'
            moved.info['parameters'] = {**atoms.info['parameters'], 'interlayer': float(factor), 'index': index}
            if not overlapping(moved, 0.7):
                yield moved


def _stretched_stack(atoms: Atoms, factor: float) -> Atoms:
    """Move sheets apart, the sheets themselves unchanged, and the vacuum as wide as before."""
    moved = atoms.copy()
    # two atoms to a sheet, from the bottom
    sheets = len(atoms) // 2
    levels = atoms.positions[:, 2].reshape(sheets, 2).mean(axis=1)
    gap = atoms.cell[2, 2] / sheets if 'vacuum_axes' not in atoms.info else levels[1] - levels[0]
    shift = gap * (factor - 1)
    cell = atoms.cell.array.copy()
    cell[2, 2] += shift * (sheets if 'vacuum_axes' not in atoms.info else sheets - 1)
    moved.set_cell(cell)
    moved.positions[:, 2] += shift * np.repeat(np.arange(sheets), 2)
    if gap * factor > 2 * covalent_radii[atoms.numbers].max() + VACUUM_GAP:
        moved.info['vacuum_axes'] = [2]
    return moved


def distorted_crystals(ideals: list[Atoms], section: Distortions, rng: np.random.Generator) -> Iterator[Atoms]:
    """Distorted crystals: of all structures the first, then of all the second."""
    crystals = [atoms for atoms in ideals if atoms.info['parameters']['structure'] != 'amorphous']
    for index in range(max(section.bond, section.dihedral)):
        for atoms in crystals:
            if index < section.bond:
                yield from _distorted(atoms, _stretch_bond, section.stretch, 'stretch', section.atoms, rng)
            if index < section.dihedral:
                yield from _distorted(atoms, _turn_about_bond, section.angle, 'turn', section.atoms, rng)


def _distorted(
    atoms: Atoms,
    distort: Callable[[Atoms, Bonds, float, np.random.Generator], bool],
    largest: float,
    name: str,
    size: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Yield a distorted supercell; nothing where there is no bond to distort."""
    cell = _enlarged(atoms, size)
    bonds = _bonds(cell)
    for attempt in range(MAX_DISTORTIONS):
        # between a quarter of the largest distortion and the largest, in both directions
        amplitude = float(rng.uniform(0.25, 1.0) * rng.choice([-1, 1]) * largest * 0.9**attempt)
        changed = cell.copy()
        if not distort(changed, bonds, amplitude, rng):
            return
        if not overlapping(changed, 0.72):
            what = f'{amplitude:+.0%} in length' if name == 'stretch' else f'turned by {amplitude:+.0f}°'
            changed.info['reason'] = f'{atoms.info["reason"]}, one bond {what}'
            changed.info['parameters'] = {**atoms.info['parameters'], name: amplitude}
            yield changed
            return


def _enlarged(atoms: Atoms, size: int) -> Atoms:
    """Repeat a cell along its shortest axes, never along vacuum, until it has `size` atoms."""
    counts = np.ones(3, dtype=int)
    lengths = atoms.cell.lengths()
    lengths[atoms.info.get('vacuum_axes', [])] = np.inf
    while len(atoms) * counts.prod() < size:
        rounded = np.round(counts * lengths, 6)
        counts[2 - int(np.argmin(rounded[::-1]))] += 1
    return atoms.repeat(counts.tolist())


def _bonds(atoms: Atoms) -> Bonds:
    """Bonds as centres, others and vectors: up to `BONDED` times the shortest distance."""
    radii = covalent_radii[atoms.numbers].max()
    center, other, vectors = neighbor_list('ijD', atoms, 3.0 * radii)
    distances = np.linalg.norm(vectors, axis=1)
    near = (distances < BONDED * distances.min()) & (center != other)
    return center[near], other[near], vectors[near]


def _stretch_bond(atoms: Atoms, bonds: Bonds, amplitude: float, rng: np.random.Generator) -> bool:
    """Move two bonded atoms apart along their bond, in place; `amplitude` is a fraction of its length."""
    center, other, vectors = bonds
    if len(center) == 0:
        return False
    pick = int(rng.integers(len(center)))
    atoms.positions[center[pick]] -= 0.5 * amplitude * vectors[pick]
    atoms.positions[other[pick]] += 0.5 * amplitude * vectors[pick]
    return True


def _turn_about_bond(atoms: Atoms, bonds: Bonds, amplitude: float, rng: np.random.Generator) -> bool:
    """Turn the other neighbours of an atom about one of its bonds, in place, by `amplitude` in degrees."""
    center, other, vectors = bonds
    if len(center) == 0:
        return False
    pick = int(rng.integers(len(center)))
    axis = vectors[pick] / np.linalg.norm(vectors[pick])
    turning = np.flatnonzero((center == center[pick]) & (other != other[pick]))
    arms = vectors[turning]
    turned = Rotation.from_rotvec(axis * math.radians(amplitude)).apply(arms)
    if len(turning) == 0 or np.abs(turned - arms).max() < 1e-3:
        return False
    atoms.positions[other[turning]] += turned - arms
    return True
