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
        spec.exit_code(
            411,
            'ERROR_JOB_KEPT_FAILING',
            message='The job was run {times} times and failed each time, the last time: {end}',
        )

    def setup(self):
        """Collect the inputs of the job."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(self._process_class, 'job'))

    def inspect_process(self):
        """Look at the job that has ended; where it is given up, say why it failed and not only that it did."""
        exit_code = super().inspect_process()
        given_up = (
            self.exit_codes.ERROR_UNHANDLED_FAILURE.status,
            self.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status,
        )
        if exit_code is None or exit_code.status not in given_up:
            return exit_code
        node = self.ctx.children[-1]
        end = f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}'
        return self.exit_codes.ERROR_JOB_KEPT_FAILING.format(times=len(self.ctx.children), end=end)

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
