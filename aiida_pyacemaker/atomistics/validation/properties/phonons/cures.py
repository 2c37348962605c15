"""Cells displaced along unstable modes, and what their labels say."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....core.frame import labels
from ...property import Request

#: Largest displacement (Å) along an unstable mode: from where it is a perturbation to where it is another structure.
AMPLITUDES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
#: eV/atom that the labels of displaced cells may scatter.
LABEL_NOISE = 1e-3


def displaced(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Displaced along a mode, to one side and the other in turn: they differ where the mode has a cubic term."""
    ideal = Atoms(request['numbers'], request['positions'], cell=request['cell'], pbc=True)
    direction = np.array(request['displacements'], dtype=float)
    direction /= np.linalg.norm(direction, axis=1).max()
    frames = []
    for index, amplitude in enumerate(AMPLITUDES):
        atoms = ideal.copy()
        atoms.info = {**parent.info, 'parameters': {'amplitude': amplitude, 'q': request.get('q')}}
        atoms.positions += (-1) ** index * amplitude * direction
        frames.append(atoms)
    return frames


def find_confirmed(frames: list[Atoms]) -> set[str]:
    """Return the names of crystals of which the labels themselves say that a mode is unstable.

    A mode that was asked for and labelled is unstable in truth if the energy falls with the amplitude.

    :param frames: labelled, those of requests among others.
    """
    modes: dict[tuple, list[tuple[float, float]]] = {}
    for atoms in frames:
        energy = labels(atoms).get('energy')
        if atoms.info.get('family') == 'request' and atoms.info.get('operation') == 'mode' and energy is not None:
            own = atoms.info['parameters']
            key = (atoms.info['phase'], len(atoms), str(own.get('q')), round(atoms.get_volume(), 3))
            modes.setdefault(key, []).append((own['amplitude'], energy / len(atoms)))
    return {key[0] for key, curve in modes.items() if min(energy for _, energy in curve) < min(curve)[1] - LABEL_NOISE}
