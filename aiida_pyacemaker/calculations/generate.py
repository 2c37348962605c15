"""CalcJob that makes the initial configurations."""

from __future__ import annotations

from pathlib import Path

from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.generators.parameters import InitialSet
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.structures import STRUCTURE_TYPES, get_frames


class GenerateCalculation(WorkerCalculation):
    """Make initial configurations, unlabelled, each with family, phase, operation, parent and split in its info.

    What was refused, and why, is in the results.
    """

    TASK = 'generate'
    PRODUCT = 'generated.npz'
    Parameters = InitialSet

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        del spec.inputs['configurations']
        del spec.inputs['potential']
        spec.input_namespace(
            'structures',
            valid_type=STRUCTURE_TYPES,
            dynamic=True,
            required=False,
            help="The user's own structures, under any names; they are part of the set as they are.",
        )
        spec.output('configurations', valid_type=ConfigurationsData, help='The configurations, not yet labelled.')

    @classmethod
    def entry_name(cls) -> str:
        """Return the last part of the entry points of the calculation and of its parser."""
        return 'generate'

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the task file and the user's own structures.

        :param folder: the sandbox folder.
        """
        moments = self.inputs.parameters.get_dict().get('structures', {}).get('moments')
        frames = get_frames(dict(self.inputs.get('structures', {})), moments)
        if frames:
            save_configurations(Path(folder.abspath) / self.FILENAME_CONFIGURATIONS, frames)
        return super().prepare_for_submission(folder)
