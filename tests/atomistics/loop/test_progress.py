"""Tests of the decisions of the loop: what comes next, and when it has ended."""

from __future__ import annotations

import json

import pytest

from aiida_pyacemaker.atomistics.explorers.parameters import Explore
from aiida_pyacemaker.atomistics.explorers.walker import EndReason, WalkerResult
from aiida_pyacemaker.atomistics.loop.decisions import (
    MAX_ITERATIONS_WITH_VIOLATIONS,
    MAX_ITERATIONS_WITHOUT_GAIN,
    MAX_PASSES_MISSING_CRITERIA,
)
from aiida_pyacemaker.atomistics.loop.progress import LoopSettings, Progress, forget_failures

STEPS = 1000
PARAMETERS = {
    'seed': 42,
    'system': {'elements': ['Al']},
    'explore': {
        'walkers': 2,
        'seeds': 2,
        'stages': [{'name': 'short', 'share': 0.25, 'atoms': 16}, {'name': 'long', 'share': 1.0, 'atoms': None}],
        'gamma_select': 2.0,
        'gamma_halt': 5.0,
    },
    'train': {
        'number_of_functions': 100,
        'max_functions': 200,
        'production': {'mode': 'linear', 'number_of_functions': None, 'max_cost': None, 'share': 0.25},
    },
    'validate': {'energy_rmse': 0.002, 'force_rmse': 0.05, 'test_per_round': 4, 'train_per_round': 3},
    'budget': {'max_iterations': 20, 'max_labels': 100},
}
GOOD, BAD = (0.001, 0.03), (0.01, 0.1)


def changed(**sections) -> dict:
    """Return the parameters with other values."""
    return {**PARAMETERS, **{name: {**PARAMETERS[name], **values} for name, values in sections.items()}}


def errors(energy: float, forces: float, n_atoms: int = 4000) -> dict:
    """Return what `error_metrics` returns."""
    return {'energy': {'rmse': energy}, 'forces': {'rmse': forces}, 'n_atoms': n_atoms}


def fitted(train=GOOD, test=GOOD, functions: int = 100, n_atoms: int = 4000) -> dict:
    """Return what `train` returns."""
    return {
        'train': errors(*train, n_atoms),
        'test': errors(*test),
        'chosen': {'basis': {'number_of_functions': functions}},
    }


def walker(index: int, reason: str = 'completed', step: int = STEPS, gamma: float = 1.0) -> WalkerResult:
    """Return what became of a walker."""
    return WalkerResult(index, EndReason(reason), step, STEPS, gamma)


def settings(parameters: dict = PARAMETERS) -> LoopSettings:
    """Return what the loop needs to know of a run file."""
    return LoopSettings.from_runfile(parameters)


def start(parameters: dict | None = None, train=GOOD, test=GOOD) -> Progress:
    """Return the progress after the first fit."""
    progress = Progress(settings(parameters or PARAMETERS))
    progress.labelled(30, 4)
    progress.trained(fitted(train, test))
    progress.validated(errors(*test))
    return progress


def clean_round(progress: Progress) -> None:
    """Let all walkers come to their end."""
    assert progress.advance(0)
    assert progress.walkers_to_run() == [0, 1]
    progress.explored([walker(0), walker(1)])


def to_the_last_stage(progress: Progress) -> None:
    """Pass the first stage."""
    clean_round(progress)
    assert progress.stage_name == 'short'


def last_stage(progress: Progress, test=GOOD) -> None:
    """Pass the last stage as often as asked for, and label some of its frames."""
    for number in range(1, PARAMETERS['explore']['seeds'] + 1):
        assert progress.selection() is None
        clean_round(progress)
        assert progress.in_last_stage
        assert progress.clean_rounds == number
    wanted = progress.selection()
    assert wanted['number_of_test'] == 2 * 4
    progress.labelled(wanted['number_of_train'], wanted['number_of_test'])
    progress.validated(errors(*test))
    assert not progress.fit_due


def test_the_state_is_plain():
    """The state survives JSON, as it does in a checkpoint, without loss."""
    progress = start()
    assert progress.advance(34)
    progress.explored([walker(0, 'gamma', 300, 6.0), walker(1, 'volume', 400, 3.0)])
    content = json.loads(json.dumps(progress.to_dict()))
    assert Progress.from_dict(settings(), content) == progress


def test_keys_are_those_of_the_section():
    """The section that the proof is run with is one that the run file allows."""
    from aiida_pyacemaker.runfile import resolve_runfile

    runfile = resolve_runfile({'system': {'elements': ['Al']}})
    proof = Progress(settings(runfile.to_dict())).proof(runfile.explore)
    assert Explore.model_validate(proof.model_dump(mode='json')) == Explore(**proof.model_dump())
    assert [stage.name for stage in proof.stages] == ['proof']
    assert proof.gamma_halt > 1e6


