"""Keys of the run file that only the loop reads: `budget`, and what `train` has beyond a single fit."""

from __future__ import annotations

import math
from typing import Literal

from ..core.parameters import Count, Positive, Section, parameter
from ..fitting.parameters import Fit

#: Share of the labels of a run that its initial structures take at most where their number is left open: the other half
#: is for what the potential does not know, which nobody knows before it has been tried.
INITIAL_SHARE = 0.5


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

    def initial_labels(self) -> int:
        """Return the most initial structures where `structures.number` is null."""
        return math.ceil(INITIAL_SHARE * self.max_labels)
