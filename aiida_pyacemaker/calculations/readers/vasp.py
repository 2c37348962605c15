"""Labels of a ``VaspCalculation`` of aiida-vasp."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from aiida_pyacemaker.atomistics.core.frame import set_labels

#: Where the inputs of a calculation say what its label depends on, see :mod:`aiida_pyacemaker.workflows.oracles.vasp`.
SETTINGS_KEY = 'pyacemaker'
#: How far (Å) an atom of the DFT calculation may be from the configuration: POSCAR holds 10 digits.
POSITION_TOLERANCE = 1e-4
#: VASP writes stresses in kbar, positive when compressed; ASE's (dE/dstrain per volume) is negative then.
KBAR = -0.1 * GPa


def read(frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
    """Return the labelled configuration of one calculation by its index.

    The energy is the free energy of the smeared electrons (``e_fr_energy``), to which the forces belong, not VASP's
    ``energy(sigma->0)``.

    :param frames: all configurations of the batch.
    :param index: the configuration that was computed.
    :param nodes: ``misc`` and ``trajectory``, the outputs of the calculation.
    :raises ValueError: if a label is missing, is not converged, or belongs to another structure.
    """
    atoms, name = frames[index], f'Configuration {index}'
    misc, trajectory = nodes['misc'].get_dict(), nodes['trajectory']
    if misc.get('run_status', {}).get('electronic_converged') is not True:
        raise ValueError(f'{name}: the electrons of the VASP calculation are not converged.')
    energy = misc.get('total_energies', {}).get('energy_free')
    if energy is None:
        raise ValueError(f'{name}: the VASP calculation has no free energy (`parser_settings.energy_type`).')
    forces = np.asarray(trajectory.get_array('forces')[-1], dtype=float)
    check_structure(atoms, trajectory, forces, name)

    labels = {'energy': float(energy), 'forces': forces}
    # The stress of something that is not periodic in all directions is a matter of the box.
    if atoms.pbc.all():
        labels['stress'] = full_3x3_to_voigt_6_stress(np.asarray(trajectory.get_array('stress')[-1])) * KBAR
    moments = get_magnetic_moments(misc, len(atoms))
    if moments is not None:
        atoms.set_array('magnetic_moments', moments, float, ())
        total = misc.get('magnetization')
        if total is not None:
            atoms.info['total_magnetization'] = float(np.ravel(total)[-1])
    creator = nodes['misc'].creator
    if creator is not None:
        atoms.info['calculation'] = creator.uuid
        settings = get_settings(creator, misc)
        if settings:
            atoms.info['settings'] = settings
    return {index: set_labels(atoms, **labels)}


def check_structure(atoms: Atoms, trajectory: orm.TrajectoryData, forces: np.ndarray, name: str) -> None:
    """Refuse the outputs of another structure; VASP puts atoms back into the cell, so images are compared.

    :raises ValueError: if the atoms are others.
    """
    symbols = list(trajectory.base.attributes.get('symbols'))
    if symbols != atoms.get_chemical_symbols():
        raise ValueError(f'{name}: the calculation is of {"".join(symbols)}, or in another order.')
    cell = np.asarray(trajectory.get_array('cells')[-1])
    if np.abs(cell - atoms.cell.array).max() > POSITION_TOLERANCE:
        raise ValueError(f'{name}: the calculation is of another cell.')
    offsets = trajectory.get_array('positions')[-1] - atoms.cell.scaled_positions(atoms.positions)
    offset = np.abs((offsets - np.round(offsets)) @ cell).max()
    if forces.shape != (len(atoms), 3) or offset > POSITION_TOLERANCE:
        raise ValueError(f'{name}: the calculation is of another structure, an atom is {offset:.3g} Å away.')


def get_magnetic_moments(misc: dict, number: int) -> np.ndarray | None:
    """Return the moments (Bohr magnetons) of collinear spins in the spheres of the atoms, None if there are none."""
    # OUTCAR calls the one component of collinear spins x.
    spheres = misc.get('site_magnetization', {}).get('sphere', {}).get('x', {}).get('site_moment') or {}
    if len(spheres) != number:
        return None
    return np.array([spheres[key]['tot'] for key in sorted(spheres, key=int)], dtype=float)


def get_settings(calculation: orm.CalcJobNode, misc: dict) -> dict:
    """Return what the label depends on: what the oracle asked for, the version of VASP and the potentials it used."""
    nominal = calculation.inputs.settings.get_dict().get(SETTINGS_KEY) if 'settings' in calculation.inputs else None
    if not nominal:
        return {}
    potentials = calculation.inputs.potential
    pseudos = {potentials[kind].element: potentials[kind].sha512[:32] for kind in potentials}
    return {'oracle': 'vasp', 'version': misc.get('version'), **nominal, 'pseudos': pseudos}
