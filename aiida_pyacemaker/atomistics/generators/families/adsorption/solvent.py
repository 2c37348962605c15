"""A layer of liquid on a surface."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ....core.chemistry import GRAM_PER_CM3, van_der_waals_radii
from ....core.errors import InputError
from ....crystals.slabs import (
    contact_distance,
    lateral_distances,
)
from .molecules import oriented
from .section import Adsorption
from .surfaces import Surface

#: Molecules are nowhere closer than this times the sum of the van der Waals radii (hydrogen bonds: 0.65 to 0.7).
CONTACT = 0.65
#: Times that a layer of solvent is packed.
MAX_PACKINGS = 10
#: Places tried for each molecule of the solvent.
MAX_PLACES = 400
#: g/cm³ at room temperature.
LIQUIDS = {
    'water': 0.997,
    'ethanol': 0.789,
    'methanol': 0.792,
    'benzene': 0.877,
    'acetone': 0.784,
    'acetonitrile': 0.786,
    'dimethyl sulfoxide': 1.100,
    'chloroform': 1.489,
    'ammonia': 0.682,
}


def pack_solvent(
    surface: Surface, bodies: list[Atoms], solvent: Atoms, parameters: Adsorption, rng: np.random.Generator
) -> list[Atoms]:
    """Return the molecules of a layer of solvent, put one by one at random where nothing is in the way.

    :raises ValueError: naming the density that can be reached.
    """
    density = parameters.solvent_density or LIQUIDS.get(solvent.info['name'], 0.9)
    mass = float(solvent.get_masses().sum())
    volume = surface.area * parameters.solvent_thickness
    wanted = max(1, round(density * GRAM_PER_CM3 * volume / mass))
    most = 0
    for _ in range(MAX_PACKINGS):
        layer: list[Atoms] = []
        for _ in range(wanted):
            body = _room(surface, [*bodies, *layer], solvent, parameters.solvent_thickness, rng)
            if body is None:
                break
            layer.append(body)
        if len(layer) == wanted:
            return layer
        most = max(most, len(layer))
    reached = most * mass / volume / GRAM_PER_CM3
    raise InputError(
        'solvent_density',
        f'only {most} of {wanted} molecules of {solvent.info["name"]} fit on {surface.stack.label} without overlap',
        f'lower it from {density:.2f} to {0.99 * reached:.2f} g/cm³, or make the layer thicker',
    )


def _room(
    surface: Surface, bodies: list[Atoms], solvent: Atoms, thickness: float, rng: np.random.Generator
) -> Atoms | None:
    """Return one molecule of solvent where there is room for it."""
    cell = surface.slab.cell.array[:2, :2]
    others = [(surface.slab.positions, _limits(surface.slab, solvent, slab=True))]
    others += [(body.positions, _limits(body, solvent)) for body in bodies]
    positions = np.concatenate([array for array, _ in others])
    limits = np.concatenate([array for _, array in others])
    # the film of liquid starts a little above the surface atoms
    low = surface.top + 1.0
    for _ in range(MAX_PLACES):
        shape = oriented(solvent, 'random', rng).positions
        centre = np.array([*(rng.random(2) @ cell), low + rng.random() * thickness])
        moved = shape + centre
        if moved[:, 2].min() < low or moved[:, 2].max() > low + thickness + 0.5:
            continue
        if (_distances(positions, moved, cell, float(limits.max())) >= limits).all():
            return Atoms(solvent.numbers, moved, info=dict(solvent.info))
    return None


def _limits(body: Atoms, solvent: Atoms, slab: bool = False) -> np.ndarray:
    """Least distances between the atoms of a body and those of a molecule, (n, m) Å."""
    if slab:
        return 0.95 * np.array([[contact_distance(i, j, bonding=False) for j in solvent.symbols] for i in body.symbols])
    radii = [van_der_waals_radii(atoms.numbers) for atoms in (body, solvent)]
    return CONTACT * (radii[0][:, None] + radii[1][None])


def _distances(first: np.ndarray, second: np.ndarray, cell: np.ndarray, reach: float) -> np.ndarray:
    """Shortest distances between atoms, periodic in the plane, (n, m) Å."""
    lateral = lateral_distances(first, second, cell, reach).min(axis=2)
    return np.hypot(lateral, first[:, None, 2] - second[None, :, 2])
