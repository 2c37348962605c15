"""The state of the loop, and the few keys of a run file on which its decisions depend."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NotRequired, Self, TypedDict

from ..core.plain import Json
from ..labelling.convergence import widen_criteria
from .parameters import Production

if TYPE_CHECKING:
    from ..metrics.errors import ErrorMetrics

#: States in which the best potential is still to be made of the data.
ENDS_EARLY = ('budget_exhausted', 'stalled')


@dataclass(frozen=True)
class LoopSettings:
    """What the loop needs to know of a run file.

    :param stages: names of the stages.
    :param rounds: rounds that the last stage passes without a halt, `explore.seeds`.
    :param fixed_weights: the weights of the fit that the user has fixed, such as `stress_weight`.
    :param energy_rmse: in eV/atom. :param force_rmse: in eV/Å.
    """

    seed: int
    elements: tuple[str, ...]
    walkers: int
    stages: tuple[str, ...]
    rounds: int
    gamma_select: float
    gamma_halt: float
    number_of_functions: int | None
    max_functions: int | None
    fixed_weights: frozenset[str]
    production: Production | None
    energy_rmse: float
    force_rmse: float
    test_per_round: int
    train_per_round: int
    has_gate: bool
    max_requests: int
    max_iterations: int
    max_labels: int
    core_hours: float | None

    @classmethod
    def from_runfile(cls, content: Json) -> LoopSettings:
        """Return the settings out of a resolved run file.

        :param content: at least the sections `system`, `explore`, `train`, `validate` and `budget`, and `seed`.
        """
        explore, train, validate = content['explore'], content['train'], widen_criteria(content['validate'])
        production = train.get('production')
        return cls(
            seed=content['seed'],
            elements=tuple(content['system']['elements']),
            walkers=explore['walkers'],
            stages=tuple(stage['name'] for stage in explore['stages']),
            rounds=explore['seeds'],
            gamma_select=explore['gamma_select'],
            gamma_halt=explore['gamma_halt'],
            number_of_functions=train.get('number_of_functions'),
            max_functions=train.get('max_functions'),
            fixed_weights=frozenset(
                key for key, value in train.items() if key.endswith('_weight') and value is not None
            ),
            production=Production.model_validate(production) if production else None,
            energy_rmse=validate['energy_rmse'],
            force_rmse=validate['force_rmse'],
            test_per_round=validate['test_per_round'],
            train_per_round=validate['train_per_round'],
            has_gate=bool(validate.get('gate')),
            max_requests=validate.get('max_requests', 0),
            max_iterations=content['budget']['max_iterations'],
            max_labels=content['budget']['max_labels'],
            core_hours=content['budget'].get('core_hours'),
        )


class Errors(TypedDict):
    """Root mean square errors; None where there is nothing to compare with."""

    energy: float | None
    """In eV/atom."""
    forces: float | None
    """In eV/Å."""
    n_atoms: NotRequired[int]
    """Atoms in the training set."""
    passed: NotRequired[bool]
    """Whether they meet the criteria."""


class Pool(TypedDict):
    """Squared force errors of labels, summed over atoms ((eV/Å)²)."""

    n_atoms: int
    square: float


class ProductionFit(TypedDict):
    """What became of a production fit."""

    kept: bool
    passed: bool
    why: str
    proven: NotRequired[bool]
    test: NotRequired[Errors]
    train: NotRequired[Errors]
    number_of_functions: NotRequired[int]
    mode: NotRequired[str]


class Judgement(TypedDict):
    """What the gate has said, and the number of structures that it asks for."""

    verdict: str
    summary: str
    structures: int


class Visit(TypedDict):
    """Where a walker halted last, and how often in a row it has not advanced since."""

    step: int
    halts: int


@dataclass
class State:
    """How far the loop has come.

    :param settings: what it is to do; not part of the state.
    """

    settings: LoopSettings
    #: running, converged, budget_exhausted, stalled or gate_failed; and why, with the remedy.
    state: str = 'running'
    reason: str = ''
    iteration: int = 0
    #: Iteration with which this run began: those of a former run do not count for its budget.
    first_iteration: int = 0
    stage: int = 0
    round: int = 0
    #: Rounds in a row in which all walkers came to their end, of this stage, by the present potential.
    clean_rounds: int = 0
    #: Walkers that resume in the next iteration, or did in this one; the others rest until the next round.
    resuming: list[int] = field(default_factory=list)
    #: Last halt of each walker, by its index as text.
    halts: dict[str, Visit] = field(default_factory=dict)
    #: This iteration simulates.
    explores: bool = False
    #: It began a round.
    begins_round: bool = False
    #: All walkers of the round came to their end.
    is_clean: bool = False
    #: How many walkers of this iteration ended by which reason, those that completed left out.
    ended: dict[str, int] = field(default_factory=dict)
    #: Gamma was above `gamma_select` before a violation: there are frames to learn on the way to it.
    violation_was_foreseen: bool = False
    #: Configurations that joined the training set in this iteration.
    labels_learned: int = 0
    #: How many walkers have ended by which reason so far.
    ends: dict[str, int] = field(default_factory=dict)
    #: Force errors of the potential on labels: of what `halted`, and of `clean` rounds.
    surprises: dict[str, Pool] = field(default_factory=dict)
    #: Walkers given up since the last clean round.
    walkers_given_up: int = 0
    #: Iterations in a row that ended badly and improved nothing.
    iterations_without_gain: int = 0
    #: Iterations with violations since the last clean round.
    iterations_with_violations: int = 0
    #: How often in a row the last stage was clean and the errors missed the criteria.
    passes_missing_criteria: int = 0
    #: What is missing when the errors miss the criteria: nothing (empty), `learn` or `grow`; `request` if the gate has
    #: asked for structures.
    cure: str = ''
    #: There are labels that the exploring potential has not learned, because it has passed without.
    has_unlearned_labels: bool = False
    #: Functions per element of the exploring basis: wanted (None: what the fit chooses), asked for by the run file, and
    #: those that the last fit had.
    functions: int | None = None
    functions_asked: int | None = None
    functions_used: int | None = None
    fit_due: bool = False
    #: Errors of the exploring potential on its training set and on the held-out set.
    training: Errors | None = None
    test: Errors | None = None
    #: The last production fit.
    production: ProductionFit | None = None
    #: Batches of labels so far, and those that the production fit has seen.
    batches: int = 0
    batches_produced: int = -1
    #: What the gate has said last, the batches of labels by then, and how often what it asked for was labelled.
    judgement: Judgement | None = None
    batches_judged: int = -1
    requests: int = 0
    #: Factors by which the next fit weighs `energy` and `stress` more, and what the last one chose for their weights.
    weights: dict[str, float] = field(default_factory=dict)
    chosen_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.functions is None:
            self.functions = self.functions_asked = self.settings.number_of_functions

    # Plain content ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> Json:
        """Return the state without the settings: numbers, text, lists and dictionaries."""
        state = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != 'settings'}
        return copy.deepcopy(state)

    @classmethod
    def from_dict(cls, settings: LoopSettings, content: Json) -> Self:
        """Return what :meth:`to_dict` was made of."""
        return cls(settings, **copy.deepcopy(content))

    @classmethod
    def continued(cls, settings: LoopSettings, content: Json) -> Self:
        """Return the state in which a run continues a former one, whose state was this after its last fit."""
        if content.get('functions_asked') != settings.number_of_functions:
            content = {**content, 'functions': None}  # the user wants another basis
        state = cls.from_dict(settings, content)
        state.first_iteration = state.iteration
        state.stage = min(state.stage, len(settings.stages) - 1)
        # The criteria may have changed, so that everything that was measured by them is measured again.
        state.test, state.production, state.batches_produced = None, None, -1
        state.judgement, state.batches_judged, state.requests = None, -1, 0
        return state

    # What follows from it ---------------------------------------------------------------------------------------------

    @property
    def stage_name(self) -> str:
        """Name of the stage."""
        return self.settings.stages[self.stage]

    @property
    def in_last_stage(self) -> bool:
        """Whether no other stage follows."""
        return self.stage == len(self.settings.stages) - 1

    @property
    def seed(self) -> int:
        """Seed of the round; depends on nothing but the run file and the number of the round."""
        return self.settings.seed * 1000 + self.round

    @property
    def requested(self) -> bool:
        """Whether this iteration labels what the gate has asked for, and simulates nothing."""
        return self.cure == 'request' and not self.explores

    @property
    def at_the_end(self) -> bool:
        """Whether the last stage has passed as often as asked for."""
        enough = self.clean_rounds >= self.settings.rounds
        return self.state == 'running' and self.is_clean and self.in_last_stage and enough

    @property
    def test_passes(self) -> bool:
        """Whether the exploring potential meets the criteria on the held-out set."""
        return self.test is not None and self.test['passed']

    @property
    def production_holds(self) -> bool:
        """Whether there is a production potential of all the data there are."""
        return bool(self.production) and self.production['kept'] and self.batches_produced == self.batches

    @property
    def result_passes(self) -> bool:
        """Whether the production potential, or else the exploring one, meets the criteria."""
        production = self.production
        return bool(production and production['kept'] and production['passed']) or self.test_passes

    @property
    def best_training(self) -> Errors | None:
        """Errors on the training set of the production potential, or else of the exploring one."""
        return self.production['train'] if self.production and self.production['kept'] else self.training

    def meets(self, errors: Errors | None) -> bool:
        """Return whether errors meet the criteria."""
        if errors is None or errors['energy'] is None or errors['forces'] is None:
            return False
        return errors['energy'] <= self.settings.energy_rmse and errors['forces'] <= self.settings.force_rmse

    def stall(self, reason: str) -> None:
        """End, because the loop no longer gets better.

        :param reason: why, with the remedy.
        """
        self.state, self.reason, self.resuming = 'stalled', reason, []


def forget_failures(content: Json) -> Json:
    """Return a state without the counts that made a loop stall: somebody has mended something, and tries again."""
    counts = ('walkers_given_up', 'iterations_without_gain', 'iterations_with_violations', 'passes_missing_criteria')
    return {**content, 'halts': {}, **dict.fromkeys(counts, 0)}


def rmse_of(errors: ErrorMetrics | None) -> Errors:
    """Return the root mean square errors out of what :func:`~..metrics.errors.error_metrics` returns."""
    energy, forces = (errors.get('energy'), errors.get('forces')) if errors else (None, None)
    return Errors(energy=energy and energy['rmse'], forces=forces and forces['rmse'])
