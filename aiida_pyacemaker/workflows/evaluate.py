"""WorkChain that measures a potential on configurations it was never trained on."""

from __future__ import annotations

from aiida import orm
from aiida.plugins import CalculationFactory

from aiida_pyacemaker.calculations.functions.judge_errors import judge_errors

from .worker_base import WorkerBaseWorkChain, get_options

PaceEvaluateCalculation = CalculationFactory('pyacemaker.pace_evaluate')


class EvaluateWorkChain(WorkerBaseWorkChain):
    """Errors of energy, forces and stress on a held-out set, and whether they meet the criteria."""

    _process_class = PaceEvaluateCalculation

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input(
            'criteria', valid_type=orm.Dict, help='The section `validate` of a run file: the limits of the errors.'
        )

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
        builder.criteria = orm.Dict(parameters)
        builder.job.code = code
        builder.job.potential = potential
        builder.job.configurations = configurations
        builder.job.parameters = orm.Dict({})
        builder.job.metadata.options = get_options(options)
        return builder

    def get_outputs(self, node):
        """Return the outputs of the job with the verdict in place of the bare errors."""
        outputs = super().get_outputs(node)
        outputs['results'] = judge_errors(
            node.outputs.results, self.inputs.criteria, metadata={'call_link_label': 'judge'}
        )
        return outputs
