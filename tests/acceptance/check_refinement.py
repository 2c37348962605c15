"""Run refinements of a small copper-gold fit and write what was seen (`found.json`) to a directory: see
`test_nonlinear.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.ace.basis import build_basis, import_pyace
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.ace.store import RowStore
from aiida_pyacemaker.atomistics.baselines import baseline_from_data
from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.fitting import nonlinear, tensorpot
from aiida_pyacemaker.atomistics.fitting.equations import Target, solve
from aiida_pyacemaker.atomistics.fitting.targets import make_targets
from aiida_pyacemaker.atomistics.fitting.training_set import read_frames

ELEMENTS = ['Au', 'Cu']
OPTIONS = {'max_seconds': 600.0, 'max_iterations': 60, 'processes': 2}


def make_frames(number: int, seed: int) -> list[Atoms]:
    """Strained, rattled copper-gold, labelled by effective medium theory."""
    rng, frames = np.random.default_rng(seed), []
    for k in range(number):
        share = rng.uniform()
        atoms = bulk('Cu', a=3.61 * (1 - share) + 4.06 * share, cubic=True) * (2, 1, 1)
        atoms.symbols = rng.choice(ELEMENTS, len(atoms), p=[share, 1 - share])
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
        atoms.rattle(rng.choice([0.05, 0.1, 0.2]), seed=seed + k)
        atoms.calc = EMT()
        frames.append(set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    return frames


class Case:
    """A linear fit, and refinements of it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.frames, self.test = make_frames(60, 100), make_frames(15, 1000)
        baseline = baseline_from_data('zbl', ELEMENTS, self.frames)
        self.targets, self.test_targets = (
            make_targets(
                read_frames(group), dict.fromkeys(ELEMENTS, 0.0), [baseline.evaluate(atoms) for atoms in group]
            )
            for group in (self.frames, self.test)
        )
        # one label that is wrong and one that is not a number, both without weight
        mask = np.ones(len(self.frames[0]))
        mask[:2] = 0
        self.targets[0] = replace(self.targets[0], forces=self.targets[0].forces.copy(), force_weights=mask)
        self.basis = build_basis(ELEMENTS, 4.5, 15, baseline.inner_cutoffs())
        store = RowStore(directory / 'rows', DesignMatrix(self.basis))
        store.fill(self.frames, 1, print)
        self.solution = solve(store, self.frames, self.targets, {}, 1)
        self.basis.basis_coeffs = self.solution.coefficients
        self.core = [(Atoms('AuCu', [[0, 0, 0], [0, 0, 1.7]], cell=[50.0] * 3), 0.01)]

    def refine(self, name: str, options: dict | None = None, targets: list[Target] | None = None, **more: Any) -> Any:
        lines: list[str] = []
        found = nonlinear.refine(
            self.basis, self.frames, targets or self.targets, self.solution,
            nonlinear.RefinementOptions(**{**OPTIONS, **(options or {})}), self.directory / name,
            held_out=(self.test, self.test_targets), core=self.core, report=lines.append, **more,
        )  # fmt: skip
        print(name, *lines, sep='\n  ', flush=True)
        return found, lines

    def result(self, name: str) -> dict[str, Any]:
        return json.loads((self.directory / name / 'result.json').read_text())

    def kill(self, name: str) -> int:
        """Start the optimiser on the problem of `name` anew, kill it at its first checkpoint; return its iteration."""
        folder = self.directory / name
        (folder / 'checkpoint.npz').unlink()
        process = subprocess.Popen([*nonlinear.check_nonlinear(), str(folder)], stdout=subprocess.DEVNULL)
        while process.poll() is None and not (folder / 'checkpoint.npz').exists():
            time.sleep(0.05)
        process.kill()
        process.wait()
        with np.load(folder / 'checkpoint.npz', allow_pickle=False) as data:
            return json.loads(str(data['state']))['iteration']


def compare_derivatives(case: Case) -> dict[str, Any]:
    """Predictions of tensorpotential against python-ace, and the gradient against differences."""
    wide = nonlinear.widen(case.basis, case.frames)
    rng = np.random.default_rng(0)
    coefficients = np.array(wide.all_coeffs)
    coefficients += rng.normal(0, 0.02, len(coefficients)) * np.abs(coefficients).clip(0.05)
    wide.all_coeffs = coefficients
    calculator, targets = import_pyace().PyACECalculator(wide), []
    for atoms in case.frames[:4]:
        calculator.calculate(atoms.copy())
        found = calculator.results
        targets.append(Target(found['energy'], found['forces'], found['stress']))
    problem = nonlinear.build_problem(4.5, case.frames[:4], targets, case.solution, np.array([1]), [])
    batches = {part: tensorpot.read_batches(problem, part, 20) for part in (0, 1, 2)}
    loss = tensorpot.Loss(wide, batches)
    errors = loss.errors(coefficients, tensorpot.FIT)
    shifted = coefficients + rng.normal(0, 1e-2, len(coefficients))
    _, gradient = loss(shifted, (0, 1))
    direction = rng.normal(size=len(coefficients))
    step = 1e-5
    ends = [loss(shifted + sign * step * direction, (0, 1))[0] for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    return {'against_python_ace': errors, 'gradient': abs(slope / (gradient @ direction) - 1)}


def compare_export(basis: Any, frames: list[Atoms], directory: Path) -> float:
    """Largest difference between the forces of the basis and of the file for LAMMPS."""
    pyace = import_pyace()
    basis.to_ACECTildeBasisSet().save_yaml(str(directory / 'potential.yace'))
    worst = 0.0
    one, other = pyace.PyACECalculator(basis), pyace.PyACECalculator(str(directory / 'potential.yace'))
    for atoms in frames[:3]:
        one.calculate(atoms.copy())
        other.calculate(atoms.copy())
        worst = max(worst, float(np.abs(one.results['forces'] - other.results['forces']).max()))
    return worst


def main(directory: Path) -> None:
    """Do everything."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    case = Case(directory)
    found: dict[str, Any] = compare_derivatives(case)
    refined, _ = case.refine('first')
    found['refined'] = {'kept': refined.kept, 'why': refined.why, 'metrics': refined.metrics}
    found['exported'] = compare_export(refined.basis, case.test, directory)
    bytes_of_first = (directory / 'first' / 'refined.yaml').read_bytes()
    garbage = case.targets[0].forces.copy()
    garbage[:2] = np.nan
    masked = [replace(case.targets[0], forces=garbage), *case.targets[1:]]
    case.refine('masked', targets=masked)
    found['masked_same_bytes'] = (directory / 'masked' / 'refined.yaml').read_bytes() == bytes_of_first
    found['same_bytes'] = found['masked_same_bytes']
    found['killed_at'] = case.kill('masked')
    _, found['killed'] = case.refine('again', former=directory / 'masked')
    found['resumed_iterations'] = case.result('again')['iteration']
    dear, found['other_problem'] = case.refine(
        'dear', {'max_cost': 0.01, 'max_iterations': 10}, former=directory / 'masked'
    )
    found['dear'] = {'kept': dear.kept, 'why': dear.why}
    case.refine('parent', {'max_iterations': 10}, parent=refined.basis)
    found['start_without_parent'] = case.result('first')['start']['forces']
    found['start_with_parent'] = case.result('parent')['start']['forces']
    (directory / 'found.json').write_text(json.dumps(found, indent=2))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
