"""Magnetic moments that a spin-polarised calculation starts from, and the kinds of atoms that carry them.

A frame that remembers the moments of the calculation it descends from (array `magnetic_moments`) starts from them;
every other frame with a magnetic element starts ferromagnetic, free atoms by Hund's rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, ground_state_magnetic_moments

from aiida_pyacemaker.atomistics.checks.moments import MOMENTS, NEGLIGIBLE
from aiida_pyacemaker.atomistics.checks.vacuum import detect_vacuum

from ..core.errors import InputError

#: Bohr magnetons per atom that a ferromagnetic calculation starts from: somewhat above what bulk metals and oxides end
#: with, since a start that is too low falls into the non-magnetic solution. Elements that are not here are not
#: spin-polarised for themselves: 4d and 5d metals and the light 3d metals are non-magnetic as bulk.
START_MOMENTS: dict[str, float] = {
    **{'Cr': 3.0, 'Mn': 4.0, 'Fe': 3.0, 'Co': 2.5, 'Ni': 1.5},
    **{'Ce': 1.0, 'Pr': 2.0, 'Nd': 3.0, 'Pm': 4.0, 'Sm': 5.0, 'Eu': 7.0, 'Gd': 7.5, 'Tb': 6.0, 'Dy': 5.0, 'Ho': 4.0},
    **{'Er': 3.0, 'Tm': 2.0, 'U': 2.0, 'Np': 3.0, 'Pu': 5.0, 'Am': 6.0, 'Cm': 7.0},
}
SPIN_TREATMENTS = ('auto', 'none')
#: Bohr magnetons; moments of an element that differ less are one kind, so that a few kinds do.
KIND_WIDTH = 0.5
#: The largest number of kinds of pw.x (`ntypx`).
MAX_KINDS = 10


@dataclass(frozen=True)
class Spin:
    """How a frame is spin-polarised.

    :param moments: Bohr magnetons of each kind by its name, to start from.
    :param total: Bohr magnetons of the cell where it is fixed (free atoms), else `None`.
    """

    moments: dict[str, float]
    total: float | None = None


def get_spin(atoms: Atoms, treatment: str = 'auto', names: list[str] | None = None) -> Spin | None:
    """Return how a frame is spin-polarised, or `None` where it is not.

    :param treatment: `auto` or `none`, the key `label.spin`.
    :param names: the kind of each atom; those of :func:`kinds` by default. A kind starts from the mean of its atoms.
    :raises InputError: if the treatment is not known.
    """
    if treatment not in SPIN_TREATMENTS:
        raise InputError('label.spin', f'must be {" or ".join(SPIN_TREATMENTS)}, got {treatment!r}')
    moments = start_moments(atoms) if treatment == 'auto' else None
    if moments is None:
        return None
    names = np.array(kinds(atoms) if names is None else names)
    starts = {str(name): round(float(moments[names == name].mean()), 3) for name in dict.fromkeys(names.tolist())}
    return Spin(starts, total=float(moments[0]) if is_free_atom(atoms) else None)


def start_moments(atoms: Atoms) -> np.ndarray | None:
    """Return the moments (n,) in Bohr magnetons to start from, or `None` where a frame is not magnetic."""
    if is_free_atom(atoms):
        moment = hund_moment(atoms.get_chemical_symbols()[0])
        return np.array([moment]) if moment else None
    remembered = remembered_moments(atoms)
    if remembered is not None:
        return remembered
    if is_magnetic(atoms):
        return np.array([START_MOMENTS.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols()])
    if is_open_shell(atoms):
        return np.array([hund_moment(symbol) for symbol in atoms.get_chemical_symbols()])
    return None


def remembered_moments(atoms: Atoms) -> np.ndarray | None:
    """Return the moments (n,) that a frame carries, or `None` where it carries none that can be started from.

    A magnetic element whose moments have all vanished starts ferromagnetic again: zero is a stationary point, from
    which no calculation finds its way back.
    """
    found = atoms.arrays.get(MOMENTS)
    if found is None or not np.isfinite(found).all() or np.abs(found).max(initial=0) < NEGLIGIBLE:
        return None
    moments = np.array(found, dtype=float)
    for symbol in START_MOMENTS.keys() & set(atoms.get_chemical_symbols()):
        mine = atoms.symbols == symbol
        if np.abs(moments[mine]).max() < NEGLIGIBLE:
            moments[mine] = START_MOMENTS[symbol]
    return moments


def kinds(atoms: Atoms) -> list[str]:
    """Return the name of the kind of each atom: its element, numbered where remembered moments differ (`Fe1`, `Fe2`).

    Kinds are counted from the largest moment down. The moments of a kind lie within `KIND_WIDTH`, which is widened
    until there are not more than `MAX_KINDS`.
    """
    return [f'{symbol}{tag or ""}' for symbol, tag in zip(atoms.get_chemical_symbols(), kind_tags(atoms), strict=True)]


def kind_tags(atoms: Atoms) -> list[int]:
    """Return the number in the name of the kind of each atom, 0 for none: ASE's tags, of which AiiDA makes kinds."""
    moments, numbers = remembered_moments(atoms), atoms.numbers
    tags = np.zeros(len(atoms), dtype=int)
    if moments is None:
        return tags.tolist()
    width = KIND_WIDTH
    while True:
        groups = {number: _groups(moments[numbers == number], width) for number in set(numbers.tolist())}
        if sum(int(group.max()) for group in groups.values()) <= max(MAX_KINDS, len(groups)):
            break
        width *= 2
    for number, group in groups.items():
        if group.max() > 1:
            tags[numbers == number] = group
    return tags.tolist()


def _groups(moments: np.ndarray, width: float) -> np.ndarray:
    """Return the group (n,) of each moment, from 1 for the largest: each begins with the largest that is left."""
    groups, index, start = np.zeros(len(moments), dtype=int), 0, np.inf
    for k in np.argsort(-moments, kind='stable'):
        if start - moments[k] > width:
            index, start = index + 1, moments[k]
        groups[k] = index
    return groups


def is_magnetic(atoms: Atoms) -> bool:
    """Return whether a frame holds an element that may be magnetic as a solid."""
    return not START_MOMENTS.keys().isdisjoint(atoms.get_chemical_symbols())


def is_open_shell(atoms: Atoms) -> bool:
    """Return whether a frame is a molecule or cluster that cannot have all electrons paired, or oxygen."""
    numbers = set(atoms.numbers.tolist())
    odd = int(atoms.numbers.sum()) % 2 == 1
    return (odd or numbers == {8}) and is_isolated(atoms)


def is_free_atom(atoms: Atoms) -> bool:
    """Return whether a frame is one atom in vacuum."""
    return len(atoms) == 1 and is_isolated(atoms)


def is_isolated(atoms: Atoms) -> bool:
    """Return whether a frame is finite matter in vacuum."""
    return not atoms.pbc.any() or detect_vacuum(atoms).kind == 'cluster'


def hund_moment(symbol: str) -> float:
    """Return the moment of a free atom in Bohr magnetons: its number of unpaired electrons."""
    moment = float(ground_state_magnetic_moments[chemical_symbols.index(symbol)])
    return moment if np.isfinite(moment) else 0.0
