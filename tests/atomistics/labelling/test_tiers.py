"""Tests of the two tiers: when a teacher is sure, and what it says then."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from pydantic import ValidationError

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.labelling.tiers import (
    Tiers,
    align,
    calibrate,
    choose_calibration,
    common_settings,
    doubt,
    held_out_errors,
    is_expensive,
    key,
    saved_core_hours,
)

SHIFTS = {'Al': -3.2, 'Cu': -4.1, 'Ni': -4.4}


def label(atoms: Atoms) -> Atoms:
    """Label a copy with EMT, the teacher."""
    work = atoms.copy()
    work.calc = EMT()
    return set_labels(atoms.copy(), energy=work.get_potential_energy(), forces=work.get_forces().copy())


def expensive(atoms: Atoms, force: float = 0.0, energy: float = 0.0, seed: int = 0) -> Atoms:
    """Return the label that the other tier would give: EMT on another scale of energies, and with noise."""
    rng, found = np.random.default_rng([seed, len(atoms)]), labels(atoms)
    shift = sum(SHIFTS[symbol] for symbol in atoms.get_chemical_symbols()) + energy * len(atoms) * rng.normal()
    noise = force * rng.normal(size=(len(atoms), 3))
    copy = atoms.copy()
    copy.info['settings'] = {'oracle': 'qe', 'pseudos': dict.fromkeys(set(atoms.symbols), 'x')}
    return set_labels(copy, energy=found['energy'] + shift, forces=found['forces'] + noise)


@pytest.fixture(scope='module')
def frames():
    """Return rattled alloys of aluminium and copper from 0 to 100 %, labelled by the teacher."""
    made = []
    for index in range(16):
        rng = np.random.default_rng(index)
        atoms = bulk('Al', a=3.8 + 0.02 * (index % 5), cubic=True).repeat((2, 1, 1))
        atoms.symbols[:] = np.where(rng.random(len(atoms)) < index / 15, 'Cu', 'Al')
        atoms.rattle(0.03 + 0.01 * (index % 4), seed=index)
        made.append(label(atoms))
    return made


def compare(frames, tiers=None, **noise):
    """Calibrate with some frames."""
    others = [expensive(atoms, seed=seed, **noise) for seed, atoms in enumerate(frames)]
    return calibrate(frames, others, tiers or Tiers())


def test_choice(frames):
    """The choice holds the largest force and both ends of the composition, and does not depend on the order."""
    chosen = choose_calibration(frames, 6)
    forces = [np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames]
    assert len(set(chosen)) == 6 and int(np.argmax(forces)) in chosen
    contents = [frames[index].get_chemical_symbols().count('Cu') / 8 for index in chosen]
    assert min(contents) < 0.2 and max(contents) > 0.8
    backwards = choose_calibration(frames[::-1], 6)
    assert {len(frames) - 1 - index for index in backwards} == set(chosen)
    assert sorted(choose_calibration(frames[:3], 6)) == [0, 1, 2]
    assert choose_calibration([], 6) == []
    assert len(choose_calibration([frames[0]] * 5, 3)) == 3


def test_alignment(frames):
    """The shift of each element is found, and the energies of others are right with it."""
    calibration = compare([frames[index] for index in choose_calibration(frames, 6)])
    assert not calibration.problems and calibration.number == 6
    assert calibration.shifts == pytest.approx({'Al': -3.2, 'Cu': -4.1})
    assert calibration.force_error == pytest.approx(0.0) and calibration.energy_error < 1e-9
    settings = {'oracle': 'qe', 'pseudos': {'Al': 'x'}}
    for atoms in frames:
        if calibration.shift(atoms) is None:
            continue
        aligned = align(atoms, calibration, settings, Tiers(weight=0.25))
        assert aligned.get_potential_energy() == pytest.approx(expensive(atoms).get_potential_energy())
        assert np.allclose(aligned.get_forces(), atoms.get_forces())
        assert aligned.info['weight'] == 0.25 and aligned.info['settings']['aligned_to'] == settings
        assert aligned.info['energy_shift'] == pytest.approx(aligned.get_potential_energy() - labels(atoms)['energy'])
        assert 'weight' not in atoms.info and 'labelled by the teacher' in aligned.info['flags'][0]


def test_leave_one_out(frames):
    """The error of energies is that of a fit that has not seen the configuration."""
    chosen = [frames[index] for index in choose_calibration(frames, 6)]
    others = [expensive(atoms, energy=0.01, seed=seed) for seed, atoms in enumerate(chosen)]
    calibration = calibrate(chosen, others, Tiers())
    table = np.array([[atoms.get_chemical_symbols().count(e) / len(atoms) for e in ('Al', 'Cu')] for atoms in chosen])
    values = np.array(
        [(o.get_potential_energy() - a.get_potential_energy()) / len(a) for a, o in zip(chosen, others, strict=True)]
    )
    errors = []
    for k in range(6):
        keep = np.arange(6) != k
        errors.append(abs(values[k] - table[k] @ np.linalg.lstsq(table[keep], values[keep], rcond=None)[0]))
    assert calibration.energy_error == pytest.approx(max(errors))


def test_not_calibrated(frames):
    """Errors above the limits of any configuration, or too few comparisons, leave nothing to the teacher."""
    chosen = [frames[index] for index in choose_calibration(frames, 6)]
    forces = compare(chosen, force=0.2)
    assert 'tiers.max_force_error' in forces.problems[0] and 0.15 < forces.force_rmse < 0.25
    assert doubt(frames[0], [], forces, Tiers()) == forces.problems[0]
    assert not compare(chosen, Tiers(max_force_error=0.4), force=0.2).problems
    energies = compare(chosen, energy=0.05)
    assert 'tiers.max_energy_error' in energies.problems[0]
    assert 'too few' in compare(chosen[:2]).problems[0]


def test_too_few_equations():
    """A shift that rests on one configuration has no residual: its composition is not aligned."""
    pure = [label(bulk('Al', a=a, cubic=True)) for a in (3.9, 4.0, 4.1)]
    mixed = bulk('Al', cubic=True)
    mixed.symbols[0] = 'Cu'
    mixed = label(mixed)
    calibration = compare([*pure, mixed])
    assert not calibration.problems
    assert calibration.shift(pure[0]) == pytest.approx(4 * SHIFTS['Al'])
    assert calibration.shift(mixed) is None
    assert 'composition' in doubt(mixed, [], calibration, Tiers())
    # Nor is an element that was never seen.
    assert calibration.shift(label(bulk('Ni', cubic=True))) is None
    # Three elements, three configurations: nothing is left to judge by.
    elements = [label(bulk(element, cubic=True)) for element in ('Al', 'Cu', 'Ni')]
    assert 'cannot be aligned' in compare(elements).problems[0]


def test_domain(frames):
    """Without a committee: what is like the calibration is trusted; short bonds, voids and large forces are not."""
    calibration = compare(frames)
    tiers = Tiers()
    assert all(doubt(atoms, [], calibration, tiers) is None for atoms in frames)
    squeezed = frames[0].copy()
    squeezed.set_cell(squeezed.cell * 0.95, scale_atoms=True)
    vacancy = frames[0].copy()
    del vacancy[0]
    violent = set_labels(frames[0].copy(), energy=0.0, forces=np.full((len(frames[0]), 3), 40.0))
    assert 'environments of Al' in doubt(label(squeezed), [], calibration, tiers)
    assert 'environments of Al' in doubt(label(vacancy), [], calibration, tiers)
    assert 'forces' in doubt(violent, [], calibration, tiers)


def test_committee(frames):
    """A committee replaces the domain: what it agrees on is trusted, and the worst atom decides."""
    calibration = compare(frames)
    squeezed = frames[0].copy()
    squeezed.set_cell(squeezed.cell * 0.95, scale_atoms=True)
    squeezed = label(squeezed)
    agreeing, differing = expensive(squeezed, force=0.02), expensive(squeezed)
    differing.calc.results['forces'][3, 1] += 0.3
    assert doubt(squeezed, [agreeing], calibration, Tiers()) is None
    assert 'tiers.max_deviation' in doubt(squeezed, [agreeing, differing], calibration, Tiers())
    assert 'no label' in doubt(squeezed, [agreeing, None], calibration, Tiers())
    # An atom that is masked does not count.
    squeezed.set_array('force_weights', np.arange(len(squeezed)) != 3)
    assert doubt(squeezed, [agreeing, differing], calibration, Tiers()) is None


def test_embedded_cells(frames):
    """Cells without a meaning of their energy need no alignment, and their buffers do not count."""
    masked = []
    for atoms in frames:
        copy = set_labels(atoms.copy(), **labels(atoms))
        copy.info['energy_weight'] = 0.0
        copy.set_array('force_weights', np.arange(len(copy)) < 4)
        masked.append(set_labels(copy, **labels(atoms)))
    others = [expensive(atoms, energy=1.0, seed=seed) for seed, atoms in enumerate(masked)]
    for atoms in others:
        atoms.calc.results['forces'][6] += 5.0
    calibration = calibrate(masked, others, Tiers())
    assert not calibration.problems and calibration.energy_error is None and calibration.shifts is None
    assert doubt(masked[0], [], calibration, Tiers()) is None
    assert align(masked[0], calibration, None, Tiers()).info['energy_shift'] == 0.0
    assert 'composition' in doubt(frames[0], [], calibration, Tiers())


def test_always_expensive(frames):
    """What is held out, free atoms and dimers never come from the teacher."""
    assert not is_expensive(frames[0])
    for info in ({'split': 'test'}, {'family': 'isolated_atom'}, {'family': 'dimer'}):
        assert is_expensive(Atoms('Al', info=info))


def test_report(frames):
    """Configurations are found again whatever they carry; costs and errors are numbers."""
    assert key(frames[0]) == key(expensive(frames[0])) != key(frames[1])
    found = held_out_errors(frames, [expensive(frames[2], force=0.1), expensive(frames[3], force=0.1)])
    assert found['number'] == 2 and 0.05 < found['force_rmse'] < 0.2
    assert held_out_errors(frames[:2], [expensive(frames[2])]) is None
    jobs = [{'configurations': 1, 'atoms': 4, 'core_hours': 1.0}, {'configurations': 1, 'atoms': 8}]
    assert saved_core_hours(jobs, [4, 16]) == pytest.approx(1 + 4**2.5)
    assert saved_core_hours([], [4]) is None


def test_settings(frames):
    """Labels of the calibration are of the same settings, of all their elements."""
    others = [expensive(atoms) for atoms in (frames[0], frames[-1])]
    assert common_settings(others)['pseudos'] == {'Al': 'x', 'Cu': 'x'}
    others[1].info['settings'] = {**others[1].info['settings'], 'ecutwfc': 30.0}
    with pytest.raises(ValueError, match='ecutwfc'):
        common_settings(others)


def test_section():
    """An expensive teacher needs its section."""
    with pytest.raises(ValidationError, match='reference'):
        Tiers(expensive='teacher')
    with pytest.raises(ValidationError, match='reference'):
        Tiers.model_validate({'reference': {'calculator': 'emt'}})
