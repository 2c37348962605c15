"""Choice of configurations by what they would add to the active set of a potential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping
from ..embedding.cut import UnbalancedError
from ..embedding.embed import embed
from ..embedding.parameters import Embedding
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
    'gamma_select': 2.0,
    'seed': 0,
    **Embedding().model_dump(),
}
#: Two frames of the same atoms are near-duplicates if no atom differs by more than this, in units of gamma.
DUPLICATE = 0.02
#: Family, split and operation of displaced copies.
LOCAL = ('local_candidate', 'train', 'local_candidate')
#: Of longer trajectories so many random frames are looked at: to tell duplicates apart takes the square of the number.
MAX_POOL = 400
#: Of frames that must be cut first so many times the number of training frames: a cut takes seconds.
CUT_POOL = 3


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

    Of a frame with more than `max_atoms` atoms cells are cut: around the atoms with gamma above `gamma_select` where
    it halted, up to `max_environments`; around the most extrapolating atom of a trajectory frame for training, around
    a random one for the test set. Only what is in their cores counts.

    :param frames: with info `role` 'halted' or 'trajectory', and gamma per atom where they know it.
    :param parameters: any of `DEFAULTS`; `displacement` in Å, and the keys of `embedding.parameters.Embedding`.
    :returns: frames without labels, with gamma per atom and info `split`, `family`, `parent`, `gamma_max`.
    :raises ValueError: if a frame has no role or an element the potential lacks, or `max_atoms` is too few to embed.
    """
    unknown = sorted(set(parameters) - set(DEFAULTS))
    if unknown:
        raise ValueError(f'unknown selection parameter {unknown[0]!r}: known are {", ".join(DEFAULTS)}')
    values = {**DEFAULTS, **parameters}
    rng = np.random.default_rng(values['seed'])
    potential.check_elements(frames)
    halted, trajectory = _by_role(frames, values['max_atoms'], report)
    embedder = _Embedder(potential, values, rng, report)
    halted = embedder.halted(halted)
    environments = Environments(potential)
    halted_rows = _core_rows(environments, halted)
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
            pool = [row for _, row in chosen] + _core_rows(environments, candidates)
            picked = d_optimal(pool, extra, environments.sizes, start=list(range(len(chosen))))
            known = len(chosen)
            for index in picked:
                chosen.append((_named(candidates[index - known], *LOCAL), pool[index]))
    if values['number_of_test'] or values['number_of_train']:
        if len(trajectory) > MAX_POOL:
            trajectory = [trajectory[index] for index in sorted(rng.choice(len(trajectory), MAX_POOL, replace=False))]
        trajectory = embedder.trajectory(trajectory)
        pool = _without_duplicates(trajectory, _core_rows(environments, trajectory), [row for _, row in chosen])
        # cells around the most extrapolating atoms are no fair test
        order = sorted(
            rng.permutation(len(pool)), key=lambda index: pool[index][0].info.get('operation') == 'worst atom'
        )
        test = [pool[index] for index in order[: values['number_of_test']]]
        rest = [pool[index] for index in sorted(order[values['number_of_test'] :])]
        rows = [row for _, row in chosen] + [row for _, row in rest]
        picked = d_optimal(rows, values['number_of_train'], environments.sizes, start=list(range(len(chosen))))
        known = len(chosen)
        for index in picked:
            atoms, row = rest[index - known]
            chosen.append((_named(atoms, 'trajectory', 'train'), row))
        chosen += [(_named(atoms, 'trajectory', 'test'), row) for atoms, row in test]
    selected = [atoms for atoms, _ in chosen]
    for atoms, rows in zip(selected, environments.rows(selected), strict=True):
        atoms.set_array('gamma', gammas(atoms, rows))
        atoms.info['gamma_max'] = float(atoms.arrays['gamma'][core_of(atoms)].max())
    report(f'{len(chosen)} of {len(frames)} configurations and their neighbours chosen')
    return selected


def core_of(atoms: Atoms) -> np.ndarray:
    """Which atoms (n,) of a frame teach: those of the core of an embedded cell, all of any other frame."""
    return atoms.arrays.get('force_weights', np.ones(len(atoms))) > 0


def _core_rows(environments: Environments, frames: list[Atoms]) -> list[dict[str, np.ndarray]]:
    """What the active set sees of the atoms that teach."""
    found = []
    for atoms, rows in zip(frames, environments.rows(frames), strict=True):
        core, symbols = core_of(atoms), np.array(atoms.get_chemical_symbols())
        masked = {element: values[core[symbols == element]] for element, values in rows.items()}
        found.append({element: values for element, values in masked.items() if len(values)})
    return found


