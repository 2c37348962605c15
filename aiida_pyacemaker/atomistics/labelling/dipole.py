"""The electrostatics of cells with vacuum: dipole correction of slabs, isolated molecules.

A slab whose two faces differ has a dipole along its normal. The periodic images of it make a field in the vacuum, which
falls off only as the inverse of the thickness. The dipole correction (Bengtsson, Phys. Rev. B 59, 12301 (1999)) puts a
counter-field of a sawtooth shape, the jump of which lies in the vacuum.

pw.x gives no stress with either correction: such labels have energy and forces only. What the correction changes,
measured on three layers of Al(111) with one O per cell on one side (pw.x 6.7, 19 Ry): the energy of the cell by 5.5,
3.4 and 2.5 meV and a force by 0.08, 0.04 and 0.03 eV/Å in cells 14, 18 and 24 Å high; it falls off as the inverse of
the height, as it should, and the calculation takes 2.5 to 4 times as long.
"""

from __future__ import annotations

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import complete_cell

from aiida_pyacemaker.atomistics.checks.supercell import perpendicular_widths
from aiida_pyacemaker.atomistics.checks.vacuum import Vacuum, detect_vacuum

from ..core.symmetry import call_spglib

#: Å; a slab whose atoms are farther than this from their mirror images is not symmetric.
SYMMETRY_TOLERANCE = 0.01
#: Å from the outermost nuclei within which there may be electrons, where neither the jump nor an image may be.
DENSITY_TAIL = 3.0
#: Å; thickness of the layer in which the sawtooth jumps.
JUMP_WIDTH = 1.5
#: Å; the thinnest such layer that the grid of the density resolves.
MIN_JUMP_WIDTH = 0.8


def isolation_parameters(atoms: Atoms, dipole_correction: bool = True) -> dict[str, dict[str, str | float | bool]]:
    """Return what `pw.x` needs for the electrostatics of a frame with vacuum, by namelist; empty for bulk.

    - A slab whose faces differ gets the dipole correction if its vacuum is thick enough to hold the jump.
    - A molecule gets the correction of Martyna and Tuckerman (J. Chem. Phys. 110, 2810 (1999)), which is exact where
      the cell is at least twice as wide as the density, and nothing where the cell is smaller.
    - A free atom is neutral and round: it needs neither.
    """
    if not dipole_correction or not atoms.pbc.any() or len(atoms) == 1:
        return {}
    vacuum = detect_vacuum(atoms)
    if vacuum.kind == 'cluster' and is_wide(atoms):
        return {'SYSTEM': {'assume_isolated': 'mt'}}
    axis = slab_axis(atoms, vacuum)
    jump = None if axis is None else sawtooth(atoms, axis)
    if jump is None or is_symmetric(atoms, axis):
        return {}
    fields = {'edir': axis + 1, 'emaxpos': jump[0], 'eopreg': jump[1], 'eamp': 0.0}
    return {'CONTROL': {'tefield': True, 'dipfield': True}, 'SYSTEM': fields}


def slab_axis(atoms: Atoms, vacuum: Vacuum | None = None) -> int | None:
    """Return the cell axis along which the vacuum of a slab lies; `None` for no slab, or one across the axes.

    Corrections are constant in the planes of the other two cell vectors, so that they have to lie in the slab.

    :param vacuum: that of the frame where it is known already.
    """
    vacuum = detect_vacuum(atoms) if vacuum is None else vacuum
    return int(vacuum.axes[0]) if vacuum.kind == 'slab' and len(vacuum.axes) == 1 else None


def is_symmetric(atoms: Atoms, axis: int, tolerance: float = SYMMETRY_TOLERANCE) -> bool:
    """Return whether a slab has an operation that turns it upside down: inversion, mirror, glide or a twofold axis.

    :param axis: the cell axis along which the vacuum lies.
    """
    cell = (complete_cell(atoms.cell.array), atoms.get_scaled_positions(), atoms.numbers)
    symmetry = call_spglib(spglib.get_symmetry, cell, symprec=tolerance)
    if symmetry is None:
        return False
    # Heights along the normal are the scaled coordinate of the axis: its row of the rotation turns it over.
    upside_down = -np.eye(3, dtype=int)[axis]
    return bool((symmetry['rotations'][:, axis, :] == upside_down).all(axis=1).any())


def sawtooth(atoms: Atoms, axis: int) -> tuple[float, float] | None:
    """Return `emaxpos` and `eopreg` of the jump, in units of the cell along an axis, in the middle of the vacuum.

    :returns: `None` where the vacuum is too thin for the jump to keep clear of the electrons.
    """
    height = float(perpendicular_widths(complete_cell(atoms.cell.array))[axis])
    scaled = np.sort(atoms.get_scaled_positions()[:, axis] % 1.0)
    gaps = np.diff(np.append(scaled, scaled[0] + 1))
    widest = int(gaps.argmax())
    room = gaps[widest] * height - 2 * DENSITY_TAIL
    if room < MIN_JUMP_WIDTH:
        return None
    width = min(JUMP_WIDTH, room) / height
    middle = scaled[widest] + gaps[widest] / 2
    # pw.x: the potential rises up to `emaxpos` and falls within the following `eopreg`
    return round(float((middle - width / 2) % 1.0), 6), round(float(width), 6)


def is_wide(atoms: Atoms) -> bool:
    """Return whether a cell is at least twice as wide, along each axis, as the density of a molecule in it."""
    cell = complete_cell(atoms.cell.array)
    widths = perpendicular_widths(cell)
    scaled = atoms.get_scaled_positions() % 1.0
    for axis in range(3):
        ordered = np.sort(scaled[:, axis])
        extent = 1 - np.diff(np.append(ordered, ordered[0] + 1)).max()
        if widths[axis] < 2 * (extent * widths[axis] + 2 * DENSITY_TAIL):
            return False
    return True
