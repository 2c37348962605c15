"""Training: data in, a directory with a potential out."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict, cast

import numpy as np
from ase import Atoms

from ..ace.active_set import ActiveSet, choose_active_sets, load_active_sets, save_active_sets
from ..ace.basis import build_basis, functions_per_element
from ..ace.rows import DesignMatrix
from ..ace.store import FrameCache, RowStore
from ..baselines import Baseline, baseline_from_distances
from ..core.configurations import save_configurations
from ..core.versions import versions_of
from ..metrics.errors import ErrorMetrics, UncertaintyMetrics, error_metrics, uncertainty_metrics
from ..potential.posterior import POSTERIOR, Posterior
from ..potential.potential import ASI, YACE, YAML, AcePotential
from .checks import check_support
from .equations import Solution, accumulate, solve_sums
from .ladder import BasisOptions, BasisSettings, LabelErrors, Rung, choose_basis, learning_curve
from .nonlinear import Refinement, RefinementOptions, check_nonlinear, refine
from .parameters import FitJob
from .posterior import add_uncertainty, calibrate
from .predictions import ColdStart, cold_start, predict, predict_from_rows
from .references import Energies, EnergyScale, reference_energies
from .targets import make_targets
from .training_set import TrainingSet
from .weights import degrees

BASIS = ('cutoff', 'number_of_functions')
HYPERPARAMETERS = ('energy_weight', 'stress_weight', 'ridge', 'smoothness')
#: Growth of the data since the last search above which hyperparameters, or the basis, are chosen again.
SEARCH_AGAIN = 1.2
CHOOSE_AGAIN = 2.0
#: Hyperparameters of fewer configurations are always chosen again: that takes a second, and each new one counts.
FEW_CONFIGURATIONS = 100
#: Packages that the numbers depend on.
PACKAGES = ('aiida-pyacemaker', 'python-ace', 'numpy', 'ase')
#: Name of the file with the held-out configurations as the potential predicts them.
PREDICTIONS = 'test_predictions.npz'
Report = Callable[[str], None]


class ChosenBasis(BasisSettings):
    """A basis, and for how many configurations it was chosen."""

    n_configurations: int


class ChosenHyperparameters(TypedDict):
    """See :class:`~.weights.Hyperparameters`; and for how many configurations they were chosen."""

    energy_weight: float
    stress_weight: float
    ridge: float
    smoothness: float
    n_configurations: int


class Chosen(TypedDict, total=False):
    """What repeats or continues a fit without a search."""

    basis: ChosenBasis
    hyperparameters: ChosenHyperparameters


class FitResult(TypedDict):
    """What is told of a fit, JSON-able.

    Errors on the data (`test`, `cold_start` and `uncertainty` are None without test frames); how far the data determine
    the functions (`unsupported_functions`, `active_set_condition`, `train_gamma_max`, `condition`); zeros of energy;
    the basis and what was `chosen`; what was tried (`pareto`, `learning_curve`, `validation`, `refinement`); `warnings`
    about the data; rows that were computed and taken over; wall times (s).
    """

    train: ErrorMetrics
    test: ErrorMetrics | None
    cold_start: ColdStart | None
    uncertainty: UncertaintyMetrics | None
    unsupported_functions: int
    active_set_condition: float
    train_gamma_max: float
    baseline_kept: bool
    reference_kind: dict[str, str]
    reference_energies: Energies
    energy_scales: list[EnergyScale]
    number_of_functions: int
    cutoff: float
    generation: int
    chosen: Chosen
    n_atoms_by_element: dict[str, int]
    rows: dict[str, Any]
    condition: float
    warnings: list[str]
    validation: dict[str, float] | None
    pareto: list[Rung]
    learning_curve: list[LabelErrors]
    refinement: dict[str, Any] | None
    timings: dict[str, float]


def train(
    frames: list[Atoms],
    job: FitJob,
    out_dir: str | os.PathLike[str],
    parent: AcePotential | None = None,
    test: list[Atoms] | None = None,
    report: Report = print,
    rows: str | os.PathLike[str] | None = None,
    parent_rows: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit a potential and write it to a directory.

    Reference energies come from frames of family 'isolated_atom', else from the parent, else from least squares over
    the compositions. Labels of weight zero may be anything. Labels of different settings are refused; if they are asked
    for, their energies are moved onto one scale, see :func:`~.references.energy_scales`.

    The baseline is the parent's if all data lie where its ACE acts fully, else its ranges are made again from the data.
    A fit that continues a parent keeps what was chosen for it (basis, weights, regularisation) until the data have
    grown, so that it pays for the new data only.

    :param frames: labelled frames to train on. :param job: what is fitted, and how.
    :param test: labelled frames that are never trained on.
    :param rows: directory where the rows of the configurations are kept, for a restart or the next fit.
    :param parent_rows: that of the fit that is continued.
    :raises ValueError: if the data cannot be used; the message says why.
    """
    clock = Clock()
    out = Path(out_dir)
    if job.mode == 'nonlinear':
        check_nonlinear()
    data = TrainingSet.read(frames, job.elements, test or [], job.mix_settings)
    warnings = list(data.warnings)
    for warning in warnings:
        report(f'WARNING: {warning}')
    with _directory(rows) as directory:
        cache = FrameCache(directory, parent_rows)
        fit = _Fit(data, job, parent, cache, report)
        clock.lap('data')
        chosen, pareto = fit.choose_basis()
        basis = build_basis(fit.elements, inner_cutoffs=fit.baseline.inner_cutoffs(), **chosen)
        clock.lap('basis')
        limit = None if job.max_rows_gb is None else 1e9 * job.max_rows_gb
        store = RowStore(directory, DesignMatrix(basis), parent_rows, limit)
        kept = store.fill(fit.frames, fit.processes, report)
        clock.lap('design_matrix')
        solution, curve = fit.solve(store)
        basis.basis_coeffs = solution.coefficients
        clock.lap('fit')
        refinement = None
        if job.mode == 'nonlinear':
            refinement = fit.refine(basis, solution, directory, None if parent_rows is None else Path(parent_rows))
            clock.lap('refinement')
        refined = refinement is not None and refinement.kept
        if refinement is not None and refinement.kept:
            basis = refinement.basis
            store = RowStore(directory, DesignMatrix(basis))  # its radial functions are others
        sets = fit.choose_active_sets(store)
        clock.lap('active_set')
        if not pareto:  # a basis that was chosen by validation carries itself
            warnings += check_support(sets)
        # a posterior is that of linear coefficients
        posterior = None if refined else calibrate(store, fit.frames, fit.targets, solution, job.seed, report)
        clock.lap('posterior')
        potential = fit.write(out, basis, chosen, solution, sets, posterior)
        training = predict(potential, fit.frames) if refined else fit.predict_training(store, solution)
        measured = fit.measure(potential, training, sets)
        results: dict[str, Any] = {
            **measured,
            'rows': {key: value for key, value in kept.items() if key != 'seconds'},
            'condition': solution.condition,
            'warnings': warnings,
            'validation': solution.validation['rmse'],
            'pareto': pareto,
            'learning_curve': curve,
            'refinement': refinement and {'kept': refined, 'why': refinement.why, **refinement.metrics},
        }
        clock.lap('evaluate')
    return cast(FitResult, {**results, 'timings': {**clock.timings, 'total': clock.total()}})


