"""Structures that cure what a judgement has found wrong: a sampling request becomes something to be labelled."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import zip_longest

import numpy as np
from ase import Atoms

from ..checks.duplicates import Duplicates
from ..checks.vacuum import detect_vacuum
from ..core.errors import InputError
from ..core.plugins import PROPERTIES
from ..variants import NotApplicableError
from ..variants.common import label
from ..variants.rattle import Rattle, rattle
from .property import Cure, Request, load_properties

#: Structures of each request.
STRUCTURES_PER_REQUEST = 6
#: Atoms of the cells: as few as hold a defect, for each is a DFT calculation.
CELL_ATOMS = 16


def make_structures(
    requests: list[Request], crystals: list[Atoms], seed: int, number: int | None = None
) -> list[Atoms]:
    """Return the structures that some requests ask for, no two alike.

    :param requests: of a verdict, see :func:`~aiida_pyacemaker.atomistics.validation.gate.judge`: `kind`, `crystal` (an
        index), `reason`, and what the cure takes, see the module `cures` of each property.
    :param crystals: the crystals that were judged, at their equilibrium.
    :param seed: of everything random.
    :param number: structures at most; the first of each request come before the second of any.
    :returns: structures without labels, to be trained on; info `family` is 'request', `operation` the kind, and
        `reason` why.
    :raises ValueError: for a kind that is not known.
    """
    found, known, cures = [], Duplicates(), find_cures()
    for index, request in enumerate(requests):
        if request['kind'] not in cures:
            raise ValueError(f'sampling request {index}: {request["kind"]!r} is not one of {", ".join(cures)}')
        parent = prepare(crystals[request['crystal']])
        rng = np.random.default_rng([seed, index])
        try:
            made = cures[request['kind']](parent, request, rng)
        except NotApplicableError:
            made = rattled(parent, request, rng)
        new = known.add(made)
        found.append([finish(atoms, parent, request) for atoms, is_new in zip(made, new, strict=True) if is_new])
    in_turn = [atoms for turn in zip_longest(*found) for atoms in turn if atoms is not None]
    return in_turn[:number]


def prepare(crystal: Atoms) -> Atoms:
    """Return a crystal as operations take parents: bare, with a family and a phase."""
    parent = Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)
    phase = crystal.info.get('name', crystal.get_chemical_formula(empirical=True))
    parent.info = {'family': 'request', 'phase': phase, 'vacuum_axes': list(detect_vacuum(parent).axes)}
    return parent


def finish(atoms: Atoms, parent: Atoms, request: Request) -> Atoms:
    """Write into the info of a structure what it is for."""
    atoms.info.update(
        family='request', operation=request['kind'], split='train', parent=label(parent), reason=request['reason']
    )
    atoms.info['parameters'] = atoms.info.get('parameters', {})
    return atoms


def rattled(parent: Atoms, request: Request, rng: np.random.Generator) -> list[Atoms]:
    """Rattled cells."""
    parameters = Rattle(atoms=CELL_ATOMS, amplitude=[0.05, 0.1, 0.2])
    return [rattle(parent, parameters, rng, index, STRUCTURES_PER_REQUEST) for index in range(STRUCTURES_PER_REQUEST)]


@functools.cache
def find_cures() -> Mapping[str, Cure]:
    """Return what makes the structures of each kind of request: rattled cells, and what the properties bring.

    :raises InputError: if two properties have a kind of the same name.
    """
    found: dict[str, Cure] = {}
    for name, kind in load_properties().items():
        for key, cure in kind().cures().items():
            if key in found or key == 'rattle':
                raise InputError(
                    PROPERTIES, f'{name!r} and another property both make structures {key!r}', 'rename one'
                )
            found[key] = cure
    return {**found, 'rattle': rattled}
