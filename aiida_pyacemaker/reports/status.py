"""The story of a run: where it is, what each iteration did and learned, and what it waits for.

What the nodes of the steps say is read from them. What only the loop itself knows (stage, round, surprise, growth of
the basis) it leaves in two extras of its node after every step, so that a run can be looked at while it is going.
"""

from __future__ import annotations

from dataclasses import fields

from aiida import orm

from aiida_pyacemaker.atomistics.explorers.walker import EndReason
from aiida_pyacemaker.workflows.links import IterationLink

from .queries import Steps, count_labels, dig, duration, get_results, get_running_tree, get_steps, while_unlocked
from .rows import (
    RUNNING,
    IterationRow,
    Json,
    LabelCounts,
    RunStatus,
    Simulation,
    Stage,
    Trajectory,
    Verdict,
    WalkerEnd,
    WalkerRow,
)
from .trajectories import find_trajectories, read_live

#: Extra of a run's node: where it is, and what it notes of each iteration, the present one last.
EXTRA_PROGRESS = 'progress'
#: What the loop notes of an iteration and its steps do not say.
NOTES = ('stage', 'round', 'why', 'surprise', 'number_of_functions', 'production')
#: Ends of a simulation that are no halt: it came to its end, runs, or its job died.
NO_HALTS = (EndReason.COMPLETED, EndReason.DIED, RUNNING)


@while_unlocked
def get_status(run: orm.WorkChainNode, live: bool | None = False) -> RunStatus:
    """Describe the state of a run.

    :param live: look where the simulations are that run: False for no, None for those on this machine, True for those
        elsewhere too, to which a connection is opened.
    """
    steps = get_steps(run)
    parameters = run.inputs.parameters.get_dict() if 'parameters' in run.inputs else {}
    progress = run.base.extras.get(EXTRA_PROGRESS, None) or get_last_progress(run)
    notes = {entry['iteration']: entry for entry in progress.get('history', [])}
    trajectories = find_trajectories(run)
    ends = get_ends(trajectories)
    generations = [
        describe_iteration(number, steps[number], notes.get(number, {}), ends.get(number, [])) for number in steps
    ]
    budget = LabelCounts(budget=parameters.get('budget', {}).get('max_labels'))
    labelled = count_labels(children['label'] for children in steps.values() if 'label' in children)
    potentials = [row.potential for row in generations if row.potential]
    stage = {entry.name: progress.get(entry.name) for entry in fields(Stage)}
    return RunStatus(
        pk=run.pk,
        uuid=run.uuid,
        elements=parameters.get('system', {}).get('elements', []),
        protocol=parameters.get('protocol'),
        state=get_state(run),
        process_state=run.process_state.value if run.process_state else None,
        paused=run.paused,
        exit_status=run.exit_status,
        exit_message=run.exit_message or None,
        exception=run.exception,
        iteration=max(steps, default=0),
        max_iterations=parameters.get('budget', {}).get('max_iterations'),
        stage=Stage(**stage) if None not in stage.values() else None,
        waits=None if run.is_terminated else progress.get('waits_for') or None,
        running=[] if run.is_terminated else get_running_tree(run),
        dft=LabelCounts.total_of([labelled, budget]),
        criteria=parameters.get('validate', {}),
        label_noise=get_noise(run),
        verdict=get_verdict(steps),
        calibration=run.outputs.report.get_dict().get('calibration') if 'report' in run.outputs else None,
        generations=generations,
        trajectories=trajectories,
        walkers=describe_walkers(trajectories, live),
        potential=run.outputs.potential.pk if 'potential' in run.outputs else next(reversed(potentials), None),
        time=get_times(run, steps),
    )


def get_state(run: orm.WorkChainNode) -> str:
    """Return one word for where a run is: its own verdict if it gave one, else the state of the process."""
    if not run.is_terminated:
        return 'paused' if run.paused else 'running'
    if 'report' in run.outputs:
        return run.outputs.report.get_dict().get('state') or 'finished'
    if run.is_finished:
        return 'converged' if run.is_finished_ok else 'failed'
    return run.process_state.value  # killed or excepted


def get_last_progress(run: orm.WorkChainNode) -> Json:
    """Return what a run that has ended noted of its iterations, for a copy that has lost its extras."""
    return {'history': run.outputs.report.get_dict().get('iterations') or []} if 'report' in run.outputs else {}


