"""WorkChain that explores with molecular dynamics under a watch on the extrapolation grade."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_
from aiida.plugins import CalculationFactory, DataFactory

from aiida_pyacemaker.atomistics.explorers.plan import plan_walkers
from aiida_pyacemaker.calculations.functions.collect_snapshots import collect_snapshots
from aiida_pyacemaker.calculations.functions.get_structure import get_structure

from .reuse_children import find_child
from .worker_base import get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')
LammpsPaceCalculation = CalculationFactory('pyacemaker.lammps_pace')


# Added to the seed of a walker that is started again.
AGAIN = 500


class ExploreWorkChain(WorkChain):
    """Run several simulations ("walkers") side by side with one potential, each until its end or its halt.

    What each walker does is a plan that depends on the inputs only (:func:`plan_walkers`). A walker whose restart file
    is given in ``restarts`` resumes from it with the new potential; the others start from ``structures``. A walker that
    dies is started once more, and counted as failed if it dies again.
    """

    defaults = AttributeDict({'attempts': 2})

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode, help='LAMMPS with ML-PACE.')
        spec.input('potential', valid_type=AcePotentialData, help='The potential that drives the simulations.')
        spec.input('structures', valid_type=ConfigurationsData, help='Starting cells of the stage.')
        spec.input_namespace(
            'restarts',
            valid_type=orm.SinglefileData,
            dynamic=True,
            required=False,
            help='Restart file of each walker that resumes, by the name `walker_NN`.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            help='The section `explore` of a run file; `seed` and `stage` (counted from 0; the last if left out) of '
            'the round, which a walker that resumes keeps; and optionally `walker_indices`: the walkers to run.',
        )
        spec.input(
            'options', valid_type=orm.Dict, required=False, help='Overrides of `metadata.options` of every simulation.'
        )
        spec.outline(
            cls.setup,
            while_(cls.should_run_walkers)(
                cls.run_walkers,
                cls.inspect_walkers,
            ),
            cls.results,
        )
        spec.output('results', valid_type=orm.Dict, help='What became of each walker.')
        spec.output(
            'halted', valid_type=ConfigurationsData, required=False, help='The frames at which the watch halted.'
        )
        spec.output('trajectory', valid_type=ConfigurationsData, required=False, help='Snapshots of all walkers.')
        spec.output(
            'violations',
            valid_type=ConfigurationsData,
            required=False,
            help='The frames at which simulations ended that no longer made sense (overlap, lost atoms, run-away of '
            'volume or temperature): to be looked at, never to be labelled.',
        )
        spec.output_namespace(
            'restarts', valid_type=orm.SinglefileData, dynamic=True, help='The restart file of each walker.'
        )
        spec.exit_code(402, 'ERROR_NO_PLAN', message='The walkers cannot do what they are to do: {message}')
        spec.exit_code(403, 'ERROR_ALL_WALKERS_FAILED', message='All simulations failed; the last said: {message}')

    @classmethod
    def get_builder_from_protocol(cls, code, potential, structures, parameters, restarts=None, options=None):
        """Return a builder for one round of simulations.

        :param code: LAMMPS with ML-PACE.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` that drives the simulations.
        :param structures: starting cells.
        :param parameters: dictionary, the section ``explore`` of a resolved run file, ``seed`` and ``stage``.
        :param restarts: mapping of ``walker_NN`` to the restart file of a walker that resumes.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        builder.code = code
        builder.potential = potential
        builder.structures = structures
        builder.parameters = orm.Dict(parameters)
        if restarts:
            builder.restarts = restarts
        if options:
            builder.options = orm.Dict(options)
        return builder

    def setup(self):
        """Plan the walkers."""
        parameters = self.inputs.parameters.get_dict()
        indices = parameters.pop('walker_indices', None)
        cells, elements = self.inputs.structures.get_frames(), self.inputs.potential.elements
        stage = parameters.get('stage', len(parameters['stages']) - 1)
        try:
            plan = plan_walkers(parameters, cells, elements, stage, parameters['seed'])
        except ValueError as exception:
            return self.exit_codes.ERROR_NO_PLAN.format(message=exception)
        self.ctx.plan = {walker['index']: walker for walker in plan}
        self.ctx.todo = list(self.ctx.plan) if indices is None else indices
        self.ctx.formulas = [cell.get_chemical_formula() for cell in cells]
        self.ctx.attempt = 0
        self.ctx.finished = {}
        self.ctx.message = None

    def should_run_walkers(self) -> bool:
        """Return whether walkers have yet to be started, or started again."""
        return bool(self.ctx.todo) and self.ctx.attempt < self.defaults.attempts

    def run_walkers(self):
        """Submit the simulations."""
        self.ctx.attempt += 1
        self.to_context(**{f'walker_{index:02d}': self.submit_walker(index) for index in self.ctx.todo})

    def submit_walker(self, index: int) -> orm.CalcJobNode:
        """Submit one simulation, fresh or from its restart file."""
        name = f'walker_{index:02d}'
        label = name if self.ctx.attempt == 1 else f'{name}_again'
        submitted = find_child(self, label)
        if submitted is not None:
            return submitted
        walker = self.ctx.plan[index]
        builder = LammpsPaceCalculation.get_builder()
        builder.code = self.inputs.code
        builder.potential = self.inputs.potential
        # A second attempt has other velocities.
        again = {'seed': walker['parameters']['seed'] + AGAIN * (self.ctx.attempt - 1)}
        builder.parameters = orm.Dict({**walker['parameters'], **again})
        builder.metadata.options = get_options(self.inputs.options.get_dict() if 'options' in self.inputs else None)
        builder.metadata.label = f'{self.ctx.formulas[walker["structure"]]} {name} {walker["program"]}'
        builder.metadata.call_link_label = label

        if name in self.inputs.get('restarts', {}):
            builder.restart = self.inputs.restarts[name]
        else:
            builder.structure = get_structure(
                self.inputs.structures, orm.Int(walker['structure']), metadata={'call_link_label': f'structure_{name}'}
            )
        node = self.submit(builder)
        node.base.extras.set_many({key: walker[key] for key in ('stage', 'program')})
        return node

    def inspect_walkers(self):
        """Keep the walkers that ended, by completion or by halt, and leave those that died to be run again."""
        died = []
        for index in self.ctx.todo:
            node = self.ctx[f'walker_{index:02d}']
            if node.is_finished_ok:
                self.ctx.finished[index] = node.pk
                self.report(f'walker {index} ({self.ctx.plan[index]["program"]}): {node.outputs.results["diagnosis"]}')
                continue
            died.append(index)
            self.ctx.message = f'LammpsPaceCalculation<{node.pk}> [{node.exit_status}] {node.exit_message}'
            self.report(f'walker {index} failed: {self.ctx.message}')
        self.ctx.todo = died

    def results(self):
        """Join what the walkers left."""
        nodes = {index: orm.load_node(pk) for index, pk in sorted(self.ctx.finished.items())}
        walkers = [self.describe_walker(index, node) for index, node in nodes.items()]
        reasons = [walker['reason'] for walker in walkers]
        results = {
            'walkers': walkers,
            'number_halted': reasons.count('gamma'),
            'number_stopped': sum(reason not in ('gamma', 'completed') for reason in reasons),
            'number_failed': len(self.ctx.todo),
            'failed': self.ctx.todo,
            'completed': not self.ctx.todo and all(reason == 'completed' for reason in reasons),
            'gamma_max': max((walker['gamma_max'] for walker in walkers), default=None),
        }
        self.out('results', orm.Dict(results).store())

        for port, name in (('halted', 'halted'), ('trajectory', 'trajectory'), ('violations', 'violation')):
            sets = {f'walker_{index:02d}': node.outputs[name] for index, node in nodes.items() if name in node.outputs}
            if sets:
                starts = orm.Dict({f'walker_{index:02d}': self.ctx.plan[index]['structure'] for index in nodes})
                link = {'call_link_label': f'collect_{port}'}
                self.out(port, collect_snapshots(self.inputs.structures, starts, **sets, metadata=link))
        for index, node in nodes.items():
            if 'restart' in node.outputs:
                self.out(f'restarts.walker_{index:02d}', node.outputs.restart)

        if not walkers:
            return self.exit_codes.ERROR_ALL_WALKERS_FAILED.format(message=self.ctx.message)

    def describe_walker(self, index: int, node: orm.CalcJobNode) -> dict:
        """Return what a walker was to do and what became of it."""
        walker = self.ctx.plan[index]
        return {
            'index': index,
            'pk': node.pk,
            'stage': walker['stage'],
            'program': walker['program'],
            'structure': self.ctx.formulas[walker['structure']],
            **node.outputs.results.get_dict(),
        }
