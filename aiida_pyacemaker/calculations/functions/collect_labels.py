"""Calcfunction that makes labelled configurations of the outputs of an oracle."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from types import ModuleType

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_pyacemaker.atomistics.labelling.suspects import find_suspects, flag
from aiida_pyacemaker.calculations import readers
from aiida_pyacemaker.data.configurations import ConfigurationsData

SPLITS = ('train', 'test')
SUSPECT = 'suspect'
#: The modules of :mod:`aiida_pyacemaker.calculations.readers`, one per oracle.
READERS: tuple[ModuleType, ...] = tuple(
    import_module(f'{readers.__name__}.{module.name}') for module in pkgutil.iter_modules(readers.__path__)
)


@calcfunction
def collect_labels(
    configurations: ConfigurationsData, limits: orm.Dict | None = None, **outputs: orm.Data
) -> dict[str, ConfigurationsData]:
    """Return the configurations that were labelled, under ``train`` and ``test`` as their info ``split`` says.

    Those whose labels cannot be right, see :mod:`aiida_pyacemaker.atomistics.labelling.suspects`, are under
    ``suspect`` instead, with the reasons in their info ``flags``. Configurations without outputs are left out. The info
    ``calculation`` of each is the uuid of the calculation that labelled it, whose outputs are linked to this function,
    so that the origin of a label is in the graph as well as in the data.

    :param configurations: the configurations that went to the oracle.
    :param limits: ``max_force`` (eV/Å) and ``max_energy_deviation`` (eV/atom) as in the section ``label`` of a run
        file; what is left out has its default, other keys are ignored.
    :param outputs: ``parameters_0003`` and ``trajectory_0003``, the ``output_parameters`` and ``output_trajectory`` of
        the PwCalculation of configuration 3 (counted from 0), and so on; see
        :mod:`aiida_pyacemaker.calculations.readers` for the names of other oracles. A job of many configurations
        stands under the index of its first.
    :returns: those of ``train``, ``test`` and ``suspect`` that are not empty.
    :raises ValueError: if outputs are unknown, incomplete, or belong to another structure.
    """
    frames = configurations.get_frames()
    labelled: dict[int, Atoms] = {}
    for index, nodes in sorted(group_outputs(outputs, len(frames)).items()):
        labelled |= find_reader(index, nodes).read(frames, index, nodes)
    indices = sorted(labelled)
    suspects = find_suspects([labelled[index] for index in indices], limits.get_dict() if limits else None)
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


def group_outputs(outputs: dict[str, orm.Data], number: int) -> dict[int, dict[str, orm.Data]]:
    """Return the output nodes of each job by the index of its configuration.

    :param outputs: the outputs by name, see :func:`collect_labels`.
    :param number: the number of configurations.
    :raises ValueError: if a name is not known.
    """
    known = sorted(frozenset().union(*(reader.OUTPUTS | reader.OPTIONAL for reader in READERS)))
    found: dict[int, dict[str, orm.Data]] = {}
    for name, node in outputs.items():
        match = re.fullmatch(r'([a-z_]+)_(\d+)', name)
        if match is None or match.group(1) not in known or int(match.group(2)) >= number:
            raise ValueError(
                f'`{name}` names no output of {number} configurations: use `parameters_0000` and `trajectory_0000`.'
            )
        found.setdefault(int(match.group(2)), {})[match.group(1)] = node
    return found


def find_reader(index: int, nodes: dict[str, orm.Data]) -> ModuleType:
    """Return the reader of the outputs of a job.

    :raises ValueError: if some of them are missing.
    """
    for reader in READERS:
        if reader.OUTPUTS <= set(nodes) <= reader.OUTPUTS | reader.OPTIONAL:
            return reader
    wanted = ' or '.join(' and '.join(f'`{name}`' for name in sorted(reader.OUTPUTS)) for reader in READERS)
    raise ValueError(f'Configuration {index}: {wanted} are needed, got {", ".join(sorted(nodes))}.')
