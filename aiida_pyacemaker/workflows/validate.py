"""WorkChain that measures a potential on configurations it was never trained on."""

from __future__ import annotations

from aiida import orm
from aiida.engine import WorkChain
from aiida.plugins import CalculationFactory, DataFactory

from aiida_pyacemaker.calculations.functions.judge import judge

from .restart import WorkerBaseWorkChain, get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
PaceEvaluateCalculation = CalculationFactory('pyacemaker.pace_evaluate')


class EvaluateWorkChain(WorkerBaseWorkChain):
    """Run one evaluation job, once more if it is killed."""

    _process_class = PaceEvaluateCalculation


class ValidateWorkChain(WorkChain):
    """Errors of energy, forces and stress on a held-out set, and whether they meet the criteria."""

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='Code of the worker, `pyacemaker-worker`.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential to judge.')
        spec.input('configurations', valid_type=ConfigurationsData, help='Labelled configurations held out of training.')
        spec.input('parameters', valid_type=orm.Dict, help='The section `validate` of a run file.')
        spec.input('options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of the job.')
        spec.outline(
            cls.run_evaluation,
            cls.results,
        )
        spec.output('results', valid_type=orm.Dict, help='Errors, criteria and `passed`.')
        spec.output('predictions', valid_type=ConfigurationsData, help='The configurations as the potential sees them.')
        spec.exit_code(405, 'ERROR_EVALUATION_FAILED', message='The evaluation failed: {message}')

    @classmethod
    def get_builder_from_protocol(cls, code, potential, configurations, parameters, options=None):
        """Return a builder that judges ``potential`` on ``configurations``.

        :param code: code of the worker, ``pyacemaker-worker``.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` to judge.
        :param configurations: labelled configurations held out of training.
        :param parameters: dictionary, the section ``validate`` of a resolved run file.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.potential = potential
        builder.configurations = configurations
        builder.parameters = orm.Dict(parameters)
        if options:
            builder.options = orm.Dict(options)
        return builder

    def run_evaluation(self):
        """Predict the held-out labels on the compute machine."""
        builder = EvaluateWorkChain.get_builder()
        builder.job.code = self.inputs.code
        builder.job.potential = self.inputs.potential
        builder.job.configurations = self.inputs.configurations
        builder.job.parameters = orm.Dict({})
        builder.job.metadata.options = get_options(self.inputs.options.get_dict() if 'options' in self.inputs else None)
        builder.metadata.call_link_label = 'evaluate'
        self.to_context(evaluation=self.submit(builder))

    def results(self):
        """Compare the errors with the criteria."""
        node = self.ctx.evaluation
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATION_FAILED.format(message=node.exit_message)
        verdict = judge(node.outputs.results, self.inputs.parameters, metadata={'call_link_label': 'judge'})
        self.out('results', verdict)
        self.out('predictions', node.outputs.predictions)
