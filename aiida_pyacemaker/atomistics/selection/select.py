"""Choice of configurations by what they would add to the active set of a potential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping
from ..fitting.linear import DesignMatrix
from ..potential import ASI, AcePotential
from .candidates import displaced

DEFAULTS: dict[str, Any] = {
    'candidates_per_halt': 10,
    'select_per_halt': 1,
    'displacement': 0.05,
    'number_of_train': 0,
    'number_of_test': 0,
    'max_atoms': 200,
    'seed': 0,
}
#: Two frames of the same atoms are near-duplicates if no atom differs by more than this, in units of gamma.
DUPLICATE = 0.02
#: Of longer trajectories so many random frames are looked at: to tell duplicates apart takes the square of the number.
MAX_POOL = 400
#: Below this gain in ln det a frame adds nothing that D-optimality can see: farthest point takes over.
SMALL_GAIN = 1e-6


class Environments:
    """Frames as the active set sees them.

    The row of an atom with B-projections p is p @ inverse: its coefficients in the active set, whose largest absolute
    value is gamma. In these coordinates the information matrix of the active set is the unit matrix.
    """

    def __init__(self, potential: AcePotential):
        self._design = DesignMatrix(potential.basis)
        with np.load(potential.directory / ASI, allow_pickle=False) as data:
            self._inverse = {element: data[element] for element in data.files}
        self.sizes = {element: len(inverse) for element, inverse in self._inverse.items()}

    def rows(self, frames: list[Atoms]) -> list[dict[str, np.ndarray]]:
        """Per frame: element -> (n_atoms of it, n_functions) coefficients."""
        coefficients = []
        for atoms, row in zip(frames, self._design.all_rows(frames, forces=False), strict=True):
            symbols = atoms.get_chemical_symbols()
            coefficients.append(
                {
                    element: np.array(
                        [p for p, symbol in zip(row.projections, symbols, strict=True) if symbol == element]
                    )
                    @ self._inverse[element]
                    for element in sorted(set(symbols))
                }
            )
        return coefficients


def gammas(atoms: Atoms, rows: dict[str, np.ndarray]) -> np.ndarray:
    """Extrapolation grade of every atom, in the order of the frame."""
    grades = np.zeros(len(atoms))
    symbols = np.array(atoms.get_chemical_symbols())
    for element, coefficients in rows.items():
        grades[symbols == element] = np.abs(coefficients).max(axis=1)
    return grades


def d_optimal(
    rows: list[dict[str, np.ndarray]], n: int, sizes: dict[str, int], start: list[int] | None = None
) -> list[int]:
    """Choose n frames greedily for the largest determinant of the information matrix.

    Adding a frame with coefficients C to a set with information matrix M multiplies det M by det(1 + C M^-1 C^T): the
    volume MaxVol maximises, for whole frames instead of atoms. Where no frame gains, farthest point takes over.

    :param rows: from :class:`Environments`. :param sizes: functions per element.
    :param start: frames that are in already, and not counted in n.
    :returns: indices in the order of choice.
    """
    inverse = {element: np.eye(size) for element, size in sizes.items()}
    taken = list(start or [])
    for index in taken:
        _add_information(inverse, rows[index])
    chosen: list[int] = []
    left = [index for index in range(len(rows)) if index not in taken]
    while left and len(chosen) < n:
        gains = np.array([_gain(inverse, rows[index]) for index in left])
        if gains.max() < SMALL_GAIN:
            chosen += farthest_point(features(rows), n - len(chosen), start=taken + chosen)
            break
        best = left.pop(int(np.argmax(gains)))
        _add_information(inverse, rows[best])
        chosen.append(best)
    return chosen


def farthest_point(vectors: np.ndarray, n: int, start: list[int] | None = None) -> list[int]:
    """Choose n points (rows), each as far as possible from those chosen before and from `start`."""
    taken = list(start or [])
    chosen: list[int] = []
    distances = np.full(len(vectors), np.inf)
    for index in taken:
        distances = np.minimum(distances, np.linalg.norm(vectors - vectors[index], axis=1))
    if not taken and len(vectors):
        # nothing to be far from: begin with the point farthest from the middle
        distances = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    distances[taken] = -1.0
    while len(chosen) < n and len(chosen) + len(taken) < len(vectors):
        best = int(np.argmax(distances))
        chosen.append(best)
        if not taken and len(chosen) == 1:
            distances = np.full(len(vectors), np.inf)
        distances = np.minimum(distances, np.linalg.norm(vectors - vectors[best], axis=1))
        distances[taken + chosen] = -1.0
    return chosen


def features(rows: list[dict[str, np.ndarray]]) -> np.ndarray:
    """One vector per frame: mean and spread of the coefficients over its atoms of each element (n_frames, n)."""
    elements = sorted({element for row in rows for element in row})
    sizes = {element: next(row[element].shape[1] for row in rows if element in row) for element in elements}
    vectors = []
    for row in rows:
        parts = []
        for element in elements:
            coefficients = row.get(element, np.zeros((1, sizes[element])))
            parts += [coefficients.mean(axis=0), coefficients.std(axis=0)]
        vectors.append(np.concatenate(parts))
    return np.array(vectors)


def near_duplicate(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Return whether two frames are the same to the active set, atom by atom."""
    if {key: value.shape for key, value in one.items()} != {key: value.shape for key, value in other.items()}:
        return False
    return all(np.abs(one[element] - other[element]).max() < DUPLICATE for element in one)


