"""Which basis is worth its cost: cutoff and number of functions, by validation error against the cost of a simulation.

All sizes of one cutoff are parts of the largest, so its rows on a sample of the data, summed into normal equations,
serve every rung of the ladder. A rung pays if halving its cost would not be worth the accuracy that is lost with it,
see `COST_EXPONENT`. The folds of the validation hold whole trajectories apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from time import perf_counter, process_time
from typing import Any, TypedDict

import numpy as np
from ase import Atoms

from ..ace.basis import (
    Order,
    OrderSettings,
    Radial,
    RadialSettings,
    build_basis,
    column_keys,
    columns,
    columns_within,
    default_order,
    first_functions,
    import_pyace,
)
from ..ace.rows import DesignMatrix, FrameRows
from ..core.neighbours import neighbour_pairs
from .equations import Problem, Sums, Target, accumulate
from .parameters import LABELS_PER_FUNCTION, RUNGS
from .weights import RIDGE_BOUNDS, SHARES, Hyperparameters, balanced, degrees, objective

#: Cutoffs are the distances within which the median atom has so many neighbours: the same physics in all substances.
NEIGHBOURS = (32, 56, 88, 130)
#: Where they are looked for (Å), and what is taken if there are none (molecules, clusters).
FARTHEST = 9.0
FALLBACK = 6.0
#: What a factor adds to the degree of a function: the larger, the fewer functions of many bodies, see `basis.Order`.
#: The search starts at one less than there are elements: with more elements, functions of many bodies are so many more.
FACTORS = (0.0, 1.0, 2.0, 3.0, 4.0)
#: A simulation that costs c times as much must bring errors c^COST_EXPONENT times smaller: 5 % for twice the cost.
COST_EXPONENT = 0.075
#: Atoms of the sample and columns of the largest rung: while cutoff and order are searched, and with what was found.
SEARCH = (5000, 600)
FINAL = (15000, 1200)
#: The ladder ends after this many rungs in a row without a gain.
MAX_RUNGS_WITHOUT_GAIN = 2
#: Factor between the ridges that are tried on a rung, and how often the search may go on in one direction.
RIDGE_STEP = 100.0
RIDGE_STEPS = 3
#: Cost of the evaluator (µs per atom on one core): per neighbour, per neighbour and radial-angular product, per product
#: in a function; fitted by `tests/benchmarks/bench_ladder.py`.
COST = (0.113, 0.00733, 0.0143)


@dataclass(frozen=True)
class BasisOptions:
    """What of a basis is given; the rest is chosen from the data.

    Cutoff (Å), functions per element, least number of them, largest cost (µs per atom and step on one core), radial
    functions, and order of the functions.
    """

    cutoff: float | None = None
    number_of_functions: int | None = None
    min_functions: int | None = None
    max_cost: float | None = None
    radial: Radial | None = None
    order: Order | None = None


class LabelErrors(TypedDict):
    """Cross-validated root mean square errors of energies (eV/atom), forces (eV/Å) and stresses (eV/Å³), None without
    labels, on so many configurations."""

    n_configurations: int
    energy_rmse: float | None
    force_rmse: float | None
    stress_rmse: float | None


class Rung(LabelErrors):
    """A basis that was tried: cutoff (Å), factor (of the order), functions per element, cost (µs/atom/step), score, and
    whether it was chosen."""

    cutoff: float
    factor: float
    number_of_functions: int
    cost_us: float
    score: float
    chosen: bool


class BasisSettings(TypedDict):
    """What a basis is made with; see :func:`~..ace.basis.build_basis`."""

    cutoff: float
    number_of_functions: int
    radial: RadialSettings
    order: OrderSettings


@dataclass
class BasisChoice:
    """The basis that is worth its cost.

    `cost_us` is in µs per atom and step of a simulation on one core of this machine (None: not asked for). `pareto`
    lists all that was tried; those that were tried last are of the chosen cutoff and order, on the most data.
    """

    cutoff: float
    number_of_functions: int
    radial: Radial
    order: Order
    cost_us: float | None
    pareto: list[Rung] = field(default_factory=list)

    def to_dict(self) -> BasisSettings:
        """Return what :func:`~..ace.basis.build_basis` needs beside elements and inner cutoffs, JSON-able."""
        return {
            'cutoff': self.cutoff,
            'number_of_functions': self.number_of_functions,
            'radial': {
                'kind': self.radial.kind,
                'parameter': self.radial.parameter,
                'smoothing': self.radial.smoothing,
            },
            'order': {
                'factor': self.order.factor,
                'angular': self.order.angular,
                'lmax': list(self.order.lmax),
            },
        }


def choose_basis(
    frames: Sequence[Atoms],
    targets: Sequence[Target],
    elements: list[str],
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    options: BasisOptions,
    processes: int = 2,
    report: Callable[[str], None] = print,
) -> BasisChoice:
    """Return the basis that is worth its cost on the data.

    Without `max_cost` the choice depends on the data alone, not on the speed or the load of the machine. Where cutoff
    and number of functions are given there is nothing to choose.

    :param frames: configurations to fit. :param targets: what ACE has to give for them.
    :raises ValueError: if nothing on the ladder is within `max_cost`.
    """
    start = perf_counter()
    ladder = _Ladder(frames, targets, sorted(elements), inner_cutoffs, options, processes, report)
    cutoffs = [float(options.cutoff)] if options.cutoff else candidate_cutoffs(ladder.frames)
    first = FACTORS.index(default_order(len(elements)).factor)
    if options.cutoff and options.number_of_functions:
        return ladder.as_asked(cutoffs[0], options.number_of_functions, FACTORS[first])

    def score(cutoff: float, factor: float) -> float:
        return ladder.value(ladder.best(cutoff, factor, SEARCH))

    cutoff = _search(cutoffs, min(1, len(cutoffs) - 1), lambda cutoff: score(cutoff, FACTORS[first]))
    factor = FACTORS[first]
    if options.order is None:
        factor = _search(FACTORS, first, lambda factor: score(cutoff, factor))
    best = ladder.best(cutoff, factor, FINAL)
    if best['cost_us'] > ladder.max_cost:
        raise ladder.too_expensive(best['cost_us'])
    best['chosen'] = True
    pareto = ladder.pareto()
    report(f'chosen: cutoff {best["cutoff"]} Å, {_describe(best)}; {perf_counter() - start:.1f} s')
    order = ladder.order(best['factor'])
    return BasisChoice(best['cutoff'], best['number_of_functions'], ladder.radial, order, best['cost_us'], pareto)


def _search(values: Sequence[float], start: int, score: Callable[[float], float]) -> float:
    """Return the value of the best (lowest) score, going from `start` up, else down, as long as the score improves."""
    scores = {start: score(values[start])}
    for direction in (1, -1):
        place = start + direction
        while 0 <= place < len(values):
            scores[place] = score(values[place])
            if scores[place] >= scores[place - direction]:
                break
            place += direction
        if min(scores, key=lambda place: scores[place]) != start:
            break
    return values[min(scores, key=lambda place: scores[place])]


class _Ladder:
    """The rungs of all cutoffs that were tried."""

    def __init__(
        self,
        frames: Sequence[Atoms],
        targets: Sequence[Target],
        elements: list[str],
        inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
        options: BasisOptions,
        processes: int,
        report: Callable[[str], None],
    ):
        self.frames, self.targets = frames, targets
        self.elements, self.inner_cutoffs = elements, inner_cutoffs
        self.radial = options.radial or Radial()
        self.options, self.processes, self.report = options, processes, report
        self.max_cost = float(options.max_cost or np.inf)
        self.tried: dict[tuple[float, float, int, int], list[Rung]] = {}
        self._speed: float | None = None

    def numbers(self, targets: list[Target], max_columns: int) -> list[int]:
        """Rungs that the data can carry."""
        if self.options.number_of_functions:
            return [self.options.number_of_functions]
        n_labels = sum(len(target.forces) * 3 for target in targets if target.forces is not None)
        most = min(max_columns, n_labels / LABELS_PER_FUNCTION) / len(self.elements)
        least = max(len(self.elements), self.options.min_functions or 0)
        fitting = [number for number in RUNGS if least <= number <= most]
        return fitting or [max(RUNGS[0], least)]

    def as_asked(self, cutoff: float, number: int, factor: float) -> BasisChoice:
        """Return the only basis that the options leave."""
        cost = None
        if np.isfinite(self.max_cost):
            basis = self.build(cutoff, self.order(factor), number)
            cost = cost_model(columns(basis), mean_neighbours(self.frames, cutoff)) * self.speed(basis)
            if cost > self.max_cost:
                raise self.too_expensive(cost)
        return BasisChoice(cutoff, number, self.radial, self.order(factor), cost)

    def too_expensive(self, cost: float) -> ValueError:
        return ValueError(
            f'max_cost is {self.max_cost:g} µs/atom/step, but the cheapest basis here costs {cost:.0f}: '
            'raise max_cost, or give a shorter cutoff or a smaller number_of_functions'
        )

    def order(self, factor: float) -> Order:
        return self.options.order or Order(factor=factor)

    def build(self, cutoff: float, order: Order, number: int) -> Any:
        return build_basis(self.elements, cutoff, number, self.inner_cutoffs, radial=self.radial, order=order)

    def climb(self, cutoff: float, factor: float, stage: tuple[int, int]) -> list[Rung]:
        """Return the rungs of a cutoff and an order, validated, up to where they no longer get better.

        :param stage: `SEARCH` or `FINAL`.
        """
        members = sample(self.frames, self.targets, stage[0])
        frames, targets = [self.frames[index] for index in members], [self.targets[index] for index in members]
        numbers, order = self.numbers(targets, stage[1]), self.order(factor)
        place = (cutoff, factor, len(members), numbers[-1])
        if place in self.tried:
            return self.tried[place]
        largest = self.build(cutoff, order, numbers[-1])
        sums = accumulate(_RowsOnDemand(DesignMatrix(largest)), frames, targets, self.processes)
        functions, keys, degree = columns(largest), column_keys(largest), degrees(largest)
        n_neighbours = mean_neighbours(self.frames, cutoff)
        rungs, found = [], None
        for number in numbers:
            part = columns_within(keys, self.elements, first_functions(len(self.elements), number, order))
            found = tune(sums.columns(part), degree[part], found, self.processes)
            cost = cost_model([functions[index] for index in part], n_neighbours) * self.speed(largest)
            rungs.append(_rung(cutoff, factor, number, cost, found, len(frames)))
            if _flat(rungs):
                break
        best = _describe(min(rungs, key=self.value))
        self.report(f'basis on {len(frames)} configurations, cutoff {cutoff} Å, factor {factor:g}: {best}')
        self.tried[place] = rungs
        return rungs

    def pareto(self) -> list[Rung]:
        """Return all that was tried, the final stage last."""
        places = sorted(self.tried, key=lambda place: (place[2:], place[:2]))
        return [rung for place in places for rung in self.tried[place]]

    def value(self, rung: Rung) -> float:
        """Return the score; what is too expensive comes after all that is not, and the cheaper the better."""
        return rung['score'] if rung['cost_us'] <= self.max_cost else 1e3 + float(np.log(rung['cost_us']))

    def best(self, cutoff: float, factor: float, stage: tuple[int, int]) -> Rung:
        return min(self.climb(cutoff, factor, stage), key=self.value)

    def speed(self, basis: Any) -> float:
        """Return by how much this machine is slower than the cost model, measured once."""
        if self._speed is None:
            frame = max(self.frames, key=len)
            modelled = cost_model(columns(basis), mean_neighbours([frame], basis.cutoffmax))
            self._speed = measure_cost(basis, frame) / modelled
        return self._speed


class _RowsOnDemand:
    """A store that keeps nothing: the rows of the sample are summed and never needed again."""

    def __init__(self, design: DesignMatrix):
        self.design = design
        self.number_of_functions = design.number_of_functions

    def get(self, atoms: Atoms) -> FrameRows:
        return self.design.rows(atoms, stress=True)

    def remember(self, kind: str, content: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return compute()


def _rung(cutoff: float, factor: float, number: int, cost: float, found: Validation, n: int) -> Rung:
    return {
        'cutoff': cutoff,
        'factor': factor,
        'number_of_functions': number,
        'n_configurations': n,
        'cost_us': cost,
        'energy_rmse': found.rmse['energy'],
        'force_rmse': found.rmse['forces'],
        'stress_rmse': found.rmse['stress'],
        'score': found.error + COST_EXPONENT * float(np.log(cost)),
        'chosen': False,
    }


def _flat(rungs: list[Rung]) -> bool:
    """Return whether the last rungs were all worse than one before them."""
    scores = [rung['score'] for rung in rungs]
    return len(scores) - 1 - int(np.argmin(scores)) >= MAX_RUNGS_WITHOUT_GAIN


def _describe(rung: Rung) -> str:
    parts = [f'{rung["number_of_functions"]} functions per element']
    for error, name, unit in (
        (rung['energy_rmse'], 'energy', 'meV/atom'),
        (rung['force_rmse'], 'forces', 'meV/Å'),
    ):
        if error is not None:
            parts.append(f'{name} {1e3 * error:.3g} {unit}')
    return ', '.join([*parts, f'{rung["cost_us"]:.0f} µs/atom/step'])


# --- validation ---------------------------------------------------------------------------------------------------


@dataclass
class Validation:
    """`error`: mean logarithm of the errors of what was left out (see :func:`~.weights.objective`); `rmse`: quantity ->
    root mean square error (eV/atom, eV/Å, eV/Å³), None without labels."""

    hyper: Hyperparameters
    error: float
    rmse: dict[str, float | None]


def tune(sums: Sums, degree: np.ndarray, former: Validation | None, processes: int) -> Validation:
    """Return the cross-validation with a ridge and weights that suit: a rung needs no better.

    :param former: that of the rung below, from which the search starts.
    """
    problem = Problem(sums, degree, processes)
    best = validate(problem, _balance(problem, former) if former else Hyperparameters())
    if not former:  # the weights that the search starts with are a guess
        best = min(best, validate(problem, _balance(problem, best)), key=lambda found: found.error)
    for factor in (1 / RIDGE_STEP, RIDGE_STEP):
        before = best
        for _ in range(RIDGE_STEPS):
            ridge = float(np.clip(best.hyper.ridge * factor, *(10.0**bound for bound in RIDGE_BOUNDS)))
            tried = validate(problem, replace(best.hyper, ridge=ridge))
            if tried.error >= best.error:
                break
            best = tried
        if best is not before:
            break
    return best


def _balance(problem: Problem, found: Validation) -> Hyperparameters:
    noise = {name: (value, problem.totals[name].count) for name, value in found.rmse.items() if value is not None}
    return balanced(found.hyper, ['energy_weight', 'stress_weight'], noise)


def validate(problem: Problem, hyper: Hyperparameters) -> Validation:
    """Fit without each fold and predict it; the fit itself where there is only one."""
    squares, labels = problem.errors(hyper)
    shares = sum(share for name, share in SHARES.items() if labels[name].any())
    rmse = {
        name: float(np.sqrt(found.sum() / labels[name].sum())) if labels[name].any() else None
        for name, found in squares.items()
    }
    return Validation(hyper, objective(squares, labels) / shares, rmse)


# --- sample and cutoffs -------------------------------------------------------------------------------------------


def sample(frames: Sequence[Atoms], targets: Sequence[Target], max_atoms: int) -> list[int]:
    """Return the indices of about `max_atoms` atoms worth of configurations, evenly from all folds."""
    order = sorted(range(len(frames)), key=lambda index: (targets[index].fold, index))
    n_atoms = np.array([len(frames[index]) for index in order])
    begins = np.cumsum(n_atoms) - n_atoms
    step = max(1.0, n_atoms.sum() / max_atoms)
    # the first configuration of every interval of `step` mean sizes
    _, first = np.unique(begins // (step * n_atoms.mean()), return_index=True)
    return sorted(order[place] for place in first)


def candidate_cutoffs(frames: Sequence[Atoms]) -> list[float]:
    """Return cutoffs (Å, rounded to 0.1) that hold the numbers of neighbours `NEIGHBOURS` of the median atom."""
    distances = []
    for atoms in _some(frames):
        centres, found = neighbour_pairs('id', atoms, FARTHEST)
        order = np.lexsort((found, centres))
        begins = np.searchsorted(centres[order], np.arange(len(atoms) + 1))
        for begin, end in pairwise(begins):
            shells = np.full(NEIGHBOURS[-1], np.inf)
            nearest = found[order[begin:end]][: NEIGHBOURS[-1]]
            shells[: len(nearest)] = nearest
            distances.append(shells)
    medians = np.median(distances, axis=0)
    cutoffs = {round(float(medians[number - 1]), 1) for number in NEIGHBOURS if np.isfinite(medians[number - 1])}
    return sorted(cutoffs) or [FALLBACK]


def mean_neighbours(frames: Sequence[Atoms], cutoff: float) -> float:
    """Return the mean number of neighbours of an atom within a cutoff (Å)."""
    some = _some(frames)
    return sum(len(neighbour_pairs('i', atoms, cutoff)) for atoms in some) / sum(map(len, some))


def _some(frames: Sequence[Atoms], number: int = 12) -> list[Atoms]:
    """Return a few frames from all over the list."""
    return [frames[index] for index in np.unique(np.linspace(0, len(frames) - 1, number).astype(int))]


# --- cost ---------------------------------------------------------------------------------------------------------


def cost_features(functions: Sequence[Any], n_neighbours: float) -> np.ndarray:
    """Return what the cost per atom is linear in: neighbours; neighbours times products of radial and spherical
    functions; products in the functions. The mean over the elements.

    :param functions: of the basis, see :func:`~..ace.basis.columns`.
    """
    products, work = [], []
    for element in {f.mu0 for f in functions}:
        mine = [f for f in functions if f.mu0 == element]
        more = [f for f in mine if f.rank > 1]
        n_max, l_max = max((max(f.ns) for f in more), default=0), max((max(f.ls) for f in more), default=0)
        products.append(n_max * (l_max + 1) * (l_max + 2) / 2)
        # functions that differ in their couplings only are one function in a simulation
        merged = {(tuple(f.mus), tuple(f.ns), tuple(f.ls)): f.num_ms_combs * f.rank for f in more}
        work.append(len(mine) - len(more) + sum(merged.values()))
    return np.array([n_neighbours, n_neighbours * np.mean(products), np.mean(work)])


def cost_model(functions: Sequence[Any], n_neighbours: float) -> float:
    """Return the cost (µs per atom and step) of a basis on the core that `COST` was measured on."""
    return float(np.dot(COST, cost_features(functions, n_neighbours)))


def measure_cost(basis: Any, atoms: Atoms, repeats: int = 5) -> float:
    """Return the processor time (µs per atom) of energy and forces by python-ace's evaluator for simulations, on one
    core: the fastest of some repeats."""
    import_pyace()
    from pyace import ACECalculator, ACECTildeEvaluator
    from pyace.atomicenvironment import aseatoms_to_atomicenvironment

    environment = aseatoms_to_atomicenvironment(
        atoms, cutoff=basis.cutoffmax, elements_mapper_dict=basis.elements_to_index_map
    )
    # python-ace does not keep what it is given alive: each needs a name
    simulated = basis.to_ACECTildeBasisSet()
    evaluator = ACECTildeEvaluator(simulated)
    calculator = ACECalculator(evaluator)
    times = []
    for _ in range(repeats):
        start = process_time()
        calculator.compute(environment)
        times.append(process_time() - start)
    return 1e6 * min(times) / len(atoms)


# --- learning curve -----------------------------------------------------------------------------------------------


def learning_curve(
    sums: Sums, degree: np.ndarray, hyperparameters: dict[str, float], n_configurations: int
) -> list[LabelErrors]:
    """Return the error against the number of configurations, from normal equations that are there anyway.

    With K folds, k of them (k = 1 to K - 1) are fitted and the others predicted, for every cyclic choice.

    :param degree: see :func:`~.weights.degrees`.
    :param hyperparameters: those of the fit.
    """
    hyper = Hyperparameters(**{name: hyperparameters[name] for name in asdict(Hyperparameters())})
    n_folds = len(sums.members)
    problem = Problem(sums, degree, 1)
    curve: list[LabelErrors] = []
    for size in range(1, n_folds):
        squares = {name: [0.0, 0.0] for name in sums.moments}
        for shift in range(n_folds):
            fitted = [(shift + step) % n_folds for step in range(n_folds)]
            coefficients = problem.fit(hyper, fitted[:size])
            for name, folds in sums.moments.items():
                for fold in fitted[size:]:
                    squares[name][0] += folds[fold].squares(coefficients)
                    squares[name][1] += folds[fold].weight
        rmse = {
            name: float(np.sqrt(total / weight)) if weight > 0 else None for name, (total, weight) in squares.items()
        }
        curve.append(
            {
                'n_configurations': round(n_configurations * size / n_folds),
                'energy_rmse': rmse['energy'],
                'force_rmse': rmse['forces'],
                'stress_rmse': rmse['stress'],
            }
        )
    return curve