class _Embedder:
    """Cuts cells out of frames that are too large to be labelled whole."""

    def __init__(
        self, potential: AcePotential, values: dict[str, Any], rng: np.random.Generator, report: Callable[[str], None]
    ) -> None:
        self.potential, self.values, self.rng, self.report = potential, values, rng, report
        self.parameters = Embedding(**{name: values[name] for name in Embedding.model_fields})

    def halted(self, frames: list[Atoms]) -> list[Atoms]:
        """Cells around the uncertain atoms of large frames; small frames as they are."""
        cells = []
        for atoms in frames:
            if len(atoms) <= self.values['max_atoms']:
                cells.append(atoms)
                continue
            gamma = self._gamma(atoms)
            if gamma.max() > self.values['gamma_select']:
                cells += self._cut(atoms, 'halted', gamma=gamma)
            else:
                cells += self._cut(atoms, 'halted', centers=[int(gamma.argmax())])
        return cells

    def trajectory(self, frames: list[Atoms]) -> list[Atoms]:
        """Cells from a few of the large frames: around random atoms to test on, around the worst ones to learn."""
        small = [atoms for atoms in frames if len(atoms) <= self.values['max_atoms']]
        large = [atoms for atoms in frames if len(atoms) > self.values['max_atoms']]
        test = self.values['number_of_test']
        order = self.rng.permutation(len(large))[: test + CUT_POOL * self.values['number_of_train']]
        for place, index in enumerate(order):
            atoms = large[index]
            if place < test:
                small += self._cut(atoms, 'random atom', centers=[int(self.rng.integers(len(atoms)))])
            else:
                small += self._cut(atoms, 'worst atom', centers=[int(self._gamma(atoms).argmax())])
        return small

    def _gamma(self, atoms: Atoms) -> np.ndarray:
        return atoms.arrays['gamma'] if 'gamma' in atoms.arrays else self.potential.gamma([atoms])[0]

    def _cut(self, atoms: Atoms, operation: str, **what: Any) -> list[Atoms]:
        try:
            cells = embed(
                atoms, **what, threshold=self.values['gamma_select'], parameters=self.parameters,
                max_atoms=self.values['max_atoms'], calculator=self.potential.calculator(), rng=self.rng,
            )  # fmt: skip
        except UnbalancedError as exception:
            self.report(f'{atoms.info["parent"]}: no cell could be cut of {len(atoms)} atoms: {exception}')
            return []
        kept = [cell for cell in cells if not overlapping(cell)]
        for cell in kept:
            cell.info['operation'] = operation
            done = cell.info['embedding']
            self.report(
                f'{len(cell)} of {len(atoms)} atoms cut around atom {done["centre"]}, {cell.info["core"]} of them in '
                f'the core{"".join(f", {what}" for what in done["given_up"])}'
            )
        return kept


def _by_role(frames: list[Atoms], max_atoms: int, report: Callable[[str], None]) -> tuple[list[Atoms], list[Atoms]]:
    """Split by role, without the frames in which atoms overlap: D-optimality loves broken frames."""
    groups: dict[str, list[Atoms]] = {'halted': [], 'trajectory': []}
    for index, atoms in enumerate(frames):
        name = f'configuration {index} ({atoms.get_chemical_formula()})'
        role = atoms.info.get('role')
        if role not in groups:
            raise ValueError(f'{name} has the role {role!r}: info["role"] is "halted" or "trajectory"')
        # of a large frame only what is cut out of it must be sound
        if not np.all(np.isfinite(atoms.positions)) or (len(atoms) <= max_atoms and overlapping(atoms)):
            report(f'{name} has overlapping atoms: left out')
            continue
        atoms = atoms.copy()
        atoms.info.setdefault('parent', f'{role} {index}')
        groups[role].append(atoms)
    return groups['halted'], groups['trajectory']


def _named(atoms: Atoms, family: str, split: str, operation: str | None = None) -> Atoms:
    named = atoms.copy()
    named.calc = None
    named.info.pop('role', None)
    if named.info.get('family') == 'embedded':
        # what it is stays; how it was found is said by the operation
        family = 'embedded'
        named.info['operation'] = operation or named.info['operation']
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
