"""Two tiers of labels: a cheap one (a teacher) where it is sure, an expensive one (DFT) elsewhere.

A teacher is sure of a configuration if both are true:

1. It is calibrated. A few configurations of the batch, as different as possible and the one with the largest forces
   among them, are labelled by both tiers. The energies of the teacher are aligned by one shift per element; what is
   left of the energies and all of the forces must agree within limits *on every one of them*. For the next
   configuration of the same kind to be worse than all n that were compared has the probability 1/(n + 1).
2. It does not extrapolate from there. A committee of other teachers agrees with it on the forces; or, without a
   committee, every atom has neighbours like those of the atoms that were compared (:class:`Domain`), and no larger
   forces act.

Energies are aligned by least squares on shares of the elements, and judged by their leave-one-out residuals. A
composition is only aligned if it is supported by more than one of the configurations that were compared (leverage below
one), so that there is always a residual that would have shown the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from pydantic import field_validator, model_validator

from ..core.cost import EXPONENT
from ..core.errors import InputError
from ..core.frame import energy_counts, forces_count, labels, set_labels
from ..core.parameters import Count, Positive, Section, parameter
from ..core.plugins import ORACLES, find_plugins
from ..subsets.farthest_point import farthest_point
from .settings import Settings, differences
from .suspects import REPULSIVE_FAMILIES
from .teachers import Teacher

#: The oracle that combines two others; it is none that could be combined.
TIERED = 'tiered'
#: Fewer comparisons than these say nothing.
MIN_CALIBRATION = 3
#: Å; neighbours within these make an environment.
RADII = (3.5, 5.0)
#: What is added to the variances of environments, in units of them: crystals without any spread have a domain too.
RIDGE = 1e-6
#: A leverage of one: the shift of a composition rests on a single configuration.
FULL_LEVERAGE = 1 - 1e-6


class Tiers(Section):
    """Labels by `label.teacher` where it is sure, and by an expensive oracle elsewhere."""

    expensive: str = parameter(
        'The oracle that labels where the teacher is not sure, what is held out, and what both are compared on.',
        default='qe',
    )
    reference: Teacher | None = parameter(
        'The expensive teacher, where `expensive` is teacher: a slow, accurate potential.', default=None
    )
    committee: list[Teacher] = parameter(
        'Further teachers that have to agree. Without any, configurations have to be like those of the calibration.',
        default=[],
    )
    calibration: Count = parameter(
        'Configurations of a batch that both tiers label.', default=6, ge=MIN_CALIBRATION, le=1000
    )
    max_force_error: Positive = parameter(
        'Largest root mean square error of the forces of any configuration of the calibration.',
        unit='eV/Å',
        default=0.1,
    )
    max_energy_error: Positive = parameter(
        'Largest error of the energy of any configuration of the calibration, after alignment.',
        unit='eV/atom',
        default=0.01,
    )
    max_deviation: Positive = parameter(
        'Largest difference of the forces on any atom between the teacher and its committee.', unit='eV/Å', default=0.2
    )
    weight: float = parameter('Weight of the labels of the teacher in a fit.', default=0.5, gt=0, le=1)

    @field_validator('expensive')
    @classmethod
    def _check_expensive(cls, value: str) -> str:
        known = [name for name in find_plugins(ORACLES) if name != TIERED]
        if value not in known:
            raise InputError('', f'{value!r} is no oracle that can be the expensive one', f'use {", ".join(known)}')
        return value

    @model_validator(mode='after')
    def _check_reference(self) -> Tiers:
        if (self.expensive == 'teacher') != (self.reference is not None):
            problem = 'expensive: teacher and reference belong together'
            raise InputError('reference', problem, 'give both or neither')
        return self


def is_expensive(atoms: Atoms) -> bool:
    """Return whether a configuration goes to the expensive tier, whatever the teacher may say.

    What errors are measured on is not to have errors of its own; free atoms and dimers are few and cheap, and no
    potential is good at them.
    """
    return atoms.info.get('split', 'train') == 'test' or atoms.info.get('family') in REPULSIVE_FAMILIES


def key(atoms: Atoms) -> bytes:
    """Return what identifies a configuration whatever its labels and info are: its atoms and its cell."""
    parts = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return b'|'.join(np.ascontiguousarray(part).tobytes() for part in parts)


# Choice ---------------------------------------------------------------------------------------------------------------


def choose_calibration(frames: list[Atoms], number: int) -> list[int]:
    """Choose configurations to compare the tiers on: the largest force, then farthest points in composition,
    environments and forces.

    :param frames: configurations with the labels of the teacher.
    :returns: min(number, len(frames)) indices.
    """
    if not frames:
        return []
    elements = elements_of(frames)
    table = np.array([_features(atoms, elements) for atoms in frames])
    means = np.nan_to_num([column[~np.isnan(column)].mean() if not np.isnan(column).all() else 0 for column in table.T])
    table = np.where(np.isnan(table), means, table) - means
    spread = table.std(axis=0)
    table = table[:, spread > 1e-9] / spread[spread > 1e-9]
    first = int(np.argmax([largest_force(atoms) for atoms in frames]))
    if table.shape[1] == 0:
        return [first, *(index for index in range(len(frames)) if index != first)][:number]
    return [first, *farthest_point(table, number - 1, start=[first])][:number]


def _features(atoms: Atoms, elements: list[str]) -> np.ndarray:
    """Composition, largest force, and range and mean of the environments of each element; NaN where there is none."""
    parts = [shares(atoms, elements), [np.log1p(largest_force(atoms))]]
    found = environments(atoms, elements)
    for element in elements:
        rows = found.get(element, np.full((1, (len(RADII) + 1) * len(elements)), np.nan))
        parts += [rows.min(axis=0), rows.mean(axis=0), rows.max(axis=0)]
    return np.concatenate(parts)


def elements_of(frames: list[Atoms]) -> list[str]:
    """Return the elements of configurations, sorted."""
    return sorted({symbol for atoms in frames for symbol in atoms.symbols.species()})


def shares(atoms: Atoms, elements: list[str]) -> np.ndarray:
    """Return the share of each element (n_elements,) of the atoms."""
    symbols = atoms.get_chemical_symbols()
    return np.array([symbols.count(element) for element in elements]) / len(symbols)


def largest_force(atoms: Atoms) -> float:
    """Return the largest force (eV/Å) among those that count."""
    forces = labels(atoms)['forces'][forces_count(atoms)]
    return float(np.linalg.norm(forces, axis=1).max(initial=0.0))


def environments(atoms: Atoms, elements: list[str]) -> dict[str, np.ndarray]:
    """Return by element the environments (n_atoms, n_features) of the atoms whose forces count.

    For each element of neighbours: their number within each of `RADII`, which falls off smoothly, and the distance (Å)
    of the nearest. Together they tell densities, defects, surfaces and short bonds apart.
    """
    first, second, distances = neighbor_list('ijd', atoms, max(RADII))
    symbols = np.array(atoms.get_chemical_symbols())
    columns = []
    for element in elements:
        mine = symbols[second] == element
        for radius in RADII:
            near = mine & (distances < radius)
            falloff = 0.5 * (1 + np.cos(np.pi * distances[near] / radius))
            columns.append(np.bincount(first[near], weights=falloff, minlength=len(atoms)))
        nearest = np.full(len(atoms), max(RADII))
        np.minimum.at(nearest, first[mine], distances[mine])
        columns.append(nearest)
    rows, counting = np.stack(columns, axis=1), forces_count(atoms)
    found = {element: rows[(symbols == element) & counting] for element in elements}
    return {element: entry for element, entry in found.items() if len(entry)}


@dataclass
class Domain:
    """The ellipsoid of environments of an element, through the farthest one of those that were compared.

    The squared distance from the centre, in units of the covariance, is the leverage of linear regression: what gamma
    is to the active set of a potential.
    """

    centre: np.ndarray
    scale: np.ndarray
    inverse: np.ndarray
    limit: float

    @classmethod
    def around(cls, rows: np.ndarray) -> Domain:
        """Return the domain of environments (n, n_features)."""
        centre, spread = rows.mean(axis=0), rows.std(axis=0)
        scale = np.where(spread > 1e-6, spread, 1.0)
        scaled = (rows - centre) / scale
        inverse = np.linalg.inv(scaled.T @ scaled / len(rows) + RIDGE * np.eye(rows.shape[1]))
        domain = cls(centre, scale, inverse, 0.0)
        domain.limit = float(domain.leverage(rows).max()) + RIDGE
        return domain

    def leverage(self, rows: np.ndarray) -> np.ndarray:
        """Return the leverage (n,) of environments."""
        scaled = (rows - self.centre) / self.scale
        return np.einsum('ij,jk,ik->i', scaled, self.inverse, scaled)

    def holds(self, rows: np.ndarray) -> bool:
        """Return whether all environments lie inside."""
        return bool((self.leverage(rows) <= self.limit).all())


# Calibration ----------------------------------------------------------------------------------------------------------


@dataclass
class Calibration:
    """What the comparison of the two tiers says.

    :param number: configurations that were compared.
    :param problems: why the teacher is not sure of anything; empty if it is calibrated.
    :param force_error: largest of the root mean square errors of the forces of a configuration (eV/Å).
    :param force_rmse: root mean square error over all forces (eV/Å).
    :param energy_error: largest leave-one-out error of an energy (eV/atom), None where no energy counts.
    :param energy_rmse: root mean square of them.
    :param shifts: what is added to the energy of the teacher for an atom of each element (eV).
    """

    number: int
    problems: list[str]
    force_error: float | None = None
    force_rmse: float | None = None
    energy_error: float | None = None
    energy_rmse: float | None = None
    shifts: dict[str, float] | None = None
    _inverse: np.ndarray | None = None
    _projector: np.ndarray | None = None
    _domains: dict[str, Domain] | None = None
    _elements: list[str] | None = None
    _largest_force: float = 0.0

    def shift(self, atoms: Atoms) -> float | None:
        """Return what is added to the energy of the teacher (eV), None where the calibration does not support it."""
        if self.shifts is None or not set(atoms.symbols.species()) <= set(self._elements):
            return None
        row = shares(atoms, self._elements)
        outside = np.abs(row - row @ self._projector).max() > 1e-8
        if outside or row @ self._inverse @ row > FULL_LEVERAGE:
            return None
        return len(atoms) * float(row @ [self.shifts[element] for element in self._elements])

    def outside(self, atoms: Atoms) -> str | None:
        """Return in what a configuration is unlike those that were compared, None if in nothing."""
        if largest_force(atoms) > self._largest_force:
            return 'larger forces than in the calibration'
        if not set(atoms.symbols.species()) <= set(self._elements):
            return 'an element that is not in the calibration'
        for element, rows in environments(atoms, self._elements).items():
            if element not in self._domains or not self._domains[element].holds(rows):
                return f'environments of {element} that are not in the calibration'
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what is reported."""
        names = ('number', 'problems', 'force_error', 'force_rmse', 'energy_error', 'energy_rmse', 'shifts')
        return {name: getattr(self, name) for name in names}


