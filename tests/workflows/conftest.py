"""Fixtures of the WorkChain tests."""

from __future__ import annotations

import pytest

#: Cheap settings of labels whose noise is not measured.
LABEL = {'kpoints_distance': 0.6, 'ecutwfc': 16.0, 'ecutrho': 64.0, 'degauss': 0.05, 'noise': None}


@pytest.fixture
def tiny_runfile(pw_code, lammps_code, worker_code, pseudo_family):
    """Return a factory of run files for a real loop of a few minutes: few small cells, sparse DFT, a small basis."""
    from aiida_pyacemaker.runfile import resolve_runfile

    def factory(**sections):
        content = {
            'protocol': 'fast',
            'system': {'elements': ['Al']},
            'codes': {'pw': pw_code.full_label, 'lammps': lammps_code.full_label, 'worker': worker_code.full_label},
            'structures': {
                'eos': {'number': 3},
                'strain': {'number': 1},
                'shear': {'number': 1},
                'rattle': {'number': 8, 'amplitude': [0.05, 0.15], 'atoms': 4},
                'squeeze': {'number': 0},
                'vacancy': {'number': 0},
                'test': {'number': 2},
            },
            'label': {'pseudo_family': pseudo_family, **LABEL},
            'train': {'cutoff': 5.0, 'number_of_functions': 20},
            'explore': {
                'walkers': 1,
                'atoms': 4,
                'stages': [{'name': 'long', 'share': 1.0}],
                'steps': 1000,
                'temperature': [300, 900],
                'gamma_halt': 3.0,
            },
            'embed': {'candidates_per_halt': 5, 'select_per_halt': 2},
            'validate': {
                'energy_rmse': 0.1,
                'force_rmse': 0.5,
                'test_per_round': 1,
                'train_per_round': 1,
                'properties': ['eos'],
            },
            'budget': {'max_iterations': 3},
        }
        for name, section in sections.items():
            content[name] = {**content.get(name, {}), **section}
        return resolve_runfile(content)

    return factory


@pytest.fixture
def label_parameters(pseudo_family):
    """Return cheap settings of the DFT calculations."""
    return {
        'pseudo_family': pseudo_family,
        'kpoints_distance': 0.6,
        'ecutwfc': 12.0,
        'ecutrho': 48.0,
        'smearing': 'cold',
        'degauss': 0.05,
        'max_concurrent': 2,
        'max_failed_fraction': 0.5,
        'max_wallclock_seconds': 600,
    }
