"""Calcfunction that makes labelled configurations of finished DFT calculations."""

from __future__ import annotations

import re

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from aiida_pyacemaker.atomistics.configurations import set_labels
from aiida_pyacemaker.data.configurations import ConfigurationsData

SPLITS = ('train', 'test')
#: How far (Å) an atom of the DFT calculation may be from the configuration: Quantum ESPRESSO works in bohr.
POSITION_TOLERANCE = 1e-4


@calcfunction
def collect_labels(configurations: ConfigurationsData, **outputs: orm.Data) -> dict[str, ConfigurationsData]:
    """Return the configurations that were labelled, under ``train`` and ``test`` as their info ``split`` says.

    Configurations without outputs are left out. The info ``calculation`` of each is the uuid of the DFT calculation,
    whose outputs are linked to this function, so that the origin of a label is in the graph as well as in the data.

    :param configurations: the configurations that went to DFT.
    :param outputs: ``parameters_0003`` and ``trajectory_0003``, the ``output_parameters`` and ``output_trajectory`` of
        the PwCalculation of configuration 3 (counted from 0), and so on.
    :returns: those of ``train`` and ``test`` that are not empty.
    :raises ValueError: if outputs are unknown, incomplete, or belong to another structure.
    """
    frames = configurations.get_frames()
    collected: dict[str, list[Atoms]] = {}
    for index, (parameters, trajectory) in sorted(pair_outputs(outputs, len(frames)).items()):
        atoms = label_atoms(frames[index], parameters, trajectory, name=f'Configuration {index}')
        split = atoms.info.setdefault('split', 'train')
        if split not in SPLITS:
            raise ValueError(f'Configuration {index}: the split is {split!r}, but must be one of {", ".join(SPLITS)}.')
        collected.setdefault(split, []).append(atoms)
    return {split: ConfigurationsData(found) for split, found in collected.items()}


def pair_outputs(outputs: dict[str, orm.Data], number: int) -> dict[int, tuple[orm.Dict, orm.ArrayData]]:
    """Return the parameters and the trajectory of each configuration that was computed.

    :param outputs: the outputs by name, see :func:`collect_labels`.
    :param number: the number of configurations.
    :raises ValueError: if a name is not known, or one of the two is missing.
    """
    found: dict[int, dict[str, orm.Data]] = {}
    for name, node in outputs.items():
        match = re.fullmatch(r'(parameters|trajectory)_(\d+)', name)
        if match is None or int(match.group(2)) >= number:
            raise ValueError(
                f'`{name}` names no output of {number} configurations: use `parameters_0000` and `trajectory_0000`.'
            )
        found.setdefault(int(match.group(2)), {})[match.group(1)] = node
    for index, nodes in found.items():
        if len(nodes) != 2:
            raise ValueError(f'Configuration {index}: `parameters` and `trajectory` are both needed.')
    return {index: (nodes['parameters'], nodes['trajectory']) for index, nodes in found.items()}


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
