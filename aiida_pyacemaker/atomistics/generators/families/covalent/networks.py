"""Amorphous cells: continuous random networks by bond switching, and quenched melts.

A network has a list of bonds in which every atom keeps its coordination; the bonds are switched at random and annealed
with the Keating potential (Wooten, Winer and Weaire, Phys. Rev. Lett. 54, 1392 (1985)) and a repulsion between atoms
that are not bonded (Barkema and Mousseau, Phys. Rev. B 62, 4985 (2000)). It needs no potential for the elements, only
the lengths of their bonds, and takes seconds. `melt_quench` is the usual alternative with any ASE calculator.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE
from scipy.optimize import minimize

from ....checks.overlap import overlapping
from ....core.chemistry import GRAM_PER_CM3
from ....core.errors import InputError
from ....core.sketch import is_sketching, sketch

#: Keating's constant of bonds in silicon (eV/Å² with lengths in units of the bond; PRB 62, 4985).
STRETCH = 2.965
#: Keating's constant of angles in silicon; only its ratio to that of bonds matters.
BEND = 0.285 * 2.965
#: Strength of the repulsion between atoms that are not bonded, in the units of `STRETCH`.
REPULSION = 3.0
#: Range of that repulsion, in units of the bond.
RANGE = 1.58
#: Bond switches per atom that destroy the crystal.
SWITCHES_PER_ATOM = 0.35
#: Bond switches per atom that are tried while the network is annealed.
TRIES_PER_ATOM = 50
#: kT (in units of `STRETCH` times bond²) at which annealing begins.
START_KT = 0.1
#: kT (in units of `STRETCH` times bond²) at which annealing ends.
END_KT = 0.02
#: Steps of the relaxation after one switch.
RELAXATION_STEPS = 6
#: Steps of the relaxation at the end.
FINAL_STEPS = 500
#: A switch is relaxed once more if its energy is that near (eV) to being accepted.
ACCEPTANCE_MARGIN = 0.3
#: Bonds are that much stiffer in the last relaxation: real bonds give way less than Keating's.
FINAL_STIFFNESS_FACTOR = 4.0
#: Smallest cell: below, an atom would be bonded to its own image's neighbours.
SMALLEST = 32
#: A bond in a finished network is shorter than this times its ideal length.
BONDED = 1.25
#: Networks that are made before a density is given up.
MAX_NETWORKS = 4
#: Smallest volume per atom for which a network is tried, in units of the cube of the bond; diamond has 1.54.
DENSEST = 1.1
#: Largest volume per atom for which a network is tried, in units of the cube of the bond.
THINNEST = 4.0
#: Density (g/cm³) of amorphous carbon without fourfold atoms (Ferrari et al., PRB 62, 11089).
CARBON_DENSITY = 1.92
#: Growth of that density (g/cm³) with the fraction of fourfold atoms (same source).
CARBON_SLOPE = 1.37

Length = Callable[[str, str, int], float]


@dataclass
class Network:
    """A network of bonds in a cube.

    :ivar neighbours: (n, 4) atoms bonded to each atom.
    :ivar bonded: (n, 4) whether that bond exists; a threefold atom has lost one.
    :ivar lengths: (n, 4) ideal lengths in units of the mean bond.
    :ivar side: of the cube, in units of the mean bond.
    :ivar stretch: stiffness of the bonds.
    """

    positions: np.ndarray
    neighbours: np.ndarray
    bonded: np.ndarray
    lengths: np.ndarray
    side: float
    stretch: float = STRETCH

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Derive what the energy needs from the bonds; call after every change of them."""
        degree = self.bonded.sum(axis=1)
        # cosine of the ideal angle: 109.5° around a fourfold atom, 120° around a threefold, 180° around a twofold one
        cosine = -1.0 / np.maximum(degree - 1, 1)
        both = self.bonded[:, :, None] & self.bonded[:, None, :] & ~np.eye(4, dtype=bool)
        self.angles = both * 0.5  # both orders are summed
        self.targets = cosine[:, None, None] * self.lengths[:, :, None] * self.lengths[:, None, :]
        free = ~np.eye(len(self.positions), dtype=bool)
        atoms, slots = np.nonzero(self.bonded)
        free[atoms, self.neighbours[atoms, slots]] = False
        self.first, self.second = np.nonzero(np.triu(free))

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """Bond vectors (n, 4, 3) by the minimum image."""
        vectors = positions[self.neighbours] - positions[:, None, :]
        return vectors - self.side * np.round(vectors / self.side)

    def energy_and_gradient(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Keating energy plus repulsion, and its gradient, in units of eV and of the mean bond."""
        positions = flat.reshape(-1, 3)
        vectors = self.vectors(positions)
        gram = vectors @ vectors.transpose(0, 2, 1)
        stretch = (np.einsum('nii->ni', gram) - self.lengths**2) * self.bonded
        bend = (gram - self.targets) * self.angles
        energy = 3 / 32 * self.stretch * (stretch**2).sum() + 3 / 4 * BEND * (bend * (gram - self.targets)).sum() / 2
        by_bond = 3 / 8 * self.stretch * stretch[:, :, None] * vectors + 3 / 2 * BEND * (bend @ vectors)
        repulsion, gradient = self._repulsion(positions)
        gradient -= by_bond.sum(axis=1)
        for axis in range(3):
            gradient[:, axis] += np.bincount(
                self.neighbours.ravel(), by_bond[:, :, axis].ravel(), minlength=len(positions)
            )
        return energy + repulsion, gradient.ravel()

    def _repulsion(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        vectors = positions[self.second] - positions[self.first]
        vectors -= self.side * np.round(vectors / self.side)
        squares = np.einsum('ij,ij->i', vectors, vectors)
        close = np.flatnonzero(squares < RANGE**2)
        distances = np.sqrt(np.maximum(squares[close], 1e-12))
        depth = RANGE - distances
        pull = (REPULSION * 2 * depth / distances)[:, None] * vectors[close]
        gradient = np.zeros_like(positions)
        for axis in range(3):
            gradient[:, axis] = np.bincount(self.first[close], pull[:, axis], minlength=len(positions))
            gradient[:, axis] -= np.bincount(self.second[close], pull[:, axis], minlength=len(positions))
        return float(REPULSION * (depth**2).sum()), gradient

    def relax(self, steps: int) -> float:
        """Relax the positions, in place; return the energy."""
        found = minimize(
            self.energy_and_gradient, self.positions.ravel(), jac=True, method='L-BFGS-B', options={'maxiter': steps}
        )
        self.positions = found.x.reshape(-1, 3) % self.side
        return float(found.fun)

    def switch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        """Switch a random pair of bonds: of a chain a-b-c-d the bonds a-b and c-d become a-c and b-d.

        :returns: bonds and positions as they were, or None if the chain drawn cannot be switched.
        """
        b = int(rng.integers(len(self.positions)))
        c = int(self.neighbours[b, rng.integers(4)])
        a, d = int(self.neighbours[b, rng.integers(4)]), int(self.neighbours[c, rng.integers(4)])
        if len({a, b, c, d}) < 4 or c in self.neighbours[a] or d in self.neighbours[b]:
            return None
        before = self.neighbours.copy(), self.positions
        for atom, old, new in ((a, b, c), (b, a, d), (c, d, a), (d, c, b)):
            self.neighbours[atom, np.flatnonzero(self.neighbours[atom] == old)[0]] = new
        self.refresh()
        return before


def random_network(atoms: int, volume: float, rng: np.random.Generator) -> Network:
    """Return an annealed fourfold network.

    :param atoms: at least `SMALLEST`; rounded up to a multiple of 8.
    :param volume: per atom, in units of the cube of the bond; 1.54 in diamond.
    """
    network = _diamond(atoms, volume)
    size = len(network.positions)
    for _ in range(round(SWITCHES_PER_ATOM * size)):
        if network.switch(rng) is not None:
            network.relax(3)
    energy = network.relax(5 * RELAXATION_STEPS)
    tries = TRIES_PER_ATOM * size
    for temperature in START_KT * (END_KT / START_KT) ** (np.arange(tries) / tries) * STRETCH:
        before = network.switch(rng)
        if before is None:
            continue
        # Whether a switch is accepted is drawn before it is relaxed, so that a hopeless one is given up early.
        limit = energy - temperature * math.log(max(rng.random(), 1e-12))
        found = network.relax(RELAXATION_STEPS)
        if limit < found < limit + ACCEPTANCE_MARGIN:
            found = network.relax(RELAXATION_STEPS)
        if found < limit:
            energy = found
        else:
            network.neighbours, network.positions = before
            network.refresh()
    network.relax(FINAL_STEPS)
    return network


def amorphous_network(
    species: dict[str, int], size: int, density: float, length: Length, rng: np.random.Generator
) -> Atoms:
    """Return an amorphous cell of fourfold atoms, made without a potential.

    Carbon below 3.3 g/cm³ also has threefold atoms, in bonded pairs, as many as go with its density (Ferrari et al.).
    Compounds are decorated such that few bonds are between like atoms.

    :param species: how often each element is in the formula.
    :param size: number of atoms; rounded up to a multiple of 8 and of the formula.
    :param density: g/cm³.
    :param length: ideal bond length in Å of two elements and the number (0, 1, 2) of threefold atoms among them.
    :raises ValueError: if the number of atoms is too small, or the density leaves no room for the bonds.
    """
    period = math.lcm(8, sum(species.values()))
    size = period * math.ceil(max(size, SMALLEST) / period)
    mass = Atoms([symbol for symbol, count in species.items() for _ in range(count)]).get_masses().mean()
    volume = mass / (density * GRAM_PER_CM3)
    threefold = _threefold_fraction(species, density)
    bond = float(np.mean([length(*pair, 0) for pair in itertools.combinations_with_replacement(species, 2)]))
    if len(species) == 2:
        bond = length(*species, 0)
    if not DENSEST < volume / bond**3 < THINNEST:
        raise _no_network(species, density, mass, bond)
    if is_sketching():
        return sketch({element: size * count // sum(species.values()) for element, count in species.items()}, volume)
    for _ in range(MAX_NETWORKS):
        network = random_network(size, volume / bond**3, rng)
        symbols = _decorated(network, species, rng)
        _open_bonds(network, round(threefold * size / 2), rng)
        atoms = _relaxed(network, symbols, bond, length)
        if not overlapping(atoms, 0.75) and _sane(atoms, network, length):
            return atoms
    raise _no_network(species, density, mass, bond)


def _no_network(species: dict[str, int], density: float, mass: float, bond: float) -> InputError:
    crystal = mass / (1.54 * bond**3 * GRAM_PER_CM3)
    return InputError(
        'amorphous.density',
        f'{density:g} g/cm³ makes no network of {"".join(species)} with bonds of {bond:.2f} Å; a fourfold crystal has '
        f'{crystal:.2f} g/cm³',
        'give a density nearer to that, or structures.covalent.bonds',
    )


def melt_quench(
    atoms: Atoms,
    calculator: Calculator,
    rng: np.random.Generator,
    temperature: float = 4000.0,
    melt_steps: int = 200,
    quench_steps: int = 1500,
    timestep: float = 1.0,
) -> Atoms:
    """Return a quenched melt: melted at constant volume, cooled linearly to 300 K, relaxed.

    :param atoms: starting cell, a crystal or better a `random_packing`; copied.
    :param calculator: any ASE calculator with forces, such as the potential that is being made.
    :param temperature: of the melt, K.
    :param timestep: fs.
    :returns: the frame without calculator and velocities.
    :raises ValueError: if the simulation explodes.
    """
    cell = atoms.copy()
    cell.calc = calculator
    FIRE(cell, logfile=None, maxstep=0.1).run(fmax=1.0, steps=50)
    widths = np.sqrt(units.kB * temperature * cell.get_masses())
    cell.set_momenta(rng.normal(size=(len(cell), 3)) * widths[:, None])
    dynamics = Langevin(
        cell, timestep * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False
    )
    dynamics.run(melt_steps)
    stages = 50
    for stage in np.linspace(temperature, 300.0, stages):
        dynamics.set_temperature(temperature_K=stage)
        dynamics.run(max(quench_steps // stages, 1))
    FIRE(cell, logfile=None).run(fmax=0.05, steps=200)
    if not np.isfinite(cell.positions).all():
        raise ValueError(
            f'melting at {temperature:g} K exploded: lower the temperature or the timestep ({timestep} fs)'
        )
    quenched = Atoms(cell.numbers, cell.positions, cell=cell.cell, pbc=True)
    quenched.wrap()
    return quenched


def random_packing(
    symbols: list[str], density: float, closest: float, rng: np.random.Generator, tries: int = 20000
) -> Atoms:
    """Atoms at random in a cube, none closer than `closest` (Å): where a melt starts.

    :param density: g/cm³.
    :raises ValueError: if they do not fit.
    """
    atoms = Atoms(symbols)
    side = (atoms.get_masses().sum() / (density * GRAM_PER_CM3)) ** (1 / 3)
    placed = np.empty((0, 3))
    for _ in range(tries):
        trial = rng.random(3) * side
        apart = placed - trial
        apart -= side * np.round(apart / side)
        if len(placed) == 0 or (apart**2).sum(axis=1).min() > closest**2:
            placed = np.vstack([placed, trial])
        if len(placed) == len(atoms):
            atoms.set_positions(placed)
            atoms.set_cell([side] * 3)
            atoms.pbc = True
            return atoms
    raise InputError(
        'amorphous.density',
        f'{len(atoms)} atoms at {density:g} g/cm³ cannot be {closest:.2f} Å apart',
        'lower the density',
    )


def coordination(atoms: Atoms, cutoff: float | dict[tuple[str, str], float]) -> np.ndarray:
    """Number of neighbours (n,) of each atom within a distance in Å, which may depend on the pair of elements."""
    return np.bincount(neighbor_list('i', atoms, cutoff), minlength=len(atoms))


def _diamond(atoms: int, volume: float) -> Network:
    """Network of diamond, stretched into a cube."""
    cells = math.ceil(atoms / 8)
    # as near to a cube as the number of cells allows
    shapes = [
        (i, j, cells // (i * j)) for i in range(1, cells + 1) for j in range(i, cells + 1) if cells % (i * j) == 0
    ]
    shape = min(shapes, key=lambda shape: (max(shape) / min(shape), shape))
    crystal = bulk('C', 'diamond', a=4 / math.sqrt(3), cubic=True).repeat(shape)
    first, second = neighbor_list('ij', crystal, 1.2)
    neighbours = second[np.argsort(first, kind='stable')].reshape(-1, 4)
    side = (volume * len(crystal)) ** (1 / 3)
    bonded = np.ones(neighbours.shape, dtype=bool)
    return Network(crystal.get_scaled_positions() * side, neighbours, bonded, np.ones(neighbours.shape), side)


def _threefold_fraction(species: dict[str, int], density: float) -> float:
    if list(species) != ['C']:
        return 0.0
    return float(np.clip(1 - (density - CARBON_DENSITY) / CARBON_SLOPE, 0.0, 1.0))


def _open_bonds(network: Network, number: int, rng: np.random.Generator) -> None:
    """Cut bonds between fourfold atoms, which makes both threefold: as many as asked for, or as can be."""
    for _ in range(number):
        whole = network.bonded.all(axis=1)
        atoms, slots = np.nonzero(whole[:, None] & whole[network.neighbours])
        if len(atoms) == 0:
            break
        pick = int(rng.integers(len(atoms)))
        atom, other = int(atoms[pick]), int(network.neighbours[atoms[pick], slots[pick]])
        network.bonded[atom, slots[pick]] = False
        network.bonded[other, np.flatnonzero(network.neighbours[other] == atom)[0]] = False
    network.refresh()


def _decorated(network: Network, species: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    """Put elements on the sites; exchange pairs as long as fewer bonds are between like atoms."""
    size, formula = len(network.positions), [symbol for symbol, count in species.items() for _ in range(count)]
    symbols = rng.permutation(np.array(formula * (size // len(formula))))
    if len(species) == 1:
        return symbols
    like = (symbols[network.neighbours] == symbols[:, None]).sum()
    for _ in range(100 * size):
        first, second = rng.integers(size, size=2)
        symbols[[first, second]] = symbols[[second, first]]
        found = (symbols[network.neighbours] == symbols[:, None]).sum()
        if found > like:
            symbols[[first, second]] = symbols[[second, first]]
        else:
            like = found
    return symbols


def _relaxed(network: Network, symbols: np.ndarray, bond: float, length: Length) -> Atoms:
    threefold = (~network.bonded.all(axis=1)).astype(int)
    for atom, slot in np.ndindex(*network.neighbours.shape):
        other = network.neighbours[atom, slot]
        kind = int(threefold[atom] + threefold[other])
        network.lengths[atom, slot] = length(str(symbols[atom]), str(symbols[other]), kind) / bond
    network.refresh()
    network.stretch = FINAL_STIFFNESS_FACTOR * STRETCH
    network.relax(FINAL_STEPS)
    return Atoms(symbols.tolist(), network.positions * bond, cell=[network.side * bond] * 3, pbc=True)


def bond_cutoffs(symbols: list[str], length: Length) -> dict[tuple[str, str], float]:
    """Distance (Å) per pair of elements below which two atoms count as bonded.

    Like atoms of a compound are second neighbours at 1.63 bonds between unlike ones: the large ones must be closer.
    """
    names = list(dict.fromkeys(symbols))
    shortest = min(length(*pair, 0) for pair in itertools.combinations(names, 2)) if len(names) > 1 else math.inf
    pairs = itertools.combinations_with_replacement(names, 2)
    return {pair: min(BONDED * length(*pair, 0), 1.42 * shortest) for pair in pairs}


def _sane(atoms: Atoms, network: Network, length: Length) -> bool:
    """Whether few bonds are torn, and the coordination in space is near that of the network."""
    distances = np.linalg.norm(network.vectors(network.positions), axis=2)
    torn = (distances > BONDED * network.lengths) & network.bonded
    found = coordination(atoms, bond_cutoffs(atoms.get_chemical_symbols(), length))
    return bool(torn.mean() < 0.03 and found.min() >= 2 and found.max() <= 6)
