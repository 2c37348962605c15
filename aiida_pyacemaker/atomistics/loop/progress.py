"""What the loop does next: which simulations resume, which stage follows, when the basis grows, and when it has ended.

A *round* starts every walker afresh; a walker that gamma halts resumes with the next potential until it has reached its
end or is given up. An *iteration* is one step of that: simulations, what is labelled of them, a fit. The loop goes from
stage to stage, each with one *clean* round (all walkers to their end, no halt), the last with `explore.seeds` of them
in a row, by one potential. Of these, frames are learned for the production fit to all data, and the errors on the
held-out set decide. If they miss the criteria, the exploring potential learns those frames, too, and passes once more.
If they meet them, the gate judges the physics of the result; what it asks for is labelled, and the last stage passes
once more, at most `validate.max_requests` times.

:class:`Progress` is all the state there is, plain and JSON-able, so that a WorkChain and a script decide alike. What it
decides is in the modules beside this one, phase by phase; the calls come in this order::

    progress = Progress(LoopSettings.from_runfile(parameters))
    ... label the initial structures: progress.labelled(train, test); fit; validate ...
    while progress.advance(number_of_labels):   # decides what the last iteration meant; False: progress.state, .reason
        if progress.explores:                   # no, if only the basis grows, or the gate has asked for structures
            plan = explorer.plan(explore, cells, elements, progress.stage, progress.seed)
            # run those of progress.walkers_to_run(): from the restart file if in progress.resuming, else from the start
            progress.explored(walkers, failed)  # a WalkerResult of each; indices of those whose process died
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
                # explorer.plan(progress.proof(explore), cells, elements, 0, progress.seed), with that potential
                progress.proven(walkers, failed)
        if progress.gate_due:
            # run_suite(potential, crystals, ...), judge(), make_structures() of what it asks for
            progress.judged(verdict, number_of_structures)
    # once more, if the budget ended it: if progress.production_due: ... if progress.gate_due: ... as above
    # progress.production['kept'] says whether the production potential or the exploring one is the result
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.plain import Json
from ..explorers.walker import WalkerResult
from . import decisions, explain, exploration, learning, production, verdict
from .exploration import Wanted
from .learning import Calibration
from .production import AnyExplore
from .state import LoopSettings, State, forget_failures

if TYPE_CHECKING:
    from ..fitting.train import FitResult
    from ..metrics.errors import ErrorMetrics, Surprise
    from ..validation.gate import Verdict

__all__ = ['LoopSettings', 'Progress', 'forget_failures']


class Progress(State):
    """How far the loop has come, and what it does next; see the module for the order of the calls."""

    # Iterations -------------------------------------------------------------------------------------------------------

    def advance(self, number_of_labels: int, core_hours: float = 0.0) -> bool:
        """Decide what the iteration that ends here meant, and begin the next; return False if the loop has ended.

        :param number_of_labels: configurations labelled for this run so far.
        :param core_hours: that their labels have taken.
        """
        if self.state == 'running':
            decisions.decide(self)
        if self.state == 'running':
            decisions.check_budget(self, number_of_labels, core_hours)
        if self.state != 'running':
            return False
        exploration.begin_iteration(self)
        return True

    @property
    def why(self) -> str:
        """What this iteration does, and why, for people."""
        return explain.why_this_iteration(self)

    def walkers_to_run(self) -> list[int]:
        """Return the walkers of this iteration: those that resume, or else all."""
        return self.resuming or list(range(self.settings.walkers))

    def explored(self, walkers: Sequence[WalkerResult], failed: Sequence[int] = ()) -> None:
        """Take note of how the simulations ended.

        :param walkers: what became of each. :param failed: walkers whose process died.
        """
        exploration.record_walkers(self, walkers, failed)

    def selection(self) -> Wanted | None:
        """Return how many frames of the trajectories are to be learned and to be held out, None if nothing is needed.

        After clean rounds they are chosen from the trajectories of the last `clean_rounds` of them, else from the last.
        What halted is learned anyway, together with what was above `gamma_select`.
        """
        return exploration.find_wanted(self)

    # The exploring potential ------------------------------------------------------------------------------------------

    def labelled(self, train: int, test: int, surprise: Surprise | None = None) -> None:
        """Take note of labels that joined the training and the held-out set.

        :param surprise: what :func:`~aiida_pyacemaker.atomistics.metrics.errors.surprise` says of them.
        """
        learning.record_labels(self, train, test, surprise)

    @property
    def calibration(self) -> Calibration:
        """What gamma is worth: root mean square force errors (eV/Å) on what halted, and on frames of clean rounds,
        of the potentials that met them, and the ratio of the two, well above one if gamma knows where errors are."""
        return learning.calibrate(self)

    @property
    def warning(self) -> str:
        """What is to be known of the result, for people; empty if nothing is."""
        conditional = self.judgement is not None and self.judgement['verdict'] == 'CONDITIONAL'
        texts = (explain.why_gamma_is_not_trusted(self), self.judgement['summary'] if conditional else '')
        return '. '.join(text for text in texts if text)

    def fit_parameters(self, n_atoms: int) -> dict[str, float]:
        """Return what the next fit takes in place of the values of the run file: the basis, as far as data carry it.

        :param n_atoms: atoms in the training set.
        """
        return learning.fit_parameters(self, n_atoms)

    def trained(self, results: FitResult) -> None:
        """Take note of a fit of the exploring potential.

        :param results: what :func:`~aiida_pyacemaker.atomistics.fitting.train.train` returned.
        """
        learning.record_fit(self, results)

    def validated(self, errors: ErrorMetrics) -> bool:
        """Take note of the errors of the exploring potential on the held-out set, and return whether they are met.

        :param errors: as :func:`~aiida_pyacemaker.atomistics.metrics.errors.error_metrics` returns them.
        """
        return learning.record_errors(self, errors)

    # The production potential -----------------------------------------------------------------------------------------

    @property
    def production_due(self) -> bool:
        """Whether everything is learned, or the loop has ended otherwise, with data that no production fit saw."""
        return production.is_due(self)

    def production_parameters(self) -> Json:
        """Return what is other in the production fit than in the run file; it has no smaller basis than explored."""
        return production.fit_parameters(self)

    def produced(self, results: FitResult) -> bool:
        """Take note of a production fit, and return whether it beats the exploring potential on the held-out set.

        :param results: what :func:`~aiida_pyacemaker.atomistics.fitting.train.train` returned.
        """
        return production.record_fit(self, results)

    def production_failed(self, message: str) -> None:
        """Take note of a production fit that came to nothing."""
        production.record_failure(self, message)

    @property
    def proof_due(self) -> bool:
        """Whether a production potential has won, and not yet been proven."""
        return self.production_holds and not self.production['proven']

    def proof(self, explore: AnyExplore) -> AnyExplore:
        """Return the section `explore` of the run that proves the production potential: all guards, but no gamma.

        :param explore: that of the run file.
        """
        return production.trial_section(self, explore)

    def proven(self, walkers: Sequence[WalkerResult], failed: Sequence[int] = ()) -> bool:
        """Take note of the simulations with the production potential, and return whether it is kept.

        :param walkers: what became of each. :param failed: walkers whose process died.
        """
        return production.record_trial(self, walkers, failed)

    # The gate ---------------------------------------------------------------------------------------------------------

    @property
    def gate_due(self) -> bool:
        """Whether the result is there, with errors that meet the criteria, and the gate has not judged it yet.

        If the loop has ended otherwise, the gate judges what there is.
        """
        return verdict.is_due(self)

    @property
    def may_deploy(self) -> bool:
        """Whether the result is to be deployed if the gate lets it pass: the simulations have passed, too."""
        return self.at_the_end

    def judged(self, result: Verdict, structures: int) -> None:
        """Take note of the verdict on the result.

        :param result: of :func:`~aiida_pyacemaker.atomistics.validation.gate.judge`.
        :param structures: how many structures were made of what it asks for.
        """
        verdict.record_verdict(self, result, structures)
