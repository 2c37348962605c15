"""Data that are refused or warned of: each case one clear message; sound data none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.tip3p import TIP3P

from aiida_pyacemaker.atomistics.ace.active_set import active_set
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.fitting.checks import check_support
from aiida_pyacemaker.atomistics.fitting.training_set import TrainingSet, read_frames

from ..conftest import label

KCAL = units.kcal / units.mol


@pytest.fixture(scope='module')
def melt() -> list[Atoms]:
    """Aluminium cells on the way from a crystal to a melt, with strain, as steps of trajectories are."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(3):
        atoms = bulk('Al', 'fcc', a=4.1, cubic=True).repeat((2, 1, 1))
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        for _ in range(8):
            atoms = atoms.copy()
            atoms.positions += rng.normal(0, 0.06, atoms.positions.shape)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.015, 0.015, (3, 3))), scale_atoms=True)
            frames.append(label(atoms))
    return frames


def changed(frames, energy=1.0, forces=1.0, stress=1.0, length=1.0) -> list[Atoms]:
    """Copies with labels and lengths multiplied."""
    copies = []
    for atoms in frames:
        found, copy = labels(atoms), atoms.copy()
        copy.set_cell(copy.cell.array * length)
        copy.positions *= length
        factors = {'energy': energy, 'forces': forces, 'stress': stress}
        copies.append(set_labels(copy, **{key: value * factors[key] for key, value in found.items()}))
    return copies


def check(frames, test=(), elements=('Al',), mix_settings=False) -> list[str]:
    return TrainingSet.read(frames, elements, test, mix_settings).warnings


def test_sound_data(training, testing, melt):
    assert check(training, testing) == []
    assert check(melt) == []


@pytest.mark.parametrize('name', ['H2O', 'C6H6', 'NH3', 'CH3CH2OH'])
def test_molecules_have_usual_lengths(name):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(5):
        atoms = molecule(name, vacuum=4.0, pbc=True)
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        frames.append(set_labels(atoms, -1.0, rng.normal(size=atoms.positions.shape)))
    elements = sorted(set(frames[0].symbols))
    assert check(frames, elements=elements) == []
    with pytest.raises(ValueError, match='look like bohr'):
        check(changed(frames, length=1 / units.Bohr), elements=elements)


