"""Systems for the benchmarks of dynamics on the fly: a teacher, a crystal, frames of the teacher's own trajectories.

The teachers are classical potentials, so that a loop costs minutes and its errors are known exactly. The test set comes
from simulations of the teacher alone, the crystal from 0.3 to 1.0 and the melt from 1.0 to 1.5 times the melting point,
at zero pressure, other sizes of cells among them: nothing in it was chosen by, or made with, a fitted potential.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from embedding_parents import AL_MM, CACHE, NACL, Teacher, born, potential_file

from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.labelling.teachers import label_frame

#: Initial data: crystals at about room temperature, and no other phase, no defect, no melt.
ROOM_TEMPERATURE = {
    'automatic': False,
    'subsystems': False,
    'pristine': {'number': 1},
    'eos': {'number': 4, 'range': 0.04},
    'strain': {'number': 4, 'amplitude': 0.02},
    'shear': {'number': 2, 'amplitude': 0.02},
    'rattle': {'number': 10, 'amplitude': [0.05, 0.1], 'atoms': 32},
    'vacancy': {'number': 0},
    'squeeze': {'number': 0},
    'test': {'number': 6},
}
#: fs; of the teacher's own trajectories.
TIMESTEP = 2.0


@dataclass(frozen=True)
class System:
    """What a loop is run on.

    :param crystal: cubic cell of the crystal at 0 K.
    :param melting: melting point (K).
    :param overrides: what its run file says besides `ROOM_TEMPERATURE` and the temperatures.
    :param repeats: sizes of the cells of the test set.
    """

    name: str
    teacher: Teacher
    crystal: Atoms
    melting: float
    overrides: dict[str, Any] = field(default_factory=dict)
    repeats: tuple[tuple[int, int, int], ...] = ((2, 2, 2), (3, 3, 3))

    @property
    def elements(self) -> list[str]:
        """Elements in the order of the package: sorted."""
        return sorted(self.teacher.elements)

    def content(self) -> dict[str, Any]:
        """Return what the user would write into the run file."""
        content = {
            'system': {'elements': self.elements},
            'label': {'oracle': 'teacher'},
            'structures': ROOM_TEMPERATURE,
            'explore': {
                'temperature': [100.0, round(1.5 * self.melting)],
                'programs': ['heat', 'cool'],
                'walkers': 2,
                'steps': 10000,
                'timestep': TIMESTEP,
            },
            'budget': {'max_iterations': 100},
        }
        return merged(content, self.overrides)

    def start(self) -> Atoms:
        """Return the crystal as the user's own structure."""
        atoms = self.crystal.copy()
        atoms.info.update(family='user', phase=atoms.get_chemical_formula(empirical=True), parent=self.name)
        return atoms

    def label(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return copies with energy, forces and stress of the teacher."""
        return [label_frame(atoms, self.teacher) for atoms in frames]


def merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings, the second winning."""
    result = dict(content)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result


def _foiles() -> Teacher:
    """S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986): made for alloys of these metals."""
    lines = [f'pair_coeff {k} {k} {potential_file(f"{element}_u3.eam")}' for k, element in enumerate(('Au', 'Cu'), 1)]
    return Teacher('Foiles', ['Au', 'Cu'], '\n'.join(['pair_style eam', *lines]), 5.55)


def _stillinger_weber() -> Teacher:
    """F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985): melts at 1,691 K."""
    return Teacher('SW', ['Si'], f'pair_style sw\npair_coeff * * {potential_file("Si.sw")} Si', 3.77)


def _ordered(constant: float) -> Atoms:
    """CuAu, the structure L1_0 with a cubic cell."""
    atoms = bulk('Au', 'fcc', constant, cubic=True)
    atoms.symbols[:] = ['Cu' if z < 0.25 else 'Au' for z in atoms.get_scaled_positions()[:, 2]]
    return atoms


_AL = bulk('Al', 'fcc', 4.045, cubic=True)
_SI = bulk('Si', 'diamond', 5.431, cubic=True)
_NACL = bulk('NaCl', 'rocksalt', NACL, cubic=True)
_WOLF = born('Tosi-Fumi, Wolf', 'born/coul/dsf 0.2 9.0')
#: Of two elements: a basis of 150 functions for each of them halts all the time, and is far better than asked for.
_FEW = {'number_of_functions': 60}
SYSTEMS = {
    'al': System('al', AL_MM, _AL, 926),
    'cuau': System('cuau', _foiles(), _ordered(3.87), 1180, {'train': {'cutoff': 5.5, **_FEW}}),
    'si': System('si', _stillinger_weber(), _SI, 1691, {'train': {'cutoff': 5.4}}, ((2, 2, 2), (3, 2, 2))),
    # The melt of salt has up to twice the volume of the crystal.
    'nacl': System(
        'nacl', _WOLF, _NACL, 1074, {'explore': {'max_volume_ratio': 2.5}, 'train': _FEW}, ((2, 2, 2), (3, 2, 2))
    ),
}


def test_set(system: System, per_point: int = 4, seed: int = 7) -> list[Atoms]:
    """Return labelled frames of the teacher's own trajectories, families `crystal` and `melt`; kept between runs.

    Six temperatures for each phase and each size, so many frames a picosecond apart from each.
    """
    recipe = ''.join(inspect.getsource(part) for part in (_make_test_set, teacher_frames, _current))
    facts = (system.teacher.pair, system.melting, system.repeats, system.crystal, per_point, seed)
    version = hashlib.sha256(f'{recipe}{facts}'.encode()).hexdigest()[:8]
    path = CACHE / f'loop-test-{system.name}-{version}.npz'
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix('.partial')
        save_configurations(partial, _make_test_set(system, per_point, seed))
        partial.rename(path)
    return load_configurations(path)


def _make_test_set(system: System, per_point: int, seed: int) -> list[Atoms]:
    frames = []
    for repeat in system.repeats:
        for share in np.linspace(0.3, 1.0, 6):
            seed += 1
            frames += teacher_frames(system, repeat, share * system.melting, per_point, seed)
        for share in np.linspace(1.0, 1.5, 6):
            seed += 1
            frames += teacher_frames(system, repeat, share * system.melting, per_point, seed, melt=True)
    return system.label(frames)


def teacher_frames(
    system: System, repeat: tuple[int, int, int], temperature: float, number: int, seed: int, *,
    melt: bool = False, every: int = 500, equilibration: int = 1000,
) -> list[Atoms]:  # fmt: skip
    """Return frames of a simulation with the teacher at zero pressure, isotropic, steps of `TIMESTEP`.

    :param temperature: K. :param every: steps between frames. :param equilibration: steps before the first.
    :param melt: molten first, 4 ps at 2.5 times the melting point and a volume 10 % above that of the crystal.
    """
    teacher, atoms = system.teacher, system.crystal.repeat(repeat)
    if melt:
        atoms.set_cell(atoms.cell.array * 1.1 ** (1 / 3), scale_atoms=True)
    run = teacher.library.commands_list
    teacher.start(atoms)
    run([f'timestep {TIMESTEP / 1000}', 'neigh_modify every 1 delay 0 check yes'])
    if melt:
        hot = 2.5 * system.melting
        run([f'velocity all create {hot} {seed} dist gaussian mom yes', f'fix f all nvt temp {hot} {hot} 0.1',
             'run 2000 post no', 'unfix f', f'velocity all scale {temperature}'])  # fmt: skip
    else:
        run([f'velocity all create {2 * temperature} {seed} dist gaussian mom yes'])
    run([f'fix f all npt temp {temperature} {temperature} 0.1 iso 0 0 1', f'run {equilibration} post no'])
    frames = []
    for _ in range(number):
        run([f'run {every} post no'])
        frames.append(_current(teacher, atoms))
        frames[-1].info.update(family='melt' if melt else 'crystal', temperature=float(temperature), split='test')
    return frames


def _current(teacher: Teacher, atoms: Atoms) -> Atoms:
    low, high, *_ = teacher.library.extract_box()
    positions = np.array(teacher.library.gather_atoms('x', 1, 3)).reshape(-1, 3) - np.array(low)
    return Atoms(atoms.numbers, positions, cell=np.subtract(high, low), pbc=True)
