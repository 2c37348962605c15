"""WorkChain that labels configurations with an oracle: energy, forces and stress."""

from __future__ import annotations

from aiida import orm
from aiida.engine import WorkChain, while_
from aiida.plugins import DataFactory

from aiida_pyacemaker.calculations.functions.collect_labels import collect_labels
from aiida_pyacemaker.calculations.functions.get_structure import get_structure

from .adopt import adopt_child
from .oracles import load_oracle

ConfigurationsData = DataFactory('pyacemaker.configurations')

#: Cost of one calculation grows about with this power of the number of atoms: orders the queue.
COST_EXPONENT = 2.5


def validate_parameters(value, _):
    """Refuse what no calculation could run with."""
    if value is None:
        return None
    parameters = value.get_dict()
    for key in ('max_concurrent', 'max_failed_fraction'):
        if key not in parameters:
            return f'`label.{key}` is missing'
    if parameters['max_concurrent'] <= 0:
        return f'`label.max_concurrent` must be positive, got {parameters["max_concurrent"]}'
    try:
        load_oracle(parameters)
    except ValueError as exception:
        return str(exception)
    return None


class LabelWorkChain(WorkChain):
    """Label configurations with the oracle that ``label.oracle`` names.

    At most ``max_concurrent`` jobs run at a time, the costliest first; a job that fails costs its own configurations
    only, until more than ``max_failed_fraction`` of them have failed.
    """

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='The code of the oracle, such as Quantum ESPRESSO `pw.x`.')
        spec.input(
            'configurations',
            valid_type=ConfigurationsData,
            help='The configurations to label. Those with `split: test` in their info end in the output `test`.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            validator=validate_parameters,
            help='The section `label` of a run file with every value set.',
        )
        spec.input(
            'options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of every calculation.'
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_next)(
                cls.run_next,
            ),
            cls.inspect_calculations,
            cls.results,
        )
        spec.output(
            'train', valid_type=ConfigurationsData, required=False, help='The labelled training configurations.'
        )
        spec.output('test', valid_type=ConfigurationsData, required=False, help='The labelled held-out configurations.')
        spec.output('results', valid_type=orm.Dict, help='Counts, failures and cost of the batch.')
        spec.exit_code(
            401,
            'ERROR_TOO_MANY_FAILURES',
            message='{failed} of {total} calculations failed, more than `label.max_failed_fraction` allows; the '
            'labels of the others are in the outputs.',
        )

    @classmethod
    def get_builder_from_protocol(cls, code, configurations, parameters, options=None):
        """Return a builder that labels ``configurations``.

        :param code: the code of the oracle, such as ``pw.x``.
        :param configurations: :class:`~aiida_pyacemaker.data.ConfigurationsData` to label.
        :param parameters: dictionary, the section ``label`` of a resolved run file.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.configurations = configurations
        builder.parameters = orm.Dict(parameters)
        if options:
            builder.options = orm.Dict(options)
        return builder

    def setup(self):
        """Queue the jobs, the costliest first so that none is left running alone at the end."""
        self.ctx.parameters = self.inputs.parameters.get_dict()
        frames = self.inputs.configurations.get_frames()
        self.ctx.number = len(frames)
        # A job goes by the index of its first configuration.
        self.ctx.jobs = {indices[0]: indices for indices in self.oracle.get_jobs(frames)}
        self.ctx.costs = {
            index: sum(len(frames[k]) ** COST_EXPONENT for k in indices) for index, indices in self.ctx.jobs.items()
        }
        self.ctx.queue = sorted(self.ctx.jobs, key=lambda index: (-self.ctx.costs[index], index))
        self.ctx.children = {}
        self.ctx.running = []

    @property
    def oracle(self):
        """The oracle, made of the parameters alone, so that a checkpoint need not hold it."""
        return load_oracle(self.inputs.parameters.get_dict())

    def should_run_next(self) -> bool:
        """Return whether configurations wait or calculations run."""
        self.ctx.running = [index for index in self.ctx.running if not self.get_child(index).is_terminated]
        return bool(self.ctx.queue or self.ctx.running)

    def run_next(self):
        """Fill the free places and wait for the smallest running calculation, which is likely to end first.

        Waiting for one child rather than for a whole batch keeps the places filled; the others are looked at whenever
        it ends.
        """
        while self.ctx.queue and len(self.ctx.running) < self.ctx.parameters['max_concurrent']:
            index = self.ctx.queue.pop(0)
            child = adopt_child(self, f'label_{index:04d}') or self.submit_calculation(index)
            self.ctx.children[index] = child.pk
            self.ctx.running.append(index)

        awaited = min(self.ctx.running, key=lambda index: self.ctx.costs[index])
        self.to_context(awaited=self.get_child(awaited))

    def get_child(self, index: int) -> orm.WorkChainNode:
        """Return the node of the calculation that labels configuration ``index``."""
        return orm.load_node(self.ctx.children[index])

    def submit_calculation(self, index: int) -> orm.ProcessNode:
        """Submit one job."""
        oracle, indices, structure = self.oracle, self.ctx.jobs[index], None
        if oracle.NEEDS_STRUCTURE:
            structure = get_structure(
                self.inputs.configurations,
                orm.Int(index),
                metadata={'call_link_label': f'structure_{index:04d}'},
            )
        options = self.inputs.options.get_dict() if 'options' in self.inputs else {}
        builder = oracle.get_builder(self.inputs.code, self.inputs.configurations, indices, structure, options)
        what = f'{len(indices)} configurations' if structure is None else structure.get_formula()
        builder.metadata.label = f'{what} #{index}'
        builder.metadata.call_link_label = f'label_{index:04d}'
        return self.submit(builder)

    def inspect_calculations(self):
        """Sort the finished calculations from the failed ones and report the latter."""
        self.ctx.failures, self.ctx.labelled = [], {}
        for index in sorted(self.ctx.children):
            child = self.get_child(index)
            if child.is_finished_ok:
                self.ctx.labelled[index] = child.pk
                continue
            message = child.exit_message or (child.process_state.value if child.process_state else 'unknown state')
            failure = {'index': index, 'pk': child.pk, 'exit_status': child.exit_status, 'message': message}
            self.ctx.failures.append(failure)
            self.report(
                f'configuration {index} is lost: {child.process_label}<{child.pk}> [{child.exit_status}] {message}'
            )

    def results(self):
        """Collect the labels, whatever else failed, and compare the failures with the quota."""
        total = self.ctx.number
        failed = sum(len(self.ctx.jobs[failure['index']]) for failure in self.ctx.failures)

        # One call for each split, so that a training set has no path to the calculations of the held-out one.
        for split in ('train', 'test'):
            nodes = self.get_outputs_of_split(split)
            if nodes:
                label = f'collect_{split}'
                sets = collect_labels(self.inputs.configurations, **nodes, metadata={'call_link_label': label})
                self.out(split, sets[split])

        results = {
            'number_of_configurations': total,
            'number_labelled': total - failed,
            'number_failed': failed,
            'failures': self.ctx.failures,
            'wall_time_seconds': sum(
                self.oracle.get_cost(orm.load_node(pk)).get('wall_seconds', 0.0) for pk in self.ctx.labelled.values()
            ),
        }
        self.out('results', orm.Dict(results).store())

        if failed > self.ctx.parameters['max_failed_fraction'] * total:
            return self.exit_codes.ERROR_TOO_MANY_FAILURES.format(failed=failed, total=total)

    def get_outputs_of_split(self, split: str) -> dict[str, orm.Data]:
        """Return the outputs of the finished jobs of a split, as ``collect_labels`` takes them."""
        frames, oracle = self.inputs.configurations.get_frames(), self.oracle
        nodes = {}
        for index, pk in self.ctx.labelled.items():
            if any(frames[k].info.get('split', 'train') == split for k in self.ctx.jobs[index]):
                outputs = oracle.get_labels(orm.load_node(pk))
                nodes |= {f'{name}_{index:04d}': node for name, node in outputs.items()}
        return nodes
