"""Point defects: vacancies, di-vacancies, interstitials at real voids, antisites. Of ions, always neutral ones.

With oxidation states a vacancy is a Schottky defect (a neutral set of ions is removed), an interstitial a Frenkel pair
(an ion moves into a void), and an antisite an exchange of ions of equal charge. Defects are put into the ideal
supercell, which is then strained by up to 3 % and rattled by 0.05 Å.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from pydantic import Field, model_validator

from ..core.errors import InputError
from ..core.parameters import Count, Section, parameter
from .common import (
    NotApplicableError,
    charges,
    disturb,
    host_atoms,
    moments_of,
    record,
    remembered,
    require_solid,
    usual_moment,
)
from .supercell import supercell
from .voids import Void, find_voids

#: Atoms around a defect are pushed away until none is closer to it than this fraction of the covalent distance.
MIN_CONTACT_RATIO = 0.78
#: Largest number of ions of one kind in a neutral set.
MAX_IONS = 8

DefectsPerCell = Annotated[Count, Field(ge=1, le=100)]


def _check_missing(counts: list[int], atoms: int, each: int) -> None:
    """At most half of the atoms may be missing (`each` per vacancy), or it is no defect any more."""
    if max(counts) * each > max(atoms // 2, each):
        raise InputError(
            'count',
            f'with {max(counts)} of them {max(counts) * each} of {atoms} atoms would be missing',
            f'give {max(atoms // 2 // each, 1)} at most, or atoms {2 * each * max(counts)}',
        )


class Vacancy(Section):
    """Atoms taken out at random; of ions a neutral set (Schottky defect)."""

    number: Count = parameter('Structures with vacancies per phase.', default=4, ge=0)
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=32, ge=2)
    count: list[DefectsPerCell] = parameter(
        'Vacancies (of ions: neutral sets of them) per cell, used in turn; with `atoms` this is their density.',
        default=[1],
        min_length=1,
    )

    @model_validator(mode='after')
    def _check_count(self) -> Vacancy:
        _check_missing(self.count, self.atoms, 1)
        return self


class Divacancy(Section):
    """Two neighbouring atoms taken out; of ions a neutral cluster of neighbours (bound Schottky defect)."""

    number: Count = parameter('Structures with di-vacancies per phase.', default=0, ge=0)
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=32, ge=3)
    count: list[DefectsPerCell] = parameter('Di-vacancies per cell, used in turn.', default=[1], min_length=1)

    @model_validator(mode='after')
    def _check_count(self) -> Divacancy:
        _check_missing(self.count, self.atoms, 2)
        return self


class Interstitial(Section):
    """Atoms added in the largest voids of the crystal; of ions one is moved there (Frenkel pair)."""

    number: Count = parameter('Structures with interstitials per phase.', default=0, ge=0)
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=32, ge=1)
    count: list[DefectsPerCell] = parameter('Interstitials per cell, used in turn.', default=[1], min_length=1)
    element: str | None = parameter('Element that is put in; null: those of the parent in turn.', default=None)
    voids: Count = parameter('How many inequivalent voids are used in turn, the largest first.', default=3, ge=1)


class Antisite(Section):
    """Unlike atoms that have changed places; of ions only those of equal charge (cation disorder)."""

    number: Count = parameter('Structures with antisites per phase.', default=0, ge=0)
    atoms: Count = parameter('The parent is repeated until it has so many atoms.', default=32, ge=2)
    count: list[DefectsPerCell] = parameter('Antisites per cell, used in turn.', default=[1], min_length=1)
    kind: Literal['swap', 'substitute'] = parameter(
        'Two atoms change places; or one becomes an atom of the other element, which changes the composition.',
        default='swap',
    )


def vacancy(parent: Atoms, parameters: Vacancy, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a supercell with vacancies at random places.

    :raises NotApplicableError: for molecules, or if too few atoms are left.
    """
    return _vacancies(parent, parameters, rng, index, 'vacancy', bound=False)


