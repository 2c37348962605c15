"""What the error bars of a linear potential are worth, on held-out trajectories of the data sets of `trainer_data.py`.

First table, for fits to all and to a few training configurations: errors, part of the force components and of the
energies inside the 95 % band (by thirds of the predicted deviation, and in the worst family), and the rank correlation
of the true force error with the posterior and with gamma. Second table, for those crystals of which the teacher is at
hand: lattice constant and elastic constants, their error bars from the committee, and the true errors.

Run as `python tests/benchmarks/bench_uncertainty.py DIRECTORY [--quick] [--teacher-python P] [--picture FILE]`: the
data sets are made in DIRECTORY if they are not there. P is a Python with this package and sevenn (copper needs none).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from tabulate import tabulate
from trainer_data import DATA_SETS, load

from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.posterior import add_uncertainty, with_error_bars
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.metrics.errors import BAND, error_metrics, force_errors, uncertainty_metrics
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.atomistics.validation.suite import measure

#: Training configurations of the small fits.
FEW = 80
#: A fixed basis, so that the figures do not depend on what the ladder chooses: cutoff (Å), functions for each element.
BASIS = {'cu': (5.5, 200), 'si': (5.5, 200), 'nacl': (6.0, 150), 'cuagau': (5.5, 120)}
PROPERTIES = ('a', 'C11', 'C12', 'C44', 'bulk_modulus')


def crystals(name: str) -> dict[str, Atoms]:
    """Return the crystals of a data set whose properties are known from its teacher."""
    ordered = bulk('Au', 'fcc', a=3.8, cubic=True)
    ordered.symbols[1:] = 'Cu'
    return {
        'cu': {'Cu': bulk('Cu', 'fcc', a=3.6, cubic=True)},
        'si': {'Si': bulk('Si', 'diamond', a=5.45, cubic=True)},
        'nacl': {'NaCl': bulk('NaCl', 'rocksalt', a=5.65, cubic=True)},
        'cuagau': {'Au': bulk('Au', 'fcc', a=4.1, cubic=True), 'Cu3Au': ordered},
    }[name]


def fit(name: str, frames: list[Atoms], folder: Path) -> AcePotential:
    """Fit with the fixed basis and everything else chosen by the trainer."""
    cutoff, number = BASIS[name]
    parameters = {'elements': DATA_SETS[name].elements, 'cutoff': cutoff, 'number_of_functions': number}
    train(frames, FitJob(**parameters), folder, report=lambda message: None)
    return AcePotential(folder)


def judge_bars(potential: AcePotential, held_out: list[Atoms]) -> tuple[list[Any], np.ndarray]:
    """Return the columns of the first table, and the errors with their predicted deviation and gamma."""
    predicted = predict(potential, held_out)
    start = time.perf_counter()
    add_uncertainty(potential, predicted, processes=1)
    seconds = time.perf_counter() - start
    metrics, errors = uncertainty_metrics(held_out, predicted), error_metrics(held_out, predicted)
    table = np.concatenate([force_errors(*pair) for pair in zip(held_out, predicted, strict=True)])
    inside = np.abs(table[:, :3]) <= BAND * table[:, 3:4]
    thirds = [f'{100 * inside[part].mean():.0f}' for part in np.array_split(np.argsort(table[:, 3]), 3)]
    ranks = metrics['forces']['rank_correlation']
    return [
        1e3 * errors['energy']['rmse'],
        1e3 * errors['forces']['rmse'],
        100 * metrics['forces']['coverage'],
        ' '.join(thirds),
        100 * min(metrics['by_family'].values()),
        100 * metrics['energy']['coverage'],
        ranks['posterior'],
        ranks['gamma'],
        1e3 * seconds / sum(map(len, held_out)),
    ], table


def judge_properties(potential: AcePotential, name: str, truth: dict[str, dict[str, float]]) -> list[list[Any]]:
    """Return rows of the second table."""
    rows = []
    for crystal, atoms in crystals(name).items():
        found = with_error_bars(potential, lambda calculator, atoms=atoms: measure(calculator, atoms), size=12)
        for key in PROPERTIES:
            value, bar = found[key]['value'], found[key]['std']
            error = value - truth[crystal][key]
            rows.append([crystal, key, truth[crystal][key], error, bar, None if bar is None else abs(error) / bar])
    return rows


def get_truth(name: str, directory: Path, python: str | None) -> dict[str, dict[str, float]] | None:
    """Return the properties by the teacher, kept in a file; None where the teacher cannot be asked."""
    path = directory / f'{name}_crystals.json'
    if not path.is_file():
        command = sys.executable if name == 'cu' else python
        if command is None:
            return None
        subprocess.run([command, __file__, str(directory), '--truth', name], check=True, stdout=sys.stderr)
    return json.loads(path.read_text())


def write_truth(name: str, directory: Path) -> None:
    """Ask the teacher for the properties of the crystals."""
    if name == 'cu':
        from ase.calculators.eam import EAM
        from embedding_parents import potential_file

        calculator: Any = EAM(potential=str(potential_file('Cu_mishin1.eam.alloy')))
    else:
        calculator = DATA_SETS[name].label()
    found = {crystal: measure(calculator, atoms) for crystal, atoms in crystals(name).items()}
    (directory / f'{name}_crystals.json').write_text(json.dumps(found))


def draw(tables: dict[str, np.ndarray], target: Path) -> None:
    """Draw the true against the predicted errors of all data sets."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(3.2 * len(tables), 3.4), layout='constrained')
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        error, deviation = 1e3 * np.abs(table[:, :3]).ravel(), 1e3 * np.repeat(table[:, 3], 3)
        drawn = np.random.default_rng(0).permutation(len(error))[:3000]
        axes.loglog(deviation[drawn], np.maximum(error, 1e-2)[drawn], 'o', markersize=2, alpha=0.3)
        ends = np.array([deviation.min(), deviation.max()])
        axes.plot(ends, BAND * ends, color='C3')
        axes.set_title(f'{name}: {100 * np.mean(error <= BAND * deviation):.1f} % in the band')
        axes.set_xlabel('Predicted standard deviation (meV/Å)')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter('{x:g}')
            axis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel('True error of a force component (meV/Å)')
    figure.savefig(target, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path)
    parser.add_argument('--quick', action='store_true', help='copper only')
    parser.add_argument('--teacher-python', help='Python with sevenn')
    parser.add_argument('--picture', type=Path, help='PNG of true against predicted errors')
    parser.add_argument('--truth', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.truth:
        write_truth(arguments.truth, arguments.directory)
        return
    bars, properties, tables = [], [], {}
    for name in ['cu'] if arguments.quick else BASIS:
        frames, held_out = load(arguments.directory, name)
        chosen = np.sort(np.random.default_rng(0).permutation(len(frames))[:FEW])
        for part in ([frames[k] for k in chosen], frames):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                potential = fit(name, part, Path(folder, 'potential'))
                seconds = time.perf_counter() - start
                columns, tables[name] = judge_bars(potential, held_out)
                bars.append([name, len(part), *columns, seconds])
                truth = get_truth(name, arguments.directory, arguments.teacher_python)
                if truth is not None:
                    rows = judge_properties(potential, name, truth)
                    properties += [[name, len(part), *row] for row in rows]
        print(f'{name} done', file=sys.stderr)
    heads = ['set', 'fitted to', 'meV/atom', 'meV/Å', 'forces in band %', 'by thirds', 'worst family %', 'energies %']
    heads += ['rank posterior', 'rank gamma', 'ms/atom', 'fit s']
    print(tabulate(bars, headers=heads, floatfmt='.3g'))
    heads = ['set', 'fitted to', 'crystal', 'property (Å, GPa)', 'teacher', 'error', 'error bar', 'error / bar']
    print('\n' + tabulate(properties, headers=heads, floatfmt='.4g'))
    ratios = np.array([row[-1] for row in properties if row[-1] is not None])
    if len(ratios):
        print(f'\n{len(ratios)} properties: {100 * np.mean(ratios <= BAND):.0f} % within 1.96 error bars')
    if arguments.picture:
        draw(tables, arguments.picture)


if __name__ == '__main__':
    main()
