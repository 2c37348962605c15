"""Choice of configurations by what they would add to the active set of a potential."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

from ..checks.overlap import overlapping
from ..explorers.walker import EndReason
from ..picking.d_optimal import Knowledge, Rows, d_optimal
from ..picking.descriptors import Environments
from ..potential.potential import AcePotential
from .candidates import along_modes, bursts, displaced
from .cells import Cells
from .parameters import Selection

#: Two frames of the same atoms are near-duplicates if no atom differs by more than this, in units of gamma.
DUPLICATE_TOLERANCE = 0.02
#: Of longer trajectories so many random frames are looked at: to tell duplicates apart takes the square of the number.
MAX_POOL = 400


def near_duplicate(one: Rows, other: Rows) -> bool:
    """Return whether two frames are the same to the active set, atom by atom."""
    if {key: value.shape for key, value in one.items()} != {key: value.shape for key, value in other.items()}:
        return False
    return all(np.abs(one[element] - other[element]).max() < DUPLICATE_TOLERANCE for element in one)


def select_configurations(
    potential: AcePotential,
    frames: list[Atoms],
    selection: Selection,
    report: Callable[[str], None] = print,
) -> list[Atoms]:
    """Choose what to label next.

    The halted frames are anchors: they come first, except those that will be below `gamma_select` once the others are
    learned (see `d_optimal`). Then come, for each of them, up to `select_per_halt - 1` of its neighbours, as many as
    `candidates_per_halt` of each of the kinds `candidates`, by D-optimality with all that is chosen already, as long as
    they stay above `gamma_select`. A simulation that broke off without a halt teaches by its frames above
    `gamma_select` in the same way. From the trajectories come `number_of_test` random frames for the test set, then
    `number_of_train` by D-optimality, without near-duplicates. Overlapping frames are left out first.

    Of a frame with more than `max_atoms` atoms cells are cut: around the atoms with gamma above `gamma_select` where
    it halted, up to `max_environments`; around the most extrapolating atom of another frame for training, around
    a random one for the test set. Only what is in their cores counts.

    :param frames: with info `role` 'halted' or 'trajectory', and gamma per atom where they know it; those of the same
        simulation share the info `parent`. Trajectory frames with info `selected` are those above gamma_select, `ended`
        says how their simulation ended and `temperature` (K) how hot it was.
    :param selection: how many, and of which kinds.
    :returns: frames without labels, maybe none; with arrays `gamma` and `predicted_forces` (eV/Å), info `split`,
        `family`, `parent`, `gamma_max` and `predicted_energy` (eV).
    :raises ValueError: if a frame has no role or an element the potential lacks, or `max_atoms` is too few to embed.
    """
    potential.check_elements(frames)
    halted, trajectory = _by_role(frames, selection.max_atoms, report)
    chooser = _Chooser(potential, selection, report)
    chooser.take_halts(halted, trajectory)
    chooser.take_violations(halted, trajectory)
    if selection.number_of_test or selection.number_of_train:
        chooser.take_trajectory(trajectory)
    report(f'{len(chooser.chosen)} of {len(frames)} configurations and their neighbours chosen')
    return [predicted(potential, atoms) for atoms, _ in chooser.chosen]


def predicted(potential: AcePotential, atoms: Atoms) -> Atoms:
    """Put onto a frame, in place, what the potential says about it, so that the labels tell how wrong it was."""
    calculator = potential.calculator()
    calculator.calculate(atoms.copy())
    atoms.set_array('gamma', calculator.results['gamma'].copy())
    atoms.set_array('predicted_forces', np.array(calculator.results['forces'], dtype=float))
    atoms.info['predicted_energy'] = float(calculator.results['energy'])
    atoms.info['gamma_max'] = float(atoms.arrays['gamma'][core_of(atoms)].max())
    return atoms


class _Chooser:
    """What is chosen so far, and how more is chosen."""

    def __init__(self, potential: AcePotential, selection: Selection, report: Callable[[str], None]) -> None:
        self.potential, self.selection, self.report = potential, selection, report
        self.rng = np.random.default_rng(selection.seed)
        self.cells = Cells(potential, selection, self.rng, report)
        self.environments = Environments(potential)
        self.chosen: list[tuple[Atoms, Rows]] = []

    def take_halts(self, halted: list[Atoms], trajectory: list[Atoms]) -> None:
        """Take the halted frames, except what is known once the others are learned, and what is best to know nearby."""
        cells = self.cells.halted(halted)
        rows = self._rows(cells)
        # the one that halts most goes in whatever is left of it in a cell that was cut
        order = sorted(range(len(cells)), key=lambda index: -Knowledge(self.environments.sizes).gamma(rows[index]))
        first = order[:1]
        rest = d_optimal(rows, len(rows), self.environments.sizes, start=first, least_gamma=self.selection.gamma_select)
        anchors = [cells[index] for index in (*first, *rest)]
        self.chosen += [(_named(cells[index], 'halted', 'train'), rows[index]) for index in (*first, *rest)]
        if len(anchors) < len(cells):
            self.report(f'{len(cells) - len(anchors)} of {len(cells)} halts are known once the others are learned')
        extra = self.selection.select_per_halt - 1
        for anchor in anchors if extra > 0 else []:
            self._take(self._neighbours(anchor, trajectory), extra)

    def take_violations(self, halted: list[Atoms], trajectory: list[Atoms]) -> None:
        """Take the most informative frames above gamma_select of simulations that broke off without a halt."""
        anchored = {atoms.info['parent'] for atoms in halted}
        broken: dict[str, list[Atoms]] = {}
        for atoms in trajectory:
            parent = atoms.info['parent']
            if atoms.info.get('selected') and _broke_off(atoms) and parent not in anchored:
                broken.setdefault(parent, []).append(atoms)
        for found in broken.values():
            self._take(self._on_the_way(found), self.selection.select_per_halt)

    def take_trajectory(self, trajectory: list[Atoms]) -> None:
        """Take random frames to test on, and from the rest the most informative ones."""
        selection, rng = self.selection, self.rng
        if len(trajectory) > MAX_POOL:
            trajectory = [trajectory[index] for index in sorted(rng.choice(len(trajectory), MAX_POOL, replace=False))]
        trajectory = self.cells.trajectory(trajectory)
        pool = self._without_duplicates(trajectory)
        # cells around the most extrapolating atoms are no fair test
        order = sorted(
            rng.permutation(len(pool)), key=lambda index: pool[index][0].info.get('operation') == 'worst atom'
        )
        test = [pool[index] for index in order[: selection.number_of_test]]
        rest = [pool[index] for index in sorted(order[selection.number_of_test :])]
        self._take_best(rest, selection.number_of_train, 'trajectory')
        self.chosen += [(_named(atoms, 'trajectory', 'test'), row) for atoms, row in test]

    def _neighbours(self, anchor: Atoms, trajectory: list[Atoms]) -> list[Atoms]:
        """Return the candidates of all kinds around a halted frame, with the kind as info `operation`."""
        number, amplitude, rng = self.selection.candidates_per_halt, self.selection.displacement, self.rng
        found: list[Atoms] = []
        for kind in self.selection.candidates:
            if kind == 'modes':
                uncertain = self._uncertain(anchor)
                made = along_modes(anchor, number, amplitude, self.potential.calculator(), uncertain)
            elif kind == 'bursts':
                made = bursts(anchor, number, self.potential.calculator(), rng)
            elif kind == 'random':
                made = displaced(anchor, number, amplitude, rng)
            else:
                parent = anchor.info['parent']
                same = [atoms for atoms in trajectory if atoms.info.get('selected') and atoms.info['parent'] == parent]
                made = self._on_the_way(same)
            for atoms in made:
                atoms.info['operation'] = kind
            found += made
        return found

    def _on_the_way(self, frames: list[Atoms]) -> list[Atoms]:
        """Return the last of the frames above gamma_select, as cells that can be labelled."""
        return self.cells.worst(frames[-self.selection.candidates_per_halt :])

    def _uncertain(self, atoms: Atoms) -> np.ndarray:
        """Return the indices of the atoms above gamma_select, or of the worst one."""
        gamma = np.where(core_of(atoms), self.potential.gamma([atoms])[0], 0.0)
        above = np.flatnonzero(gamma > self.selection.gamma_select)
        return above if len(above) else np.array([int(gamma.argmax())])

    def _take(self, candidates: list[Atoms], number: int) -> None:
        """Take up to so many neighbours, none that is known once all that is chosen is learned."""
        pool = list(zip(candidates, self._rows(candidates), strict=True))
        self._take_best(pool, number, 'local_candidate', self.selection.gamma_select)

    def _take_best(
        self, pool: list[tuple[Atoms, Rows]], number: int, family: str, least_gamma: float | None = None
    ) -> None:
        """Take up to so many of a pool by D-optimality, all that is chosen already taken as known."""
        known = len(self.chosen)
        rows = [row for _, row in (*self.chosen, *pool)]
        for index in d_optimal(rows, number, self.environments.sizes, list(range(known)), least_gamma):
            atoms, row = pool[index - known]
            self.chosen.append((_named(atoms, family, 'train'), row))

    def _without_duplicates(self, frames: list[Atoms]) -> list[tuple[Atoms, Rows]]:
        known = [row for _, row in self.chosen]
        kept: list[tuple[Atoms, Rows]] = []
        for atoms, row in zip(frames, self._rows(frames), strict=True):
            if not any(near_duplicate(row, other) for other in [*known, *(kept_row for _, kept_row in kept)]):
                kept.append((atoms, row))
        return kept

    def _rows(self, frames: list[Atoms]) -> list[Rows]:
        """What the active set sees of the atoms that teach."""
        found = []
        for atoms, rows in zip(frames, self.environments.rows(frames), strict=True):
            core, symbols = core_of(atoms), np.array(atoms.get_chemical_symbols())
            masked = {element: values[core[symbols == element]] for element, values in rows.items()}
            found.append({element: values for element, values in masked.items() if len(values)})
        return found


def _broke_off(atoms: Atoms) -> bool:
    """Whether the simulation of a frame ended in a violation, so that it left no halted frame to learn from."""
    return atoms.info.get('ended') in [reason for reason in EndReason if reason.is_violation]


def core_of(atoms: Atoms) -> np.ndarray:
    """Which atoms (n,) of a frame teach: those of the core of an embedded cell, all of any other frame."""
    return atoms.arrays.get('force_weights', np.ones(len(atoms))) > 0


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


def _named(atoms: Atoms, family: str, split: str) -> Atoms:
    named = atoms.copy()
    named.calc = None
    for name in ('role', 'selected', 'ended'):
        named.info.pop(name, None)
    # an embedded cell stays one; how it was found is said by the operation
    embedded = named.info.get('family') == 'embedded'
    named.info.update(family='embedded' if embedded else family, split=split)
    return named
