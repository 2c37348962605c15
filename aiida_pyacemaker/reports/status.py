"""The story of a run: where it is, what each iteration did and taught, and what it waits for.

What the nodes of the steps say is read from them. What only the loop itself knows (stage, round, surprise, growth of
the basis) it leaves in two extras of its node after every step, so that a run can be looked at while it is going.
"""

from __future__ import annotations

from typing import Any

from aiida import orm

from .queries import count_labels, dig, duration, get_results, get_running_tree, get_steps, while_unlocked
from .trajectories import find_trajectories, read_live

#: Extra of a run's node: where it is, and what it notes of each iteration, the present one last.
EXTRA_PROGRESS = 'progress'
#: What the loop notes of an iteration and its steps do not say.
NOTES = ('stage', 'round', 'why', 'surprise', 'number_of_functions', 'production')
#: What it notes of where it is.
STAGE = ('stage', 'stage_number', 'stages', 'round', 'clean_rounds', 'seeds')


@while_unlocked
def get_status(run: orm.WorkChainNode, live: bool | None = False) -> dict[str, Any]:
    """Describe the state of a run.

    :param live: look where the simulations are that run: False for no, None for those on this machine, True for those
        elsewhere too, to which a connection is opened.
    :returns: dictionary with ``state``, ``iteration``, ``stage`` (see :data:`STAGE`), ``waits``, ``running`` (tree of
        what runs now), ``dft`` (see :func:`~aiida_pyacemaker.reports.queries.count_labels`), ``generations`` (one row
        per iteration), ``validation`` (the newest verdict, see :func:`get_validation`),
        ``calibration`` (force errors where gamma halted and where not, once the run has ended),
        ``trajectories`` (see :func:`~aiida_pyacemaker.reports.trajectories.find_trajectories`),
        ``walkers`` (of each the newest of them), ``potential`` (PK of the newest) and ``time``; energies in eV/atom,
        forces in eV/Å.
    """
    steps = get_steps(run)
    parameters = run.inputs.parameters.get_dict() if 'parameters' in run.inputs else {}
    progress = run.base.extras.get(EXTRA_PROGRESS, None) or get_last_progress(run)
    notes = {entry['iteration']: entry for entry in progress.get('history', [])}
    generations = [describe_iteration(number, steps[number], notes.get(number, {})) for number in steps]
    trajectories = find_trajectories(run)
    add_halts(generations, trajectories)
    dft = count_labels(children['label'] for children in steps.values() if 'label' in children)
    potentials = [row['potential'] for row in generations if row['potential']]
    return {
        'pk': run.pk,
        'uuid': run.uuid,
        'elements': parameters.get('system', {}).get('elements', []),
        'protocol': parameters.get('protocol'),
        'state': get_state(run),
        'process_state': run.process_state.value if run.process_state else None,
        'paused': run.paused,
        'exit_status': run.exit_status,
        'exit_message': run.exit_message or None,
        'exception': run.exception,
        'iteration': max(steps, default=0),
        'max_iterations': parameters.get('budget', {}).get('max_iterations'),
        'stage': {key: progress[key] for key in STAGE} if all(key in progress for key in STAGE) else None,
        'waits': None if run.is_terminated else progress.get('waits_for') or None,
        'running': [] if run.is_terminated else get_running_tree(run),
        'dft': {**dft, 'budget': parameters.get('budget', {}).get('max_labels')},
        'criteria': parameters.get('validate', {}),
        'validation': get_validation(steps),
        'calibration': run.outputs.report.get_dict().get('calibration') if 'report' in run.outputs else None,
        'generations': generations,
        'trajectories': [without_simulations(trajectory) for trajectory in trajectories],
        'walkers': describe_walkers(trajectories, live),
        'potential': run.outputs.potential.pk if 'potential' in run.outputs else next(reversed(potentials), None),
        'time': get_times(run, steps),
    }


