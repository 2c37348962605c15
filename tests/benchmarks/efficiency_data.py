"""Trajectories of the teachers, and a fit that costs a second: with them `bench_efficiency.py` compares choices.

The pools are simulations driven by the teacher itself, at zero pressure: crystals heated through melting, and melts
cooled down. The test, of `loop_systems.py`, runs in larger cells too, with other velocities, at fixed temperatures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from loop_systems import SYSTEMS, System, test_set
from loop_systems import _current as current

from aiida_pyacemaker.atomistics.ace.basis import (
    build_basis,
    column_keys,
    columns_within,
    default_order,
    first_functions,
)
from aiida_pyacemaker.atomistics.ace.rows import DesignMatrix, FrameRows
from aiida_pyacemaker.atomistics.ace.store import RowStore, configuration_key
from aiida_pyacemaker.atomistics.baselines import Baseline, baseline_from_data
from aiida_pyacemaker.atomistics.core.configurations import load_configurations, save_configurations
from aiida_pyacemaker.atomistics.fitting.equations import Problem, Sums, accumulate
from aiida_pyacemaker.atomistics.fitting.ladder import tune
from aiida_pyacemaker.atomistics.fitting.predictions import predict_from_rows
from aiida_pyacemaker.atomistics.fitting.references import reference_energies
from aiida_pyacemaker.atomistics.fitting.targets import make_targets
from aiida_pyacemaker.atomistics.fitting.train import core_dimers
from aiida_pyacemaker.atomistics.fitting.training_set import read_frames
from aiida_pyacemaker.atomistics.fitting.weights import degrees
from aiida_pyacemaker.atomistics.metrics.errors import error_metrics

#: Wall time of pw.x for a label, on one core: t = SECONDS (n / 32)^EXPONENT. Least squares of 7.9, 37.7 and 239 s for
#: 8, 16 and 32 aluminium atoms without symmetry, 16 Ry, with 20, 12 and 8 k-points (Quantum ESPRESSO 6.7). Converged
#: settings take much longer; ratios stay.
SECONDS, EXPONENT = 239.0, 2.46
#: eV/Å; a frame of the loop's trajectories with a larger force is left out of its pool.
BROKEN = 25.0
#: fs between the frames of a trajectory of the teacher.
EVERY = 100.0


def core_hours(frames: Sequence[Atoms]) -> float:
    """Return what the labels of some frames cost, estimated."""
    return sum(SECONDS * (len(atoms) / 32) ** EXPONENT for atoms in frames) / 3600


@dataclass(frozen=True)
class Material:
    """A system of `loop_systems.py`, and how its potentials are fitted.

    :param repeat: of the crystal, for the trajectories of the pool.
    :param rungs: sizes of the basis that validation chooses from; the cutoff is in Å.
    """

    system: System
    repeat: tuple[int, int, int] = (2, 2, 2)
    cutoff: float = 6.5
    timestep: float = 2.0
    rungs: tuple[int, ...] = (120, 250, 400)

    @property
    def elements(self) -> list[str]:
        return self.system.elements


MATERIALS = {
    'al': Material(SYSTEMS['al']),
    'si': Material(SYSTEMS['si'], repeat=(2, 2, 1), cutoff=5.4),
    'cuau': Material(SYSTEMS['cuau'], cutoff=5.5, rungs=(60, 120, 200)),
}


# --- trajectories of the teacher --------------------------------------------------------------------------------------


def simulate(material: Material, ramps: Sequence[tuple[float, float, float]], seed: int, name: str) -> list[Atoms]:
    """Return frames, `EVERY` fs apart, of a simulation by the teacher at zero pressure.

    :param ramps: temperatures at start and end (K) and picoseconds; frames of ramps with a negative length (of that
        many picoseconds) are left out.
    """
    teacher, atoms = material.system.teacher, material.system.crystal.repeat(material.repeat)
    step, run = material.timestep / 1000, teacher.library.commands_list
    teacher.start(atoms)
    run([f'timestep {step}', 'neigh_modify every 1 delay 0 check yes',
         f'velocity all create {2 * ramps[0][0]} {seed} dist gaussian mom yes'])  # fmt: skip
    frames = []
    for first, last, length in ramps:
        run([f'fix f all npt temp {first} {last} {100 * step} iso 0 0 {1000 * step}'])
        number, stride = round(abs(length) * 1000 / EVERY), round(EVERY / material.timestep)
        begin = int(teacher.library.get_thermo('step'))
        for _ in range(number):
            run([f'run {stride} start {begin} stop {begin + stride * number} post no'])
            if length > 0:
                frames.append(current(teacher, atoms))
                frames[-1].info['trajectory'] = f'{name} {seed}'
        run(['unfix f'])
    return frames


def kept(path: Path, make: Callable[[], list[Atoms]]) -> list[Atoms]:
    """Return the frames of a file, made where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix('.partial')
        save_configurations(partial, make())
        partial.rename(path)
    return load_configurations(path)