class _Fit:
    """What is fitted, to what, and what it became."""

    def __init__(
        self,
        data: TrainingSet,
        job: FitJob,
        parent: AcePotential | None,
        cache: FrameCache,
        report: Report,
    ):
        self.job, self.parent, self.report = job, parent, report
        self.elements, self.processes = job.elements, job.processes
        self.data, self.scales = data, data.scales
        self.frames, self.test = [frame.atoms for frame in data.frames], [frame.atoms for frame in data.test]
        free_atoms = [frame.atoms for frame in data.free_atoms]
        self.references, self.reference_kind = reference_energies(
            [*free_atoms, *self.frames], self.elements, parent, self.scales[0]['settings']
        )
        shortest = cache.shortest_distances(self.frames, self.processes)
        self.baseline, self.baseline_kept = choose_baseline(job.baseline, self.elements, shortest, parent)
        self.evaluations = cache.baseline(self.frames, self.baseline, self.processes)
        self.targets = make_targets(data.frames, self.references, self.evaluations)
        self.core = core_dimers(self.baseline, job.core_weight)
        self.held = get_held(parent, job, len(self.frames))
        report(f'{len(self.frames)} configurations, {sum(map(len, self.frames))} atoms, baseline {job.baseline}')

    def choose_basis(self) -> tuple[BasisSettings, list[Rung]]:
        """Return what the basis is made with (what was asked for, the parent's, or what pays on the data), and what was
        tried for it."""
        if 'basis' in self.held:
            held = {key: value for key, value in self.held['basis'].items() if key != 'n_configurations'}
            return cast(BasisSettings, held), []
        job = self.job
        options = BasisOptions(job.cutoff, job.number_of_functions, job.min_functions, job.max_cost)
        inner = self.baseline.inner_cutoffs()
        choice = choose_basis(self.frames, self.targets, self.elements, inner, options, self.processes, self.report)
        return choice.to_dict(), choice.pareto

    def solve(self, store: RowStore) -> tuple[Solution, list[LabelErrors]]:
        """Fit the coefficients, with the parent's weights and regularisation while they are good enough; return the
        learning curve too."""
        options = self.job.model_dump(include={*HYPERPARAMETERS, 'noise'})
        former = self.held.get('hyperparameters', {})
        options = {key: former.get(key) if value is None else value for key, value in options.items()}
        core = [(store.design.rows(dimer), weight) for dimer, weight in self.core]
        sums = accumulate(store, self.frames, self.targets, self.processes, core)
        degree = degrees(store.design.basis)
        solution = solve_sums(sums, degree, options, self.processes, self.report)
        return solution, learning_curve(sums, degree, solution.hyperparameters, len(self.frames))

    def refine(self, basis: Any, solution: Solution, rows: Path, former: Path | None) -> Refinement:
        """Return what became of a nonlinear refinement of the linear potential."""
        unseen = [frame for frame in self.data.test if not frame.is_free_atom]
        evaluations = [self.baseline.evaluate(frame.atoms) for frame in unseen]
        targets = make_targets(unseen, self.references, evaluations)
        parent = self.parent.basis if self.parent is not None and self.parent.basis.ndensitymax == 2 else None
        job = self.job
        options = RefinementOptions(job.refine_seconds, job.max_iterations, job.max_cost, job.seed, job.processes)
        return refine(
            basis, self.frames, self.targets, solution, options,
            rows / 'refinement', ([frame.atoms for frame in unseen], targets), self.core, parent,
            former / 'refinement' if former is not None else None, self.report,
        )  # fmt: skip

    def choose_active_sets(self, store: RowStore) -> dict[str, ActiveSet]:
        """Return the active set of every element, going on from the parent's."""
        former = load_active_sets(self.parent.directory / ASI) if self.parent is not None else None
        return choose_active_sets(store, self.frames, self.elements, former, self.processes, report=self.report)

    def write(
        self,
        out: Path,
        basis: Any,
        chosen: BasisSettings,
        solution: Solution,
        sets: dict[str, ActiveSet],
        posterior: Posterior | None,
    ) -> AcePotential:
        """Write the files of the potential and return it."""
        out.mkdir(parents=True, exist_ok=True)
        basis.save(str(out / YAML))
        basis.to_ACECTildeBasisSet().save_yaml(str(out / YACE))
        save_active_sets(out / ASI, sets)
        (out / POSTERIOR).unlink(missing_ok=True)
        if posterior is not None:
            posterior.save(out)
        metadata = {
            'elements': self.elements,
            'cutoff': chosen['cutoff'],
            'number_of_functions': sum(functions_per_element(basis).values()),
            'baseline': self.baseline.to_dict(),
            'baseline_kept': self.baseline_kept,
            'reference_energies': self.references,
            'reference_kind': self.reference_kind,
            'settings': self.scales[0]['settings'],
            'energy_scales': self.scales,
            'generation': self.job.generation,
            'parameters': self.job.model_dump(),
            'chosen': self.get_chosen(chosen, solution),
            'seed': self.job.seed,
            'versions': versions_of(PACKAGES, missing='unknown'),
            'fit': {},
        }
        AcePotential.write_metadata(out, metadata)
        return AcePotential(out)

    def get_chosen(self, basis: BasisSettings, solution: Solution) -> Chosen:
        """Return what repeats or continues the fit without a search, and for how many configurations it was chosen."""
        fresh = {'n_configurations': len(self.frames)}
        new = {'basis': {**basis, **fresh}, 'hyperparameters': {**solution.hyperparameters, **fresh}}
        return cast(Chosen, {**new, **self.held})

    def predict_training(self, store: RowStore, solution: Solution) -> list[Atoms]:
        """Return the training frames as the linear potential predicts them."""
        return [
            predict_from_rows(atoms, store.get(atoms), solution.coefficients, self.references, evaluation)
            for atoms, evaluation in zip(self.frames, self.evaluations, strict=True)
        ]

    def measure(self, potential: AcePotential, training: list[Atoms], sets: dict[str, ActiveSet]) -> dict[str, Any]:
        """Return the errors and what else is to be known, and write the predictions of the held-out frames."""
        results = {
            'train': error_metrics(self.frames, training),
            'test': None,
            'cold_start': None,
            'uncertainty': None,
            'unsupported_functions': sum(entry.unsupported for entry in sets.values()),
            'active_set_condition': max(entry.condition for entry in sets.values()),
            'train_gamma_max': max(entry.gamma_max for entry in sets.values()),
            'baseline_kept': self.baseline_kept,
            'reference_kind': self.reference_kind,
            'reference_energies': self.references,
            'energy_scales': self.scales,
            'number_of_functions': potential.metadata['number_of_functions'],
            'cutoff': potential.metadata['cutoff'],
            'generation': potential.metadata['generation'],
            'chosen': potential.metadata['chosen'],
            'n_atoms_by_element': _count(self.frames),
        }
        if self.test:
            predicted = predict(potential, self.test)
            add_uncertainty(potential, predicted, self.processes)
            save_configurations(potential.directory / PREDICTIONS, predicted)
            results['test'] = error_metrics(self.test, predicted)
            results['cold_start'] = cold_start(predicted)
            results['uncertainty'] = uncertainty_metrics(self.test, predicted)
        keys = ('train', 'test', 'cold_start', 'uncertainty', 'unsupported_functions')
        potential.metadata['fit'] = {key: results[key] for key in keys}
        AcePotential.write_metadata(potential.directory, potential.metadata)
        for name in ('train', 'test'):
            if results[name]:
                self.report(f'{name}: {summary(results[name])}')
        return results


