"""Molecular dynamics of a crystal: does it conserve energy, and does the potential hold matter together?

Every run starts from a supercell of the crystal at twice the temperature it shall have, half of which goes into the
potential energy. Without a thermostat (NVE) the total energy of a smooth potential stays what it is, and its drift is
what is wrong with the forces or their continuity. With one, hot at constant volume (NVT) and at zero pressure (NPT), a
run must come to its end; it ends early where

- two atoms are closer than half the sum of their covalent radii (`collapse`: a hole at short distances),
- an atom has lost more energy than any bond gives (`energy`: a hole somewhere else),
- the cell grows to 1.6 times its volume (`evaporation`),
- the temperature is far above twice what it should be (`temperature`),
- or something is no longer a number (`crash`).
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import spglib
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.bussi import Bussi
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet

from ....checks.pairs import periodic_pairs
from ....checks.radii import contact_distance
from ....checks.vacuum import vacuum_axes
from ....core.frame import labels
from ....core.symmetry import call_spglib
from ...evaluator import Evaluator
from ..phonons.compute import SYMPREC
from . import Simulation, StabilityParameters, StabilityResult

#: Two atoms closer than this part of the sum of their covalent radii have collapsed.
MIN_CONTACT_RATIO = 0.5
#: eV/atom below the crystal: no structure of a real material is that far below one that is stable or nearly so.
DEEPEST = 1.0
#: Largest ratio of volumes, as in the watch on the simulations of the loop.
VOLUME_RATIO = 1.6
#: Largest ratio of temperatures.
TEMPERATURE_RATIO = 2.0
#: So many standard deviations of the temperature of a few atoms are added to it.
DEVIATIONS = 8.0
#: Steps between two looks.
CHECK_EVERY = 5
#: Part of a run that is left out of averages.
SETTLING = 0.25
#: Blocks of which the error of a drift is made.
BLOCKS = 10
#: fs per square root of an atomic mass: 25 (diamond) to 70 (aluminium) steps for the fastest vibration.
STEP_OF_MASS = 0.3
#: fs; limits of the time step.
SHORTEST_STEP = 0.25
LONGEST_STEP = 2.0
#: Relaxation time of the thermostat in time steps.
THERMOSTAT = 50
#: Relaxation time of the barostat in time steps.
BAROSTAT = 500
#: Temperatures of the runs of the solid in units of the estimated melting temperature.
SOLID_TEMPERATURES = (0.3, 0.8)
#: The same of the liquid.
LIQUID_TEMPERATURE = 2.0
#: kT of melting in units of bulk modulus times volume per atom.
MELTING = 0.011
#: Strain by which the bulk modulus is estimated.
STRAIN = 0.01
#: K; limits of an estimate of the melting temperature.
MIN_MELTING_TEMPERATURE = 20.0
MAX_MELTING_TEMPERATURE = 6000.0
#: K; the melting temperature without an estimate.
DEFAULT_MELTING_TEMPERATURE = 1000.0
#: Points of the energy curve that are kept.
CURVE_POINTS = 100


def run(crystal: Atoms, evaluator: Evaluator, parameters: StabilityParameters) -> StabilityResult:
    """Simulate a crystal.

    :param crystal: at its equilibrium, any cell.
    :returns: `runs`, each with `ensemble`, `temperature` (K, asked for), `n_atoms`, `steps` (made), `timestep` (fs),
        `completed`, `reason` (`completed`, `time`, or one of those of the module), `message`, `drift` and its
        standard error `drift_error` (eV/atom/ns; of NVE, else None), `mean_temperature` (K), `volume_ratio` (mean, to
        the start), `shortest` (Å, of all looks), `displacement`
        (Å, root of the mean square, at the end), and the total energies `energies` (eV/atom) at `times` (ps).
    """
    start, melting = _supercell(crystal, parameters.atoms), _melting_temperature(crystal, evaluator)
    temperatures = parameters.temperatures or [round(part * melting, -1) for part in SOLID_TEMPERATURES]
    wanted = [('nve', temperature) for temperature in temperatures]
    wanted.append(('nvt', parameters.hot or round(LIQUID_TEMPERATURE * melting, -1)))
    # the volume of a slab or a molecule in its box means nothing
    if not vacuum_axes(crystal):
        wanted.append(('npt', max(temperatures)))
    found = evaluator.map(simulate, [(start, ensemble, float(t), parameters) for ensemble, t in wanted])
    return {
        'status': 'ok',
        'message': '; '.join(one['message'] for one in found if not one['completed']),
        'runs': found,
    }


def _melting_temperature(crystal: Atoms, evaluator: Evaluator) -> float:
    """Estimate (K) the scale of temperature of a crystal from its bulk modulus B and volume V.

    kT is a hundredth of B V for most: 0.010 (Al), 0.011 (Cu, Ar), 0.012 (Si, Fe), 0.021 (Na), 0.027 (NaCl), from
    measured values. The ions are not relaxed. Where the crystal is in no such minimum,
    :data:`DEFAULT_MELTING_TEMPERATURE`.
    """
    frames = [crystal.copy() for _ in range(3)]
    for frame, strain in zip(frames, (-STRAIN, 0.0, STRAIN), strict=True):
        frame.set_cell(crystal.cell.array * (1 + strain), scale_atoms=True)
    low, middle, high = (labels(frame)['energy'] / len(crystal) for frame in evaluator.evaluate(frames))
    product = (low + high - 2 * middle) / (3 * STRAIN) ** 2
    found = MELTING * product / units.kB
    return float(found) if MIN_MELTING_TEMPERATURE < found < MAX_MELTING_TEMPERATURE else DEFAULT_MELTING_TEMPERATURE


def simulate(
    calculator: Calculator, start: Atoms, ensemble: str, temperature: float, parameters: StabilityParameters
) -> Simulation:
    """Make one run; see :func:`run` for what is returned."""
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True, calculator=calculator)
    timestep = parameters.timestep or float(
        np.clip(STEP_OF_MASS * np.sqrt(atoms.get_masses().min()), SHORTEST_STEP, LONGEST_STEP)
    )
    watch = _Watch(atoms, ensemble, temperature, timestep)
    rng = np.random.default_rng(parameters.seed)
    _heat(atoms, 2 * temperature, rng)
    dynamics = _dynamics(atoms, ensemble, temperature, timestep * units.fs, rng)
    if ensemble == 'nve':
        dynamics.attach(watch.note)
    begin, steps, reason = perf_counter(), 0, None
    try:
        reason = watch.look(0)
        while reason is None and steps < parameters.steps:
            dynamics.run(min(CHECK_EVERY, parameters.steps - steps))
            steps = dynamics.nsteps
            reason = watch.look(steps)
            if reason is None and perf_counter() - begin > parameters.seconds:
                reason = 'time'
    except Exception as exception:  # whatever an engine raises when atoms overlap or are lost
        reason, watch.detail = 'crash', f'the calculator failed: {exception}'[:200]
    return watch.result(steps, reason or 'completed')


def _heat(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give the atoms velocities of exactly this temperature (K), their centre of mass at rest."""
    masses = atoms.get_masses()[:, None]
    momenta = rng.normal(size=(len(atoms), 3)) * np.sqrt(masses)
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / atoms.get_temperature()))


