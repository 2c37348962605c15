"""The nonlinear refinement of a linear fit: two densities in a Finnis-Sinclair embedding, and free radial functions.

The energy of an atom is rho_1 + F(rho_2), where F is a shifted square root and both densities are expansions in the
functions of the linear basis (Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021)). The start is the linear solution
for rho_1 and a pair sum for rho_2. Everything is optimised by :mod:`.tensorpot` in a process of its own. The outcome is
kept only if it beats the linear potential on data that neither was fitted to, within the cost that is allowed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..ace.basis import functions_per_element, import_pyace
from ..ace.rows import DesignMatrix
from ..core.errors import MissingEngineError
from ..core.neighbours import neighbour_pairs
from .equations import Solution, Target, weigh
from .ladder import measure_cost
from .tensorpot import CORE, FIT, VALIDATE, describe, score
from .weights import Hyperparameters, degrees, penalties

REMEDY = 'install the extra aiida-pyacemaker[nonlinear], or use train.mode: linear'
#: Embedding of each element: prefactor and exponent of each density.
EMBEDDING = [1.0, 1.0, 1.0, 0.5]
#: Mean of the second density at the start: minus the sum of a short-ranged pair function over the neighbours, as in the
#: potential of Finnis and Sinclair. With 0 the fit could never make it differ from the first one.
SECOND_DENSITY_START = -1.0
#: What the sum of the logarithms of the errors must gain.
MIN_GAIN = 0.05
#: How much worse than the linear one the refined potential may be in any single quantity.
MAX_ERROR_RATIO = 1.1
#: Differences between python-ace, which interpolates its radial functions, and tensorpotential (eV/atom, eV/Å).
MAX_DIFFERENCE = 1e-4
FILES = ('problem.npz', 'start.yaml', 'parent.yaml', 'options.json', 'interim.yaml', 'refined.yaml', 'result.json')


@dataclass(frozen=True)
class RefinementOptions:
    """Time of the whole refinement (s, about), iterations at most, largest cost (µs/atom/step on one core; None: no
    limit), seed, and threads."""

    max_seconds: float = 1800.0
    max_iterations: int = 500
    max_cost: float | None = None
    seed: int = 0
    processes: int = 2


@dataclass
class Refinement:
    """`basis` is the refined one if it was `kept`, else the linear one; `why` says so to people.

    `metrics`: errors of both (`linear`, `refined`) on the data that decided (`decided_on`: held_out or validation),
    `cost_us` of both (µs/atom/step of the evaluator on one core), `iterations`, `evaluations`, `seconds`, `stopped`.
    """

    kept: bool
    basis: Any
    why: str
    metrics: dict[str, Any]


def check_nonlinear() -> list[str]:
    """Return the command that refines, in this very Python.

    :raises MissingEngineError: if python-ace or tensorpotential is missing.
    """
    import_pyace()
    for package in ('tensorpotential', 'tensorflow'):
        if importlib.util.find_spec(package) is None:
            raise MissingEngineError(f'train.mode: nonlinear needs {package}, which is not installed: {REMEDY}')
    return [sys.executable, '-m', 'aiida_pyacemaker.atomistics.fitting.tensorpot']


def refine(
    basis: Any,
    frames: Sequence[Atoms],
    targets: Sequence[Target],
    solution: Solution,
    options: RefinementOptions,
    directory: Path,
    held_out: tuple[Sequence[Atoms], Sequence[Target]] | None = None,
    core: Sequence[tuple[Atoms, float]] = (),
    parent: Any = None,
    former: Path | None = None,
    report: Callable[[str], None] = print,
) -> Refinement:
    """Refine a linear fit, and decide whether to keep the result.

    One fold of the cross-validation says when to stop; the start is the linear solution without that fold. At the end
    some iterations are done with all data.

    :param basis: `pyace.ACEBBasisSet` with the coefficients of `solution`.
    :param directory: for the files of the refinement; one of a killed refinement of the same problem is continued.
    :param held_out: configurations that decide; else the fold that was left out does.
    :param core: configurations on which ACE is asked to be quiet, with their weights; the same as in the linear fit.
    :param parent: basis of a former refinement: if it has the same functions and fits better, that is the start.
    :param former: directory of a killed refinement, whose checkpoint is taken over.
    :raises RuntimeError: if the optimisation fails, or its outcome is not what python-ace makes of it.
    """
    command = check_nonlinear()
    if not solution.folds:
        return Refinement(False, basis, 'not refined: there is nothing to validate on', {})
    fold = solution.folds[int(np.random.default_rng(options.seed).integers(len(solution.folds)))]
    left_out = with_coefficients(basis, fold.coefficients)
    problem = build_problem(basis.cutoffmax, frames, targets, solution, fold.members, core)
    problem['factor'] = fold.factor
    problem['ridge'] = ridge(basis, solution)
    start = widen(left_out, frames)
    _write_problem(directory, problem, start, parent if parent is not None and _same(parent, start) else None, options)
    _take_checkpoint(directory, former)
    report(f'refinement with tensorpotential, {describe(errors_of(left_out, *_members(frames, targets, fold)))}')
    result = run_optimiser(command, directory, report)
    refined = import_pyace().ACEBBasisSet(str(directory / 'refined.yaml'))
    check_outcome(refined, result, *_members(frames, targets, fold))
    if held_out is not None and len(held_out[0]):
        linear_errors, errors = errors_of(basis, *held_out), errors_of(refined, *held_out)
    else:
        linear_errors, errors = errors_of(left_out, *_members(frames, targets, fold)), result['validation']
    potentials = {'linear': basis, 'refined': refined}
    metrics = {
        'linear': linear_errors,
        'refined': errors,
        'decided_on': 'held_out' if held_out is not None and len(held_out[0]) else 'validation',
        'cost_us': {name: measure_cost(one, max(frames, key=len)) for name, one in potentials.items()},
        'iterations': result['iteration'],
        **{key: result[key] for key in ('evaluations', 'best_iteration', 'seconds', 'stopped', 'devices')},
    }
    kept, why = decide(metrics, options.max_cost)
    report(why)
    return Refinement(kept, refined if kept else basis, why, metrics)


def decide(metrics: dict[str, Any], max_cost: float | None) -> tuple[bool, str]:
    """Return whether the refined potential is better, and why in words."""
    linear, refined, dearness = metrics['linear'], metrics['refined'], metrics['cost_us']['refined']
    comparison = f'{describe(refined)} against {describe(linear)} of the linear fit ({metrics["decided_on"]} data)'
    if not all(np.isfinite(list(refined.values()))):
        return False, 'the refinement is not kept: its errors are not finite'
    if max_cost is not None and dearness > max_cost:
        return False, f'the refinement is not kept: it costs {dearness:.3g} µs/atom/step, more than {max_cost:.3g}'
    worse = [key for key in refined if refined[key] > MAX_ERROR_RATIO * linear[key]]
    if worse:
        return False, f'the refinement is not kept, as its {worse[0]} error is larger: {comparison}'
    if score(refined) > score(linear) - MIN_GAIN:
        return False, f'the refinement is not kept, as it gains too little: {comparison}'
    return True, f'the refinement is kept: {comparison}'


# --- the problem --------------------------------------------------------------------------------------------------


def with_coefficients(basis: Any, coefficients: np.ndarray) -> Any:
    """Return a copy of a linear basis with other coefficients."""
    copy = import_pyace().ACEBBasisSet(basis.to_BBasisConfiguration())
    copy.basis_coeffs = coefficients
    return copy


def widen(basis: Any, frames: Sequence[Atoms]) -> Any:
    """Return the basis with a second density under a square root, which starts with :data:`SECOND_DENSITY_START`.

    :param frames: the mean of the second density is taken over up to 20 of them.
    """
    configuration = basis.to_BBasisConfiguration()
    blocks = configuration.funcspecs_blocks
    for block in blocks:
        if block.number_of_species == 1:
            block.ndensityi, block.fs_parameters, block.npoti = 2, EMBEDDING, 'FinnisSinclairShiftedScaled'
        functions = block.funcspecs
        for function in functions:
            function.coeffs = [function.coeffs[0], 0.0]
        block.funcspecs = functions
    configuration.funcspecs_blocks = blocks
    wide = import_pyace().ACEBBasisSet(configuration)
    coefficients = np.array(wide.basis_coeffs)
    coefficients[1::2] = _second_density(basis, frames)
    wide.basis_coeffs = coefficients
    return wide


def _second_density(basis: Any, frames: Sequence[Atoms]) -> np.ndarray:
    """Coefficients of each element's smoothest pair functions: their sum is :data:`SECOND_DENSITY_START` on average."""
    design, sizes = DesignMatrix(basis), functions_per_element(basis)
    sums = {element: np.zeros(size) for element, size in sizes.items()}
    counts = dict.fromkeys(sizes, 0)
    for atoms in list(frames)[:: max(1, len(frames) // 20)]:
        rows = design.rows(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc), forces=False)
        for symbol, projection in zip(atoms.get_chemical_symbols(), rows.projections, strict=True):
            sums[symbol] += projection
            counts[symbol] += 1
    parts = []
    for (element, size), pairs in zip(sizes.items(), basis.basis_rank1, strict=True):
        lowest = min((function.ns[0] for function in pairs), default=0)
        chosen = [k for k, function in enumerate(pairs) if function.ns[0] == lowest]
        mean = sums[element][chosen].sum() / max(counts[element], 1)
        coefficients = np.zeros(size)
        if abs(mean) > 1e-6:
            coefficients[chosen] = SECOND_DENSITY_START / mean
        parts.append(coefficients)
    return np.concatenate(parts)


def ridge(basis: Any, solution: Solution) -> np.ndarray:
    """Return the prior of the linear fit: half of `ridge` times coefficient squared is added to half of chi squared.

    The Hessian of the linear fit is the inverse of the posterior covariance; its diagonal holds the prior as a known
    part, see :mod:`.weights`.
    """
    hyper = Hyperparameters(**solution.hyperparameters)
    used = np.abs(solution.factor).sum(axis=1) > 0
    diagonal = np.zeros(len(used))
    root = np.linalg.inv(solution.factor[np.ix_(used, used)])
    diagonal[used] = (root**2).sum(axis=0)
    part = hyper.ridge * penalties(degrees(basis), hyper.smoothness)
    return diagonal * part / (1 + part)


def build_problem(
    cutoff: float,
    frames: Sequence[Atoms],
    targets: Sequence[Target],
    solution: Solution,
    left_out: np.ndarray,
    core: Sequence[tuple[Atoms, float]],
) -> dict[str, np.ndarray]:
    """Return neighbours, targets and weights of all frames as flat arrays.

    Weights are those of the linear fit in units of the noise: a residual of weight 1 and one standard deviation adds
    1/2 to the loss. What has no label, or is masked, has weight 0.
    """
    weights = Hyperparameters(**solution.hyperparameters).row_weights()
    name = 'forces' if 'forces' in solution.noise else next(iter(solution.noise))
    unit = solution.noise[name] * weights[name]
    parts = np.full(len(frames), FIT)
    parts[np.asarray(left_out, dtype=int)] = VALIDATE
    records = [
        _record(atoms, target, weights, unit, cutoff, part)
        for atoms, target, part in zip(frames, weigh(frames, targets), parts, strict=True)
    ]
    for atoms, weight in core:
        quiet = Target(0.0, np.zeros((len(atoms), 3)), None, weight, np.full(len(atoms), weight))
        records.append(_record(atoms, quiet, dict.fromkeys(weights, 1.0), unit, cutoff, CORE))
    return {key: np.concatenate([record[key] for record in records]) for key in records[0]}


def _record(
    atoms: Atoms, target: Target, weights: dict[str, float], unit: float, cutoff: float, part: int
) -> dict[str, np.ndarray]:
    """Arrays of one frame."""
    first, second, vectors = neighbour_pairs('ijD', atoms, cutoff)
    n = len(atoms)
    energy, forces = (0.0 if target.energy is None else target.energy), np.zeros((n, 3))
    w_forces = np.zeros(n)
    if target.forces is not None:
        forces = np.asarray(target.forces, dtype=float)
        w_forces = np.ones(n) if target.force_weights is None else np.asarray(target.force_weights, dtype=float)
    has_stress = target.stress is not None and bool(atoms.pbc.all())
    return {
        'vectors': vectors.reshape(-1, 3),
        'first': first,
        'second': second,
        'n_pairs': np.array([len(first)]),
        'n_atoms': np.array([n]),
        'numbers': atoms.numbers,
        'part': np.array([part]),
        'volume': np.array([atoms.get_volume() if atoms.pbc.all() else 1.0]),
        'energy': np.array([energy]),
        'forces': np.where(w_forces[:, None] > 0, forces, 0.0),
        'stress': np.array(target.stress if has_stress else np.zeros(6), dtype=float).reshape(1, 6),
        'w_energy': np.array([0.0 if target.energy is None else target.energy_weight * weights['energy'] / unit]),
        'w_forces': w_forces * weights['forces'] / unit,
        'w_stress': np.array([target.stress_weight * weights['stress'] / unit if has_stress else 0.0]),
    }


# --- the optimiser ------------------------------------------------------------------------------------------------


def _write_problem(
    directory: Path, problem: dict[str, np.ndarray], start: Any, parent: Any, options: RefinementOptions
) -> None:
    """Write what the optimiser reads, and remove what a former run left but its checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    start.save(str(directory / 'start.yaml'))
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(problem):
        digest.update(np.ascontiguousarray(problem[name]).tobytes())
    for one in (start, parent):
        digest.update(b'-' if one is None else np.array(one.all_coeffs).tobytes())
    if parent is not None:
        parent.save(str(directory / 'parent.yaml'))
    told = {key: getattr(options, key) for key in ('seed', 'processes', 'max_iterations', 'max_seconds')}
    digest.update(json.dumps(told, sort_keys=True).encode())
    with open(directory / 'problem.npz', 'wb') as handle:
        np.savez(handle, **problem)
    (directory / 'options.json').write_text(json.dumps({**told, 'digest': digest.hexdigest()}))


def _take_checkpoint(directory: Path, former: Path | None) -> None:
    """Copy the checkpoint of a former job; the optimiser looks whether it is one of this problem."""
    found = None if former is None else former / 'checkpoint.npz'
    if found is not None and found.is_file() and not (directory / 'checkpoint.npz').exists():
        shutil.copyfile(found, directory / 'checkpoint.npz')


def run_optimiser(command: list[str], directory: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Run :mod:`.tensorpot` in a directory and return its result.

    :raises RuntimeError: if it fails. Files alone prove nothing: the result must be that of this very problem.
    """
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='3', PYTHONWARNINGS='ignore')
    log = directory / 'refinement.log'
    with (
        open(log, 'w', encoding='utf-8') as errors,
        subprocess.Popen(
            [*command, str(directory)], stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            if line.startswith(('iteration', 'goes on')):
                report(line.strip())
    digest = json.loads((directory / 'options.json').read_text())['digest']
    path = directory / 'result.json'
    result = json.loads(path.read_text()) if path.is_file() else {}
    if process.returncode != 0 or result.get('digest') != digest:
        tail = log.read_text(errors='replace').strip().splitlines()[-1:]
        raise RuntimeError(f'the refinement ended with status {process.returncode}: {" ".join(tail)}')
    return result


def check_outcome(refined: Any, result: dict[str, Any], frames: list[Atoms], targets: list[Target]) -> None:
    """Compare python-ace with what the optimiser says about the potential that it wrote.

    :raises RuntimeError: if they differ, as where one of them does not know a kind of radial function.
    """
    errors = errors_of(refined, frames, targets)
    for key, error in result['all_data'].items():
        if not abs(errors[key] - error) <= MAX_DIFFERENCE + 0.01 * error:
            raise RuntimeError(
                f'python-ace and tensorpotential disagree about the refined potential: {describe(errors)} against '
                f'{describe(result["all_data"])}; please report this'
            )


# --- judging ------------------------------------------------------------------------------------------------------


def errors_of(basis: Any, frames: Sequence[Atoms], targets: Sequence[Target]) -> dict[str, float]:
    """Root mean square errors by python-ace of what counts: eV/atom, eV/Å, eV/Å³."""
    calculator = import_pyace().PyACECalculator(basis)
    found: dict[str, list[np.ndarray]] = {'energy': [], 'forces': [], 'stress': []}
    for atoms, target in zip(frames, targets, strict=True):
        calculator.calculate(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
        if target.energy is not None and target.energy_weight > 0:
            found['energy'].append(np.array([calculator.results['energy'] - target.energy]) / len(atoms))
        if target.forces is not None:
            used = np.ones(len(atoms), dtype=bool) if target.force_weights is None else target.force_weights > 0
            found['forces'].append((calculator.results['forces'] - target.forces)[used].ravel())
        if target.stress is not None and target.stress_weight > 0 and atoms.pbc.all():
            found['stress'].append(calculator.results['stress'] - target.stress)
    joined = {key: np.concatenate(parts) for key, parts in found.items() if parts}
    return {key: float(np.sqrt(np.mean(values**2))) for key, values in joined.items() if values.size}


def _members(frames: Sequence[Atoms], targets: Sequence[Target], fold: Any) -> tuple[list[Atoms], list[Target]]:
    return [frames[k] for k in fold.members], [targets[k] for k in fold.members]


def _same(parent: Any, start: Any) -> bool:
    """Return whether a parent has the functions of the start, in the same order."""

    def functions(basis: Any) -> list[Any]:
        every = [f for one, more in zip(basis.basis_rank1, basis.basis, strict=True) for f in (*one, *more)]
        return [(f.mu0, tuple(f.mus), tuple(f.ns), tuple(f.ls), tuple(f.LS), len(f.coeffs)) for f in every]

    return (
        list(parent.elements_name) == list(start.elements_name)
        and len(parent.all_coeffs) == len(start.all_coeffs)
        and functions(parent) == functions(start)
    )
