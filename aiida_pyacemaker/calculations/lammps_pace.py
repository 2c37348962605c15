"""CalcJob that runs molecular dynamics with an ACE potential under a watch on the extrapolation grade."""

from __future__ import annotations

import numbers
import re
from typing import Any, TextIO

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_lammps.calculations.raw import LammpsRawCalculation

from aiida_pyacemaker.atomistics.core import checksums
from aiida_pyacemaker.atomistics.lammps import watch as script
from aiida_pyacemaker.calculations.worker import Check, at_least, check_parameters, one_of
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData, get_stored_hash


def schedule(minimum: float | None = None) -> Check:
    """Return a check that a value is a pair of numbers, first and last value of a ramp, not below a minimum."""

    def check(value: Any) -> str | None:
        is_pair = isinstance(value, list | tuple) and len(value) == 2
        if not is_pair or not all(isinstance(item, numbers.Real) and not isinstance(item, bool) for item in value):
            return f'must be a pair [first, last] of numbers, but is {value!r}'
        if minimum is not None and min(value) <= minimum:
            return f'must be above {minimum}, but is {value!r}'
        return None

    return check


def min_distances(value: Any) -> str | None:
    """Check that a value is a mapping of pairs of elements to distances."""
    good = isinstance(value, dict) and all(
        re.fullmatch('[A-Z][a-z]?-[A-Z][a-z]?', pair) and not at_least(0, strict=True)(distance)
        for pair, distance in value.items()
    )
    return None if good else f'must be a mapping such as {{Al-Cu: 1.9}} of pairs to distances in Å, but is {value!r}'


def swap(value: Any) -> str | None:
    """Check that a value says which atoms are exchanged, and how often."""
    checks = {
        'every': at_least(1, numbers.Integral),
        'attempts': at_least(1, numbers.Integral),
        'temperature': at_least(0, strict=True),
        'pairs': _pairs,
    }
    return _check_mapping(value, checks, ('every', 'attempts', 'pairs'))


def _pairs(value: Any) -> str | None:
    good = isinstance(value, list) and value and all(isinstance(pair, list) and len(set(pair)) == 2 for pair in value)
    return None if good else f'must be a list of pairs of elements such as [[Cu, Au]], but is {value!r}'


def deform(value: Any) -> str | None:
    """Check that a value says how the cell is deformed."""
    checks = {
        'kind': one_of('tension', 'compression', 'shear'),
        'axis': one_of(*(('xy', 'xz', 'yz') if _is_shear(value) else ('x', 'y', 'z'))),
        'rate': at_least(0, strict=True),
    }
    return _check_mapping(value, checks, ('kind', 'axis', 'rate'))


def _is_shear(value: Any) -> bool:
    return isinstance(value, dict) and value.get('kind') == 'shear'


def _named_elements(parameters: dict[str, Any]) -> set[str]:
    """Return the elements that the parameters of a simulation name."""
    pairs = [pair.split('-') for pair in parameters.get('min_distances') or {}]
    pairs += (parameters.get('swap') or {}).get('pairs', [])
    return {element for pair in pairs for element in pair}


def _check_mapping(value: Any, checks: dict[str, Check], required: tuple[str, ...]) -> str | None:
    if not isinstance(value, dict):
        return f'must be a mapping with the keys {", ".join(checks)}, but is {value!r}'
    message = check_parameters(value, checks, required)
    return f'is wrong: {message.rstrip(".")}' if message else None