def choose_baseline(
    kind: str, elements: list[str], shortest: dict[tuple[str, str], float], parent: AcePotential | None
) -> tuple[Baseline, bool]:
    """Return the baseline for data with these shortest distances (Å), and whether it is the parent's unchanged."""
    if parent is not None and parent.baseline.kind == kind and set(elements) <= set(parent.baseline.elements):
        if parent.baseline.covers(shortest):
            return parent.baseline, True
    return baseline_from_distances(kind, elements, shortest), False


def get_held(parent: AcePotential | None, job: FitJob, number: int) -> Chosen:
    """Return what was chosen for the parent and still holds for a number of configurations: `basis`,
    `hyperparameters`, both or none."""
    chosen = parent.metadata.get('chosen') if parent is not None else None
    if parent is None or not chosen or parent.elements != job.elements:
        return {}
    if job.max_cost not in (None, parent.metadata['parameters'].get('max_cost')):
        return {}
    basis, hyperparameters = chosen['basis'], chosen['hyperparameters']
    if number > CHOOSE_AGAIN * basis['n_configurations']:
        return {}
    if any(getattr(job, key) not in (None, basis[key]) for key in BASIS):
        return {}
    held: Chosen = {'basis': basis}
    given = any(getattr(job, key) not in (None, hyperparameters.get(key)) for key in HYPERPARAMETERS)
    growth = number / hyperparameters['n_configurations']
    if growth <= (SEARCH_AGAIN if number > FEW_CONFIGURATIONS else 1.0) and not given:
        held['hyperparameters'] = hyperparameters
    return held