def get_verdict(steps: Steps) -> Verdict | None:
    """Return the newest verdict of the gate, None if there is none."""
    for iteration, children in reversed(steps.items()):
        node = children.get('validate')
        results = get_results(node)
        if 'verdict' not in results:
            continue
        outputs = node.outputs
        names = {
            result: [check['name'] for check in results['checks'] if check['result'] == result]
            for result in ('fail', 'warn')
        }
        return Verdict(
            **{key: results[key] for key in ('verdict', 'summary', 'weights')},
            failed=names['fail'],
            warned=names['warn'],
            iteration=iteration,
            potential=node.inputs.potential.pk,
            report=outputs.report.pk if 'report' in outputs else None,
            requested=len(outputs.requested) if 'requested' in outputs else 0,
            deployed=outputs.deployed.value if 'deployed' in outputs else None,
        )
    return None


def describe_iteration(
    iteration: int, children: dict[str, orm.WorkChainNode], notes: Json, ends: list[WalkerEnd]
) -> IterationRow:
    """Return what an iteration did.

    :param children: its steps by name.
    :param notes: what the loop itself noted of it.
    :param ends: how its simulations ended.
    """
    train = children.get('train')
    fit, exploration, errors = (get_results(children.get(name)) for name in ('train', 'explore', 'evaluate'))
    told = {key: notes.get(key) for key in NOTES}
    if train is not None and 'potential' in train.outputs:
        potential = train.outputs.potential
        told |= {
            'potential': potential.pk,
            'generation': potential.generation,
            'number_of_functions': potential.base.attributes.get('number_of_functions', None),
        }
    return IterationRow(
        iteration=iteration,
        **told,
        **describe_labels(children.get('label')),
        number_halted=exploration.get('number_halted'),
        gamma_max=exploration.get('gamma_max'),
        train_energy_rmse=dig(fit, 'train', 'energy', 'rmse'),
        train_force_rmse=dig(fit, 'train', 'forces', 'rmse'),
        energy_rmse=dig(errors, 'energy', 'rmse'),
        force_rmse=dig(errors, 'forces', 'rmse'),
        stress_rmse=dig(errors, 'stress', 'rmse'),
        force_coverage=dig(errors, 'uncertainty', 'forces', 'coverage'),
        passed=errors.get('passed'),
        seconds=sum(duration(node) for node in children.values()),
        ends=ends,
    )


def get_noise(run: orm.WorkChainNode) -> Json | None:
    """Return the settings and the noise of the labels of a run, None where they were not measured."""
    from aiida_pyacemaker.workflows.active_learning.restart import find_noise
    from aiida_pyacemaker.workflows.active_learning.restart import get_steps as get_called

    node = find_noise(run, get_called(run))
    return None if node is None else node.get_dict()


def describe_labels(label: orm.WorkChainNode | None) -> Json:
    """Return the columns of a row about its labels: how many for training and test, of how many atoms, at what cost."""
    if label is None:
        return {}
    counts, atoms = count_labels([label]), 0
    row = {'labels_failed': counts.failed, 'labels_suspect': counts.suspect, 'core_hours': counts.core_hours}
    for split in ('train', 'test'):
        node = label.outputs[split] if split in label.outputs else None
        row[f'labels_{split}'] = len(node) if node is not None else 0 if label.is_terminated else None
        atoms += node.base.attributes.get('number_of_atoms') if node is not None else 0
    return {**row, 'atoms_labelled': atoms}


def get_ends(trajectories: list[Trajectory]) -> dict[int, list[WalkerEnd]]:
    """Return how the simulations of each iteration ended; the trial of a production fit is not among them."""
    ends: dict[int, list[WalkerEnd]] = {}
    for trajectory in trajectories:
        for simulation in trajectory.simulations:
            if simulation.step_label == IterationLink('explore', simulation.iteration).label:
                ends.setdefault(simulation.iteration, []).append(describe_end(simulation, trajectory))
    return ends


def describe_end(simulation: Simulation, trajectory: Trajectory) -> WalkerEnd:
    """Return how a simulation of a trajectory ended."""
    results = simulation.results
    return WalkerEnd(
        walker=trajectory.walker,
        stage=trajectory.stage,
        program=trajectory.program,
        end=simulation.end,
        step=results.get('step'),
        steps=simulation.parameters['steps'],
        gamma_max=results.get('gamma_max'),
        diagnosis=results.get('diagnosis'),
    )


def describe_walkers(trajectories: list[Trajectory], live: bool | None) -> list[WalkerRow]:
    """Return of each walker its newest trajectory, and where its last simulation is, or how that ended.

    :param live: see :func:`get_status`.
    """
    newest = {trajectory.walker: trajectory for trajectory in trajectories}
    walkers = []
    for trajectory in newest.values():
        last = trajectory.simulations[-1]
        running = trajectory.end == RUNNING and live is not False
        walkers.append(
            WalkerRow(
                **vars(trajectory),
                pk=last.pk,
                state=last.state,
                message=last.message,
                gamma_max=last.results.get('gamma_max'),
                diagnosis=last.results.get('diagnosis'),
                live=read_live(last, remote=bool(live)) if running else None,
            )
        )
    return walkers


