"""What a frame (`ase.Atoms`) carries besides its structure: labels, the keys of `info` and the arrays, said once.

Labels are in a `SinglePointCalculator`: energy in eV, forces in eV/Å, stress in eV/Å³ (Voigt order xx, yy, zz, yz, xz,
xy). :class:`Info` lists the keys of `atoms.info` with type, unit, meaning and writer; :data:`ARRAYS` the arrays. The
page of the documentation about them is generated from both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, cast, get_args, get_type_hints

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

#: What ASE's calculators start from, besides the structure.
INITIAL = ('initial_magmoms', 'initial_charges')


@dataclass(frozen=True)
class Key:
    """What a key of `info` or an array is.

    :param meaning: one sentence. :param writer: rooms of the package that write it. :param unit: empty for none.
    """

    meaning: str
    writer: str
    unit: str = ''


class Info(TypedDict, total=False):
    """The keys of `atoms.info` that the package writes or reads; all are optional, and all values are JSON-able.

    Frames that come from elsewhere may have more of them, which are kept.
    """

    # where it comes from
    family: Annotated[str, Key('Family of the generator, or how it was found: `halted`, `embedded`...', 'generators')]
    operation: Annotated[str, Key('What was done to the parent: `rattle`, `vacancy`, `worst atom`...', 'variants')]
    phase: Annotated[str, Key('Phase or compound that it belongs to.', 'crystals, generators')]
    parameters: Annotated[dict[str, Any], Key('Numbers that the family or the operation made it with.', 'generators')]
    reason: Annotated[str, Key('Why it is in the set, for people.', 'generators')]
    seed: Annotated[int, Key('Seed of its random numbers.', 'generators')]
    subsystem: Annotated[str, Key('Elements of the part of the system that it stands for.', 'generators')]
    parent: Annotated[str, Key('What it was made of: the phase, or the uuid of a simulation.', 'variants, parsers')]
    file: Annotated[str, Key('Name of the file that it was read from.', 'io')]
    index: Annotated[int, Key('Its number in that file, or in the set that was labelled.', 'io, labelling')]
    name: Annotated[str, Key('Name of a molecule or of a crystal that is validated.', 'crystals, validation')]
    formula: Annotated[str, Key('Formula of a molecule as chemists write it.', 'crystals')]
    config_type: Annotated[str, Key('Family in data sets of others (read only).', 'other programs')]
    trajectory: Annotated[str, Key('Simulation that it is a frame of, in data sets of others (read only).', 'the user')]
    occupancy: Annotated[dict[str, Any], Key('Occupations of sites of a CIF file (read only).', 'ASE')]
    vacuum_axes: Annotated[list[int], Key('Axes of the cell (0, 1, 2) along which there is vacuum.', 'generators, io')]
    allowed_overlap: Annotated[float, Key('Part of a usual bond down to which atoms may be close.', 'variants')]
    cut: Annotated[dict[str, Any], Key('Plane and termination of a surface, while it is made.', 'variants')]
    # what it is used for
    split: Annotated[str, Key('`train`, `validation` or `test`.', 'generators, selection, io')]
    weight: Annotated[float, Key('Factor of all its rows in the fit; 1 if absent.', 'labelling')]
    energy_weight: Annotated[float, Key('Factor of its rows of energy and stress; 1 if absent.', 'embedding')]
    must_be_stable: Annotated[bool, Key('Whether the validation expects the crystal to be stable.', 'validation, cli')]
    # its labels
    settings: Annotated[dict[str, Any], Key('What its labels depend on: oracle, functional, cutoffs...', 'labelling')]
    calculation: Annotated[str, Key('Uuid of the calculation that labelled it.', 'calculations')]
    flags: Annotated[list[str], Key('What is suspicious about its labels, for people.', 'labelling')]
    total_magnetization: Annotated[float, Key('Total magnetisation of its cell.', 'calculations', 'Bohr magneton')]
    absolute_magnetization: Annotated[
        float, Key('Absolute magnetisation of its cell: the integral of its size.', 'calculations', 'Bohr magneton')
    ]
    energy_shift: Annotated[float, Key('What was added to its energy to move it to another scale.', 'labelling', 'eV')]
    # what a potential said of it
    gamma_max: Annotated[float, Key('Largest extrapolation grade of its atoms without a mask.', 'fitting, lammps')]
    energy_std: Annotated[float, Key('Standard deviation of its predicted energy.', 'fitting', 'eV/atom')]
    predicted_energy: Annotated[float, Key('Energy that the potential that chose it predicts.', 'selection', 'eV')]
    # simulations and what is cut out of them
    role: Annotated[str, Key('`halted` or `trajectory`.', 'lammps')]
    ended: Annotated[str, Key('Why its simulation ended.', 'lammps')]
    step: Annotated[int, Key('Step of the simulation.', 'lammps')]
    temperature: Annotated[float, Key('Temperature at this step.', 'lammps', 'K')]
    selected: Annotated[bool, Key('Whether its gamma is above that of the selection.', 'lammps')]
    iteration: Annotated[int, Key('Iteration of the loop that it is from.', 'reports')]
    simulation: Annotated[str, Key('Name of its simulation.', 'reports')]
    time: Annotated[float, Key('Time since the start of the simulation.', 'reports', 'ps')]
    core: Annotated[int, Key('Number of atoms whose forces count in a cell that was cut out.', 'embedding')]
    embedding: Annotated[dict[str, Any], Key('How a cell was cut out of a larger one.', 'embedding')]
    embedding_centre: Annotated[list[float], Key('Position of the atom around which it was cut.', 'embedding', 'Å')]
    # cells of the validation, between planning and analysing
    property: Annotated[str, Key('Property that it is for.', 'validation')]
    crystal: Annotated[int, Key('Number of the crystal that it is for.', 'validation')]
    number: Annotated[int, Key('Its number among the cells of a property.', 'validation')]
    dimension: Annotated[int, Key('In how many dimensions it is endless: 3 a crystal, 0 a molecule.', 'validation')]
    cutoff: Annotated[float, Key('Cutoff of the neighbours that tell its dimension.', 'validation', 'Å')]
    kpoints_mesh: Annotated[list[int], Key('Mesh of k-points that its label is computed with.', 'validation')]
    relaxed: Annotated[bool, Key('Whether its relaxation converged.', 'validation')]
    unrelaxed_energy: Annotated[float, Key('Energy before its relaxation.', 'validation', 'eV')]
    elasticity: Annotated[dict[str, Any], Key('Pattern and amount of its strain.', 'validation')]
    scale: Annotated[float, Key('Factor of the distances of a crystal that is compressed.', 'validation')]
    pair: Annotated[str, Key('Elements of a pair of atoms.', 'validation')]
    distance: Annotated[float, Key('Distance of a pair of atoms.', 'validation', 'Å')]
    bond: Annotated[float, Key('Usual bond length of a pair of atoms.', 'validation', 'Å')]
    atoms: Annotated[list[int], Key('Indices of a pair of atoms.', 'validation')]
    direction: Annotated[list[float], Key('Unit vector from the first to the second atom of a pair.', 'validation')]
    kind: Annotated[str, Key('Kind of a stacking fault.', 'validation')]
    plane: Annotated[str, Key('Plane of a stacking fault.', 'validation')]
    slip: Annotated[str, Key('Direction of the slip of a stacking fault.', 'validation')]
    area: Annotated[float, Key('Area of a surface or of a fault.', 'validation', 'Å²')]
    miller: Annotated[list[int], Key('Miller indices of a surface.', 'validation')]
    termination: Annotated[str, Key('Termination of a surface.', 'validation')]
    left_out: Annotated[list[Any], Key('Surfaces whose cells were too large.', 'validation')]
    element: Annotated[str, Key('Element that is missing in a cell with a vacancy.', 'validation')]
    multiplicity: Annotated[int, Key('Number of equivalent sites of a vacancy.', 'validation')]
    sites: Annotated[int, Key('Number of inequivalent sites of its element.', 'validation')]
    vacancy: Annotated[list[float], Key('Position of the vacancy.', 'validation', 'Å')]


#: Arrays of a frame that are kept, and the shape of what an atom has of each.
PER_ATOM: dict[str, tuple[int, ...]] = {
    'force_weights': (),
    'gamma': (),
    'force_std': (),
    'oxidation_states': (),
    'magnetic_moments': (),
    'predicted_forces': (3,),
}
#: What they are.
ARRAYS: dict[str, Key] = {
    'force_weights': Key('Factor of the rows of the forces on an atom, 0 for a mask; 1 if absent.', 'embedding'),
    'gamma': Key('Extrapolation grade.', 'fitting, lammps, selection'),
    'force_std': Key('Standard deviation of a component of the predicted force.', 'fitting', 'eV/Å'),
    'oxidation_states': Key('Oxidation states.', 'generators'),
    'magnetic_moments': Key('Magnetic moments, of the oracle or of the user.', 'labelling, io', 'Bohr magneton'),
    'predicted_forces': Key('Forces that the potential that chose the frame predicts.', 'selection', 'eV/Å'),
}


class Labels(TypedDict, total=False):
    """Labels of a frame: `energy` (eV), `forces` ((n, 3), eV/Å), `stress` ((6,), eV/Å³, Voigt order)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray


