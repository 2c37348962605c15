"""What a halted simulation sends to DFT: keys of the run file under `embed`, and those of one choice."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import model_validator

from ..core.errors import InputError
from ..core.parameters import Count, Positive, parameter
from ..embedding.parameters import Embedding

Kind = Literal['modes', 'bursts', 'path', 'random']
#: Kinds of neighbours of a halted frame.
KINDS: tuple[str, ...] = get_args(Kind)


class Embed(Embedding):
    """What a halted simulation sends to DFT."""

    candidates: list[Kind] = parameter(
        'Neighbours of a halted frame to choose from: displaced along the stiffest normal modes, from micro-bursts of '
        'dynamics, frames above `explore.gamma_select` on the way to the halt, displaced at random.',
        default=['path'],
    )
    candidates_per_halt: Count = parameter(
        'Local candidates of each kind made around a halted frame.', ge=0, default=20
    )
    select_per_halt: Count = parameter('Frames sent to DFT per halt, the halted one included.', ge=1, default=1)
    displacement: Positive = parameter('Displacement of the candidates `modes` and `random`.', unit='Å', default=0.05)
    max_atoms: Count | None = parameter(
        'Largest cell that goes to DFT; what is larger is cut to it. null: twice the atoms of a simulation, if these '
        'can go to DFT whole for `budget.label_core_hours`; else what holds `core_radius` and the least buffer.',
        ge=1,
        default=None,
    )

    @model_validator(mode='after')
    def _check_numbers(self) -> Embed:
        most = 1 + self.candidates_per_halt * len(set(self.candidates))
        if self.select_per_halt > most:
            raise InputError(
                'select_per_halt',
                f'{self.select_per_halt} is more than the halted frame and its {most - 1} candidates',
                'raise candidates_per_halt, or give more kinds in candidates',
            )
        return self


class Selection(Embed):
    """One choice of what to label next."""

    max_atoms: Count = parameter('Largest cell that goes to DFT; what is larger is cut to it.', ge=1, default=200)
    number_of_train: Count = parameter('Frames of the trajectories that are learned.', ge=0, default=0)
    number_of_test: Count = parameter('Frames of the trajectories that are held out.', ge=0, default=0)
    gamma_select: Positive = parameter('Atoms above this gamma are worth learning.', default=2.0)
    seed: Count = parameter('Decides everything that is random.', ge=0, default=0)
