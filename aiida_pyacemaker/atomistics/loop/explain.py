"""What the loop does, and why it ended, in sentences for people: each names the keys that help."""

from __future__ import annotations

from ..explorers.walker import EndReason, WalkerResult
from .learning import calibrate
from .state import State


def why_this_iteration(state: State) -> str:
    """Say what this iteration does, and why."""
    if state.requested:
        return f'what the gate has asked for is labelled ({state.requests} of {state.settings.max_requests})'
    if not state.explores:
        grows = f'its basis grows to {state.functions} functions' if state.cure == 'grow' else 'it learns more'
        return f'the errors of the potential miss the criteria although nothing halts: {grows}'
    if state.resuming:
        number = len(state.resuming)
        return f'{number} halted {"walker resumes" if number == 1 else "walkers resume"} with what was learned'
    passed = f' ({state.clean_rounds} of {state.settings.rounds} have passed)' if state.in_last_stage else ''
    return f'all walkers start anew: round {state.round}{passed}'


def why_gamma_is_not_trusted(state: State) -> str:
    """Say so if gamma does not know where the errors are; empty if it does."""
    ratio = calibrate(state)['ratio']
    if ratio is None or ratio >= 1:
        return ''
    proven = ', and were made up for by the production potential' if state.production_holds else ''
    return (
        f'gamma does not know where the errors are: they were {1 / ratio:.1f} times as large on frames of clean '
        f'rounds as where it halted{proven}; the basis that explores is small for the system: raise '
        '`train.number_of_functions`'
    )


def why_the_gate_was_not_passed(state: State) -> str:
    """Say why the gate's requests have not helped, and what may."""
    if state.requests:
        times = 'once' if state.requests == 1 else f'{state.requests} times'
        return (
            f'What it asked for was labelled {times} and did not cure it: raise `validate.max_requests` or '
            '`train.max_functions`, or look into the report whether the labels themselves say so.'
        )
    if state.judgement['structures']:
        return 'Raise `validate.max_requests`, and what it asks for is labelled and learned.'
    return 'It asks for nothing that could be labelled: look into the report.'


def why_walkers_were_given_up(state: State, walker: WalkerResult, halts: int) -> str:
    """Say why walkers may halt again and again at the same place, and what helps.

    :param walker: the last one. :param halts: how often in a row it halted there.
    """
    where = (
        f'in stage {state.stage_name} walkers halted {halts} times in a row at the same place, '
        f'{state.walkers_given_up} times, the last one (walker {walker.index}) at step {walker.step} with gamma '
        f'{walker.gamma_max:.3g}'
    )
    limit = state.settings.gamma_halt
    if walker.gamma_max < 2 * limit:
        return f'{where}: the threshold is too low for this basis; raise `explore.gamma_halt` ({limit:g})'
    if state.training is not None and not state.meets(state.training):
        return (
            f'{where}, and the potential misses even what it was trained on: the basis is too small; raise '
            f'`train.number_of_functions` ({state.functions_used})'
        )
    return (
        f'{where}: the basis has more functions than the labels fix; lower `train.number_of_functions` '
        f'({state.functions_used}), or raise `embed.select_per_halt`'
    )


def why_nothing_was_gained(state: State) -> str:
    """Say what kept ending simulations without teaching anything, and what helps."""
    ends = ', '.join(f'{number} by {reason}' for reason, number in state.ended.items())
    remedy = {
        EndReason.GAMMA: 'what they halted at was not labelled (duplicates, overlaps or failed calculations): look at '
        'the selection and the failures, or raise `explore.gamma_halt`',
        EndReason.DIED: 'their processes died: look at their logs with `verdi process report`',
    }
    reason = EndReason(max(state.ended, key=state.ended.get))
    default = (
        'gamma saw nothing to learn before: lower `explore.gamma_select`, `explore.temperature` or `explore.pressure`'
    )
    number = state.iterations_without_gain
    return f'{number} iterations in a row taught nothing; simulations ended {ends}; {remedy.get(reason, default)}'


def why_violations_go_on(state: State) -> str:
    """Say what simulations ran into again and again, and what helps."""
    ends = ', '.join(
        f'{state.ends[reason]} by {reason}' for reason in EndReason if reason.is_violation and reason in state.ends
    )
    return (
        f'in {state.iterations_with_violations} iterations without a clean round in between simulations ended for '
        f'physical reasons ({ends} so far) although the way there was learned: the conditions may be more than the '
        'material stands; lower `explore.temperature`, or raise `explore.max_volume_ratio` if it may expand so far'
    )


def why_errors_miss_the_criteria(state: State) -> str:
    """Say which errors miss their limits, and what helps."""
    production, settings = state.production, state.settings
    test = production['test'] if production and production['kept'] else state.test
    if test is None or test['energy'] is None or test['forces'] is None:
        return 'there is no held-out set to measure on; raise `structures.test.number` or `validate.test_per_round`'
    numbers = (
        f'{1e3 * test["energy"]:.3g} meV/atom (limit {1e3 * settings.energy_rmse:g}) and '
        f'{1e3 * test["forces"]:.3g} meV/Å (limit {1e3 * settings.force_rmse:g})'
    )
    remedy = (
        'the data are too few: raise `validate.train_per_round`'
        if state.meets(state.best_training)
        else 'the basis is too small: raise `train.number_of_functions`, `train.max_functions` or '
        '`train.production.max_cost`'
    )
    return (
        f'{state.passes_missing_criteria} times the last stage passed without a halt, yet the errors on the held-out '
        f'set miss the criteria, {numbers}; {remedy}, or relax `validate.energy_rmse` and `validate.force_rmse`'
    )
