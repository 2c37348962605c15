"""What holds for all operations."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from aiida_pyacemaker.atomistics.variants import OPERATIONS, NotApplicableError

DEFAULTS = {
    'pristine': 1,
    'eos': 9,
    'strain': 8,
    'shear': 4,
    'rattle': 24,
    'squeeze': 0,
    'vacancy': 4,
    'divacancy': 0,
    'interstitial': 0,
    'antisite': 0,
    'surface': 0,
    'test': 8,
}


def variants(name, parent, seed, number=6):
    operation = OPERATIONS[name]
    parameters = OPERATIONS[operation.section or name].Parameters()
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(number):
        try:
            frames.append(operation.make(parent, parameters, rng, index, number))
        except NotApplicableError:
            continue
    return frames


def test_defaults():
    assert {name: operation.Parameters().number for name, operation in OPERATIONS.items()} == DEFAULTS


@pytest.mark.parametrize('name', OPERATIONS)
def test_same_seed_same_frames(parents, name):
    made = 0
    for parent in parents.values():
        first, second, other = variants(name, parent, 1), variants(name, parent.copy(), 1), variants(name, parent, 2)
        assert len(first) == len(second)
        for one, two in zip(first, second, strict=True):
            assert one.positions.tobytes() == two.positions.tobytes()
            assert one.cell.array.tobytes() == two.cell.array.tobytes()
            assert one.info == two.info and np.array_equal(one.numbers, two.numbers)
        if first and name not in ('pristine', 'eos', 'surface'):
            assert first[0] != other[0]
        made += len(first)
    assert made


@pytest.mark.parametrize('name', OPERATIONS)
def test_parents_are_left_alone_and_variants_keep_the_record(parents, name):
    for parent in parents.values():
        before = parent.copy()
        for atoms in variants(name, parent, 3):
            assert atoms.info['operation'] == name and atoms.info['family'] == 'test'
            assert atoms.info['reason'] == parent.info['reason'] and atoms.info['parameters']['given'] == 1
            assert atoms.info['parent'] == f'{parent.info["phase"]} {parent.get_chemical_formula()}'
            assert json.loads(json.dumps(atoms.info)) == atoms.info
            assert atoms.pbc.all() and np.isfinite(atoms.positions).all()
            if 'oxidation_states' in parent.arrays:
                assert abs(atoms.arrays['oxidation_states'].sum()) < 1e-9
                assert len(atoms.arrays['oxidation_states']) == len(atoms)
            atoms.positions += 1.0
            atoms.info['parameters']['given'] = 2
        assert before == parent and before.info == parent.info


def test_importing_them_is_light():
    code = (
        'import sys, aiida_pyacemaker.atomistics.variants; '
        'print([name for name in ("pymatgen", "hiphive", "icet", "spglib", "numba") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == '[]'
