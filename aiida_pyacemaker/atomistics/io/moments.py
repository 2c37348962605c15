"""Magnetic moments of the user's own structures: where files carry them, and magnetic CIF files.

Moments are collinear, in Bohr magnetons, in the array `magnetic_moments`: what a spin-polarised label starts from.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.moments import MOMENTS, NEGLIGIBLE
from ..core.errors import InputError
from ..core.parameters import require

#: Names under which files carry moments, the results of calculations before what calculations started from.
NAMES = (MOMENTS, 'magmoms', 'magmom', 'REF_magmoms', 'DFT_magmoms', 'dft_magmom', 'initial_magmoms')
#: Bohr magnetons; no atom of a solid has more (Dy and Ho, with the orbital part: 10.6).
LARGEST = 12.0
#: Part of a moment that may point away from the common axis: a weak canting, which a collinear calculation leaves out.
CANTING = 0.1
#: What tells a magnetic CIF file from another.
MAGNETIC_TAGS = ('_atom_site_moment', '_space_group_symop_magn', '_space_group_magn')


def find_moments(atoms: Atoms, key: str, name: str) -> np.ndarray | None:
    """Return the collinear moments (n,) that a structure of a file carries, wherever they are; None if there are none.

    :param key: under which it was given, for the messages.
    :param name: which structure it is, for the messages.
    :raises InputError: if they are not finite numbers, not collinear, or too large for moments in Bohr magnetons.
    """
    results = getattr(atoms.calc, 'results', {})
    held = next((holder[known] for known in NAMES for holder in (atoms.arrays, results) if known in holder), None)
    if held is None:
        return None
    found = np.asarray(held, dtype=float)
    if found.shape not in ((len(atoms),), (len(atoms), 3)):
        raise InputError(key, f'{name} has moments of the shape {found.shape} for {len(atoms)} atoms', 'give one each')
    return check_moments(found, key, name)


def check_moments(moments: np.ndarray, key: str, name: str) -> np.ndarray | None:
    """Return moments (n,) of vectors (n, 3) or numbers (n,), None where all vanish; see :func:`find_moments`."""
    if not np.isfinite(moments).all():
        raise InputError(key, f'{name} has magnetic moments that are not finite numbers', 'correct or remove them')
    sizes = np.abs(moments) if moments.ndim == 1 else np.linalg.norm(moments, axis=1)
    if sizes.max(initial=0.0) < NEGLIGIBLE:
        return None
    largest = int(sizes.argmax())
    if sizes[largest] > LARGEST:
        raise InputError(
            key,
            f'{name} has a magnetic moment of {sizes[largest]:g} on atom {largest}: no atom has more than {LARGEST:g} '
            'Bohr magnetons',
            'give moments in Bohr magnetons',
        )
    if moments.ndim == 1:
        return moments
    # the axis to which they are closest together, its first component that is not zero pointing up
    axis = np.linalg.svd(moments, full_matrices=False)[2][0]
    axis = axis * np.sign(axis[np.flatnonzero(np.abs(axis) > 1e-3)[0]])
    along = moments @ axis
    across = np.linalg.norm(moments - along[:, None] * axis, axis=1)
    if (across > np.maximum(CANTING * sizes, NEGLIGIBLE)).any():
        raise InputError(
            key,
            f'{name} has magnetic moments that are not collinear; the labels are made with collinear spins',
            'give collinear ones (the array initial_magmoms of extxyz), or remove them',
        )
    return along


def moments_of_kinds(names: list[str], given: dict[str, float], key: str, name: str) -> np.ndarray | None:
    """Return the moments (n,) that were given for kinds of atoms; None where none of the kinds has one.

    :param names: the kind of each atom (`Mn1`, `Mn2`).
    :param given: Bohr magnetons by kind; kinds that are not named have none.
    """
    if given.keys().isdisjoint(names):
        return None
    return check_moments(np.array([float(given.get(kind, 0.0)) for kind in names]), key, name)


def is_magnetic_cif(path: Path) -> bool:
    """Return whether a file is a magnetic CIF."""
    if path.suffix.lower() not in ('.cif', '.mcif'):
        return False
    text = path.read_text(errors='replace')
    return path.suffix.lower() == '.mcif' or any(tag in text for tag in MAGNETIC_TAGS)


def read_magnetic_cif(path: Path, key: str) -> list[Atoms]:
    """Read the structures of a magnetic CIF: the magnetic cell, moments and all (pymatgen).

    ASE knows nothing of magnetic symmetry: it returns the sites of the file without their images, and no moments.

    :raises InputError: if it cannot be read, or has moments for atoms that are not there.
    """
    parser_class = require('pymatgen.io.cif', f'the magnetic CIF {path.name}').CifParser
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            parser = parser_class(path)
            blocks = list(parser._cif.data.values())
            structures = parser.parse_structures(primitive=False, on_error='raise')
        except Exception as exception:  # pymatgen's reader raises anything
            raise InputError(key, f'structure file {path} cannot be read: {exception!r}') from exception
    for block in blocks:
        sites = set(block.data.get('_atom_site_label', ()))
        strange = [label for label in _moment_labels(block.data) if label not in sites]
        if strange:
            raise InputError(
                key,
                f'structure file {path} has moments for atoms that are not there: {", ".join(strange)}',
                'name them as in _atom_site_label',
            )
    name = f'structure file {path}, structure'
    return [_convert(structure, key, f'{name} {index},') for index, structure in enumerate(structures)]


def _moment_labels(data: dict) -> list[str]:
    """Labels of the sites with moments, by either name that the tag has."""
    return list(data.get('_atom_site_moment.label') or data.get('_atom_site_moment_label') or [])


def _convert(structure: Any, key: str, name: str) -> Atoms:
    """Return a pymatgen structure as a frame with the array `magnetic_moments`.

    :raises InputError: if sites are partially occupied, or the moments of no use.
    """
    if not structure.is_ordered:
        raise InputError(key, f'{name} has a site with partial occupancy', 'give ordered structures')
    symbols = [site.specie.symbol for site in structure]
    atoms = Atoms(symbols, structure.cart_coords, cell=structure.lattice.matrix, pbc=True)
    vectors = [np.atleast_1d(moment.global_moment) for moment in structure.site_properties.get('magmom', [])]
    if vectors:
        moments = check_moments(np.array(vectors), key, name)
        if moments is not None:
            atoms.set_array(MOMENTS, moments)
    return atoms


def check_formula(atoms: list[Atoms], path: Path, key: str) -> None:
    """:raises InputError: if what was read of a CIF file is not what its own formula says: atoms are missing.

    A file of several structures is not checked, nor one whose formula is left open (`?`).
    """
    from ase.formula import Formula
    from ase.io.cif import parse_cif

    from ..checks.fingerprint import reduced_counts

    with path.open('rb') as file:
        blocks = [block for block in parse_cif(file) if any(tag.startswith('_atom_site_') for tag in block)]
    told = str(blocks[0].get('_chemical_formula_sum') or '?') if len(blocks) == len(atoms) == 1 else '?'
    try:
        counts = Formula(re.sub(r'\bD(?=[\d\s]|$)', 'H', told).replace(' ', '')).count()
    except ValueError:  # no formula that can be compared: `?`, fractions, words
        return
    expected = Atoms(''.join(f'{symbol}{count}' for symbol, count in counts.items())).numbers
    if len(expected) and reduced_counts(expected) != reduced_counts(atoms[0].numbers):
        raise InputError(
            key,
            f'structure file {path} says {told.strip()}, but its sites and its symmetry give '
            f'{atoms[0].get_chemical_formula(empirical=True)}: atoms are missing',
            'correct its symmetry operations, or write the whole cell to extxyz',
        )
