"""Which radial functions, which order of the functions and which size pay: the tables of the explanation of the fit.

Run as `python tests/benchmarks/bench_ladder.py DIRECTORY [--part radial|order|cost|held_out] [--sets cu si ...]`, where
DIRECTORY holds the data sets of `trainer_data.py`; with `--quick` on a tenth of the data. All four parts and sets take
20 minutes on two cores. The part cost runs `lmp`, with the package ML-PACE.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data
from scipy.optimize import nnls
from tabulate import tabulate

from aiida_pyacemaker.atomistics.ace.basis import Order, Radial, build_basis, columns, default_order
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.baselines import baseline_from_data
from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.fitting import ladder
from aiida_pyacemaker.atomistics.fitting.equations import Target, accumulate
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.references import reference_energies
from aiida_pyacemaker.atomistics.fitting.targets import make_targets
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.fitting.training_set import read_frames
from aiida_pyacemaker.atomistics.fitting.weights import degrees

CUTOFFS = {'cu': 5.7, 'si': 5.4, 'nacl': 6.0, 'cuagau': 5.1}
SIZES = (60, 120, 240)
#: Functions per element in the comparison of kinds.
NUMBER = 120
RADIALS = (Radial(), Radial('ChebExpCos', 5.25), Radial('ChebExpCos', 2.0), Radial('ChebPow', 2.0))


class Data:
    """A data set, ready to be fitted: about `max_atoms` atoms from all its trajectories."""

    def __init__(self, directory: Path, name: str, max_atoms: int):
        frames = load_configurations(directory / f'{name}_train.npz')
        self.name, self.cutoff = name, CUTOFFS[name]
        self.elements = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
        baseline = baseline_from_data('zbl', self.elements, frames)
        references, _ = reference_energies(frames, self.elements, None, None)
        targets = make_targets(read_frames(frames), references, [baseline.evaluate(atoms) for atoms in frames])
        members = ladder.sample(frames, targets, max_atoms)
        self.frames: list[Atoms] = [frames[index] for index in members]
        self.targets: list[Target] = [targets[index] for index in members]
        self.inner = baseline.inner_cutoffs()

    def build(self, number: int, radial: Radial | None = None, order: Order | None = None) -> Any:
        return build_basis(self.elements, self.cutoff, number, self.inner, radial=radial, order=order)

    def validate(self, basis: Any) -> ladder.Validation:
        store = ladder._RowsOnDemand(DesignMatrix(basis))
        return ladder.tune(accumulate(store, self.frames, self.targets), degrees(basis), None, 2)


def compare(data: Data, variants: dict[str, Callable[[int], Any]]) -> list[list[Any]]:
    """Cross-validated errors and modelled cost of some bases of one size."""
    rows = []
    neighbours = ladder.mean_neighbours(data.frames, data.cutoff)
    for label, build in variants.items():
        basis = build(NUMBER)
        found = data.validate(basis)
        cost = ladder.cost_model(columns(basis), neighbours)
        errors = [1e3 * found.rmse['energy'], 1e3 * found.rmse['forces']]
        rows.append([data.name, label, *errors, cost, found.error + ladder.COST_EXPONENT * np.log(cost)])
    return rows


def radial(data: Data) -> list[list[Any]]:
    variants = {
        f'{each.kind} {each.parameter if each.kind != "SBessel" else ""}': (
            lambda number, each=each: data.build(number, radial=each)
        )
        for each in RADIALS
    }
    return compare(data, variants)


def order(data: Data) -> list[list[Any]]:
    default = default_order(len(data.elements))
    orders = [Order(factor, default.angular) for factor in (0.0, 1.0, 2.0, 3.0)]
    orders += [Order(default.factor, angular) for angular in (1.0, 2.0)]
    variants = {
        f'factor {each.factor:g}, angular {each.angular:g}': (lambda number, each=each: data.build(number, order=each))
        for each in orders
    }
    return compare(data, variants)


def cost(sets: list[Data], quick: bool) -> None:
    """Measure python-ace's evaluator for simulations and fit the cost model to it."""
    features, measured = [], []
    for data in sets:
        frame = max(data.frames, key=len)
        neighbours = ladder.mean_neighbours([frame], data.cutoff)
        for number, factor in itertools.product(SIZES[:1] if quick else SIZES, (0.0, 1.0, 2.0)):
            basis = data.build(number, order=Order(factor, default_order(1).angular))
            basis.basis_coeffs = np.random.default_rng(0).normal(size=len(basis.basis_coeffs))
            features.append(ladder.cost_features(columns(basis), neighbours))
            measured.append(ladder.measure_cost(basis, frame))
    relative = np.array(features) / np.array(measured)[:, None]
    constants, _ = nnls(relative, np.ones(len(measured)))
    print(f'COST = {tuple(float(f"{value:.3g}") for value in constants)}')
    print(f'relative deviation (rms) {np.std(relative @ constants):.3f}, of {len(measured)} bases')