def get_state(run: orm.WorkChainNode) -> str:
    """Return one word for where a run is: its own verdict if it gave one, else the state of the process."""
    if not run.is_terminated:
        return 'paused' if run.paused else 'running'
    if 'report' in run.outputs:
        return run.outputs.report.get_dict().get('state') or 'finished'
    if run.is_finished:
        return 'converged' if run.is_finished_ok else 'failed'
    return run.process_state.value  # killed or excepted


def get_last_progress(run: orm.WorkChainNode) -> dict[str, Any]:
    """Return what a run that has ended noted of its iterations, for a copy that has lost its extras."""
    return {'history': run.outputs.report.get_dict().get('iterations') or []} if 'report' in run.outputs else {}


def get_validation(steps: dict[int, dict[str, orm.WorkChainNode]]) -> dict[str, Any] | None:
    """Return the newest verdict of the gate, None if there is none.

    :returns: ``verdict``, ``summary``, ``failed`` and ``warned`` (names of the checks), ``weights``, ``iteration``, PKs
        of the ``potential`` and of the ``report`` (None if it could not be written), ``requested`` (how many structures
        would cure what failed) and ``deployed`` (name of the version, or None).
    """
    for iteration, children in reversed(steps.items()):
        node = children.get('validate')
        results = get_results(node)
        if 'verdict' not in results:
            continue
        outputs = node.outputs
        by_result = {
            name: [row['name'] for row in results['checks'] if row['result'] == name] for name in ('fail', 'warn')
        }
        return {
            **{key: results[key] for key in ('verdict', 'summary', 'weights')},
            'failed': by_result['fail'],
            'warned': by_result['warn'],
            'iteration': iteration,
            'potential': node.inputs.potential.pk,
            'report': outputs.report.pk if 'report' in outputs else None,
            'requested': len(outputs.requested) if 'requested' in outputs else 0,
            'deployed': outputs.deployed.value if 'deployed' in outputs else None,
        }
    return None


def tell_validation(validation: dict[str, Any]) -> str:
    """Return the verdict in words, and what became of the potential."""
    text = validation['summary'].rstrip('.')
    if validation['deployed']:
        return f'{text}; deployed as {validation["deployed"]}'
    if validation['requested']:
        return f'{text}; {validation["requested"]} structures would cure it'
    return text


def describe_iteration(iteration: int, children: dict[str, orm.WorkChainNode], notes: dict[str, Any]) -> dict[str, Any]:
    """Return one row of the table of generations; what is not known (yet) is None.

    :param children: the steps of the iteration by name.
    :param notes: what the loop itself noted of it.
    """
    label, train, explore, validate = (children.get(name) for name in ('label', 'train', 'explore', 'evaluate'))
    trained, explored, validated = get_results(train), get_results(explore), get_results(validate)
    row: dict[str, Any] = {
        'iteration': iteration,
        **{key: notes.get(key) for key in NOTES},
        'generation': None,
        'potential': None,
        'number_halted': explored.get('number_halted'),
        'gamma_max': explored.get('gamma_max'),
        **describe_labels(label),
        'train_energy_rmse': dig(trained, 'train', 'energy', 'rmse'),
        'train_force_rmse': dig(trained, 'train', 'forces', 'rmse'),
        'energy_rmse': dig(validated, 'energy', 'rmse'),
        'force_rmse': dig(validated, 'forces', 'rmse'),
        'stress_rmse': dig(validated, 'stress', 'rmse'),
        # part of the force errors inside the 95 % band that the potential gives
        'force_coverage': dig(validated, 'uncertainty', 'forces', 'coverage'),
        'passed': validated.get('passed'),
        'seconds': sum(duration(node) for node in children.values()),
    }
    if train is not None and 'potential' in train.outputs:
        row['potential'] = train.outputs.potential.pk
        row['generation'] = train.outputs.potential.generation
        row['number_of_functions'] = train.outputs.potential.base.attributes.get('number_of_functions', None)
    return row


