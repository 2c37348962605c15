"""WorkChain that fits a potential to labelled configurations."""

from __future__ import annotations

from aiida import orm
from aiida.plugins import CalculationFactory

from .restart import WorkerBaseWorkChain, get_options

PaceTrainCalculation = CalculationFactory('pyacemaker.pace_train')


class TrainWorkChain(WorkerBaseWorkChain):
    """Fit an ACE potential on a physical baseline, build its active set and measure it on a held-out set."""

    _process_class = PaceTrainCalculation

    @classmethod
    def get_builder_from_protocol(cls, code, configurations, parameters, test=None, potential=None, options=None):
        """Return a builder for one fit.

        :param code: code of the worker, ``pyacemaker-worker``.
        :param configurations: labelled :class:`~aiida_pyacemaker.data.ConfigurationsData` to train on.
        :param parameters: dictionary, the section ``train`` of a run file plus ``elements``, ``seed``, ``generation``.
        :param test: labelled configurations that are only measured, never trained on.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` to continue from.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.job.code = code
        builder.job.configurations = configurations
        builder.job.parameters = orm.Dict(parameters)
        builder.job.metadata.options = get_options(options)
        if test is not None:
            builder.job.test = test
        if potential is not None:
            builder.job.potential = potential
        return builder
