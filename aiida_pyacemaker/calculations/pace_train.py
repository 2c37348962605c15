"""CalcJob that fits an ACE potential and its active set."""

from __future__ import annotations

import numbers
from typing import Any

from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.calculations.worker import WorkerCalculation, at_least, chemical_elements, one_of
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData


class PaceTrainCalculation(WorkerCalculation):
    """Fit an ACE potential to labelled configurations, baseline subtracted, and compute its linear active set."""

    TASK = 'train'
    NEEDS_LABELS = True
    PRODUCT = 'potential_out'
    PARAMETERS = {
        'elements': chemical_elements,
        'cutoff': at_least(0, strict=True),
        'number_of_functions': at_least(1, numbers.Integral),
        'mode': one_of('linear', 'nonlinear'),
        'energy_weight': at_least(0, strict=True),
        'ridge': at_least(0),
        'baseline': one_of('zbl', 'lj'),
        'seed': at_least(0, numbers.Integral),
        'generation': at_least(0, numbers.Integral),
        'core_weight': at_least(0),
        'processes': at_least(1, numbers.Integral),
        'max_iterations': at_least(1, numbers.Integral),
        'mix_settings': one_of(True, False),
    }
    REQUIRED_PARAMETERS = ('elements',)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        spec.inputs['configurations'].help = 'The configurations to train on, all with energy and forces.'
        spec.inputs['potential'].help = 'The potential of the former generation, to continue from.'
        spec.input(
            'test',
            valid_type=ConfigurationsData,
            required=False,
            help='Configurations that are never trained on: the errors and the cold-start check are taken on them.',
        )
        spec.output('potential', valid_type=AcePotentialData, help='The fitted potential with its active set.')

    @classmethod
    def get_elements(cls, inputs: dict[str, Any]) -> list[str] | None:
        """Return the elements that the potential is to have."""
        return inputs['parameters'].get_dict().get('elements') if 'parameters' in inputs else None
