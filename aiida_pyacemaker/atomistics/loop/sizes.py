"""How large simulations and the cells cut from them are where the run file leaves that open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ..core.sketch import SKETCH
from ..embedding.box import MIN_BUFFER
from ..explorers.parameters import Explore
from ..explorers.plan import UNPRICED_ATOMS
from ..generators.limits import Limits
from ..selection.parameters import Embed
from ..variants.common import periodic_axes
from ..variants.supercell import supercell

#: Atoms of a simulation, of which the largest affordable number is taken. With fewer, phonons and defects are those of
#: the cell and not of the material.
SIMULATION_ATOMS = (8, 16, 32)
#: The largest cell that goes to DFT has this many times the atoms of a simulation: cells are whole numbers of unit
#: cells, and those of some phases are large.
CELL_FACTOR = 2
#: The same where nobody knows what a label costs.
UNPRICED_CELL = 200
#: Ideal structures whose cost is looked at, the most plausible ones.
MAX_STRUCTURES = 12


@dataclass(frozen=True)
class Sizes:
    """Atoms of a simulation, and of the largest cell that goes to DFT.

    :param notes: where a size costs more than is wanted.
    """

    atoms: int
    max_atoms: int
    notes: tuple[str, ...] = ()


def choose_sizes(explore: Explore, embed: Embed, parents: Sequence[Atoms], limits: Limits) -> Sizes:
    """Return the sizes of the run file, and what is affordable where it leaves them open.

    :param parents: ideal structures, in which simulations start.
    """
    notes: list[str] = []
    solid = [atoms for atoms in parents if SKETCH not in atoms.info and periodic_axes(atoms)][:MAX_STRUCTURES]
    atoms = explore.atoms or _affordable_simulation(solid, limits, notes)
    largest = max(stage.atoms or atoms for stage in explore.stages)
    smallest_cell = min((len(supercell(parent, largest)) for parent in parents), default=largest)
    if embed.max_atoms is not None:
        max_atoms = embed.max_atoms
    elif largest <= SIMULATION_ATOMS[-1]:
        max_atoms = max(CELL_FACTOR * largest if limits.model is not None else UNPRICED_CELL, smallest_cell)
    elif limits.label_seconds is None:
        max_atoms = UNPRICED_CELL
    else:
        volume = float(np.median([parent.get_volume() / len(parent) for parent in solid])) if solid else 10.0
        max_atoms = math.ceil((2 * (embed.core_radius + MIN_BUFFER)) ** 3 / volume)
    return Sizes(atoms, max_atoms, tuple(notes))


def _affordable_simulation(parents: Sequence[Atoms], limits: Limits, notes: list[str]) -> int:
    """Return how many atoms a simulation has so that a label of all of them, in most structures, is affordable."""
    if limits.label_seconds is None or not parents:
        return UNPRICED_ATOMS
    costs = {
        number: float(np.median([limits.seconds(supercell(parent, number)) for parent in parents]))
        for number in SIMULATION_ATOMS
    }
    fitting = [number for number in SIMULATION_ATOMS if costs[number] <= limits.label_seconds]
    if fitting:
        return fitting[-1]
    least = SIMULATION_ATOMS[0]
    notes.append(
        f'simulations have {least} atoms, the least that makes sense: a label of one takes about '
        f'{costs[least] / 3600:.2g} core-hours, more than budget.label_core_hours ({limits.label_seconds / 3600:g})'
    )
    return least
