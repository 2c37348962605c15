"""Base of the CalcJobs that run one task of `pyacemaker-worker`."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_pyacemaker.atomistics.core import checksums
from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.calculations.validators import explain_section
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData


class WorkerCalculation(CalcJob):
    """One task of ``pyacemaker-worker``, which runs the science floor on the compute machine."""

    #: Name of the task, the positional argument of the worker.
    TASK: str
    #: Whether the task needs a potential.
    NEEDS_POTENTIAL = False
    #: Whether the configurations have to carry energies and forces.
    NEEDS_LABELS = False
    #: The section that declares the parameters.
    Parameters: ClassVar[type[Section]] = Section
    #: What the task writes beside its result: file or folder, retrieved for the parser and not kept twice.
    PRODUCT: str

    FILENAME_TASK = 'task.json'
    FILENAME_RESULT = 'result.json'
    FILENAME_CONFIGURATIONS = 'configurations.npz'
    FILENAME_TEST = 'test.npz'
    FOLDER_POTENTIAL = 'potential'
    FILENAME_OUTPUT = 'worker.out'
    FILENAME_ERROR = 'worker.err'

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports that all tasks share."""
        super().define(spec)
        spec.input('configurations', valid_type=ConfigurationsData, help='The configurations to work on.')
        spec.input(
            'potential',
            valid_type=AcePotentialData,
            required=cls.NEEDS_POTENTIAL,
            help='The potential to work with.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            default=lambda: orm.Dict({}),
            validator=cls.validate_parameters,
            help='The parameters of the task. What is left out has the default of the task.',
        )
        spec.inputs.validator = cls.validate_inputs
        options = spec.inputs['metadata']['options']
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False
        options['parser_name'].default = f'pyacemaker.{cls.entry_name()}'
        options['input_filename'].default = cls.FILENAME_TASK
        options['output_filename'].default = cls.FILENAME_OUTPUT

        spec.output('results', valid_type=orm.Dict, help='What the task reports.')
        spec.exit_code(210, 'ERROR_INVALID_DATA', message='The input data are not valid: {message}')
        spec.exit_code(220, 'ERROR_MISSING_ENGINE', message='An engine is missing: {message}', invalidates_cache=True)
        spec.exit_code(
            230, 'ERROR_CORRUPT_INPUT', message='An input was damaged on its way: {message}', invalidates_cache=True
        )
        spec.exit_code(
            302,
            'ERROR_OUTPUT_MISSING',
            message='The task left no result: it was killed, ran out of memory or time, or could not start.',
            invalidates_cache=True,
        )
        spec.exit_code(303, 'ERROR_OUTPUT_BROKEN', message='The output is broken: {message}', invalidates_cache=True)
        spec.exit_code(410, 'ERROR_TASK_FAILED', message='The task failed: {message}', invalidates_cache=True)

    @classmethod
    def entry_name(cls) -> str:
        """Return the last part of the entry points of the calculation and of its parser."""
        return f'pace_{cls.TASK}'

    @classmethod
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``; what is None has its default."""
        if value is None:
            return None
        given = {key: entry for key, entry in value.get_dict().items() if entry is not None}
        return explain_section(cls.Parameters, given)

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        for name in ('configurations', 'test'):
            if name not in inputs:
                continue
            message = cls.validate_configurations(name, inputs[name], inputs)
            if message is not None:
                return message
        return None

    @classmethod
    def validate_configurations(cls, name: str, node: ConfigurationsData, inputs: dict[str, Any]) -> str | None:
        """Check that configurations have labels and elements that the task can use."""
        if cls.NEEDS_LABELS:
            for label in ('energy', 'forces'):
                lacking = len(node) - node.labels[label]
                if lacking:
                    return f'`{name}`: {lacking} of {len(node)} configurations have no {label}: label or remove them.'
        elements = cls.get_elements(inputs)
        foreign = sorted(set(node.elements) - set(elements)) if elements else []
        if foreign:
            return (
                f'`{name}` holds the element {", ".join(foreign)}, which the potential does not know: it is for '
                f'{", ".join(elements)}.'
            )
        return None

    @classmethod
    def get_elements(cls, inputs: dict[str, Any]) -> list[str] | None:
        """Return the elements of the potential, or nothing when they are not known."""
        return inputs['potential'].elements if 'potential' in inputs else None

    def get_task(self) -> dict[str, Any]:
        """Return the content of the task file."""
        parameters = self.inputs.parameters.get_dict()
        return {'parameters': {key: value for key, value in parameters.items() if value is not None}}

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the task file, and have the files of the nodes copied to the compute machine.

        :param folder: the sandbox folder.
        """
        filename_task = self.inputs.metadata.options.input_filename
        with folder.open(filename_task, 'w', encoding='utf-8') as handle:
            json.dump(self.get_task(), handle, indent=2)

        # Copied at upload and not kept once more in the repository of the calculation.
        sets = {'configurations': self.FILENAME_CONFIGURATIONS, 'test': self.FILENAME_TEST}
        copies = [self._copy_configurations(name, filename) for name, filename in sets.items() if name in self.inputs]
        if 'potential' in self.inputs:
            potential = self.inputs.potential
            copies += [(potential.uuid, name, f'{self.FOLDER_POTENTIAL}/{name}') for name in potential.filenames]
            with folder.get_subfolder(self.FOLDER_POTENTIAL, create=True).open(checksums.FILENAME, 'w') as handle:
                handle.write(checksums.format_checksums(potential.get_checksums()))

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = [self.TASK]
        codeinfo.stdout_name = self.inputs.metadata.options.output_filename
        codeinfo.stderr_name = self.FILENAME_ERROR

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = copies
        calcinfo.retrieve_list = [self.FILENAME_RESULT, codeinfo.stdout_name, codeinfo.stderr_name]
        calcinfo.retrieve_temporary_list = [self.PRODUCT]
        return calcinfo

    def _copy_configurations(self, name: str, filename: str) -> tuple[str, str, str]:
        node = self.inputs[name]
        return (node.uuid, node.FILENAME, filename)