def _dynamics(
    atoms: Atoms, ensemble: str, temperature: float, timestep: float, rng: np.random.Generator
) -> MolecularDynamics:
    if ensemble == 'nve':
        return VelocityVerlet(atoms, timestep)
    if ensemble == 'nvt':
        return Bussi(atoms, timestep, temperature_K=temperature, taut=THERMOSTAT * timestep, rng=rng)
    return IsotropicMTKNPT(
        atoms, timestep, temperature_K=temperature, pressure_au=0.0,
        tdamp=THERMOSTAT * timestep, pdamp=BAROSTAT * timestep,
    )  # fmt: skip


class _Watch:
    """Looks at a run every few steps and says when it is over."""

    def __init__(self, atoms: Atoms, ensemble: str, temperature: float, timestep: float):
        self.atoms, self.ensemble, self.temperature, self.timestep = atoms, ensemble, temperature, timestep
        self.positions, self.volume = atoms.get_scaled_positions(wrap=False), atoms.get_volume()
        self.floor = atoms.get_potential_energy() / len(atoms) - DEEPEST
        kinds = sorted(set(atoms.numbers.tolist()))
        self.contact = {(i, j): MIN_CONTACT_RATIO * contact_distance((i, 0), (j, 0)) for i in kinds for j in kinds}
        self.table: list[tuple[float, ...]] = []
        self.noted: list[tuple[float, ...]] = []
        self.shortest, self.detail = np.inf, ''

    def look(self, step: int) -> str | None:
        """Note where the run is; return the reason for which it must end, if there is one."""
        atoms = self.atoms
        potential = atoms.get_potential_energy() / len(atoms)
        temperature = atoms.get_temperature()
        ratio = atoms.get_volume() / self.volume
        if not np.isfinite([potential, temperature, ratio]).all() or not np.isfinite(atoms.positions).all():
            self.detail = 'energies or positions are no longer numbers'
            return 'crash'
        self.table.append((step, potential + atoms.get_kinetic_energy() / len(atoms), temperature, ratio))
        if ratio > VOLUME_RATIO:
            self.detail = f'the volume grew to {ratio:.2f} times that of the crystal'
            return 'evaporation'
        if close := self._collapsed():
            self.detail = close
            return 'collapse'
        if potential < self.floor:
            self.detail = f'the energy fell by {self.floor + DEEPEST - potential:.1f} eV/atom below the crystal'
            return 'energy'
        # a run starts at twice the temperature; the variance is that of kinetic energies of a canonical ensemble
        if temperature > self.temperature * (TEMPERATURE_RATIO + DEVIATIONS * np.sqrt(2 / (3 * len(atoms)))):
            self.detail = f'the temperature rose to {temperature:.0f} K'
            return 'temperature'
        return None

    def note(self) -> None:
        """Note at every step what the conserved energy is made of, per atom: K + U, F²/m and F·v."""
        atoms = self.atoms
        forces, velocities = atoms.get_forces(), atoms.get_velocities()
        squares = (forces**2 / atoms.get_masses()[:, None]).sum()
        row = (atoms.get_total_energy(), squares, (forces * velocities).sum())
        self.noted.append(tuple(value / len(atoms) for value in row))

    def _collapsed(self) -> str:
        """Note the shortest distance; say which two atoms have collapsed, if any."""
        reach = max(4.0, *self.contact.values())
        atoms = self.atoms
        first, second, _, distances = periodic_pairs(atoms.positions, atoms.cell.array, atoms.pbc, reach)
        if not len(distances):
            return ''
        self.shortest = min(self.shortest, float(distances.min()))
        numbers = atoms.numbers
        limits = np.array([self.contact[pair] for pair in zip(numbers[first], numbers[second], strict=True)])
        worst = int((distances / limits).argmin())
        if distances[worst] >= limits[worst]:
            return ''
        pair = f'{atoms.symbols[first[worst]]}-{atoms.symbols[second[worst]]}'
        return f'{pair} came as close as {distances[worst]:.2f} Å (limit {limits[worst]:.2f} Å)'

    def result(self, steps: int, reason: str) -> Simulation:
        """Return the results of the run."""
        completed = reason in ('completed', 'time')
        table = np.array(self.table).reshape(-1, 4)
        settled = table[table[:, 0] >= SETTLING * steps]
        drift, error = _drift(np.array(self.noted), self.timestep) if self.noted and completed else (None, None)
        where = f'{self.ensemble.upper()} at {self.temperature:.0f} K: {reason} at step {steps}'
        chosen = table[np.unique(np.linspace(0, len(table) - 1, min(CURVE_POINTS, len(table))).round().astype(int))]
        return {
            'ensemble': self.ensemble,
            'temperature': self.temperature,
            'n_atoms': len(self.atoms),
            'steps': steps,
            'timestep': self.timestep,
            'completed': completed,
            'reason': reason,
            'message': '' if completed else f'{where}: {self.detail}',
            'drift': drift,
            'drift_error': error,
            'mean_temperature': float(settled[:, 2].mean()) if len(settled) else None,
            'volume_ratio': float(settled[:, 3].mean()) if len(settled) else None,
            'shortest': self.shortest if np.isfinite(self.shortest) else None,
            'displacement': self._displacement(),
            'energies': chosen[:, 1].tolist(),
            'times': (chosen[:, 0] * self.timestep / 1000).tolist(),
        }

    def _displacement(self) -> float | None:
        """Root of the mean square displacement (Å) from the lattice sites."""
        moved = self.atoms.get_scaled_positions(wrap=False) - self.positions
        moved = (moved - moved.mean(axis=0)) @ self.atoms.cell.array
        distance = float(np.sqrt((moved**2).sum(axis=1).mean()))
        return distance if np.isfinite(distance) else None


