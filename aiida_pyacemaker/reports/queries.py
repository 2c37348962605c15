"""What a run of the loop did: the queries behind ``status``, ``report``, ``export`` and ``lineage``.

Everything here takes nodes and returns rows (:mod:`~aiida_pyacemaker.reports.rows`);
:mod:`~aiida_pyacemaker.reports.status` makes one story of them. The steps of a run are found by the labels of its call
links (:mod:`~aiida_pyacemaker.workflows.links`), so that a run can be looked at while it is still going.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from aiida import orm
from aiida.common.links import LinkType
from aiida.plugins import DataFactory, WorkflowFactory
from sqlalchemy.exc import OperationalError

from aiida_pyacemaker.atomistics.core.plugins import ORACLES, load_plugins
from aiida_pyacemaker.workflows.explorers import process_types
from aiida_pyacemaker.workflows.links import IterationLink, LabelLink
from aiida_pyacemaker.workflows.reuse_children import TERMINATED

from .rows import (
    DataRow,
    Json,
    LabelCounts,
    LabelJob,
    LabellingRow,
    Lineage,
    ProcessRow,
    RunningProcess,
    SimulationRow,
)

P = ParamSpec('P')
T = TypeVar('T')

ENTRY_POINT = 'pyacemaker.active_learning'
#: Extra of a run's node: the hash of its run file, by which ``launch --once`` recognises it.
EXTRA_RUNFILE = 'pyacemaker_runfile'

#: How often a reading function tries again, each time after SQLite's own 5 s, while the database is locked.
LOCKED_ATTEMPTS = 10

TIERED = 'aiida.workflows:pyacemaker.label_tiered'
#: Children of a tiered label step that are batches of the expensive oracle.
EXPENSIVE = ('expensive', 'unsure')
#: What is asked of each job of a batch: key -> column.
JOB_COLUMNS = {
    'state': 'attributes.process_state',
    'exit_status': 'attributes.exit_status',
    'ctime': 'ctime',
    'configurations': 'extras.configurations',
    'work': 'extras.work',
    'core_hours': 'extras.core_hours',
    'healed': 'extras.healed',
}

#: The steps of a run by iteration and name.
Steps = dict[int, dict[str, orm.WorkChainNode]]


def while_unlocked(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that only reads try again while another process writes: SQLite locks the whole database.

    A run that is looked at while its daemon is busy would otherwise answer `database is locked` now and then.
    """

    @functools.wraps(function)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(LOCKED_ATTEMPTS):
            try:
                return function(*args, **kwargs)
            except OperationalError as exception:
                if 'database is locked' not in str(exception):
                    raise
            time.sleep(1)
        return function(*args, **kwargs)

    return patient


# Finding --------------------------------------------------------------------------------------------------------------


@while_unlocked
def find_run(identifier: str | int | None = None) -> orm.WorkChainNode:
    """Return a run of the active learning loop.

    :param identifier: PK or UUID; None for the newest run of the profile.
    :raises ValueError: if there is no such run.
    """
    if identifier is None:
        query = orm.QueryBuilder().append(WorkflowFactory(ENTRY_POINT), tag='run')
        query.order_by({'run': [{'id': 'desc'}]})
        node = query.first(flat=True)
        if node is None:
            raise ValueError('this profile has no run yet; start one with `aiida-pyacemaker launch RUNFILE`')
        return node
    node = find_node(identifier)
    if getattr(node, 'process_type', None) != f'aiida.workflows:{ENTRY_POINT}':
        kind = getattr(node, 'process_label', None) or type(node).__name__
        raise ValueError(
            f'{identifier} is a {kind}, not a run of the active learning loop; see `verdi process list -a`'
        )
    return node


