"""Labels that fell into another spin state than their neighbours in the data.

A self-consistent calculation ends in a spin state near the one that it started from, which need not be the ground
state: high and low spin, ferro- and antiferromagnetic, or none at all. A potential that knows no spins can learn one of
these energies only. Neighbours are labels of the same composition and phase of about the same volume per atom, in which
the moments change little. What cannot be judged (few neighbours, or neighbours that do not agree) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ..checks.fingerprint import fingerprints, reduced_composition
from ..checks.moments import MOMENTS
from ..core.frame import energy_counts, info, is_isolated_atom, labels
from .magnetism import START_MOMENTS

#: Bohr magnetons per magnetic atom, and part of the magnetisation, by which states differ: a moment changes by a tenth
#: or two when atoms vibrate or a cell is strained.
TOLERANCE, RELATIVE_TOLERANCE = 0.3, 0.3
#: Labels whose volumes per atom differ by less (logarithm) are neighbours: linear strains of 2 %.
VOLUME_WINDOW = 0.06
#: Volumes per atom that differ by less (logarithm) are the same.
SAME_VOLUME = 0.01
#: Neighbours that are needed, at least; so many of the nearest are looked at; and this part of them has to agree.
MIN_NEIGHBOURS, MAX_NEIGHBOURS, CONSENSUS = 3, 8, 0.75
#: Largest difference of the fingerprints of equal structures, see `checks.duplicates`.
SAME_STRUCTURE = 1e-6
#: eV/atom; equal structures whose energies differ by less are in the same state.
SAME_ENERGY = 0.001


@dataclass(frozen=True)
class State:
    """The spin state of a label.

    :param values: (2,) size of the total and absolute magnetisation, Bohr magnetons per magnetic atom.
    :param volume: logarithm of the volume per atom (Å³).
    :param energy: eV/atom, NaN where there is none.
    """

    values: np.ndarray
    volume: float
    energy: float


def get_state(atoms: Atoms) -> State | None:
    """Return the spin state of a label; None where nothing is known of it, or there is nothing to compare it with.

    The magnetisation is that of the cell, or the sum over the moments of the atoms where only these are known.
    """
    moments, held = atoms.arrays.get(MOMENTS), info(atoms)
    if not atoms.pbc.all() or is_isolated_atom(atoms) or 'vacuum_axes' in held or not energy_counts(atoms):
        return None
    total = held.get('total_magnetization', None if moments is None else float(moments.sum()))
    absolute = held.get('absolute_magnetization', None if moments is None else float(np.abs(moments).sum()))
    if total is None or absolute is None:
        return None
    magnetic = sum(symbol in START_MOMENTS for symbol in atoms.get_chemical_symbols()) or len(atoms)
    return State(
        np.array([abs(total), absolute]) / magnetic,
        float(np.log(atoms.get_volume() / len(atoms))),
        float(labels(atoms).get('energy', np.nan)) / len(atoms),
    )


def find_other_states(frames: list[Atoms]) -> dict[int, str]:
    """Return why labels are in another spin state than those beside them, by the index of the frame.

    Of equal structures in different states the one of lower energy is right. Else a label is alone if most of its
    neighbours agree on a state, also among those of smaller and of larger volume alone, and it is not in it: where the
    state changes with the volume, one side is like the label.

    :param frames: labelled frames of one batch.
    """
    states = {index: state for index, atoms in enumerate(frames) if (state := get_state(atoms)) is not None}
    found = dict(_higher_of_equals(frames, states))
    groups: dict[tuple, list[int]] = {}
    for index in states:
        if index not in found:
            phase = frames[index].info.get('phase')
            groups.setdefault((reduced_composition(frames[index]), phase), []).append(index)
    for members in groups.values():
        for index in members:
            others = [states[other] for other in members if other != index]
            reason = _alone(states[index], others)
            if reason:
                found[index] = reason
    return found


def _higher_of_equals(frames: list[Atoms], states: dict[int, State]) -> Iterator[tuple[int, str]]:
    """Yield the labels for whose structure there is one of lower energy in another state, and why."""
    indices = [index for index in states if np.isfinite(states[index].energy)]
    if len(indices) < 2:
        return
    prints = fingerprints([frames[index] for index in indices])
    compositions = [reduced_composition(frames[index]) for index in indices]
    for here, index in enumerate(indices):
        same = np.flatnonzero(np.abs(prints - prints[here]).max(axis=1) <= SAME_STRUCTURE)
        mine = states[index]
        lower = [
            states[indices[other]]
            for other in same
            if compositions[other] == compositions[here]
            and states[indices[other]].energy < mine.energy - SAME_ENERGY
            and _differ(mine.values, states[indices[other]].values)
        ]
        if lower:
            best = min(lower, key=lambda state: state.energy)
            yield (
                index,
                f'spin state: {_describe(mine.values)}; the same structure with {_describe(best.values)} is '
                f'{1000 * (mine.energy - best.energy):.0f} meV/atom lower',
            )


def _alone(state: State, others: list[State]) -> str | None:
    """Say in which way a label is alone among others of its group; None if it is not, or cannot be judged."""
    near = sorted((other for other in others if abs(other.volume - state.volume) <= VOLUME_WINDOW),
                  key=lambda other: abs(other.volume - state.volume))[:MAX_NEIGHBOURS]  # fmt: skip
    if len(near) < MIN_NEIGHBOURS:
        return None
    middle = np.median([other.values for other in near], axis=0)
    if not _differ(state.values, middle):
        return None
    sides = (
        near,
        [other for other in near if other.volume <= state.volume + SAME_VOLUME],
        [other for other in near if other.volume >= state.volume - SAME_VOLUME],
    )
    if not all(side and _share(side, middle) >= CONSENSUS for side in sides):
        return None
    energy = state.energy - float(np.median([other.energy for other in near]))
    told = f', {abs(1000 * energy):.0f} meV/atom {"above" if energy > 0 else "below"} them' * bool(np.isfinite(energy))
    return f'spin state: {_describe(state.values)}; its {len(near)} neighbours have {_describe(middle)}{told}'


def _share(states: list[State], middle: np.ndarray) -> float:
    """Return which part of states is like another."""
    return float(np.mean([not _differ(state.values, middle) for state in states]))


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two states are different ones: by total or absolute magnetisation."""
    limit = max(TOLERANCE, RELATIVE_TOLERANCE * float(other[1]))
    return bool((np.abs(one - other) > limit).any())


def _describe(values: np.ndarray) -> str:
    return f'{values[0]:.2f} total and {values[1]:.2f} absolute Bohr magnetons per magnetic atom'