class LammpsPaceCalculation(LammpsRawCalculation):
    """Molecular dynamics with an ACE potential and its baseline, halted when the potential would have to extrapolate.

    The simulation starts from ``structure``, or resumes from ``restart``, with another potential if one likes: step,
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

    REQUIRED_PARAMETERS = ('temperature', 'steps')
    PARAMETERS = {
        'ensemble': one_of('npt', 'nvt'),
        'coupling': one_of('iso', 'aniso', 'tri'),
        'temperature': schedule(0),
        'pressure': schedule(),
        'steps': at_least(1, numbers.Integral),
        'timestep': at_least(0, strict=True),
        'gamma_every': at_least(1, numbers.Integral),
        'gamma_every_dense': at_least(1, numbers.Integral),
        'gamma_select': at_least(0, strict=True),
        'gamma_halt': at_least(0, strict=True),
        'gamma_extreme': at_least(0, strict=True),
        'halt_after': at_least(1, numbers.Integral),
        'soft_start': at_least(0, numbers.Integral),
        'thermo_every': at_least(1, numbers.Integral),
        'dump_every': at_least(1, numbers.Integral),
        'seed': at_least(0, numbers.Integral),
        'max_volume_ratio': at_least(1, strict=True),
        'max_temperature_ratio': at_least(1, strict=True),
        'reference_volume_per_atom': at_least(0, strict=True),
        'min_distances': min_distances,
        'swap': swap,
        'deform': deform,
    }

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
            validator=cls.validate_parameters,
            help='Schedule and watches: `ensemble` (npt, nvt), `coupling` of the barostat (iso, aniso, tri), '
            '`temperature` and `pressure` as [first, last] in K and GPa, `steps` in total, `timestep` in fs; '
            '`gamma_every` (steps between checks while gamma is low), `gamma_every_dense` (above `gamma_select`), '
            '`gamma_select` (frames from here on are dumped), `gamma_halt` (`halt_after` checks in a row above it '
            'halt), `gamma_extreme` (halts at once), `soft_start` (steps under a second, strong thermostat after a '
            'restart), `thermo_every`, `dump_every`, `seed`, `max_volume_ratio`, `max_temperature_ratio`, '
            '`reference_volume_per_atom` in Å³ (to which the volume is compared; that at the start if left out), '
            '`min_distances` (Å by pair, such as {Al-Cu: 1.9}), `swap` ({every, attempts, pairs, temperature}: Monte '
            'Carlo exchanges of atoms), `deform` ({kind: tension, compression or shear, axis, rate in 1/ps}). All but '
            '`temperature` and `steps` have a default.',
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
    def validate_parameters(cls, value: orm.Dict | None, _: Any) -> str | None:
        """Check the ``parameters``."""
        if value is None:
            return None
        given = value.get_dict()
        message = check_parameters(given, cls.PARAMETERS, cls.REQUIRED_PARAMETERS)
        if message is not None:
            return message
        parameters = script.complete(given)
        # LAMMPS stops with an error when it writes a gamma of a step at which it was not computed.
        for key, of in (
            ('gamma_every', 'gamma_every_dense'),
            ('steps', 'gamma_every'),
            ('dump_every', 'gamma_every'),
        ):
            if parameters[key] % parameters[of]:
                return f'the parameter `{key}` ({parameters[key]}) must be a multiple of `{of}` ({parameters[of]}).'
        for low, high in (('gamma_select', 'gamma_halt'), ('gamma_halt', 'gamma_extreme')):
            if parameters[low] > parameters[high]:
                return (
                    f'the parameter `{low}` ({parameters[low]}) must not be above `{high}` ({parameters[high]}): '
                    'change one of them.'
                )
        return None

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        if ('structure' in inputs) == ('restart' in inputs):
            return 'give either `structure` for a fresh simulation or `restart` to resume one.'
        elements = inputs['potential'].elements if 'potential' in inputs else None
        strangers = sorted(_named_elements(inputs['parameters'].get_dict()) - set(elements or []))
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

    def write_structure(self, handle: TextIO) -> None:
        """Write the data file of a simulation that starts."""
        parameters = self.inputs.parameters.get_dict()
        script.write_structure(handle, self.inputs.structure.get_ase(), self.inputs.potential.elements, parameters)

    def get_script(self) -> str:
        """Return the input of LAMMPS."""
        resume = 'restart' in self.inputs
        return script.write_script(
            self.inputs.parameters.get_dict(),
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
