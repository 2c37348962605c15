"""Labels and fits of the exploring potential: what it has learned, how good it is, how large its basis may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ..fitting.parameters import LABELS_PER_FUNCTION, RUNGS
from .state import Pool, State, rmse_of

if TYPE_CHECKING:
    from ..fitting.train import FitResult
    from ..metrics.errors import ErrorMetrics, Surprise

#: Labels (force components) per function that let the basis grow.
LABELS_TO_GROW = 10
#: Factor by which the basis grows.
GROWTH_FACTOR = 1.6
#: The basis does not grow if its limits allow less than this factor.
MIN_GROWTH_FACTOR = 1.2


class Calibration(TypedDict):
    """What gamma is worth: force errors (eV/Å) where it halted and where it did not, and their ratio."""

    halted: float | None
    clean: float | None
    ratio: float | None


def record_labels(state: State, train: int, test: int, surprise: Surprise | None) -> None:
    """Take note of labels that joined the training and the held-out set."""
    if surprise is not None and surprise['forces'] is not None:
        pool = state.surprises.setdefault('clean' if state.is_clean else 'halted', Pool(n_atoms=0, square=0.0))
        pool['n_atoms'] += surprise['n_atoms']
        pool['square'] += surprise['n_atoms'] * surprise['forces']['rmse'] ** 2
    state.labels_learned += train
    state.batches += bool(train or test)
    if train and state.at_the_end:
        state.has_unlearned_labels = True  # the potential that passed stays the one it is
    elif train:
        state.fit_due, state.clean_rounds, state.cure = True, 0, ''


def calibrate(state: State) -> Calibration:
    """Return what gamma is worth so far; the ratio is well above one if gamma knows where errors are."""
    rmse = {key: (pool['square'] / pool['n_atoms']) ** 0.5 for key, pool in state.surprises.items()}
    both = len(rmse) == 2 and rmse['clean'] > 0
    ratio = rmse['halted'] / rmse['clean'] if both else None
    return Calibration(halted=rmse.get('halted'), clean=rmse.get('clean'), ratio=ratio)


def fit_parameters(state: State, n_atoms: int) -> dict[str, float]:
    """Return what the next fit takes in place of the values of the run file: the basis, as far as data carry it."""
    weights = weights_asked(state)
    if state.functions is None:
        return weights
    carried = functions_carried(state, n_atoms, LABELS_PER_FUNCTION)
    if state.functions <= carried:
        return {'number_of_functions': state.functions, **weights}
    rungs = [rung for rung in RUNGS if rung <= min(carried, state.functions)]
    return {'number_of_functions': rungs[-1] if rungs else min(RUNGS[0], state.functions), **weights}


def weights_asked(state: State) -> dict[str, float]:
    """Return the weights that the gate has asked for, but for those that the user has fixed."""
    asked = {f'{name}_weight': factor for name, factor in state.weights.items()}
    return {
        key: factor * state.chosen_weights[key]
        for key, factor in asked.items()
        if state.chosen_weights.get(key) and key not in state.settings.fixed_weights
    }


def functions_carried(state: State, n_atoms: int, labels: int) -> int:
    """Return how many functions per element the forces of so many atoms determine.

    :param labels: force components that each function needs.
    """
    return 3 * n_atoms // (labels * len(state.settings.elements))


def record_fit(state: State, results: FitResult) -> None:
    """Take note of a fit of the exploring potential."""
    state.fit_due = state.has_unlearned_labels = False
    state.clean_rounds = 0
    state.training = {**rmse_of(results['train']), 'n_atoms': results['train']['n_atoms']}
    state.functions_used = results['chosen']['basis']['number_of_functions']
    if not weights_asked(state):  # a factor is not applied to what it has led to
        chosen = results['chosen'].get('hyperparameters') or {}
        state.chosen_weights = {key: chosen[key] for key in ('energy_weight', 'stress_weight') if chosen.get(key)}


def record_errors(state: State, errors: ErrorMetrics) -> bool:
    """Take note of the errors on the held-out set, and return whether they meet the criteria."""
    found = rmse_of(errors)
    state.test = {**found, 'passed': state.meets(found)}
    return state.test['passed']


def find_cure(state: State) -> str:
    """Return `grow` if even what was learned is not reproduced and a larger basis is possible, else `learn`."""
    grown = grown_basis(state)
    can = grown is not None and grown > (state.functions_used or 0)
    return 'grow' if can and not state.meets(state.best_training) else 'learn'


def grown_basis(state: State) -> int | None:
    """Return the next number of functions of the exploring basis, None if it may not grow."""
    if state.training is None or state.functions_used is None:
        return None
    carried = functions_carried(state, state.training['n_atoms'], LABELS_TO_GROW)
    grown = min(round(GROWTH_FACTOR * state.functions_used), state.settings.max_functions or 0, carried)
    return grown if grown >= MIN_GROWTH_FACTOR * state.functions_used else None
