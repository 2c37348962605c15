"""CalcJob that fits an ACE potential and its active set."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData


class PaceTrainCalculation(WorkerCalculation):
    """Fit an ACE potential to labelled configurations, baseline subtracted, and compute its linear active set."""

    TASK = 'train'
    NEEDS_LABELS = True
    PRODUCT = 'potential_out'
    #: What the fit keeps for the next one, and under which name that finds it.
    FOLDER_ROWS = 'rows'
    FOLDER_PARENT_ROWS = 'rows_parent'
    Parameters = FitJob

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
        spec.input(
            'parent_folder',
            valid_type=orm.RemoteData,
            required=False,
            help='Where a former fit ran, finished or killed, on the same machine: what it has computed of the same '
            'configurations and basis is not computed again. The results are those of a fit without it.',
        )
        spec.output('potential', valid_type=AcePotentialData, help='The fitted potential with its active set.')
        spec.output(
            'predictions',
            valid_type=ConfigurationsData,
            required=False,
            help='The test configurations as the potential predicts them.',
        )

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        code, parent = inputs.get('code'), inputs.get('parent_folder')
        if code is not None and parent is not None and code.computer and code.computer.uuid != parent.computer.uuid:
            return (
                f'`parent_folder` is on {parent.computer.label}, but the fit runs on {code.computer.label}: leave it '
                'out, then everything is computed again.'
            )
        return super().validate_inputs(inputs, ctx)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Link what the former fit has computed, beside what every task needs.

        :param folder: the sandbox folder.
        """
        calcinfo = super().prepare_for_submission(folder)
        # there from the start: beside it the fit after a killed one finds what that one was to continue
        folder.get_subfolder(self.FOLDER_ROWS, create=True)
        if 'parent_folder' in self.inputs:
            parent = self.inputs.parent_folder
            rows = PurePosixPath(parent.get_remote_path(), self.FOLDER_ROWS)
            calcinfo.remote_symlink_list = [(parent.computer.uuid, str(rows), self.FOLDER_PARENT_ROWS)]
        return calcinfo

    @classmethod
    def get_elements(cls, inputs: dict[str, Any]) -> list[str] | None:
        """Return the elements that the potential is to have."""
        return inputs['parameters'].get_dict().get('elements') if 'parameters' in inputs else None
