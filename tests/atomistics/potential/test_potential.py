"""Python and LAMMPS see the same potential: energy, forces, stress, gamma."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pyacemaker.atomistics.lammps.files import pair_lines, read_log, write_in_lammps
from aiida_pyacemaker.atomistics.potential.potential import AcePotential


def cells() -> list[Atoms]:
    """Rattled cells: cubic, triclinic, and one smaller than the cutoff; some atoms within the baseline's range."""
    rng = np.random.default_rng(5)
    frames = []
    for repeat, skew, width in (((2, 2, 1), 0.0, 0.1), ((1, 1, 2), 0.1, 0.3), ((1, 1, 1), 0.15, 0.2)):
        atoms = bulk('Al', 'fcc', a=4.0, cubic=True).repeat(repeat)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-skew, skew, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, width, atoms.positions.shape)
        frames.append(atoms)
    frames.append(Atoms('Al2', [[0, 0, 0], [0, 0, 1.7]], cell=[12, 12, 12], pbc=True))
    return frames


def compare(potential, atoms, lammps_single_point, directory) -> None:
    for name in potential.FILES:
        shutil.copy(potential.directory / name, directory / name)
    atoms.calc = potential.calculator()
    reference = sum(potential.reference_energies[symbol] for symbol in atoms.get_chemical_symbols())
    lines = pair_lines(potential.metadata)
    energy, forces, stress, gamma = lammps_single_point(atoms, lines, potential.elements, directory, gamma=True)
    assert atoms.get_potential_energy() - reference == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-8)
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-7)
    # dumps are written with six digits unless asked otherwise; here with all
    np.testing.assert_allclose(atoms.calc.results['gamma'], gamma, rtol=1e-6, atol=1e-8)
    assert gamma.max() > 0


@pytest.mark.parametrize('index', range(4))
def test_equals_lammps(index, trained, lammps_single_point, tmp_path):
    compare(trained[0], cells()[index], lammps_single_point, tmp_path)


@pytest.mark.parametrize('index', range(3))
def test_alloy_equals_lammps(index, alloy, lammps_single_point, tmp_path):
    assert alloy.elements == ['Al', 'Cu']
    atoms = cells()[index]
    atoms.set_chemical_symbols([['Cu', 'Al', 'Al'][k % 3] for k in range(len(atoms))])
    compare(alloy, atoms, lammps_single_point, tmp_path)


def test_ready_input_runs(alloy, run_lammps, tmp_path):
    from ase.io.lammpsdata import write_lammps_data

    for name in alloy.FILES:
        shutil.copy(alloy.directory / name, tmp_path / name)
    atoms = cells()[0]
    atoms.symbols[::2] = 'Cu'
    write_lammps_data(tmp_path / 'structure.data', atoms, specorder=alloy.elements)
    done = run_lammps(write_in_lammps(alloy.metadata))
    log = read_log(tmp_path / 'log.lammps')
    assert done.returncode == 0 and log['completed'], log['errors']
    # the C-tilde form uses splines: close, not equal
    atoms.calc = alloy.calculator()
    expected = atoms.get_potential_energy() - sum(alloy.reference_energies[s] for s in atoms.get_chemical_symbols())
    assert log['thermo']['PotEng'][-1] == pytest.approx(expected, abs=1e-3 * len(atoms))


def test_pushed_pair_is_repelled_in_lammps(trained, run_lammps, tmp_path):
    """Two Al atoms from the end of the data down to 0.8 Å: energy and repulsion only ever grow; then they fly apart."""
    potential, _ = trained
    for name in potential.FILES:
        shutil.copy(potential.directory / name, tmp_path / name)
    shortest = potential.baseline.pairs['Al', 'Al']['shortest']
    distances = np.linspace(0.8, shortest, 40)
    moves = ''.join(f'set atom 2 x {10 + r!r}\nrun 0\nprint "PAIR $(v_r) $(pe) $(v_f)"\n' for r in distances.tolist())
    done = run_lammps(
        'units metal\natom_style atomic\natom_modify map yes\nboundary p p p\nregion b block 0 30 0 30 0 30\n'
        f'create_box 1 b\ncreate_atoms 1 single 10 10 10\ncreate_atoms 1 single {10 + shortest} 10 10\nmass 1 26.98\n'
        f'{pair_lines(potential.metadata)}'
        'variable r equal x[2]-x[1]\nvariable f equal fx[2]\nthermo 1000\n'
        f'{moves}set atom 2 x 10.8\nfix 1 all nve\ntimestep 0.0001\nrun 2000\n'
        'print "END $(v_r) $(v_f)"\n'
    )
    log = (tmp_path / 'log.lammps').read_text()
    assert done.returncode == 0, log[-2000:]
    table = np.array([line.split()[1:] for line in log.splitlines() if line.startswith('PAIR ')], dtype=float)
    assert len(table) == 40
    assert np.all(np.diff(table[:, 1]) < 0), 'the energy must fall from 0.8 Å outwards'
    assert np.all(table[:, 2] > 0)
    assert table[0, 1] > 50  # eV at 0.8 Å
    end = next(line.split() for line in log.splitlines() if line.startswith('END '))
    assert float(end[1]) > 5