def lammps_cost(basis: Any, atoms: Atoms, steps: int = 40) -> float:
    """Processor time (µs per atom and step) of a simulation with `pair_style pace` on one core."""
    elements = list(basis.elements_name)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        basis.to_ACECTildeBasisSet().save_yaml(str(directory / 'potential.yace'))
        write_lammps_data(directory / 'structure.data', atoms, specorder=elements, masses=True)
        spent = []
        for number in (0, steps):
            (directory / 'in.lammps').write_text(
                'units metal\natom_style atomic\nboundary p p p\nread_data structure.data\npair_style pace product\n'
                f'pair_coeff * * potential.yace {" ".join(elements)}\nvelocity all create 300 1\nfix 1 all nve\n'
                f'run {number}\n'
            )
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            subprocess.run(['lmp', '-in', 'in.lammps', '-screen', 'none'], cwd=directory, check=True)
            spent.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return 1e6 * (spent[1] - spent[0]) / steps / len(atoms)


def lammps(data: Data, quick: bool) -> list[list[Any]]:
    """Cost in LAMMPS, by python-ace in Python, and by the model."""
    atoms = bulk('Cu', cubic=True).repeat(3 if quick else 5)
    atoms.rattle(0.05, seed=0)
    rows = []
    for number in SIZES:
        basis = data.build(number)
        basis.basis_coeffs = 1e-5 * np.random.default_rng(0).normal(size=len(basis.basis_coeffs))
        model = ladder.cost_model(columns(basis), ladder.mean_neighbours([atoms], data.cutoff))
        rows.append([number, lammps_cost(basis, atoms), ladder.measure_cost(basis, atoms), model])
    return rows


def held_out(directory: Path, name: str, quick: bool) -> list[list[Any]]:
    """Errors on whole trajectories never seen, with nothing set and with 150 functions within 6 Å."""
    frames, test = (load_configurations(directory / f'{name}_{part}.npz') for part in ('train', 'held_out'))
    elements = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    if quick:
        frames, test = frames[::10], test[::10]
    rows = []
    for label, given in (('nothing set', {}), ('as before', {'cutoff': 6.0, 'number_of_functions': 150})):
        start = perf_counter()
        with tempfile.TemporaryDirectory() as target:
            results = train(frames, FitJob(elements=elements, **given), target, test=test, report=lambda _: None)
        chosen = results['chosen']['basis']
        rmse = [1e3 * results['test'][key]['rmse'] for key in ('energy', 'forces')]
        size = [chosen['cutoff'], chosen['order']['factor'], chosen['number_of_functions']]
        rows.append([name, label, *size, *rmse, perf_counter() - start])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('directory', type=Path)
    parser.add_argument('--part', nargs='*', default=['radial', 'order', 'cost', 'held_out'])
    parser.add_argument('--sets', nargs='*', default=list(CUTOFFS))
    parser.add_argument('--atoms', type=int, default=3000, help='size of the sample')
    parser.add_argument('--quick', action='store_true')
    arguments = parser.parse_args()
    parts = set(arguments.part) - {'held_out'}
    sets = [
        Data(arguments.directory, name, 500 if arguments.quick else arguments.atoms) for name in arguments.sets if parts
    ]
    names = ['set', 'basis', 'meV/atom', 'meV/Å', 'µs/atom', 'score']
    for part, table in (('radial', radial), ('order', order)):
        if part in arguments.part:
            for data in sets:
                print(tabulate(table(data), names, floatfmt='.3g'), flush=True)
    if 'cost' in arguments.part:
        cost(sets, arguments.quick)
        for data in sets:
            if data.name == 'cu':
                print(
                    tabulate(lammps(data, arguments.quick), ['functions', 'LAMMPS', 'Python', 'model'], floatfmt='.0f')
                )
    if 'held_out' in arguments.part:
        names = ['set', 'given', 'cutoff', 'factor', 'functions', 'meV/atom', 'meV/Å', 's']
        for name in arguments.sets:
            print(tabulate(held_out(arguments.directory, name, arguments.quick), names, floatfmt='.3g'), flush=True)


if __name__ == '__main__':
    main()