@while_unlocked
def find_node(identifier: str | int) -> orm.Node:
    """Return a node by PK or UUID.

    :raises ValueError: if there is none.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    text = str(identifier)
    try:
        return orm.load_node(pk=int(text)) if text.isdigit() else orm.load_node(uuid=text)
    except (NotExistent, MultipleObjectsError, ValueError):
        raise ValueError(f'there is no node {identifier} in this profile; see `verdi process list -a`') from None


@while_unlocked
def find_same_run(runfile_hash: str) -> orm.WorkChainNode | None:
    """Return the newest run with a run file of this hash that finished well, else one that is still going, or None."""
    query = orm.QueryBuilder().append(
        WorkflowFactory(ENTRY_POINT), filters={f'extras.{EXTRA_RUNFILE}': runfile_hash}, tag='run'
    )
    query.order_by({'run': [{'id': 'desc'}]})
    runs = query.all(flat=True)
    finished = [node for node in runs if node.is_finished_ok]
    return next(iter([*finished, *(node for node in runs if not node.is_terminated)]), None)


def get_children(node: orm.ProcessNode) -> dict[str, orm.ProcessNode]:
    """Return the processes that a process called, by link label, in the order of their creation."""
    links = node.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    return {link.link_label: link.node for link in sorted(links, key=lambda link: link.node.pk)}


def get_steps(run: orm.WorkChainNode) -> Steps:
    """Return the steps of a run as ``{iteration: {'explore': node, ...}}``; a step done twice shows its last try."""
    steps: Steps = {}
    for label, node in get_children(run).items():
        link = IterationLink.parse(label)
        if link is not None and isinstance(node, orm.WorkChainNode):
            steps.setdefault(link.iteration, {})[link.step] = node
    return dict(sorted(steps.items()))


def get_results(node: orm.ProcessNode | None) -> Json:
    """Return the output ``results`` of a process as a dictionary, empty while there is none."""
    if node is None or 'results' not in node.outputs:
        return {}
    return node.outputs.results.get_dict()


def get_running_tree(node: orm.ProcessNode) -> list[RunningProcess]:
    """Return what runs below a process.

    The hundreds that have ended are not loaded. Why one is paused, for a full disk or a host that cannot be reached,
    AiiDA says itself.
    """
    tree = []
    for label, _, child in find_children(node, **{'attributes.process_state': {'!in': TERMINATED}}):
        state = 'paused' if child.paused else child.process_state.value if child.process_state else 'created'
        scheduler = child.get_scheduler_state() if isinstance(child, orm.CalcJobNode) else None
        tree.append(
            RunningProcess(
                pk=child.pk,
                label=label,
                name=child.label,
                kind=child.process_label,
                state=state if child.paused or not scheduler else scheduler.value,
                message=child.process_status if child.paused else None,
                seconds=seconds_since(child.ctime),
                children=get_running_tree(child),
            )
        )
    return tree


def find_children(node: orm.ProcessNode, columns: Iterable[str] = ('*',), **filters: Any) -> list[list[Any]]:
    """Return the processes that a process called, in the order of their creation: label of the link, PK, columns.

    :param columns: what of each is wanted, as the QueryBuilder names it; the node itself by default.
    :param filters: which of them are wanted.
    """
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={'id': node.pk}, tag='caller')
    query.append(
        orm.ProcessNode,
        with_incoming='caller',
        edge_filters={'type': {'in': [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]}},
        edge_project='label',
        filters=filters,
        project=['id', *columns],
    )
    return [[label, *values] for *values, label in sorted(query.all(), key=lambda row: row[0])]


# Labels ---------------------------------------------------------------------------------------------------------------


def count_labels(steps: Iterable[orm.WorkChainNode]) -> LabelCounts:
    """Count the configurations of label steps, whatever number of jobs they are labelled by."""
    parts = []
    for step in steps:
        if step.process_type == TIERED:
            parts.append(LabelCounts(teacher=dig(get_results(step), 'tiers', 'teacher') or 0))
        parts += [describe_batch(batch) for batch in get_batches(step)]
    return LabelCounts.total_of(parts)


def get_batches(step: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Return the ``LabelWorkChain`` of a label step: itself, or those by which two tiers send something to DFT."""
    if step.process_type != TIERED:
        return [step]
    return [child for label, _, child in find_children(step) if label in EXPENSIVE]


def describe_batch(node: orm.WorkChainNode) -> LabelCounts:
    """Return the counts of one batch: of its results, or of its jobs while it runs."""
    total = len(node.inputs.configurations)
    results = get_results(node)
    if results:
        known = {key: results.get(f'number_{key}', 0) for key in ('failed', 'suspect', 'healed')}
        return LabelCounts(
            total=total, done=results['number_labelled'], core_hours=results.get('core_hours', 0.0), **known
        )
    jobs = get_jobs(node)
    ended = [job for job in jobs if job.has_ended]
    running = [job for job in jobs if not job.has_ended]
    done = sum(job.configurations for job in ended if job.exit_status == 0)
    failed = sum(job.configurations for job in ended if job.exit_status != 0)
    busy = sum(job.configurations for job in running)
    waiting = 0 if node.is_terminated else total - done - failed - busy
    return LabelCounts(
        total=total,
        done=done,
        failed=failed,
        running=busy,
        left=busy + waiting,
        healed=sum(job.healed for job in ended),
        core_hours=sum(job.core_hours for job in ended),
        **({} if node.is_terminated else estimate_rest(node, total, ended, running)),
    )


