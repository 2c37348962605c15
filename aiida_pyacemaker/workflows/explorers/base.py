"""The socket for an engine that explores configuration space with a potential."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plugins import EXPLORERS, CodePort, load_plugin, load_plugins
from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.walker import FrameKind, Walker, WalkerResult

if TYPE_CHECKING:
    import numpy as np
    from aiida import orm
    from aiida.engine import ProcessBuilder
    from ase import Atoms

    from aiida_pyacemaker.atomistics.explorers.plan import StartingSizes

#: Added to the seed of a walker with each attempt after the first.
SEED_STEP = 500


class Live(TypedDict):
    """Where a walker is that runs."""

    first_step: int
    step: int
    temperature: float
    gamma: float


class Explorer(ABC):
    """An engine that explores: it plans walkers, builds the process of each, and tells what became of it.

    ``ExploreWorkChain`` knows no engine. Of a round it asks for the :meth:`plan`, submits what :meth:`get_builder`
    returns for each walker, starts the ones that died once more (:meth:`try_again`), and collects their
    :meth:`get_result`, :meth:`get_frames` and :meth:`get_restart`. The loop decides by the results alone: a walker that
    ended by ``gamma`` is resumed from its restart with the next potential, all others start again in the next round.

    Rules for an implementation:

    - The same arguments give the same plan. What is random comes from the ``seed``.
    - A halt, and a simulation that the potential drove into nonsense, end in a process that finished well, with an
      :class:`~aiida_pyacemaker.atomistics.explorers.walker.EndReason`. A process that failed is one of which nothing
      is known.
    - Frames carry info ``role`` (``halted``, ``trajectory`` or ``violation``), ``parent`` (UUID of the process),
      ``step``, ``gamma_max`` and ``ended`` (the reason), and the array ``gamma``; those above ``gamma_select`` carry
      info ``selected``.
    - A run file is read without AiiDA, and fast: import AiiDA and what is slow to load inside methods only.
    """

    #: The section ``explore.<name>`` of the run file, None if it needs no more than ``explore`` has.
    Parameters: ClassVar[type[Section] | None] = None
    #: The class of what one walker takes, with the keys `seed`, `steps` and `timestep` (fs).
    WalkerParameters: ClassVar[type[Section]]
    #: The codes that it runs, by their key in the section ``codes``; the options of the first are those of the jobs.
    codes: ClassVar[dict[str, CodePort]]
    #: The process type of the CalcJob of a walker, by which reports find it: ``aiida.calculations:...``.
    process_type: ClassVar[str]
    #: The file in the folder of a job that runs from which :meth:`read_live` tells where it is; None: there is none.
    live_file: ClassVar[str | None] = None

    @classmethod
    def main_code(cls) -> str:
        """Return the key of the code that runs the walkers."""
        return next(iter(cls.codes))

    # Before -----------------------------------------------------------------------------------------------------------

    def starting_sizes(self, explore: Explore, stage: int, largest: int) -> StartingSizes:
        """Return how many cells of which size the walkers of a stage start in.

        :param largest: `embed.max_atoms`, the largest cell that is labelled whole.
        """
        from aiida_pyacemaker.atomistics.explorers.plan import starting_sizes

        return starting_sizes(explore, stage, largest)

    @abstractmethod
    def plan(self, explore: Explore, cells: list[Atoms], elements: list[str], stage: int, seed: int) -> list[Walker]:
        """Return what each walker of a round does.

        :param explore: the section `explore` of a run file.
        :param cells: starting cells of the stage.
        :param elements: those of the potential.
        :param stage: counted from 0.
        :param seed: of the round.
        :raises InputError: if there is nothing that the walkers could do.
        """

    def try_again(self, walker: Walker, attempt: int) -> Walker:
        """Return the walker of another attempt after its process died: with other random numbers.

        :param attempt: 2 for the second.
        """
        seed = walker.parameters.seed + SEED_STEP * (attempt - 1)
        parameters = walker.parameters.model_copy(update={'seed': seed})
        return Walker(walker.index, walker.stage, walker.program, walker.structure, parameters)

    def describe(self, walker: Walker) -> str:
        """Return in a word or two what a walker does, for people."""
        return walker.program

    # The process ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def get_builder(
        self,
        walker: Walker,
        codes: dict[str, orm.AbstractCode],
        potential: orm.Data,
        options: dict[str, Any],
        *,
        structure: orm.StructureData | None = None,
        restart: orm.Data | None = None,
    ) -> ProcessBuilder:
        """Return the builder of the process of one walker, without labels.

        :param codes: by the keys of :attr:`codes`.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData`.
        :param options: `metadata.options` of the job.
        :param structure: where it starts afresh.
        :param restart: what :meth:`get_restart` returned when it halted; either this or `structure` is given.
        """

    # Afterwards -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def get_result(self, walker: Walker, node: orm.CalcJobNode) -> WalkerResult:
        """Return what became of a walker.

        :param node: its process, finished well.
        """

    def get_frames(self, node: orm.CalcJobNode) -> dict[FrameKind, orm.Data]:
        """Return the :class:`~aiida_pyacemaker.data.ConfigurationsData` that a walker left, by kind."""
        return {kind: node.outputs[kind.value] for kind in FrameKind if kind.value in node.outputs}

    def get_restart(self, node: orm.CalcJobNode) -> orm.Data | None:
        """Return what a walker that halted resumes from; None if it cannot."""
        return node.outputs.restart if 'restart' in node.outputs else None

    def read_series(self, node: orm.CalcJobNode) -> dict[str, np.ndarray]:
        """Return what was recorded on the way: `step` and `temperature` (K), `watch_step` and `gamma`; or nothing."""
        return {}

    def read_live(self, path: Path) -> Live | None:
        """Return where a walker is that runs, None if that is not known yet.

        :param path: a copy of :attr:`live_file`.
        """
        return None


def load_explorer(name: str) -> Explorer:
    """Return the explorer of this name.

    :raises InputError: naming the key, if there is none or it cannot be imported.
    """
    return load_plugin(EXPLORERS, name, 'explore.explorer')()


def process_types() -> dict[str, Explorer]:
    """Return all explorers by the process type of their walkers."""
    return {explorer.process_type: explorer() for explorer in load_plugins(EXPLORERS).values()}