def describe_keys() -> Iterator[tuple[str, str, Key]]:
    """Yield name, type and meaning of all keys of `info`."""
    for name, hint in get_type_hints(Info, include_extras=True).items():
        kind, key = get_args(hint)
        yield (
            name,
            getattr(kind, '__name__', str(kind)) if not get_args(kind) else str(kind).replace('typing.', ''),
            key,
        )


def info(atoms: Atoms) -> Info:
    """Return the info of a frame, typed: the same dictionary, not a copy."""
    return cast(Info, atoms.info)


def labels(atoms: Atoms) -> Labels:
    """Return the labels a frame carries, never starting a calculation.

    :param atoms: a frame; labels that were computed for other positions than the present ones do not count.
    :returns: those of `energy` (float, eV), `forces` ((n, 3), eV/Å) and `stress` ((6,), eV/Å³) that are there.
    """
    calculator = atoms.calc
    if calculator is None or not calculator.results:
        return {}
    reference = getattr(calculator, 'atoms', None)
    if reference is None or (not _identical(reference, atoms) and calculator.check_state(atoms)):
        return {}
    results = calculator.results
    found = {key: results[key] for key in ('energy', 'forces', 'stress') if results.get(key) is not None}
    return cast(Labels, found)


def set_labels(
    atoms: Atoms, energy: float | None = None, forces: np.ndarray | None = None, stress: np.ndarray | None = None
) -> Atoms:
    """Attach labels to a frame (in place) and return it.

    :param energy: eV. :param forces: (n, 3), eV/Å. :param stress: (6,) Voigt, eV/Å³.
    """
    given = {'energy': energy, 'forces': forces, 'stress': stress}
    given = {key: value for key, value in given.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **given) if given else None
    return atoms