def hopping_cell(parent: Atoms, atoms: int, rng: np.random.Generator) -> Atoms | None:
    """Return a supercell with a vacancy (of ions: a neutral set of them) and a neighbour halfway into it.

    In a material of ions the neighbour is one of the same kind, in others any of the nearest.

    :param atoms: the parent is repeated until it has so many.
    :returns: None where there is no such vacancy (molecules, tiny cells).
    """
    if parent.info.get('phase') == 'molecular crystal':
        return None
    try:
        cell = vacancy(parent, Vacancy(number=1, atoms=max(atoms, 2)), rng, 0, 1)
    except NotApplicableError:
        return None
    # from the ideal crystal without the disturbance of a static structure: the simulation has its own
    ideal = supercell(parent, max(atoms, 2))
    sites = cell.info['parameters']['sites']
    site, element, info = ideal.positions[sites[0]], ideal.symbols[sites[0]], cell.info
    del ideal[sites]
    others = host_atoms(ideal) if charges(ideal) is None else np.flatnonzero(np.array(ideal.symbols) == element)
    if not len(others):
        return None
    distances = _distances(ideal, site, others)
    mover = int(rng.choice(others[distances < 1.1 * distances.min()]))
    ideal.positions[mover] += 0.5 * find_mic(site - ideal.positions[mover], ideal.cell, pbc=True)[0]
    ideal.info = {**info, 'operation': 'hop', 'parameters': {**info['parameters'], 'hopping': mover}}
    return ideal


