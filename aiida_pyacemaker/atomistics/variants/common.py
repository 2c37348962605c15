"""What the operations share: the kind of a parent, the record of a variant, strain that leaves the vacuum alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from ase import Atoms

from ..checks.moments import MOMENTS
from ..core.plugins import FAMILIES, load_plugins


class NotApplicableError(ValueError):
    """The parent is not of a kind on which the operation can act."""


#: Largest component of the random strain of disturbed cells.
STRAIN = 0.03
#: Width (Å) of the Gaussian by which the atoms of cells with a defect or a surface are displaced.
DISPLACEMENT = 0.05
#: Parents whose intermediate results (supercells, voids, slabs) are remembered.
MAX_REMEMBERED_PARENTS = 1024

#: Where the six components of a symmetric tensor are, xx, yy, zz, yz, xz, xy.
VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
IDENTITY = np.eye(3)

Result = TypeVar('Result')


def vacuum_axes(parent: Atoms) -> list[int]:
    """Cell axes along which there is vacuum: [] for bulk, [2] for a slab, [0, 1, 2] for a molecule in a box."""
    return [int(axis) for axis in parent.info.get('vacuum_axes', [])]


def periodic_axes(parent: Atoms) -> list[int]:
    """Cell axes along which matter is continuous."""
    vacuum = vacuum_axes(parent)
    return [axis for axis in range(3) if axis not in vacuum]


def family_of(atoms: Atoms) -> Any:
    """Return the family that made a structure (class `Family`), or None: it may be the user's own."""
    return load_plugins(FAMILIES).get(str(atoms.info.get('family')))


def require_periodic(parent: Atoms, operation: str) -> None:
    """:raises NotApplicableError: if the parent is a molecule or cluster in a box."""
    if not periodic_axes(parent):
        raise NotApplicableError(
            f'structures.{operation}: {parent.info.get("phase", "the parent")} is a molecule in a box'
        )


def require_solid(parent: Atoms, operation: str) -> None:
    """:raises NotApplicableError: if the parent is made of molecules, or they cannot be told apart from the solid."""
    require_periodic(parent, operation)
    family, phase = family_of(parent), parent.info.get('phase', 'the parent')
    if family is not None and family.has_adsorbates and 'adsorbate' not in parent.arrays:
        raise NotApplicableError(
            f'structures.{operation}: it is not known which atoms of {phase} are adsorbed molecules'
        )
    if family is not None and not family.is_solid:
        raise NotApplicableError(f'structures.{operation}: {phase} is made of molecules, not of single atoms or ions')


def host_atoms(parent: Atoms) -> np.ndarray:
    """Indices of the atoms of the solid: all but the molecules adsorbed on it (array `adsorbate`, true there)."""
    adsorbate = parent.arrays.get('adsorbate')
    return np.arange(len(parent)) if adsorbate is None else np.flatnonzero(~np.asarray(adsorbate, dtype=bool))


def charges(parent: Atoms) -> np.ndarray | None:
    """Oxidation states, shape (n,), or None where none are set or all are zero (a metal)."""
    states = parent.arrays.get('oxidation_states')
    return None if states is None or not np.any(states) else np.asarray(states, dtype=float)


def moments_of(parent: Atoms) -> np.ndarray | None:
    """Magnetic moments (Bohr magnetons), shape (n,), or None where none are set: the array itself, not a copy."""
    return parent.arrays.get(MOMENTS)


def usual_moment(parent: Atoms, symbol: str) -> float:
    """Mean size of the magnetic moments of an element in a frame that carries moments; 0 where it has none of it."""
    moments, mine = moments_of(parent), parent.symbols == symbol
    return 0.0 if moments is None or not mine.any() else float(np.abs(moments[mine]).mean())


def label(parent: Atoms) -> str:
    """Short name of a parent: phase and formula."""
    return f'{parent.info.get("phase", "structure")} {_formula(parent.numbers.tobytes())}'


@lru_cache(maxsize=4096)
def _formula(numbers: bytes) -> str:
    return Atoms(np.frombuffer(numbers, dtype=int)).get_chemical_formula()


def record(atoms: Atoms, parent: Atoms, operation: str, own: dict[str, Any]) -> Atoms:
    """Write into the info of a variant what was done to which parent; return the variant.

    :param own: what the operation adds to the parameters of the parent; JSON-able.
    """
    atoms.info.update(operation=operation, parent=label(parent))
    atoms.info['parameters'] = {**parent.info.get('parameters', {}), **own}
    return atoms


def random_strain(rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """Symmetric strain (3, 3), components uniform within ± amplitude."""
    return rng.uniform(-amplitude, amplitude, 6)[VOIGT]


def allowed_strain(atoms: Atoms, strain: np.ndarray) -> np.ndarray:
    """Return the part of a strain (3, 3) that acts on the directions without vacuum only.

    It is T ε T with T the projector onto the span of the periodic axes: zero for a molecule in a box.
    """
    axes = periodic_axes(atoms)
    if len(axes) == 3:
        return strain
    if not axes:
        return np.zeros((3, 3))
    span = np.linalg.qr(atoms.cell.array[axes].T)[0]
    projector = span @ span.T
    return projector @ strain @ projector


def strain_in_place(atoms: Atoms, strain: np.ndarray) -> None:
    """Transform cell and positions by 1 + strain, where strain acts on the directions without vacuum only.

    A slab keeps its thickness and its vacuum, a molecule in a box stays as it is.
    """
    if not periodic_axes(atoms):
        return
    transformation = IDENTITY + allowed_strain(atoms, strain)
    atoms.cell[:] = atoms.cell.array @ transformation
    atoms.positions = atoms.positions @ transformation


def disturb(atoms: Atoms, rng: np.random.Generator, width: float = DISPLACEMENT, strain: float = STRAIN) -> None:
    """Strain at random and displace all atoms by a Gaussian of `width` (Å), in place: no symmetry is left."""
    if strain:
        strain_in_place(atoms, random_strain(rng, strain))
    atoms.positions += rng.normal(0.0, width, atoms.positions.shape)


_memory: OrderedDict[Hashable, Any] = OrderedDict()


def remembered(what: Hashable, parent: Atoms, compute: Callable[[], Result]) -> Result:
    """Return `compute()`, from memory if it was asked for the same thing of an equal parent lately.

    A parent gets tens of variants, and its supercell or its voids cost far more than a variant. The key is the content
    of the parent, so that a parent that was changed in between is another one. What is returned must not be modified.
    """
    content = tuple((name, values.dtype.str, values.tobytes()) for name, values in parent.arrays.items())
    marks = (parent.info.get('phase'), parent.info.get('family'), tuple(vacuum_axes(parent)))
    key = (what, content, parent.cell.array.tobytes(), parent.pbc.tobytes(), marks)
    if key in _memory:
        _memory.move_to_end(key)
        return _memory[key]
    result = compute()
    _memory[key] = result
    if len(_memory) > MAX_REMEMBERED_PARENTS:
        _memory.popitem(last=False)
    return result