def _drift(noted: np.ndarray, timestep: float) -> tuple[float, float]:
    """Slope of the conserved energy (eV/atom/ns) and its standard error, by blocks: steps are not independent.

    K + U of velocity Verlet swings by terms of the square of the time step h, in which a drift would drown (they are
    100 times as large). What the integrator conserves is K + U + h² (v·H·v / 12 - F²/m / 24), H being the Hessian, up
    to the fourth power (E. Hairer, C. Lubich, G. Wanner, Acta Numerica 12, 399 (2003)); v·H·v = F²/m - d(F·v)/dt.

    :param noted: K + U, F²/m, F·v per atom of every step. :param timestep: fs.
    """
    step = timestep * units.fs
    energies, squares, power = noted.T
    conserved = energies + step**2 * (squares / 24 - np.gradient(power, step) / 12)
    # the first steps are not those of a crystal, and a one-sided difference is of lower order
    conserved = conserved[int(SETTLING * len(conserved)) : -1]
    times = np.arange(len(conserved)) * timestep * 1e-6
    slope, offset = np.polyfit(times, conserved, 1)
    blocks = np.array([block.mean() for block in np.array_split(conserved - slope * times - offset, BLOCKS)])
    return float(slope), float(blocks.std(ddof=1) * np.sqrt(12 / BLOCKS) / times[-1])


def _supercell(crystal: Atoms, atoms: int) -> Atoms:
    """A supercell of so many atoms at least, as long along each axis as can be; not repeated along vacuum."""
    given = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    lattice, positions, numbers = (
        call_spglib(spglib.standardize_cell, given, no_idealize=True, symprec=SYMPREC) or given
    )
    cell = Atoms(numbers, cell=lattice, scaled_positions=positions, pbc=True)
    lengths, repeats = cell.cell.lengths(), np.ones(3, dtype=int)
    axes = [axis for axis in range(3) if axis not in vacuum_axes(cell)]
    while axes and len(cell) * repeats.prod() < atoms:
        repeats[min(axes, key=lambda axis: (round(repeats[axis] * lengths[axis], 3), axis))] += 1
    return cell.repeat(repeats)
