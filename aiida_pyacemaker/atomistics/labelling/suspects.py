"""Labels that cannot be right: kept, flagged, and left out of training until somebody confirms them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.units import GPa
from scipy.optimize import linprog
from scipy.sparse import bmat, csr_array, eye_array

from ..core.frame import energy_counts, forces_count, labels, set_labels
from ..core.parameters import Positive, Section, parameter
from .spin_states import find_other_states

#: Families that show the repulsive wall on purpose: their forces and energies have no limit.
REPULSIVE_FAMILIES = frozenset({'isolated_atom', 'dimer', 'trimer'})
#: An outlier is also this many median absolute deviations from its family: a family that spreads has no outliers.
MIN_DEVIATIONS = 10.0
#: No solid compressed to 60 % of its volume reaches this pressure (eV/Å³): 1000 GPa.
MAX_STRESS = 1000 * GPa


class Limits(Section):
    """Keys of the section `label`: beyond them a label is suspicious.

    Of 257 structures of the generator for C, W, O-H, Na-Cl and N-C-H, labelled by SevenNet, one is beyond: a rattled O2
    with 51.8 eV/Å; the next ones are carbon with 32 and N2 with 28 eV/Å.
    """

    max_force: Positive = parameter(
        'A label with a larger force is put aside until it is confirmed.', unit='eV/Å', default=50.0
    )
    max_energy_deviation: Positive = parameter(
        'So is one whose energy is further from that of its like.', unit='eV/atom', default=5.0
    )


def find_suspects(frames: list[Atoms], limits: Limits | None = None) -> dict[int, list[str]]:
    """Return what is wrong with labels, by the index of the frame; sound ones are left out.

    Labels in another spin state than their neighbours are among them, see :mod:`.spin_states`.

    Forces on masked atoms and energies of weight zero may be of any size, but finite: no file keeps them otherwise.

    :param frames: labelled frames of one batch: energies are compared within their family.
    """
    limits = limits or Limits()
    reasons = [[*not_finite(atoms), *_large_force(atoms, limits.max_force), *_large_stress(atoms)] for atoms in frames]
    for index, deviation in energy_deviations(frames, limits.max_energy_deviation).items():
        where = 'above' if deviation > 0 else 'below'
        reasons[index].append(
            f'energy {abs(deviation):.3g} eV/atom {where} the family {frames[index].info.get("family", "unknown")} '
            f'(limit {limits.max_energy_deviation:g})'
        )
    for index, reason in find_other_states(frames).items():
        reasons[index].append(reason)
    return {index: found for index, found in enumerate(reasons) if found}


def flag(atoms: Atoms, reasons: list[str]) -> Atoms:
    """Add reasons to the flags of a frame, in place, and drop labels that are not finite: no file keeps them."""
    atoms.info['flags'] = [*atoms.info.get('flags', []), *reasons]
    found = labels(atoms)
    return set_labels(atoms, **{key: value for key, value in found.items() if np.all(np.isfinite(value))})


def not_finite(atoms: Atoms) -> list[str]:
    """Return a reason for every label that holds NaN or infinite numbers."""
    return [f'{key} not finite' for key, value in labels(atoms).items() if not np.all(np.isfinite(value))]


def energy_deviations(frames: list[Atoms], limit: float) -> dict[int, float]:
    """Return the deviations (eV/atom) of the energies that are outliers of their family, by the index of the frame.

    The energy per atom of a family is described by one energy per element, fitted by least absolute deviations, which
    outliers do not pull (the median, where there is one element). An outlier is further from it than ``limit`` and than
    `MIN_DEVIATIONS` times the median absolute deviation. A family with fewer frames than twice its elements plus one
    has none.
    """
    families: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames):
        family = str(atoms.info.get('family', 'unknown'))
        if (
            family not in REPULSIVE_FAMILIES
            and energy_counts(atoms)
            and np.isfinite(labels(atoms).get('energy', np.nan))
        ):
            families.setdefault(family, []).append(index)
    outliers = {}
    for indices in families.values():
        members = [frames[index] for index in indices]
        elements = sorted({symbol for atoms in members for symbol in atoms.symbols.species()})
        if len(members) < 2 * len(elements) + 1:
            continue
        rest = _residuals(members, elements)
        threshold = max(limit, MIN_DEVIATIONS * float(np.median(np.abs(rest))))
        outliers |= {index: float(value) for index, value in zip(indices, rest, strict=True) if abs(value) > threshold}
    return outliers


def _residuals(frames: list[Atoms], elements: list[str]) -> np.ndarray:
    """Energies per atom less those of their elements (n,), fitted by least absolute deviations: a linear programme."""
    sizes = np.array([len(atoms) for atoms in frames], dtype=float)
    counts = np.array([[atoms.get_chemical_symbols().count(element) for element in elements] for atoms in frames])
    shares = counts / sizes[:, None]
    energies = np.array([labels(atoms)['energy'] for atoms in frames]) / sizes
    middle = np.median(energies)
    # minimise sum t with -t <= shares x - energies <= t
    unit, shares = eye_array(len(frames)), csr_array(shares)
    solution = linprog(
        np.concatenate([np.zeros(len(elements)), np.ones(len(frames))]),
        A_ub=bmat([[shares, -unit], [-shares, -unit]]),
        b_ub=np.concatenate([energies - middle, middle - energies]),
        bounds=[(None, None)] * len(elements) + [(0, None)] * len(frames),
    )
    return energies - middle - shares @ solution.x[: len(elements)]


def _large_force(atoms: Atoms, limit: float) -> list[str]:
    forces = labels(atoms).get('forces')
    if forces is None or atoms.info.get('family') in REPULSIVE_FAMILIES:
        return []
    sizes = np.where(forces_count(atoms), np.linalg.norm(forces, axis=1), 0.0)
    worst = int(np.argmax(np.nan_to_num(sizes, posinf=0.0)))
    return [f'force {sizes[worst]:.3g} eV/Å on atom {worst} (limit {limit:g})'] if sizes[worst] > limit else []


def _large_stress(atoms: Atoms) -> list[str]:
    stress = labels(atoms).get('stress')
    if stress is None or not energy_counts(atoms):
        return []
    worst = float(np.max(np.abs(stress)))
    return [f'stress {worst / GPa:.0f} GPa (limit {MAX_STRESS / GPa:.0f})'] if MAX_STRESS < worst < np.inf else []