def select_configurations(
    potential: AcePotential,
    frames: list[Atoms],
    parameters: dict[str, Any],
    report: Callable[[str], None] = print,
) -> list[Atoms]:
    """Choose what to label next.

    Every halted frame is an anchor and always chosen, with `select_per_halt - 1` of `candidates_per_halt` displaced
    copies. From the trajectories come `number_of_test` random frames for the test set, then `number_of_train` by
    D-optimality. Overlapping frames and near-duplicates are left out first.

    :param frames: with info `role` 'halted' or 'trajectory'.
    :param parameters: any of `DEFAULTS`; `displacement` in Å.
    :returns: frames without labels, with gamma per atom and info `split`, `family`, `parent`, `gamma_max`.
    :raises ValueError: if a frame is larger than `max_atoms`, has no role, or has an element the potential lacks.
    """
    unknown = sorted(set(parameters) - set(DEFAULTS))
    if unknown:
        raise ValueError(f'unknown selection parameter {unknown[0]!r}: known are {", ".join(DEFAULTS)}')
    values = {**DEFAULTS, **parameters}
    rng = np.random.default_rng(values['seed'])
    potential.check_elements(frames)
    halted, trajectory = _by_role(frames, values['max_atoms'], report)
    environments = Environments(potential)
    halted_rows = environments.rows(halted)
    chosen: list[tuple[Atoms, dict[str, np.ndarray]]] = []
    for anchor, rows in zip(halted, halted_rows, strict=True):
        if any(near_duplicate(rows, other) for _, other in chosen):
            report('a halted configuration is a near-duplicate of another: left out')
            continue
        chosen.append((_named(anchor, 'halted', 'train'), rows))
        extra = min(values['select_per_halt'] - 1, values['candidates_per_halt'])
        if extra > 0:
            candidates = displaced(anchor, values['candidates_per_halt'], values['displacement'], rng)
            # The frames chosen already count as known, so the candidates complete all of them.
            pool = [row for _, row in chosen] + environments.rows(candidates)
            picked = d_optimal(pool, extra, environments.sizes, start=list(range(len(chosen))))
            known = len(chosen)
            for index in picked:
                chosen.append((_named(candidates[index - known], 'local_candidate', 'train'), pool[index]))
    if values['number_of_test'] or values['number_of_train']:
        if len(trajectory) > MAX_POOL:
            trajectory = [trajectory[index] for index in sorted(rng.choice(len(trajectory), MAX_POOL, replace=False))]
        pool = _without_duplicates(trajectory, environments.rows(trajectory), [row for _, row in chosen])
        order = rng.permutation(len(pool))
        test = [pool[index] for index in order[: values['number_of_test']]]
        rest = [pool[index] for index in sorted(order[values['number_of_test'] :])]
        rows = [row for _, row in chosen] + [row for _, row in rest]
        picked = d_optimal(rows, values['number_of_train'], environments.sizes, start=list(range(len(chosen))))
        known = len(chosen)
        for index in picked:
            atoms, row = rest[index - known]
            chosen.append((_named(atoms, 'trajectory', 'train'), row))
        chosen += [(_named(atoms, 'trajectory', 'test'), row) for atoms, row in test]
    for atoms, rows in chosen:
        atoms.set_array('gamma', gammas(atoms, rows))
        atoms.info['gamma_max'] = float(atoms.arrays['gamma'].max())
    report(f'{len(chosen)} of {len(frames)} configurations and their neighbours chosen')
    return [atoms for atoms, _ in chosen]


def _by_role(frames: list[Atoms], max_atoms: int, report: Callable[[str], None]) -> tuple[list[Atoms], list[Atoms]]:
    """Split by role, without the frames in which atoms overlap: D-optimality loves broken frames."""
    groups: dict[str, list[Atoms]] = {'halted': [], 'trajectory': []}
    for index, atoms in enumerate(frames):
        name = f'configuration {index} ({atoms.get_chemical_formula()})'
        role = atoms.info.get('role')
        if role not in groups:
            raise ValueError(f'{name} has the role {role!r}: info["role"] is "halted" or "trajectory"')
        if len(atoms) > max_atoms:
            raise ValueError(
                f'{name} has {len(atoms)} atoms, more than max_atoms = {max_atoms}: embedding of larger cells comes '
                'later; raise embed.max_atoms or lower explore.atoms'
            )
        if not np.all(np.isfinite(atoms.positions)) or overlapping(atoms):
            report(f'{name} has overlapping atoms: left out')
            continue
        atoms = atoms.copy()
        atoms.info.setdefault('parent', f'{role} {index}')
        groups[role].append(atoms)
    return groups['halted'], groups['trajectory']


def _named(atoms: Atoms, family: str, split: str) -> Atoms:
    named = atoms.copy()
    named.calc = None
    named.info.pop('role', None)
    named.info.update(family=family, split=split)
    return named


def _without_duplicates(
    frames: list[Atoms], rows: list[dict[str, np.ndarray]], known: list[dict[str, np.ndarray]]
) -> list[tuple[Atoms, dict[str, np.ndarray]]]:
    kept: list[tuple[Atoms, dict[str, np.ndarray]]] = []
    for atoms, row in zip(frames, rows, strict=True):
        if not any(near_duplicate(row, other) for other in [*known, *(kept_row for _, kept_row in kept)]):
            kept.append((atoms, row))
    return kept


def _gain(inverse: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> float:
    """ln det(1 + C M^-1 C^T), summed over the elements."""
    total = 0.0
    for element, coefficients in rows.items():
        product = coefficients @ inverse[element] @ coefficients.T
        total += np.linalg.slogdet(np.eye(len(product)) + product)[1]
    return float(total)


def _add_information(inverse: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> None:
    """M <- M + C^T C, on the inverse (Woodbury)."""
    for element, coefficients in rows.items():
        half = coefficients @ inverse[element]
        core = np.eye(len(half)) + half @ coefficients.T
        updated = inverse[element] - half.T @ np.linalg.solve(core, half)
        inverse[element] = 0.5 * (updated + updated.T)
