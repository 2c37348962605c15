"""Phonons of a crystal by finite displacements: bands, density of states, thermal properties, imaginary modes.

phonopy displaces and does the lattice dynamics, seekpath says the standard cell and the path through its zone. The
frequencies are those of the potential: no correction for long-ranged dipoles (splitting of LO and TO) is added, since a
short-ranged potential has none.

**The supercell.** The conventional cell (the primitive one of face- and body-centred cubic lattices), repeated until
every atom is `width` away from its images, and no further than `max_atoms`. Twice the range of the force constants is
exact. A many-body potential with the cutoff `c` reaches `2c`, most of it within `c`, so the default of 20 Å is beyond
the cutoff of any usual potential on either side; how large the force constants still are where the supercell ends is
measured and returned as `border`.

**What counts as imaginary.** At wave vectors that fit into the supercell frequencies are exact; in between they are
interpolated, and next to Γ, where the acoustic ones go to zero, an error of the force constants appears as a frequency
below zero. The square of a frequency is linear in the force constants: a relative error `e` of these moves a frequency
near zero by at most `sqrt(e)` times the highest one. `e` is what can be seen to be wrong with the force constants: how
far they violate the acoustic sum rule before it is imposed, and what is left of them where the supercell ends, but at
least 1e-4, the accuracy of finite displacements. So the tolerance is `sqrt(e)` of the highest frequency, 1 % of it at
least (and 5 % at most, a real instability of that size shall not be excused). A mode is imaginary below minus that.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import seekpath
import spglib
from ase import Atoms, units
from ase.build import make_supercell
from ase.dft.kpoints import parse_path_string
from ase.geometry import minkowski_reduce
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.structure.atoms import PhonopyAtoms

from ....checks.supercell import perpendicular_widths
from ....checks.vacuum import vacuum_axes
from ....core.frame import labels, set_labels
from . import Cell, Mode, Path, PhononParameters, PhononResult

#: Å; positions of a relaxed crystal obey its symmetry to this.
SYMPREC = 1e-3
#: Relative error of the force constants that is taken for granted.
LEAST_ERROR = 1e-4
#: The largest that is excused.
LARGEST_ERROR = 25e-4
#: Unstable modes are handed back in cells of at most so many primitive cells.
MAX_PERIODS = 4
#: Two primitive cells are allowed even if they have more atoms than this, which are to be labelled.
MAX_ATOMS = 100
#: So many primitive cells are tried where fewer do not show the mode.
MORE_PERIODS = 8
#: How many unstable modes are handed back.
MAX_MODES = 4
#: K
TEMPERATURES = tuple(range(0, 1001, 50))
#: Points of the density of states.
DOS_POINTS = 201
#: Lattices of which the primitive cell is repeated: its images are farther away than those of as many cubic cells.
CUBIC_CENTRED = ('cF', 'cI')
#: Pairs of atoms beyond this part of half the width of a supercell are at its border.
BORDER_FRACTION = 0.9
#: How often the sum rule and the exchange of the two atoms are imposed in turn.
SYMMETRISATIONS = 2
GREEK = {'GAMMA': 'Γ', 'SIGMA': 'Σ', 'DELTA': 'Δ', 'LAMBDA': 'Λ', 'G': 'Γ'}


def plan(crystal: Atoms, parameters: PhononParameters) -> list[Atoms]:
    """Return the displaced supercells, whose forces are needed.

    :param crystal: at its equilibrium, any cell and orientation.
    :raises ValueError: if it is periodic in no direction.
    """
    return _displaced(_phonopy(crystal, parameters))


def analyse(crystal: Atoms, labelled: list[Atoms], parameters: PhononParameters) -> PhononResult:
    """Return what follows from the forces of the displaced supercells.

    :param labelled: those of :func:`plan`, in their order.
    :returns: `supercell` (3x3, of the cell named in the module), `n_atoms` of it, `n_displacements`; `primitive`
        (`numbers`, `positions`, `cell`) to whose reciprocal lattice every `q` belongs; `paths` (`labels`, `distances`
        in 1/Å, `q`, `frequencies` in THz by wave vector and band); `dos` (`frequencies`, `density` in states per THz
        and primitive cell); `thermal` per atom (`temperatures` in K, `free_energy` in eV, `entropy` and
        `heat_capacity` in k_B, of the modes above the tolerance); `min_frequency`, `max_frequency`, `tolerance` in THz
        (imaginary ones are negative); `sum_rule` and `border`, the relative errors of the force constants (see the
        module); `stable`; and `imaginary`, the worst modes that fit into small cells: `q`, `frequency`, and a cell that
        holds the mode: `supercell` (3x3, rows in units of the primitive cell), `numbers`, `positions`, `cell`,
        `displacements` ((n, 3), the largest atom by 1 Å, in the same order). What is worth labelling because of them,
        :func:`~...requests.make_structures` makes.
    :raises ValueError: if forces are missing or not finite.
    """
    phonon = _phonopy(crystal, parameters)
    phonon.forces = _forces(phonon, labelled)
    phonon.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    errors = {'sum_rule': _sum_rule(phonon), 'border': _border(phonon)}
    phonon.symmetrize_force_constants(level=SYMMETRISATIONS, show_drift=False)
    paths = _bands(phonon, parameters)
    q, frequencies = _zone(phonon, parameters)
    tolerance = frequencies.max() * np.sqrt(np.clip(max(errors.values()), LEAST_ERROR, LARGEST_ERROR))
    for path in paths:
        q, frequencies = np.vstack([q, path.q]), np.vstack([frequencies, path.frequencies])
    lowest, worst = float(frequencies.min()), q[frequencies.min(axis=1).argmin()]
    stable = lowest >= -tolerance
    return {
        'status': 'ok',
        'message': _complaint(worst, lowest, tolerance) if not stable else _doubt(errors['border']),
        'supercell': phonon.supercell_matrix.tolist(),
        'n_atoms': len(phonon.supercell),
        'n_displacements': len(labelled),
        'primitive': _plain(phonon.primitive.numbers, phonon.primitive.positions, phonon.primitive.cell),
        'paths': [path.to_dict() for path in paths],
        'dos': _dos(phonon),
        'thermal': _thermal(phonon, tolerance),
        'imaginary': [] if stable else _unstable_modes(phonon, worst, tolerance),
        'min_frequency': lowest,
        'max_frequency': float(frequencies.max()),
        'tolerance': float(tolerance),
        'sum_rule': errors['sum_rule'],
        'border': errors['border'],
        'stable': bool(stable),
    }


def plan_cells(crystal: Atoms, parameters: PhononParameters) -> list[Atoms]:
    """Return the frames of :func:`plan`, then the supercell without displacements if symmetry leaves forces in it.

    Where the potential has relaxed the positions of the atoms another one has forces, unless symmetry forbids them, and
    what a displacement changes is their difference.
    """
    phonon = _phonopy(crystal, parameters)
    frames = _displaced(phonon)
    if _has_free_positions(_atoms(phonon.unitcell)):
        frames.append(_atoms(phonon.supercell))
    return frames


def analyse_cells(crystal: Atoms, labelled: list[Atoms], parameters: PhononParameters) -> PhononResult:
    """Return what :func:`analyse` says of the frames of :func:`plan_cells`, less the forces without a displacement."""
    number = len(_phonopy(crystal, parameters).supercells_with_displacements)
    displaced, rest = labelled[:number], labelled[number:]
    if rest:
        at_rest = labels(rest[0])['forces']
        displaced = [
            set_labels(atoms.copy(), **{**labels(atoms), 'forces': labels(atoms)['forces'] - at_rest})
            for atoms in displaced
        ]
    return analyse(crystal, displaced, parameters)


def frequency_rmse(ours: PhononResult, theirs: PhononResult) -> float:
    """Return the root mean square of the differences of the frequencies (THz) along the path, all bands alike."""
    first, second = (np.vstack([path['frequencies'] for path in found['paths']]) for found in (ours, theirs))
    return float(np.sqrt(np.mean((first - second) ** 2)))


def _displaced(phonon: Phonopy) -> list[Atoms]:
    frames = [_atoms(cell) for cell in phonon.supercells_with_displacements]
    for atoms in frames:
        atoms.info['property'] = 'phonons'
    return frames


def _has_free_positions(unit: Atoms) -> bool:
    """Return whether symmetry lets a force be on any of the atoms: a vector that all operations of its site keep."""
    found = spglib.get_symmetry_dataset((unit.cell.array, unit.get_scaled_positions(), unit.numbers), symprec=SYMPREC)
    if found is None:
        return True
    scaled = unit.get_scaled_positions()
    for position in scaled:
        images = found.rotations @ position + found.translations - position
        site = found.rotations[(np.abs((images - np.rint(images)) @ unit.cell.array) < SYMPREC).all(axis=1)]
        if np.abs(site.mean(axis=0)).max() > 1e-6:
            return True
    return False


def _phonopy(crystal: Atoms, parameters: PhononParameters) -> Phonopy:
    """The displacements of a crystal: the same for the same crystal and parameters."""
    found = _seekpath(crystal)
    name = 'primitive' if found['bravais_lattice'] in CUBIC_CENTRED else 'conv'
    unit = Atoms(found[f'{name}_types'], cell=found[f'{name}_lattice'], pbc=True)
    unit.set_scaled_positions(found[f'{name}_positions'])
    phonon = Phonopy(
        PhonopyAtoms(unit.get_chemical_symbols(), cell=unit.cell.array, positions=unit.positions),
        supercell_matrix=np.diag(_repeats(unit, parameters)),
        primitive_matrix=(found['primitive_lattice'] @ np.linalg.inv(unit.cell.array)).T,
    )
    phonon.generate_displacements(distance=parameters.displacement)
    return phonon


def _seekpath(atoms: Atoms) -> dict[str, Any]:
    """What seekpath says of a crystal: standard cell, primitive cell, path."""
    with warnings.catch_warnings():
        # of spglib, about how seekpath calls it
        warnings.simplefilter('ignore', DeprecationWarning)
        try:
            return seekpath.get_path((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=SYMPREC)
        except Exception as exception:
            raise ValueError(f'the symmetry of the crystal is not found ({exception}): look at the crystal') from None


def _repeats(unit: Atoms, parameters: PhononParameters) -> np.ndarray:
    """Repetitions (3,) of a cell; axes of equal length are repeated equally often, which keeps the symmetry."""
    vacuum = vacuum_axes(unit)
    if len(vacuum) == 3:
        raise ValueError('a molecule or cluster has vibrations, but no phonons: give a crystal')
    # the images of the cubic primitive cells are as far away as their axes are long, those of others may be nearer
    compact = np.ptp(unit.cell.lengths()) < 1e-6 and not vacuum
    widths = (unit.cell.lengths() if compact else perpendicular_widths(unit.cell.array)).round(6)
    widths[vacuum] = np.inf
    multiples = np.concatenate([width * np.arange(1, 51) for width in widths[np.isfinite(widths)]])
    best = np.ones(3, dtype=int)
    for width in np.unique(np.append(multiples[multiples < parameters.width], parameters.width)):
        repeats = np.maximum(np.ceil(width / widths - 1e-9), 1).astype(int)
        if len(unit) * repeats.prod() <= parameters.max_atoms:
            best = repeats
    return best


def _forces(phonon: Phonopy, labelled: list[Atoms]) -> list[np.ndarray]:
    expected = len(phonon.supercells_with_displacements)
    if len(labelled) != expected:
        raise ValueError(f'{len(labelled)} labelled supercells, {expected} are needed: give all of the plan')
    forces = [labels(atoms).get('forces') for atoms in labelled]
    for index, found in enumerate(forces):
        if found is None or not np.isfinite(found).all():
            raise ValueError(f'the displaced supercell {index} has no finite forces: the potential fails on it')
    return forces


def _sum_rule(phonon: Phonopy) -> float:
    """By how much a translation of the crystal is felt, relative to the largest force constant."""
    constants = phonon.force_constants
    return float(np.abs(constants.sum(axis=1)).max() / np.abs(constants).max())


def _border(phonon: Phonopy) -> float:
    """Largest force constant of the pairs that are farthest apart in the supercell, relative to the largest of all.

    Beyond half the distance of an atom from its nearest image a supercell cannot tell a pair from its image.
    """
    atoms = _atoms(phonon.supercell)
    periodic = [axis not in vacuum_axes(atoms) for axis in range(3)]
    nearest = np.linalg.norm(minkowski_reduce(atoms.cell.array, periodic)[0], axis=1)[periodic].min()
    sizes = np.abs(phonon.force_constants).max(axis=(2, 3))
    distances = np.array([atoms.get_distances(row, range(len(atoms)), mic=True) for row in phonon.primitive.p2s_map])
    return float(sizes[distances > BORDER_FRACTION * nearest / 2].max(initial=0.0) / sizes.max())


@dataclass(frozen=True, eq=False)
class _Segment:
    """A segment of the path through the zone: see :class:`Path`; arrays of wave vectors and frequencies."""

    labels: list[str]
    distances: list[float]
    q: np.ndarray
    frequencies: np.ndarray

    def to_dict(self) -> Path:
        return {
            'labels': self.labels,
            'distances': self.distances,
            'q': self.q.tolist(),
            'frequencies': self.frequencies.tolist(),
        }


def _bands(phonon: Phonopy, parameters: PhononParameters) -> list[_Segment]:
    """The frequencies along the path through the zone."""
    points, segments = _path(phonon)
    reciprocal = np.linalg.inv(phonon.primitive.cell).T
    lengths = [np.linalg.norm((points[end] - points[start]) @ reciprocal) for start, end in segments]
    bands, passed = [], 0.0
    for (start, end), length in zip(segments, lengths, strict=True):
        number = max(2, round(parameters.path_points * length / max(lengths)))
        share = np.linspace(0, 1, number)
        q = points[start] + share[:, None] * (points[end] - points[start])
        bands.append(
            _Segment([_name(start), _name(end)], (passed + share * length).tolist(), q, _frequencies(phonon, q))
        )
        passed += length
    return bands


def _path(phonon: Phonopy) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
    """Points of the path through the zone (of the primitive cell), and its segments."""
    primitive = _atoms(phonon.primitive)
    vacuum = vacuum_axes(primitive)
    if vacuum:
        path = primitive.cell.bandpath(pbc=[axis not in vacuum for axis in range(3)], npoints=2)
        corners = [list(part) for part in parse_path_string(path.path)]
        return path.special_points, [pair for part in corners for pair in pairwise(part)]
    found = _seekpath(primitive)
    return {name: np.array(point) for name, point in found['point_coords'].items()}, found['path']


def _zone(phonon: Phonopy, parameters: PhononParameters) -> tuple[np.ndarray, np.ndarray]:
    """Wave vectors (n, 3) of a mesh over the zone and of those that fit into the supercell, and frequencies (n, m)."""
    phonon.run_mesh(_mesh(phonon, parameters.mesh), is_gamma_center=True)
    multiple = np.rint(phonon.supercell.cell @ np.linalg.inv(phonon.primitive.cell)).astype(int)
    fitting = get_commensurate_points(multiple.T)
    return (
        np.vstack([phonon.mesh.qpoints, fitting]),
        np.vstack([phonon.mesh.frequencies, _frequencies(phonon, fitting)]),
    )


def _mesh(phonon: Phonopy, length: float) -> list[int]:
    """Wave vectors along each reciprocal axis, one where there is vacuum."""
    primitive = _atoms(phonon.primitive)
    mesh = np.maximum(np.rint(length / primitive.cell.lengths()), 1).astype(int)
    mesh[vacuum_axes(primitive)] = 1
    return mesh.tolist()


def _dos(phonon: Phonopy) -> dict[str, list[float]]:
    frequencies = phonon.mesh.frequencies
    ends = min(0.0, frequencies.min()), 1.02 * frequencies.max()
    phonon.run_total_dos(freq_min=ends[0], freq_max=ends[1], freq_pitch=(ends[1] - ends[0]) / (DOS_POINTS - 1))
    return {
        'frequencies': phonon.total_dos.frequency_points.tolist(),
        'density': phonon.total_dos.dos.tolist(),
    }


def _thermal(phonon: Phonopy, tolerance: float) -> dict[str, list[float]]:
    """Harmonic thermal properties per atom of the mesh; modes below the tolerance are left out."""
    phonon.run_thermal_properties(temperatures=TEMPERATURES, cutoff_frequency=tolerance)
    found, atoms = phonon.thermal_properties, len(phonon.primitive)
    return {
        'temperatures': [float(temperature) for temperature in TEMPERATURES],
        'free_energy': (found.free_energy * units.kJ / units.mol / atoms).tolist(),
        'entropy': (found.entropy * units.J / units.mol / units.kB / atoms).tolist(),
        'heat_capacity': (found.heat_capacity * units.J / units.mol / units.kB / atoms).tolist(),
    }


def _unstable_modes(phonon: Phonopy, worst: np.ndarray, tolerance: float) -> list[Mode]:
    """The worst imaginary modes that fit into small cells, as :func:`analyse` describes them.

    :param worst: wave vector of the lowest frequency, for the case that no small cell shows any.
    """
    axes = vacuum_axes(_atoms(phonon.primitive))
    periods = max(2, min(MAX_PERIODS, MAX_ATOMS // len(phonon.primitive)))
    q = _irreducible(phonon, [[1 if axis in axes else n for axis in range(3)] for n in range(1, periods + 1)])
    modes = _lowest(phonon, q)
    chosen = [mode for mode in modes if mode[0] < -tolerance][:MAX_MODES]
    if not chosen:
        near = np.unique([np.rint(worst * n) / n for n in range(1, MORE_PERIODS + 1)], axis=0)
        chosen = _lowest(phonon, near)[:1]
    return [_mode(phonon, *mode) for mode in chosen]


def _irreducible(phonon: Phonopy, meshes: list[list[int]]) -> np.ndarray:
    """Wave vectors (n, 3) of several meshes around Γ, one of those that symmetry makes equal."""
    rotations = phonon.primitive_symmetry.reciprocal_operations
    found: list[np.ndarray] = []
    for mesh in meshes:
        for index in product(*(range(n) for n in mesh)):
            star = np.einsum('kij,j->ki', rotations, np.array(index) / mesh)
            if not any(_same(star, q) for q in found):
                found.append(np.array(index) / mesh)
    return np.array(found)


def _same(star: np.ndarray, q: np.ndarray) -> bool:
    difference = np.concatenate([star - q, star + q])
    return bool((np.abs(difference - np.rint(difference)).max(axis=1) < 1e-6).any())


def _lowest(phonon: Phonopy, q: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Frequency, wave vector and eigenvector of all modes, the lowest first; one of those that are degenerate."""
    phonon.run_qpoints(q, with_eigenvectors=True)
    modes = []
    for point, frequencies, vectors in zip(q, phonon.qpoints.frequencies, phonon.qpoints.eigenvectors, strict=True):
        for band, frequency in enumerate(frequencies):
            if not band or frequency - frequencies[band - 1] > 1e-3:
                modes.append((float(frequency), point, vectors[:, band]))
    return sorted(modes, key=lambda mode: mode[0])


