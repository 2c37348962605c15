"""Training: errors, masks, weights, references, active set, determinism, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.ace.active_set import active_set
from aiida_pyacemaker.atomistics.ace.basis import build_basis
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix
from aiida_pyacemaker.atomistics.core.errors import MissingEngineError
from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.core.validation import read_section
from aiida_pyacemaker.atomistics.fitting.parameters import FitJob
from aiida_pyacemaker.atomistics.fitting.train import get_held, train
from aiida_pyacemaker.atomistics.potential.potential import AcePotential

from ..conftest import label, quiet

SMALL = {'elements': ['Al'], 'number_of_functions': 30, 'cutoff': 5.0, 'processes': 1}


def fit(frames, directory, parameters=None, **kwargs) -> tuple[AcePotential, dict]:
    results = train(frames, read_section(FitJob, {**SMALL, **(parameters or {})}), directory, report=quiet, **kwargs)
    return AcePotential(directory), results


def coefficients(potential: AcePotential) -> np.ndarray:
    return np.array(potential.basis.basis_coeffs)


def copies(frames: list[Atoms]) -> list[Atoms]:
    """Copies that keep their labels."""
    copied = []
    for atoms in frames:
        found = labels(atoms)
        copied.append(set_labels(atoms.copy(), **found))
    return copied


def test_errors_on_unseen_cells(trained):
    potential, results = trained
    assert results['test']['energy']['rmse'] < 0.003
    assert results['test']['forces']['rmse'] < 0.05
    assert results['test']['stress'] is not None
    assert results['train']['energy']['rmse'] < 0.001
    assert results['train_gamma_max'] <= 1.01
    assert results['cold_start']['degenerate'] is False
    assert results['cold_start']['n_frames'] == results['test']['n_frames'] == 4
    groups = {f'alloy {name}' for name in ('eos', 'strain', 'shear', 'rattle', 'vacancy')}
    assert set(results['train']['by_family']) == groups
    metadata = potential.metadata
    assert metadata['reference_kind'] == {'Al': 'isolated_atom'}
    assert metadata['fit']['test'] == results['test']
    assert metadata['number_of_functions'] == 100
    assert results['timings']['total'] < 60


def test_same_seed_same_bytes(trained, training, testing, tmp_path):
    potential, _ = trained
    parameters = {'elements': ['Al'], 'number_of_functions': 100, 'processes': 1}
    train(training, FitJob(**parameters), tmp_path, test=testing, report=quiet)
    for name in ('potential.yaml', 'potential.yace', 'potential.asi'):
        assert (tmp_path / name).read_bytes() == (potential.directory / name).read_bytes()


def embedded(frames: list[Atoms], forces: float = 0.0, energy: float = 0.0) -> list[Atoms]:
    """Copies of which the last six are as cut out of larger cells: every third atom masked, no energy, no stress.

    :param forces: added to the forces on masked atoms (eV/Å). :param energy: added to the energy that does not count.
    """
    cut = copies(frames)
    for atoms in cut[-6:]:
        found = labels(atoms)
        weights = np.ones(len(atoms))
        weights[::3] = 0.0
        atoms.set_array('force_weights', weights)
        atoms.info['energy_weight'] = 0.0
        found['forces'] = found['forces'].copy()
        found['forces'][::3] += forces
        set_labels(atoms, found['energy'] + energy, found['forces'], found['stress'] + energy)
    return cut


@pytest.mark.parametrize(
    ('forces', 'energy', 'references'), [(1e3, 1e4, 'least_squares'), (np.nan, np.nan, 'isolated_atom')]
)
def test_poisoned_labels_of_weight_zero(forces, energy, references, training, testing, tmp_path):
    """Absurd forces on masked atoms and absurd energies of weight zero leave the potential as it is, bit for bit."""
    if references == 'least_squares':
        training = [atoms for atoms in training if atoms.info['family'] != 'isolated_atom']
    one, clean = fit(embedded(training), tmp_path / 'clean', test=embedded(testing))
    other, poisoned = fit(
        embedded(training, forces, energy), tmp_path / 'other', test=embedded(testing, forces, energy)
    )
    for name in AcePotential.FILES:
        assert (one.directory / name).read_bytes() == (other.directory / name).read_bytes()
    assert set(clean.pop('timings')) == set(poisoned.pop('timings'))
    assert clean == poisoned
    assert clean['reference_kind'] == {'Al': references}
    # and a mask does change the fit
    assert not np.allclose(coefficients(one), coefficients(fit(training, tmp_path / 'all')[0]), atol=1e-6)


def test_clash_in_the_buffer(training, tmp_path):
    """Two masked atoms that clash do not move the range of the baseline, and the core's neighbours do."""
    frames = copies(training)
    cell = bulk('Al', 'fcc', a=4.05, cubic=True).repeat((2, 2, 3))
    cell.info.update(family='embedded', energy_weight=0.0)
    clash = cell.positions[0] + [1.5, 0, 0]
    cell.append('Al')
    cell.positions[-1] = clash
    near = cell.get_distances(-1, range(len(cell) - 1), mic=True)
    weights = np.ones(len(cell))
    weights[:-1][near < 3.0] = 0.0
    weights[-1] = 0.0
    cell.set_array('force_weights', weights)
    shortest = fit(frames, tmp_path / 'without')[0].baseline.pairs['Al', 'Al']['shortest']
    potential, _ = fit([*frames, label(cell)], tmp_path / 'with')
    assert potential.baseline.pairs['Al', 'Al']['shortest'] == shortest
    cell.arrays['force_weights'][-1] = 1.0
    potential, _ = fit([*frames, cell], tmp_path / 'counting')
    assert potential.baseline.pairs['Al', 'Al']['shortest'] == pytest.approx(near.min())