def core_dimers(baseline: Baseline, weight: float) -> list[tuple[Atoms, float]]:
    """Ask ACE not to act on a pair of atoms closer than the data ever show.

    Where the baseline acts nothing but extrapolation fixes ACE, and it may outweigh the repulsion. The energy and force
    of ACE on dimers in that range are driven to zero with a small weight: a prior, not data, and no part of the active
    set. (Ten times the weight costs accuracy: forces in NaCl 41 instead of 33 meV/Å; a third of it let two silicon
    atoms attract each other at 0.75 of the shortest distance.)
    """
    if weight == 0:
        return []
    return [
        (Atoms(list(pair), [[0, 0, 0], [0, 0, distance]], cell=[50.0] * 3, pbc=False), weight)
        for pair, (r_in, delta_in) in baseline.inner_cutoffs().items()
        for distance in np.linspace(r_in - delta_in, baseline.OUTER * baseline.pairs[pair]['shortest'], 13)[1:]
    ]


def summary(metrics: ErrorMetrics) -> str:
    """One line about metrics, for people."""
    energy, forces = metrics['energy'], metrics['forces']
    parts = [f'{metrics["n_frames"]} configurations']
    if energy:
        parts.append(f'energy rmse {1000 * energy["rmse"]:.2f} meV/atom')
    if forces:
        parts.append(f'force rmse {1000 * forces["rmse"]:.1f} meV/Å')
    return ', '.join(parts)


def _count(frames: list[Atoms]) -> dict[str, int]:
    symbols = [symbol for atoms in frames for symbol in atoms.get_chemical_symbols()]
    return {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}


class Clock:
    """Wall times of the steps."""

    def __init__(self) -> None:
        self.start = self.last = perf_counter()
        self.timings: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.timings[name] = now - self.last
        self.last = now

    def total(self) -> float:
        return perf_counter() - self.start


@contextlib.contextmanager
def _directory(given: str | os.PathLike[str] | None) -> Iterator[Path]:
    """A directory for the rows: the one that was given, or one that is gone afterwards."""
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix='pyacemaker-rows-') as folder:
        yield Path(folder)