def test_halted_walkers_resume_and_others_wait():
    """Only a walker that gamma halted resumes, in the same round; then all start anew, with other velocities."""
    progress = start()
    assert progress.advance(34)
    seed = progress.seed
    progress.explored([walker(0, 'gamma', 300, 6.0), walker(1)])
    assert progress.selection() == {'number_of_train': 0, 'number_of_test': 0}
    progress.labelled(3, 0)
    assert progress.fit_due
    progress.trained(fitted())
    assert progress.advance(37)
    assert (progress.walkers_to_run(), progress.seed, progress.begins_round) == ([0], seed, False)
    progress.explored([walker(0)])
    assert progress.selection() is None
    assert progress.advance(37)
    assert (progress.walkers_to_run(), progress.seed, progress.begins_round) == ([0, 1], seed + 1, True)
    assert progress.stage_name == 'short'


def test_a_walker_that_boiled_starts_anew_and_is_learned_from():
    """What gamma saw on the way is learned; if it saw nothing, frames of the trajectory are."""
    progress = start()
    progress.advance(34)
    progress.explored([walker(0, 'volume', 300, gamma=3.0), walker(1)])
    assert progress.resuming == []
    assert progress.selection() == {'number_of_train': 0, 'number_of_test': 0}
    progress.labelled(2, 0)
    progress.trained(fitted())
    progress.advance(36)
    assert progress.walkers_to_run() == [0, 1]
    progress.explored([walker(0, 'overlap', 300, gamma=1.5), walker(1)])
    assert progress.selection() == {'number_of_train': 3, 'number_of_test': 0}
    assert progress.ends == {'volume': 1, 'overlap': 1, 'completed': 2}


def test_convergence():
    """Stage after stage, the last as often as there are seeds, then the production fit, then its proof."""
    progress = start()
    to_the_last_stage(progress)
    last_stage(progress)
    assert progress.clean_rounds == 2
    assert progress.production_due
    assert 'share' not in progress.production_parameters()
    # not fewer functions than the exploring basis has
    assert progress.production_parameters()['min_functions'] == progress.functions_used
    assert progress.produced(fitted(test=(0.0005, 0.02), functions=300))
    assert not progress.production_due
    assert progress.proof_due
    assert progress.proven([walker(0), walker(1)])
    assert not progress.proof_due
    assert not progress.advance(42)
    assert progress.state == 'converged'
    assert progress.production_holds


def test_calibration():
    """What gamma halted at should be known worse than what it let pass."""
    progress = start()
    assert progress.calibration == {'halted': None, 'clean': None, 'ratio': None}
    progress.advance(0)
    progress.explored([walker(0, 'gamma', 300, 6.0), walker(1)])
    progress.labelled(1, 0, {'forces': {'rmse': 0.3}, 'n_atoms': 30})
    progress.labelled(1, 0, {'forces': {'rmse': 0.1}, 'n_atoms': 10})
    progress.trained(fitted())
    progress.advance(0)
    progress.explored([walker(0)])
    clean_round(progress)
    progress.labelled(0, 4, {'forces': {'rmse': 0.1}, 'n_atoms': 128})
    found = progress.calibration
    assert found['halted'] == pytest.approx((0.75 * 0.09 + 0.25 * 0.01) ** 0.5)
    assert found['ratio'] == pytest.approx(found['halted'] / 0.1)
    assert progress.warning == ''
    progress.labelled(0, 4, {'forces': {'rmse': 1.0}, 'n_atoms': 128})
    assert 'raise `train.number_of_functions`' in progress.warning


def test_what_passed_stays_what_it_is():
    """Frames of the clean rounds are learned for the production fit; the potential that passed does so without them."""
    progress = start()
    to_the_last_stage(progress)
    last_stage(progress)
    assert progress.has_unlearned_labels
    assert progress.production_due
    without = start(changed(train={'production': None}))
    to_the_last_stage(without)
    last_stage(without)
    assert not without.has_unlearned_labels
    assert not without.production_due
    assert not without.advance(0)
    assert without.state == 'converged'