def get_weight(atoms: Atoms) -> float:
    """Return the factor of all rows of a frame in a fit."""
    return float(info(atoms).get('weight', 1.0))


def get_energy_weight(atoms: Atoms) -> float:
    """Return the factor of the rows of energy and stress of a frame, `weight` included."""
    return get_weight(atoms) * float(info(atoms).get('energy_weight', 1.0))


def get_force_weights(atoms: Atoms) -> np.ndarray:
    """Return the factors (n,) of the rows of the forces of a frame, without `weight`."""
    return np.asarray(atoms.arrays.get('force_weights', np.ones(len(atoms))), dtype=float)


def energy_counts(atoms: Atoms) -> bool:
    """Return whether the energy of a frame is to be fitted: neither `weight` nor `energy_weight` is zero."""
    return get_energy_weight(atoms) != 0


def forces_count(atoms: Atoms) -> np.ndarray:
    """Return of which atoms (n,) the forces are to be fitted: those without a mask in `force_weights`."""
    counting: np.ndarray = get_force_weights(atoms) * get_weight(atoms) != 0
    return counting


def get_family(atoms: Atoms) -> str:
    """Return the family of a frame, 'unknown' where it does not say."""
    return str(info(atoms).get('family', 'unknown'))


def get_split(atoms: Atoms) -> str:
    """Return whether a frame is for 'train', 'validation' or 'test'; 'train' where it does not say."""
    return info(atoms).get('split', 'train')


def group_name(atoms: Atoms) -> str:
    """Return what errors are told apart by: family and operation of a generated frame, or how it was found."""
    return f'{get_family(atoms)} {info(atoms).get("operation", "")}'.strip()


def get_trajectory(atoms: Atoms) -> str | None:
    """Return the name of the simulation that a frame is from: frames of one are correlated, and never told apart.

    It is what the info `trajectory` says, or the `parent` of what our own simulations left.
    """
    given = info(atoms)
    name = given.get('trajectory', given.get('parent') if 'role' in given else None)
    return None if name is None else f'trajectory {name}'


def is_isolated_atom(atoms: Atoms) -> bool:
    """Return whether a frame is a free atom: its energy is the reference, it is nothing to fit."""
    return len(atoms) == 1 and (info(atoms).get('family') == 'isolated_atom' or not atoms.pbc.any())


def _identical(one: Atoms, other: Atoms) -> bool:
    """Return whether no bit of two frames differs, in a hundredth of the time that ASE takes for a comparison.

    Frames with initial magnetic moments or charges are left to ASE.
    """
    if len(one) != len(other) or any(name in atoms.arrays for atoms in (one, other) for name in INITIAL):
        return False
    return bool(
        one.arrays['positions'].tobytes() == other.arrays['positions'].tobytes()
        and one.arrays['numbers'].tobytes() == other.arrays['numbers'].tobytes()
        and one.cell.array.tobytes() == other.cell.array.tobytes()
        and one.pbc.tobytes() == other.pbc.tobytes()
    )
