"""The crystals that a potential is judged by: what they are, their equilibrium, and what can be asked of them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import spglib
from ase import Atoms, units
from ase.geometry import cell_to_cellpar

from ..checks.vacuum import Vacuum, detect_vacuum
from ..core.frame import labels
from ..core.symmetry import call_spglib
from ..labelling.teachers import describe as explain
from .evaluator import MAX_STEPS, Evaluator, relax
from .property import NOT_BULK, Result

#: Å; what deviates less from a symmetry has it.
SYMMETRY = 0.01
#: Directions in which matter is endless, by the kind of vacuum.
DIMENSIONS = {'bulk': 3, 'porous': 3, 'slab': 2, 'wire': 1, 'cluster': 0}
#: Common names of structures by space group, atoms of the primitive cell, and their numbers per formula unit.
COMMON_NAMES = {
    (225, 1, (1,)): 'fcc',
    (229, 1, (1,)): 'bcc',
    (194, 2, (2,)): 'hcp',
    (227, 2, (2,)): 'diamond',
    (221, 1, (1,)): 'sc',
    (225, 2, (1, 1)): 'rocksalt',
    (221, 2, (1, 1)): 'CsCl',
    (216, 2, (1, 1)): 'zincblende',
    (186, 4, (2, 2)): 'wurtzite',
    (225, 3, (1, 2)): 'fluorite',
    (136, 6, (2, 4)): 'rutile',
    (221, 4, (1, 3)): 'L1_2',
    (123, 2, (1, 1)): 'L1_0',
    (221, 5, (1, 1, 3)): 'perovskite',
    (166, 2, (2,)): 'rhombohedral',
    (166, 5, (2, 3)): 'tetradymite',
}
#: Strain of the given cell from which on it is mentioned.
STRAIN = 0.02


class Description(TypedDict):
    """What a crystal is, see :func:`describe`."""

    name: str
    formula: str
    space_group: str
    n_atoms: int
    dimension: int
    numbers: list[int]
    positions: list[list[float]]
    cell: list[list[float]]


class Equilibrium(Result, total=False):
    """The equilibrium of a crystal, see :func:`equilibrate`."""

    a: float | None
    b: float | None
    c: float | None
    alpha: float | None
    beta: float | None
    gamma: float | None
    volume: float | None
    energy: float
    strain: float
    pressure: float | None


def describe(atoms: Atoms) -> Description:
    """Return what a crystal is.

    :returns: `name` ('Al fcc'), `formula`, `space_group` ('Fm-3m (225)'; empty for a molecule), `n_atoms`, `dimension`
        (3 bulk, 2 layer, 1 wire, 0 molecule, by :mod:`..checks.vacuum`), `numbers`, `positions` (Å), `cell` (Å).
    """
    dimension = dimension_of(atoms)
    data = symmetry_of(atoms) if dimension == 3 else None
    formula = atoms.symbols.formula if dimension == 0 else atoms.symbols.formula.reduce()[0]
    formula = formula.format('metal')
    group = f'{data.international} ({data.number})' if data is not None else ''
    if dimension < 3:
        phase = NOT_BULK[dimension].split()[1]
    else:
        named = COMMON_NAMES.get(key_of(atoms, data)) if data is not None else None
        phase = named or str(atoms.info.get('phase') or group)
    return {
        'name': phase if formula in phase else f'{formula} {phase}'.strip(),
        'formula': formula,
        'space_group': group,
        'n_atoms': len(atoms),
        'dimension': dimension,
        'numbers': atoms.numbers.tolist(),
        'positions': atoms.positions.tolist(),
        'cell': atoms.cell.array.tolist(),
    }


def dimension_of(atoms: Atoms) -> int:
    """Return in how many directions matter is endless."""
    return DIMENSIONS[detect_vacuum(atoms).kind]


def symmetry_of(atoms: Atoms) -> Any | None:
    """Return spglib's data set of a crystal, None where it finds none."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return call_spglib(
            spglib.get_symmetry_dataset, (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), SYMMETRY
        )


