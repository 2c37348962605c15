"""WorkChain that labels configurations with an oracle: energy, forces and stress."""

from __future__ import annotations

import functools
from typing import Any, TypedDict

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.links import LinkType
from aiida.engine import WorkChain, while_
from aiida.plugins import DataFactory
from ase import Atoms

from aiida_pyacemaker.atomistics.core.cost import EXPONENT
from aiida_pyacemaker.calculations.functions.collect_labels import SPLITS, SUSPECT, collect_labels, read_job
from aiida_pyacemaker.calculations.functions.get_structure import get_structures

from .concurrency import jobs_at_a_time
from .lean import Lean, WaitForAny
from .links import LabelLink
from .oracles import EngineOracle, load_oracle
from .reuse_children import TERMINATED, find_child

ConfigurationsData = DataFactory('pyacemaker.configurations')

#: What the oracle may tell of the cost of a job, summed over the batch.
COSTS = ('core_hours', 'wall_seconds', 'electrons', 'disk_bytes')


class Failure(TypedDict):
    """What a job did not label, and why: ``configurations`` are lost, of which ``index`` is the first."""

    index: int
    configurations: int
    pk: int | None
    exit_status: int | None
    message: str


def validate_parameters(value: orm.Dict | None, _: Any) -> str | None:
    """Refuse what no calculation could run with."""
    try:
        oracle = None if value is None else load_oracle(value.get_dict())
    except ValueError as exception:
        return str(exception)
    if oracle is None or isinstance(oracle, EngineOracle):
        return None
    return f'label.oracle: `{oracle.label.oracle}` labels with a WorkChain of its own'


TOO_MANY_FAILURES = (
    '{failed} of {total} calculations failed, more than `label.max_failed_fraction` allows; the labels of the others '
    'are in the outputs.'
)


