"""WorkChain that turns halted simulations into configurations worth labelling."""

from __future__ import annotations

from aiida import orm
from aiida.plugins import CalculationFactory, DataFactory

from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations

from .worker_base import WorkerBaseWorkChain, get_options

PaceSelectCalculation = CalculationFactory('pyacemaker.pace_select')


class EmbedWorkChain(WorkerBaseWorkChain):
    """From halted frames to a few configurations for DFT.

    Halted frames are anchors; neighbours of theirs are added where they are asked for, by D-optimality on the
    potential's B-basis. Simulations that broke off teach by their frames above gamma_select, those that did not halt
    serve as held-out data. Where nothing is worth a label, there are no `configurations`, which is no failure.
    """

    _process_class = PaceSelectCalculation
    _derived_inputs = ('configurations',)

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'snapshots',
            valid_type=DataFactory('pyacemaker.configurations'),
            dynamic=True,
            help='Frames of the simulations, `halted` and/or `trajectory`.',
        )

    @classmethod
    def get_builder_from_protocol(cls, code, potential, snapshots, parameters, options=None):
        """Return a builder that selects from ``snapshots``.

        :param code: code of the worker, ``pyacemaker-worker``.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` that drove the simulations.
        :param snapshots: mapping of ``halted`` and/or ``trajectory`` to configurations.
        :param parameters: dictionary, the section ``embed`` of a resolved run file and ``seed``.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.snapshots = snapshots
        builder.job.code = code
        builder.job.potential = potential
        builder.job.parameters = orm.Dict(parameters)
        builder.job.metadata.options = get_options(options)
        return builder

    def setup(self):
        """Join the snapshots into the configurations of the job."""
        super().setup()
        self.ctx.inputs.configurations = merge_configurations(
            **self.inputs.snapshots, metadata={'call_link_label': 'merge_snapshots'}
        )
