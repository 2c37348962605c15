"""The production potential: fitted to all data at the end, kept if it is better and its simulations are stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ..core.plain import Json
from ..explorers.parameters import Explore
from ..explorers.walker import EndReason, WalkerResult
from .learning import weights_asked
from .state import ENDS_EARLY, Errors, State, rmse_of

if TYPE_CHECKING:
    from ..fitting.train import FitResult

#: A gamma that no simulation reaches: the trial of the production potential does not halt by it.
NO_GAMMA_LIMIT = 1e9

AnyExplore = TypeVar('AnyExplore', bound=Explore)


def is_due(state: State) -> bool:
    """Return whether everything is learned, or the loop has ended otherwise, with data that no production fit saw."""
    if state.settings.production is None or state.test is None or state.fit_due:
        return False
    return state.batches > state.batches_produced and (state.at_the_end or state.state in ENDS_EARLY)


def fit_parameters(state: State) -> Json:
    """Return what is other in the production fit than in the run file; it has no smaller basis than explored."""
    given = state.settings.production.model_dump(mode='json', exclude={'share'})
    return {**given, **weights_asked(state), 'min_functions': state.functions_used}


def record_fit(state: State, results: FitResult) -> bool:
    """Take note of a production fit, and return whether it beats the exploring potential on the held-out set.

    It does if the product of its errors of energy and forces is smaller, and it meets what the other meets.
    """
    state.batches_produced = state.batches
    test, train = rmse_of(results['test']), rmse_of(results['train'])
    passed = state.meets(test)
    wins = _product(test) < _product(state.test) and passed >= state.test['passed']
    why = 'better on the held-out set' if wins else 'not better on the held-out set than the exploring potential'
    state.production = {
        'test': test,
        'train': train,
        'passed': passed,
        'kept': wins,
        'proven': False,
        'why': why,
        'number_of_functions': results['chosen']['basis']['number_of_functions'],
        'mode': state.settings.production.mode,
    }
    return wins


def record_failure(state: State, message: str) -> None:
    """Take note of a production fit that came to nothing."""
    state.batches_produced = state.batches
    state.production = {'kept': False, 'passed': False, 'why': message}


def trial_section(state: State, explore: AnyExplore) -> AnyExplore:
    """Return the section `explore` of the run that proves the production potential: all guards, but no gamma."""
    stage = explore.stages[-1].model_copy(update={'name': 'proof', 'share': state.settings.production.share})
    limits = dict.fromkeys(('gamma_select', 'gamma_halt', 'gamma_extreme'), NO_GAMMA_LIMIT)
    return explore.model_copy(update={'stages': [stage], **limits})


def record_trial(state: State, walkers: Sequence[WalkerResult], failed: Sequence[int]) -> bool:
    """Take note of the simulations with the production potential, and return whether it is kept."""
    bad = [f'walker {one.index}: {one.reason}' for one in walkers if one.reason is not EndReason.COMPLETED]
    bad += [f'walker {index}: died' for index in failed]
    stable = bool(walkers) and not bad
    state.production.update(proven=stable, kept=stable)
    state.production['why'] += ', and stable' if stable else f', but not stable ({", ".join(bad) or "nothing ran"})'
    return state.production['kept']


def _product(errors: Errors) -> float:
    """Return the product of both errors, infinite if one is unknown."""
    if errors['energy'] is None or errors['forces'] is None:
        return float('inf')
    return errors['energy'] * errors['forces']