def test_no_convergence_by_a_potential_that_learned_on_the_way():
    """A halt makes a new potential, and the clean rounds of the former one don't count for it."""
    progress = start()
    to_the_last_stage(progress)
    clean_round(progress)
    assert progress.advance(0)
    progress.explored([walker(0, 'gamma', 500, 6.0), walker(1)])
    progress.labelled(1, 0)
    progress.trained(fitted())
    assert progress.clean_rounds == 0
    assert progress.advance(0)
    progress.explored([walker(0)])
    clean_round(progress)
    assert progress.clean_rounds == 1
    assert not progress.production_due


def test_a_worse_production_potential_is_not_kept():
    """The exploring potential is the result if it is the better one, and also if the other one is not stable."""
    progress = start()
    to_the_last_stage(progress)
    last_stage(progress)
    assert not progress.produced(fitted(test=(0.0015, 0.04)))
    assert not progress.production_holds
    assert progress.produced(fitted(test=(0.0005, 0.02)))
    assert not progress.proven([walker(0, 'lost_atoms', 30), walker(1)])
    assert 'walker 0: lost_atoms' in progress.production['why']
    assert not progress.advance(42)
    assert progress.state == 'converged'


def test_the_production_potential_may_meet_what_the_other_misses():
    """A small basis explores, a larger one is the result."""
    progress = start(test=BAD)
    to_the_last_stage(progress)
    last_stage(progress, test=BAD)
    assert progress.produced(fitted(test=GOOD, functions=300))
    progress.proven([walker(0), walker(1)])
    assert not progress.advance(42)
    assert progress.state == 'converged'


@pytest.mark.parametrize(
    ('train', 'n_atoms', 'max_functions', 'cure', 'functions'),
    [
        (BAD, 4000, 200, 'grow', 160),
        (BAD, 4000, 130, 'grow', 130),  # the limit
        (BAD, 400, 200, 'grow', 120),  # 1200 labels carry 120
        (BAD, 300, 200, 'learn', 100),  # they don't carry more
        (BAD, 4000, None, 'learn', 100),
        (GOOD, 4000, 200, 'learn', 100),  # what was learned is reproduced: more has to be learned
    ],
)
def test_cure(train, n_atoms, max_functions, cure, functions):
    """Errors above the criteria: the basis grows if it is what is missing, and the data carry more of it."""
    progress = start(changed(train={'production': None, 'max_functions': max_functions}), train, BAD)
    progress.trained(fitted(train, BAD, n_atoms=n_atoms))
    to_the_last_stage(progress)
    last_stage(progress, test=BAD)
    assert progress.advance(42)
    assert (progress.cure, progress.functions) == (cure, functions)
    assert not progress.explores
    assert progress.fit_due
    assert progress.fit_parameters(n_atoms) == {'number_of_functions': functions}
    progress.trained(fitted(functions=functions))
    assert progress.advance(42)
    assert progress.explores
    assert progress.begins_round
    assert progress.in_last_stage
    progress.explored([walker(0), walker(1)])
    assert progress.clean_rounds == 1


def test_a_basis_that_the_data_do_not_carry():
    """The first fits have no more functions than the labels fix."""
    progress = Progress(settings())
    assert progress.fit_parameters(1000) == {'number_of_functions': 100}
    assert progress.fit_parameters(120) == {'number_of_functions': 80}
    assert progress.fit_parameters(10) == {'number_of_functions': 30}
    assert Progress(settings(changed(system={'elements': ['Cu', 'Au']}))).fit_parameters(240) == {
        'number_of_functions': 80
    }
    assert Progress(settings(changed(train={'number_of_functions': None}))).fit_parameters(10) == {}


def halting(progress: Progress, times: int, gamma: float) -> None:
    """Let a walker halt at the same place, round after round."""
    for _ in range(times):
        if progress.advance(0):
            progress.explored([walker(index, 'gamma', 300, gamma) for index in progress.walkers_to_run()[:1]])
            progress.labelled(1, 0)
            progress.trained(fitted())


@pytest.mark.parametrize(
    ('gamma', 'training', 'remedy'),
    [(6.0, GOOD, 'explore.gamma_halt'), (60.0, BAD, 'raise `train.number_'), (60.0, GOOD, 'lower `train.number_')],
)
def test_stalled_at_the_same_place(gamma, training, remedy):
    """A walker that halts there again and again is given up, and the third time the loop, with what may help."""
    progress = start(train=training)
    halting(progress, 5, gamma)
    assert progress.state == 'running'
    assert progress.resuming == []
    progress.training = {'energy': training[0], 'forces': training[1], 'n_atoms': 4000}
    halting(progress, 9, gamma)
    progress.training = {'energy': training[0], 'forces': training[1], 'n_atoms': 4000}
    assert progress.state == 'running'
    progress.advance(0)
    progress.explored([walker(0, 'gamma', 300, gamma)])
    assert progress.state == 'stalled'
    assert remedy in progress.reason
    assert 'step 300' in progress.reason
    assert progress.selection() is None
    assert not progress.advance(0)
    assert progress.production_due
    assert Progress.continued(settings(), forget_failures(progress.to_dict())).walkers_given_up == 0


