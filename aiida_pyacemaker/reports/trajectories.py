"""The simulations of a run, joined over their resumptions.

A walker that halts is resumed from its restart file by a new job with a new potential: what physics calls one
trajectory is a chain of jobs in the graph, linked by restart files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from ase import Atoms

from aiida_pyacemaker.atomistics.explorers.walker import FrameKind
from aiida_pyacemaker.workflows.explorers import Explorer, process_types
from aiida_pyacemaker.workflows.links import IterationLink, WalkerLink

from .queries import add_linked, seconds_since, while_unlocked
from .rows import Halt, Json, Live, Simulation, Trajectory

EXPLORE = 'aiida.workflows:pyacemaker.explore'
PS_PER_FS = 1e-3
#: What is asked of each job: key -> column.
COLUMNS = {
    'pk': 'id',
    'process_type': 'process_type',
    'state': 'attributes.process_state',
    'exit_status': 'attributes.exit_status',
    'message': 'attributes.exit_message',
    'stage': 'extras.stage',
    'program': 'extras.program',
}


# Finding --------------------------------------------------------------------------------------------------------------


@while_unlocked
def find_simulations(run: orm.WorkChainNode) -> list[Simulation]:
    """Return the simulations of all explorations of a run, in the order of their start; a few queries for all.

    One that died and was started again is left out, unless that was the last try.
    """
    found: dict[tuple[str, int], Json] = {}
    for *values, step, label in sorted(query_jobs(run), key=lambda row: row[0]):
        walker, exploration = WalkerLink.parse(label), IterationLink.parse(step)
        if walker is not None and exploration is not None:
            place = {'iteration': exploration.iteration, 'step_label': step, 'walker': walker.index}
            found[step, walker.index] = {**place, **dict(zip(COLUMNS, values, strict=True))}
    jobs = {job['pk']: job for job in found.values()}
    add_linked(jobs, orm.Dict, 'results', 'with_incoming', {'results': 'attributes'})
    add_linked(jobs, orm.Dict, 'parameters', 'with_outgoing', {'parameters': 'attributes'})
    add_linked(jobs, orm.Data, 'restart', 'with_outgoing', {'restart': 'id'})
    add_linked(jobs, orm.Data, 'restart', 'with_incoming', {'restart_left': 'id'})
    return [
        Simulation(**{**jobs[pk], 'results': jobs[pk]['results'] or {}, 'parameters': complete_parameters(jobs[pk])})
        for pk in sorted(jobs)
    ]


def complete_parameters(job: Json) -> Json:
    """Return the parameters of a job, with their defaults where it was not given all of them.

    A job that another version of its explorer has run is told of as well, by what it was given.
    """
    section, given = get_explorer(job['process_type']).WalkerParameters, job['parameters'] or {}
    defaults = {name: field.get_default(call_default_factory=True) for name, field in section.model_fields.items()
                if not field.is_required()}  # fmt: skip
    return {**defaults, **given}


def query_jobs(run: orm.WorkChainNode) -> list[list[Any]]:
    """Return a row for each job: :data:`COLUMNS`, label of the exploration, label of the job."""
    call = {'type': {'in': [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]}}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': run.pk}, tag='run')
    query.append(
        orm.WorkChainNode,
        with_incoming='run',
        filters={'process_type': EXPLORE},
        edge_filters=call,
        edge_project='label',
        tag='explore',
    )
    query.append(
        orm.CalcJobNode,
        with_incoming='explore',
        filters={'process_type': {'in': list(process_types())}},
        edge_filters=call,
        project=list(COLUMNS.values()),
        edge_project='label',
    )
    return query.all()


@while_unlocked
def find_trajectories(run: orm.WorkChainNode) -> list[Trajectory]:
    """Return the trajectories of a run, by walker and start; one that it took over from a former run as a whole."""
    simulations = find_simulations(run)
    own = {simulation.pk for simulation in simulations}
    chains = join_simulations([*find_former(run, simulations), *simulations])
    numbers: dict[int, int] = {}
    trajectories = []
    for chain in sorted(chains, key=lambda chain: (chain[0].walker, chain[0].pk)):
        if own.isdisjoint(simulation.pk for simulation in chain):
            continue  # of the former run alone
        walker = chain[0].walker
        numbers[walker] = numbers.get(walker, 0) + 1
        trajectories.append(describe_chain(chain, numbers[walker]))
    return trajectories


def find_former(run: orm.WorkChainNode, simulations: list[Simulation]) -> list[Simulation]:
    """Return the simulations of the runs before that left a restart file from which one of this run resumed."""
    left = {simulation.restart_left for simulation in simulations}
    foreign = {simulation.restart for simulation in simulations if simulation.restart is not None} - left
    for pk in sorted(foreign):
        creator = orm.load_node(pk).creator
        caller = creator.caller.caller if creator is not None and creator.caller is not None else None
        if caller is not None and caller.pk != run.pk:
            earlier = find_simulations(caller)
            return [*find_former(caller, earlier), *earlier]
    return []


def join_simulations(simulations: list[Simulation]) -> list[list[Simulation]]:
    """Chain simulations, given in the order of their start, by the restart files that they left and resumed from."""
    chains: list[list[Simulation]] = []
    open_ends: dict[int, list[Simulation]] = {}
    for simulation in simulations:
        chain = open_ends.pop(simulation.restart, None)
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(simulation)
        if simulation.restart_left is not None:
            open_ends[simulation.restart_left] = chain
    return chains


def describe_chain(chain: list[Simulation], number: int) -> Trajectory:
    """Return what a chain of simulations of a walker was."""
    first, last = chain[0], chain[-1]
    step = next((part.results['step'] for part in reversed(chain) if 'step' in part.results), 0)
    begin = first.results.get('start_step') or 0
    return Trajectory(
        walker=first.walker,
        number=number,
        stage=first.stage,
        program=first.program,
        iterations=sorted({part.iteration for part in chain}),
        steps=last.parameters['steps'],
        step=step,
        time=(step - begin) * last.parameters['timestep'] * PS_PER_FS,
        halts=[describe_halt(part) for part in chain if part.results.get('halted')],
        end=last.end,
        simulations=chain,
    )


def describe_halt(simulation: Simulation) -> Halt:
    """Return where and why a simulation halted."""
    results = simulation.results
    return Halt(
        iteration=simulation.iteration,
        pk=simulation.pk,
        step=results['step'],
        time=results['step'] * simulation.parameters['timestep'] * PS_PER_FS,
        reason=results['reason'],
        gamma=results.get('gamma_max'),
        diagnosis=results.get('diagnosis'),
    )


def get_explorer(process_type: str) -> Explorer:
    """Return the explorer whose jobs are of this process type."""
    return process_types()[process_type]


# Reading --------------------------------------------------------------------------------------------------------------


@while_unlocked
def read_series(trajectory: Trajectory) -> dict[str, np.ndarray]:
    """Return the series of a trajectory, joined over its resumptions.

    :returns: `time` (ps) and `temperature` (K), `watch_time` (ps) and `gamma` (largest of all atoms), each of shape
        (n,); what a simulation left no record of is missing.
    """
    parts: dict[str, list[np.ndarray]] = {'time': [], 'temperature': [], 'watch_time': [], 'gamma': []}
    for simulation in trajectory.simulations:
        series = get_explorer(simulation.process_type).read_series(orm.load_node(simulation.pk))
        factor = simulation.parameters['timestep'] * PS_PER_FS
        for time, steps, key in (('time', 'step', 'temperature'), ('watch_time', 'watch_step', 'gamma')):
            if steps in series:
                parts[time].append(series[steps] * factor)
                parts[key].append(series[key])
    return {key: np.concatenate(found) if found else np.zeros(0) for key, found in parts.items()}


@while_unlocked
def read_frames(trajectory: Trajectory) -> list[Atoms]:
    """Return the frames of a trajectory, joined over its resumptions, each step once.

    :returns: frames with what the simulations noted of them, and info `time` (ps), `iteration`, `simulation` (UUID) and
        for those at which it halted `halted` (the reason).
    """
    frames: dict[int, Atoms] = {}
    for simulation in trajectory.simulations:
        node = orm.load_node(simulation.pk)
        frames_of = get_explorer(simulation.process_type).get_frames(node)
        for kind in (FrameKind.TRAJECTORY, FrameKind.HALTED):
            for atoms in frames_of[kind].get_frames() if kind in frames_of else ():
                step = atoms.info['step']
                atoms.info.update(
                    time=step * simulation.parameters['timestep'] * PS_PER_FS,
                    iteration=simulation.iteration,
                    simulation=node.uuid,
                    **({'halted': simulation.results['reason']} if kind is FrameKind.HALTED else {}),
                )
                frames.setdefault(step, atoms)
    return [frames[step] for step in sorted(frames)]


@while_unlocked
def read_live(simulation: Simulation, remote: bool = False) -> Live | None:
    """Return where a simulation is that runs, None if that is not known.

    The record of the explorer is read where it is written. On this machine that costs nothing; elsewhere it opens a
    connection.

    :param remote: open a connection if one is needed.
    """
    node = orm.load_node(simulation.pk)
    folder = node.get_remote_workdir()
    explorer = get_explorer(simulation.process_type)
    if not explorer.live_file or not folder or not (remote or node.computer.transport_type == 'core.local'):
        return None
    with tempfile.TemporaryDirectory() as scratch, node.get_transport() as transport:
        try:
            transport.getfile(f'{folder}/{explorer.live_file}', f'{scratch}/live')
        except OSError:
            return None  # it waits in the queue
        live = explorer.read_live(Path(scratch) / 'live')
    if live is None:
        return None
    first, step, steps = live['first_step'], live['step'], simulation.parameters['steps']
    left = seconds_since(node.ctime) * (steps - step) / (step - first) if step > first and steps else None
    return Live(step=step, temperature=live['temperature'], gamma=live['gamma'], seconds_left=left)
