"""Linear fit, its nonlinear refinement, and pacemaker from scratch at the same processor time.

Every set of `trainer_data.py`: the linear fit of some configurations, the refinement of it, and pacemaker with
tensorpotential (two densities, BFGS, kappa 0.3) from scratch with the same functions and configurations. Errors on the
held-out trajectories; cost of energy and forces by python-ace's evaluator for simulations. Processor time, because wall
times depend on what else the machine does; it counts from the first iteration for pacemaker, and all of it, with the
start of TensorFlow, for the refinement.

Run as `python tests/benchmarks/bench_nonlinear.py DIRECTORY [--quick] [--seconds S] [--functions N]
[--configurations M] [SET]...` in an environment with tensorpotential. DIRECTORY holds the data sets.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_trainer
import numpy as np
from ase import Atoms
from trainer_data import DATA_SETS, load

from aiida_pyacemaker.atomistics.ace.basis import build_basis, import_pyace
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.baselines import Baseline, baseline_from_data
from aiida_pyacemaker.atomistics.fitting import nonlinear
from aiida_pyacemaker.atomistics.fitting.equations import Solution, Target, solve
from aiida_pyacemaker.atomistics.fitting.ladder import measure_cost
from aiida_pyacemaker.atomistics.fitting.references import reference_energies
from aiida_pyacemaker.atomistics.fitting.targets import make_targets
from aiida_pyacemaker.atomistics.fitting.training_set import read_frames

CUTOFF = 6.0
#: Held-out configurations at most.
HELD_OUT = 60


@dataclass
class Fit:
    """A data set, made ready, and its linear fit."""

    elements: list[str]
    frames: list[Atoms]
    targets: list[Target]
    held_out: tuple[list[Atoms], list[Target]]
    baseline: Baseline
    references: dict[str, float]
    basis: Any
    solution: Solution
    seconds: float


def fit_linear(directory: Path, name: str, configurations: int, functions: int, work: Path) -> Fit:
    """Fit some configurations of a set, chosen at random with seed 0."""
    frames, test = load(directory, name)
    chosen = sorted(np.random.default_rng(0).permutation(len(frames))[:configurations])
    frames = [frames[k] for k in chosen]
    test = test[:: max(1, round(len(test) / HELD_OUT))]
    elements = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    start = time.process_time()
    references, _ = reference_energies(frames, elements, None)
    baseline = baseline_from_data('zbl', elements, frames)
    targets, test_targets = (
        make_targets(read_frames(group), references, [baseline.evaluate(atoms) for atoms in group])
        for group in (frames, test)
    )
    basis = build_basis(elements, CUTOFF, functions, baseline.inner_cutoffs())
    store = RowStore(work / 'rows', DesignMatrix(basis))
    store.fill(frames, 1, str)
    solution = solve(store, frames, targets, {}, 1, str)
    basis.basis_coeffs = solution.coefficients
    seconds = time.process_time() - start
    return Fit(elements, frames, targets, (test, test_targets), baseline, references, basis, solution, seconds)


def row(fit: Fit, name: str, method: str, basis: Any, seconds: float, remark: str = '', **shift: Any) -> dict[str, Any]:
    """One line of the table."""
    errors = nonlinear.errors_of(basis, fit.held_out[0], shift.get('targets', fit.held_out[1]))
    cost = measure_cost(basis, max(fit.held_out[0], key=len))
    return {'set': name, 'method': method, **errors, 'cost_us': cost, 'cpu_s': seconds, 'remark': remark}


def pacemaker(fit: Fit, name: str, functions: int, seconds: float, work: Path, python: str) -> dict[str, Any]:
    """Pacemaker from scratch with our functions; it has references of its own and no baseline."""
    work.mkdir()
    inner = fit.baseline.inner_cutoffs()
    build_basis(fit.elements, CUTOFF, functions, inner, mode='nonlinear').save(str(work / 'start.yaml'))
    found = bench_trainer.fit_tensorpot(
        fit.frames, fit.elements, work, CUTOFF, functions, seconds, python, start='start.yaml'
    )
    basis = import_pyace().ACEBBasisSet(str(work / 'interim_potential_0.yaml'))
    zero = baseline_without_core(fit)
    targets = make_targets(read_frames(fit.held_out[0]), found['references'], zero)
    return row(fit, name, 'pacemaker', basis, found['cpu_s'], targets=targets)


def baseline_without_core(fit: Fit) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """No baseline: zeros for every held-out configuration."""
    return [(0.0, np.zeros((len(atoms), 3)), np.zeros(6)) for atoms in fit.held_out[0]]


def refined(fit: Fit, name: str, seconds: float, work: Path, processes: int) -> dict[str, Any]:
    """Our refinement; its outcome whether or not it is kept."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    options = nonlinear.RefinementOptions(max_seconds=seconds, max_iterations=5000, processes=processes)
    found = nonlinear.refine(
        fit.basis, fit.frames, fit.targets, fit.solution, options, work, held_out=fit.held_out, report=str
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    basis = import_pyace().ACEBBasisSet(str(work / 'refined.yaml'))
    remark = f'{found.metrics["iterations"]} iterations, {"kept" if found.kept else "not kept"}'
    return row(fit, name, 'refined', basis, used, remark)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path)
    parser.add_argument('sets', nargs='*', default=list(DATA_SETS))
    parser.add_argument('--quick', action='store_true', help='copper only, 40 configurations, 40 functions, 60 s')
    parser.add_argument('--seconds', type=float, default=600.0, help='wall time of each refinement')
    parser.add_argument('--functions', type=int, default=80, help='per element')
    parser.add_argument('--configurations', type=int, default=100)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--no-pacemaker', action='store_true')
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sets, arguments.seconds = ['cu'], 60.0
        arguments.functions, arguments.configurations = 40, 40
    python = nonlinear.check_nonlinear()[0]
    rows = []
    print('set     method     meV/atom    meV/Å  meV/Å³  µs/atom/step    CPU s')
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            fit = fit_linear(arguments.directory, name, arguments.configurations, arguments.functions, work)
            new = [row(fit, name, 'linear', fit.basis, fit.seconds)]
            show(new[-1])
            new.append(refined(fit, name, arguments.seconds, work / 'refinement', arguments.processes))
            show(new[-1])
            if not arguments.no_pacemaker:
                new.append(pacemaker(fit, name, arguments.functions, new[-1]['cpu_s'], work / 'pacemaker', python))
                show(new[-1])
            rows += new
    (arguments.directory / 'bench_nonlinear.json').write_text(json.dumps(rows, indent=1))


def show(found: dict[str, Any]) -> None:
    """Print a line of the table."""
    print(
        f'{found["set"]:7} {found["method"]:9} {1000 * found["energy"]:9.3f} {1000 * found["forces"]:8.1f} '
        f'{1000 * found["stress"]:7.3f} {found["cost_us"]:13.1f} {found["cpu_s"]:8.0f}  {found["remark"]}',
        flush=True,
    )


if __name__ == '__main__':
    main()