def teacher_pool(material: Material, directory: Path, number: int) -> list[Atoms]:
    """Return the labelled frames of two trajectories of 20 ps each.

    A crystal is heated to 1.5 times the melting point; a melt is cooled from there to 0.8 times the melting point.
    """

    def make() -> list[Atoms]:
        melting, seed = material.system.melting, 1000 + 10 * number
        top = 1.5 * melting
        heated = simulate(material, [(100, top, 20)], seed + 1, 'heat')
        cooled = simulate(material, [(2.5 * top, top, -4), (top, 0.8 * melting, 20)], seed + 2, 'cool')
        return material.system.label(heated + cooled)

    return kept(directory / f'{material.system.name}_pool_{number}.npz', make)


def broken(atoms: Atoms) -> bool:
    """Return whether nobody would send a labelled frame to DFT."""
    return float(np.abs(atoms.calc.results['forces']).max()) > BROKEN


# --- the fit ----------------------------------------------------------------------------------------------------------


class _Rows(RowStore):
    """Rows on disk, but nothing that belongs to a certain choice of frames."""

    def remember(self, kind: str, content: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return compute()


class Judge:
    """Fits the production potential of any set of labelled frames, and measures it on the test.

    The trainer's own pieces: ZBL, linear ACE; weights, ridge and size of the basis by cross-validation. Baseline and
    cutoff are the same for all sets, so that the rows of a frame are computed once.
    """

    def __init__(self, material: Material, directory: Path):
        self.material, self.directory, self.test = material, directory, test_set(material.system)
        self.baseline: Baseline = baseline_from_data('zbl', material.elements, teacher_pool(material, directory, 1))
        self.largest = build_basis(
            material.elements, material.cutoff, material.rungs[-1], self.baseline.inner_cutoffs()
        )
        self.store = _Rows(directory / 'rows', DesignMatrix(self.largest))
        self.degree, self.keys = degrees(self.largest), column_keys(self.largest)
        dimers = core_dimers(self.baseline, 0.01)
        self.core = [(self.store.design.rows(dimer), weight) for dimer, weight in dimers]
        self.store.fill(self.test, 1, lambda message: None)
        self._evaluations: dict[str, Any] = {}

    @cached_property
    def _tests(self) -> list[tuple[Atoms, FrameRows]]:
        return [(atoms, self.store.get(atoms)) for atoms in self.test]

    def kept(self, path: Path, make: Callable[[], list[Atoms]]) -> list[Atoms]:
        """Return the frames of a file, labelled; made where it is missing."""
        return kept(path, lambda: self.material.system.label(make()))

    def evaluate(self, atoms: Atoms) -> Any:
        key = configuration_key(atoms)
        if key not in self._evaluations:
            self._evaluations[key] = self.baseline.evaluate(atoms)
        return self._evaluations[key]

    def judge(self, frames: Sequence[Atoms]) -> dict[str, Any]:
        """Return the errors (meV/atom, meV/Å) on crystal and melt, what the labels cost, and the size of the basis."""
        frames = [_alone(atoms) for atoms in frames]
        self.store.fill(frames, 1, lambda message: None)
        references, _ = reference_energies(frames, self.material.elements, None)
        targets = make_targets(read_frames(frames), references, [self.evaluate(atoms) for atoms in frames])
        size, coefficients = self._fit(accumulate(self.store, frames, targets, 1, self.core))
        predicted = [
            predict_from_rows(atoms, rows, coefficients, references, self.evaluate(atoms))
            for atoms, rows in self._tests
        ]
        metrics = error_metrics(self.test, predicted)
        by_family = {
            f'{kind} {name}': 1e3 * found[kind]['rmse']
            for name, found in metrics['by_family'].items()
            for kind in ('energy', 'forces')
        }
        return {
            'labels': len(frames),
            'atoms': sum(map(len, frames)),
            'core_hours': core_hours(frames),
            'functions': size,
            'energy': 1e3 * metrics['energy']['rmse'],
            'forces': 1e3 * metrics['forces']['rmse'],
            **by_family,
        }

    def _fit(self, sums: Sums) -> tuple[int, np.ndarray]:
        """Return the size of the basis that validates best, and its coefficients among those of the largest."""
        found, best = None, None
        order = default_order(len(self.material.elements))
        for number in self.material.rungs:
            part = columns_within(
                self.keys, self.material.elements, first_functions(len(self.material.elements), number, order)
            )
            small = sums.columns(part)
            found = tune(small, self.degree[part], found, 1)
            if best is None or found.error < best[0]:
                best = (found.error, number, part, small, found.hyper)
        _, number, part, small, hyper = best
        coefficients = np.zeros(self.store.number_of_functions)
        coefficients[part] = Problem(small, self.degree[part], 1).fit(hyper)
        return number, coefficients


def _alone(atoms: Atoms) -> Atoms:
    """A frame that no other belongs to: every set is validated frame by frame, wherever it comes from."""
    alone = atoms.copy()
    alone.calc = atoms.calc
    name = f'{zlib.crc32(atoms.positions.tobytes()):08x}'
    alone.info = {'trajectory': name, 'family': 'frame'}
    return alone
