"""What an oracle has to tell the WorkChain that labels, whatever its engine is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from ase import Atoms

ENTRY_POINT_GROUP = 'pyacemaker.oracles'


class Oracle(ABC):
    """An engine that labels: how its jobs are built, and which of their outputs hold the labels.

    Everything a run file says under ``label`` is in ``parameters``; the oracle reads the keys it knows.

    :param parameters: the section ``label`` of a resolved run file.
    :raises ValueError: naming the key ``label...`` that is missing or wrong, and the remedy.
    """

    #: The key of the run file's section ``codes`` that names its code.
    CODE: str
    #: The module of :mod:`aiida_pyacemaker.calculations.readers` that reads its outputs.
    READER: str

    def __init__(self, parameters: dict[str, Any]):
        self.parameters = parameters

    def complete(self, elements: list[str]) -> dict[str, Any]:
        """Return the parameters with what is left open and holds for a whole system, such as cutoffs.

        With cutoffs of its own elements for each batch, labels of an alloy and its components could not be compared.

        :param elements: all elements of the system.
        :raises ValueError: naming the key and the remedy.
        """
        return self.parameters

    def get_jobs(self, frames: list[Atoms]) -> list[list[int]]:
        """Return the indices of the configurations of each job: one each, unless the engine takes many at once."""
        return [[index] for index in range(len(frames))]

    @abstractmethod
    def get_builder(
        self,
        code: orm.AbstractCode,
        configurations: orm.Data,
        indices: list[int],
        structure: orm.StructureData | None,
        options: dict[str, Any],
    ) -> ProcessBuilder:
        """Return the builder of one job.

        :param code: the code of the engine.
        :param configurations: all configurations of the batch, :class:`~aiida_pyacemaker.data.ConfigurationsData`.
        :param indices: those that the job labels.
        :param structure: the only one of them as a node, where the job labels one and ``NEEDS_STRUCTURE`` is true.
        :param options: overrides of ``metadata.options``.
        """

    #: Whether a job works on a ``StructureData`` of its own.
    NEEDS_STRUCTURE = True

    @abstractmethod
    def get_labels(self, child: orm.ProcessNode) -> dict[str, orm.Data]:
        """Return the output nodes of a finished job that its reader needs, by the names that the reader knows."""

    def get_failures(self, child: orm.ProcessNode) -> list[dict[str, Any]]:
        """Return the configurations that a job which finished well did not label: ``index`` and ``message`` of each."""
        return []

    @abstractmethod
    def get_cost(self, child: orm.ProcessNode) -> dict[str, float]:
        """Return what a job has cost, in whatever state it ended: ``core_hours``, and what else the engine tells.

        Keys are ``core_hours``, ``wall_seconds``, ``electrons``, ``disk_bytes``; those that are not known are left out.
        What came from the cache has cost nothing.
        """


def load_oracle(parameters: dict[str, Any]) -> Oracle:
    """Return the oracle that the section ``label`` names.

    :param parameters: the section ``label`` of a resolved run file; ``oracle`` is the name of the entry point.
    :raises ValueError: naming the key and the oracles that there are.
    """
    name = parameters.get('oracle', 'qe')
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in known:
        raise ValueError(f'`label.oracle`: there is no oracle {name!r}; known are {", ".join(sorted(known))}')
    return known[name].load()(parameters)
