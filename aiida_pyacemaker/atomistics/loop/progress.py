"""What the loop does next: which simulations resume, which stage follows, when the basis grows, and when it has ended.

A *round* starts every walker anew; a walker that gamma halts resumes with the next potential until it has reached its
end or is given up. An *iteration* is one step of that: simulations, what is labelled of them, a fit. The loop goes from
stage to stage, each with one *clean* round (all walkers to their end, no halt), the last with `explore.seeds` of them
in a row, by one potential. Of these, frames are learned for the production fit to all data, and the errors on the
held-out set decide. If they miss the criteria, the exploring potential learns those frames, too, and passes once more.
If they meet them, the gate judges the physics of the result; what it asks for is labelled, and the last stage passes
once more, at most `validate.max_requests` times.

:class:`Progress` is all the state there is, plain and JSON-able, so that a WorkChain and a script decide alike::

    progress = Progress(parameters)             # sections explore, train, validate, budget, and system
    ... label the initial structures: progress.labelled(train, test); fit; validate ...
    while progress.advance(number_of_labels):   # decides what the last iteration meant; False: progress.state, .reason
        if progress.explores:                   # no, if only the basis grows, or the gate has asked for structures
            plan = plan_walkers(explore, cells, elements, progress.stage, progress.seed)
            # run those of progress.walkers_to_run(): from the restart file if in progress.resuming, else from the start
            progress.explored(walkers, failed)  # results of the simulations, each with `index`; indices of the dead
            wanted = progress.selection()       # None, or `number_of_train`, `number_of_test` for select_configurations
            if wanted is not None:
                # select (may be nothing), label
                # how many configurations joined the training and the held-out set, and errors.surprise() of them
                progress.labelled(train, test, surprise)
        elif progress.requested:
            # label the structures that the gate has asked for
            progress.labelled(train, test)
        if progress.fit_due:
            # train({**train, **progress.fit_parameters(n_atoms)}, parent=potential), n_atoms: of the training set
            progress.trained(results)           # what train() returns
        # if the potential or the held-out set is new
        progress.validated(errors)              # error_metrics() of the potential on the held-out set
        if progress.production_due:
            # train({**train, **progress.production_parameters()}) without parent
            if progress.produced(results):      # better on the held-out set: to be proven
                # plan_walkers(progress.proof(), cells, elements, 0, progress.seed), all anew, with that potential
                progress.proven(walkers, failed)
        if progress.gate_due:
            # run_suite(potential, crystals, ...), judge(), make_structures() of what it asks for
            progress.judged(verdict, number_of_structures)
    # once more, if the budget ended it: if progress.production_due: ... if progress.gate_due: ... as above
    # progress.production['kept'] says whether the production potential or the exploring one is the result
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import Any

from ..fitting.parameters import LABELS_PER_FUNCTION, RUNGS

#: Ends of a simulation for which the potential is to blame, other than by gamma: the walker starts anew.
VIOLATIONS = ('volume', 'temperature', 'overlap', 'lost_atoms', 'crashed')
#: A walker that halted so often in a row without having advanced by this share of its steps is given up.
HALTS_WITHOUT_ADVANCE, ADVANCE = 4, 0.005
#: The loop has stalled after so many walkers given up without a clean round in between, ...
STUCK = 3
#: ... so many iterations in a row that ended badly and taught nothing, ...
IDLE = 4
#: ... so many iterations with violations, whatever they taught, without a clean round in between, ...
VIOLATED = 10
#: ... or so many times in a row that the last stage was clean, and the errors missed the criteria.
MISSED = 4
#: Labels (force components) per function that let the basis grow.
LABELS_TO_GROW = 10
#: By this factor it grows.
GROWTH = 1.6
#: A gamma that no simulation reaches.
NEVER = 1e9


@dataclass
class Progress:
    """How far the loop has come, and what it does next; see the module for the order of the calls.

    :param parameters: the sections `explore`, `train`, `validate`, `budget` and `system` of a run file, and `seed`; not
        part of the state.
    """

    parameters: dict[str, Any]
    #: running, converged, budget_exhausted, stalled or gate_failed; and why, with the remedy.
    state: str = 'running'
    reason: str = ''
    iteration: int = 0
    #: Iteration with which this run began: those of a former run are not its budget.
    first: int = 0
    stage: int = 0
    round: int = 0
    #: In a row, of this stage, by the present potential.
    clean_rounds: int = 0
    #: Walkers that resume in the next iteration, or did in this one; the others rest until the next round.
    resuming: list[int] = field(default_factory=list)
    #: By index (text): step of the last halt, and halts without advance.
    walkers: dict[str, dict[str, int]] = field(default_factory=dict)
    #: This iteration: whether it simulates, began a round, and the round was clean; what ended badly, labels learned.
    explores: bool = False
    fresh: bool = False
    clean: bool = False
    ended: dict[str, int] = field(default_factory=dict)
    unsure: bool = False
    learned: int = 0
    #: How often each end of a simulation has come so far.
    ends: dict[str, int] = field(default_factory=dict)
    #: Squared force errors of the labels, of what halted and of clean rounds, summed over atoms.
    surprises: dict[str, dict[str, float]] = field(default_factory=dict)
    stuck: int = 0
    idle: int = 0
    violated: int = 0
    missed: int = 0
    #: What is missing when the errors miss the criteria: nothing (empty), `learn` or `grow`; `request` if the gate has
    #: asked for structures.
    cure: str = ''
    #: Whether there are labels that the exploring potential has not learned, because it has passed without.
    spared: bool = False
    #: Functions per element of the exploring basis that are wanted (None: what the fit chooses) and that the last had.
    functions: int | None = None
    functions_asked: int | None = None
    functions_used: int | None = None
    fit_due: bool = False
    #: Errors (rms) `energy` (eV/atom), `forces` (eV/Å) of the exploring potential; those of the test also `passed`.
    training: dict[str, Any] | None = None
    test: dict[str, Any] | None = None
    #: The last production fit: its errors, whether they passed, and whether it is `kept`, and `why`.
    production: dict[str, Any] | None = None
    #: Batches of labels so far, and those that the production fit has seen.
    batches: int = 0
    batches_produced: int = -1
    #: What the gate has said last: `verdict`, `summary`, and the number of `structures` it asks for; the batches of
    #: labels by then, and how often what it asked for was labelled.
    judgement: dict[str, Any] | None = None
    batches_judged: int = -1
    requests: int = 0
    #: Factors by which the next fit weighs `energy` and `stress` more, and what the last one chose for their weights.
    weights: dict[str, float] = field(default_factory=dict)
    chosen_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.functions is None:
            self.functions = self.functions_asked = self.parameters['train'].get('number_of_functions')

    # Plain content ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the state without the parameters: numbers, text, lists and dictionaries."""
        state = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != 'parameters'}
        return copy.deepcopy(state)

    @classmethod
    def from_dict(cls, parameters: dict[str, Any], content: dict[str, Any]) -> Progress:
        """Return what :meth:`to_dict` was made of; what is not known any more is left out."""
        known = {entry.name for entry in fields(cls)}
        return cls(parameters, **{key: copy.deepcopy(value) for key, value in content.items() if key in known})

    @classmethod
    def continued(cls, parameters: dict[str, Any], content: dict[str, Any]) -> Progress:
        """Return the state in which a run continues a former one, whose state was this after its last fit."""
        if content.get('functions_asked') != parameters['train'].get('number_of_functions'):
            content = {**content, 'functions': None}  # the user wants another basis
        progress = cls.from_dict(parameters, content)
        progress.first = progress.iteration
        progress.stage = min(progress.stage, len(parameters['explore']['stages']) - 1)
        # the criteria may be others
        progress.test, progress.production, progress.batches_produced = None, None, -1
        progress.judgement, progress.batches_judged, progress.requests = None, -1, 0
        return progress

    @property
    def why(self) -> str:
        """What this iteration does, and why, for people."""
        if self.requested:
            return f'what the gate has asked for is labelled ({self.requests} of {self._max_requests()})'
        if not self.explores:
            grows = f'its basis grows to {self.functions} functions' if self.cure == 'grow' else 'it learns more'
            return f'the errors of the potential miss the criteria although nothing halts: {grows}'
        if self.resuming:
            number = len(self.resuming)
            return f'{number} halted {"walker resumes" if number == 1 else "walkers resume"} with what was learned'
        seeds = self.parameters['explore']['seeds']
        passed = f' ({self.clean_rounds} of {seeds} have passed)' if self.in_last_stage else ''
        return f'all walkers start anew: round {self.round}{passed}'

    @property
    def stage_name(self) -> str:
        """Name of the stage."""
        return self.parameters['explore']['stages'][self.stage]['name']

    @property
    def seed(self) -> int:
        """Seed of the round; depends on nothing but the run file and the number of the round."""
        return self.parameters['seed'] * 1000 + self.round

    # Iterations -------------------------------------------------------------------------------------------------------

    def advance(self, number_of_labels: int) -> bool:
        """Decide what the iteration that ends here meant, and begin the next; return False if the loop has ended.

        :param number_of_labels: configurations labelled for this run so far.
        """
        if self.state == 'running':
            self._decide()
        if self.state == 'running':
            self._check_budget(number_of_labels)
        if self.state != 'running':
            return False
        self.iteration += 1
        self.explores = not self.fit_due and self.cure != 'request'
        self.fresh = self.explores and not self.resuming
        self.clean, self.unsure, self.learned, self.ended = False, False, 0, {}
        if self.fresh:
            self.round += 1
            self.walkers = {}
        return True

    @property
    def requested(self) -> bool:
        """Whether this iteration labels what the gate has asked for, and simulates nothing."""
        return self.cure == 'request' and not self.explores

    def walkers_to_run(self) -> list[int]:
        """Return the walkers of this iteration: those that resume, or else all."""
        return self.resuming or list(range(self.parameters['explore']['walkers']))

    def explored(self, walkers: list[dict[str, Any]], failed: list[int] | tuple[int, ...] = ()) -> None:
        """Take note of how the simulations ended.

        :param walkers: results of each, with `index`, `reason`, `step`, `steps`, `gamma_max`.
        :param failed: walkers whose process died.
        """
        reasons = [walker['reason'] for walker in walkers] + ['died'] * len(failed)
        self.ended = {reason: reasons.count(reason) for reason in sorted(set(reasons) - {'completed'})}
        for reason in reasons:
            self.ends[reason] = self.ends.get(reason, 0) + 1
        self.clean = self.fresh and not self.ended
        self.clean_rounds = self.clean_rounds + 1 if self.clean else 0
        if self.clean:
            self.stuck = 0
        limit = self.parameters['explore']['gamma_select']
        self.unsure = any(walker['gamma_max'] > limit for walker in walkers if walker['reason'] in VIOLATIONS)
        self.resuming = [walker['index'] for walker in walkers if walker['reason'] == 'gamma' and self._moves(walker)]

    def _moves(self, walker: dict[str, Any]) -> bool:
        """Return whether a halted walker may go on: whether it got further of late. Count those that did not."""
        former = self.walkers.get(str(walker['index']), {'step': -walker['steps'], 'halts': 0})
        advanced = walker['step'] - former['step'] > ADVANCE * walker['steps']
        halts = 0 if advanced else former['halts'] + 1
        self.walkers[str(walker['index'])] = {'step': walker['step'], 'halts': halts}
        if halts < HALTS_WITHOUT_ADVANCE:
            return True
        self.stuck += 1
        if self.stuck >= STUCK:
            self._stall(self._why_stuck(walker))
        return False

    def selection(self) -> dict[str, int] | None:
        """Return how many frames of the trajectories are to be learned and to be held out, None if nothing is needed.

        After clean rounds they are chosen from the trajectories of the last `clean_rounds` of them, else from the last.
        What halted is learned anyway, together with what was above `gamma_select`.
        """
        if self.state != 'running':
            return None
        validate = self.parameters['validate']
        train = test = 0
        if self._at_the_end():
            # both at once, from the frames of all these rounds, so that none is learned that is held out
            test = validate['test_per_round'] * self.clean_rounds
            train = validate['train_per_round'] if self._makes_production() or not self._passes() else 0
        elif 'gamma' not in self.ended and not self.unsure and any(key in VIOLATIONS for key in self.ended):
            train = validate['train_per_round']  # gamma has seen nothing, so the way to the violation is learned
        if train or test or 'gamma' in self.ended or self.unsure:
            return {'number_of_train': train, 'number_of_test': test}
        return None

    @property
    def in_last_stage(self) -> bool:
        """Whether no other stage follows."""
        return self.stage == len(self.parameters['explore']['stages']) - 1

    def labelled(self, train: int, test: int, surprise: dict[str, Any] | None = None) -> None:
        """Take note of labels that joined the training and the held-out set.

        :param surprise: what :func:`~aiida_pyacemaker.atomistics.metrics.errors.surprise` says of them.
        """
        if surprise is not None and surprise['forces'] is not None:
            pool = self.surprises.setdefault('clean' if self.clean else 'halted', {'n_atoms': 0, 'square': 0.0})
            pool['n_atoms'] += surprise['n_atoms']
            pool['square'] += surprise['n_atoms'] * surprise['forces']['rmse'] ** 2
        self.learned += train
        self.batches += bool(train or test)
        if train and self._at_the_end():
            self.spared = True  # the potential that passed stays the one it is
        elif train:
            self.fit_due, self.clean_rounds, self.cure = True, 0, ''

    @property
    def calibration(self) -> dict[str, float | None]:
        """What gamma is worth: root mean square force errors (eV/Å) on what halted, and on frames of clean rounds,
        of the potentials that met them, and the ratio of the two, well above one if gamma knows where errors are."""
        rmse = {key: (pool['square'] / pool['n_atoms']) ** 0.5 for key, pool in self.surprises.items()}
        both = len(rmse) == 2 and rmse['clean'] > 0
        ratio = rmse['halted'] / rmse['clean'] if both else None
        return {'halted': rmse.get('halted'), 'clean': rmse.get('clean'), 'ratio': ratio}

    @property
    def warning(self) -> str:
        """What is to be known of the result, for people; empty if nothing is."""
        conditional = self.judgement is not None and self.judgement['verdict'] == 'CONDITIONAL'
        return '. '.join(
            text for text in (self._calibration_warning(), conditional and self.judgement['summary']) if text
        )

    def _calibration_warning(self) -> str:
        """Say if gamma does not know where the errors are."""
        ratio = self.calibration['ratio']
        if ratio is None or ratio >= 1:
            return ''
        proven = ', and were made up for by the production potential' if self.production_holds else ''
        return (
            f'gamma does not know where the errors are: they were {1 / ratio:.1f} times as large on frames of clean '
            f'rounds as where it halted{proven}; the basis that explores is small for the system: raise '
            '`train.number_of_functions`'
        )

    # Fits -------------------------------------------------------------------------------------------------------------

    def fit_parameters(self, n_atoms: int) -> dict[str, Any]:
        """Return what the next fit takes in place of the values of the run file: the basis, as far as data carry it.

        :param n_atoms: atoms in the training set.
        """
        weights = self._weights()
        if self.functions is None:
            return weights
        carried = self._carried(n_atoms, LABELS_PER_FUNCTION)
        if self.functions <= carried:
            return {'number_of_functions': self.functions, **weights}
        rungs = [rung for rung in RUNGS if rung <= min(carried, self.functions)]
        return {'number_of_functions': rungs[-1] if rungs else min(RUNGS[0], self.functions), **weights}

    def _weights(self) -> dict[str, float]:
        """Return the weights that the gate has asked for, but for those that the user has fixed."""
        asked = {f'{name}_weight': factor for name, factor in self.weights.items()}
        given = self.parameters['train']
        return {
            key: factor * self.chosen_weights[key]
            for key, factor in asked.items()
            if self.chosen_weights.get(key) and given.get(key) is None
        }

    def _carried(self, n_atoms: int, labels: int) -> int:
        return 3 * n_atoms // (labels * len(self.parameters['system']['elements']))

    def trained(self, results: dict[str, Any]) -> None:
        """Take note of a fit of the exploring potential.

        :param results: what :func:`~aiida_pyacemaker.atomistics.fitting.train.train` returned.
        """
        self.fit_due = self.spared = False
        self.clean_rounds = 0
        self.training = {**_rmse(results['train']), 'n_atoms': results['train']['n_atoms']}
        self.functions_used = results['chosen']['basis']['number_of_functions']
        if not self._weights():  # a factor is not applied to what it has led to
            chosen = results['chosen'].get('hyperparameters') or {}
            self.chosen_weights = {key: chosen[key] for key in ('energy_weight', 'stress_weight') if chosen.get(key)}

    def validated(self, errors: dict[str, Any]) -> bool:
        """Take note of the errors of the exploring potential on the held-out set, and return whether they are met.

        :param errors: as :func:`~aiida_pyacemaker.atomistics.metrics.errors.error_metrics` returns them.
        """
        self.test = {**_rmse(errors), 'passed': self._meets(_rmse(errors))}
        return self.test['passed']

    def _meets(self, errors: dict[str, float | None]) -> bool:
        limits = self._limits()
        return all(errors[key] is not None and errors[key] <= limits[key] for key in limits)

    def _limits(self) -> dict[str, float]:
        validate = self.parameters['validate']
        return {'energy': validate['energy_rmse'], 'forces': validate['force_rmse']}

    # The production potential -----------------------------------------------------------------------------------------

    @property
    def production_due(self) -> bool:
        """Whether everything is learned, or the loop has ended otherwise, with data that no production fit saw."""
        if not self._makes_production() or self.test is None or self.fit_due:
            return False
        return self.batches > self.batches_produced and (self._at_the_end() or self.state in ENDS_EARLY)

    def _passes(self) -> bool:
        return self.test is not None and self.test['passed']

    def _makes_production(self) -> bool:
        return bool(self.parameters['train'].get('production'))

    def _at_the_end(self) -> bool:
        """Whether the last stage has passed as often as asked for."""
        rounds = self.clean_rounds >= self.parameters['explore']['seeds']
        return self.state == 'running' and self.clean and self.in_last_stage and rounds

    def production_parameters(self) -> dict[str, Any]:
        """Return what is other in the production fit than in the run file; it has no smaller basis than explored."""
        given = {key: value for key, value in self.parameters['train']['production'].items() if key != 'share'}
        return {**given, **self._weights(), 'min_functions': self.functions_used}

    def produced(self, results: dict[str, Any]) -> bool:
        """Take note of a production fit, and return whether it beats the exploring potential on the held-out set.

        It does if the product of its errors of energy and forces is smaller, and it meets what the other meets.

        :param results: what :func:`~aiida_pyacemaker.atomistics.fitting.train.train` returned.
        """
        self.batches_produced = self.batches
        test, train = _rmse(results['test']), _rmse(results['train'])
        passed = self._meets(test)
        wins = _product(test) < _product(self.test) and passed >= self.test['passed']
        why = 'better on the held-out set' if wins else 'not better on the held-out set than the exploring potential'
        self.production = {
            'test': test, 'train': train, 'passed': passed, 'kept': wins, 'proven': False, 'why': why,
            'number_of_functions': results['chosen']['basis']['number_of_functions'],
            'mode': self.parameters['train']['production'].get('mode', 'linear'),
        }  # fmt: skip
        return wins

    def production_failed(self, message: str) -> None:
        """Take note of a production fit that came to nothing."""
        self.batches_produced = self.batches
        self.production = {'kept': False, 'passed': False, 'why': message}

    @property
    def proof_due(self) -> bool:
        """Whether a production potential has won, and not yet been proven."""
        return self.production_holds and not self.production['proven']

    @property
    def production_holds(self) -> bool:
        """Whether there is a production potential of all the data there are."""
        return bool(self.production) and self.production['kept'] and self.batches_produced == self.batches

    def proof(self) -> dict[str, Any]:
        """Return the section `explore` of the run that proves the production potential: all guards, but no gamma."""
        explore = self.parameters['explore']
        stage = {**explore['stages'][-1], 'name': 'proof', 'share': self.parameters['train']['production']['share']}
        return {**explore, 'stages': [stage], 'gamma_select': NEVER, 'gamma_halt': NEVER, 'gamma_extreme': NEVER}

    def proven(self, walkers: list[dict[str, Any]], failed: list[int] | tuple[int, ...] = ()) -> bool:
        """Take note of the simulations with the production potential, and return whether it is kept.

        :param walkers: results of each simulation. :param failed: walkers whose process died.
        """
        bad = [f'walker {walker["index"]}: {walker["reason"]}' for walker in walkers if walker['reason'] != 'completed']
        bad += [f'walker {index}: died' for index in failed]
        stable = bool(walkers) and not bad
        self.production.update(proven=stable, kept=stable)
        self.production['why'] += ', and stable' if stable else f', but not stable ({", ".join(bad) or "nothing ran"})'
        return self.production['kept']

    # The gate ---------------------------------------------------------------------------------------------------------

    @property
    def gate_due(self) -> bool:
        """Whether the result is there, with errors that meet the criteria, and the gate has not judged it yet.

        If the loop has ended otherwise, the gate judges what there is.
        """
        if not self.parameters['validate'].get('gate') or self.test is None or self.fit_due:
            return False
        if self.batches_judged == self.batches or self.production_due or self.proof_due:
            return False
        return (self._at_the_end() and self._result_passes()) or self.state in ENDS_EARLY

    @property
    def may_deploy(self) -> bool:
        """Whether the result is to be deployed if the gate lets it pass: the simulations have passed, too."""
        return self._at_the_end()

    def judged(self, verdict: dict[str, Any], structures: int) -> None:
        """Take note of the verdict on the result.

        :param verdict: of :func:`~aiida_pyacemaker.atomistics.validation.gate.judge`.
        :param structures: how many structures were made of what it asks for.
        """
        self.batches_judged = self.batches
        self.judgement = {**{key: verdict[key] for key in ('verdict', 'summary')}, 'structures': structures}
        self.weights = dict(verdict['weights'])

    def _max_requests(self) -> int:
        return self.parameters['validate'].get('max_requests', 0)

    def _result_passes(self) -> bool:
        production = self.production or {}
        return bool(production.get('kept') and production['passed']) or self._passes()

    def _pass_gate(self) -> None:
        """Converge, unless the gate has failed the result: then get what it asks for, or give up."""
        judgement = self.judgement or {}
        if judgement.get('verdict') != 'FAIL':
            self.state = 'converged'
        elif judgement['structures'] and self.requests < self._max_requests():
            self.requests += 1
            self.clean_rounds = 0
            self.cure = 'request'
        else:
            self.state, self.resuming = 'gate_failed', []
            self.reason = f'{judgement["summary"]} {self._why_not_cured()}'

    def _why_not_cured(self) -> str:
        """Say why the gate's requests have not helped, and what may."""
        if self.requests:
            times = 'once' if self.requests == 1 else f'{self.requests} times'
            return (
                f'What it asked for was labelled {times} and did not cure it: raise `validate.max_requests` or '
                '`train.max_functions`, or look into the report whether the labels themselves say so.'
            )
        if self.judgement['structures']:
            return 'Raise `validate.max_requests`, and what it asks for is labelled and learned.'
        return 'It asks for nothing that could be labelled: look into the report.'

    # Decisions --------------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        """Draw the conclusions from an iteration that simulated."""
        if not self.explores:
            self.cure = '' if self.cure == 'request' else self.cure
            return
        if self.clean:
            self.idle = self.violated = 0
            if not self.in_last_stage and not self.learned:
                self.stage, self.clean_rounds = self.stage + 1, 0
            elif self._at_the_end():
                self._judge()
            return
        self.idle = self.idle + 1 if self.ended and not self.learned else 0
        self.violated += any(reason in VIOLATIONS for reason in self.ended)
        if self.idle >= IDLE:
            self._stall(self._why_idle())
        elif self.violated >= VIOLATED:
            self._stall(self._why_violated())

    def _judge(self) -> None:
        """Converge, or say what is missing."""
        if self._result_passes():
            self._pass_gate()
            return
        self.missed += 1
        self.clean_rounds = 0
        if self.missed >= MISSED:
            self._stall(self._why_missed())
            return
        self.cure = self._find_cure()
        if self.cure == 'grow':
            self.functions = self._grown()
            self.missed = 0
        self.fit_due = self.spared or self.cure == 'grow'

    def _find_cure(self) -> str:
        """Return `grow` if even what was learned is not reproduced and a larger basis is possible, else `learn`."""
        grown = self._grown()
        can = grown is not None and grown > (self.functions_used or 0)
        return 'grow' if can and not self._meets(self._best_training()) else 'learn'

    def _best_training(self) -> dict[str, float | None]:
        production = self.production or {}
        return production['train'] if production.get('kept') else self.training

    def _grown(self) -> int | None:
        """Return the next number of functions of the exploring basis, None if it may not grow."""
        if self.training is None or self.functions_used is None:
            return None
        most = self.parameters['train'].get('max_functions') or 0
        grown = min(round(GROWTH * self.functions_used), most, self._carried(self.training['n_atoms'], LABELS_TO_GROW))
        return grown if grown >= 1.2 * self.functions_used else None

    def _check_budget(self, number_of_labels: int) -> None:
        budget = self.parameters['budget']
        if self.iteration - self.first >= budget['max_iterations']:
            self.state, self.reason = 'budget_exhausted', f'`budget.max_iterations` = {budget["max_iterations"]}'
        elif number_of_labels >= budget['max_labels']:
            self.state, self.reason = 'budget_exhausted', f'`budget.max_labels` = {budget["max_labels"]}'
        if self.state == 'budget_exhausted' and self.cure == 'request':
            self.reason += f' (before what the gate asks for could be labelled: {self.judgement["summary"]})'

    # Explanations -----------------------------------------------------------------------------------------------------

    def _stall(self, reason: str) -> None:
        self.state, self.reason, self.resuming = 'stalled', reason, []

    def _why_stuck(self, walker: dict[str, Any]) -> str:
        """Say why a walker may halt again and again at the same place, and what helps."""
        where = (
            f'in stage {self.stage_name} walkers halted {HALTS_WITHOUT_ADVANCE} times in a row at the same place, '
            f'{self.stuck} times, the last one (walker {walker["index"]}) at step {walker["step"]} with gamma '
            f'{walker["gamma_max"]:.3g}'
        )
        halt = self.parameters['explore']['gamma_halt']
        if walker['gamma_max'] < 2 * halt:
            return f'{where}: the threshold is too low for this basis; raise `explore.gamma_halt` ({halt:g})'
        if self.training is not None and not self._meets(self.training):
            return (
                f'{where}, and the potential misses even what it was trained on: the basis is too small; raise '
                f'`train.number_of_functions` ({self.functions_used})'
            )
        return (
            f'{where}: the basis has more functions than the labels fix; lower `train.number_of_functions` '
            f'({self.functions_used}), or raise `embed.select_per_halt`'
        )

    def _why_idle(self) -> str:
        """Say what kept ending simulations without teaching anything, and what helps."""
        ends = ', '.join(f'{number} by {reason}' for reason, number in self.ended.items())
        remedy = {
            'gamma': 'what they halted at was not labelled (duplicates, overlaps or failed calculations): look at the '
            'selection and the failures, or raise `explore.gamma_halt`',
            'died': 'their processes died: look at their logs with `verdi process report`',
        }
        reason = max(self.ended, key=self.ended.get)
        default = (
            'gamma saw nothing to learn before: lower `explore.gamma_select`, `explore.temperature` or '
            '`explore.pressure`'
        )
        return f'{IDLE} iterations in a row taught nothing; simulations ended {ends}; {remedy.get(reason, default)}'

    def _why_violated(self) -> str:
        """Say what simulations ran into again and again, and what helps."""
        ends = ', '.join(f'{self.ends[reason]} by {reason}' for reason in VIOLATIONS if reason in self.ends)
        return (
            f'in {self.violated} iterations without a clean round in between simulations ended for physical reasons '
            f'({ends} so far) although the way there was learned: the conditions may be more than the material stands; '
            'lower `explore.temperature`, or raise `explore.max_volume_ratio` if it may expand so far'
        )

    def _why_missed(self) -> str:
        """Say which errors miss their limits, and what helps."""
        production = self.production or {}
        test = production['test'] if production.get('kept') else self.test or {'energy': None, 'forces': None}
        if None in (test['energy'], test['forces']):
            return 'there is no held-out set to measure on; raise `structures.test.number` or `validate.test_per_round`'
        limits = self._limits()
        numbers = (
            f'{1e3 * test["energy"]:.3g} meV/atom (limit {1e3 * limits["energy"]:g}) and '
            f'{1e3 * test["forces"]:.3g} meV/Å (limit {1e3 * limits["forces"]:g})'
        )
        basis = self._meets(self._best_training())
        remedy = (
            'the data are too few: raise `validate.train_per_round`'
            if basis
            else 'the basis is too small: raise `train.number_of_functions`, `train.max_functions` or '
            '`train.production.max_cost`'
        )
        return (
            f'{self.missed} times the last stage passed without a halt, yet the errors on the held-out set miss the '
            f'criteria, {numbers}; {remedy}, or relax `validate.energy_rmse` and `validate.force_rmse`'
        )


def forget_failures(content: dict[str, Any]) -> dict[str, Any]:
    """Return a state without the counts that made a loop stall: somebody has mended something, and tries again."""
    return {**content, 'walkers': {}, 'stuck': 0, 'idle': 0, 'violated': 0, 'missed': 0}


#: States in which the best potential is still to be made of the data.
ENDS_EARLY = ('budget_exhausted', 'stalled')


def _rmse(errors: dict[str, Any] | None) -> dict[str, float | None]:
    """Return the root mean square errors `energy` and `forces`, None where there is nothing to compare."""
    errors = errors or {}
    return {key: (errors.get(key) or {}).get('rmse') for key in ('energy', 'forces')}


def _product(errors: dict[str, Any]) -> float:
    """Return the product of both errors, infinite if one is unknown."""
    if None in (errors['energy'], errors['forces']):
        return float('inf')
    return errors['energy'] * errors['forces']