def divacancy(parent: Atoms, parameters: Divacancy, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a supercell in which two neighbours (of ions: a neutral cluster of neighbours) are missing.

    :raises NotApplicableError: for molecules, or if too few atoms are left.
    """
    return _vacancies(parent, parameters, rng, index, 'divacancy', bound=True)


def interstitial(parent: Atoms, parameters: Interstitial, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a supercell with an atom more, or an ion elsewhere, in one of its voids.

    The void and the element change with the index, the place is random. The neighbours make room.

    :raises NotApplicableError: for molecules, if there is no void, or no ion of the element.
    """
    require_solid(parent, 'interstitial')
    atoms = supercell(parent, parameters.atoms)
    voids = remembered('voids', parent, lambda: find_voids(parent))[: parameters.voids]
    if not voids:
        raise NotApplicableError(
            f'structures.interstitial: no void was found in {parent.info.get("phase", "the parent")}'
        )
    elements = _choices(parent, parameters.element)
    # the void changes first, then the element
    void, element = voids[index % len(voids)], elements[index // len(voids) % len(elements)]
    states = charges(parent)
    repeated = np.round(atoms.cell.lengths() / parent.cell.lengths()).astype(int)
    sites = _sites(void, parent, repeated, rng)
    count = parameters.count[index % len(parameters.count)]
    if count > len(sites):
        raise NotApplicableError(
            f'structures.interstitial.count: {count} do not fit into the {len(sites)} voids of the cell: use fewer, or '
            'more structures.interstitial.atoms'
        )
    placed = [
        _insert(atoms, element, site) if states is None else _move(atoms, element, site, rng) for site in sites[:count]
    ]
    disturb(atoms, rng)
    kind = 'interstitial' if states is None else 'Frenkel pair'
    own = {'defect': kind, 'element': element, 'void_radius': round(void.radius, 4), 'sites': placed}
    return record(atoms, parent, 'interstitial', own)


def antisite(parent: Atoms, parameters: Antisite, rng: np.random.Generator, index: int, total: int) -> Atoms:
    """Return a supercell in which unlike atoms have changed places, or one has become the other.

    :raises NotApplicableError: for elements, molecules, or if no two unlike ions have the same charge.
    """
    require_solid(parent, 'antisite')
    atoms = supercell(parent, parameters.atoms)
    count = parameters.count[index % len(parameters.count)]
    changed: list[list] = []
    used: list[int] = []
    for _ in range(count):
        first, second = _unlike(atoms, used, rng)
        pair = [atoms.symbols[first], atoms.symbols[second]]
        _exchange_moments(atoms, first, second, both=parameters.kind == 'swap')
        atoms.symbols[first] = pair[1]
        if parameters.kind == 'swap':
            atoms.symbols[second] = pair[0]
            _make_room(atoms, second)
        _make_room(atoms, first)
        used += [first, second]
        changed.append([*pair, first, second])
    disturb(atoms, rng)
    return record(atoms, parent, 'antisite', {'defect': parameters.kind, 'sites': changed})


def _vacancies(
    parent: Atoms, parameters: Vacancy | Divacancy, rng: np.random.Generator, index: int, name: str, bound: bool
) -> Atoms:
    require_solid(parent, name)
    atoms = supercell(parent, parameters.atoms)
    states, count = charges(atoms), parameters.count[index % len(parameters.count)]
    removed: list[int] = []
    for _ in range(count):
        left = np.setdiff1d(host_atoms(atoms), removed)
        if states is not None:
            removed += _neutral_set(atoms, states, left, bound, index, rng)
        else:
            removed += _neighbours(atoms, left, 2 if bound else 1, rng)
    if len(atoms) - len(removed) < 1 or len(removed) > len(atoms) // 2:
        raise NotApplicableError(
            f'structures.{name}: {len(removed)} of {len(atoms)} atoms would be missing: use a smaller '
            f'structures.{name}.count or more structures.{name}.atoms'
        )
    missing = Counter(atoms.symbols[site] for site in removed)
    del atoms[removed]
    disturb(atoms, rng)
    kind = name if states is None else ('bound Schottky' if bound else 'Schottky')
    own = {'defect': kind, 'removed': dict(sorted(missing.items())), 'sites': [int(site) for site in removed]}
    return record(atoms, parent, name, own)


def _neighbours(atoms: Atoms, left: np.ndarray, number: int, rng: np.random.Generator) -> list[int]:
    """A random atom and, for `number` 2, one of its nearest neighbours, at random among the equally near."""
    if len(left) < number:
        return left.tolist()
    first = int(rng.choice(left))
    if number == 1:
        return [first]
    others = left[left != first]
    distances = _distances(atoms, atoms.positions[first], others)
    return [first, int(rng.choice(others[distances < 1.1 * distances.min()]))]


def _neutral_set(
    atoms: Atoms, states: np.ndarray, left: np.ndarray, bound: bool, index: int, rng: np.random.Generator
) -> list[int]:
    """A smallest set of ions without charge: one kind of cation with one kind of anion, or one atom without charge.

    The kinds change with the index. The ions are next to the first one, or anywhere.
    """
    species = [(symbol, float(state)) for symbol, state in zip(atoms.symbols, states, strict=True)]
    sets = _neutral_formulas(Counter(species[site] for site in left.tolist()))
    if not sets:
        raise NotApplicableError(
            f'structures.{"divacancy" if bound else "vacancy"}.atoms: {atoms.get_chemical_formula()} has no neutral '
            'set of ions to remove: use more atoms'
        )
    chosen: list[int] = []
    for kind, number in sets[index % len(sets)]:
        mine = np.array([site for site in left.tolist() if species[site] == kind])
        if bound and chosen:
            order = np.argsort(np.round(_distances(atoms, atoms.positions[chosen[0]], mine), 4), kind='stable')
        else:
            order = rng.permutation(len(mine))
        chosen += mine[order[:number]].tolist()
    return chosen


def _neutral_formulas(available: Counter) -> list[list[tuple[tuple[str, float], int]]]:
    """Smallest neutral sets: [((element, charge), how many), ...], the smallest set first."""
    kinds = sorted(available)
    found = [[(kind, 1)] for kind in kinds if abs(kind[1]) < 1e-6]
    for cation in (kind for kind in kinds if kind[1] > 0):
        for anion in (kind for kind in kinds if kind[1] < 0):
            pairs = ((n, m) for n in range(1, MAX_IONS + 1) for m in range(1, MAX_IONS + 1))
            neutral = [(n + m, n, m) for n, m in pairs if abs(n * cation[1] + m * anion[1]) < 1e-4]
            if neutral:
                _, n, m = min(neutral)
                if n <= available[cation] and m <= available[anion]:
                    found.append([(cation, n), (anion, m)])
    return sorted(found, key=lambda ions: sum(number for _, number in ions))


def _choices(parent: Atoms, element: str | None) -> list[str]:
    """Elements of an interstitial, in turn: the one asked for, or those of the solid, the smallest first."""
    host = host_atoms(parent)
    present = sorted({parent.symbols[site] for site in host.tolist()}, key=_radius)
    if element is None:
        return present
    if charges(parent) is not None and element not in present:
        raise NotApplicableError(
            f'structures.interstitial.element: {element} is not in {parent.get_chemical_formula()}, and a charged ion '
            f'cannot be added alone: choose from {", ".join(present)}'
        )
    return [element]


def _radius(element: str) -> tuple[float, str]:
    return float(covalent_radii[Atoms(element).numbers[0]]), element


def _sites(void: Void, parent: Atoms, repeated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All places (n, 3) of a kind of void in the supercell, in random order."""
    shifts = np.stack(np.meshgrid(*(np.arange(n) for n in repeated), indexing='ij'), axis=-1).reshape(-1, 3)
    sites = (void.positions[None] + (shifts @ parent.cell.array)[:, None]).reshape(-1, 3)
    return sites[rng.permutation(len(sites))]


def _insert(atoms: Atoms, element: str, site: np.ndarray) -> int:
    """Add an atom, in place; its per-atom arrays are zero where nothing else is known, its moment is a usual one."""
    usual = usual_moment(atoms, element)
    atoms.append(element)
    moments = moments_of(atoms)
    if moments is not None:
        moments[-1] = usual
    atoms.positions[-1] = site
    _make_room(atoms, len(atoms) - 1)
    return len(atoms) - 1


def _move(atoms: Atoms, element: str, site: np.ndarray, rng: np.random.Generator) -> int:
    """Move an ion of the element into the void, in place: one that is not next to it, for they would recombine."""
    host = host_atoms(atoms)
    mine = host[np.array(atoms.symbols)[host] == element]
    distances = _distances(atoms, site, mine)
    far = mine[distances > 1.5 * distances.min()]
    ion = int(rng.choice(far if len(far) else mine[distances >= distances.max() - 1e-6]))
    atoms.positions[ion] = site
    _make_room(atoms, ion)
    return ion


def _unlike(atoms: Atoms, used: list[int], rng: np.random.Generator) -> tuple[int, int]:
    """Two random atoms, not used before, of different elements and, where charges are set, the same charge."""
    host = np.setdiff1d(host_atoms(atoms), used)
    states, symbols = charges(atoms), np.array(atoms.symbols)
    charge = np.zeros(len(atoms)) if states is None else states
    same = np.abs(charge[host][:, None] - charge[host][None]) < 1e-6
    first, second = np.nonzero((symbols[host][:, None] != symbols[host][None]) & same)
    if len(first) == 0:
        reason = 'has one element only' if states is None else 'has no two elements of the same charge'
        raise NotApplicableError(f'structures.antisite: {atoms.get_chemical_formula()} {reason}')
    pair = int(rng.integers(len(first)))
    return int(host[first[pair]]), int(host[second[pair]])


def _exchange_moments(atoms: Atoms, first: int, second: int, both: bool) -> None:
    """Give atoms that change places the moments they had, in place, before their symbols are changed.

    :param both: False: the first becomes an atom of the element of the second, with the usual moment of that element in
        the direction of its site.
    """
    moments = moments_of(atoms)
    if moments is None:
        return
    if both:
        moments[[first, second]] = moments[[second, first]]
    else:
        moments[first] = np.copysign(usual_moment(atoms, atoms.symbols[second]), moments[first])


def _distances(atoms: Atoms, point: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Shortest distances (Å) of atoms from a point, periodic."""
    return find_mic(atoms.positions[sites] - point, atoms.cell, pbc=True)[1]


def _make_room(atoms: Atoms, site: int) -> None:
    """Push the atoms around one away from it, in place, until the nearest is at an acceptable distance.

    r'³ = r³ + s³ is the displacement field of a sphere put into an incompressible medium: it decays as 1/r², keeps the
    order of the shells, and adds the volume of one atom. Distances in Å.
    """
    others = np.delete(np.arange(len(atoms)), site)
    vectors, distances = find_mic(atoms.positions[others] - atoms.positions[site], atoms.cell, pbc=True)
    radii = covalent_radii[atoms.numbers]
    wanted = MIN_CONTACT_RATIO * (radii[others] + radii[site])
    missing = (wanted**3 - distances**3).max()
    if missing <= 0:
        return
    atoms.positions[others] += vectors * (np.cbrt(distances**3 + missing) / np.maximum(distances, 1e-6) - 1)[:, None]
