"""Keys of the run file that only the loop reads: `budget`, and what `train` has beyond a single fit."""

from __future__ import annotations

import math
from typing import Literal

from ..core.cost import CostModel
from ..core.parameters import Count, Positive, Section, parameter
from ..fitting.parameters import Fit
from ..generators.limits import Limits

#: Share of the labels of a run that its initial structures take at most where their number is left open: the other half
#: is for what the potential does not know, which nobody knows before it has been tried.
INITIAL_SHARE = 0.5
#: Part of the time for labels that those of one validation may take.
REFERENCE_SHARE = 0.05
#: What a label costs in the mean at most, as a part of `label_core_hours`: few are as large as they may be.
MEAN_LABEL = 0.5


class Production(Section):
    """The fit of all data at the end, whose potential is the result if it beats the one that explored."""

    mode: Literal['linear', 'nonlinear'] = parameter('As `train.mode`.', default='linear')
    number_of_functions: Count | None = parameter(
        'Basis functions per element; null: what pays on the data.', ge=10, default=None
    )
    max_cost: Positive | None = parameter('As `train.max_cost`.', unit='µs/atom/step', default=None)
    share: float = parameter(
        'Its simulations, with all guards but gamma, take this share of `explore.steps`.', gt=0, le=1, default=1.0
    )


class Train(Fit):
    """The fit. What is null is chosen from the data."""

    # the loop needs to know it before there are data
    cutoff: float = parameter('Cutoff radius of the ACE.', unit='Å', ge=2, le=15)
    max_functions: Count | None = parameter(
        'Functions per element to which the basis of the exploration may grow while the errors are above the criteria; '
        'null: it does not grow.',
        ge=10,
        default=None,
    )
    production: Production | None = parameter('The fit at the end; null: none.', default=Production())


class Budget(Section):
    """When to give up."""

    max_iterations: Count = parameter('Iterations of the loop.', ge=1)
    max_labels: Count = parameter('DFT calculations altogether.', ge=1)
    core_hours: Positive | None = parameter(
        'Core-hours of the labels of a run, counted as they end: the initial set is planned for half of them, and the '
        'loop ends when they are used up; null: no limit.',
        unit='h',
        default=None,
    )
    label_core_hours: Positive | None = parameter(
        'Core-hours that one label takes at most, as expected: cells are made smaller where it would take more, as far '
        'as they make sense, and the initial structures fewer; null: no limit.',
        unit='h',
        default=None,
    )

    def initial_labels(self) -> int:
        """Return the most initial structures where `structures.number` is null."""
        return math.ceil(INITIAL_SHARE * self.max_labels)

    def reference_core_hours(self) -> float | None:
        """Return what the labels of one validation may cost where nobody says: a share of those of a run; None: all."""
        if self.core_hours is not None:
            return REFERENCE_SHARE * self.core_hours
        return (
            None
            if self.label_core_hours is None
            else REFERENCE_SHARE * MEAN_LABEL * self.max_labels * self.label_core_hours
        )

    def initial_limits(self, model: CostModel | None) -> Limits:
        """Return what bounds the initial set: half of the labels, and of the time for them.

        :param model: what a label costs; None if nobody knows.
        """
        number = self.initial_labels()
        if model is None:
            return Limits(number)
        hours = [] if self.core_hours is None else [INITIAL_SHARE * self.core_hours]
        if self.label_core_hours is not None:
            hours.append(MEAN_LABEL * number * self.label_core_hours)
        return Limits(
            number,
            model,
            None if self.label_core_hours is None else 3600 * self.label_core_hours,
            3600 * min(hours) if hours else None,
        )
