"""What a run is expected to be: its initial set, the sizes of its cells, and what their labels cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ase import Atoms

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.generators.generate import InitialPlan, plan_set
from aiida_pyacemaker.atomistics.loop.sizes import Sizes, choose_sizes
from aiida_pyacemaker.data.structures import check_moments, find_structure_nodes, get_frames

from ..oracles import load_oracle

if TYPE_CHECKING:
    from aiida_pyacemaker.runfile import RunFile


@dataclass(frozen=True)
class RunPlan:
    """What a run is expected to be.

    :param initial: its initial set.
    :param sizes: of its simulations and of the cells cut from them.
    :param model: what a label costs; None if nobody knows.
    """

    initial: InitialPlan
    sizes: Sizes
    model: CostModel | None

    def complete(self, parameters: dict[str, Any]) -> None:
        """Set what a resolved run file leaves open, in place."""
        parameters['explore']['atoms'] = self.sizes.atoms
        parameters['embed']['max_atoms'] = self.sizes.max_atoms


def plan_run(runfile: RunFile, own: Sequence[Atoms], model: CostModel | None = None, try_out: bool = False) -> RunPlan:
    """Return what a run is expected to be; nothing that takes long is made.

    :param own: the user's own structures.
    :param model: what a label costs; None if nobody knows.
    :param try_out: whether each operation is tried.
    :raises InputError: if the structures cannot be made, or are too many or too costly for the budget.
    """
    limits = runfile.budget.initial_limits(model)
    initial = plan_set(
        runfile.system.elements,
        runfile.structures,
        runfile.seed,
        own=own,
        cutoff=runfile.train.cutoff,
        limits=limits,
        try_out=try_out,
    )
    check_budget(runfile, initial)
    sizes = choose_sizes(runfile.explore, runfile.embed, initial.parents, limits)
    return RunPlan(initial, sizes, model)


def check_budget(runfile: RunFile, initial: InitialPlan) -> None:
    """:raises InputError: if the initial set is more than the budget; the message says what is needed."""
    budget, number = runfile.budget, len(initial.frames)
    if number > budget.max_labels:
        least = 'at least ' if runfile.structures.number is None else ''
        raise InputError(
            'structures',
            f'these are {least}{number} initial structures, more than budget.max_labels ({budget.max_labels})',
            f'set structures.number, or raise the budget to {number} at least',
        )
    hours = sum(initial.seconds) / 3600
    if budget.core_hours is not None and hours > budget.core_hours:
        raise InputError(
            'budget.core_hours',
            f'the labels of {number} initial structures, the fewest that make sense, are expected to take '
            f'{hours:.2g} core-hours, more than {budget.core_hours:g}',
            f'raise it to {2 * hours:.2g} (half of it is for the initial set), or set structures.number',
        )


def get_own_structures(runfile: RunFile) -> list[Atoms]:
    """Return the user's own structures, from files and nodes.

    :raises InputError: if one is of no use.
    """
    nodes, moments = find_structure_nodes(runfile.structures.nodes), runfile.structures.moments
    check_moments(nodes, moments)
    return [*runfile.read_structures(), *get_frames({f'node_{node.pk}': node for node in nodes}, moments)]


def get_cost_model(runfile: RunFile) -> CostModel | None:
    """Return what a label costs; None if nobody knows.

    :raises InputError: if what the oracle needs to know it is not there.
    """
    return load_oracle(runfile.label).get_cost_model(runfile.system.elements)
