"""The checks that every structure passes before it leaves the generator, many frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pydantic import Field

from ..core.parameters import Count, Positive, Section, parameter
from .batch import Batch, batches, complete
from .charge import is_neutral, total_charge
from .endless import surely_bulk
from .overlap import MAX_ATOMS_ALL_PAIRS, Closest, closest_pairs
from .vacuum import detect_vacuum

#: Families that are free atoms and molecules by their nature.
FREE_FAMILIES = frozenset({'isolated_atom', 'dimer', 'trimer'})


class Checks(Section):
    """What a structure must fulfil to be kept."""

    overlap: Annotated[float, Field(ge=0, lt=1.2)] = parameter(
        'No two atoms are closer than this fraction of the sum of their covalent radii (of their ionic radii between '
        'cations and anions where that is smaller).',
        default=0.7,
    )
    neutral: bool = parameter('Where oxidation states are set, their sum must be zero.', default=True)
    min_width: Positive | None = parameter(
        'Every perpendicular width of the cell must exceed this; null allows any cell.', 'Å', default=None
    )
    max_atoms: Count | None = parameter('Largest number of atoms of a structure; null allows any.', default=None, ge=1)
    max_attempts: Count = parameter(
        'How often a rejected structure is replaced before the generator gives up.', default=100, ge=1
    )
    duplicates: bool = parameter('Whether structures that are equal by symmetry are dropped.', default=True)


@dataclass(frozen=True)
class Rejection:
    """Why a structure was rejected.

    :param kind: 'not finite', 'too many atoms', 'composition', 'charge', 'width', 'overlap' or 'vacuum'.
    :param message: one sentence with the numbers.
    """

    kind: str
    message: str


def check_frames(
    frames: list[Atoms],
    checks: Checks,
    elements: list[str] | None = None,
    compositions: list[dict[str, float]] | None = None,
) -> list[Rejection | None]:
    """Return for every frame why it is rejected, or None; only the first reason in the order of `Rejection.kind`.

    A frame may allow itself to be denser by `info['allowed_overlap']`, a smaller ratio (dimers at short range), and
    says by `info['vacuum_axes']` that it means to hold vacuum.

    :param elements: those of the system; any if None.
    :param compositions: those allowed, as amounts per element on any scale; any if None.
    """
    rejections = [_check_one(atoms, checks, elements, compositions) for atoms in frames]
    open_ = [index for index, rejection in enumerate(rejections) if rejection is None]
    for batch in batches([frames[index] for index in open_]):
        for index, rejection in _check_batch(batch, checks):
            rejections[open_[index]] = rejection
    return rejections


def _check_one(
    atoms: Atoms, checks: Checks, elements: list[str] | None, compositions: list[dict[str, float]] | None
) -> Rejection | None:
    """What needs no distances."""
    if not len(atoms) or not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return Rejection('not finite', 'the frame has no atoms, or a position or cell vector that is not finite')
    if checks.max_atoms is not None and len(atoms) > checks.max_atoms:
        return Rejection('too many atoms', f'{len(atoms)} atoms, more than {checks.max_atoms}')
    if atoms.pbc.any() and abs(np.linalg.det(complete(atoms))) < 1e-3:
        return Rejection('not finite', 'the lattice vectors lie in a plane')
    present = {chemical_symbols[number] for number in set(atoms.numbers.tolist())}
    if elements is not None and not present <= set(elements):
        strange = ', '.join(sorted(present - set(elements)))
        return Rejection('composition', f'{strange} not among the elements {", ".join(elements)}')
    if compositions is not None and not any(_is_composition(atoms, allowed) for allowed in compositions):
        return Rejection('composition', f'{atoms.get_chemical_formula()} has none of the compositions asked for')
    if checks.neutral and not is_neutral(atoms):
        return Rejection('charge', f'the oxidation states sum to {total_charge(atoms):+g}')
    return None


def _is_composition(atoms: Atoms, allowed: dict[str, float]) -> bool:
    total = sum(allowed.values())
    counts = atoms.symbols.formula.count()
    wanted = {element: amount / total for element, amount in allowed.items() if amount}
    own = {element: amount / len(atoms) for element, amount in counts.items()}
    return own.keys() == wanted.keys() and all(abs(own[element] - wanted[element]) < 1e-6 for element in own)


def _check_batch(batch: Batch, checks: Checks) -> Iterator[tuple[int, Rejection]]:
    """Yield the index and the rejection of the frames that have one."""
    limits = np.array([min(checks.overlap, atoms.info.get('allowed_overlap', np.inf)) for atoms in batch.frames])
    closest = closest_pairs(batch, limits)
    clean = []
    for row, narrow in enumerate(batch.widths.min(axis=1)):
        if checks.min_width is not None and narrow <= checks.min_width:
            message = f'the cell is {narrow:.2f} Å wide, not more than {checks.min_width:g} Å'
            yield batch.index[row], Rejection('width', message)
        elif closest.ratio[row] < limits[row]:
            yield batch.index[row], Rejection('overlap', _overlap_message(batch.frames[row], closest, row, limits[row]))
        elif 'vacuum_axes' not in batch.frames[row].info and batch.frames[row].info.get('family') not in FREE_FAMILIES:
            clean.append(row)
    yield from _check_vacuum(batch.part(clean))


def _overlap_message(atoms: Atoms, closest: Closest, row: int, limit: float) -> str:
    first, second = int(closest.first[row]), int(closest.second[row])
    symbols = f'{chemical_symbols[atoms.numbers[first]]} and {chemical_symbols[atoms.numbers[second]]}'
    return (
        f'{symbols} (atoms {first} and {second}) are {closest.distance[row]:.2f} Å apart, '
        f'less than {limit:g} x {closest.contact[row]:.2f} Å'
    )


def _check_vacuum(batch: Batch) -> Iterator[tuple[int, Rejection]]:
    """Yield those that are not bulk."""
    bulk = (
        surely_bulk(batch)
        if batch.frames and len(batch.frames[0]) <= MAX_ATOMS_ALL_PAIRS
        else np.zeros(len(batch.frames))
    )
    for row in np.flatnonzero(np.logical_not(bulk)):
        vacuum = detect_vacuum(batch.frames[row])
        if vacuum:
            size = f', {vacuum.gap:.1f} Å wide' if np.isfinite(vacuum.gap) else ''
            message = f'the frame holds vacuum{size}: it is a {vacuum.kind} cell, not bulk'
            yield batch.index[row], Rejection('vacuum', message)
