"""What a potential is fitted to: labelled configurations, read and checked once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ..core.frame import (
    get_energy_weight,
    get_force_weights,
    get_trajectory,
    get_weight,
    group_name,
    is_isolated_atom,
    labels,
)
from ..labelling.settings import Settings, check_consistent, get_scale
from .checks import check_group, find_warnings
from .references import EnergyScale, align_energies, energy_scales


@dataclass(frozen=True)
class LabelledFrame:
    """A configuration, and what is fitted of its labels.

    :param energy: eV; None where it does not count, whatever the label is.
    :param forces: (n, 3), eV/Å; those without weight may be anything.
    :param stress: (6,), eV/Å³, Voigt order; None where there is none, or the energy does not count.
    :param weight: factor of the rows of energy and stress.
    :param force_weights: (n,), factors of the rows of the forces; 0 is a mask.
    :param group: what errors are told apart by.
    :param trajectory: the simulation that it is a frame of, None where it is of none.
    :param settings: those whose energies its own is comparable with.
    :param is_free_atom: its energy is the reference, it is nothing to fit.
    """

    atoms: Atoms
    energy: float | None
    forces: np.ndarray
    stress: np.ndarray | None
    weight: float
    force_weights: np.ndarray
    group: str
    trajectory: str | None
    settings: Settings | None
    is_free_atom: bool

    @classmethod
    def read(cls, atoms: Atoms) -> LabelledFrame:
        """Read what a frame carries.

        :raises ValueError: if a weight is negative or not finite.
        """
        weight, force_weights = get_energy_weight(atoms), get_weight(atoms) * get_force_weights(atoms)
        found = labels(atoms)
        if not np.isfinite(weight) or weight < 0 or not np.all(np.isfinite(force_weights)) or np.any(force_weights < 0):
            raise ValueError(f'{atoms.get_chemical_formula()} has a negative or NaN weight: weights are 0 or positive')
        stress = found.get('stress') if weight else None
        return cls(
            atoms=atoms,
            energy=float(found['energy']) if weight else None,
            forces=np.asarray(found['forces'], dtype=float),
            stress=None if stress is None else np.asarray(stress, dtype=float),
            weight=weight,
            force_weights=force_weights,
            group=group_name(atoms),
            trajectory=get_trajectory(atoms),
            settings=get_scale(atoms),
            is_free_atom=is_isolated_atom(atoms),
        )

    @property
    def counting(self) -> np.ndarray:
        """Of which atoms (n,) the forces are fitted."""
        counting: np.ndarray = self.force_weights != 0
        return counting

    @property
    def is_fitted(self) -> bool:
        """Whether anything of it is fitted: it is no free atom, and something of it counts."""
        return not self.is_free_atom and (self.energy is not None or bool(self.counting.any()))


@dataclass(frozen=True)
class TrainingSet:
    """Labelled configurations without a fault that is known, their energies on one scale.

    :param elements: those of the potential, sorted.
    :param frames: the configurations to fit. :param free_atoms: the rest, of which only energies are used.
    :param test: those that are never trained on, free atoms included.
    :param scales: how far the energies of each kind of settings were moved.
    :param warnings: about data that can be used, but hardly are what is wanted.
    """

    elements: list[str]
    frames: list[LabelledFrame]
    free_atoms: list[LabelledFrame]
    test: list[LabelledFrame]
    scales: list[EnergyScale]
    warnings: list[str]

    @classmethod
    def read(
        cls, frames: Sequence[Atoms], elements: Sequence[str], test: Sequence[Atoms] = (), mix_settings: bool = False
    ) -> TrainingSet:
        """Read labelled configurations, and refuse those that no fit can use.

        :param frames: labelled frames. :param elements: of the potential. :param test: frames not to be trained on.
        :param mix_settings: whether labels of different settings may meet.
        :raises ValueError: if there is nothing to fit, a label that counts is missing or NaN, an element is not in
            `elements`, labels are of different settings or contradict each other, or units are wrong.
        """
        frames, test, elements = list(frames), list(test), sorted(elements)
        for name, group in (('training', frames), ('test', test)):
            check_group(name, group, elements)
        own, unseen = read_frames(frames), read_frames(test)
        if not any(frame.is_fitted for frame in own):
            raise ValueError('training data: there is no configuration with more than a free atom')
        if not mix_settings:
            # the numbers in the message go on from the training data to the test data
            check_consistent([*frames, *test])
        warnings = find_warnings(own, unseen, elements)
        scales = energy_scales(frames, elements)
        if len(scales) > 1:
            own, unseen = read_frames(align_energies(frames, scales)), read_frames(align_energies(test, scales))
        fitted = [frame for frame in own if frame.is_fitted]
        rest = [frame for frame in own if not frame.is_fitted]
        return cls(elements, fitted, rest, unseen, scales, warnings)


def read_frames(frames: Iterable[Atoms]) -> list[LabelledFrame]:
    """Read labelled frames; see :meth:`LabelledFrame.read`."""
    return [LabelledFrame.read(atoms) for atoms in frames]
