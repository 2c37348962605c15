"""WorkChain that fits a potential to labelled configurations."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ProcessHandlerReport, process_handler
from aiida.plugins import CalculationFactory

from .worker_base import WorkerBaseWorkChain, get_options

PaceTrainCalculation = CalculationFactory('pyacemaker.pace_train')


class TrainWorkChain(WorkerBaseWorkChain):
    """Fit an ACE potential on a physical baseline, build its active set and measure it on a held-out set.

    A fit that continues a potential, or one that was killed, takes over what was computed there.
    """

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
            parent_folder = get_parent_folder(potential, code)
            if parent_folder is not None:
                builder.job.parent_folder = parent_folder
        return builder

    @process_handler(
        priority=500,
        exit_codes=[
            PaceTrainCalculation.exit_codes.ERROR_OUTPUT_MISSING,
            PaceTrainCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY,
            PaceTrainCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME,
            PaceTrainCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE,
        ],
    )
    def handle_killed(self, calculation):
        """Go on from what a fit that was killed has left."""
        self.ctx.inputs.parent_folder = calculation.outputs.remote_folder
        self.report(f'{calculation.process_label}<{calculation.pk}> was killed: going on from what it has computed')
        return ProcessHandlerReport(True)


def get_parent_folder(potential, code) -> orm.RemoteData | None:
    """Return where a potential was fitted, if the code runs on that machine.

    It depends on nothing but the potential, so a run that is repeated or continued has the same inputs, and is cached.
    """
    creator = potential.creator
    if creator is None or creator.process_type != PaceTrainCalculation.build_process_type():
        return None
    folder = creator.outputs.remote_folder if 'remote_folder' in creator.outputs else None
    if folder is None or code.computer is None or folder.computer.uuid != code.computer.uuid:
        return None
    return folder