def get_times(run: orm.WorkChainNode, steps: Steps) -> dict[str, float]:
    """Return seconds: the whole run (``total``), and the wall time of each kind of step summed over the iterations."""
    times = {'total': duration(run)}
    for children in steps.values():
        for name, node in children.items():
            times[name] = times.get(name, 0.0) + duration(node)
    return times


# Words ----------------------------------------------------------------------------------------------------------------


def tell_iteration(row: IterationRow) -> str:
    """Return what an iteration did and learned, as a line of text."""
    parts = [tell_ends(row.ends)] if row.ends else []
    if row.labels_train is not None or row.labels_test is not None:
        parts.append(tell_labels(row))
    if row.surprise:
        parts.append(tell_surprise(row))
    if row.generation is not None:
        functions = f' with {row.number_of_functions} functions' if row.number_of_functions else ''
        parts.append(f'generation {row.generation}{functions}')
    if row.production:
        parts.append(tell_production(row.production))
    text = '; '.join(parts) or 'no step is done yet'
    return f'{row.why}: {text}' if row.why else text


def tell_verdict(verdict: Verdict) -> str:
    """Return the verdict in words, and what became of the potential."""
    text = verdict.summary.rstrip('.')
    if verdict.deployed:
        return f'{text}; deployed as {verdict.deployed}'
    if verdict.requested:
        return f'{text}; {verdict.requested} structures would cure it'
    return text


def tell_production(production: Json) -> str:
    """Return what became of a production fit."""
    test, why = production.get('test') or {}, production.get('why') or 'made'
    if None in (test.get('energy'), test.get('forces')):
        return f'production fit: {why}'
    errors = f'{test["energy"] * 1e3:.2f} meV/atom, {test["forces"] * 1e3:.1f} meV/Å on held-out configurations'
    return f'production fit with {production["number_of_functions"]} functions: {errors}, {why}'


def tell_ends(ends: list[WalkerEnd]) -> str:
    """Return how simulations ended: one after the other if they are few, else counted."""
    if len(ends) <= 3:
        return ', '.join(f'walker {end.walker} {tell_end(end)}' for end in ends)
    counts: dict[str, int] = {}
    for end in ends:
        counts[end.end] = counts.get(end.end, 0) + 1
    text = ', '.join(f'{number} {tell_reason(reason)}' for reason, number in sorted(counts.items()))
    halted = [end for end in ends if end.end not in NO_HALTS and end.step is not None]
    if not halted:
        return f'of {len(ends)} walkers {text}'
    first = min(halted, key=lambda end: end.step / end.steps)
    return f'of {len(ends)} walkers {text} (the earliest, walker {first.walker}, at {tell_step(first)})'


def tell_end(end: WalkerEnd) -> str:
    """Return how one simulation ended."""
    if end.end in (RUNNING, EndReason.DIED):
        return end.end
    if end.end == EndReason.COMPLETED:
        return f'completed {end.steps} steps'
    gamma = f', gamma {end.gamma_max:.3g}' if end.end == EndReason.GAMMA and end.gamma_max is not None else ''
    return f'{tell_reason(end.end)} at {tell_step(end)}{gamma}'


def tell_reason(reason: str) -> str:
    """Return a reason as a verb."""
    words: dict[str, str] = {
        EndReason.COMPLETED: 'completed',
        RUNNING: 'running',
        EndReason.DIED: 'died',
        EndReason.LOST_ATOMS: 'lost atoms',
        EndReason.CRASHED: 'crashed',
        EndReason.OVERLAP: 'ended by atoms too close to each other',
    }
    return words.get(reason) or f'halted by {reason}'


def tell_step(end: WalkerEnd) -> str:
    """Return where on its way a simulation is."""
    return f'step {end.step} of {end.steps}'


def tell_labels(row: IterationRow) -> str:
    """Return what was labelled."""
    counts = {'to learn from': row.labels_train, 'held out': row.labels_test}
    told = (f'{number} {"label" if number == 1 else "labels"} {what}' for what, number in counts.items() if number)
    text = ', '.join(told) or 'no labels'
    text += f' ({row.atoms_labelled} atoms)' if row.atoms_labelled else ''
    losses = {'failed': row.labels_failed, 'suspect': row.labels_suspect}
    return text + ''.join(f', {number} {what}' for what, number in losses.items() if number)


def tell_surprise(row: IterationRow) -> str:
    """Return how wrong the potential was on the new labels, and how well gamma had known it."""
    rmse, rank = row.surprise_force_rmse, row.rank_correlation
    text = f'error there {rmse * 1e3:.0f} meV/Å' if rmse is not None else 'error there unknown'
    return text + (f', rank correlation with gamma {rank:.2f}' if rank is not None else '')
