"""CalcJob that runs molecular dynamics with an ACE potential under a watch on the extrapolation grade."""

from __future__ import annotations

import numbers
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida_lammps.calculations.raw import LammpsRawCalculation

from aiida_pyacemaker.calculations.worker import Check, at_least, check_parameters, one_of
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import AcePotentialData

BAR_PER_GPA = 1e4
PS_PER_FS = 1e-3


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


class LammpsPaceCalculation(LammpsRawCalculation):
    """Molecular dynamics with an ACE potential and its baseline, halted when the potential would have to extrapolate.

    The simulation starts from ``structure``, or resumes from ``restart``, with another potential if one likes: step,
    positions, velocities, thermostat and barostat continue, and so do the ramps of temperature and pressure, which
    always go from step 0 to step ``steps``. A halt is an outcome, not an error.

    Three watches halt: the extrapolation grade gamma (every ``gamma_every`` steps), the volume against that of the
    start (gamma does not see boiling), and the temperature against the thermostat. The log says which of them it was.
    """

    FILENAME_INPUT = 'input.in'
    FILENAME_OUTPUT = 'lammps.out'
    FILENAME_STRUCTURE = 'structure.data'
    FILENAME_RESTART_IN = 'start.restart'
    FILENAME_RESTART = 'final.restart'
    FILENAME_TRAJECTORY = 'trajectory.dump'
    FILENAME_SELECTED = 'selected.dump'
    FILENAME_LAST = 'halted.dump'
    FILENAME_GAMMA = 'gamma.dat'
    FILES_POTENTIAL = ('potential.yaml', 'potential.asi')
    #: Prefix of the lines of the output that are written for the parser.
    MARK = 'PYACEMAKER'

    #: What is used for parameters that are not given.
    DEFAULTS = {
        'ensemble': 'npt',
        'coupling': 'aniso',
        'pressure': [0.0, 0.0],
        'timestep': 1.0,
        'gamma_every': 10,
        'gamma_halt': 5.0,
        'thermo_every': 100,
        'dump_every': 500,
        'seed': 42,
        'max_volume_ratio': 1.6,
        'max_temperature_ratio': 5.0,
    }
    REQUIRED_PARAMETERS = ('temperature', 'steps')
    PARAMETERS = {
        'ensemble': one_of('npt', 'nvt'),
        'coupling': one_of('iso', 'aniso', 'tri'),
        'temperature': schedule(0),
        'pressure': schedule(),
        'steps': at_least(1, numbers.Integral),
        'timestep': at_least(0, strict=True),
        'gamma_every': at_least(1, numbers.Integral),
        'gamma_halt': at_least(0, strict=True),
        'gamma_select': at_least(0, strict=True),
        'thermo_every': at_least(1, numbers.Integral),
        'dump_every': at_least(1, numbers.Integral),
        'seed': at_least(0, numbers.Integral),
        'max_volume_ratio': at_least(1, strict=True),
        'max_temperature_ratio': at_least(1, strict=True),
        'reference_volume_per_atom': at_least(0, strict=True),
    }
    #: Steps before the watch on the temperature starts: a strained start, or a new potential, releases heat.
    SETTLING_STEPS = 500
    #: Relaxation times of thermostat and barostat in time steps.
    THERMOSTAT_STEPS = 100
    BAROSTAT_STEPS = 1000

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
            '`temperature` and `pressure` as [first, last] in K and GPa, `steps` in total, `timestep` in fs, '
            '`gamma_every`, `gamma_halt`, `gamma_select` (frames from here on are dumped), `thermo_every`, '
            '`dump_every`, `seed`, `max_volume_ratio`, `max_temperature_ratio`, `reference_volume_per_atom` in Å³ (to '
            'which the volume is compared; the volume at the start if left out). All but '
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
            'restart', valid_type=orm.SinglefileData, required=False, help='Binary restart file of the last step.'
        )
        spec.output(
            'trajectory',
            valid_type=ConfigurationsData,
            required=False,
            help='Snapshots, every `dump_every` steps and above `gamma_select`, with the gamma of each atom.',
        )
        spec.output(
            'halted',
            valid_type=ConfigurationsData,
            required=False,
            help='The last frame, if the watch on gamma halted.',
        )
        spec.output(
            'thermo',
            valid_type=orm.ArrayData,
            required=False,
            help='The thermo output, one array per column, and gamma at every step at which it was computed.',
        )
        spec.exit_code(301, 'ERROR_NO_LOG', message='LAMMPS left no output: it did not start.', invalidates_cache=True)
        spec.exit_code(
            302,
            'ERROR_INCOMPLETE',
            message='The output of LAMMPS stops at step {step}: it was killed, ran out of memory or time, or crashed.',
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
        spec.exit_code(313, 'ERROR_LOST_ATOMS', message='Atoms were lost: {message}', invalidates_cache=True)
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
        parameters = cls.complete(given)
        # LAMMPS stops with an error when it prints a gamma of a step at which it was not computed.
        for key in ('steps', 'thermo_every', 'dump_every'):
            if parameters[key] % parameters['gamma_every']:
                return (
                    f'the parameter `{key}` ({parameters[key]}) must be a multiple of `gamma_every` '
                    f'({parameters["gamma_every"]}).'
                )
        return None

    @classmethod
    def validate_inputs(cls, inputs: dict[str, Any], ctx: Any) -> str | None:
        """Check the inputs against each other."""
        if ('structure' in inputs) == ('restart' in inputs):
            return 'give either `structure` for a fresh simulation or `restart` to resume one.'
        elements = inputs['potential'].elements if 'potential' in inputs else None
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

    @classmethod
    def complete(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters with defaults for those that are not given."""
        given = {key: value for key, value in parameters.items() if value is not None}
        complete = {**cls.DEFAULTS, **given}
        complete.setdefault('gamma_select', complete['gamma_halt'])
        complete.setdefault('reference_volume_per_atom', None)
        return complete

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write script and structure, and have the files of the nodes copied to the compute machine.

        :param folder: the sandbox folder.
        """
        potential = self.inputs.potential
        copies = [(potential.uuid, name, name) for name in self.FILES_POTENTIAL]
        if 'restart' in self.inputs:
            restart = self.inputs.restart
            copies.append((restart.uuid, restart.filename, self.FILENAME_RESTART_IN))
        else:
            self.write_structure(folder)
        with folder.open(self.inputs.metadata.options.input_filename, 'w', encoding='utf-8') as handle:
            handle.write(self.get_script())

        codeinfo = CodeInfo()
        codeinfo.code_uuid = self.inputs.code.uuid
        codeinfo.cmdline_params = ['-in', self.inputs.metadata.options.input_filename, '-log', 'none']
        codeinfo.stdout_name = self.inputs.metadata.options.output_filename
        codeinfo.join_files = True

        calcinfo = CalcInfo()
        calcinfo.codes_info = [codeinfo]
        calcinfo.local_copy_list = copies
        settings = self.inputs.settings.get_dict() if 'settings' in self.inputs else {}
        calcinfo.retrieve_list = [codeinfo.stdout_name, *settings.get('additional_retrieve_list', [])]
        # They become nodes of their own.
        calcinfo.retrieve_temporary_list = [
            self.FILENAME_RESTART,
            self.FILENAME_TRAJECTORY,
            self.FILENAME_SELECTED,
            self.FILENAME_LAST,
            self.FILENAME_GAMMA,
        ]
        return calcinfo

    def write_structure(self, folder: Folder) -> None:
        """Write the structure as a data file of LAMMPS, rotated into its orientation of the cell."""
        from ase.io.lammpsdata import write_lammps_data

        parameters = self.complete(self.inputs.parameters.get_dict())
        atoms = self.inputs.structure.get_ase()
        atoms.wrap()
        with folder.open(self.FILENAME_STRUCTURE, 'w', encoding='utf-8') as handle:
            write_lammps_data(
                handle,
                atoms,
                specorder=self.inputs.potential.elements,
                masses=True,
                force_skew=parameters['coupling'] == 'tri',
                units='metal',
                atom_style='atomic',
            )

    def get_script(self) -> str:
        """Return the LAMMPS input."""
        from aiida_pyacemaker.atomistics.lammps import pair_lines

        parameters = self.complete(self.inputs.parameters.get_dict())
        potential = self.inputs.potential
        return '\n'.join(
            [
                f'# {self.node.label or "molecular dynamics"}: {" ".join(potential.elements)}, '
                f'potential of generation {potential.generation}',
                *self.start_lines(parameters),
                pair_lines(potential.metadata).rstrip('\n'),
                *self.watch_lines(parameters),
                *self.dynamics_lines(parameters),
                *self.output_lines(parameters, potential.elements),
                f'run {parameters["steps"]} upto start 0 stop {parameters["steps"]}',
                *self.end_lines(potential.elements),
                '',
            ]
        )

    def start_lines(self, parameters: dict[str, Any]) -> list[str]:
        """Return the lines that set up box and atoms."""
        if 'restart' in self.inputs:
            lines = [f'read_restart {self.FILENAME_RESTART_IN}']
            if parameters['coupling'] == 'tri':
                lines.append('change_box all triclinic')
        else:
            lines = [
                'units metal',
                'atom_style atomic',
                'boundary p p p',
                f'read_data {self.FILENAME_STRUCTURE}',
            ]
        return [*lines, 'neigh_modify every 1 delay 0 check yes']

    def watch_lines(self, parameters: dict[str, Any]) -> list[str]:
        """Return the lines that compute gamma, ratio of volumes and ratio of temperatures, and halt on them."""
        every = parameters['gamma_every']
        reference = self.get_reference_volume(parameters)
        first, last = parameters['temperature']
        lines = [
            f'fix gamma all pair {every} pace/extrapolation gamma 1',
            'compute gamma_max all reduce max f_gamma',
            'variable gamma_max equal c_gamma_max',
            'variable start_step equal $(step)',
            # The volume before the run is that of the start.
            f'variable reference_volume equal {f"{reference:.15g}" if reference else "$(vol/atoms:%.15g)"}',
            'variable volume_ratio equal vol/atoms/v_reference_volume',
            f'variable target equal {first}+({last}-{first})*step/{parameters["steps"]}',
            f'variable temperature_ratio equal (step>v_start_step+{self.SETTLING_STEPS})*temp/v_target',
            # Remembers every gamma, of which the thermo output shows only some.
            f'fix track all ave/time {every} 1 {every} c_gamma_max file {self.FILENAME_GAMMA}',
        ]
        limits = {'gamma': 'gamma_max', 'volume': 'volume_ratio', 'temperature': 'temperature_ratio'}
        values = (parameters['gamma_halt'], parameters['max_volume_ratio'], parameters['max_temperature_ratio'])
        for (name, variable), value in zip(limits.items(), values):
            lines.append(f'fix halt_{name} all halt {every} v_{variable} > {value} error soft message yes')
        return lines

    def get_reference_volume(self, parameters: dict[str, Any]) -> float | None:
        """Return the volume per atom (Å³) against which the watch compares, or nothing for that before the run."""
        if parameters['reference_volume_per_atom'] or 'structure' in self.inputs:
            return parameters['reference_volume_per_atom']
        creator = self.inputs.restart.creator
        if creator is not None and 'results' in creator.outputs:
            return creator.outputs.results.get_dict().get('reference_volume_per_atom')
        return None

    def dynamics_lines(self, parameters: dict[str, Any]) -> list[str]:
        """Return the lines of velocities, thermostat and barostat.

        The fix has the same name and style in every run, so that LAMMPS restores its state from a restart file.
        """
        timestep = parameters['timestep'] * PS_PER_FS
        first, last = parameters['temperature']
        fix = f'fix dynamics all {parameters["ensemble"]} temp {first} {last} {self.THERMOSTAT_STEPS * timestep:.6g}'
        if parameters['ensemble'] == 'npt':
            pressures = ' '.join(f'{value * BAR_PER_GPA:.10g}' for value in parameters['pressure'])
            fix += f' {parameters["coupling"]} {pressures} {self.BAROSTAT_STEPS * timestep:.6g}'
        lines = [f'timestep {timestep:.10g}', fix]
        if 'restart' not in self.inputs:
            # LAMMPS wants a seed above 0 and below 900 million.
            lines.append(
                f'velocity all create {first} {parameters["seed"] % 899999999 + 1} mom yes rot no dist gaussian'
            )
        return lines

    def output_lines(self, parameters: dict[str, Any], elements: list[str]) -> list[str]:
        """Return the lines of thermo output and snapshots."""
        columns = 'id type element x y z f_gamma'
        modify = f'sort id element {" ".join(elements)} format float %.15g'
        return [
            f'thermo {parameters["thermo_every"]}',
            'thermo_style custom step temp pe press vol c_gamma_max',
            'thermo_modify flush yes lost error',
            f'dump trajectory all custom {parameters["dump_every"]} {self.FILENAME_TRAJECTORY} {columns}',
            f'dump_modify trajectory {modify}',
            f'variable is_known equal "c_gamma_max < {parameters["gamma_select"]}"',
            f'dump selected all custom {parameters["gamma_every"]} {self.FILENAME_SELECTED} {columns}',
            f'dump_modify selected {modify} skip v_is_known',
        ]

    def end_lines(self, elements: list[str]) -> list[str]:
        """Return the lines that are run after the end or the halt."""
        return [
            f'write_restart {self.FILENAME_RESTART}',
            f'write_dump all custom {self.FILENAME_LAST} id type element x y z f_gamma modify sort id element '
            f'{" ".join(elements)} format float %.15g',
            f'print "{self.MARK} step $(step)"',
            f'print "{self.MARK} start_step ${{start_step}}"',
            f'print "{self.MARK} temperature $(temp:%.10g)"',
            f'print "{self.MARK} reference_volume_per_atom $(v_reference_volume:%.15g)"',
        ]
