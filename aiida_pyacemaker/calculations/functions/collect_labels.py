"""Calcfunction that makes labelled configurations of the outputs of an oracle."""

from __future__ import annotations

import re
from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_pyacemaker.atomistics.core.plugins import ORACLES, load_plugin
from aiida_pyacemaker.atomistics.core.validation import read_section
from aiida_pyacemaker.atomistics.labelling.suspects import Limits, find_suspects, flag
from aiida_pyacemaker.data.configurations import ConfigurationsData

SPLITS = ('train', 'test')
SUSPECT = 'suspect'


@calcfunction
def collect_labels(
    configurations: ConfigurationsData, oracle: orm.Str, limits: orm.Dict | None = None, **outputs: orm.Data
) -> dict[str, ConfigurationsData]:
    """Return the configurations that were labelled, under ``train`` and ``test`` as their info ``split`` says.

    Those whose labels cannot be right, see :mod:`aiida_pyacemaker.atomistics.labelling.suspects`, are under
    ``suspect`` instead, with the reasons in their info ``flags``. Configurations without outputs are left out. The info
    ``calculation`` of each is the uuid of the calculation that labelled it, whose outputs are linked to this function,
    so that the origin of a label is in the graph as well as in the data.

    :param configurations: the configurations that went to the oracle.
    :param oracle: name of the oracle, whose plug-in reads the outputs.
    :param limits: ``max_force`` (eV/Å) and ``max_energy_deviation`` (eV/atom) as in the section ``label`` of a run
        file; what is left out has its default.
    :param outputs: ``parameters_0003`` and ``trajectory_0003``, the ``output_parameters`` and ``output_trajectory`` of
        the PwCalculation of configuration 3 (counted from 0), and so on: the names in ``outputs`` of the oracle's
        class. A job of many configurations stands under the index of its first.
    :returns: those of ``train``, ``test`` and ``suspect`` that are not empty.
    :raises ValueError: if outputs are unknown, incomplete, or belong to another structure.
    """
    frames = configurations.get_frames()
    labelled: dict[int, Atoms] = {}
    reader = load_plugin(ORACLES, oracle.value, 'oracle')
    for index, nodes in sorted(group_outputs(reader, outputs, len(frames)).items()):
        labelled |= read_job(reader, frames, index, nodes)
    indices = sorted(labelled)
    bounds = read_section(Limits, limits.get_dict() if limits else {}, 'label')
    suspects = find_suspects([labelled[index] for index in indices], bounds)
    collected: dict[str, list[Atoms]] = {}
    for number, index in enumerate(indices):
        atoms = labelled[index]
        split = atoms.info.setdefault('split', 'train')
        if split not in SPLITS:
            raise ValueError(f'Configuration {index}: the split is {split!r}, but must be one of {", ".join(SPLITS)}.')
        if number in suspects:
            split, atoms = SUSPECT, flag(atoms, suspects[number])
        collected.setdefault(split, []).append(atoms)
    return {split: ConfigurationsData(found) for split, found in collected.items()}


def group_outputs(reader: Any, outputs: dict[str, orm.Data], number: int) -> dict[int, dict[str, orm.Data]]:
    """Return the output nodes of each job by the index of its configuration.

    :param reader: the class of the oracle, an ``EngineOracle``.
    :param outputs: the outputs by name, see :func:`collect_labels`.
    :param number: the number of configurations.
    :raises ValueError: if a name is not known.
    """
    found: dict[int, dict[str, orm.Data]] = {}
    for name, node in outputs.items():
        match = re.fullmatch(r'([a-z_]+)_(\d+)', name)
        if match is None or match.group(1) not in reader.outputs or int(match.group(2)) >= number:
            known = ' and '.join(f'`{known}_0000`' for known in reader.outputs)
            raise ValueError(f'`{name}` names no output of {number} configurations: use {known}.')
        found.setdefault(int(match.group(2)), {})[match.group(1)] = node
    return found


def read_job(reader: Any, frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
    """Return what an oracle makes of the outputs of a job: the labelled configurations by their indices.

    :param reader: the class of the oracle, an ``EngineOracle``.
    :param index: the first configuration of the job.
    :raises ValueError: if outputs are missing, or are no labels.
    """
    wanted = sorted(set(reader.outputs) - reader.optional_outputs)
    if not set(wanted) <= set(nodes):
        names = ' and '.join(f'`{name}`' for name in wanted)
        raise ValueError(f'Configuration {index}: {names} are needed, got {", ".join(sorted(nodes))}.')
    return reader.read_labels(frames, index, nodes)
