"""CalcJob that labels configurations with a teacher."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_pyacemaker.atomistics.labelling.teachers import read_teacher
from aiida_pyacemaker.calculations.worker import WorkerCalculation, check_parameters
from aiida_pyacemaker.data.configurations import ConfigurationsData


def check_teacher(value: Any) -> str | None:
    """Check a section ``label.teacher``."""
    try:
        read_teacher(value)
    except ValueError as exception:
        return f'is not valid: {exception}'
    return None


def check_indices(value: Any) -> str | None:
    """Check that a value is a list of different indices."""
    right = isinstance(value, list) and value and all(isinstance(index, int) and index >= 0 for index in value)
    if not right or len(set(value)) != len(value):
        return 'must be a list of different whole numbers, counted from 0'
    return None


class TeacherCalculation(WorkerCalculation):
    """Label configurations with any ASE calculator or universal potential, many in one job."""

    TASK = 'label'
    PRODUCT = 'labelled.npz'
    PARAMETERS = {'teacher': check_teacher, 'indices': check_indices}
    REQUIRED_PARAMETERS = ('teacher',)

    FOLDER_MODEL = 'model'

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        return None if value is None else check_parameters(value.get_dict(), cls.PARAMETERS, cls.REQUIRED_PARAMETERS)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        del spec.inputs['potential']
        spec.inputs['configurations'].help = 'The configurations of which to label some or all.'
        spec.inputs['parameters'].help = (
            'teacher: the section `label.teacher` of a run file, with the name of the model file without its folders; '
            'indices: which configurations to label, counted from 0, all by default.'
        )
        spec.input('model', valid_type=orm.SinglefileData, required=False, help='The model file of the teacher.')
        spec.output(
            'labelled',
            valid_type=ConfigurationsData,
            help='The configurations that could be labelled. Their info `index` says which ones they are.',
        )

    @classmethod
    def entry_name(cls) -> str:
        """Return the last part of the entry points of the calculation and of its parser."""
        return 'teacher'

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        parameters = inputs['parameters'].get_dict() if 'parameters' in inputs else {}
        if 'configurations' in inputs:
            number = len(inputs['configurations'])
            if max(parameters.get('indices') or [0]) >= number:
                return f'the parameter `indices`: there are {number} configurations, counted from 0.'
        filename = read_teacher(parameters['teacher']).filename if 'teacher' in parameters else None
        given = PurePath(inputs['model'].filename).name if 'model' in inputs else None
        if filename != given:
            return f'the parameter `teacher` names the model file {filename}, but the input `model` is {given}.'
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the task file, and have the files of the nodes copied to the compute machine.

        :param folder: the sandbox folder.
        """
        calcinfo = super().prepare_for_submission(folder)
        if 'model' in self.inputs:
            model = self.inputs.model
            calcinfo.local_copy_list.append((model.uuid, model.filename, f'{self.FOLDER_MODEL}/{model.filename}'))
        return calcinfo
