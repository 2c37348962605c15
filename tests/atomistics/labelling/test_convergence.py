"""Tests of the choice of DFT settings, on labels with errors of known size."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.frame import set_labels
from aiida_pyacemaker.atomistics.labelling.convergence import (
    Convergence,
    Labelled,
    NeedsLabels,
    Problem,
    compare,
    make_cells,
    widen,
)

WANTED = {'energy': 1e-3, 'force': 1e-2, 'stress': 0.1}


def synthetic(cell: Atoms, index: int, setting, smearing=1.0) -> Atoms:
    """Label a cell with errors that fall with the cutoff and the distance of k-points as those of DFT do."""
    rng = np.random.default_rng(index)
    one, two, three = (rng.normal(0, 1, 3 * len(cell) + 7) for _ in range(3))
    cutoff = 0.3 * np.exp(-setting.ecutwfc / 5)
    kpoints = 0.05 * (setting.kpoints_distance / 0.6) ** 3 * (0.05 / setting.degauss) ** 0.5 * smearing
    width = smearing * 100 * setting.degauss**3
    errors = cutoff * one + kpoints * two + width * three
    shift = {'Al': 5 * cutoff, 'Na': -3 * cutoff, 'Cl': 7 * cutoff}
    energy = sum(shift.get(symbol, 1.0) for symbol in cell.symbols) + 0.1 * len(cell) * errors[0]
    atoms = cell.copy()
    forces = errors[7:].reshape(-1, 3)
    return set_labels(atoms, energy=energy, forces=forces, stress=errors[1:7] * GPa)


def measure(cells, smearing=1.0, failed=(), **options):
    """Return the results, and the settings in the order in which they were labelled."""
    problem, done = Problem(cells, WANTED, (40.0, 160.0), **options), {}
    for _ in range(40):
        try:
            return Convergence(problem, done).conclude(), done
        except NeedsLabels as missing:
            for task in missing.tasks:
                frames = {k: synthetic(cells[k], k, task.setting, smearing) for k in task.cells if k not in failed}
                done[task.key] = Labelled(frames, task.setting.ecutwfc**1.5 / task.setting.kpoints_distance**3 / 1e3)
    raise AssertionError('it does not come to an end')


@pytest.mark.parametrize('atoms', [bulk('Al'), bulk('NaCl', 'rocksalt', a=5.64), bulk('Si')], ids=str)
def test_chosen_settings_are_as_quiet_as_wanted(atoms):
    """The noise told is above the true one on the same cells, which is below the wanted."""
    cells = make_cells([atoms], sorted(set(atoms.get_chemical_symbols())))
    results, done = measure(cells)
    assert results['reached'], results['message']
    (key,) = [key for key in done if key[0].to_dict() == results['settings'] and len(key[1]) == len(cells)]
    exact = type(key[0])(500.0, 2000.0, 1e-3, 1e-4)
    true = compare(done[key].frames, {k: synthetic(cell, k, exact, 0.0) for k, cell in enumerate(cells)})
    for name, value in true.items():
        assert value < 1.2 * WANTED[name]
        assert value < 2.5 * results['noise'][name]


def test_insulators_have_a_gap_and_few_kpoints():
    """Where the smearing changes nothing, it is told, and the widest and the coarsest are enough."""
    results, _ = measure(make_cells([bulk('Si')], ['Si']), smearing=0.0)
    assert results['character'] == {'gap': True, 'magnetic': False}
    assert (results['settings']['degauss'], results['settings']['kpoints_distance']) == (0.05, 0.6)
    metal, _ = measure(make_cells([bulk('Al')], ['Al']))
    assert not metal['character']['gap'] and metal['settings']['kpoints_distance'] < 0.6


def test_given_settings_are_kept_and_named():
    """A setting that the user gives is measured, and named where it is too noisy."""
    given = {'ecutwfc': 16.0, 'ecutrho': 64.0}
    results, _ = measure(make_cells([bulk('Al')], ['Al']), given=given)
    assert {key: results['settings'][key] for key in given} == given
    assert not results['reached'] and 'label.ecutwfc: set label.ecutwfc to null' in results['message']


def test_cost_is_limited():
    """What would cost too much is refused and told; what was measured so far is the answer."""
    cells = make_cells([bulk('Al')], ['Al'])
    _, everything = measure(cells)
    costs = sorted(labelled.core_seconds for labelled in everything.values())
    results, done = measure(cells, max_core_seconds=sum(costs) - costs[-1])
    assert 'would cost' in results['message']
    assert sum(labelled.core_seconds for labelled in done.values()) < sum(costs)


def test_cells_that_fail():
    """One cell that fails is left out; if all fail, that is said."""
    cells = make_cells([bulk('Al')], ['Al'])
    assert measure(cells, failed=(1,))[0]['reached']
    with pytest.raises(ValueError, match='no cell was labelled'):
        measure(cells, failed=range(len(cells)))


def test_compare_leaves_one_energy_per_element_out():
    """A shift per element is no noise, and the rest is scaled for what the shifts took."""
    cells = make_cells([bulk('Al'), bulk('Cu'), bulk('CuAu', 'cesiumchloride', a=3.0)], ['Al', 'Au', 'Cu'])
    first, second = {}, {}
    for index, cell in enumerate(cells):
        zero = {'forces': np.zeros((len(cell), 3)), 'stress': np.zeros(6)}
        first[index] = set_labels(cell.copy(), energy=0.0, **zero)
        second[index] = set_labels(cell.copy(), energy=float(cell.numbers.sum()), **zero)
    assert compare(first, second)['energy'] == pytest.approx(0.0, abs=1e-9)
    single = {0: first[0]}
    assert compare(single, single)['energy'] is None


def test_cells_cover_the_system():
    """All elements occur, pure ones too; the cells are small, without symmetry, and of many volumes."""
    perovskite = Atoms('SrTiO3', scaled_positions=[[0, 0, 0], [.5] * 3, [.5, .5, 0], [.5, 0, .5], [0, .5, .5]],
                       cell=[3.9] * 3, pbc=True)  # fmt: skip
    cells = make_cells([perovskite.repeat(2), bulk('Ti')], ['O', 'Sr', 'Ti'])
    assert {symbol for cell in cells for symbol in cell.symbols} == {'O', 'Sr', 'Ti'}
    assert {len(cell) for cell in cells} == {2, 5}
    assert len({round(cell.get_volume() / len(cell), 3) for cell in cells}) == len(cells)
    with pytest.raises(InputError, match='no initial structure holds Fe'):
        make_cells([perovskite], ['Fe', 'O', 'Sr', 'Ti'])


def test_widen():
    """Limits are widened as independent errors add up, and not at all without noise."""
    assert widen(3.0, 4.0) == 5.0 and widen(3.0, None) == 3.0
