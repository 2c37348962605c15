"""What a label costs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers

from aiida_pyacemaker.atomistics.core.cost import CostModel, calibrate, frame_costs, valence_electrons

#: Electrons of pseudopotentials in common libraries, whose semicore differs by element.
ELECTRONS = {
    'H': 1, 'C': 4, 'N': 5, 'O': 6, 'F': 7, 'Na': 9, 'Mg': 10, 'Al': 3, 'Si': 4, 'Cl': 7, 'K': 9, 'Ti': 12, 'Fe': 16,
    'Ni': 18, 'Cu': 11, 'Zn': 12, 'Ga': 3, 'Sr': 10, 'Ag': 11, 'Sn': 4, 'Ba': 10, 'Ce': 12, 'Hf': 12, 'W': 14,
    'Pt': 18, 'Au': 11, 'Pb': 4,
}  # fmt: skip


def test_valence_electrons():
    assert {symbol: valence_electrons(atomic_numbers[symbol]) for symbol in ELECTRONS} == ELECTRONS
    assert all(1 <= valence_electrons(number) <= 32 for number in range(1, 119))


def test_frame_costs():
    cell = bulk('Al', cubic=True)
    frames = [cell, cell.repeat((2, 1, 1)), Atoms('H2O')]
    costs = frame_costs(frames, 2.5)
    assert costs[1] / costs[0] == pytest.approx(2**2.5)
    assert costs[2] / costs[0] == pytest.approx((8 / 12) ** 2.5)
    assert costs.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(frame_costs(frames, 0.0), 1.0)
    atoms = frame_costs(frames, 1.0, count='atoms')
    np.testing.assert_allclose(atoms / atoms[2], [4 / 3, 8 / 3, 1])
    with pytest.raises(ValueError, match="'electrons' or 'atoms'"):
        frame_costs(frames, 1.0, count='volume')


#: Seconds of pw.x 6.7 on one core: cell, cutoff (Ry), distance of k-points (1/Å), time (s).
TIMINGS = [
    (bulk('Al', 'fcc', 4.05), 30, 0.2, 44.0),
    (bulk('Al', 'fcc', 4.05, cubic=True), 30, 0.25, 89.6),
    (bulk('Al', 'fcc', 4.05).repeat(2), 30, 0.6, 28.4),
    (bulk('Si', 'diamond', 5.43), 30, 0.2, 97.5),
    (bulk('Si', 'diamond', 5.43, cubic=True), 30, 0.3, 81.2),
    (bulk('Cu', 'fcc', 3.62), 92, 0.9, 16.8),
    (bulk('Cu', 'fcc', 3.62).repeat((2, 1, 1)), 92, 0.9, 39.6),
    (bulk('Mg', 'hcp', 3.2, c=5.2), 84, 0.75, 19.9),
    (bulk('Fe', 'bcc', 2.85), 90, 0.9, 41.3),
    (bulk('NaCl', 'rocksalt', 5.64), 88, 0.9, 15.9),
    (bulk('NaCl', 'rocksalt', 5.64, cubic=True), 88, 1.2, 15.7),
    (bulk('MgO', 'rocksalt', 4.21), 84, 0.9, 7.8),
]
#: Valence electrons of PseudoDojo where they are others than those by rule.
SEMICORE = {'Cu': 19.0}


def _model(ecutwfc: float, distance: float, **values) -> CostModel:
    return CostModel(ecutwfc, distance, valences=SEMICORE, magnetic=frozenset({'Fe'}), **values)


def test_timings():
    """The model reproduces what it was fitted to, whatever the material, the cutoff and the number of k-points."""
    ratios = np.array([_model(cut, step).core_seconds(atoms) / time for atoms, cut, step, time in TIMINGS])
    assert np.exp(np.abs(np.log(ratios))).max() < 2.0
    assert np.exp(np.sqrt(np.mean(np.log(ratios) ** 2))) < 1.4


def test_cost_model():
    """k-points are those of the mesh; spins, real wave functions and vacuum count; a supercell costs more."""
    cell = bulk('Fe', 'bcc', 2.85, cubic=True)
    model = _model(90, 0.2)
    assert model.number_of_kpoints(cell) == (12**3 + 1) // 2 + 1
    assert CostModel(90, 2.5).number_of_kpoints(cell) == 1
    # a skewed cell of the same lattice has the same k-points
    skewed = cell.copy()
    skewed.set_cell(np.array([[1, 0, 0], [3, 1, 0], [0, 0, 1]]) @ cell.cell.array)
    assert model.number_of_kpoints(skewed) == model.number_of_kpoints(cell)
    assert model.core_seconds(cell) == pytest.approx(4 * CostModel(90, 0.2).core_seconds(cell))
    # from two k-points to Gamma only, of which wave functions are real
    chain = Atoms('Al', cell=[3, 10, 10], pbc=[True, False, False])
    assert [CostModel(30, step).number_of_kpoints(chain) for step in (2.5, 1.0)] == [1, 2]
    ratio = CostModel(30, 1.0).core_seconds(chain) / CostModel(30, 2.5).core_seconds(chain)
    assert ratio == pytest.approx(4)
    slab = bulk('Al', cubic=True)
    slab.center(vacuum=8, axis=2)
    slab.info['vacuum_axes'] = [2]
    assert model.number_of_kpoints(slab) == (8 * 8) // 2 + 1
    slab.info['kpoints_mesh'] = (2, 2, 1)
    assert model.number_of_kpoints(slab) == 3
    large = cell.repeat((2, 2, 2))
    assert 8**0.5 < model.core_seconds(large) / model.core_seconds(cell) < 8**2


def test_calibrate():
    """Timed calculations move the scale, one that was interrupted does not; times that are none are refused."""
    frames = [cell for cell, *_ in TIMINGS[:3]]
    model = _model(30, 0.3)
    seconds = [3 * model.core_seconds(atoms) for atoms in frames]
    fitted = calibrate(model, frames, [*seconds[:2], 100 * seconds[2]])
    assert fitted.scale == pytest.approx(3) and fitted.ecutwfc == 30
    assert calibrate(fitted, frames, seconds).scale == pytest.approx(3)
    for wrong in ([], seconds[:2]):
        with pytest.raises(ValueError, match='one for each'):
            calibrate(model, frames, wrong)
    with pytest.raises(ValueError, match='positive'):
        calibrate(model, frames, [1.0, 0.0, 2.0])


def test_bad_cost_model():
    for values in ({'ecutwfc': 0.0}, {'kpoints_distance': -1.0}, {'scale': float('nan')}):
        with pytest.raises(ValueError, match=f'{next(iter(values))} must be positive'):
            CostModel(**{'ecutwfc': 30.0, 'kpoints_distance': 0.2, **values})
    with pytest.raises(ValueError, match='no cell'):
        CostModel(30, 0.2).core_seconds(Atoms('Al'))
