"""All properties of all crystals: one potential, one call."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics
from aiida_pyacemaker.atomistics.validation.crystals import equilibrate
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator, ProcessDiedError
from aiida_pyacemaker.atomistics.validation.suite import (
    SUITE,
    Suite,
    crystals_of,
    evaluate_groups,
    finish,
    make_properties,
    measure,
    predict_data,
    read_suite,
    run_suite,
)

SECTION = {'calculator': 'emt'}
#: Short simulations and small supercells.
QUICK = {
    'stability': {'steps': 100, 'atoms': 16, 'temperatures': [300.0], 'hot': 1000.0},
    'phonons': {'max_atoms': 32, 'mesh': 20.0, 'path_points': 5},
}


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope='module')
def everything() -> tuple[dict, list[str]]:
    """All properties of a crystal, a layer, a molecule, and an element that the potential does not know."""
    crystals = [bulk('Al', cubic=True), fcc111('Cu', (1, 1, 4), vacuum=6), molecule('CO'), bulk('Si')]
    crystals[0].info = {'family': 'user', 'must_be_stable': True}
    said: list[str] = []
    return run_suite(SECTION, crystals, Suite(settings=QUICK), 2, said.append), said


def test_every_property_is_there(everything):
    content, said = everything
    aluminium = content['crystals'][0]
    assert {name: aluminium[name]['message'] for name in SUITE if aluminium[name]['status'] != 'ok'} == {}
    assert aluminium['must_be_stable'] and aluminium['family'] == 'user'
    assert content['pairs']['status'] == 'ok' and 'Al-Cu' in content['pairs']['pairs']
    assert content['seconds']['stability'] > 0 and content['seconds']['total'] > 0
    assert any('single points' in line for line in said)
    json.dumps(content, allow_nan=False)


def test_parts_agree_with_each_other(everything):
    """The bulk modulus by stress and strain, by the energies of the volume, and of the suite on one process."""
    aluminium = everything[0]['crystals'][0]
    stressed, energies = aluminium['elasticity']['bulk']['hill'], aluminium['eos']['birch_murnaghan']['b0']
    assert stressed == pytest.approx(energies, rel=0.01)
    found = measure(EMT(), bulk('Al', a=4.0, cubic=True))
    assert found['bulk_modulus'] == pytest.approx(stressed, rel=1e-4)
    assert found['C11'] == pytest.approx(aluminium['elasticity']['constants']['C11'], rel=1e-4)


def test_bulk_modulus_by_hand(everything):
    """Against the curvature of the energies of EMT itself."""
    crystal = everything[0]['crystals'][0]
    volumes, energies = [], []
    for scale in (0.995, 1.0, 1.005):
        atoms = bulk('Al', a=crystal['equilibrium']['a'] * scale)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    by_hand = volumes[1] * 2 * np.polyfit(volumes, energies, 2)[0] / units.GPa
    assert crystal['elasticity']['bulk']['hill'] == pytest.approx(by_hand, rel=0.01)


def test_what_is_not_defined_says_so(everything):
    _, layer, single, silicon = everything[0]['crystals']
    assert layer['eos']['status'] == layer['elasticity']['status'] == 'not_applicable'
    assert 'no bulk modulus' in layer['elasticity']['message']
    assert single['phonons']['status'] == 'not_applicable' and 'molecule' in single['phonons']['message']
    assert silicon['equilibrium']['status'] == 'failed' and 'Si' in silicon['equilibrium']['message']
    assert silicon['phonons']['status'] == 'failed' and 'no equilibrium' in silicon['phonons']['message']


def test_crystals_come_back(everything):
    frames = crystals_of(everything[0])
    assert [len(atoms) for atoms in frames] == [4, 4, 2, 2]
    assert frames[0].cell.lengths()[0] == pytest.approx(everything[0]['crystals'][0]['equilibrium']['a'])


def test_nothing_to_look_at(al_potential_directory):
    with pytest.raises(ValueError, match='has Cu, but the potential is for Al'):
        run_suite(al_potential_directory, [bulk('Cu')], report=quiet)
    with pytest.raises(ValueError, match='cannot be evaluated'):
        run_suite(SECTION, [bulk('Si')], report=quiet)


@pytest.mark.parametrize(
    'given, message',
    [
        ({'properties': ['colour']}, 'properties.0'),
        ({'settings': {'phonons': {'max_atoms': 0}}}, 'settings.phonons.max_atoms'),
        ({'settings': {'phonons': {'atoms': 8}}}, 'settings.phonons.atoms'),
        ({'processes': 0}, 'processes'),
    ],
)
def test_bad_parameters_name_the_key(given, message):
    with pytest.raises(ValueError, match=message):
        read_suite(given)


class Fragile(Evaluator):
    """An evaluator that silicon kills."""

    def try_evaluate(self, frames, report=None):
        if any('Si' in atoms.symbols for atoms in frames):
            raise ProcessDiedError('a process of the potential died')
        return super().try_evaluate(frames)


def test_what_kills_a_process_costs_only_itself():
    found = evaluate_groups(Fragile(SECTION), {'good': [bulk('Al')], 'bad': [bulk('Si')]}, quiet)
    assert 'energy' in labels(found['good'][0])
    assert found['bad']['status'] == 'failed' and 'died' in found['bad']['message']


def test_who_was_only_nearby_is_asked_again():
    """A process dies while a vacancy relaxes; at the second time it does not."""

    class Once(Evaluator):
        deaths = 1

        def relax(self, frames, **options):
            if self.deaths:
                self.deaths -= 1
                raise ProcessDiedError('a process of the potential died')
            return super().relax(frames, **options)

    crystal, _ = equilibrate(Evaluator(SECTION), [bulk('Al', cubic=True)])[0]
    with Once(SECTION, 2) as evaluator:
        for evaluator.deaths, status in ((1, 'ok'), (2, 'failed')):
            found = [{'name': 'Al fcc'}]
            finish(evaluator, [crystal], make_properties(['vacancy'], {}), {}, found, quiet)
            assert found[0]['vacancy']['status'] == status


def test_errors_of_any_calculator(al_frames, al_potential_directory):
    """The zero of the energies of a calculator is its own, and no error."""
    shifted = []
    for atoms in al_frames[:6]:
        found = labels(atoms)
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        shifted.append(set_labels(frame, found['energy'] + 100.0 * len(atoms), found['forces'], found['stress']))
    errors = error_metrics(*predict_data(SECTION, shifted))
    assert errors['energy']['max'] < 1e-9 and errors['forces']['max'] < 1e-9
    frames, predictions = predict_data(al_potential_directory, al_frames[:2])
    assert 'gamma' in predictions[0].arrays
    assert 0 < error_metrics(frames, predictions)['forces']['rmse'] < 0.5
