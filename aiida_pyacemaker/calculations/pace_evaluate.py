"""CalcJob that predicts energies, forces and stresses with a potential."""

from __future__ import annotations

from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


class PaceEvaluateCalculation(WorkerCalculation):
    """Predict energy, forces, stress and gamma of configurations, and the errors of those that are labelled."""

    TASK = 'evaluate'
    NEEDS_POTENTIAL = True
    PRODUCT = 'predictions.npz'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        spec.inputs['configurations'].help = 'The configurations to predict.'
        spec.inputs['potential'].help = 'The potential that predicts.'
        spec.output(
            'predictions',
            valid_type=ConfigurationsData,
            help='The same configurations with the predicted labels, and the extrapolation grade of each atom.',
        )