def calibrate(teacher: list[Atoms], expensive: list[Atoms], tiers: Tiers) -> Calibration:
    """Compare the labels of the two tiers.

    :param teacher: configurations with the labels of the teacher.
    :param expensive: the same ones in the same order, with the labels of the expensive tier.
    """
    if len(teacher) < MIN_CALIBRATION:
        return Calibration(len(teacher), [f'only {len(teacher)} configurations could be compared: too few'])
    elements = elements_of(teacher)
    calibration = Calibration(len(teacher), [], _elements=elements)
    errors = [_force_errors(one, other) for one, other in zip(teacher, expensive, strict=True)]
    calibration.force_error = float(max(np.sqrt(np.mean(found**2)) for found in errors))
    calibration.force_rmse = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    if calibration.force_error > tiers.max_force_error:
        calibration.problems.append(
            f'forces differ by {calibration.force_error:.3g} eV/Å (`tiers.max_force_error`: {tiers.max_force_error:g})'
        )
    _align(calibration, teacher, expensive, tiers)
    calibration._largest_force = max(largest_force(atoms) for atoms in teacher)
    rows: dict[str, list[np.ndarray]] = {}
    for atoms in teacher:
        for element, entry in environments(atoms, elements).items():
            rows.setdefault(element, []).append(entry)
    calibration._domains = {element: Domain.around(np.concatenate(entries)) for element, entries in rows.items()}
    return calibration


