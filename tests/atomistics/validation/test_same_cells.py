"""Tests of a potential beside the oracle of its labels in the same cells."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.spacegroup import crystal

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.validation.properties.phonons import PhononParameters
from aiida_pyacemaker.atomistics.validation.properties.phonons import compute as phonons
from aiida_pyacemaker.atomistics.validation.report import format_report
from aiida_pyacemaker.atomistics.validation.same_cells import (
    SameCells,
    choose_sizes,
    compare_cells,
    make_cells,
    plan_candidates,
)
from aiida_pyacemaker.atomistics.validation.suite import Suite, run_suite

NAMES = ['phonons', 'vacancy', 'surfaces', 'stacking_fault']
#: Costs nearly the same whatever the element.
MODEL = CostModel(ecutwfc=16, kpoints_distance=0.42, valences={'Cu': 11, 'Al': 3})
RUTILE = {'spacegroup': 136, 'cellpar': [4.594, 4.594, 2.959, 90, 90, 90]}
CRYSTALS = {
    'Al': bulk('Al'),
    'Mg': bulk('Mg'),
    'Si': bulk('Si'),
    'NaCl': bulk('NaCl', 'rocksalt', a=5.64),
    'TiO2': crystal(['Ti', 'O'], [(0, 0, 0), (0.305, 0.305, 0)], **RUTILE),
}


@pytest.fixture(scope='module')
def copper():
    """Return what the suite says of copper, the small cells of it, and what is known of them: by EMT."""
    content = run_suite(EMT(), [bulk('Cu')], Suite(properties=[]), report=lambda line: None)
    asked = SameCells(properties=NAMES, core_hours=0.5, cost=MODEL.to_dict())
    return content, *make_cells(EMT(), content, asked, report=lambda line: None)


def label(cells):
    """Return the cells with labels of EMT, made without the suite."""
    labelled = []
    for cell in cells:
        frame = cell.copy()
        frame.calc = EMT()
        labelled.append(set_labels(cell.copy(), energy=frame.get_potential_energy(), forces=frame.get_forces()))
    return labelled


def test_identity(copper):
    """A potential does not differ from itself, and its numbers are those by hand."""
    content, cells, known = copper
    (found,) = compare_cells(content, known, cells, label(cells)[::-1])
    assert {name: entry['status'] for name, entry in found.items()} == dict.fromkeys(NAMES, 'ok')
    for entry in found.values():
        assert entry['forces']['rmse'] < 1e-8 and entry['forces']['max'] < 1e-8
        for row in entry['rows']:
            assert row['potential'] == pytest.approx(0.0 if row['dft'] is None else row['dft'], abs=1e-7), row
    assert found['vacancy']['forces']['max_dft'] < 0.005  # where the potential has relaxed them
    perfect, vacancy = (labels(a)['energy'] for a in cells if a.info['operation'] == 'vacancy')
    number = found['vacancy']['atoms'][0]
    energies = {row['name']: row['dft'] for entry in found.values() for row in entry['rows']}
    assert energies['vacancy Cu'] == pytest.approx(vacancy - (number - 1) / number * perfect, abs=1e-8)
    assert energies['surface (111)'] == pytest.approx(1.0438, abs=0.002)  # of thick slabs of EMT
    assert 'frequency_rmse' in energies
    json.dumps(found, allow_nan=False)


def test_differences_are_told(copper):
    """Another force is found with its size, another energy with its sign, and a lost label by its number."""
    content, cells, known = copper
    theirs = label(cells)
    for frame in theirs:
        if frame.info['operation'] == 'vacancy' and frame.info['number'] == 1:
            changed = labels(frame)
            changed['forces'][3] += (0.3, 0.0, 0.4)
            set_labels(frame, energy=changed['energy'] + 0.25, forces=changed['forces'])
    lost = next(index for index, frame in enumerate(theirs) if frame.info['operation'] == 'surfaces')
    (found,) = compare_cells(content, known, cells, theirs[:lost] + theirs[lost + 1 :])
    row = found['vacancy']['rows'][0]
    assert row['dft'] - row['potential'] == pytest.approx(0.25, abs=1e-7)
    forces = found['vacancy']['forces']
    assert forces['max'] == pytest.approx(0.5, abs=1e-6)
    assert forces['rmse'] == pytest.approx(0.5 / np.sqrt(forces['components']), abs=1e-6)
    assert found['surfaces']['status'] == 'failed' and found['surfaces']['message'].startswith('1 of ')
    assert found['stacking_fault']['status'] == 'ok'
    content['crystals'][0]['same_cells'] = found
    page = format_report(content, None, {}, {}, {})
    del content['crystals'][0]['same_cells']
    assert 'Beside DFT in the same cells' in page and '1 of ' in page


def test_crystal_of_a_slab_is_the_crystal(copper):
    """The cell beside a slab has the energy of the crystal, and the k-points of the slab in the plane."""
    content, cells, _ = copper
    frames = [atoms for atoms in cells if atoms.info['operation'] == 'surfaces']
    for slab, whole in zip(frames[::2], frames[1::2], strict=True):
        energy = content['crystals'][0]['equilibrium']['energy']
        assert labels(whole)['energy'] / len(whole) == pytest.approx(energy, abs=1e-6)
        assert slab.info['kpoints_mesh'][:2] == whole.info['kpoints_mesh'][:2]
        assert slab.info['kpoints_mesh'][2] == 1 < whole.info['kpoints_mesh'][2]


@pytest.mark.parametrize('name', CRYSTALS)
def test_sizes(name):
    """Cells are as large as the allowance permits; what does not fit is told, and with no limit the best are taken."""
    atoms = CRYSTALS[name].copy()
    atoms.info |= {'name': name, 'dimension': 3}
    keys = [(0, kind) for kind in ('vacancy', 'surfaces')]
    planned = {key: plan_candidates(atoms, key[1], MODEL) for key in keys}
    spent = []
    for hours in (0.0, 0.1, None):
        found = choose_sizes(planned, hours)
        chosen = [entry for entry in found.values() if 'frames' in entry]
        spent.append(sum(entry['seconds'] for entry in chosen) / 3600)
        assert hours is None or spent[-1] <= hours
        if hours == 0.0:
            assert all(entry['status'] == 'too_dear' for entry in found.values())
            assert 'not computed: its smallest cells would cost about' in found[keys[0]]['message']
            assert 'validate.reference_core_hours' in found[keys[0]]['message']
        else:
            assert len(chosen) == 2, found
            assert all(frame.info['kpoints_mesh'] for entry in chosen for frame in entry['frames'])
    assert 0 < spent[1] < spent[2]


def test_what_has_no_meaning_is_told():
    """Silicon has no stacking fault of a close-packed metal: that is said, and costs the others nothing."""
    atoms = CRYSTALS['Si'].copy()
    atoms.info |= {'name': 'Si', 'dimension': 3}
    planned = {(0, name): plan_candidates(atoms, name, MODEL) for name in ('stacking_fault', 'vacancy')}
    found = choose_sizes(planned, 100.0)
    assert found[0, 'stacking_fault']['status'] == 'not_applicable'
    assert found[0, 'vacancy'] is planned[0, 'vacancy'][0]


def test_forces_without_a_displacement(copper):
    """Where symmetry leaves an atom free, forces that are there without a displacement are no force constants."""
    parameters = PhononParameters(width=6.0, max_atoms=16, displacement=0.03)
    counts = {
        name: len(phonons.plan_cells(atoms, parameters)) - len(phonons.plan(atoms, parameters))
        for name, atoms in CRYSTALS.items()
    }
    assert counts == {'Al': 0, 'Mg': 0, 'Si': 0, 'NaCl': 0, 'TiO2': 1}
    rutile = CRYSTALS['TiO2']
    cells = phonons.plan_cells(rutile, parameters)
    generator = np.random.default_rng(3)
    springs = generator.normal(size=(3 * len(cells[-1]), 3 * len(cells[-1])))
    constants = springs @ springs.T

    def find(at_rest):
        labelled = []
        for cell in cells:
            moved = (cell.positions - cells[-1].positions).ravel()
            forces = -(constants @ moved).reshape(-1, 3) + at_rest
            labelled.append(set_labels(cell.copy(), energy=0.0, forces=forces))
        return phonons.analyse_cells(rutile, labelled, parameters)

    plain, shifted = find(0.0), find(generator.normal(size=(len(cells[-1]), 3)))
    assert phonons.frequency_rmse(plain, shifted) == pytest.approx(0.0, abs=1e-3 * plain['max_frequency'])