class LabelWorkChain(Lean, WaitForAny, WorkChain):
    """Label configurations with the oracle that ``label.oracle`` names.

    At most ``max_concurrent`` jobs run at a time, the costliest first; a job that fails loses its own configurations
    only, until more than ``max_failed_fraction`` of them have failed: then nothing more is submitted.

    The state of the batch is in the graph: the jobs are the children with call link labels ``label_0003``, by the index
    of the job's first configuration, with the extras ``configurations``, ``atoms`` (how many it labels) and ``work``
    (its expected cost) from its submission on, and ``core_hours``, ``electrons`` and what else the oracle tells of its
    cost from its end on. The context, written at every step, holds only what is needed to go on.
    """

    defaults = AttributeDict({'cost_exponent': EXPONENT})  # of the number of atoms; it orders the queue

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
            cls.results,
        )
        spec.output(
            'train', valid_type=ConfigurationsData, required=False, help='The labelled training configurations.'
        )
        spec.output('test', valid_type=ConfigurationsData, required=False, help='The labelled held-out configurations.')
        spec.output_namespace(
            'suspects',
            valid_type=ConfigurationsData,
            dynamic=True,
            help='Labels with values that can hardly be, `train` and `test`: kept, not to be trained on.',
        )
        spec.output('results', valid_type=orm.Dict, help='Counts, failures and cost of the batch.')
        spec.exit_code(401, 'ERROR_TOO_MANY_FAILURES', message=TOO_MANY_FAILURES)

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

    # What follows from the inputs, made once per worker of the daemon and in no checkpoint --------------------------

    @functools.cached_property
    def oracle(self) -> EngineOracle:
        """The oracle."""
        return load_oracle(self.inputs.parameters.get_dict())

    @functools.cached_property
    def frames(self) -> list[Atoms]:
        """The configurations."""
        return self.inputs.configurations.get_frames()

    @functools.cached_property
    def jobs(self) -> dict[int, list[int]]:
        """The configurations of each job, by the first of them."""
        return {indices[0]: indices for indices in self.oracle.get_jobs(self.frames)}

    @functools.cached_property
    def places(self) -> int:
        """How many jobs run at the same time."""
        options = self.inputs.options.get_dict() if 'options' in self.inputs else {}
        return jobs_at_a_time(self.oracle.label.max_concurrent, self.inputs.code, options)

    @functools.cached_property
    def work(self) -> dict[int, float]:
        """What each job is expected to cost: core-seconds where the oracle can tell, else in no unit."""
        elements = sorted({symbol for atoms in self.frames for symbol in atoms.get_chemical_symbols()})
        try:
            model = self.oracle.get_cost_model(elements)
        except ValueError:  # it is only for the order
            model = None
        if model is not None:
            return {k: sum(model.core_seconds(self.frames[i]) for i in indices) for k, indices in self.jobs.items()}
        exponent = self.defaults.cost_exponent
        return {index: sum(len(self.frames[k]) ** exponent for k in indices) for index, indices in self.jobs.items()}

    @functools.cached_property
    def queue(self) -> list[int]:
        """The jobs, the costliest first so that none is left running alone at the end."""
        return sorted(self.jobs, key=lambda index: (-self.work[index], index))

    @functools.cached_property
    def structures(self) -> dict[str, orm.StructureData]:
        """The structure nodes of the jobs, by the names that ``get_structures`` gives them; none if none are needed."""
        if not self.oracle.needs_structure:
            return {}
        indices = sorted(index for index, indices in self.jobs.items() if len(indices) == 1)
        former = self.node.base.links.get_outgoing(link_type=LinkType.CALL_CALC, link_label_filter='structures').all()
        made = next((link.node for link in former if link.node.is_finished_ok), None)
        if made is None:
            _, made = get_structures.run_get_node(
                self.inputs.configurations, orm.List(indices), metadata={'call_link_label': 'structures'}
            )
        return {link.link_label: link.node for link in made.base.links.get_outgoing(link_type=LinkType.CREATE).all()}

    @functools.cached_property
    def former(self) -> frozenset[int]:
        """The jobs that were submitted before this worker took the batch over: by a worker that was killed, perhaps."""
        return frozenset(self.get_children())

    # Outline ----------------------------------------------------------------------------------------------------------

    def setup(self):
        """Nothing has been submitted yet."""
        self.ctx.submitted = 0
        self.ctx.failed = 0
        self.ctx.running = {}  # job -> PK of its process
        self.node.base.extras.set('work', sum(self.work.values()))

    def should_run_next(self) -> bool:
        """Return whether jobs run, or wait and may still be submitted."""
        return bool(self.ctx.running) or (self.ctx.submitted < len(self.queue) and not self.quota_is_exceeded())

    def get_ended(self) -> list[int]:
        """Return the running jobs that have come to an end, whatever it was: one query for all."""
        if not self.ctx.running:
            return []
        filters = {'id': {'in': list(self.ctx.running.values())}, 'attributes.process_state': {'in': TERMINATED}}
        ended = set(orm.QueryBuilder().append(orm.ProcessNode, filters=filters, project='id').all(flat=True))
        return [index for index, pk in self.ctx.running.items() if pk in ended]

    def quota_is_exceeded(self) -> bool:
        """Return whether more configurations have failed than may."""
        return self.ctx.failed > self.oracle.label.max_failed_fraction * len(self.frames)

    def inspect_job(self, index: int, child: orm.ProcessNode):
        """Book what a job has cost, and count and report what it has lost."""
        child.base.extras.set_many(
            {**self.oracle.get_cost(child), 'healed': child.is_finished_ok and 'healing' in child.outputs}
        )
        was_kept = not self.quota_is_exceeded()
        for failure in self.get_failures(index, child):
            self.ctx.failed += failure['configurations']
            self.report_failure(failure)
        waiting = len(self.queue) - self.ctx.submitted
        if was_kept and self.quota_is_exceeded() and waiting:
            self.report(
                f'{self.ctx.failed} of {len(self.frames)} have failed, more than `label.max_failed_fraction` allows: '
                f'the {waiting} jobs that wait are not submitted'
            )

    def get_failures(self, index: int, child: orm.ProcessNode) -> list[Failure]:
        """Return what a job that has ended did not label, one entry for each reason."""
        if not child.is_finished_ok:
            return [
                {
                    'index': index,
                    'configurations': len(self.jobs[index]),
                    'pk': child.pk,
                    'exit_status': child.exit_status,
                    'message': get_end(child),
                }
            ]
        return [
            {'index': index, 'configurations': 1, 'pk': child.pk, 'exit_status': 0, **failure}
            for failure in self.oracle.get_failures(child)
        ]

    def report_failure(self, failure: Failure):
        """Report what is lost and why."""
        what = f'configuration {failure["index"]} is lost'
        if failure['configurations'] > 1:
            what = f'{failure["configurations"]} configurations, {failure["index"]} the first, are lost'
        self.report(f'{what}: process <{failure["pk"]}> [{failure["exit_status"]}] {failure["message"]}')

    def run_next(self):
        """Look at the jobs that have ended, fill the free places, and wait until one of them is free again."""
        for index in self.get_ended():
            self.inspect_job(index, orm.load_node(self.ctx.running.pop(index)))
        while (
            self.ctx.submitted < len(self.queue)
            and len(self.ctx.running) < self.places
            and not self.quota_is_exceeded()
        ):
            index = self.queue[self.ctx.submitted]
            child = find_child(self, LabelLink(index).label) if index in self.former else None
            self.ctx.running[index] = (child or self.submit_job(index)).pk
            self.ctx.submitted += 1
        ended = self.ctx.submitted - len(self.ctx.running)
        self.set_status(f'{ended} of {len(self.queue)} jobs have ended, {len(self.ctx.running)} run')
        self.wait_for_any(self.ctx.running.values())

    def submit_job(self, index: int) -> orm.ProcessNode:
        """Submit one job."""
        indices, structure = self.jobs[index], self.structures.get(f'structure_{index:04d}')
        options = self.inputs.options.get_dict() if 'options' in self.inputs else {}
        builder = self.oracle.get_builder(self.inputs.code, self.inputs.configurations, indices, structure, options)
        what = f'{len(indices)} configurations' if structure is None else structure.get_formula()
        builder.metadata.label = f'{what} #{index}'
        builder.metadata.call_link_label = LabelLink(index).label
        child = self.submit(builder)
        atoms = sum(len(self.frames[k]) for k in indices)
        child.base.extras.set_many({'configurations': len(indices), 'atoms': atoms, 'work': self.work[index]})
        return child

    def get_children(self) -> dict[int, orm.ProcessNode]:
        """Return the process of each job, the newest if there are several."""
        links = self.node.base.links.get_outgoing(link_type=(LinkType.CALL_WORK, LinkType.CALL_CALC)).all()
        found = [(LabelLink.parse(link.link_label), link.node) for link in sorted(links, key=lambda link: link.node.pk)]
        return {link.index: node for link, node in found if link is not None}

    def results(self):
        """Collect the labels, whatever else failed, and compare the failures with the quota."""
        children = self.get_children()
        failures = [failure for index in sorted(children) for failure in self.get_failures(index, children[index])]
        # One call for each split, so that a training set has no path to the calculations of the held-out one.
        sets = {split: self.collect(split, children, failures) for split in SPLITS}
        for split, found in sets.items():
            if split in found:
                self.out(split, found[split])
            if SUSPECT in found:
                self.out(f'suspects.{split}', found[SUSPECT])
        self.ctx.failed = sum(failure['configurations'] for failure in failures)
        self.out('results', orm.Dict(self.summarise(children, failures, sets)).store())
        if self.quota_is_exceeded():
            return self.exit_codes.ERROR_TOO_MANY_FAILURES.format(failed=self.ctx.failed, total=len(self.frames))

    def collect(self, split: str, children: dict[int, orm.ProcessNode], failures: list[Failure]) -> dict[str, orm.Data]:
        """Return the labels of a split, and those of them that are suspicious.

        :param failures: where a job says that it went well and has no readable labels, it is added here.
        """
        wanted = {
            index: self.oracle.get_labels(child)
            for index, child in sorted(children.items())
            if child.is_finished_ok and any(self.get_split(k) == split for k in self.jobs[index])
        }
        try:
            return self.call_collect(split, wanted)
        except ValueError:
            broken = self.find_unreadable(wanted, children)
            if not broken:
                raise
        for failure in broken:
            self.report_failure(failure)
            del wanted[failure['index']]
        failures += broken
        return self.call_collect(split, wanted)

    def get_split(self, index: int) -> str:
        """Return the split of a configuration."""
        return self.frames[index].info.get('split', 'train')

    def call_collect(self, split: str, wanted: dict[int, dict[str, orm.Data]]) -> dict[str, orm.Data]:
        """Return what ``collect_labels`` makes of the outputs of jobs."""
        nodes = {f'{name}_{index:04d}': node for index, outputs in wanted.items() for name, node in outputs.items()}
        if not nodes:
            return {}
        label = self.oracle.label
        return collect_labels(
            self.inputs.configurations,
            oracle=orm.Str(label.oracle),
            limits=orm.Dict({'max_force': label.max_force, 'max_energy_deviation': label.max_energy_deviation}),
            **nodes,
            metadata={'call_link_label': f'collect_{split}'},
        )

    def find_unreadable(
        self, wanted: dict[int, dict[str, orm.Data]], children: dict[int, orm.ProcessNode]
    ) -> list[Failure]:
        """Return the jobs whose outputs are no labels, as failures: they must not cost the labels of the others."""
        broken = []
        for index, nodes in wanted.items():
            try:
                read_job(type(self.oracle), self.inputs.configurations.get_frames(), index, nodes)
            except ValueError as exception:
                entry = {'index': index, 'configurations': len(self.jobs[index]), 'pk': children[index].pk}
                broken.append({**entry, 'exit_status': 0, 'message': str(exception)})
        return broken

    def summarise(
        self,
        children: dict[int, orm.ProcessNode],
        failures: list[Failure],
        sets: dict[str, dict[str, orm.Data]],
    ) -> dict[str, Any]:
        """Return the output ``results``: counts, failures and cost of the batch, and the cost of each job.

        :param children: the process of each job.
        :param failures: what was lost.
        :param sets: what was collected of each split.
        """
        jobs = [self.describe_job(index, child) for index, child in sorted(children.items())]
        suspects = [describe_suspect(atoms) for found in sets.values() for atoms in found.get(SUSPECT, ())]
        for suspect in suspects:
            self.report(f'suspicious label, kept out of the training: {suspect["formula"]}: {suspect["reason"]}')
        costs = {key: sum(job.get(key, 0) for job in jobs) for key in ('atoms', *COSTS)}
        return {
            'number_of_configurations': len(self.frames),
            'number_labelled': sum(len(found[split]) for split, found in sets.items() if split in found),
            'number_suspect': len(suspects),
            'number_failed': self.ctx.failed,
            'number_not_submitted': len(self.frames) - sum(job['configurations'] for job in jobs),
            'number_healed': sum(job['healed'] for job in jobs),
            'failures': failures,
            'suspects': suspects,
            'jobs': jobs,
            'wall_time_seconds': costs.pop('wall_seconds'),
            **costs,
        }

    def describe_job(self, index: int, child: orm.ProcessNode) -> dict[str, Any]:
        """Return what a job was and cost, as its extras say."""
        extras = child.base.extras.all
        known = {key: extras[key] for key in ('atoms', *COSTS) if key in extras}
        counts = {'configurations': len(self.jobs[index]), 'healed': bool(extras.get('healed'))}
        return {'index': index, 'pk': child.pk, 'exit_status': child.exit_status, **counts, **known}


def get_end(child: orm.ProcessNode) -> str:
    """Return how a process ended that did not end well."""
    return child.exit_message or (child.process_state.value if child.process_state else 'unknown state')


def describe_suspect(atoms: Atoms) -> dict[str, Any]:
    """Return what a suspicious label is and why it is one."""
    return {
        'formula': atoms.get_chemical_formula(),
        'family': atoms.info.get('family'),
        'calculation': atoms.info.get('calculation'),
        'reason': '; '.join(atoms.info.get('flags') or ['no reason given']),
    }
