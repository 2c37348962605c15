"""What a label costs: how the time of a DFT calculation grows with the configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell, minkowski_reduce
from ase.units import Bohr

from .meshes import mesh_numbers

#: The time of a plane-wave calculation grows with a power of the number of electrons between 2 (k-points fewer as
#: the cell grows) and 3 (orthogonalisation).
EXPONENT = 2.5
# pw.x's own 20 % of empty bands are too few for small metallic cells, whose k-points differ much in the number of
# occupied bands: measured on Al8 and Al16 with 0.05 Ry of smearing, 16 and 29 bands hold electrons where 12 and 24
# pairs have to be placed. Too few bands cost a second calculation.
BANDS_FACTOR = 1.3
BANDS_EXTRA = 4
#: Seconds of one core per iteration, k-point and band: for each point of the FFT grid and factor log2 of their
#: number (products with the potential), and for each plane wave and other band (projections, orthogonalisation, the
#: subspace). Fitted to the timings told in :class:`CostModel`.
SECONDS_FFT = 4.9e-9
SECONDS_BANDS = 8.8e-8
#: Iterations to self-consistency: measured 6 to 11, and 16 with spins.
ITERATIONS, ITERATIONS_SPIN = 8, 16
#: Factor by which an estimate that is not calibrated may be off: that of the worst of the timings.
UNCERTAINTY = 2.0
#: Points of the FFT grid for each plane wave of the wave functions: the box around a sphere of twice their radius.
_GRID_PER_WAVE = 48 / math.pi
#: Number of the noble gas before each row of the periodic table.
_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def valence_electrons(number: int) -> int:
    """Return how many electrons of an element (atomic number) pseudopotentials usually treat.

    By rule, not by table, since only rough ratios count: all beyond the noble gas, without filled f shells and, after
    zinc, cadmium, and mercury, without filled d shells; with the eight semicore electrons of the groups up to nickel's,
    from sodium on.
    """
    core = max(gas for gas in _NOBLE if gas < number)
    outer = number - core
    if core >= 54 and 2 < outer < 18:
        return outer + 8  # lanthanides and actinides, f electrons included
    if core >= 54 and outer >= 18:
        outer -= 14
    if core >= 18 and outer > 12:
        return outer - 10
    semicore = core >= 10 and (outer <= 2 or (core >= 18 and outer <= 10))
    return outer + (8 if semicore else 0)


def frame_costs(frames: Sequence[Atoms], exponent: float = EXPONENT, count: str = 'electrons') -> np.ndarray:
    """Relative costs (n_frames,) of the labels: (number of valence electrons, or of atoms)^exponent, mean 1.

    :param count: 'electrons' or 'atoms'.
    """
    if count not in ('electrons', 'atoms'):
        raise ValueError(f"count is {count!r}: it is 'electrons' or 'atoms'")
    if count == 'atoms':
        sizes = np.array([len(atoms) for atoms in frames], dtype=float)
    else:
        table = {int(z): valence_electrons(int(z)) for z in np.unique(np.concatenate([a.numbers for a in frames]))}
        sizes = np.array([sum(table[int(z)] for z in atoms.numbers) for atoms in frames], dtype=float)
    costs = sizes**exponent
    return costs / costs.mean()


def number_of_bands(electrons: float, moment: float = 0.0) -> int:
    """Return the number of bands: those that hold the valence electrons and enough empty ones for the smearing.

    :param moment: Bohr magnetons that are fixed, which one spin has more than the other.
    """
    return math.ceil(max(BANDS_FACTOR * electrons, electrons + moment) / 2) + BANDS_EXTRA


@dataclass(frozen=True)
class CostModel:
    """The time of a static calculation of pw.x with norm-conserving pseudopotentials, forces and stress.

    It is the sum of the two products that dominate an iteration (Payne et al., Rev. Mod. Phys. 64, 1045 (1992)), of
    bands with the FFT grid and of bands with bands and plane waves, times k-points, spins, and iterations; half of it
    with real wave functions (Gamma only). Two constants are fitted, to 17 timings of pw.x 6.7 on one core of 1 to 64
    atoms, 3 to 256 electrons, 24 to 92 Ry and 1 to 2052 k-points (Al, Si, Cu, Mg, Fe with spins, NaCl, MgO): they
    scatter by a factor of 1.37 (root mean square of the logarithms; 1.42 for each left out of the fit), the worst is
    off by 2.0. Spins were timed on one cell only. Other machines and numbers of threads are for `scale`.

    Symmetry is not counted: crystals that are neither strained nor rattled cost less. Vacuum that the cell repeats is
    taken for matter where the info `vacuum_axes` does not name it: slabs may cost less.

    :param ecutwfc: cutoff of the wave functions in Ry.
    :param kpoints_distance: distance of k-points in 1/Å, with the factor of 2 pi.
    :param valences: valence electrons of each element; where one is missing, :func:`valence_electrons` tells.
    :param magnetic: elements with which a cell is spin-polarised.
    :param scale: true times over those of the model, see :func:`calibrate`.
    :raises ValueError: if a cutoff, distance or scale is not positive and finite.
    """

    ecutwfc: float
    kpoints_distance: float
    valences: dict[str, float] = field(default_factory=dict)
    magnetic: frozenset[str] = frozenset()
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ('ecutwfc', 'kpoints_distance', 'scale'):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f'{name} must be positive, got {value}')

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON has them."""
        return {**asdict(self), 'magnetic': sorted(self.magnetic)}

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any]) -> CostModel:
        """Return the model of what :meth:`to_dict` has told."""
        return cls(**{**arguments, 'magnetic': frozenset(arguments.get('magnetic', ()))})

    def core_seconds(self, atoms: Atoms) -> float:
        """Return the expected seconds, times cores, of a frame.

        :raises ValueError: if the frame has no atoms or no cell.
        """
        if len(atoms) == 0 or atoms.cell.rank < 3:
            raise ValueError(f'{atoms.get_chemical_formula() or "a frame"} has no atoms or no cell of three vectors')
        symbols = atoms.get_chemical_symbols()
        bands = number_of_bands(
            sum(
                self.valences.get(symbol, valence_electrons(int(number)))
                for symbol, number in zip(symbols, atoms.numbers, strict=True)
            )
        )
        spins = not self.magnetic.isdisjoint(symbols)
        points = self.number_of_kpoints(atoms)
        waves = atoms.get_volume() / Bohr**3 * self.ecutwfc**1.5 / (6 * math.pi**2)
        grid = waves * _GRID_PER_WAVE
        iteration = bands * (SECONDS_FFT * grid * math.log2(grid) + SECONDS_BANDS * bands * waves)
        repeats = (2 * ITERATIONS_SPIN if spins else ITERATIONS) * (0.5 if points == 1 else points)
        return self.scale * repeats * iteration

    def number_of_kpoints(self, atoms: Atoms) -> int:
        """Return how many k-points are left of the mesh by time reversal; 1 is Gamma only.

        A mesh that the info `kpoints_mesh` holds is taken.
        """
        mesh = atoms.info.get('kpoints_mesh')
        if mesh is None:
            cell = complete_cell(atoms.cell.array)
            reciprocal = 2 * np.pi * np.linalg.inv(cell).T
            vacuum = sorted({*np.flatnonzero(~atoms.pbc).tolist(), *map(int, atoms.info.get('vacuum_axes', []))})
            if not vacuum:
                reciprocal = np.asarray(minkowski_reduce(reciprocal)[0])
            reciprocal[vacuum] = 0.0
            mesh = mesh_numbers(reciprocal, self.kpoints_distance)
        # a number of points that is not odd along each vector leaves a few more
        return math.ceil((math.prod(int(number) for number in mesh) + 1) / 2)


def calibrate(model: CostModel, frames: Sequence[Atoms], seconds: Sequence[float]) -> CostModel:
    """Return the model with the scale that timed calculations have told: the median of their ratios to the model.

    The median, since a calculation that was repeated or interrupted tells nothing of the others.

    :param seconds: core-seconds of each frame, in the same order; leave out what came from a cache.
    :raises ValueError: if there are none, their number is not that of the frames, or one is not positive and finite.
    """
    if len(frames) == 0 or len(frames) != len(seconds):
        raise ValueError(f'there are {len(seconds)} times for {len(frames)} frames: give one for each, at least one')
    times = np.asarray(seconds, dtype=float)
    if not (np.isfinite(times) & (times > 0)).all():
        raise ValueError(f'times must be positive, got {times.min()} to {times.max()} s')
    expected = np.array([model.core_seconds(atoms) for atoms in frames])
    return replace(model, scale=model.scale * float(np.exp(np.median(np.log(times / expected)))))