def test_advancing_walkers_are_not_stalled():
    """Halts on the way are what the loop is for."""
    progress = start(changed(budget={'max_iterations': 1000}))
    for step in range(0, STEPS, 50):
        assert progress.advance(0)
        progress.explored([walker(0, 'gamma', step, 6.0)])
        progress.labelled(1, 0)
        progress.trained(fitted())
        assert progress.resuming == [0]


@pytest.mark.parametrize(('reason', 'remedy'), [('gamma', 'duplicates'), ('overlap', 'gamma_select'), ('died', 'logs')])
def test_stalled_without_learning(reason, remedy):
    """Simulations that end badly and leave nothing to learn don't go on for ever."""
    progress = start()
    for index in range(MAX_ITERATIONS_WITHOUT_GAIN):
        assert progress.advance(0)
        died = [0] if reason == 'died' else []
        progress.explored([] if died else [walker(0, reason, 300 + 100 * index, 6.0)], died)
        progress.labelled(0, 0)
    assert not progress.advance(0)
    assert progress.state == 'stalled'
    assert remedy in progress.reason


def test_stalled_by_violations():
    """What boils whatever is learned boils for a reason."""
    progress = start()
    for _ in range(MAX_ITERATIONS_WITH_VIOLATIONS):
        assert progress.advance(0)
        progress.explored([walker(0, 'volume', 300), walker(1)])
        progress.labelled(progress.selection()['number_of_train'], 0)
        progress.trained(fitted())
    assert not progress.advance(0)
    assert progress.state == 'stalled'
    assert 'explore.temperature' in progress.reason


def test_stalled_by_errors():
    """Rounds without a halt, again and again, whose errors miss the criteria."""
    progress = start(train=GOOD, test=BAD)
    to_the_last_stage(progress)
    for missed in range(MAX_PASSES_MISSING_CRITERIA):
        last_stage(progress, test=BAD)
        progress.produced(fitted(test=BAD))
        if missed < MAX_PASSES_MISSING_CRITERIA - 1:
            assert progress.advance(0)
            assert progress.cure == 'learn'
            progress.trained(fitted())
    assert not progress.advance(0)
    assert progress.state == 'stalled'
    assert 'validate.train_per_round' in progress.reason
    assert '10 meV/atom (limit 2)' in progress.reason


def test_budget():
    """The budget ends the loop in a state of its own, says which number to raise, and the best is made of the data."""
    progress = start()
    assert not progress.advance(100)
    assert (progress.state, progress.production_due) == ('budget_exhausted', True)
    assert 'budget.max_labels' in progress.reason
    progress = start(changed(budget={'core_hours': 2.0}))
    assert progress.advance(10, core_hours=1.9)
    assert not progress.advance(10, core_hours=2.5)
    assert progress.state == 'budget_exhausted' and '`budget.core_hours` = 2 (2.5 were taken)' in progress.reason
    progress = start(changed(budget={'max_iterations': 1}))
    assert progress.advance(34)
    progress.explored([walker(0), walker(1)])
    assert not progress.advance(34)
    assert 'budget.max_iterations' in progress.reason


def test_continued_run():
    """A continued run takes up where the former one was after a fit, with a budget of its own, and asks for the same
    simulations again."""
    former = start(changed(budget={'max_iterations': 3}))
    to_the_last_stage(former)
    former.advance(0)
    former.explored([walker(0, 'gamma', 300, 6.0), walker(1)])
    former.labelled(3, 0)
    former.trained(fitted(functions=100))
    content = former.to_dict()
    former.advance(0)
    later = Progress.continued(settings(changed(budget={'max_iterations': 3})), content)
    assert later.first_iteration == 2
    assert later.advance(0)
    assert (later.iteration, later.seed, later.resuming) == (former.iteration, former.seed, [0])
    assert later.stage_name == 'long'
    other = Progress.continued(settings(changed(train={'number_of_functions': 60})), {**content, 'functions': 160})
    assert other.functions == 60
    assert Progress.continued(settings(), {**content, 'functions': 160}).functions == 160


# The gate -------------------------------------------------------------------------------------------------------------

GATED = changed(validate={'gate': {'born': {}}, 'max_requests': 2})
FAILED = {'verdict': 'FAIL', 'summary': 'FAIL: a hole.', 'weights': {}}


