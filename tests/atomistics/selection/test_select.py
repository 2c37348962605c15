"""Which configurations are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.checks.overlap import overlapping
from aiida_pyacemaker.atomistics.fitting.predictions import predict
from aiida_pyacemaker.atomistics.picking.d_optimal import Knowledge, d_optimal
from aiida_pyacemaker.atomistics.picking.descriptors import Environments
from aiida_pyacemaker.atomistics.selection.candidates import along_modes, bursts, displaced, stiffest_modes
from aiida_pyacemaker.atomistics.selection.parameters import Selection
from aiida_pyacemaker.atomistics.selection.select import core_of, select_configurations
from aiida_pyacemaker.atomistics.subsets.farthest_point import farthest_point

from ..conftest import quiet


def rattled(width: float, seed: int, role: str = 'trajectory', **info) -> Atoms:
    atoms = bulk('Al', 'fcc', a=4.1, cubic=True).repeat((1, 1, 2))
    atoms.positions += np.random.default_rng(seed).normal(0, width, atoms.positions.shape)
    atoms.info.update(role=role, **info)
    return atoms


def test_halted_and_trajectory(trained):
    frames = [rattled(0.3, 4, 'halted', parent='run-1', walker=0), rattled(0.3, 2, 'halted', parent='run-2')]
    frames += [rattled(0.05 + 0.01 * k, 10 + k, parent='run-1', step=k) for k in range(12)]
    parameters = {
        'candidates': ['random'], 'candidates_per_halt': 6, 'select_per_halt': 3, 'displacement': 0.2,
        'number_of_train': 2, 'number_of_test': 4, 'seed': 3,
    }  # fmt: skip
    selected = select_configurations(trained[0], frames, Selection(**parameters), report=quiet)
    families = [atoms.info['family'] for atoms in selected]
    assert families == [*['halted'] * 2, *['local_candidate'] * 4, *['trajectory'] * 6]
    assert [atoms.info['split'] for atoms in selected] == ['train'] * 8 + ['test'] * 4
    np.testing.assert_array_equal(selected[0].positions, frames[0].positions)
    assert [atoms.info['parent'] for atoms in selected[:6]] == ['run-1', 'run-2', *['run-1'] * 2, *['run-2'] * 2]
    assert selected[0].info['walker'] == 0 and 'role' not in selected[0].info
    assert not any(overlapping(atoms) for atoms in selected)
    for atoms, gamma in zip(selected, trained[0].gamma(selected), strict=True):
        np.testing.assert_allclose(atoms.arrays['gamma'], gamma, rtol=1e-9)
        assert atoms.info['gamma_max'] == pytest.approx(gamma.max())
    for atoms, known in zip(selected, predict(trained[0], selected), strict=True):
        np.testing.assert_allclose(atoms.arrays['predicted_forces'], known.get_forces(), atol=1e-9)
        assert atoms.info['predicted_energy'] == pytest.approx(known.get_potential_energy())
    again = select_configurations(trained[0], frames, Selection(**parameters), report=quiet)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(selected, again, strict=True))
    steps = [atoms.info['step'] for atoms in selected[6:]]
    assert len(set(steps)) == 6, 'no frame both trained and tested on'


def test_broken_and_equal_frames_are_left_out(trained):
    broken = rattled(0.05, 1, 'halted')
    broken.positions[1] = broken.positions[0] + [0.3, 0, 0]
    twin = rattled(0.05, 5)
    frames = [broken, rattled(0.2, 2, 'halted'), rattled(0.2, 2, 'halted'), rattled(0.2, 2), twin, twin.copy()]
    said = []
    selected = select_configurations(trained[0], frames, Selection(number_of_train=5), report=said.append)
    assert [atoms.info['family'] for atoms in selected] == ['halted', 'trajectory']
    assert any('overlapping' in line for line in said) and any('1 of 2 halts are known' in line for line in said)


def test_nothing_to_choose(trained):
    broken = rattled(0.05, 1, 'halted')
    broken.positions[1] = broken.positions[0] + [0.3, 0, 0]
    quiet_end = rattled(0.05, 2, parent='run-1', ended='completed', selected=True)
    assert select_configurations(trained[0], [broken, quiet_end], Selection(), report=quiet) == []


def test_frames_on_the_way(trained):
    halted = rattled(0.25, 1, 'halted', parent='run-1')
    way = [rattled(0.2, 20 + k, parent='run-1', step=k, selected=True) for k in range(3)]
    way.append(rattled(0.3, 30, parent='run-1', step=3))
    boiled = [rattled(0.35, 40 + k, parent='run-2', step=k, selected=True, ended='volume') for k in range(4)]
    selected = select_configurations(trained[0], [halted, *way, *boiled], Selection(select_per_halt=2), report=quiet)
    assert [atoms.info['parent'] for atoms in selected] == ['run-1'] * 2 + ['run-2'] * 2
    assert selected[0].info['family'] == 'halted' and selected[1].info['operation'] == 'path'
    assert selected[1].info['step'] < 3, 'only frames above gamma_select are candidates'
    assert not {'role', 'selected', 'ended'} & {key for atoms in selected for key in atoms.info}


@pytest.fixture(scope='module')
def large() -> Atoms:
    """864 atoms, two of which have a neighbour that is much too close."""
    atoms = bulk('Al', 'fcc', a=4.08, cubic=True).repeat(6)
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    for atom in (0, 430):
        atoms.positions[atom] += [0.6, 0.45, 0]
    return atoms


def test_large_frames_are_cut(trained, large):
    halted, moving = large.copy(), large.copy()
    halted.info.update(role='halted', parent='run-1', step=7)
    moving.info.update(role='trajectory', parent='run-2')
    said = []
    halted.set_array('magnetic_moments', np.arange(864.0))
    parameters = {
        'candidates': ['random'], 'select_per_halt': 2, 'candidates_per_halt': 3, 'number_of_test': 1,
        'number_of_train': 1, 'max_atoms': 110, 'core_radius': 3.5, 'relax_steps': 3, 'max_environments': 2,
        'gamma_select': 1.5, 'displacement': 0.1,
    }  # fmt: skip
    selected = select_configurations(trained[0], [halted, moving], Selection(**parameters), report=said.append)
    operations = [atoms.info['operation'] for atoms in selected]
    assert operations[:4] == ['halted', 'halted', 'random', 'random'] and 'random atom' in operations[4:]
    centres = [selected[place].info['embedding']['centre'] for place in (0, 1)]
    distances = [[large.get_distance(centre, atom, mic=True) for atom in (0, 430)] for centre in centres]
    assert sorted(np.argmin(distances, axis=1)) == [0, 1] and np.min(distances, axis=1).max() < 4
    gamma = trained[0].gamma(selected)
    for atoms, grades in zip(selected, gamma, strict=True):
        assert len(atoms) <= 110 and atoms.info['family'] == 'embedded' and atoms.info['energy_weight'] == 0
        core = atoms.arrays['force_weights'] > 0
        assert core.sum() == atoms.info['core'] > 8
        assert atoms.info['gamma_max'] == pytest.approx(grades[core].max())
    assert selected[0].info['step'] == 7 and selected[-1].info['split'] == 'test'
    anchor, candidate = selected[0], selected[2]
    assert candidate.arrays['magnetic_moments'][core_of(candidate)].tolist() == [
        float(index) for index in anchor.arrays['parent_index'][core_of(anchor)]
    ]
    moved = np.linalg.norm(candidate.positions - anchor.positions, axis=1)
    core = anchor.arrays['force_weights'] > 0
    assert moved[core].min() > 0 and (moved == 0).sum() > 20, 'the boundary stays as it was closed'
    assert sum('atoms cut around atom' in line for line in said) >= 3


def test_d_optimal_prefers_what_is_new(trained):
    frames = [rattled(0.02, seed) for seed in range(6)] + [rattled(0.3, 7)]
    environments = Environments(trained[0])
    rows = environments.rows(frames)
    assert d_optimal(rows, 1, environments.sizes) == [6]
    order = d_optimal(rows, 7, environments.sizes)
    assert sorted(order) == list(range(7))
    assert 6 not in d_optimal(rows, 3, environments.sizes, start=[6])


def test_d_optimal_is_the_largest_determinant():
    rng = np.random.default_rng(0)
    rows = [{'Al': rng.normal(size=(3, 5))} for _ in range(8)]

    def information(chosen):
        return np.linalg.slogdet(np.eye(5) + sum(rows[k]['Al'].T @ rows[k]['Al'] for k in chosen))[1]

    chosen = d_optimal(rows, 3, {'Al': 5})
    for number in range(3):
        best = max(set(range(8)) - set(chosen[:number]), key=lambda k: information([*chosen[:number], k]))
        assert chosen[number] == best


def test_farthest_point():
    points = np.array([[0.0], [0.1], [5.0], [10.0]])
    assert farthest_point(points, 2, start=[0]) == [3, 2]
    assert sorted(farthest_point(points, 9)) == [0, 1, 2, 3]
    assert farthest_point(np.zeros((0, 1)), 2) == []


def test_displaced():
    atoms = bulk('Al', cubic=True)
    found = displaced(atoms, 5, 0.1, np.random.default_rng(0))
    assert len(found) == 5 and not any(np.array_equal(a.positions, atoms.positions) for a in found)
    with pytest.raises(ValueError, match='lower the displacement'):
        displaced(atoms.repeat(3), 1, 5.0, np.random.default_rng(0))


def test_stiffest_modes(trained):
    atoms = rattled(0.1, 3)
    calculator = trained[0].calculator()
    movable = np.array([0, 3, 5])
    hessian = np.zeros((9, 9))
    for column in range(9):
        step = np.zeros((len(atoms), 3))
        step[movable[column // 3], column % 3] = 1e-3
        forces = [calculator.get_forces(displaced_by(atoms, sign * step)) for sign in (-1, 1)]
        hessian[:, column] = ((forces[0] - forces[1]) / 2e-3)[movable].ravel()
    curvatures, modes = stiffest_modes(atoms, movable, 3, calculator)
    expected = sorted(np.linalg.eigvalsh(hessian), key=abs)[::-1][:3]
    np.testing.assert_allclose(curvatures, expected, rtol=0.02)
    assert np.all(np.delete(modes, movable, axis=1) == 0)
    for curvature, mode in zip(curvatures, modes[:, movable].reshape(3, 9), strict=True):
        assert mode @ hessian @ mode == pytest.approx(curvature, rel=0.02)
    found = along_modes(atoms, 4, 0.1, calculator, np.array([3]))
    moves = [np.linalg.norm(candidate.positions - atoms.positions, axis=1) for candidate in found]
    assert len(found) == 4 and all(move.max() == pytest.approx(0.1) for move in moves)


def displaced_by(atoms: Atoms, step: np.ndarray) -> Atoms:
    other = atoms.copy()
    other.positions += step
    return other


def test_bursts(trained):
    atoms = rattled(0.05, 3, temperature=900.0)
    found = bursts(atoms, 7, trained[0].calculator(), np.random.default_rng(0))
    again = bursts(atoms, 7, trained[0].calculator(), np.random.default_rng(0))
    assert len(found) == 7 and not any(overlapping(candidate) for candidate in found)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(found, again, strict=True))
    assert not any(candidate.constraints or candidate.calc for candidate in found)
    moves = [np.linalg.norm(candidate.positions - atoms.positions, axis=1).mean() for candidate in found]
    assert 0 < moves[0] < moves[3] < 1 and moves[5] < moves[3], 'a burst goes on, and the next one begins anew'


def test_alloy(alloy):
    frames = [rattled(0.2, 1, 'halted'), *[rattled(0.05, seed) for seed in range(3)]]
    for atoms in frames:
        atoms.symbols[:3] = 'Cu'
    pure = rattled(0.1, 9)
    parameters = {'candidates': ['bursts'], 'select_per_halt': 2, 'number_of_train': 2, 'number_of_test': 1}
    selected = select_configurations(alloy, [*frames, pure], Selection(**parameters), report=quiet)
    assert len(selected) == 5


@pytest.mark.parametrize(
    ('change', 'parameters', 'message'),
    [
        ({'role': 'other'}, {}, "has the role 'other'"),
        ({}, {'max_atoms': 1}, 'embed.max_atoms = 1 leaves a box'),
        ({}, {'buffer': -1.0}, 'buffer'),
        ({}, {'candidates': ['dice']}, 'candidates'),
        ({}, {'selectt': 4}, 'selectt'),
    ],
)
def test_bad_input(change, parameters, message, trained):
    atoms = rattled(0.1, 1, 'halted')
    atoms.info.update(change)
    with pytest.raises(ValueError, match=message):
        select_configurations(trained[0], [atoms], Selection(**parameters), report=quiet)


def test_knowledge(trained):
    """What is learned is below 1; a frame that is known teaches no more, and is not chosen."""
    frames = [rattled(0.3, 4), rattled(0.3, 2), rattled(0.3, 4)]
    environments = Environments(trained[0])
    rows = environments.rows(frames)
    knowledge = Knowledge(environments.sizes)
    before = [knowledge.gamma(row) for row in rows]
    assert before == pytest.approx([gamma.max() for gamma in trained[0].gamma(frames)])
    gain = knowledge.gain(rows[1])
    knowledge.add(rows[0])
    assert knowledge.gamma(rows[0]) < 1 < knowledge.gamma(rows[1]) < before[1]
    assert knowledge.gain(rows[1]) < gain
    assert d_optimal(rows, 3, environments.sizes, start=[0], least_gamma=1.0) == [1]