def estimate_rest(
    node: orm.WorkChainNode, total: int, ended: list[LabelJob], running: list[LabelJob]
) -> dict[str, float]:
    """Return how many configurations per hour a batch labels, and in how many seconds it will be done.

    The large cells go first: what is left is weighed by its expected cost, and a running job counts as half done.
    """
    if not ended:
        return {}
    elapsed = seconds_since(min(job.ctime for job in (*ended, *running)))
    work = node.base.extras.get('work', total)
    past = sum(job.work for job in ended) + sum(job.work for job in running) / 2
    return {
        'per_hour': sum(job.configurations for job in ended) / elapsed * 3600,
        'seconds_left': elapsed * max(0.0, work - past) / past,
    }


def get_jobs(node: orm.WorkChainNode) -> list[LabelJob]:
    """Return the jobs of a batch, one that was submitted twice by its last try: one query for all."""
    jobs = {}
    for label, pk, *values in find_children(node, JOB_COLUMNS.values()):
        link = LabelLink.parse(label)
        if link is not None:
            job = dict(zip(JOB_COLUMNS, values, strict=True))
            defaults = {'configurations': 1, 'work': job['configurations'] or 1, 'core_hours': 0.0, 'healed': False}
            known = {**job, **{key: job[key] or value for key, value in defaults.items()}}
            jobs[link.index] = LabelJob(index=link.index, pk=pk, **known)
    return [jobs[index] for index in sorted(jobs)]


def seconds_since(moment: datetime) -> float:
    """Return the seconds from a moment until now."""
    return (datetime.now(UTC) - moment).total_seconds()


def duration(node: orm.ProcessNode) -> float:
    """Return the seconds from the creation of a process to its end, or until now."""
    return (node.mtime - node.ctime).total_seconds() if node.is_terminated else seconds_since(node.ctime)


def dig(mapping: Any, *keys: str) -> Any:
    """Return a value of nested dictionaries, or None where a level is missing."""
    for key in keys:
        mapping = mapping.get(key) if isinstance(mapping, dict) else None
    return mapping


# Lineage --------------------------------------------------------------------------------------------------------------


@while_unlocked
def get_lineage(node: orm.Node) -> Lineage:
    """Follow a potential, configurations or a run back to where they come from.

    :param node: ``AcePotentialData``, ``ConfigurationsData``, or a process that has a potential among its outputs.
    :raises ValueError: if the node is of another kind.
    """
    potential_class = DataFactory('pyacemaker.potential')
    if isinstance(node, orm.ProcessNode):
        if 'potential' not in node.outputs:
            raise ValueError(
                f'{node.process_label}<{node.pk}> has no potential among its outputs (yet); '
                'give a potential, configurations, or a process that made a potential'
            )
        node = node.outputs.potential
    if not isinstance(node, potential_class | DataFactory('pyacemaker.configurations')):
        raise ValueError(
            f'{node.pk} is a {type(node).__name__}; lineage starts from a potential, configurations, or a process '
            'that made a potential'
        )
    ancestors = get_ancestors(node)
    query = orm.QueryBuilder().append(potential_class, filters={'id': {'in': ancestors}}, tag='potential')
    potentials = query.order_by({'potential': [{'id': 'desc'}]}).all(flat=True)
    creator = node.creator
    made = [] if creator is None else [{key: getattr(creator, name) for key, name in CREATOR.items()}]
    labelling, simulations = get_dft(ancestors), get_simulations(ancestors)
    paths = get_call_paths([process['pk'] for process in (*made, *labelling, *simulations)])
    return Lineage(
        node=describe_data(node),
        created_by=ProcessRow(**made[0], called_as=paths[creator.pk]) if made else None,
        potentials=[describe_data(potential) for potential in potentials],
        dft=[LabellingRow(**process, called_as=paths[process['pk']]) for process in labelling],
        simulations=[SimulationRow(**process, called_as=paths[process['pk']]) for process in simulations],
    )


def get_ancestors(node: orm.Node) -> list[int]:
    """Return the PKs of all nodes from which a node descends through data and calculations.

    Level by level, each node once: the QueryBuilder's ``with_descendants`` follows every *path*, of which there are a
    million after three generations (measured: 40 s, in which SQLite lets no daemon write).
    """
    seen: set[int] = set()
    level = [node.pk]
    while level:
        query = orm.QueryBuilder().append(orm.Node, filters={'id': {'in': level}}, tag='node')
        query.append(
            orm.Node,
            with_outgoing='node',
            edge_filters={'type': {'in': [LinkType.CREATE.value, LinkType.INPUT_CALC.value]}},
            project='id',
        )
        level = sorted(set(query.all(flat=True)) - seen)
        seen.update(level)
    return sorted(seen)