def describe_labels(label: orm.WorkChainNode | None) -> dict[str, Any]:
    """Return the columns of a row about its labels: how many for training and test, of how many atoms, at what cost."""
    counts = count_labels([label]) if label else {}
    row: dict[str, Any] = {'labels_failed': counts.get('failed'), 'labels_suspect': counts.get('suspect')}
    row['core_hours'] = counts.get('core_hours')
    atoms = 0
    for split in ('train', 'test'):
        node = label.outputs[split] if label is not None and split in label.outputs else None
        ended = label is not None and label.is_terminated
        row[f'labels_{split}'] = len(node) if node is not None else 0 if ended else None
        atoms += node.base.attributes.get('number_of_atoms') if node is not None else 0
    row['atoms_labelled'] = atoms if label is not None else None
    return row


def add_halts(rows: list[dict[str, Any]], trajectories: list[dict[str, Any]]) -> None:
    """Add `ends` to the rows: how each simulation of the iteration ended, see :func:`describe_end`."""
    by_iteration: dict[int, list[dict[str, Any]]] = {}
    for trajectory in trajectories:
        for simulation in trajectory['simulations']:
            if simulation['step_label'].endswith('_explore'):  # not those that prove the production fit
                end = describe_end_of(simulation, trajectory)
                by_iteration.setdefault(simulation['iteration'], []).append(end)
    for row in rows:
        row['ends'] = by_iteration.get(row['iteration'], [])


def describe_end_of(simulation: dict[str, Any], trajectory: dict[str, Any]) -> dict[str, Any]:
    """Return `walker`, `stage`, `program`, `end`, `step`, `steps`, `gamma_max` and `diagnosis` of one simulation."""
    results = simulation['results']
    return {
        **{key: trajectory[key] for key in ('walker', 'stage', 'program')},
        'end': simulation['end'],
        'step': results.get('step'),
        'steps': simulation['parameters']['steps'],
        'gamma_max': results.get('gamma_max'),
        'diagnosis': results.get('diagnosis'),
    }


def describe_walkers(trajectories: list[dict[str, Any]], live: bool | None) -> list[dict[str, Any]]:
    """Return of each walker its newest trajectory, and where its last simulation is, or how that ended.

    :param live: see :func:`get_status`.
    :returns: like the trajectories, and `pk`, `state`, `gamma_max`, `diagnosis` of the last simulation; of one that
        runs `live`, see :func:`~aiida_pyacemaker.reports.trajectories.read_live`.
    """
    newest = {trajectory['walker']: trajectory for trajectory in trajectories}
    walkers = []
    for trajectory in newest.values():
        last = trajectory['simulations'][-1]
        running = trajectory['end'] == 'running' and live is not False
        walkers.append(
            {
                **without_simulations(trajectory),
                'pk': last['pk'],
                'state': last['state'],
                'message': last['message'],
                'gamma_max': last['results'].get('gamma_max'),
                'diagnosis': last['results'].get('diagnosis'),
                'live': read_live(last, remote=bool(live)) if running else {},
            }
        )
    return walkers


def without_simulations(trajectory: dict[str, Any]) -> dict[str, Any]:
    """Return a trajectory with the PKs of its simulations in place of all that is known of them."""
    return {**trajectory, 'simulations': [simulation['pk'] for simulation in trajectory['simulations']]}


def get_times(run: orm.WorkChainNode, steps: dict[int, dict[str, orm.WorkChainNode]]) -> dict[str, float]:
    """Return seconds: the whole run (``total``), and the wall time of each kind of step summed over the iterations."""
    times = {'total': duration(run)}
    for children in steps.values():
        for name, node in children.items():
            times[name] = times.get(name, 0.0) + duration(node)
    return times


# Words ----------------------------------------------------------------------------------------------------------------


