"""WorkChain that explores with one potential: several walkers side by side, by whatever explorer is asked for."""

from __future__ import annotations

from dataclasses import replace

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import WorkChain, while_
from aiida.plugins import DataFactory

from aiida_pyacemaker.atomistics.explorers.walker import EndReason, FrameKind, Walker, WalkerResult
from aiida_pyacemaker.calculations.functions.collect_snapshots import collect_snapshots
from aiida_pyacemaker.calculations.functions.get_structure import get_structure
from aiida_pyacemaker.calculations.validators import section_validator
from aiida_pyacemaker.runfile.sections import Explore

from .explorers import Explorer, load_explorer
from .links import WalkerLink
from .reuse_children import submit_once
from .worker_base import get_options

ConfigurationsData = DataFactory('pyacemaker.configurations')
AcePotentialData = DataFactory('pyacemaker.potential')

#: The output of each kind of frames.
PORTS = {FrameKind.HALTED: 'halted', FrameKind.TRAJECTORY: 'trajectory', FrameKind.VIOLATION: 'violations'}


class ExploreWorkChain(WorkChain):
    """Run several simulations ("walkers") side by side with one potential, each until its end or its halt.

    What each walker does is a plan of the :class:`~aiida_pyacemaker.workflows.explorers.Explorer` that depends on the
    inputs only. A walker whose restart file is given in ``restarts`` resumes from it with the new potential; the others
    start from ``structures``. A walker that dies is started once more, and counted as failed if it dies again.
    """

    defaults = AttributeDict({'attempts': 2})

    @classmethod
    def define(cls, spec):
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'codes', valid_type=orm.AbstractCode, dynamic=True, help='The codes of the explorer, by its keys.'
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential that drives the simulations.')
        spec.input('structures', valid_type=ConfigurationsData, help='Starting cells of the stage.')
        spec.input_namespace(
            'restarts',
            valid_type=orm.Data,
            dynamic=True,
            required=False,
            help='Restart file of each walker that resumes, by the name `walker_NN`.',
        )
        spec.input(
            'parameters',
            valid_type=orm.Dict,
            validator=section_validator(Explore),
            help='The section `explore` of a run file.',
        )
        spec.input(
            'round',
            valid_type=orm.Dict,
            help='Which round it is: `stage` (counted from 0), `seed` (which a walker that resumes keeps), and '
            '`walkers`, the indices of those to run (null: all).',
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
        spec.output_namespace('restarts', valid_type=orm.Data, dynamic=True, help='The restart file of each walker.')
        spec.exit_code(402, 'ERROR_NO_PLAN', message='The walkers cannot do what they are to do: {message}')
        spec.exit_code(403, 'ERROR_ALL_WALKERS_FAILED', message='All simulations failed; the last said: {message}')

    @classmethod
    def get_builder_from_protocol(
        cls, codes, potential, structures, parameters, *, stage, seed, walkers=None, restarts=None, options=None
    ):
        """Return a builder for one round of simulations.

        :param codes: mapping of the keys of the explorer's codes to codes; others are left out.
        :param potential: :class:`~aiida_pyacemaker.data.AcePotentialData` that drives the simulations.
        :param structures: starting cells.
        :param parameters: dictionary, the section ``explore`` of a resolved run file.
        :param stage: number of the stage, counted from 0. :param seed: of the round.
        :param walkers: indices of the walkers to run; None: all.
        :param restarts: mapping of ``walker_NN`` to the restart file of a walker that resumes.
        :param options: overrides of ``metadata.options``.
        """
        builder = cls.get_builder()
        explorer = load_explorer(Explore.model_validate(parameters).explorer)
        builder.codes = {name: codes[name] for name in explorer.codes}
        builder.potential = potential
        builder.structures = structures
        builder.parameters = orm.Dict(parameters)
        builder.round = orm.Dict({'stage': stage, 'seed': seed, 'walkers': walkers})
        if restarts:
            builder.restarts = restarts
        if options:
            builder.options = orm.Dict(options)
        return builder

    @property
    def explorer(self) -> Explorer:
        """The engine that explores."""
        return load_explorer(self.inputs.parameters.get('explorer', Explore.model_fields['explorer'].default))

    def get_walker(self, index: int) -> Walker:
        """Return what a walker does."""
        return Walker.from_dict(self.ctx.plan[index], self.explorer.WalkerParameters)

    def setup(self):
        """Plan the walkers."""
        explore, this = Explore.model_validate(self.inputs.parameters.get_dict()), self.inputs.round.get_dict()
        cells, elements = self.inputs.structures.get_frames(), self.inputs.potential.elements
        try:
            plan = self.explorer.plan(explore, cells, elements, this['stage'], this['seed'])
        except ValueError as exception:
            return self.exit_codes.ERROR_NO_PLAN.format(message=exception)
        self.ctx.plan = {walker.index: walker.to_dict() for walker in plan}
        self.ctx.todo = list(self.ctx.plan) if this.get('walkers') is None else this['walkers']
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
        self.to_context(**{WalkerLink(index).name: self.submit_walker(index) for index in self.ctx.todo})

    def submit_walker(self, index: int) -> orm.CalcJobNode:
        """Submit one simulation, fresh or from its restart file."""
        link = WalkerLink(index, again=self.ctx.attempt > 1)
        node = submit_once(self, link.label, lambda: self.get_walker_builder(index, link.name))
        walker = self.get_walker(index)
        node.base.extras.set_many({'stage': walker.stage, 'program': walker.program})
        return node

    def get_walker_builder(self, index: int, name: str):
        """Return the builder of one simulation.

        :param name: of the walker.
        """
        walker, explorer = self.get_walker(index), self.explorer
        if self.ctx.attempt > 1:
            walker = explorer.try_again(walker, self.ctx.attempt)
        if name in self.inputs.get('restarts', {}):
            start = {'restart': self.inputs.restarts[name]}
        else:
            link = {'call_link_label': f'structure_{name}'}
            start = {'structure': get_structure(self.inputs.structures, orm.Int(walker.structure), metadata=link)}
        options = get_options(self.inputs.options.get_dict() if 'options' in self.inputs else None)
        builder = explorer.get_builder(walker, dict(self.inputs.codes), self.inputs.potential, options, **start)
        builder.metadata.label = f'{self.ctx.formulas[walker.structure]} {name} {explorer.describe(walker)}'
        return builder

    def inspect_walkers(self):
        """Keep the walkers that ended, by completion or by halt, and leave those that died to be run again."""
        died = []
        for index in self.ctx.todo:
            node = self.ctx[WalkerLink(index).name]
            if node.is_finished_ok:
                self.ctx.finished[index] = node.pk
                result = self.get_result(index, node)
                self.report(f'walker {index} ({result.program}): {result.diagnosis}')
                continue
            died.append(index)
            self.ctx.message = f'{node.process_label}<{node.pk}> [{node.exit_status}] {node.exit_message}'
            self.report(f'walker {index} failed: {self.ctx.message}')
        self.ctx.todo = died

    def get_result(self, index: int, node: orm.CalcJobNode) -> WalkerResult:
        """Return what a walker was to do and what became of it."""
        walker = self.get_walker(index)
        result = self.explorer.get_result(walker, node)
        return replace(result, pk=node.pk, structure=self.ctx.formulas[walker.structure])

    def results(self):
        """Join what the walkers left."""
        nodes = {index: orm.load_node(pk) for index, pk in sorted(self.ctx.finished.items())}
        walkers = [self.get_result(index, node) for index, node in nodes.items()]
        reasons = [walker.reason for walker in walkers]
        results = {
            'walkers': [walker.to_dict() for walker in walkers],
            'number_halted': sum(reason.is_resumable for reason in reasons),
            'number_stopped': sum(reason.is_violation for reason in reasons),
            'number_failed': len(self.ctx.todo),
            'failed': self.ctx.todo,
            'completed': not self.ctx.todo and all(reason is EndReason.COMPLETED for reason in reasons),
            'gamma_max': max((walker.gamma_max for walker in walkers), default=None),
        }
        self.out('results', orm.Dict(results).store())
        self.output_frames(nodes)
        for index, node in nodes.items():
            restart = self.explorer.get_restart(node)
            if restart is not None:
                self.out(f'restarts.{WalkerLink(index).name}', restart)

        if not walkers:
            return self.exit_codes.ERROR_ALL_WALKERS_FAILED.format(message=self.ctx.message)

    def output_frames(self, nodes: dict[int, orm.CalcJobNode]):
        """Output the frames of all walkers, joined by kind."""
        frames = {WalkerLink(index).name: self.explorer.get_frames(node) for index, node in nodes.items()}
        starts = orm.Dict({WalkerLink(index).name: self.ctx.plan[index]['structure'] for index in nodes})
        for kind, port in PORTS.items():
            sets = {name: found[kind] for name, found in frames.items() if kind in found}
            if sets:
                link = {'call_link_label': f'collect_{port}'}
                self.out(port, collect_snapshots(self.inputs.structures, starts, **sets, metadata=link))
