"""CalcJob that labels configurations with a teacher."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from pydantic import Field, field_validator

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Count, Section, parameter
from aiida_pyacemaker.atomistics.labelling.teachers import Teacher, read_teacher
from aiida_pyacemaker.calculations.worker import WorkerCalculation
from aiida_pyacemaker.data.configurations import ConfigurationsData


class TeacherJob(Section):
    """What a job labels, and with what."""

    teacher: Teacher = parameter(
        'The section `label.teacher` of a run file, with the name of the model file without its folders.'
    )
    indices: list[Annotated[Count, Field(ge=0)]] | None = parameter(
        'Which configurations are labelled, counted from 0; all by default.', default=None, min_length=1
    )

    @field_validator('indices')
    @classmethod
    def _check_different(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and len(set(value)) != len(value):
            raise InputError('', f'{value} names a configuration twice', 'give different numbers')
        return value


class TeacherCalculation(WorkerCalculation):
    """Label configurations with any ASE calculator or universal potential, many in one job."""

    TASK = 'label'
    PRODUCT = 'labelled.npz'
    Parameters = TeacherJob

    FOLDER_MODEL = 'model'

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
