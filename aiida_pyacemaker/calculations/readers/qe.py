"""Labels of a ``PwCalculation`` of Quantum ESPRESSO."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from aiida_pyacemaker.atomistics.core.frame import set_labels

#: Extra of the input parameters of the work chain: what was asked for and cannot be seen in them (a mesh says little
#: about the distance it was made from, a cell without spins little about whether others would have them).
ASKED = 'asked'
#: What of the input of pw.x the energies depend on.
SYSTEM_SETTINGS = ('ecutwfc', 'ecutrho', 'smearing', 'degauss')
#: What is told of the spins of the whole cell, in Bohr magnetons.
MAGNETIZATIONS = ('total_magnetization', 'absolute_magnetization')
#: How far (Å) an atom of the DFT calculation may be from the configuration: Quantum ESPRESSO works in bohr.
POSITION_TOLERANCE = 1e-4


def read(frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
    """Return the labelled configuration of one calculation by its index.

    :param frames: all configurations of the batch.
    :param index: the configuration that was computed.
    :param nodes: ``parameters`` and ``trajectory``, the ``output_parameters`` and ``output_trajectory``; ``healing``
        where there was something to heal, with the ``flags`` and the ``weight`` of the label.
    :raises ValueError: if a label is missing or belongs to another structure.
    """
    atoms, parameters = frames[index], nodes['parameters']
    label_atoms(atoms, parameters, nodes['trajectory'], name=f'Configuration {index}')
    if parameters.creator is not None:
        atoms.info['calculation'] = parameters.creator.uuid
        atoms.info['settings'] = get_settings(parameters)
    if 'healing' in nodes:
        healing = nodes['healing'].get_dict()
        if healing.get('flags'):
            atoms.info['flags'] = [*atoms.info.get('flags', []), *healing['flags']]
        if healing.get('weight', 1.0) != 1.0:
            atoms.info['weight'] = atoms.info.get('weight', 1.0) * healing['weight']
    return {index: atoms}


def label_atoms(atoms: Atoms, parameters: orm.Dict, trajectory: orm.ArrayData, name: str) -> Atoms:
    """Attach the labels of a PwCalculation to a configuration (in place) and return it.

    The energy is the total free energy of the smeared electrons, to which the forces belong. The stress is reported in
    GPa with the opposite sign of ASE's. Of spin-polarised calculations the moments of the atoms and the total and
    absolute magnetisation of the cell are kept, too.

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
    if 'atomic_magnetic_moments' in arrays:
        moments = np.asarray(trajectory.get_array('atomic_magnetic_moments')[-1], dtype=float)
        atoms.set_array('magnetic_moments', moments, float, ())
    if values.get('lsda'):
        # without spins the parser says zero
        atoms.info.update({key: float(values[key]) for key in MAGNETIZATIONS if values.get(key) is not None})
    return set_labels(atoms, **labels)


def get_settings(parameters: orm.Dict) -> dict[str, Any]:
    """Return what a label can be compared by, see :mod:`aiida_pyacemaker.atomistics.labelling.settings`.

    The values are the nominal ones, those of the work chain: what its healing changed is in the flags of the label.

    :param parameters: the ``output_parameters`` of a PwCalculation.
    """
    calculation, told = parameters.creator, parameters.get_dict()
    inputs = calculation.inputs
    nominal = inputs.parameters
    if calculation.caller is not None and 'pw' in calculation.caller.inputs:
        nominal = calculation.caller.inputs.pw.parameters
    system = nominal.get_dict().get('SYSTEM', {})
    pseudos = {inputs.structure.get_kind(name).symbol: pseudo.md5 for name, pseudo in inputs.pseudos.items()}
    settings = {
        'oracle': 'qe',
        'version': told.get('creator_version'),
        'xc': system.get('input_dft') or told.get('dft_exchange_correlation'),
        **{key: system.get(key) for key in SYSTEM_SETTINGS},
        **nominal.base.extras.get(ASKED, {}),
        'pseudos': dict(sorted(pseudos.items())),
    }
    return {key: value for key, value in settings.items() if value is not None}
