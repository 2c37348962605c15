"""CalcJob that chooses which configurations are worth a label."""

from __future__ import annotations

from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.selection.parameters import Selection
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


class PaceSelectCalculation(WorkerCalculation):
    """Choose, out of halted structures and trajectories, the configurations that teach the potential most."""

    TASK = 'select'
    NEEDS_POTENTIAL = True
    PRODUCT = 'selected.npz'
    Parameters = Selection

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
