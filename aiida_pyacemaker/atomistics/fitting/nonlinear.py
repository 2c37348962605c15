"""The nonlinear fit, by the `pacemaker` program with tensorpotential."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms

from ..errors import MissingEngineError
from .basis import basis_configuration, import_pyace
from .equations import frame_weights

REMEDY = 'install the extra aiida-pyacemaker[nonlinear], or use train.mode: linear'


def check_nonlinear() -> list[str]:
    """Return the command that runs pacemaker, in this very Python: a `pacemaker` on the PATH may belong to another one.

    :raises MissingEngineError: if python-ace or tensorpotential is missing.
    """
    import_pyace()
    for package in ('tensorpotential', 'tensorflow'):
        if importlib.util.find_spec(package) is None:
            raise MissingEngineError(f'train.mode: nonlinear needs {package}, which is not installed: {REMEDY}')
    return [sys.executable, '-m', 'pyace.cli.pacemaker']


def fit_nonlinear(
    frames: list[Atoms],
    targets: list[tuple[float, np.ndarray]],
    parameters: dict[str, Any],
    inner_cutoffs: dict[tuple[str, str], tuple[float, float]],
    directory: Path,
    parent_yaml: Path | None = None,
    report: Callable[[str], None] = print,
) -> Any:
    """Fit in `directory` and return the fitted `pyace.ACEBBasisSet`.

    :param targets: per frame energy (eV) and forces (eV/Å), reference energies and baseline subtracted.
    :param parent_yaml: B-basis to continue from; it must have the same functions.
    :raises RuntimeError: if pacemaker fails or leaves no metrics.
    """
    import pandas as pd

    command = check_nonlinear()
    pyace = import_pyace()
    directory.mkdir(parents=True, exist_ok=True)
    energy_weight = parameters['energy_weight']
    weights = [frame_weights(atoms, energy_weight) for atoms in frames]
    total = sum(energy**2 for energy, _ in weights) + sum(float((forces**2).sum()) for _, forces in weights)
    rows = []
    for atoms, (energy, forces), (w_energy, w_forces) in zip(frames, targets, weights, strict=True):
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        # Both weights must be there, or python-ace replaces both. They multiply squared residuals.
        weight = {'w_energy': w_energy**2 / total, 'w_forces': w_forces[::3] ** 2 / total}
        rows.append({'ase_atoms': bare, 'energy_corrected': energy, 'forces': forces, **weight})
    # The pickle is for the engine inside this job; it is never read back by us.
    pd.DataFrame(rows).to_pickle(directory / 'data.pckl.gzip', compression='gzip', protocol=4)
    settings = {
        'seed': int(parameters['seed']),
        'cutoff': parameters['cutoff'],
        'potential': basis_configuration(
            parameters['elements'], parameters['cutoff'], parameters['number_of_functions'], inner_cutoffs, 'nonlinear'
        ),
        'data': {'filename': 'data.pckl.gzip'},
        'fit': {
            'loss': {'kappa': 0.5, 'L1_coeffs': 1e-8, 'L2_coeffs': 1e-8},
            'optimizer': 'BFGS',
            'maxiter': int(parameters['max_iterations']),
        },
        'backend': {'evaluator': 'tensorpot', 'batch_size': 20, 'display_step': 20},
    }
    if parent_yaml is not None:
        shutil.copy(parent_yaml, directory / 'parent.yaml')
        settings['potential'] = 'parent.yaml'
    (directory / 'input.yaml').write_text(yaml.safe_dump(settings))
    report('nonlinear fit by pacemaker')
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='2')
    with open(directory / 'pacemaker.out', 'w', encoding='utf-8') as output:
        done = subprocess.run(
            [*command, 'input.yaml'],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    # An output potential alone proves nothing: pacemaker writes one before it can crash.
    if done.returncode != 0 or not (directory / 'metrics.txt').is_file():
        tail = (directory / 'pacemaker.out').read_text(errors='replace').strip().splitlines()[-1:]
        raise RuntimeError(f'pacemaker ended with status {done.returncode}: {" ".join(tail)}')
    return pyace.ACEBBasisSet(str(directory / 'output_potential.yaml'))