def _force_errors(one: Atoms, other: Atoms) -> np.ndarray:
    """Return the errors (eV/Å) of the force components that count."""
    counting = forces_count(other)
    errors = (labels(one)['forces'] - labels(other)['forces'])[counting].ravel()
    return errors if len(errors) else np.zeros(1)


def _align(calibration: Calibration, teacher: list[Atoms], expensive: list[Atoms], tiers: Tiers) -> None:
    """Find the shifts and the errors of the energies of the configurations whose energies count."""
    pairs = [(one, other) for one, other in zip(teacher, expensive, strict=True) if energy_counts(other)]
    if not pairs:
        return
    elements = calibration._elements
    table = np.array([shares(atoms, elements) for atoms, _ in pairs])
    values = np.array([(labels(other)['energy'] - labels(one)['energy']) / len(one) for one, other in pairs])
    inverse = np.linalg.pinv(table.T @ table, hermitian=True)
    solution = inverse @ table.T @ values
    leverage = np.einsum('ij,jk,ik->i', table, inverse, table)
    judged = leverage < FULL_LEVERAGE
    if judged.sum() < MIN_CALIBRATION:
        calibration.problems.append(
            f'the energies of {len(elements)} elements cannot be aligned with {len(pairs)} configurations: raise '
            '`tiers.calibration`'
        )
        return
    rest = np.abs(values - table @ solution)[judged] / (1 - leverage[judged])
    calibration.energy_error, calibration.energy_rmse = float(rest.max()), float(np.sqrt(np.mean(rest**2)))
    calibration.shifts = {element: float(value) for element, value in zip(elements, solution, strict=True)}
    calibration._inverse, calibration._projector = inverse, np.linalg.pinv(table) @ table
    if calibration.energy_error > tiers.max_energy_error:
        calibration.problems.append(
            f'energies differ by {calibration.energy_error:.3g} eV/atom after alignment '
            f'(`tiers.max_energy_error`: {tiers.max_energy_error:g})'
        )