def _mode(phonon: Phonopy, frequency: float, q: np.ndarray, vector: np.ndarray) -> Mode:
    """The smallest cell that holds a mode, and the mode in it.

    An atom at `r` moves by the real part of its eigenvector times exp(2πi q r), over the square root of its mass.
    """
    primitive = _atoms(phonon.primitive)
    matrix = _period(primitive, q)
    cell = make_supercell(primitive, matrix, order='atom-major')
    source = np.repeat(np.arange(len(primitive)), len(cell) // len(primitive))
    phase = np.exp(2j * np.pi * (cell.positions @ np.linalg.inv(primitive.cell.array)) @ q)
    wave = (vector.reshape(-1, 3) / np.sqrt(phonon.primitive.masses)[:, None])[source] * phase[:, None]
    # of the phases the one that moves the most: a standing wave must not have its nodes on the atoms
    wave = wave * np.exp(-0.5j * np.angle((wave**2).sum()))
    displacements = wave.real / np.linalg.norm(wave.real, axis=1).max()
    return {
        'q': q.tolist(),
        'frequency': frequency,
        'supercell': matrix.tolist(),
        **_plain(cell.numbers, cell.positions, cell.cell.array),
        'displacements': displacements.tolist(),
    }


def _period(primitive: Atoms, q: np.ndarray) -> np.ndarray:
    """Compact cell of the lattice of all translations for which a wave repeats: integers (3, 3), rows.

    These are the vectors R with q·R an integer: a sublattice of index n if n is the smallest number for which n q is a
    reciprocal lattice vector; it has one Hermite normal form.
    """
    index = next(n for n in range(1, MORE_PERIODS**3 + 1) if np.abs(n * q - np.rint(n * q)).max() < 1e-6)
    for a, b in product(range(1, index + 1), repeat=2):
        if index % (a * b):
            continue
        c = index // (a * b)
        for x, y, z in product(range(b), range(c), range(c)):
            matrix = np.array([[a, x, y], [0, b, z], [0, 0, c]])
            if np.abs(matrix @ q - np.rint(matrix @ q)).max() < 1e-6:
                _, operation = minkowski_reduce(matrix @ primitive.cell.array, True)
                compact = operation @ matrix
                return compact if np.linalg.det(compact) > 0 else -compact
    raise AssertionError('every commensurate wave has a cell')


def _frequencies(phonon: Phonopy, q: np.ndarray) -> np.ndarray:
    phonon.run_qpoints(q)
    return phonon.qpoints.frequencies


def _atoms(cell: PhonopyAtoms) -> Atoms:
    return Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)


def _plain(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> Cell:
    return {'numbers': numbers.tolist(), 'positions': positions.tolist(), 'cell': cell.tolist()}


def _complaint(q: np.ndarray, frequency: float, tolerance: float) -> str:
    return (
        f'imaginary phonons, down to {frequency:.2f} THz at q = {_show(q)} (beyond the tolerance of {tolerance:.2f} '
        'THz): the crystal is no minimum of this potential; label the structures along these modes'
    )


def _doubt(border: float) -> str:
    if border <= LARGEST_ERROR:
        return ''
    return (
        f'the force constants are still {100 * border:.1f} % of the largest where the supercell ends, so frequencies '
        'between its own wave vectors are uncertain: raise max_atoms'
    )


def _show(q: np.ndarray) -> str:
    return f'({", ".join(f"{component:.3g}" for component in q)})'


def _name(label: str) -> str:
    """A label of seekpath as people write it."""
    name, _, index = label.partition('_')
    return GREEK.get(name, name) + (f'_{index}' if index else '')
