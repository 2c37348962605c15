"""What adsorbs on what, and how molecules are turned on a surface."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from ....core.errors import InputError
from ....crystals.molecules import check_molecule, get_molecule
from ....crystals.slabs import (
    Crystal,
    bulk_of,
)
from .section import Adsorption

#: Which atom binds to the surface, most often first.
BINDING_ORDER = ('C', 'N', 'P', 'S', 'Se', 'O', 'I', 'Br', 'Cl', 'F', 'H')
#: What adsorbs where only elements are named.
DEFAULT_ADSORBATES = {
    'CO': 'CO',
    'HO': 'H2O',
    'H': 'H2',
    'O': 'O2',
    'N': 'N2',
    'CH': 'CH4',
    'HN': 'NH3',
    'NO': 'NO',
    'CHO': 'CH3OH',
}
#: Metals whose surfaces, not those of their oxides, are meant beside C, N, O or H.
NOBLE = frozenset('Ru Rh Pd Ag Re Os Ir Pt Au Cu Ni'.split())


def materials(elements: list[str], parameters: Adsorption) -> tuple[Crystal, list[Atoms]]:
    """Return the crystal and the molecules.

    :raises ValueError: if they are unknown, or are not named and cannot be guessed.
    """
    key = 'molecules'
    molecules = None if parameters.molecules is None else [molecule_of(n, elements, key) for n in parameters.molecules]
    if parameters.slab is not None:
        crystal = bulk_of(parameters.slab, elements, 'slab')
    else:
        held = {symbol for molecule in molecules or [] for symbol in molecule.symbols}
        if molecules:
            rest = [element for element in elements if element not in held]
        else:
            rest = [element for element in elements if element in NOBLE]
        if len(rest) != 1:
            raise InputError(
                'slab',
                f'which crystal of {", ".join(elements)} has the surface is not clear',
                'name it by a formula (such as Pt or MgO) or a file',
            )
        crystal = bulk_of(rest[0], elements, 'slab')
    if molecules is None:
        molecules = [molecule_of(_usual_molecule(elements, crystal), elements, key)]
    if not molecules and parameters.solvent is None:
        raise InputError(key, 'the list is empty', 'name at least one molecule, or a solvent')
    return crystal, molecules


def molecule_of(name: str, elements: list[str], key: str) -> Atoms:
    """Return a molecule whose elements are all in the run file.

    :raises ValueError: if it is unknown, naming the nearest, or holds other elements.
    """
    try:
        molecule = get_molecule(name)
    except ValueError as exception:
        raise InputError(key, str(exception)) from exception
    check_molecule(molecule, elements, key)
    return molecule


def _usual_molecule(elements: list[str], crystal: Crystal) -> str:
    own = set(crystal.conventional.get_chemical_symbols())
    rest = sorted(set(elements) - own)
    # on an oxide, hydrogen stands for water: its oxygen is named already
    for names in (rest, sorted({*rest, *(own & {'O'})})):
        found = DEFAULT_ADSORBATES.get(''.join(names))
        if found is not None and rest and (names != ['H'] or 'O' not in own):
            return found
    raise InputError(
        'molecules',
        f'what adsorbs on {crystal.label} is not clear from {", ".join(elements)}',
        'name molecules, such as [CO]',
    )


def solvent_of(elements: list[str], parameters: Adsorption) -> Atoms | None:
    if parameters.solvent is None:
        return None
    return molecule_of(parameters.solvent, elements, 'solvent')


def check_orientations(molecules: list[Atoms], parameters: Adsorption) -> None:
    known = list(dict.fromkeys(name for molecule in molecules for name in orientations(molecule)))
    for name in parameters.orientations or []:
        if molecules and name not in known:
            labels = ', '.join(molecule.info['name'] for molecule in molecules)
            raise InputError('orientations', f'{labels} has no orientation {name!r}', f'it has {", ".join(known)}')


def orientations(molecule: Atoms) -> list[str]:
    """Return the orientations that a molecule can have: `X-down` for elements at its ends, `lying`, `random`."""
    if len(molecule) == 1:
        return [f'{molecule.symbols[0]}-down']
    symbols = sorted(set(molecule.symbols), key=lambda s: (BINDING_ORDER.index(s) if s in BINDING_ORDER else -1, s))
    down = [f'{symbol}-down' for symbol in symbols if _anchor(molecule, symbol) is not None]
    return [*down, 'lying', 'random']


def oriented(molecule: Atoms, orientation: str, rng: np.random.Generator) -> Atoms:
    """Return the molecule turned, what binds at the origin: the lowest atom of `X-down`, else the centre.

    The azimuth is random.
    """
    atoms = molecule.copy()
    positions = atoms.positions - atoms.positions.mean(axis=0)
    turn = rng.random() * 2 * np.pi
    if orientation == 'random':
        positions = positions @ Rotation.from_quat(rng.normal(size=4)).as_matrix().T
    elif orientation == 'lying':
        # the direction in which the molecule is thinnest is upright
        positions = positions @ np.linalg.svd(positions, full_matrices=True)[2].T
    elif len(atoms) > 1:
        anchor = _anchor(molecule, orientation.removesuffix('-down'))
        rest = np.delete(positions, anchor, axis=0).mean(axis=0)
        positions = (positions - positions[anchor]) @ _upright(rest - positions[anchor]).T
    atoms.positions = positions @ Rotation.from_rotvec([0, 0, turn]).as_matrix().T
    return atoms


def _anchor(molecule: Atoms, symbol: str) -> int | None:
    """Return the atom of an element that is farthest from the centre; None if all are in the middle."""
    centre = molecule.positions.mean(axis=0)
    distances = np.linalg.norm(molecule.positions - centre, axis=1)
    mine = [index for index, other in enumerate(molecule.symbols) if other == symbol]
    best = max(mine, key=lambda index: (round(float(distances[index]), 3), -index))
    # the others must lie to one side of it, as they do not of the carbon of CO2 or CH4
    rest = np.delete(molecule.positions, best, axis=0).mean(axis=0)
    return best if np.linalg.norm(rest - molecule.positions[best]) > 0.3 else None


def _upright(vector: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) that turns a vector into z."""
    unit = vector / np.linalg.norm(vector)
    axis = np.cross(unit, [0.0, 0.0, 1.0])
    sine, cosine = np.linalg.norm(axis), unit[2]
    if sine < 1e-9:
        return np.diag([1.0, -1.0, -1.0]) if cosine < 0 else np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()