#: What is told of a process: key -> attribute of the node, and column of a query.
CREATOR = {'pk': 'pk', 'uuid': 'uuid', 'kind': 'process_label', 'exit_status': 'exit_status'}
PROCESS_COLUMNS = {
    'pk': 'id',
    'uuid': 'uuid',
    'kind': 'attributes.process_label',
    'exit_status': 'attributes.exit_status',
}


def get_calculations(pks: list[int], process_type: str) -> dict[int, Json]:
    """Return the calculations of a type among some nodes, by PK, newest first."""
    query = orm.QueryBuilder().append(
        orm.CalcJobNode,
        filters={'id': {'in': pks}, 'process_type': process_type},
        project=list(PROCESS_COLUMNS.values()),
        tag='calculation',
    )
    found = query.order_by({'calculation': [{'id': 'desc'}]}).all()
    return {row[0]: dict(zip(PROCESS_COLUMNS, row, strict=True)) for row in found}


def add_linked(processes: dict[int, Json], kind: type, label: str, link: str, columns: dict[str, str]) -> None:
    """Add what the input or output of a label says to the description of each process, None where there is none.

    :param link: how the data is linked: `with_incoming` for an output, `with_outgoing` for an input.
    :param columns: new key -> what is projected.
    """
    for process in processes.values():
        process.update(dict.fromkeys(columns))
    if not processes:
        return
    query = orm.QueryBuilder()
    query.append(orm.CalcJobNode, filters={'id': {'in': list(processes)}}, project='id', tag='process')
    query.append(kind, **{link: 'process'}, edge_filters={'label': label}, project=list(columns.values()))
    for pk, *values in query.all():
        processes[pk].update(zip(columns, values, strict=True))


def get_dft(pks: list[int]) -> list[Json]:
    """Return the calculations that labelled, among some nodes: those of all oracles.

    :returns: of each one of DFT ``formula`` and ``energy`` (eV), of each job of a teacher the number of
        ``configurations``; what the outputs of an oracle do not say is None.
    """
    processes: dict[int, Json] = {}
    for oracle in load_plugins(ORACLES).values():
        for process_type in oracle.process_types:
            processes |= get_calculations(pks, process_type)
    add_linked(processes, orm.Dict, 'output_parameters', 'with_incoming', {'energy': 'attributes.energy'})
    add_linked(processes, orm.StructureData, 'structure', 'with_outgoing', {'formula': 'attributes.sites'})
    number = {'configurations': 'attributes.number_of_configurations'}
    add_linked(processes, orm.Data, 'labelled', 'with_incoming', number)
    for process in processes.values():
        names = [site['kind_name'].rstrip('0123456789') for site in process['formula'] or []]
        process['formula'] = ''.join(f'{name}{names.count(name)}' for name in sorted(set(names))) or None
    return list(processes.values())


def get_simulations(pks: list[int]) -> list[Json]:
    """Return the simulations among some nodes: how each ended, and the PK of the potential that drove it."""
    processes: dict[int, Json] = {}
    for process_type in process_types():
        processes |= get_calculations(pks, process_type)
    columns = {key: f'attributes.{key}' for key in ('reason', 'step', 'gamma_max')}
    add_linked(processes, orm.Dict, 'results', 'with_incoming', columns)
    add_linked(processes, orm.Data, 'potential', 'with_outgoing', {'potential': 'id'})
    return list(processes.values())


def get_call_paths(pks: list[int]) -> dict[int, str]:
    """Return for each process the labels of the calls that led to it, joined: `iteration_01_label/label_0003`."""
    paths: dict[int, list[str]] = {pk: [] for pk in pks}
    current = {pk: pk for pk in pks}  # process -> its caller on the level that is reached
    while current:
        query = orm.QueryBuilder()
        query.append(orm.ProcessNode, filters={'id': {'in': list(set(current.values()))}}, project='id', tag='called')
        query.append(
            orm.ProcessNode,
            with_outgoing='called',
            edge_filters={'type': {'in': [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]}},
            edge_project='label',
            project='id',
        )
        callers = {called: (caller, label) for called, caller, label in query.all()}
        for pk, called in list(current.items()):
            if called in callers:
                current[pk] = callers[called][0]
                paths[pk].insert(0, callers[called][1])
            else:
                del current[pk]
    return {pk: '/'.join(labels) for pk, labels in paths.items()}


def describe_data(node: orm.Data) -> DataRow:
    """Return what identifies a potential or configurations."""
    keys = ('generation', 'elements', 'number_of_functions', 'number_of_configurations', 'families', 'formulas')
    known = {key: node.base.attributes.get(key, None) for key in keys}
    return DataRow(pk=node.pk, uuid=node.uuid, type=type(node).__name__, **known)
