"""CalcJob that chooses which configurations are worth a label."""

from __future__ import annotations

import numbers
from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.selection.parameters import KINDS
from aiida_pyacemaker.calculations.worker import WorkerCalculation, at_least, check_parameters
from aiida_pyacemaker.data.configurations import ConfigurationsData


def kinds_of_candidates(value: Any) -> str | None:
    """Check that a value is a list of kinds of candidates, none for the halted frame alone."""
    if isinstance(value, list | tuple) and all(kind in KINDS for kind in value):
        return None
    return f'must be a list out of {", ".join(KINDS)}, or an empty one, but is {value!r}'


class PaceSelectCalculation(WorkerCalculation):
    """Choose, out of halted structures and trajectories, the configurations that teach the potential most."""

    TASK = 'select'
    NEEDS_POTENTIAL = True
    PRODUCT = 'selected.npz'
    PARAMETERS = {
        'candidates': kinds_of_candidates,
        'candidates_per_halt': at_least(0, numbers.Integral),
        'select_per_halt': at_least(0, numbers.Integral),
        'displacement': at_least(0),
        'number_of_train': at_least(0, numbers.Integral),
        'number_of_test': at_least(0, numbers.Integral),
        'max_atoms': at_least(1, numbers.Integral),
        'gamma_select': at_least(1),
        'core_radius': at_least(0, strict=True),
        'buffer': at_least(0, strict=True),
        'relax_steps': at_least(0, numbers.Integral),
        'relax_force': at_least(0, strict=True),
        'max_environments': at_least(1, numbers.Integral),
        'seed': at_least(0, numbers.Integral),
    }

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        return None if value is None else check_parameters(value.get_dict(), cls.PARAMETERS)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        spec.inputs['configurations'].help = (
            'The configurations to choose from: those with the role `halted` are anchors, which are always chosen, '
            'those with the role `trajectory` are the pool for further training and test configurations.'
        )
        spec.inputs['potential'].help = 'The potential whose extrapolation grade decides.'
        spec.output(
            'configurations',
            valid_type=ConfigurationsData,
            required=False,
            help='The chosen configurations, not yet labelled; nothing where none was worth it.',
        )
