"""Keys of the section `validate` of a run file, put together from what the properties bring."""

from __future__ import annotations

from copy import copy
from typing import Any, Literal

from pydantic import create_model

from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter
from ..core.plugins import PROPERTIES as GROUP
from .property import Criterion, criterion, load_properties

#: What can be looked at, in this order.
PROPERTIES: tuple[str, ...] = tuple(load_properties())
PropertyName = Literal[PROPERTIES]  # type: ignore[valid-type]  # known at run time only
#: What the suite finds; the rest needs a program of its own.
SUITE: tuple[str, ...] = tuple(name for name, kind in load_properties().items() if kind.in_suite)
#: What the oracle of the labels can be asked for, too.
REFERENCES: tuple[str, ...] = tuple(name for name, kind in load_properties().items() if kind.reference is not None)

#: What it can be asked for in the cells that the potential has relaxed, see :mod:`.same_cells`.
SAME_CELLS: tuple[str, ...] = tuple(name for name, kind in load_properties().items() if kind.same_cells)


class ErrorCriteria(Section):
    """The criteria of the errors on the held-out set."""

    energy_rmse: Criterion = criterion(
        'At most: energy error on the held-out set; limit null: `validate.energy_rmse`.',
        unit='eV/atom',
        title='energy error (RMSE)',
        weight='energy',
    )
    force_rmse: Criterion = criterion(
        'At most: force error on the held-out set; limit null: `validate.force_rmse`.',
        unit='eV/Å',
        title='force error (RMSE)',
    )
    stress_rmse: Criterion = criterion(
        'At most: stress error on the held-out set.', unit='GPa', title='stress error (RMSE)', weight='stress'
    )


def assemble_gate() -> type[Section]:
    """Return the section of all criteria: those of the errors, then those of each property."""
    fields = {
        name: (field.annotation, copy(field))
        for kind in load_properties().values()
        for name, field in kind.Criteria.model_fields.items()
    }
    return create_model(
        'Gate', __base__=ErrorCriteria, __module__=__name__, __doc__='The criteria of the verdict.', **fields
    )


Gate = assemble_gate()


class Common(Section):
    """When the potential is good enough, and how that is found out."""

    energy_rmse: Positive = parameter('Largest energy error on the held-out set.', unit='eV/atom')
    force_rmse: Positive = parameter('Largest force error on the held-out set.', unit='eV/Å')
    noise: dict[Literal['energy', 'force', 'stress'], float] | None = parameter(
        'Noise of the labels in eV/atom, eV/Å and GPa, by which the limits of the errors are widened; null: what was '
        'measured at the start of the run.',
        default=None,
    )
    test_per_round: Count = parameter(
        'Frames of every round of the last stage without a halt that go to the held-out set.', ge=0
    )
    train_per_round: Count = parameter(
        'Frames of these rounds, the most informative ones, that are learned once the last stage has passed, or of a '
        'round in which a simulation broke off and nothing was above gamma_select.',
        ge=0,
    )
    properties: list[PropertyName] = parameter(
        'What of the crystals is looked at once the loop has converged; an empty list: only the errors.'
    )
    max_crystals: Count = parameter('How many phases are looked at.', ge=1)
    references: list[Literal[(*REFERENCES, *SAME_CELLS)]] = parameter(  # type: ignore[valid-type]
        'What of it is also computed by the oracle of the labels, to be compared: eos and elasticity take 20 to 60 '
        'labels of each crystal; the others are single points where the potential has put the atoms, in cells that '
        '`reference_core_hours` allows.'
    )
    reference_core_hours: float | None = parameter(
        'What the single points of one validation may cost, of all crystals together; what does not fit is left out, '
        'and said. null: a twentieth of `budget.core_hours`, or of half of `max_labels` times `label_core_hours`.',
        unit='core-hours',
        ge=0,
        default=None,
    )
    max_requests: Count = parameter(
        'How often the loop labels what a failed judgement asks for, and goes on, before it gives up.', ge=0
    )


def assemble_validate() -> type[Section]:
    """Return the section `validate`: the common keys, a section of each property that has one, and the criteria.

    :raises InputError: if a property is called as one of the other keys.
    """
    fields: dict[str, Any] = {}
    for name, kind in load_properties().items():
        if not kind.in_run_file:
            continue
        if name in Common.model_fields or name == 'gate':
            raise InputError(GROUP, f'a property cannot be called {name!r}, a key of `validate`', 'rename it')
        told = (kind.Parameters.__doc__ or name).strip().splitlines()[0]
        fields[name] = (kind.Parameters, parameter(told, default=kind.Parameters()))
    fields['gate'] = (Gate, parameter('The criteria of the verdict.'))
    return create_model('Validate', __base__=Common, __module__=__name__, __doc__=Common.__doc__, **fields)


Validate = assemble_validate()
