"""Zeros of energy: labels of different settings on one scale."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_pyacemaker.atomistics.core.configurations import save_configurations
from aiida_pyacemaker.atomistics.core.frame import is_isolated_atom, labels, set_labels
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.references import align_energies, energy_scales
from aiida_pyacemaker.atomistics.fitting.train import train
from aiida_pyacemaker.atomistics.potential.potential import AcePotential
from aiida_pyacemaker.worker.tasks import evaluate

from ..conftest import quiet

QE, TEACHER = {'oracle': 'qe', 'ecutwfc': 40.0}, {'oracle': 'teacher', 'calculator': 'emt'}
#: Energy of the inner electrons (eV per atom), which the teacher does not have.
INNER = -537.0
SMALL = FitJob(elements=['Al'], number_of_functions=30, cutoff=5.0, processes=1)
MIXED = SMALL.model_copy(update={'mix_settings': True})


def mixed(frames: list[Atoms], free: tuple[str, ...] = ('qe', 'teacher')) -> list[Atoms]:
    """Every second frame by the teacher, the others shifted as DFT energies are; free atoms by those in `free`."""
    made = []
    for index, atoms in enumerate(frames):
        everyone = is_isolated_atom(atoms)
        for settings in (QE, TEACHER) if everyone else ((QE, TEACHER)[index % 2],):
            if everyone and settings['oracle'] not in free:
                continue
            found = labels(atoms)
            found['energy'] += INNER * len(atoms) * (settings is QE)
            made.append(set_labels(atoms.copy(), **found))
            made[-1].info['settings'] = settings
    return made


def energies(frames: list[Atoms]) -> list[float]:
    return [labels(atoms)['energy'] / len(atoms) for atoms in frames if not is_isolated_atom(atoms)]


def test_free_atoms_make_energies_comparable(training):
    frames = mixed(training)
    scales = energy_scales(frames, ['Al'])
    assert [scale['settings'] for scale in scales] == [QE, TEACHER]
    assert scales[0]['offsets'] == {}
    assert scales[1]['offsets']['Al'] == pytest.approx(-INNER)
    aligned = align_energies(frames, scales)
    np.testing.assert_allclose(energies(aligned), np.array(energies(training)) + INNER)
    # the frames that came are as they were
    assert max(energies(frames)) - min(energies(frames)) > 500


def test_scale_of_the_free_atoms_comes_first(training):
    """Free atoms decide which scale is the common one; without a pair of them the energies per atom do."""
    frames = mixed(training, free=('teacher',))
    scales = energy_scales(frames, ['Al'])
    assert [scale['settings']['oracle'] for scale in scales] == ['teacher', 'qe']
    assert scales[1]['offsets']['Al'] == pytest.approx(INNER, abs=0.3)
    aligned = align_energies(frames, scales)
    assert max(energies(aligned)) - min(energies(aligned)) < 2


def test_energies_that_were_aligned(training):
    """A teacher's energies that were shifted onto DFT's are of DFT's scale: they are moved no further."""
    frames = mixed(training, free=('qe',))
    for atoms in frames:
        if atoms.info['settings'] == TEACHER:
            found = labels(atoms)
            set_labels(atoms, **{**found, 'energy': found['energy'] + INNER * len(atoms)})
            atoms.info['settings'] = {**TEACHER, 'aligned_to': QE}
    scales = energy_scales(frames, ['Al'])
    assert [scale['settings'] for scale in scales] == [QE]
    assert align_energies(frames, scales) is frames


def test_offsets_by_composition():
    """Two elements, free atoms of one of them with both settings: the other's offset is that of the crystals."""
    rng = np.random.default_rng(0)
    offsets, frames = {'Al': -500.0, 'Cu': -5000.0}, []
    for index in range(24):
        symbols = rng.permutation(['Al'] * (index % 9) + ['Cu'] * (8 - index % 9))
        atoms = Atoms(symbols, rng.uniform(0, 8, (8, 3)), cell=[8] * 3, pbc=True)
        atoms.info['settings'] = (QE, TEACHER)[index % 2]
        energy = -3.0 * 8 + (sum(offsets[symbol] for symbol in symbols) if index % 2 == 0 else 0.0)
        frames.append(set_labels(atoms, energy, np.zeros((8, 3))))
    for settings, energy in ((QE, -500.0), (TEACHER, 0.0)):
        atom = Atoms('Al', cell=[8] * 3, info={'family': 'isolated_atom', 'settings': settings})
        frames.append(set_labels(atom, energy, np.zeros((1, 3))))
    scales = energy_scales(frames, ['Al', 'Cu'])
    assert scales[1]['offsets'] == pytest.approx({'Al': 500.0, 'Cu': 5000.0}, abs=1e-6)


def test_mixture_in_a_fit(training, testing, tmp_path):
    """Refused unless asked for; asked for, it is the fit of the labels of one kind."""
    frames, test = mixed(training), mixed(testing)
    with pytest.raises(ValueError, match=r'labelled by qe against teacher emt.*`label\.mix_settings: true`'):
        train(frames, SMALL, tmp_path / 'refused', report=quiet)
    results = train(frames, MIXED, tmp_path / 'mixed', test=test, report=quiet)
    reference = train(training, SMALL, tmp_path / 'one', test=testing, report=quiet)
    one, other = AcePotential(tmp_path / 'mixed'), AcePotential(tmp_path / 'one')
    np.testing.assert_allclose(one.basis.basis_coeffs, other.basis.basis_coeffs, atol=1e-5)
    assert one.reference_energies['Al'] == pytest.approx(other.reference_energies['Al'] + INNER)
    assert one.metadata['settings'] == QE and other.metadata['settings'] is None
    assert results['test']['energy']['rmse'] == pytest.approx(reference['test']['energy']['rmse'], rel=1e-3)
    # the worker measures it on the same scale
    (tmp_path / 'potential').symlink_to(tmp_path / 'mixed')
    save_configurations(tmp_path / 'configurations.npz', test)
    assert evaluate.run(tmp_path, {})['metrics']['energy'] == pytest.approx(results['test']['energy'])

    alien = testing[0].copy()
    alien.info['settings'] = {'oracle': 'vasp'}
    set_labels(alien, **labels(testing[0]))
    with pytest.raises(ValueError, match=r'configuration 0 .*labelled by qe against vasp.*cannot be compared'):
        train(frames, MIXED, tmp_path / 'alien', test=[alien], report=quiet)


def test_parent_of_other_settings_is_no_reference(training, tmp_path):
    """The free atom of a parent serves labels of its own settings only."""
    dft = [atoms for atoms in mixed(training) if atoms.info['settings'] == QE]
    train(dft, SMALL, tmp_path / 'parent', report=quiet)
    parent = AcePotential(tmp_path / 'parent')
    without_atoms = [atoms for atoms in dft if not is_isolated_atom(atoms)]
    kinds = train(without_atoms, SMALL, tmp_path / 'same', parent=parent, report=quiet)['reference_kind']
    assert kinds == {'Al': 'parent'}
    other = [atoms for atoms in training if not is_isolated_atom(atoms)]
    kinds = train(other, SMALL, tmp_path / 'other', parent=parent, report=quiet)['reference_kind']
    assert kinds == {'Al': 'least_squares'}