def tell_iteration(row: dict[str, Any]) -> str:
    """Return what an iteration did and taught, as a line of text."""
    parts = [tell_ends(row['ends'])] if row['ends'] else []
    if row['labels_train'] is not None or row['labels_test'] is not None:
        parts.append(tell_labels(row))
    if row['surprise']:
        parts.append(tell_surprise(row['surprise']))
    if row['generation'] is not None:
        functions = f' with {row["number_of_functions"]} functions' if row['number_of_functions'] else ''
        parts.append(f'generation {row["generation"]}{functions}')
    if row['production']:
        parts.append(tell_production(row['production']))
    text = '; '.join(parts) or 'no step is done yet'
    return f'{row["why"]}: {text}' if row['why'] else text


def tell_production(production: dict[str, Any]) -> str:
    """Return what became of a production fit."""
    test, why = production.get('test') or {}, production.get('why') or 'made'
    if None in (test.get('energy'), test.get('forces')):
        return f'production fit: {why}'
    errors = f'{test["energy"] * 1e3:.2f} meV/atom, {test["forces"] * 1e3:.1f} meV/Å on held-out configurations'
    return f'production fit with {production["number_of_functions"]} functions: {errors}, {why}'


def tell_ends(ends: list[dict[str, Any]]) -> str:
    """Return how simulations ended: one after the other if they are few, else counted."""
    if len(ends) <= 3:
        return ', '.join(f'walker {end["walker"]} {tell_end(end)}' for end in ends)
    counts: dict[str, int] = {}
    for end in ends:
        counts[end['end']] = counts.get(end['end'], 0) + 1
    text = ', '.join(f'{number} {tell_reason(reason)}' for reason, number in sorted(counts.items()))
    halted = [end for end in ends if end['end'] not in ('completed', 'running', 'died') and end['step'] is not None]
    if not halted:
        return f'of {len(ends)} walkers {text}'
    first = min(halted, key=lambda end: end['step'] / end['steps'])
    return f'of {len(ends)} walkers {text} (the earliest, walker {first["walker"]}, at {tell_step(first)})'


def tell_end(end: dict[str, Any]) -> str:
    """Return how one simulation ended."""
    if end['end'] in ('running', 'died'):
        return end['end']
    if end['end'] == 'completed':
        return f'completed {end["steps"]} steps'
    gamma = f', gamma {end["gamma_max"]:.3g}' if end['end'] == 'gamma' and end['gamma_max'] is not None else ''
    return f'{tell_reason(end["end"])} at {tell_step(end)}{gamma}'


def tell_reason(reason: str) -> str:
    """Return a reason as a verb."""
    words = {
        'completed': 'completed',
        'running': 'running',
        'died': 'died',
        'lost_atoms': 'lost atoms',
        'crashed': 'crashed',
        'overlap': 'ended by atoms too close to each other',
    }
    return words.get(reason) or f'halted by {reason}'


def tell_step(end: dict[str, Any]) -> str:
    """Return where on its way a simulation is."""
    return f'step {end["step"]} of {end["steps"]}'


def tell_labels(row: dict[str, Any]) -> str:
    """Return what was labelled."""
    counts = {'to learn from': row['labels_train'], 'held out': row['labels_test']}
    told = (f'{number} {"label" if number == 1 else "labels"} {what}' for what, number in counts.items() if number)
    text = ', '.join(told) or 'no labels'
    text += f' ({row["atoms_labelled"]} atoms)' if row['atoms_labelled'] else ''
    return text + ''.join(f', {row[key]} {word}' for key, word in LOSSES.items() if row[key])


#: Columns of a row that count what is no label, and how that is called.
LOSSES = {'labels_failed': 'failed', 'labels_suspect': 'suspect'}


def tell_surprise(surprise: dict[str, Any]) -> str:
    """Return how wrong the potential was on the new labels, and how well gamma had known it."""
    rank, rmse = surprise.get('rank_correlation'), dig(surprise, 'forces', 'rmse')
    text = f'error there {rmse * 1e3:.0f} meV/Å' if rmse is not None else 'error there unknown'
    return text + (f', rank correlation with gamma {rank:.2f}' if rank is not None else '')