# Decision -------------------------------------------------------------------------------------------------------------


def doubt(atoms: Atoms, committee: list[Atoms | None], calibration: Calibration, tiers: Tiers) -> str | None:
    """Return why the teacher is not sure of a configuration, None if it is.

    :param atoms: a configuration with the labels of the teacher.
    :param committee: the same with the labels of every member, None where it has none.
    """
    if calibration.problems:
        return calibration.problems[0]
    if energy_counts(atoms) and calibration.shift(atoms) is None:
        return 'a composition whose energy the calibration does not support'
    if not committee:
        return calibration.outside(atoms)
    if any(member is None for member in committee):
        return 'a member of the committee has no label'
    if deviation(atoms, committee) > tiers.max_deviation:
        return f'the committee differs by more than {tiers.max_deviation:g} eV/Å (`tiers.max_deviation`)'
    return None


def deviation(atoms: Atoms, committee: list[Atoms]) -> float:
    """Return the largest difference (eV/Å) between the force on an atom and that of a member of the committee."""
    counting, mine = forces_count(atoms), labels(atoms)['forces']
    differ = [np.linalg.norm((labels(member)['forces'] - mine)[counting], axis=1) for member in committee]
    return float(max(found.max(initial=0.0) for found in differ))


def align(atoms: Atoms, calibration: Calibration, settings: Settings | None, tiers: Tiers) -> Atoms:
    """Return a configuration with the label of the teacher, its energy on the scale of the expensive tier.

    Its info says so: ``flags``, ``energy_shift`` (eV, what was added), ``weight``, and in ``settings`` under
    ``aligned_to`` the settings of the labels that it can be compared with.

    :param settings: the settings of the expensive labels of the calibration.
    """
    found = dict(labels(atoms))
    shift = calibration.shift(atoms) or 0.0
    found['energy'] = found['energy'] + shift
    aligned = atoms.copy()
    aligned.info['energy_shift'] = shift
    aligned.info['weight'] = float(atoms.info.get('weight', 1.0)) * tiers.weight
    energy = ', energy shifted' if energy_counts(atoms) else ''
    error = f'force error {calibration.force_rmse:.3g} eV/Å in {calibration.number} comparisons'
    aligned.info['flags'] = [*atoms.info.get('flags', []), f'labelled by the teacher{energy}; {error}']
    aligned.info['settings'] = {**(atoms.info.get('settings') or {}), 'aligned_to': settings}
    return set_labels(aligned, **found)


