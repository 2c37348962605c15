"""Local environments of a large cell as small periodic cells with the true core forces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ..checks.vacuum import vacuum_axes
from ..core.cost import EXPONENT
from ..crystals.ions import states_of
from .box import EDGE_SLACK, Box, Sizes, choose_box, matter_ends, plan_sizes
from .cut import BOUNDARY, CORE, NEIGHBOUR, ROLE, ROW, Mended, cut, mend
from .environments import Region, find_environments, local_region
from .parameters import Embedding
from .relax import match_forces, reference_forces, relax_buffer

#: Å: atoms this near to a face may be moved by more than hundredths of an Å.
FACE_DEPTH = 1.5
#: Å: behind a thicker buffer the core feels less of the boundary than a young potential errs in saying how much.
MATCHED_BUFFER = 4.5


def embed(
    atoms: Atoms,
    centers: Sequence[int] | None = None,
    *,
    gamma: np.ndarray | None = None,
    threshold: float = 2.0,
    parameters: Embedding | None = None,
    max_atoms: int = 200,
    calculator: Calculator | None = None,
    rng: np.random.Generator | None = None,
) -> list[Atoms]:
    """Return a small periodic cell for every environment of a snapshot that is worth one.

    The core of a cell are the atoms within `core_radius` of the central atom; they stay where they are in the parent.
    A parent of at most `max_atoms` is returned whole and unmasked.

    :param atoms: the snapshot, of any size and shape, with vacuum or without.
    :param centers: indices of the central atoms; or
    :param gamma: extrapolation grade (n,): the environments of atoms above `threshold`, the most extrapolating first.
    :param calculator: relaxes the boundary; without one it stays as it was cut.
    :param rng: for the orientations that are tried where there is no lattice.
    :returns: cells with arrays `force_weights` (1 in the core, else 0) and `parent_index`, info `family` 'embedded',
        `energy_weight` 0, `core`, `vacuum_axes`, and `embedding`, the report.
    :raises ValueError: if the cap on atoms leaves no room, or the charge of an ionic cell cannot be balanced.
    """
    parameters = parameters or Embedding()
    rng = rng or np.random.default_rng(0)
    chosen = find_environments(
        atoms, centers=centers, gamma=gamma, threshold=threshold, core_radius=parameters.core_radius,
        maximum=None if centers is not None else parameters.max_environments,
    )  # fmt: skip
    if len(atoms) <= max_atoms:
        return [_whole(atoms)] if chosen else []
    states = states_of(atoms)
    cells = []
    for centre in chosen:
        cell = embed_one(atoms, centre, parameters, max_atoms, states=states, calculator=calculator,
                         threshold=threshold, rng=rng)  # fmt: skip
        if gamma is not None:
            cell.info['embedding']['gamma'] = float(gamma[centre])
        cells.append(cell)
    return cells


def embed_one(
    atoms: Atoms,
    centre: int,
    parameters: Embedding,
    max_atoms: int,
    *,
    states: np.ndarray | None = None,
    calculator: Calculator | None = None,
    threshold: float | None = None,
    rng: np.random.Generator | None = None,
) -> Atoms:
    """Cut, mend and relax the cell around one atom; see :func:`embed`."""
    start = time.perf_counter()
    half = parameters.core_radius + parameters.buffer
    point = atoms.positions[centre]
    # the farthest atom that is looked at: of a sample at 1.2 half sizes, moved by the longest edge
    region = local_region(atoms, point, 1.2 * half + 2 * half + EDGE_SLACK)
    vectors = atoms.cell.array[atoms.pbc]
    surfaces = matter_ends(atoms, point, half)
    sizes = plan_sizes(
        region, parameters.core_radius, parameters.buffer, max_atoms,
        periods=np.linalg.norm(vectors, axis=1), surfaces=surfaces,
    )  # fmt: skip
    box = choose_box(region, sizes, cell=vectors, surfaces=surfaces, rng=rng)
    turned = region.rotated(box.axes)
    local = None if states is None else states[region.index]
    cell = cut(turned, box, sizes.core_radius, local)
    cell, mended = mend(
        cell,
        turned,
        box,
        sizes.core_radius,
        max_atoms=max_atoms,
        density=None if box.vacuum.any() else sizes.density,
        states=local,
    )
    cut_seconds = time.perf_counter() - start
    report = _report(atoms, centre, box, sizes, parameters, cell, mended)
    if calculator is not None:
        cell, report['relaxation'] = _settle(cell, turned, box, sizes, parameters, calculator, threshold)
    report['seconds'] = {'cut': cut_seconds, 'relax': time.perf_counter() - start - cut_seconds}
    return _masked(cell, atoms, region, box, report)


def _settle(
    cell: Atoms,
    region: Region,
    box: Box,
    sizes: Sizes,
    parameters: Embedding,
    calculator: Calculator,
    threshold: float | None,
) -> tuple[Atoms, dict[str, Any]]:
    """Ease and match the boundary; see `relax`."""
    core = np.flatnonzero(cell.arrays[ROLE] == CORE)
    boundary = cell.arrays[ROLE] == BOUNDARY
    row = cell.arrays[ROW]
    forces = np.zeros((len(cell), 3))
    forces[row >= 0] = reference_forces(region, row[row >= 0], calculator)
    places = cell.positions + box.low
    # of a thin buffer nothing next to the core
    far = np.linalg.norm(places, axis=1) > sizes.core_radius + NEIGHBOUR
    cell, report = relax_buffer(
        cell, far & box.near_faces(places, FACE_DEPTH), calculator, parameters.relax_steps, parameters.relax_force,
        parent_forces=forces, threshold=threshold,
    )  # fmt: skip
    if sizes.buffer > MATCHED_BUFFER or not parameters.relax_steps:
        return cell, report
    cell, matched = match_forces(cell, core, forces[core], np.flatnonzero(boundary), calculator)
    return cell, {**report, **matched}


def _report(
    atoms: Atoms, centre: int, box: Box, sizes: Sizes, parameters: Embedding, cell: Atoms, mended: Mended
) -> dict[str, Any]:
    """What was done to the environment, in what JSON knows."""
    given_up = []
    left = float(box.edges[~box.vacuum].min(initial=2 * sizes.wanted)) / 2 - sizes.core_radius
    if left < parameters.buffer - 0.3:
        given_up.append(f'buffer {left:.1f} Å instead of {parameters.buffer:g}')
    if sizes.core_radius < parameters.core_radius - 0.01:
        given_up.append(f'core radius {sizes.core_radius:.1f} Å instead of {parameters.core_radius:g}')
    return {
        'centre': int(centre),
        'parent_atoms': len(atoms),
        'atoms': len(cell),
        'edges': box.edges.round(6).tolist(),
        'axes': box.axes.tolist(),
        'core_radius': sizes.core_radius,
        'buffer': left,
        'given_up': given_up,
        'misfit': box.misfit,
        'density_ratio': float(len(cell) / (sizes.density * np.prod(box.edges))),
        # a label of the parent would cost this many of the cell's
        'cost_of_parent': float((len(atoms) / len(cell)) ** EXPONENT),
        **mended,
    }


def _masked(cell: Atoms, parent: Atoms, region: Region, box: Box, report: dict[str, Any]) -> Atoms:
    core = cell.arrays[ROLE] == CORE
    cell.set_array('force_weights', core.astype(float))
    row = cell.arrays[ROW]
    cell.set_array('parent_index', np.where(row >= 0, region.index[row], -1))
    del cell.arrays[ROLE], cell.arrays[ROW]
    kept = {
        key: value for key, value in parent.info.items() if key not in ('energy', 'stress', 'virial', 'free_energy')
    }
    cell.info = {**kept, 'family': 'embedded', 'energy_weight': 0, 'core': int(core.sum()), 'embedding': report}
    cell.info['vacuum_axes'] = np.flatnonzero(box.vacuum).tolist() if box.vacuum.any() else vacuum_axes(cell)
    return cell


def _whole(atoms: Atoms) -> Atoms:
    """A parent that is small enough, as it is."""
    whole = atoms.copy()
    whole.calc = None
    whole.info['embedding'] = {'whole': True, 'atoms': len(atoms), 'parent_atoms': len(atoms)}
    return whole
