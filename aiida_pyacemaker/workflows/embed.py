"""WorkChain that turns halted simulations into configurations worth labelling."""

from __future__ import annotations

from aiida import orm
from aiida.engine import WorkChain
from aiida.plugins import CalculationFactory, DataFactory

from aiida_pyacemaker.calculations.functions.merge_configurations import merge_configurations

from .restart import WorkerBaseWorkChain, get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
PaceSelectCalculation = CalculationFactory('pyacemaker.pace_select')


class SelectWorkChain(WorkerBaseWorkChain):
    """Run one selection job, once more if it is killed."""

    _process_class = PaceSelectCalculation


class EmbedWorkChain(WorkChain):
    """From halted frames to a few configurations for DFT.

    Around each halted frame local candidates are made, and D-optimality on the potential's B-basis picks the most
    informative ones with the halted frame as anchor. Frames of trajectories that did not halt serve as held-out data.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='Code of the worker, `pyacemaker-worker`.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential that drove the simulations.')
        spec.input_namespace(
            'snapshots',
            valid_type=ConfigurationsData,
            dynamic=True,
            help='Frames of the simulations, `halted` and/or `trajectory`.',
        )
        spec.input('parameters', valid_type=orm.Dict, help='The section `embed` of a run file, and `seed`.')
        spec.input('options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of the job.')
        spec.outline(
            cls.run_selection,
            cls.results,
        )
        spec.output(
            'configurations',
            valid_type=ConfigurationsData,
            help='What to label; `split` in the info says whether to train on it or to hold it out.',
        )
        spec.exit_code(404, 'ERROR_SELECTION_FAILED', message='The selection failed: {message}')

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
        builder.code = code
        builder.potential = potential
        builder.snapshots = snapshots
        builder.parameters = orm.Dict(parameters)
        if options:
            builder.options = orm.Dict(options)
        return builder

    def run_selection(self):
        """Make local candidates and choose among them, on the compute machine."""
        builder = SelectWorkChain.get_builder()
        builder.job.code = self.inputs.code
        builder.job.potential = self.inputs.potential
        builder.job.configurations = merge_configurations(
            **self.inputs.snapshots, metadata={'call_link_label': 'merge_snapshots'}
        )
        builder.job.parameters = self.inputs.parameters
        builder.job.metadata.options = get_options(self.inputs.options.get_dict() if 'options' in self.inputs else None)
        builder.metadata.call_link_label = 'select'
        self.to_context(selection=self.submit(builder))

    def results(self):
        """Pass the selection on."""
        node = self.ctx.selection
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_SELECTION_FAILED.format(message=node.exit_message)
        self.out('configurations', node.outputs.configurations)