def key_of(atoms: Atoms, data: Any) -> tuple[int, int, tuple[int, ...]]:
    """Return space group, atoms of the primitive cell, and how many of each element it has, in increasing order."""
    primitive = len(set(data.mapping_to_primitive))
    share = len(atoms) // primitive
    return data.number, primitive, tuple(sorted(n // share for n in Counter(atoms.numbers.tolist()).values()))


def check_crystals(crystals: Sequence[Atoms], elements: list[str] | None) -> None:
    """:raises ValueError: if there are none, or one has an element that the potential is not for."""
    if not crystals:
        raise ValueError('there is no crystal to look at: give a structure')
    for index, atoms in enumerate(crystals):
        foreign = sorted(set(atoms.get_chemical_symbols()) - set(elements or atoms.get_chemical_symbols()))
        if foreign:
            raise ValueError(
                f'structure {index} ({atoms.get_chemical_formula()}) has {", ".join(foreign)}, but the potential is '
                f'for {", ".join(elements)}: give structures of these elements, or another potential'
            )


def equilibrate(evaluator: Evaluator, frames: Sequence[Atoms]) -> list[tuple[Atoms, Equilibrium]]:
    """Relax ions and cell of crystals, keeping their symmetry (made exact where it is so within 0.01 Å).

    A layer relaxes its cell within its plane, a wire along its axis, a molecule not at all. Both are turned so that the
    normal of the layer or the axis of the wire is z. A crystal that is a supercell is reduced to its conventional cell.

    :returns: of each the relaxed crystal (with labels, periodic; info `name`, `dimension` and, where known, `cutoff` of
        the potential in Å) and the dictionary `equilibrium`: `status`, `message` and, where ok, `a`, `b`, `c` (Å),
        `alpha`, `beta`, `gamma` (degrees) of the conventional standard cell (None of a molecule), `volume` (Å³/atom;
        None unless bulk), `energy` (eV/atom), `strain` (largest principal strain from the given to the relaxed cell)
        and `pressure` (GPa, in the given cell; None unless bulk). Where it is not, the crystal is as it was given.
    """
    starts = [prepare(atoms, evaluator.cutoff) for atoms in frames]
    with evaluator.purpose('equilibrium'):
        given = evaluator.try_evaluate(starts)
        able = [index for index, found in enumerate(given) if not isinstance(found, str)]
        relaxed = evaluator.map(try_relax, [(starts[index], free_strains(starts[index])) for index in able])
    ends: list[Atoms | str] = list(given)
    for index, found in zip(able, relaxed, strict=True):
        ends[index] = found
    return [settle(*three) for three in zip(starts, given, ends, strict=True)]


def prepare(atoms: Atoms, cutoff: float | None) -> Atoms:
    """Return a crystal in the cell and orientation in which it is relaxed, with its info; see :func:`equilibrate`."""
    vacuum = detect_vacuum(atoms)
    dimension = DIMENSIONS[vacuum.kind]
    clean = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if not atoms.pbc.all():
        clean.center(vacuum=6.0, axis=np.flatnonzero(~atoms.pbc))
        clean.pbc = True
    if dimension == 3:
        clean = without_repeats(clean)
    elif dimension:
        clean.rotate(axis_of(vacuum, clean), 'z', rotate_cell=True)
    described = describe(atoms)
    clean.info = {'name': described['name'], 'dimension': dimension} | ({'cutoff': cutoff} if cutoff else {})
    return clean


def without_repeats(atoms: Atoms) -> Atoms:
    """Return the conventional cell of a crystal that was given as a larger cell, else the crystal itself."""
    data = symmetry_of(atoms)
    if data is None or len(atoms) <= len(data.std_types):
        return atoms
    cell = data.std_lattice @ data.std_rotation_matrix  # back into the orientation that was given
    return Atoms(data.std_types, scaled_positions=data.std_positions, cell=cell, pbc=True)


def axis_of(vacuum: Vacuum, atoms: Atoms) -> np.ndarray:
    """Return the normal of a layer, or the axis of a wire."""
    return vacuum.directions[0] if vacuum.kind == 'slab' else vacuum.periodic[0] @ atoms.cell.array


def free_strains(crystal: Atoms) -> list[bool] | None:
    """Return which strains (xx, yy, zz, yz, xz, xy) a relaxation may use; None: no strain at all."""
    free = {3: [True] * 6, 2: [True, True, False, False, False, True], 1: [False, False, True, False, False, False]}
    return free.get(crystal.info['dimension'])


def try_relax(calculator: Any, atoms: Atoms, mask: list[bool] | None) -> Atoms | str:
    """Return the relaxed crystal, or why it does not relax."""
    options = {'symmetry': atoms.info['dimension'] == 3, 'mask': mask}
    try:
        relaxed = relax(calculator, atoms, mask is not None, options)
    except Exception as exception:  # whatever an engine or optimiser raises, it is about this crystal
        calculator.reset()
        return explain(exception)
    del relaxed.info['unrelaxed_energy']
    if not relaxed.info.pop('relaxed'):
        return f'it does not relax in {MAX_STEPS} steps'
    return relaxed


def settle(start: Atoms, given: Atoms | str, end: Atoms | str) -> tuple[Atoms, Equilibrium]:
    """Return a relaxed crystal and the dictionary of its equilibrium; see :func:`equilibrate`."""
    name = start.info['name']
    problem = end if isinstance(end, str) else ''
    if not problem and dimension_of(end) != start.info['dimension']:
        problem = 'it fell apart as it relaxed'
    if problem:
        if isinstance(given, str):
            return start, {'status': 'failed', 'message': f'{name} cannot be evaluated: {problem}'}
        remedy = 'the potential does not hold this crystal together, or the structure given is far from equilibrium'
        return given, {'status': 'failed', 'message': f'{name}: {problem}: {remedy}'}
    # the volume of anything but bulk, and its stress, are a matter of the vacuum
    bulk = start.info['dimension'] == 3
    strain = largest_strain(start, end)
    pressure = float(-labels(given)['stress'][:3].mean() / units.GPa) if bulk else None
    message = ''
    if strain > STRAIN:
        pressed = f' ({pressure:+.1f} GPa)' if bulk else ''
        message = f'{name} was given {100 * strain:.1f} % off its equilibrium{pressed}: all belongs to the relaxed cell'
    a, b, c, alpha, beta, gamma = standard_parameters(end)
    return end, {
        'status': 'ok',
        'message': message,
        'a': a,
        'b': b,
        'c': c,
        'alpha': alpha,
        'beta': beta,
        'gamma': gamma,
        'volume': float(end.get_volume()) / len(end) if bulk else None,
        'energy': labels(end)['energy'] / len(end),
        'strain': strain,
        'pressure': pressure,
    }


def largest_strain(start: Atoms, end: Atoms) -> float:
    """Return the largest principal strain from one cell to another, without its sign: singular values of F, minus 1."""
    stretches = np.linalg.svd(np.linalg.solve(start.cell.array, end.cell.array), compute_uv=False)
    return float(np.abs(stretches - 1).max())


def standard_parameters(crystal: Atoms) -> list[float | None]:
    """Return lengths (Å) and angles (degrees) of the conventional standard cell (spglib); its own cell unless bulk."""
    if crystal.info['dimension'] == 0:
        return [None] * 6
    data = symmetry_of(crystal) if crystal.info['dimension'] == 3 else None
    return [float(x) for x in cell_to_cellpar(crystal.cell.array if data is None else data.std_lattice)]


def unique_names(described: Sequence[Mapping[str, Any]], frames: Sequence[Atoms]) -> list[str]:
    """Return the names of crystals; those that share one have the file they are from, or a number, behind it."""
    names = [crystal['name'] for crystal in described]
    found: list[str] = []
    for name, atoms in zip(names, frames, strict=True):
        more = atoms.info.get('file') if names.count(name) > 1 else None
        candidate = f'{name} ({more})' if more else name
        number = 2
        while candidate in found:
            candidate, number = f'{name} ({number})', number + 1
        found.append(candidate)
    return found