def test_noble_gases_have_no_bonds():
    frames = []
    for a in (5.2, 5.3, 5.4):
        atoms = bulk('Ar', 'fcc', a=a, cubic=True)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=8.0)
        frames.append(set_labels(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    assert [text for text in check(frames, elements=['Ar']) if 'exactly zero' not in text] == []


def test_water_is_sound():
    """Energies, forces and a large cell of several kinds of bonds."""
    rng = np.random.default_rng(0)
    frames = []
    water = molecule('H2O')
    water = water[[0, 1, 2]]
    water.set_cell([3.2] * 3)
    water.pbc = True
    box = water.repeat((2, 2, 2))
    box.calc = TIP3P(rc=3.1)
    for index in range(8):
        box.positions += np.repeat(rng.normal(0, 0.02, (8, 3)), 3, axis=0)
        frames.append(set_labels(box.copy(), box.get_potential_energy(), box.get_forces()))
        frames[-1].info['family'] = f'water {index // 8}'
    assert check(frames, elements=['H', 'O']) == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'energy': 1 / units.Ry}, 'the energies look like Ry'),
        ({'energy': 1 / units.Ha}, 'the energies look like Hartree'),
        ({'energy': 1 / KCAL}, 'the energies look like kcal/mol'),
        ({'forces': units.Bohr / units.Ry}, 'the forces look like Ry/bohr'),
        ({'forces': units.Bohr / units.Ha}, 'the forces look like Hartree/bohr'),
        ({'energy': 1 / units.Ry, 'forces': units.Bohr / units.Ry}, 'look like Ry and Ry/bohr, or Hartree'),
        ({'energy': 1 / units.Ha, 'forces': units.Bohr / units.Ha}, 'look like Ry and Ry/bohr, or Hartree'),
        ({'forces': -1.0}, r'the forces have the wrong sign \(they are gradients\)'),
        ({'stress': 1 / units.GPa}, 'the stresses look like GPa'),
        ({'stress': 10 / units.GPa}, 'the stresses look like kbar'),
        ({'stress': -1.0}, r'the stresses have the wrong sign \(they are pressures\)'),
        ({'stress': -10 / units.GPa}, r'wrong sign \(they are pressures\), the stresses look like kbar'),
        ({'length': 1 / units.Bohr}, 'positions and cells look like bohr; multiply them by 0.529177'),
        ({'length': 0.1}, 'positions and cells look like nanometres; multiply them by 10'),
        ({'length': 0.35}, 'positions look like scaled ones, or the cells do not belong to them'),
    ],
)
def test_wrong_units(melt, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        check(changed(melt, **change))
    assert str(caught.value).startswith('training data: ')
    assert '\n' not in str(caught.value)


def test_labels_that_do_not_belong_together(melt):
    """A factor that no unit explains is a warning."""
    (told,) = check(changed(melt, forces=0.2))
    assert 'energies change by 4.' in told and 'where it should be 1' in told


def test_units_that_agree_with_each_other(training, melt):
    """All in kJ/mol: no contradiction, but free atoms and magnitudes tell."""
    told = check(changed(training, energy=1 / KCAL, forces=1 / KCAL, stress=1 / KCAL))
    assert any('eV more than a free one' in text for text in told)
    kj = units.kJ / units.mol
    told = check(changed(melt, energy=1 / kj, forces=1 / kj, stress=1 / kj))
    assert any('kcal/mol or kJ/mol' in text for text in told)
    assert any('in eV/Å³, or in GPa or kbar' in text for text in told)


def test_one_group_of_wrong_units_among_others(melt):
    """Half of the data comes from elsewhere."""
    foreign = changed(melt[6:18], energy=1 / units.Ha)
    for atoms in foreign:
        atoms.info['family'] = 'downloaded'
    with pytest.raises(ValueError, match=r'look like Hartree.*configurations of downloaded: \d+ close pairs'):
        check([*melt[:6], *foreign, *melt[18:]])


def test_masked_data_say_nothing_about_units(melt):
    """Energies and forces that do not count are not compared."""
    frames = changed(melt, energy=1 / units.Ha)
    for atoms in frames:
        atoms.info['energy_weight'] = 0.0
    assert check(frames) == []


def test_frames_of_our_own_simulations_are_not_judged(melt):
    """What a simulation of ours halted at has our units, however anharmonic its labels are."""
    frames = changed(melt, energy=2.0)
    with pytest.raises(ValueError, match='energies change by'):
        check(frames)
    for atoms in frames:
        atoms.set_array('predicted_forces', np.zeros((len(atoms), 3)))
    check(frames)


def test_repeated(melt):
    copy = changed(melt[3:4])[0]
    copy.positions += 1e-8
    copy = set_labels(copy, **labels(changed(melt[3:4], energy=1 + 1e-6)[0]))
    (told,) = check([*melt, copy])
    assert told.startswith('training data: 1 configuration is (24) there before, with the same labels')
    many = check([*melt, *changed(melt)])
    assert any('24 configurations are (24, 25, 26, 27, 28, ...) there before' in text for text in many)
    (told,) = check(melt, test=changed(melt[:2]))
    assert told.startswith('test data: 2 configurations are (0, 1) trained on')


@pytest.mark.parametrize(
    ('change', 'message'),
    [({'energy': 1.5}, r'energies differ by \d+ meV/atom'), ({'forces': 1.5}, 'forces differ by')],
)
def test_contradictory(melt, change, message):
    other = changed(melt[5:6], **change)
    with pytest.raises(ValueError, match=rf'configurations 5 and 24 \(Al8\) are the same, and their {message}.*keep'):
        check([*melt, *other])
    other[0].info['weight'] = 0.0
    assert all('there before' in text for text in check([*melt, *other]))


def test_contradictory_where_masked(melt):
    """What is masked in one of the two does not contradict."""
    other = changed(melt[5:6], energy=2.0)[0]
    other.info['energy_weight'] = 0.0
    found = labels(other)
    found['forces'] = found['forces'].copy()
    found['forces'][0] += 10.0
    set_labels(other, **found)
    with pytest.raises(ValueError, match='forces differ by up to 10 eV/Å'):
        check([*melt, other])
    other.set_array('force_weights', np.array([0.0] + 7 * [1.0]))
    assert all('there before' in text for text in check([*melt, other]))


def test_nothing_to_fit(training):
    free = [atoms for atoms in training if len(atoms) == 1 and atoms.info['family'] == 'isolated_atom']
    for frames in ([], free):
        with pytest.raises(ValueError, match='no configuration with more than a free atom'):
            check(frames)
    assert not any(frame.is_fitted for frame in read_frames(free))


def test_a_single_configuration(melt):
    (told,) = check(melt[:1])
    assert 'one configuration only' in told


def test_an_element_without_data(melt):
    (told,) = check(melt, elements=['Al', 'Cu'])
    assert 'no configuration holds Cu' in told and 'take it out of elements' in told


def test_forces_that_nobody_computed(melt):
    told = check(changed(melt[::5], forces=0.0))
    assert any('all forces are exactly zero' in text for text in told)


@pytest.mark.parametrize('key', ['energy', 'forces', 'stress'])
def test_not_a_number(melt, key):
    broken = changed(melt)
    found = labels(broken[7])
    set_labels(broken[7], **{**found, key: found[key] * np.nan})
    with pytest.raises(ValueError, match=rf'training data: configuration 7 \(Al8\) has NaN or infinite {key}'):
        check(broken)
    with pytest.raises(ValueError, match=rf'test data: configuration 7 \(Al8\) has NaN or infinite {key}'):
        check(melt, test=broken)


def test_foreign_elements_and_slabs(melt):
    copper = label(bulk('Cu', cubic=True))
    with pytest.raises(ValueError, match=r'configuration 24 \(Cu4\) has Cu, which is not in elements \(Al\)'):
        check([*melt, copper])
    slab = changed(melt[:1])[0]
    found = labels(slab)
    slab.pbc = [True, True, False]
    with pytest.raises(ValueError, match='periodic in some directions only'):
        check([*melt, set_labels(slab, **found)])
    flat = changed(melt[:1])[0]
    flat.set_cell(np.diag([8.0, 4.0, 0.0]))
    flat.pbc = True
    with pytest.raises(ValueError, match='its cell has no volume'):
        check([*melt, set_labels(flat, **found)])


def test_collinear_basis():
    """Functions that are multiples of each other in all data are told of; a few open ones are not."""
    rows = np.random.default_rng(0).normal(size=(200, 20))
    assert check_support({'Al': active_set(rows)}) == []
    rows[:, 10:] = rows[:, :10] @ np.random.default_rng(1).normal(size=(10, 10))
    (told,) = check_support({'Al': active_set(rows)})
    assert 'leave 10 of the 20 functions of Al open' in told
    assert check_support({'Cu': active_set(np.zeros((0, 20)))}) == []
