"""CalcJob that runs molecular dynamics with an ACE potential under a watch on the extrapolation grade."""

from __future__ import annotations

from typing import Any, TextIO

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_lammps.calculations.raw import LammpsRawCalculation

from aiida_pyacemaker.atomistics.core import checksums
from aiida_pyacemaker.atomistics.explorers.dynamics import WatchedDynamics
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData, get_stored_hash

from .validators import section_validator


class LammpsPaceCalculation(LammpsRawCalculation):
    """Molecular dynamics with an ACE potential and its baseline, halted when the potential would have to extrapolate.

    The simulation starts from ``structure``, or resumes from ``restart``, possibly with another potential: step,
    positions, velocities, thermostat and barostat continue, and so do the ramps of temperature and pressure, which
    always go from step 0 to step ``steps``. A halt is an outcome, not an error, and so is a simulation that the
    potential drove into nonsense.

    The watch looks at the extrapolation grade gamma, at the volume against that of the start (gamma does not see
    boiling), at the temperature against the thermostat, and at distances that are too short.
    """

    FILENAME_INPUT = 'input.in'
    #: What LAMMPS leaves for the parser, beside its output.
    OUTPUTS = script.OUTPUTS
    FILENAME_OUTPUT = 'lammps.out'
    #: Shell lines before LAMMPS, which would run on with wrong numbers in its potential: a gamma that is none.
    CHECK = """if command -v sha256sum > /dev/null; then
    sha256sum --check --quiet {checksums} > {output} 2>&1 || exit 1
fi"""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the ports."""
        super().define(spec)
        # What the raw calculation takes and says in their place.
        for name in ('script', 'files', 'filenames'):
            del spec.inputs[name]
        for label in ('ERROR_PARSER_DETECTED_LAMMPS_RUN_ERROR', 'ERROR_OUTFILE_MISSING', 'ERROR_PARSING_OUTFILE'):
            del spec.exit_codes[label]
        spec.input('potential', valid_type=AcePotentialData, help='The potential, with its active set and baseline.')
        spec.input('structure', valid_type=orm.StructureData, required=False, help='Where a fresh simulation starts.')
        spec.input(
            'restart',
            valid_type=orm.SinglefileData,
            required=False,
            help='The restart file of a simulation to resume, instead of `structure`.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            serializer=orm.to_aiida_type,
            validator=section_validator(WatchedDynamics),
            help='What the simulation is to do and what ends it: the keys of `WatchedDynamics`. All but `temperature` '
            'and `steps` have a default.',
        )
        spec.inputs.validator = cls.validate_inputs
        options = spec.inputs['metadata']['options']
        options['resources'].default = lambda: {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        options['withmpi'].default = False
        options['parser_name'].default = 'pyacemaker.lammps_pace'

        spec.outputs['results'].help = 'How the simulation ended, and what it cost.'
        spec.outputs['results'].required = False
        spec.output(
            'restart',
            valid_type=orm.SinglefileData,
            required=False,
            help='Binary restart file of the last step, unless the simulation ended in nonsense.',
        )
        spec.output(
            'trajectory',
            valid_type=ConfigurationsData,
            required=False,
            help='Snapshots, every `dump_every` steps and above `gamma_select` (these have `selected` in their info), '
            'with the gamma of each atom.',
        )
        spec.output(
            'halted',
            valid_type=ConfigurationsData,
            required=False,
            help='The last frame, if the watch on gamma halted.',
        )
        spec.output(
            'violation',
            valid_type=ConfigurationsData,
            required=False,
            help='The last frame, if volume, temperature or distances ended the simulation: for study, not to learn.',
        )
        spec.output(
            'thermo',
            valid_type=orm.ArrayData,
            required=False,
            help='The thermo output, one array per column, and what every check of the watch saw (`watch_...`).',
        )
        spec.exit_code(301, 'ERROR_NO_LOG', message='LAMMPS left no output: it did not start.', invalidates_cache=True)
        spec.exit_code(
            230, 'ERROR_CORRUPT_INPUT', message='An input was damaged on its way: {message}', invalidates_cache=True
        )
        spec.exit_code(
            302,
            'ERROR_INCOMPLETE',
            message='The output of LAMMPS ends at step {message}: it was killed, crashed, or ran out of memory or '
            'time.',
            invalidates_cache=True,
        )
        spec.exit_code(309, 'ERROR_LAMMPS', message='LAMMPS stopped with an error: {message}', invalidates_cache=True)
        spec.exit_code(
            311,
            'ERROR_NO_GAMMA',
            message='The extrapolation grade is zero all along: this ML-PACE does not compute it. Use LAMMPS of '
            'November 2023 or newer.',
            invalidates_cache=True,
        )
        spec.exit_code(
            312,
            'ERROR_NO_ML_PACE',
            message='This LAMMPS has no ML-PACE: build it with the package ML-PACE, or load the plugin by setting '
            'LAMMPS_PLUGIN_PATH in the prepend text of the code (`aiida-pyacemaker setup engines` does both).',
            invalidates_cache=True,
        )
        spec.exit_code(314, 'ERROR_OUTPUT_BROKEN', message='The output is broken: {message}', invalidates_cache=True)

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        if ('structure' in inputs) == ('restart' in inputs):
            return 'give either `structure` for a fresh simulation or `restart` to resume one.'
        elements = inputs['potential'].elements if 'potential' in inputs else None
        strangers = sorted(
            WatchedDynamics.model_validate(inputs['parameters'].get_dict()).elements - set(elements or [])
        )
        if elements and strangers:
            return (
                f'`parameters` name the element {", ".join(strangers)}, which the potential does not know: it is for '
                f'{", ".join(elements)}.'
            )
        if 'structure' in inputs:
            structure = inputs['structure']
            foreign = sorted(structure.get_symbols_set() - set(elements)) if elements else []
            if foreign:
                return (
                    f'`structure` holds the element {", ".join(foreign)}, which the potential does not know: it is for '
                    f'{", ".join(elements)}.'
                )
            if not all(structure.pbc):
                return '`structure` must be periodic in all three directions: put it into a periodic cell.'
        elif elements:
            creator = inputs['restart'].creator
            former = creator.inputs.potential.elements if creator and 'potential' in creator.inputs else elements
            if former != elements:
                return (
                    f'`restart` has the atom types {former}, but the potential has {elements}: they must be the same.'
                )
        return None

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write script and structure, and have the files of the nodes copied to the compute machine.

        :param folder: the sandbox folder.
        """
        potential = self.inputs.potential
        copies = [(potential.uuid, name, name) for name in script.POTENTIAL]
        hashes = {name: get_stored_hash(potential, name) for name in script.POTENTIAL}
        if 'restart' in self.inputs:
            restart = self.inputs.restart
            copies.append((restart.uuid, restart.filename, script.RESTART_IN))
            hashes[script.RESTART_IN] = get_stored_hash(restart, restart.filename)
        else:
            with folder.open(script.STRUCTURE, 'w', encoding='utf-8') as handle:
                self.write_structure(handle)
        with folder.open(self.inputs.metadata.options.input_filename, 'w', encoding='utf-8') as handle:
            handle.write(self.get_script())

        with folder.open(checksums.FILENAME, 'w', encoding='utf-8') as handle:
            handle.write(checksums.format_checksums(hashes))

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = ['-in', self.inputs.metadata.options.input_filename, '-log', 'none']
        codeinfo.stdout_name = self.inputs.metadata.options.output_filename
        codeinfo.join_files = True

        calcinfo = CalcInfo()
        calcinfo.prepend_text = self.CHECK.format(checksums=checksums.FILENAME, output=codeinfo.stdout_name)
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = copies
        settings = self.inputs.settings.get_dict() if 'settings' in self.inputs else {}
        calcinfo.retrieve_list = [codeinfo.stdout_name, *settings.get('additional_retrieve_list', [])]
        # They become nodes of their own.
        calcinfo.retrieve_temporary_list = list(self.OUTPUTS)
        return calcinfo

    @property
    def dynamics(self) -> WatchedDynamics:
        """What the simulation is to do."""
        return WatchedDynamics.model_validate(self.inputs.parameters.get_dict())

    def write_structure(self, handle: TextIO) -> None:
        """Write the data file of a simulation that starts."""
        elements = self.inputs.potential.elements
        script.write_structure(handle, self.inputs.structure.get_ase(), elements, self.dynamics)

    def get_script(self) -> str:
        """Return the input of LAMMPS."""
        resume = 'restart' in self.inputs
        return script.write_script(
            self.dynamics,
            self.inputs.potential.metadata,
            resume=resume,
            reference_volume=self.get_reference_volume() if resume else None,
            label=self.node.label,
        )

    def get_reference_volume(self) -> float | None:
        """Return the volume per atom (Å³) with which the simulation that is resumed was compared, if it said so."""
        creator = self.inputs.restart.creator
        if creator is not None and 'results' in creator.outputs:
            return creator.outputs.results.get_dict().get('reference_volume_per_atom')
        return None
