"""WorkChain that runs pw.x and heals what can be healed, by an explicit ladder; what cannot has its own exit code."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler, while_
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida_quantumespresso.common.types import RestartType

from aiida_pyacemaker.atomistics.labelling.healing import (
    NEGATIVE_DENSITY,
    Failure,
    find_overlap,
    read_accuracies,
    read_failure,
    read_negative_density,
)

from .healing.ladder import BANDS_EXTRA, BANDS_FACTOR, LADDER, other_diagonalization

PwCalculation = CalculationFactory('quantumespresso.pw')
PwBaseWorkChain = WorkflowFactory('quantumespresso.pw.base')

CODES = PwCalculation.exit_codes
SUCCESS = ExitCode(0)
#: Ends of a calculation that may have left an SCF that is not converged, success among them.
SCF_CODES = [SUCCESS, CODES.ERROR_ELECTRONIC_CONVERGENCE_NOT_REACHED, CODES.WARNING_ELECTRONIC_CONVERGENCE_NOT_REACHED]
#: The diagonalisation itself gave up.
DIAGONALIZATION_CODES = [
    CODES.ERROR_COMPUTING_CHOLESKY,
    CODES.ERROR_DIAGONALIZATION_TOO_MANY_BANDS_NOT_CONVERGED,
    CODES.ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE,
    CODES.ERROR_ZHEGVD_FAILED,
    CODES.ERROR_QR_FAILED,
    CODES.ERROR_EIGENVECTOR_CONVERGENCE,
    CODES.ERROR_BROYDEN_FACTORIZATION,
]
#: The scheduler ended the job before pw.x could write its files.
INTERRUPTED_CODES = [CODES.ERROR_OUT_OF_WALLTIME_INTERRUPTED, CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME]
#: pw.x was stopped from outside, or its node died: outputs are missing or end in the middle.
KILLED_CODES = [
    CODES.ERROR_SCHEDULER_NODE_FAILURE,
    CODES.ERROR_NO_RETRIEVED_FOLDER,
    CODES.ERROR_OUTPUT_STDOUT_MISSING,
    CODES.ERROR_OUTPUT_STDOUT_INCOMPLETE,
    CODES.ERROR_OUTPUT_XML_MISSING,
    CODES.ERROR_OUTPUT_XML_READ,
    CODES.ERROR_OUTPUT_XML_PARSE,
    CODES.ERROR_OUTPUT_FILES,
    CODES.ERROR_UNEXPECTED_PARSER_EXCEPTION,
]

#: Otherwise the last lines of gfortran's output are lost where pw.x aborts in the middle of an SCF or is killed.
UNBUFFERED = {'GFORTRAN_UNBUFFERED_PRECONNECTED': '1'}
#: The whole ladder, a restart or two after wall time included.
MAX_ITERATIONS = 12
#: Part of the wall time left to pw.x once the scheduler was faster than its clean end.
SECONDS_FACTOR = 0.8
#: Threshold (Ry) of the SCF that pw.x takes where the input says nothing.
DEFAULT_CONV_THR = 1e-6


@lru_cache(maxsize=8)
def read_retrieved(uuid: str, name: str) -> str:
    """Return the content of a file in a folder of retrieved files, empty if it is not there.

    Several handlers read the same files one after the other.
    """
    try:
        return orm.load_node(uuid).base.repository.get_object_content(name)
    except (FileNotFoundError, UnicodeDecodeError):
        return ''


def read_file(calculation: orm.CalcJobNode, name: str | None) -> str:
    """Return the content of a file that a calculation left, empty if it is not there."""
    if name is None or 'retrieved' not in calculation.outputs:
        return ''
    return read_retrieved(calculation.outputs.retrieved.uuid, name)


class PyacemakerPwBaseWorkChain(PwBaseWorkChain):
    """``PwBaseWorkChain`` with a ladder of remedies; a label comes out only of a converged SCF.

    The rungs for an SCF that does not converge are in :mod:`aiida_pyacemaker.workflows.healing.ladder`: more steps,
    less mixing, another diagonalisation, a wider smearing. Whatever converges with a wider smearing is run once more
    at the nominal one from that density, and is kept with a flag and a lower weight only if that fails. The other
    handlers: too few bands, a diagonalisation that gives up, wall time, memory, a killed job. What cannot be healed
    ends in an exit code that names the remedy.

    The output ``healing`` is there only if something was healed.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.inputs['max_iterations'].default = lambda: orm.Int(MAX_ITERATIONS)
        spec.output(
            'healing',
            valid_type=orm.Dict,
            required=False,
            help='What was healed: `rungs` (name, calculation, exit_status, action), `flags`, `weight` of the label, '
            '`nominal` values of the physical parameters that were changed.',
        )
        spec.outline(
            cls.setup,
            cls.validate_geometry,
            cls.validate_pseudos,
            cls.validate_kpoints,
            while_(cls.should_run_process)(
                cls.prepare_process,
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.exit_code(220, 'ERROR_ABSURD_GEOMETRY', message='No structure to compute: {reason}. Correct or drop it.')
        spec.exit_code(
            221,
            'ERROR_WRONG_PSEUDOPOTENTIAL',
            message='A pseudopotential cannot be used: {reason}. Install the family again or choose another one.',
        )
        spec.exit_code(
            411,
            'ERROR_OUT_OF_MEMORY',
            message='pw.x ran out of memory with one pool, too: {reason}. Give it more nodes or fewer processes on '
            'each, or a smaller cell.',
        )
        spec.exit_code(
            412,
            'ERROR_KILLED_TWICE',
            message='The job was killed or its node failed twice: {reason}. Look at the scheduler and its limits.',
        )
        spec.exit_code(
            413,
            'ERROR_WALLTIME_WITHOUT_PROGRESS',
            message='The wall time is too short for progress: {reason}. Raise `max_wallclock_seconds` or take more '
            'cores.',
        )
        spec.exit_code(
            414,
            'ERROR_PW_STOPPED',
            message='pw.x stopped by itself, and would again: {reason}. Correct the input that it complains about.',
        )
        spec.exit_code(
            550,
            'ERROR_LADDER_EXHAUSTED',
            message='No rung of the ladder helped ({reason}). Look at the structure, its magnetic start and the '
            'k-points, or drop it.',
        )

    @classmethod
    def get_builder_from_protocol(cls, code, structure, protocol=None, overrides=None, **kwargs):
        """Return a builder as ``PwBaseWorkChain`` does, with iterations enough for the whole ladder.

        See :meth:`aiida_quantumespresso.workflows.pw.base.PwBaseWorkChain.get_builder_from_protocol`.
        """
        overrides = {'max_iterations': MAX_ITERATIONS, **(overrides or {})}
        return super().get_builder_from_protocol(code, structure, protocol=protocol, overrides=overrides, **kwargs)

    # Before anything runs ---------------------------------------------------------------------------------------------

    def setup(self):
        """Start at the foot of the ladder."""
        super().setup()
        options = self.ctx.inputs.metadata.options
        options['environment_variables'] = {**UNBUFFERED, **options.get('environment_variables', {})}
        self.ctx.rungs = []
        self.ctx.smearing = None  # degauss: nominal and raised, widened: uuid of what converged with the raised one

    def validate_geometry(self):
        """Refuse atoms in the same place: pw.x would "converge" them."""
        reason = find_overlap(self.ctx.inputs.structure.get_ase())
        if reason:
            return self.exit_codes.ERROR_ABSURD_GEOMETRY.format(reason=reason)

    def validate_pseudos(self):
        """Refuse the pseudopotential of another element: pw.x would not notice."""
        for kind in self.ctx.inputs.structure.kinds:
            element = self.ctx.inputs.pseudos[kind.name].element
            if kind.symbol != element:
                reason = f'kind `{kind.name}` is {kind.symbol}, its pseudopotential is of {element}'
                return self.exit_codes.ERROR_WRONG_PSEUDOPOTENTIAL.format(reason=reason)

    # Reading a calculation --------------------------------------------------------------------------------------------

    def read_stdout(self, calculation) -> str:
        """Return the output of pw.x."""
        return read_file(calculation, calculation.get_option('output_filename'))

    def get_failure(self, calculation) -> Failure:
        """Return what the calculation that failed says about the reason."""
        return read_failure(
            stdout=self.read_stdout(calculation),
            stderr=read_file(calculation, calculation.get_option('scheduler_stderr')),
            crash=read_file(calculation, PwCalculation._CRASH_FILE),
        )

    def is_static(self) -> bool:
        """Return whether the calculation is of one geometry: the ladder is for these, relaxations keep their own."""
        return self.ctx.inputs.parameters['CONTROL'].get('calculation', 'scf') == 'scf'

    def is_unconverged(self, calculation) -> bool:
        """Return whether the SCF is not converged, whatever the exit status says."""
        if not self.is_static():
            return False
        if calculation.exit_status != 0:
            return calculation.exit_status in [code.status for code in SCF_CODES]
        outputs = calculation.outputs.output_parameters.get_dict()
        if outputs.get('convergence_info', {}).get('scf_conv', {}).get('convergence_achieved') is False:
            return True
        stdout = self.read_stdout(calculation)
        accuracies = read_accuracies(stdout)
        threshold = calculation.inputs.parameters.get_dict()['ELECTRONS'].get('conv_thr', DEFAULT_CONV_THR)
        return 'convergence has been achieved' not in stdout or not accuracies or accuracies[-1] > threshold

    # Climbing ---------------------------------------------------------------------------------------------------------

    def climb(self, calculation, rung: str, action: str, parent: str = '') -> ProcessHandlerReport:
        """Note a rung and run once more.

        :param parent: 'all' to continue with what the calculation left, 'density' with its charge density only, empty
            to start from scratch.
        """
        restart = {'all': RestartType.FULL, 'density': RestartType.FROM_CHARGE_DENSITY}.get(parent)
        if restart is None:
            self.set_restart_type(RestartType.FROM_SCRATCH)
        else:
            self.set_restart_type(restart, calculation.outputs.remote_folder)
        self.ctx.rungs = [
            *self.ctx.rungs,
            {'rung': rung, 'calculation': calculation.uuid, 'exit_status': calculation.exit_status, 'action': action},
        ]
        self.report(
            f'{calculation.process_label}<{calculation.pk}> ended with [{calculation.exit_status}] '
            f'{calculation.exit_message or ""}; rung `{rung}`: {action}'
        )
        return ProcessHandlerReport(True)

    def give_up(self, calculation, exit_code: ExitCode, reason: str) -> ProcessHandlerReport:
        """End with an exit code of this class."""
        exit_code = exit_code.format(reason=reason)
        self.report(f'{calculation.process_label}<{calculation.pk}> cannot be healed: {exit_code.message}')
        return ProcessHandlerReport(True, exit_code)

    def times(self, rung: str) -> int:
        """Return how often a rung was taken."""
        return sum(taken['rung'] == rung for taken in self.ctx.rungs)

    # Handlers, in the order in which they are asked -------------------------------------------------------------------

    @process_handler(priority=900)
    def handle_return_failed(self, calculation):
        """Keep the label of the wider smearing, flagged, where the way back to the nominal one failed."""
        widened = (self.ctx.smearing or {}).get('widened')
        if widened is None or (calculation.exit_status == 0 and not self.is_unconverged(calculation)):
            return None
        self.ctx.inputs.parameters['SYSTEM']['degauss'] = self.ctx.smearing['raised']
        self.ctx.is_finished = True
        self.report(f'no way back to the nominal smearing; the label of PwCalculation {widened} is kept, flagged')
        return ProcessHandlerReport(True)

    @process_handler(priority=860)
    def handle_memory(self, calculation):
        """Out of memory: one pool instead of many (each pool holds all of the density), else the exit code."""
        failure = Failure('', '') if calculation.is_finished_ok else self.get_failure(calculation)
        out_of_memory = calculation.exit_status == CODES.ERROR_SCHEDULER_OUT_OF_MEMORY.status
        too_many_pools = failure.kind == 'pools' or calculation.exit_status == CODES.ERROR_NPOOLS_TOO_HIGH.status
        if not (out_of_memory or too_many_pools or failure.kind == 'memory'):
            return None
        parallelization = self.get_parallelization()
        if parallelization.get('npool', 1) > 1:
            pools = parallelization['npool']
            self.ctx.inputs.parallelization = orm.Dict({**parallelization, 'npool': 1})
            return self.climb(calculation, 'memory', f'npool {pools} -> 1')
        reason = failure.message or calculation.exit_message
        if too_many_pools:
            return self.give_up(calculation, self.exit_codes.ERROR_PW_STOPPED, reason)
        return self.give_up(calculation, self.exit_codes.ERROR_OUT_OF_MEMORY, reason)

    def get_parallelization(self) -> dict[str, int]:
        """Return the parallelisation flags of the calculation."""
        return self.ctx.inputs.parallelization.get_dict() if 'parallelization' in self.ctx.inputs else {}

    @process_handler(priority=850)
    def handle_pseudopotential(self, calculation):
        """pw.x cannot read a pseudopotential, or makes a density of it that is negative."""
        if calculation.is_finished_ok:
            reason = self.get_negative_density(calculation)
        else:
            failure = self.get_failure(calculation)
            reason = failure.message if failure.kind == 'pseudopotential' else None
        if reason:
            return self.give_up(calculation, self.exit_codes.ERROR_WRONG_PSEUDOPOTENTIAL, reason)
        return None

    def get_negative_density(self, calculation) -> str | None:
        """Return how much of the density is negative where that is more than noise, or None."""
        negative = read_negative_density(self.read_stdout(calculation))
        electrons = self.get_electrons()
        if negative > NEGATIVE_DENSITY * electrons:
            return f'{negative:.3g} of {electrons:g} electrons are a negative density'
        return None

    def get_electrons(self) -> float:
        """Return the number of valence electrons."""
        structure, pseudos = self.ctx.inputs.structure, self.ctx.inputs.pseudos
        return sum(pseudos[site.kind_name].z_valence for site in structure.sites)

    @process_handler(priority=840)
    def handle_geometry(self, calculation):
        """pw.x itself refuses the geometry."""
        failure = self.get_failure(calculation) if calculation.is_failed else None
        if failure and failure.kind == 'geometry':
            return self.give_up(calculation, self.exit_codes.ERROR_ABSURD_GEOMETRY, failure.message)
        return None

    @process_handler(priority=830)
    def handle_too_few_bands(self, calculation):
        """Fewer bands than electrons need: pw.x refuses to start; take enough for metals."""
        failure = self.get_failure(calculation) if calculation.is_failed else None
        if not failure or failure.kind != 'bands':
            return None
        given = self.ctx.inputs.parameters['SYSTEM'].get('nbnd', 'none')
        spinors = self.ctx.inputs.parameters['SYSTEM'].get('noncolin', False)
        needed = self.get_electrons() / (1 if spinors else 2)
        number = math.ceil(BANDS_FACTOR * needed) + BANDS_EXTRA
        if self.times('bands'):
            return self.give_up(calculation, self.exit_codes.ERROR_PW_STOPPED, failure.message)
        self.ctx.inputs.parameters['SYSTEM']['nbnd'] = number
        return self.climb(calculation, 'bands', f'nbnd {given} -> {number}')

    @process_handler(priority=820, exit_codes=CODES.ERROR_OUT_OF_WALLTIME)
    def handle_out_of_walltime(self, calculation):
        """pw.x ended in time: continue where it stopped, as long as it moves on."""
        if not self.is_static():
            return super().handle_out_of_walltime(calculation)
        iterations = len(read_accuracies(self.read_stdout(calculation)))
        if not iterations:
            reason = 'not one iteration of the SCF was completed'
            return self.give_up(calculation, self.exit_codes.ERROR_WALLTIME_WITHOUT_PROGRESS, reason)
        return self.climb(calculation, 'wall_time', f'continued after {iterations} iterations', parent='all')

    @process_handler(priority=815, exit_codes=INTERRUPTED_CODES)
    def handle_interrupted(self, calculation):
        """The scheduler was faster than pw.x's clean end: leave more time for it, once."""
        if not self.is_static():
            return None
        control = self.ctx.inputs.parameters['CONTROL']
        if self.times('clean_end') or 'max_seconds' not in control:
            reason = 'pw.x was interrupted before it could write its files'
            return self.give_up(calculation, self.exit_codes.ERROR_WALLTIME_WITHOUT_PROGRESS, reason)
        seconds = SECONDS_FACTOR * control['max_seconds']
        control['max_seconds'] = seconds
        return self.climb(calculation, 'clean_end', f'max_seconds {seconds:.0f}, from scratch')

    @process_handler(priority=710, exit_codes=DIAGONALIZATION_CODES)
    def handle_diagonalization_errors(self, calculation):
        """The diagonalisation gave up: david, cg, ppcg, paro, as far as this version of pw.x has them."""
        step = other_diagonalization(self, calculation)
        if step is None:
            reason = f'every diagonalisation gave up, the last with: {calculation.exit_message}'
            return self.give_up(calculation, self.exit_codes.ERROR_LADDER_EXHAUSTED, reason)
        return self.climb(calculation, 'diagonalization', step.action)

    @process_handler(priority=705, exit_codes=KILLED_CODES)
    def handle_killed(self, calculation):
        """Killed from outside, or the node died: once more from scratch, and only once."""
        if not self.is_static():
            return None
        failure = self.get_failure(calculation)
        if failure.message and failure.kind != 'disk':
            return None
        reason = failure.message or calculation.exit_message
        if self.times('killed'):
            return self.give_up(calculation, self.exit_codes.ERROR_KILLED_TWICE, reason)
        calculation.base.caching.is_valid_cache = False  # the same inputs once more must not get the same end
        return self.climb(calculation, 'killed', f'once more from scratch ({reason})')

    @process_handler(priority=702)
    def handle_stopped(self, calculation):
        """pw.x stopped with an error of its own that no handler knows: it would stop again."""
        failure = self.get_failure(calculation) if calculation.is_failed else None
        if failure and failure.message and self.is_static():
            return self.give_up(calculation, self.exit_codes.ERROR_PW_STOPPED, failure.message)
        return None

    # The ladder of the SCF --------------------------------------------------------------------------------------------

    #: The check of the base class that the highest band is empty is a rung of the ladder here.
    sanity_check_insufficient_bands = None

    @process_handler(priority=690, exit_codes=SCF_CODES)
    def climb_ladder(self, calculation):
        """Take the first rung that applies and has something left to change; give up where there is none."""
        converged = not self.is_unconverged(calculation)
        for rung in LADDER:
            reason = rung.when(self, calculation)
            if reason is None:
                continue
            step = rung.change(self, calculation) if self.times(rung.name) < rung.repeat else None
            if step is not None:
                return self.climb(calculation, rung.name, step.action, step.start)
            if converged:  # and still no label, for a reason that its rung can do nothing more about
                return self.give_up(calculation, self.exit_codes.ERROR_LADDER_EXHAUSTED, reason)
        if converged:
            return None
        accuracies = read_accuracies(self.read_stdout(calculation))
        rungs = ', '.join(dict.fromkeys(taken['rung'] for taken in self.ctx.rungs))
        reason = (
            f'rungs {rungs}; the SCF was left at an accuracy of {accuracies[-1] if accuracies else math.inf:.2g} Ry'
        )
        return self.give_up(calculation, self.exit_codes.ERROR_LADDER_EXHAUSTED, reason)

    # The end ----------------------------------------------------------------------------------------------------------

    def results(self):
        """Attach the outputs of the calculation that holds the label, and what was healed on the way."""
        calculation = self.ctx.children[self.ctx.iteration - 1]
        if self.is_flagged():
            calculation = orm.load_node((self.ctx.smearing or {}).get('widened', calculation.uuid))
        self.report(f'work chain completed after {self.ctx.iteration} iterations')
        self._attach_outputs(calculation)
        if self.ctx.rungs:
            self.out('healing', orm.Dict(self.get_healing()).store())

    def is_flagged(self) -> bool:
        """Return whether the label is of a wider smearing than the nominal one."""
        smearing = self.ctx.smearing
        return bool(smearing) and self.ctx.inputs.parameters['SYSTEM']['degauss'] != smearing['nominal']

    def get_healing(self) -> dict[str, Any]:
        """Return what was healed, as the output ``healing`` has it."""
        healing = {'rungs': self.ctx.rungs, 'flags': [], 'weight': 1.0, 'nominal': {}}
        if self.is_flagged():
            nominal, raised = self.ctx.smearing['nominal'], self.ctx.smearing['raised']
            healing['flags'] = [f'smearing raised to {raised:g} Ry']
            healing['weight'] = nominal / raised
            healing['nominal'] = {'degauss': nominal}
        return healing

    def on_terminated(self):
        """Note the disk space that the calculations take, then clean their folders if asked to."""
        self.note_disk_usage()
        super().on_terminated()

    def note_disk_usage(self):
        """Set the extra ``disk_bytes``; that it cannot be had is no reason to fail."""
        total = 0
        for calculation in self.node.called_descendants:
            if not isinstance(calculation, orm.CalcJobNode) or calculation.base.caching.is_created_from_cache:
                continue
            try:
                total += calculation.outputs.remote_folder.get_size_on_disk(return_bytes=True)[0]
            except Exception as exception:
                self.logger.info(f'no disk usage of CalcJob {calculation.pk}: {exception}')
        self.node.base.extras.set('disk_bytes', total)