def test_weight_of_a_healed_label(training, tmp_path):
    """A label of a lowered weight is followed less, also by the reference energies; one of weight zero not at all."""
    without_atoms = [atoms for atoms in training if atoms.info['family'] != 'isolated_atom']
    energies = {}
    for weight in (1.0, 0.1, 0.0):
        frames = copies(without_atoms)
        found = labels(frames[2])
        set_labels(frames[2], found['energy'] + 4.0, found['forces'])
        frames[2].info['weight'] = weight
        energies[weight] = fit(frames, tmp_path / str(weight))[0].reference_energies['Al']
    right = fit([atoms for atoms in without_atoms if atoms is not without_atoms[2]], tmp_path / 'right')[0]
    assert energies[0.0] == right.reference_energies['Al']
    assert abs(energies[0.1] - energies[0.0]) < 0.02 * abs(energies[1.0] - energies[0.0])


def test_masked_atoms_are_no_part_of_the_active_set(training, tmp_path):
    frames = copies(training)
    odd = bulk('Al', 'fcc', a=4.4, cubic=True).repeat((1, 1, 2))
    odd.positions += np.random.default_rng(0).normal(0, 0.3, odd.positions.shape)
    odd.set_array('force_weights', np.array([1.0] + [0.0] * 7))
    odd.info['energy_weight'] = 0.0
    potential, results = fit([*frames, label(odd)], tmp_path)
    gamma = potential.gamma([odd])[0]
    assert gamma[0] <= 1.01 < gamma[1:].max()
    assert results['train_gamma_max'] <= 1.01


def test_weights_must_be_sound(training, tmp_path):
    frames = copies(training)
    frames[3].info['weight'] = -1.0
    with pytest.raises(ValueError, match='negative or NaN weight'):
        fit(frames, tmp_path)