def test_pair_in_the_crystal_is_repelled(trained):
    potential, _ = trained
    crystal = bulk('Al', 'fcc', a=4.05, cubic=True).repeat(2)
    distances = crystal.get_distances(0, range(len(crystal)), mic=True)
    calculator = potential.calculator()
    for shell in (2.8638, 4.05):
        other = int(np.argmin(np.abs(distances - shell)))
        vector = crystal.get_distance(0, other, mic=True, vector=True)
        direction = vector / np.linalg.norm(vector)
        for distance in np.arange(0.8, potential.baseline.pairs['Al', 'Al']['shortest'], 0.05):
            atoms = crystal.copy()
            atoms.positions[0] += direction * (shell - distance) / 2
            atoms.positions[other] -= direction * (shell - distance) / 2
            atoms.calc = calculator
            assert atoms.get_forces()[other] @ direction > 0, f'{distance:.2f} Å in shell {shell}'


def test_gamma_of_frames(trained, training):
    potential, _ = trained
    grades = potential.gamma(training)
    assert [len(grade) for grade in grades] == [len(atoms) for atoms in training]
    assert max(grade.max() for grade in grades) <= 1.01


def test_broken_potentials_are_named(trained, tmp_path):
    potential, _ = trained
    with pytest.raises(ValueError, match=r'has no potential\.yaml'):
        AcePotential(tmp_path)
    copy = tmp_path / 'copy'
    shutil.copytree(potential.directory, copy)
    (copy / 'metadata.json').write_text('{')
    with pytest.raises(ValueError, match=r'metadata\.json'):
        AcePotential(copy)
    (copy / 'metadata.json').write_text(json.dumps({'elements': ['Al']}))
    with pytest.raises(ValueError, match=r'metadata\.json'):
        AcePotential(copy)
    with pytest.raises(ValueError, match='Cu, which is not in the potential of Al'):
        bulk_copper = bulk('Cu')
        bulk_copper.calc = potential.calculator()
        bulk_copper.get_potential_energy()


def test_left_handed_cell(trained, training):
    """python-ace refuses it; the same lattice with two vectors exchanged has the same energy, forces and stress."""
    potential, _ = trained
    atoms = training[-1].copy()
    mirror = atoms.copy()
    mirror.set_cell(atoms.cell.array[[1, 0, 2]])
    calculators = [potential.calculator(), potential.calculator()]
    for frame, calculator in zip((atoms, mirror), calculators, strict=True):
        calculator.calculate(frame)
    for name in ('energy', 'forces', 'stress', 'gamma'):
        np.testing.assert_allclose(calculators[0].results[name], calculators[1].results[name], atol=1e-10)


def test_without_gamma_the_labels_are_the_same(alloy):
    """The fast evaluator sums the same functions in another order."""
    rng = np.random.default_rng(3)
    slow, fast = alloy.calculator(), alloy.calculator(gamma=False)
    for scale in (0.6, 0.8, 1.0, 1.3):
        atoms = bulk('Cu', cubic=True).repeat((2, 1, 1))
        atoms.symbols[rng.permutation(8)[:4]] = 'Al'
        atoms.set_cell(scale * atoms.cell @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, seed=1)
        slow.calculate(atoms)
        fast.calculate(atoms)
        assert 'gamma' in slow.results and 'gamma' not in fast.results
        for name in ('energy', 'forces', 'stress'):
            np.testing.assert_allclose(fast.results[name], slow.results[name], rtol=1e-9, atol=1e-9)
