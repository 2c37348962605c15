"""Choice of configurations by what they would add to the active set of a potential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping
from ..potential import AcePotential
from .candidates import displaced
from .d_optimal import d_optimal
from .descriptors import Environments, gammas

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