def test_continue_from_a_parent(training, tmp_path):
    parent, _ = fit(training, tmp_path / 'parent')
    without_atoms = [atoms for atoms in training if atoms.info['family'] != 'isolated_atom']
    child, results = fit(without_atoms, tmp_path / 'child', {'generation': 1}, parent=parent)
    assert results['reference_kind'] == {'Al': 'parent'}
    assert child.reference_energies == parent.reference_energies
    assert results['baseline_kept'] and child.baseline.to_dict() == parent.baseline.to_dict()
    assert child.metadata['generation'] == 1
    np.testing.assert_allclose(coefficients(child), coefficients(parent), atol=1e-8)
    close = bulk('Al', 'fcc', a=2.2, cubic=True)
    assert close.get_distance(0, 1, mic=True) < parent.baseline.inner_cutoffs()['Al', 'Al'][0]
    close.info['family'] = 'eos'
    shorter, results = fit([*without_atoms, label(close)], tmp_path / 'shorter', parent=parent)
    assert not results['baseline_kept']
    assert shorter.baseline.pairs['Al', 'Al']['shortest'] == pytest.approx(2.2 / np.sqrt(2))


def test_references_by_least_squares(training, tmp_path):
    without_atoms = [atoms for atoms in training if atoms.info['family'] != 'isolated_atom']
    potential, results = fit(without_atoms, tmp_path)
    assert results['reference_kind'] == {'Al': 'least_squares'}
    per_atom = np.mean([labels(atoms)['energy'] / len(atoms) for atoms in without_atoms])
    assert potential.reference_energies['Al'] == pytest.approx(per_atom)
    assert results['train']['energy']['rmse'] < 0.02


@pytest.mark.parametrize('baseline', ['zbl', 'lj'])
def test_baselines(baseline, training, tmp_path):
    potential, results = fit(training, tmp_path, {'baseline': baseline})
    assert potential.baseline.kind == baseline
    assert results['train']['energy']['rmse'] < 0.01


def rattled_cells(number: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(number):
        atoms = bulk('Al', 'fcc', a=4.05, cubic=True).repeat((2, 2, 2))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, (0.05, 0.1, 0.2)[index % 3], atoms.positions.shape)
        frames.append(atoms)
    return frames


def test_cold_start_trap():
    """Gamma on unseen rattled cells by the number n of rattled cells in the set.

    Measured: 5830, 660, 10, 3.1, 1.1 for n = 0, 1, 2, 4, 8; condition numbers below 1e6.
    """
    symmetric = [bulk('Al', 'fcc', a=4.05 * scale, cubic=True) for scale in np.linspace(0.94, 1.06, 7)]
    design = DesignMatrix(build_basis(['Al'], 6.0, 60, {('Al', 'Al'): (1.7, 0.5)}))

    def projections(frames):
        return [np.array(row.projections) for row in design.all_rows(frames, forces=False)]

    known, seen, unseen = projections(symmetric), projections(rattled_cells(8, 0)), projections(rattled_cells(6, 1))
    medians = {}
    for number in (0, 2, 8):
        rows = np.vstack(known + seen[:number])
        chosen = active_set(rows)
        assert np.abs(rows @ chosen.inverse).max() <= 1.01
        assert np.all(np.isfinite(chosen.inverse)) and chosen.condition < 1e8
        assert len(chosen.rows) + chosen.unsupported == 60
        medians[number] = float(np.median([np.abs(rows @ chosen.inverse).max() for rows in unseen]))
    assert medians[0] > 100 > medians[2] > medians[8]
    assert medians[8] < 2


def test_degenerate_set_is_called_so(training, testing, tmp_path):
    symmetric = [atoms for atoms in training if atoms.info['operation'] in ('free atom', 'eos')]
    _, results = fit(symmetric, tmp_path, {'number_of_functions': 60}, test=testing)
    assert results['cold_start']['degenerate'] is True
    assert results['cold_start']['median_gamma'] > 100
    assert results['unsupported_functions'] > 30


