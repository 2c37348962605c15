"""What LAMMPS writes is read back: a real halted run, and what a killed run leaves."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from aiida_pyacemaker.atomistics.lammps.files import mass_lines, pair_lines, read_dump, read_log


@pytest.fixture(scope='module')
def halted_run(trained, lmp, tmp_path_factory):
    """Directory of a run that gamma halted, in a tilted cell."""
    import subprocess

    directory = tmp_path_factory.mktemp('halted')
    potential, _ = trained
    for name in potential.FILES:
        shutil.copy(potential.directory / name, directory / name)
    atoms = bulk('Al', 'fcc', a=4.05).repeat(2)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    write_lammps_data(directory / 'structure.data', atoms, specorder=['Al'], reduce_cell=False)
    (directory / 'in.lammps').write_text(
        'units metal\natom_style atomic\nbox tilt large\nread_data structure.data\n'
        f'{mass_lines(["Al"])}{pair_lines(potential.metadata)}'
        'fix gamma all pair 5 pace/extrapolation gamma 1\ncompute largest all reduce max f_gamma\n'
        'variable largest equal c_largest\nvelocity all create 4000 1\nfix move all nvt temp 4000 4000 0.1\n'
        'timestep 0.001\nthermo 5\nthermo_style custom step temp pe press vol c_largest\n'
        'dump d all custom 5 out.dump id type x y z f_gamma\n'
        'fix stop all halt 5 v_largest > 3.0 error soft message yes\nrun 2000\nwrite_restart restart\n'
    )
    executable, environment = lmp
    done = subprocess.run(
        [executable, '-in', 'in.lammps', '-screen', 'none'], cwd=directory, env=environment, check=False
    )
    assert done.returncode == 0
    return directory


def test_read_log_of_a_halted_run(halted_run):
    log = read_log(halted_run / 'log.lammps')
    assert log['halted'] and log['halt_id'] == 'stop' and log['halt_value'] > 3.0
    assert 'Fix halt condition' in log['halt_line']
    assert log['completed'] and log['wall_time'] is not None and log['runs_ended'] == 1
    assert log['errors'] == [] and not log['lost_atoms']
    assert log['version'] and log['atoms'] == 8 and log['loop_time'] > 0
    thermo = log['thermo']
    assert {'Step', 'Temp', 'PotEng', 'Press', 'Volume', 'c_largest'} <= set(thermo)
    assert thermo['Step'][-1] == log['halt_step'] == log['steps']
    assert thermo['c_largest'][-1] == pytest.approx(log['halt_value'], rel=1e-4)


def test_read_dump_of_a_halted_run(halted_run):
    frames = read_dump(halted_run / 'out.dump', ['Al'])
    log = read_log(halted_run / 'log.lammps')
    assert [atoms.info['step'] for atoms in frames] == [int(step) for step in log['thermo']['Step']]
    last = frames[-1]
    assert last.info['gamma_max'] == pytest.approx(log['halt_value'], rel=1e-4)
    assert last.arrays['gamma'].shape == (8,) and last.pbc.all()
    assert last.get_volume() == pytest.approx(log['thermo']['Volume'][-1], rel=1e-5)
    start = bulk('Al', 'fcc', a=4.05).repeat(2)
    np.testing.assert_allclose(frames[0].cell.cellpar(), start.cell.cellpar(), atol=1e-4)
    distances = [np.sort(atoms.get_all_distances(mic=True), axis=None) for atoms in (frames[0], start)]
    np.testing.assert_allclose(*distances, atol=1e-3)


def test_gamma_of_the_dump_is_that_of_python(halted_run, trained):
    frames = read_dump(halted_run / 'out.dump', ['Al'])
    for atoms, gamma in zip(frames, trained[0].gamma(frames), strict=True):
        # the dump has six digits of the positions
        np.testing.assert_allclose(atoms.arrays['gamma'], gamma, rtol=0.02, atol=1e-3)


def test_killed_run(halted_run, tmp_path):
    text = (halted_run / 'out.dump').read_text()
    number = len(read_dump(halted_run / 'out.dump', ['Al']))
    for cut in (30, 200, 400):
        (tmp_path / 'out.dump').write_text(text[:-cut])
        assert len(read_dump(tmp_path / 'out.dump', ['Al'])) in (number - 1, number - 2)
    log = (halted_run / 'log.lammps').read_text()
    half = log[: log.index('Fix halt condition')]
    read = read_log(half)
    assert not read['halted'] and not read['completed'] and read['runs_ended'] == 0
    assert len(read['thermo']['Step']) >= number - 1
    assert read_log('\n')['thermo'] == {}


def test_errors_in_the_log(run_lammps, tmp_path):
    done = run_lammps('units metal\nnonsense 1\n')
    log = read_log(tmp_path / 'log.lammps')
    assert done.returncode != 0 and not log['completed']
    assert any('nonsense' in line for line in log['errors'])


def test_dump_without_positions():
    text = 'ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\n'
    text += 'ITEM: ATOMS id type\n1 1\n'
    with pytest.raises(ValueError, match='no positions'):
        read_dump(text, ['Al'])
    with pytest.raises(ValueError, match='neither a column'):
        read_dump(text.replace('id type\n1 1', 'id x y z\n1 0 0 0'), ['Al'])
    scaled = read_dump(text.replace('id type\n1 1', 'id type xs ys zs\n1 1 0.5 0.5 0.5'), ['Al'])
    np.testing.assert_allclose(scaled[0].positions, [[0.5] * 3])


def test_pair_lines():
    pairs = [
        {'elements': pair, 'inner': 1.0, 'outer': 2.0, 'shortest': 2.0}
        for pair in (['Al', 'Al'], ['Al', 'Cu'], ['Cu', 'Cu'])
    ]
    metadata = {'elements': ['Al', 'Cu'], 'baseline': {'kind': 'zbl', 'pairs': pairs}}
    assert pair_lines(metadata).splitlines() == [
        'pair_style hybrid/overlay pace/extrapolation zbl 1.0 2.0 zbl 1.0 2.0 zbl 1.0 2.0',
        'pair_coeff * * pace/extrapolation potential.yaml potential.asi Al Cu',
        'pair_coeff * * zbl 1 0 0',
        'pair_coeff * * zbl 2 0 0',
        'pair_coeff * * zbl 3 0 0',
        'pair_coeff 1 1 zbl 1 13 13',
        'pair_coeff 1 2 zbl 2 13 29',
        'pair_coeff 2 2 zbl 3 29 29',
    ]
    single = {'elements': ['Al'], 'baseline': {'kind': 'zbl', 'pairs': pairs[:1]}}
    assert pair_lines(single, yace='a.yace').splitlines() == [
        'pair_style hybrid/overlay pace zbl 1.0 2.0',
        'pair_coeff * * pace a.yace Al',
        'pair_coeff 1 1 zbl 13 13',
    ]
