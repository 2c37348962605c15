"""The gate: when the result is judged, and what its verdict means for the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import explain, production
from .state import ENDS_EARLY, State

if TYPE_CHECKING:
    from ..validation.gate import Verdict


def is_due(state: State) -> bool:
    """Return whether the result is there, with errors that meet the criteria, and has not been judged yet.

    If the loop has ended otherwise, the gate judges what there is.
    """
    if not state.settings.has_gate or state.test is None or state.fit_due:
        return False
    in_trial = state.production_holds and not state.production['proven']
    if state.batches_judged == state.batches or production.is_due(state) or in_trial:
        return False
    return (state.at_the_end and state.result_passes) or state.state in ENDS_EARLY


def record_verdict(state: State, verdict: Verdict, structures: int) -> None:
    """Take note of the verdict on the result."""
    state.batches_judged = state.batches
    state.judgement = {'verdict': verdict['verdict'], 'summary': verdict['summary'], 'structures': structures}
    state.weights = dict(verdict['weights'])


def pass_gate(state: State) -> None:
    """Converge, unless the gate has failed the result: then get what it asks for, or give up."""
    judgement = state.judgement
    if judgement is None or judgement['verdict'] != 'FAIL':
        state.state = 'converged'
    elif judgement['structures'] and state.requests < state.settings.max_requests:
        state.requests += 1
        state.clean_rounds = 0
        state.cure = 'request'
    else:
        state.state, state.resuming = 'gate_failed', []
        state.reason = f'{judgement["summary"]} {explain.why_the_gate_was_not_passed(state)}'