def test_element_without_data(training, tmp_path):
    potential, results = fit(training, tmp_path, {'elements': ['Al', 'Cu']})
    assert potential.elements == ['Al', 'Cu']
    assert results['reference_kind']['Cu'] == 'least_squares'
    atoms = bulk('Cu', 'fcc', a=3.6, cubic=True)
    assert potential.gamma([atoms])[0].max() > 10


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'elements': []}, 'elements: the list is empty'),
        ({'cutoff': -1.0}, 'cutoff: -1.0 is wrong, it must be at least 2'),
        ({'ridge': -1.0}, 'ridge: -1.0 is wrong, it must be at least 0'),
        ({'mode': 'magic'}, "mode: 'magic' is not one of linear, nonlinear"),
        ({'baseline': 'morse'}, "baseline: 'morse' is not one of zbl, lj"),
        ({'cutof': 5.0}, r'cutof: unknown key; did you mean `cutoff`\?'),
    ],
)
def test_bad_parameters(parameters, message, training, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(training, tmp_path, parameters)


def test_bad_data(training, testing, tmp_path):
    isolated = [atoms for atoms in training if atoms.info['family'] == 'isolated_atom']
    for frames in ([], isolated):
        with pytest.raises(ValueError, match='no configuration with more than a free atom'):
            fit(frames, tmp_path)
    unlabelled = training[5].copy()
    with pytest.raises(ValueError, match=r'training data: configuration \d+ \(Al4\) has no energy'):
        fit([*training, unlabelled], tmp_path)
    with pytest.raises(ValueError, match=r'test data: configuration 0 \(Al4\) has no energy'):
        fit(training, tmp_path, test=[unlabelled])
    broken = set_labels(training[5].copy(), np.nan, np.zeros((4, 3)))
    with pytest.raises(ValueError, match='NaN'):
        fit([*training, broken], tmp_path)
    copper = label(bulk('Cu', cubic=True))
    with pytest.raises(ValueError, match=r'Cu, which is not in elements \(Al\)'):
        fit([*training, copper], tmp_path)
    slab = bulk('Al', cubic=True)
    slab.pbc = [True, True, False]
    with pytest.raises(ValueError, match='periodic in some directions only'):
        fit([*training, set_labels(slab, -1.0, np.zeros((4, 3)))], tmp_path)


def test_nonlinear_without_tensorflow(training, tmp_path):
    import importlib.util

    if importlib.util.find_spec('tensorpotential') is not None:
        results = fit(
            training, tmp_path / 'out', {'mode': 'nonlinear', 'number_of_functions': 10, 'max_iterations': 5}
        )[1]
        assert results['train_gamma_max'] <= 1.01
    else:
        with pytest.raises(MissingEngineError, match=r'install the extra aiida-pyacemaker\[nonlinear\]'):
            fit(training, tmp_path, {'mode': 'nonlinear'})


def test_what_a_continued_fit_keeps(training, tmp_path):
    """Basis and weights of the parent, until the data have grown or something else is asked for."""
    given = {'elements': ['Al'], 'processes': 1, 'number_of_functions': 30, 'cutoff': 5.0}
    results = train(training[:20], FitJob(**given), tmp_path / 'parent', report=quiet)
    parent = AcePotential(tmp_path / 'parent')
    number = results['chosen']['basis']['n_configurations']
    job = FitJob(elements=['Al'])
    assert get_held(parent, job, number) == results['chosen']
    # of few data the weights are chosen anew with each configuration, of many once they have grown by a fifth
    assert set(get_held(parent, job, number + 1)) == {'basis'}
    for chosen in parent.metadata['chosen'].values():
        chosen['n_configurations'] = 1000
    assert get_held(parent, job, 1100) == parent.metadata['chosen']
    assert set(get_held(parent, job, 1500)) == {'basis'}
    for chosen in parent.metadata['chosen'].values():
        chosen['n_configurations'] = number
    assert get_held(parent, job, 3 * number) == {}
    for asked in ({'cutoff': 6.0}, {'number_of_functions': 40}, {'max_cost': 20.0}, {'elements': ['Al', 'Cu']}):
        assert get_held(parent, job.model_copy(update=asked), number) == {}
    assert set(get_held(parent, job.model_copy(update={'ridge': 1e-3}), number)) == {'basis'}
    assert get_held(None, job, number) == {}
