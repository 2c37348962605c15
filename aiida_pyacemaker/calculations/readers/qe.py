"""Labels of a ``PwCalculation`` of Quantum ESPRESSO."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from aiida_pyacemaker.atomistics.configurations import set_labels

#: Outputs without which there is no label, and those that may be there.
OUTPUTS = frozenset({'parameters', 'trajectory'})
OPTIONAL = frozenset({'healing'})
#: How far (Å) an atom of the DFT calculation may be from the configuration: Quantum ESPRESSO works in bohr.
POSITION_TOLERANCE = 1e-4


def read(frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
    """Return the labelled configuration of one calculation by its index.

    :param frames: all configurations of the batch.
    :param index: the configuration that was computed.
    :param nodes: ``parameters`` and ``trajectory``, the ``output_parameters`` and ``output_trajectory``.
    :raises ValueError: if a label is missing or belongs to another structure.
    """
    name = f'Configuration {index}'
    return {index: label_atoms(frames[index], nodes['parameters'], nodes['trajectory'], name=name)}


def label_atoms(atoms: Atoms, parameters: orm.Dict, trajectory: orm.ArrayData, name: str) -> Atoms:
    """Return a configuration with the labels of a PwCalculation.

    The energy is the total free energy of the smeared electrons, to which the forces belong. The stress is reported in
    GPa with the opposite sign of ASE's.

    :param atoms: the configuration.
    :param parameters: the ``output_parameters``.
    :param trajectory: the ``output_trajectory``, of which the last step is taken.
    :param name: what to call the configuration in a message.
    :raises ValueError: if a label is missing or belongs to another structure.
    """
    arrays = trajectory.get_arraynames()
    values = parameters.get_dict()
    if values.get('energy') is None or 'forces' not in arrays:
        raise ValueError(f'{name}: the calculation has no energy or no forces (run pw.x with `tprnfor`).')
    forces = np.asarray(trajectory.get_array('forces')[-1], dtype=float)
    if forces.shape != (len(atoms), 3):
        raise ValueError(f'{name}: the calculation is of {len(forces)} atoms, the configuration has {len(atoms)}.')
    if 'positions' in arrays:
        offset = np.abs(trajectory.get_array('positions')[-1] - atoms.positions).max()
        if offset > POSITION_TOLERANCE:
            raise ValueError(f'{name}: the calculation is of another structure, an atom is {offset:.3g} Å away.')

    labels = {'energy': float(values['energy']), 'forces': forces}
    # The stress of something that is not periodic in all directions is a matter of the box.
    if 'stress' in arrays and atoms.pbc.all():
        # Quantum ESPRESSO's stress is positive when compressed, ASE's (dE/dstrain per volume) is negative.
        stress = np.asarray(trajectory.get_array('stress')[-1], dtype=float)
        labels['stress'] = -full_3x3_to_voigt_6_stress(stress) * GPa
    creator = parameters.creator
    if creator is not None:
        atoms.info['calculation'] = creator.uuid
    return set_labels(atoms, **labels)
