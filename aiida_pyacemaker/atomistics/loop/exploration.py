"""The exploring part of an iteration: which walkers run, what their ends mean, and what is learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ..explorers.walker import EndReason, WalkerResult
from . import explain
from .state import State

#: A walker is given up that halted so often in a row ...
HALTS_WITHOUT_ADVANCE = 4
#: ... without having advanced by this share of its steps.
LEAST_ADVANCE = 0.005
#: The loop has stalled when so many walkers were given up without a clean round in between.
MAX_WALKERS_GIVEN_UP = 3


class Wanted(TypedDict):
    """How many frames of the trajectories are to be learned and to be held out."""

    number_of_train: int
    number_of_test: int


def begin_iteration(state: State) -> None:
    """Begin the next iteration, and with it a round unless walkers resume."""
    state.iteration += 1
    state.explores = not state.fit_due and state.cure != 'request'
    state.begins_round = state.explores and not state.resuming
    state.is_clean, state.violation_was_foreseen, state.labels_learned, state.ended = False, False, 0, {}
    if state.begins_round:
        state.round += 1
        state.halts = {}


def record_walkers(state: State, walkers: Sequence[WalkerResult], failed: Sequence[int]) -> None:
    """Take note of how the simulations ended."""
    reasons = [walker.reason for walker in walkers] + [EndReason.DIED] * len(failed)
    bad = sorted(reason.value for reason in set(reasons) - {EndReason.COMPLETED})
    state.ended = {reason: reasons.count(reason) for reason in bad}
    for reason in reasons:
        state.ends[reason.value] = state.ends.get(reason.value, 0) + 1
    state.is_clean = state.begins_round and not state.ended
    state.clean_rounds = state.clean_rounds + 1 if state.is_clean else 0
    if state.is_clean:
        state.walkers_given_up = 0
    violations = [walker for walker in walkers if walker.reason.is_violation]
    state.violation_was_foreseen = any(walker.gamma_max > state.settings.gamma_select for walker in violations)
    state.resuming = [walker.index for walker in walkers if walker.reason.is_resumable and may_resume(state, walker)]


def may_resume(state: State, walker: WalkerResult) -> bool:
    """Return whether a halted walker may go on: whether it got further of late. Count those that did not."""
    former = state.halts.get(str(walker.index), {'step': -walker.steps, 'halts': 0})
    advanced = walker.step - former['step'] > LEAST_ADVANCE * walker.steps
    halts = 0 if advanced else former['halts'] + 1
    state.halts[str(walker.index)] = {'step': walker.step, 'halts': halts}
    if halts < HALTS_WITHOUT_ADVANCE:
        return True
    state.walkers_given_up += 1
    if state.walkers_given_up >= MAX_WALKERS_GIVEN_UP:
        state.stall(explain.why_walkers_were_given_up(state, walker, HALTS_WITHOUT_ADVANCE))
    return False


def has_violations(state: State) -> bool:
    """Return whether a walker of this iteration ended in a violation."""
    return any(EndReason(reason).is_violation for reason in state.ended)


def find_wanted(state: State) -> Wanted | None:
    """Return what is wanted from the trajectories, None if nothing is to be chosen at all."""
    if state.state != 'running':
        return None
    settings, halted = state.settings, EndReason.GAMMA in state.ended
    train = test = 0
    if state.at_the_end:
        # Both are chosen at once, from the frames of all these rounds, so that none is learned that is held out.
        test = settings.test_per_round * state.clean_rounds
        train = settings.train_per_round if settings.production or not state.test_passes else 0
    elif not halted and not state.violation_was_foreseen and has_violations(state):
        # Gamma has seen nothing before the violation, so frames on the way to it are learned.
        train = settings.train_per_round
    if train or test or halted or state.violation_was_foreseen:
        return Wanted(number_of_train=train, number_of_test=test)
    return None
