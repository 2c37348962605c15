"""What an oracle has to tell the run file and the WorkChains that label, whatever its engine is.

The modules of oracles are imported whenever a run file is read, also where nothing of AiiDA is needed: they import
AiiDA and engines inside their methods only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from ase import Atoms

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plugins import ORACLES, CodePort, load_plugin
from aiida_pyacemaker.atomistics.labelling.convergence import UNMEASURED

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_pyacemaker.atomistics.core.cost import CostModel
    from aiida_pyacemaker.runfile.sections import Label


class JobFailure(TypedDict):
    """A configuration that a job did not label, by its index, and why."""

    index: int
    message: str


class JobCost(TypedDict, total=False):
    """What a job has cost; what is not known is left out."""

    core_hours: float
    wall_seconds: float
    electrons: float
    atoms: int
    disk_bytes: float


class Oracle(ABC):
    """Who labels: the keys of the run file that it has, the codes that it runs, the WorkChain that labels a batch.

    The class answers what a run file asks, whether or not its engine is there; an instance builds what runs.

    :param label: the section ``label`` of a run file.
    :raises InputError: naming the key ``label...`` that cannot be used here, and the remedy.
    """

    #: The keys that it has beside those of all oracles: the section ``label.<name of the entry point>``. It may be left
    #: out of a run file; where keys without a default are in it, it is needed if the oracle labels.
    Parameters: ClassVar[type[Section] | None] = None
    #: The name of that section, where it has another one.
    section_name: ClassVar[str] = ''
    #: The codes that it runs, by their keys of the section ``codes``.
    codes: ClassVar[dict[str, CodePort]] = {}
    #: What to cite, in one line; empty for nothing.
    citation: ClassVar[str] = ''
    #: Process types of the calculations whose outputs are labels: what a lineage ends with.
    process_types: ClassVar[tuple[str, ...]] = ()
    #: Whether its labels have different settings and may stand in one data set all the same.
    mixes_settings: ClassVar[bool] = False

    #: The keys of the section that can be chosen by measurement, see :mod:`~aiida_pyacemaker.workflows.converge`.
    tunable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, label: Label):
        #: The section as it was given, and with the settings that hold where nothing is measured.
        self.given = label
        unset = {key: value for key, value in UNMEASURED.items() if getattr(label, key) is None}
        self.label = label.model_copy(update=unset)

    @property
    def is_measured(self) -> bool:
        """Whether the noise of its labels is measured at the start of a run."""
        return bool(self.get_tunable()) and self.given.noise is not None

    def get_tunable(self) -> tuple[str, ...]:
        """Return the keys that can be chosen by measurement; none where there is nothing to tighten."""
        return self.tunable

    def prepare(self, elements: list[str]) -> Label:
        """Return the section as :meth:`complete` does, without what is to be measured at the start of the run."""
        complete = self.complete(elements)
        if not self.is_measured:
            return complete
        return complete.model_copy(update={key: getattr(self.given, key) for key in self.get_tunable()})

    def get_hints(self, elements: list[str]) -> dict[str, float]:
        """Return where a measurement starts: `ecutwfc`, `ecutrho` and `high`, the cutoff of a reference at least (Ry).

        :raises InputError: if nothing is recommended.
        """
        raise NotImplementedError(f'{self.label.oracle} has no settings that can be measured')

    @classmethod
    def get_engines(cls, label: Label) -> tuple[str, ...]:
        """Return the names of the oracles that label in the end: itself, unless it combines others."""
        return (label.oracle,)

    @classmethod
    def get_model_files(cls, label: Label) -> list[Path]:
        """Return the files beside the run file that decide what its labels are."""
        return []

    def complete(self, elements: list[str]) -> Label:
        """Return the section with what is left open and holds for a whole system, such as cutoffs.

        With cutoffs of its own elements for each batch, labels of an alloy and its components could not be compared.

        :param elements: all elements of the system.
        :raises ValueError: naming the key and the remedy.
        """
        return self.label

    def check(self, elements: list[str]) -> None:
        """Check, before anything is submitted, that what it needs is there: files, potentials, libraries.

        :param elements: all elements of the system.
        :raises ValueError: naming the key and the remedy.
        """
        self.complete(elements)

    def get_reference(self) -> dict[str, Any]:
        """Return the section ``label`` of the oracle whose labels are believed, which references are computed with."""
        return self.label.model_dump()

    def get_cost_model(self, elements: list[str]) -> CostModel | None:
        """Return what a label is expected to cost, None if that is nothing worth counting.

        :param elements: all elements of the system.
        :raises ValueError: naming the key and the remedy.
        """
        return None

    @abstractmethod
    def get_batch_builder(
        self,
        codes: Mapping[str, orm.AbstractCode],
        configurations: orm.Data,
        options: Mapping[str, dict[str, Any]] | None = None,
    ) -> ProcessBuilder:
        """Return the builder of the WorkChain that labels a batch; its outputs are those of ``LabelWorkChain``.

        :param codes: all codes of the run by their keys.
        :param configurations: :class:`~aiida_pyacemaker.data.ConfigurationsData`.
        :param options: overrides of ``metadata.options`` by the key of the code.
        """


class EngineOracle(Oracle):
    """An oracle with an engine: ``LabelWorkChain`` runs its jobs, each of which labels one configuration or many."""

    #: Outputs of a job that hold its labels: the name that :meth:`read_labels` knows it by -> its name in the job.
    outputs: ClassVar[dict[str, str]]
    #: Those of them, by their first names, that may be missing.
    optional_outputs: ClassVar[frozenset[str]] = frozenset()
    #: Whether a job works on a ``StructureData`` of its own.
    needs_structure: ClassVar[bool] = True

    @property
    def code(self) -> str:
        """The key of its code."""
        (key,) = self.codes
        return key

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
        :param structure: the only one of them as a node, where the job labels one and ``needs_structure`` is true.
        :param options: overrides of ``metadata.options``.
        """

    @staticmethod
    @abstractmethod
    def read_labels(frames: list[Atoms], index: int, nodes: dict[str, orm.Data]) -> dict[int, Atoms]:
        """Return the labelled configurations of one job by their indices: energy (eV), forces (eV/Å), stress (eV/Å³).

        It is called inside a calcfunction: it reads the nodes and nothing else. In the info ``settings`` of a
        configuration is what its label depends on, see :mod:`aiida_pyacemaker.atomistics.labelling.settings`.

        :param frames: all configurations of the batch, to be changed in place.
        :param index: the first configuration of the job.
        :param nodes: the outputs of the job, by the names in ``outputs``; those that are not optional are there.
        :raises ValueError: if a label is missing, or belongs to another structure.
        """

    def get_labels(self, child: orm.ProcessNode) -> dict[str, orm.Data]:
        """Return the output nodes of a finished job that hold labels, by the names that :meth:`read_labels` knows."""
        return {name: child.outputs[output] for name, output in self.outputs.items() if output in child.outputs}

    def get_failures(self, child: orm.ProcessNode) -> list[JobFailure]:
        """Return the configurations that a job which finished well did not label."""
        return []

    @abstractmethod
    def get_cost(self, child: orm.ProcessNode) -> JobCost:
        """Return what a job has cost, however it ended; what came from the cache has cost nothing."""

    def get_batch_builder(self, codes, configurations, options=None) -> ProcessBuilder:
        """Return the builder of a ``LabelWorkChain``."""
        from aiida.plugins import WorkflowFactory

        return WorkflowFactory('pyacemaker.label').get_builder_from_protocol(
            codes[self.code], configurations, self.label.model_dump(), (options or {}).get(self.code)
        )


def load_oracle(label: Label | Mapping[str, Any]) -> Any:
    """Return the :class:`Oracle` that the section ``label`` names.

    :param label: the section, or its values as a node holds them.
    :raises InputError: naming the key that is wrong, and the remedy.
    """
    from aiida_pyacemaker.runfile.sections import Label, read_label

    section = label if isinstance(label, Label) else read_label(label)
    return load_plugin(ORACLES, section.oracle, 'label.oracle')(section)