def to_the_gate(progress: Progress) -> None:
    """Pass the last stage and the production fit: the result is to be judged."""
    last_stage(progress)
    assert not progress.gate_due
    progress.produced(fitted(test=(0.0005, 0.02)))
    progress.proven([walker(0), walker(1)])
    assert progress.gate_due and progress.may_deploy


def gated(parameters: dict = GATED) -> Progress:
    """Return the progress when the result is to be judged for the first time."""
    progress = start(parameters)
    to_the_last_stage(progress)
    to_the_gate(progress)
    return progress


@pytest.mark.parametrize('verdict', ['PASS', 'CONDITIONAL'])
def test_what_passes_the_gate_converges(verdict):
    progress = gated()
    progress.judged({'verdict': verdict, 'summary': 'a warning', 'weights': {'stress': 2.0}}, 0)
    assert not progress.gate_due
    assert not progress.advance(50)
    assert progress.state == 'converged'
    assert ('a warning' in progress.warning) == (verdict == 'CONDITIONAL')


def test_what_the_gate_asks_for_is_learned():
    """A failed judgement is followed by labels, a fit, and the last stage; then it judges again."""
    progress = gated()
    progress.judged(FAILED, 12)
    assert progress.advance(50)
    assert progress.requested and not progress.explores and 'gate' in progress.why
    assert progress.production_holds and not progress.production_due
    progress.labelled(12, 0)
    assert progress.fit_due and not progress.gate_due
    progress.trained(fitted())
    progress.validated(errors(*GOOD))
    assert not progress.gate_due
    to_the_gate(progress)
    progress.judged({**FAILED, 'verdict': 'PASS'}, 0)
    assert not progress.advance(60) and progress.state == 'converged'


def test_the_gate_gives_up():
    """At most so many rounds of requests; the reason says what is wrong and what may help."""
    progress = gated()
    for number in range(2):
        progress.judged(FAILED, 12)
        assert progress.advance(50) and progress.requests == number + 1
        progress.labelled(12, 0)
        progress.trained(fitted())
        progress.validated(errors(*GOOD))
        to_the_gate(progress)
    progress.judged(FAILED, 12)
    assert not progress.advance(50)
    assert progress.state == 'gate_failed'
    assert 'a hole' in progress.reason and 'validate.max_requests' in progress.reason


def test_requests_that_come_to_nothing():
    """If none of the structures can be labelled, the loop explores once more, and does not hang."""
    progress = gated()
    progress.judged(FAILED, 12)
    assert progress.advance(50) and progress.requested
    progress.labelled(0, 0)
    assert progress.advance(50)
    assert progress.explores and not progress.requested and progress.in_last_stage


def test_nothing_is_asked_for():
    progress = gated()
    progress.judged(FAILED, 0)
    assert not progress.advance(50) and progress.state == 'gate_failed'


def test_the_budget_holds_for_requests():
    progress = gated()
    progress.judged(FAILED, 12)
    assert not progress.advance(100)
    assert progress.state == 'budget_exhausted'
    assert 'max_labels' in progress.reason and 'a hole' in progress.reason


def test_what_ended_early_is_judged_but_not_deployed():
    progress = start(GATED)
    to_the_last_stage(progress)
    assert not progress.advance(100) and progress.state == 'budget_exhausted'
    progress.produced(fitted())
    assert progress.gate_due and not progress.may_deploy
    progress.judged(FAILED, 3)
    assert not progress.gate_due and not progress.advance(100)


def test_weights_of_the_next_fit():
    """The gate's factors multiply what the fit chose by itself, once, and nothing that the user has fixed."""
    progress = gated()
    chosen = fitted()
    chosen['chosen']['hyperparameters'] = {'energy_weight': 10.0, 'stress_weight': 4.0}
    progress.trained(chosen)
    progress.judged({**FAILED, 'weights': {'stress': 2.0}}, 12)
    assert progress.fit_parameters(4000)['stress_weight'] == 8.0
    assert progress.production_parameters()['stress_weight'] == 8.0
    chosen['chosen']['hyperparameters']['stress_weight'] = 8.0
    progress.trained(chosen)
    assert progress.fit_parameters(4000)['stress_weight'] == 8.0
    fixed = changed(validate=GATED['validate'], train={'stress_weight': 3.0})
    assert 'stress_weight' not in Progress.from_dict(settings(fixed), progress.to_dict()).fit_parameters(4000)


def test_a_continued_run_judges_again():
    progress = gated()
    progress.judged(FAILED, 12)
    again = Progress.continued(settings(GATED), progress.to_dict())
    assert again.judgement is None and again.requests == 0
