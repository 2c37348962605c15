"""Keys of the validation, those of the section `validate` of a run file."""

from __future__ import annotations

from typing import Literal

from ..parameters import Number, Positive, Section, parameter

#: What can be looked at, in this order.
PROPERTIES = (
    'eos',
    'elasticity',
    'phonons',
    'pairs',
    'vacancy',
    'surfaces',
    'stacking_fault',
    'stability',
    'melting',
)
Property = Literal[
    'eos', 'elasticity', 'phonons', 'pairs', 'vacancy', 'surfaces', 'stacking_fault', 'stability', 'melting'
]


class Validate(Section):
    """When the potential is good enough, and how that is found out."""

    energy_rmse: Positive = parameter('Largest energy error on the held-out set.', unit='eV/atom')
    force_rmse: Positive = parameter('Largest force error on the held-out set.', unit='eV/Å')
    test_per_round: Number = parameter(
        'Frames of every round of the last stage without a halt that go to the held-out set.', ge=0
    )
    train_per_round: Number = parameter(
        'Frames of these rounds, the most informative ones, that are learned once the last stage has passed, or of a '
        'round in which a simulation broke off and nothing was above gamma_select.',
        ge=0,
    )
    properties: list[Property] = parameter(
        'What of the crystals is looked at once the loop has converged; an empty list: only the errors.'
    )
    max_crystals: Number = parameter('How many phases are looked at.', ge=1)
