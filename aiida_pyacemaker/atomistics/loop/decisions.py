"""What an iteration meant: whether the next stage follows, the loop has converged, or something is missing."""

from __future__ import annotations

from . import explain, verdict
from .exploration import has_violations
from .learning import find_cure, grown_basis
from .state import State

#: The loop has stalled after this many iterations in a row that ended badly and improved nothing.
MAX_ITERATIONS_WITHOUT_GAIN = 4
#: The loop has stalled after this many iterations with violations without a clean round in between.
MAX_ITERATIONS_WITH_VIOLATIONS = 10
#: The loop has stalled when the last stage was clean this many times in a row and the errors missed the criteria.
MAX_PASSES_MISSING_CRITERIA = 4


def decide(state: State) -> None:
    """Draw the conclusions from an iteration."""
    if not state.explores:
        state.cure = '' if state.cure == 'request' else state.cure
        return
    if state.is_clean:
        state.iterations_without_gain = state.iterations_with_violations = 0
        if not state.in_last_stage and not state.labels_learned:
            state.stage, state.clean_rounds = state.stage + 1, 0
        elif state.at_the_end:
            end_last_stage(state)
        return
    gained = not state.ended or state.labels_learned
    state.iterations_without_gain = 0 if gained else state.iterations_without_gain + 1
    state.iterations_with_violations += has_violations(state)
    if state.iterations_without_gain >= MAX_ITERATIONS_WITHOUT_GAIN:
        state.stall(explain.why_nothing_was_gained(state))
    elif state.iterations_with_violations >= MAX_ITERATIONS_WITH_VIOLATIONS:
        state.stall(explain.why_violations_go_on(state))


def end_last_stage(state: State) -> None:
    """Converge, or say what is missing."""
    if state.result_passes:
        verdict.pass_gate(state)
        return
    state.passes_missing_criteria += 1
    state.clean_rounds = 0
    if state.passes_missing_criteria >= MAX_PASSES_MISSING_CRITERIA:
        state.stall(explain.why_errors_miss_the_criteria(state))
        return
    state.cure = find_cure(state)
    if state.cure == 'grow':
        state.functions = grown_basis(state)
        state.passes_missing_criteria = 0
    state.fit_due = state.has_unlearned_labels or state.cure == 'grow'


def check_budget(state: State, number_of_labels: int, core_hours: float) -> None:
    """End the loop if its budget is used up.

    :param number_of_labels: configurations labelled for this run so far.
    :param core_hours: that their labels have taken.
    """
    settings = state.settings
    if state.iteration - state.first_iteration >= settings.max_iterations:
        state.state, state.reason = 'budget_exhausted', f'`budget.max_iterations` = {settings.max_iterations}'
    elif number_of_labels >= settings.max_labels:
        state.state, state.reason = 'budget_exhausted', f'`budget.max_labels` = {settings.max_labels}'
    elif settings.core_hours is not None and core_hours >= settings.core_hours:
        state.state = 'budget_exhausted'
        state.reason = f'`budget.core_hours` = {settings.core_hours:g} ({core_hours:.3g} were taken)'
    if state.state == 'budget_exhausted' and state.cure == 'request':
        state.reason += f' (before what the gate asks for could be labelled: {state.judgement["summary"]})'
