"""What the tests and the script that stores outputs of engines (``make_outputs.py``) share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

HERE = Path(__file__).parent
#: A small potential of aluminium, fitted to EMT once; made by ``make_outputs.py``.
POTENTIAL = HERE / 'al_potential'
#: What real engines left, a folder for each case; made by ``make_outputs.py``.
OUTPUTS = HERE / 'outputs'
FIT = {'elements': ['Al'], 'cutoff': 4.5, 'number_of_functions': 10, 'seed': 1, 'generation': 0, 'processes': 1}


def labelled_frames() -> list[Atoms]:
    """Return rattled cells of aluminium with labels of EMT, and the free atom; positions are rounded on purpose."""
    frames = []
    for index in range(16):
        atoms = bulk('Al', 'fcc', a=3.9 + 0.02 * index, cubic=True).repeat((2, 1, 1))
        atoms.rattle(0.04 + 0.01 * index, seed=index)
        atoms.positions = atoms.positions.round(4)
        atoms.info.update({'family': 'rattled', 'phase': 'fcc', 'split': 'train' if index % 4 else 'test'})
        frames.append(atoms)
    frames.append(Atoms('Al', cell=[12] * 3, pbc=False, info={'family': 'isolated_atom', 'split': 'train'}))
    for atoms in frames:
        atoms.calc = EMT()
        labels = {'energy': atoms.get_potential_energy(), 'forces': atoms.get_forces()}
        if atoms.pbc.all():
            labels['stress'] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return frames


def split_frames(split: str) -> list[Atoms]:
    """Return the labelled frames to train on, or those that are held out."""
    return [atoms for atoms in labelled_frames() if atoms.info['split'] == split]


def rattled(width: float, seed: int, role: str = 'trajectory', **info: Any) -> Atoms:
    """Return a snapshot of a simulation, as the selection takes it."""
    atoms = bulk('Al', 'fcc', a=4.05, cubic=True).repeat((1, 1, 2))
    atoms.positions += np.random.default_rng(seed).normal(0, width, atoms.positions.shape)
    atoms.positions = atoms.positions.round(4)
    atoms.info.update(role=role, **info)
    return atoms


def snapshots() -> list[Atoms]:
    """Return halted frames and frames of trajectories."""
    frames = [rattled(0.3, 4, 'halted', parent='run-1', walker=0), rattled(0.3, 2, 'halted', parent='run-2')]
    frames += [rattled(0.05 + 0.01 * k, 10 + k, parent='run-1', step=k, temperature=300.0) for k in range(8)]
    return frames + [
        rattled(0.35, 40 + k, parent='run-3', step=k, selected=True, ended='volume', temperature=900.0)
        for k in range(3)
    ]


SELECT = {
    'candidates': ['random', 'modes'], 'candidates_per_halt': 6, 'select_per_halt': 3, 'displacement': 0.2,
    'number_of_train': 2, 'number_of_test': 3, 'seed': 3, 'gamma_select': 2.0, 'max_atoms': 100,
}  # fmt: skip


def structures() -> dict[str, Atoms]:
    """Return structures of all kinds that DFT has to treat differently."""
    slab = fcc111('Al', (1, 1, 4), vacuum=7.0, periodic=True)
    polar = slab.copy()
    add_adsorbate(polar, 'Cu', 2.0, 'fcc')
    iron = bulk('Fe', a=2.87, cubic=True)
    iron.set_array('magnetic_moments', np.array([2.4, -1.1]))
    alloy = bulk('Al', a=4.0, cubic=True)
    alloy.symbols[:] = ['Al', 'Fe', 'Al', 'Fe']
    large = bulk('Al', cubic=True).repeat((4, 4, 4))
    return {
        'al': bulk('Al', cubic=True),
        'fe': bulk('Fe', a=2.87),
        'fe_moments': iron,
        'alfe': alloy,
        'nacl': bulk('NaCl', 'rocksalt', a=5.64),
        'slab': slab,
        'polar_slab': polar,
        'atom': Atoms('Al', cell=[10] * 3, positions=[[5] * 3], pbc=False),
        'large': large,
    }


# Simulations ----------------------------------------------------------------------------------------------------------

SHORT = {'steps': 100, 'thermo_every': 20, 'dump_every': 20, 'gamma_every': 10, 'seed': 7, 'halt_after': 1}
CELL = bulk('Al', 'fcc', a=4.0, cubic=True).repeat((2, 1, 1))
#: Parameters of the simulations of which the outputs are stored.
SIMULATIONS = {
    'completed': {**SHORT, 'temperature': [100, 300], 'gamma_halt': 1e6},
    'gamma': {**SHORT, 'temperature': [6000, 6000], 'ensemble': 'nvt', 'steps': 1000, 'gamma_halt': 4.0},
    'overlap': {
        **SHORT, 'temperature': [3000, 3000], 'ensemble': 'nvt', 'steps': 1000, 'gamma_halt': 1e8,
        'min_distances': {'Al-Al': 2.3},
    },
    'volume': {
        **SHORT, 'temperature': [300, 300], 'pressure': [-30, -30], 'steps': 2000, 'gamma_halt': 1e12,
        'max_volume_ratio': 1.05,
    },
}  # fmt: skip
#: Keys of the search for a melting point, and the state in which it plans a simulation of each program.
MELT = {'atoms': 100, 'steps': 2000, 'max_runs': 2, 'precision': 1e-6, 'seed': 5}
MELTINGS = {
    'heat': (MELT, {}),
    'coexist': ({**MELT, 'temperature': 1300.0}, {}),
    'extend': ({**MELT, 'temperature': 1300.0}, {'extends': True, 'order': 0.5}),
    'superheat': ({**MELT, 'temperature': 3000.0, 'method': 'z_method'}, {}),
}
#: Those of which the outputs of a real simulation are stored.
MELTED = ('coexist', 'superheat')

# Tasks of the worker --------------------------------------------------------------------------------------------------

TEACHER = {'teacher': {'calculator': 'emt', 'batch': 10}, 'indices': [2, 1, 0]}
VALIDATE = {'properties': ['eos', 'elasticity', 'pairs'], 'settings': {'eos': {'points': 7}}, 'processes': 1}


def tasks(configurations: Any, potential: Any) -> dict[str, dict[str, Any]]:
    """Return the inputs of each calculation of the worker.

    :param configurations: makes a node of frames. :param potential: the node of the potential.
    """
    teacher = [bulk('Cu', a=3.5), bulk('Cu', a=3.6, cubic=True), bulk('Xe')]
    crystal = bulk('Al', a=4.0, cubic=True)
    return {
        'pace_train': {
            'configurations': configurations(split_frames('train')),
            'test': configurations(split_frames('test')),
            'parameters': {**FIT, 'generation': 1, 'energy_weight': None},
        },
        'pace_select': {
            'configurations': configurations(snapshots()),
            'potential': potential,
            'parameters': SELECT,
        },
        'pace_evaluate': {'configurations': configurations(split_frames('test')), 'potential': potential},
        'pace_validate': {'configurations': configurations([crystal]), 'potential': potential, 'parameters': VALIDATE},
        'teacher': {'configurations': configurations(teacher), 'parameters': TEACHER},
    }


# The validator --------------------------------------------------------------------------------------------------------

SUITE = {
    'properties': ['eos', 'elasticity', 'phonons', 'pairs', 'vacancy', 'surfaces', 'stacking_fault', 'stability'],
    'settings': {
        'eos': {'points': 9},
        'pairs': {'step': 0.1, 'atoms': 4},
        'phonons': {'width': 10.0, 'mesh': 20.0, 'path_points': 11},
        'stability': {'steps': 100, 'atoms': 16},
        'surfaces': {'number': 2, 'thickness': 8.0, 'vacuum': 8.0},
        'vacancy': {'atoms': 32},
    },
    'processes': 1,
}


def crystals_of_copper() -> list[Atoms]:
    """Return the ground state, and a crystal that is not stable."""
    return [bulk('Cu', a=3.6), bulk('Cu', 'bcc', a=2.87)]
