"""Base of the WorkChains that run one worker job: a killed job runs once more, refused data end at once."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, process_handler, while_


class WorkerBaseWorkChain(BaseRestartWorkChain):
    """Run one worker CalcJob, set by ``_process_class``, with a single restart after a failure that says nothing.

    The inputs of the CalcJob are exposed in the namespace ``job``, but for those that the WorkChain derives itself.
    """

    _derived_inputs: tuple[str, ...] = ()

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.expose_inputs(cls._process_class, namespace='job', exclude=cls._derived_inputs)
        spec.expose_outputs(cls._process_class)
        spec.inputs['on_unhandled_failure'].default = lambda: orm.Str('restart_once')
        spec.inputs['max_iterations'].default = lambda: orm.Int(3)
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.exit_code(410, 'ERROR_JOB_REFUSED', message='The job refused its input or its task failed: {message}')

    def setup(self):
        """Collect the inputs of the job."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(self._process_class, 'job'))

    @process_handler(priority=600)
    def handle_refused(self, calculation):
        """Stop where the worker itself said what is wrong: a second try with the same input would say the same."""
        refusals = {
            self._process_class.exit_codes[label].status
            for label in ('ERROR_INVALID_DATA', 'ERROR_MISSING_ENGINE', 'ERROR_TASK_FAILED')
        }
        if calculation.exit_status in refusals:
            self.report(f'{calculation.process_label}<{calculation.pk}> stops: {calculation.exit_message}')
            return ProcessHandlerReport(
                True, self.exit_codes.ERROR_JOB_REFUSED.format(message=calculation.exit_message)
            )


def get_options(overrides: dict | None, **defaults) -> dict:
    """Return `metadata.options` with one serial process unless the overrides ask for more.

    :param overrides: options of the run file's section `options` for the code in question.
    :param defaults: options used where the overrides are silent.
    """
    options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False, **defaults}
    options.update(overrides or {})
    return options
