"""What decides an initial set: the parameters of the job that makes it."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from ..core.parameters import Count, Positive, Section, parameter
from .limits import Limits
from .plan import Structures


class InitialSet(Section):
    """What to generate."""

    elements: list[str] = parameter('Chemical symbols of the elements.', min_length=1)
    structures: Structures = parameter('The section `structures` of a run file.', default=Structures())
    seed: Count = parameter('Seed of everything random.', ge=0, lt=2**31)
    cutoff: Positive | None = parameter('Cutoff of the potential, for wide cells.', unit='Å', default=None)
    limits: dict[str, Any] | None = parameter(
        'What bounds the set: `number` of structures, `label_seconds` and `total_seconds` of their labels by `model`.',
        default=None,
    )

    @field_validator('limits')
    @classmethod
    def _check_limits(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            Limits.from_dict(value)
        except TypeError as exception:
            raise ValueError(str(exception)) from None
        return value
