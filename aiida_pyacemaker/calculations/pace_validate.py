"""CalcJob that looks at crystals with a potential."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.validation.suite import read_suite
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


class PaceValidateCalculation(WorkerCalculation):
    """Relax crystals, and compute their elastic constants, phonons and whatever else tells a good potential."""

    TASK = 'validate'
    NEEDS_POTENTIAL = True
    PRODUCT = 'crystals.npz'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        spec.inputs['configurations'].help = 'The crystals to look at, near their equilibrium.'
        spec.inputs['potential'].help = 'The potential that is looked at.'
        spec.inputs['parameters'].help = (
            'properties: what is looked at, by default everything but the melting point; settings: keys of single '
            'properties, by property; processes: how many work side by side, 2 by default.'
        )
        spec.output('crystals', valid_type=ConfigurationsData, help='The crystals, relaxed, in the order of the input.')

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        try:
            read_suite({} if value is None else value.get_dict())
        except ValueError as exception:
            return f'the parameter {exception}'
        return None