def common_settings(frames: list[Atoms]) -> Settings | None:
    """Return the settings of labels that can be compared, with the pseudopotentials of all their elements.

    :raises ValueError: if they cannot.
    """
    joined: Settings | None = None
    for atoms in frames:
        settings = atoms.info.get('settings')
        if joined is None or settings is None:
            joined = joined or settings
            continue
        found = differences(joined, settings)
        if found:
            raise ValueError(f'the labels of the calibration differ in their settings: {"; ".join(found)}')
        pseudos = {**joined.get('pseudos', {}), **settings.get('pseudos', {})}
        joined = {**joined, **({'pseudos': pseudos} if pseudos else {})}
    return joined


class HeldOutErrors(TypedDict):
    """Errors of the forces (eV/Å) of the teacher, and on how many configurations."""

    number: int
    force_rmse: float


class Job(TypedDict):
    """What a job of the expensive tier labelled, and its cost; None where it is not known."""

    configurations: int
    atoms: int
    core_hours: float | None


def held_out_errors(teacher: list[Atoms], expensive: list[Atoms]) -> HeldOutErrors | None:
    """Return the error of the teacher's forces (eV/Å) on what is held out: reported, nothing is decided by it.

    :returns: ``number`` and ``force_rmse``, None if no configuration has both labels.
    """
    found = {key(atoms): atoms for atoms in teacher}
    errors = [_force_errors(found[key(atoms)], atoms) for atoms in expensive if key(atoms) in found]
    if not errors:
        return None
    return {'number': len(errors), 'force_rmse': float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))}


def saved_core_hours(jobs: Sequence[Job], sizes: list[int]) -> float | None:
    """Estimate what the expensive tier would have cost for configurations that the teacher labelled.

    :param jobs: jobs of the expensive tier: ``configurations``, ``atoms`` and ``core_hours`` of each.
    :param sizes: numbers of atoms of the configurations.
    :returns: core-hours, None where no job tells its cost.
    """
    known = [job for job in jobs if job.get('core_hours') and job.get('configurations')]
    units = sum(job['configurations'] * (job['atoms'] / job['configurations']) ** EXPONENT for job in known)
    if not units:
        return None
    return sum(job['core_hours'] for job in known) / units * sum(size**EXPONENT for size in sizes)
