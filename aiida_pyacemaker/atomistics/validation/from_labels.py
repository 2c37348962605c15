"""Equation of state, elastic constants and the like of crystals by single points of an oracle such as DFT.

They are found in two rounds, for all crystals at once: configurations are planned, labelled wherever that is done, and
looked at; all but the equation of state belong to the volume that it has found. What comes out has the keys
of what is found of a potential, because the same functions find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from ase import Atoms

from ..checks.vacuum import detect_vacuum
from ..core.frame import labels
from ..core.plain import Json
from ..labelling.kpoints import kpoints_mesh
from .crystals import Equilibrium, describe, standard_parameters
from .parameters import REFERENCES
from .properties.eos import EosResult, Fit
from .property import Property, Result, load_properties

#: What is known of a crystal, in the keys of a validation: what it is, `equilibrium`, `eos`, `elasticity`.
Crystal = Json
#: Parameters of the properties by their names.
Sections = Mapping[str, Mapping[str, Any]]


def plan(
    crystals: list[Atoms],
    name: str,
    sections: Sections | None = None,
    kpoints_distance: float | None = None,
    known: list[Crystal] | None = None,
) -> list[Atoms]:
    """Return the configurations whose labels give a property.

    All cells of one crystal get the k-points of the undeformed one: with others the differences of their energies would
    be those of the meshes, which for a metal are several meV/atom. Those of the elastic constants are denser.

    :param name: of :data:`.parameters.REFERENCES`.
    :param sections: parameters of the properties by their names, where they are not the defaults.
    :param kpoints_distance: largest distance (1/Å) between k-points; None: the oracle has none.
    :param known: what :func:`analyse` says of the crystals: they are taken at the volumes of their equations of state,
        and those that have none are left out.
    :returns: info `crystal` is the index of the crystal, `operation` the property, `number` that of the configuration
        among those of both. Crystals that cannot have the property have none.
    """
    kind, frames = make_property(name, sections), []
    for index, crystal in enumerate(crystals):
        if why_not(crystal) or (known is not None and known[index]['eos']['status'] != 'ok'):
            continue
        start = crystal if known is None else _with_volume(crystal, known[index]['equilibrium']['volume'])
        planned = kind.plan(start)
        undeformed = _with_volume(planned[0], start.get_volume() / len(start))
        mesh = None if kpoints_distance is None else kpoints_mesh(undeformed, kpoints_distance * kind.reference_kpoints)
        for number, frame in enumerate(planned):
            frame.info |= {'family': 'reference', 'operation': name, 'crystal': index, 'number': number}
            if mesh is not None:
                frame.info['kpoints_mesh'] = list(mesh)
        frames += planned
    return frames


def analyse(crystals: list[Atoms], labelled: list[Atoms], sections: Sections | None = None) -> list[Crystal]:
    """Return what the labels say of each crystal: what it is, its `equilibrium`, `eos` and `elasticity`.

    The equilibrium is the minimum of the equation of state. The cell was only scaled: its shape and the positions of
    the ions in it are those that were given, which is exact where symmetry fixes both, as in fcc or rocksalt.

    :param labelled: configurations of :func:`plan` with labels, in any order.
    """
    return [
        _analyse_one(crystal, [atoms for atoms in labelled if atoms.info['crystal'] == index], sections)
        for index, crystal in enumerate(crystals)
    ]


def why_not(crystal: Atoms) -> str:
    """Return why a crystal has neither an equation of state nor elastic constants, empty if it has."""
    kind = detect_vacuum(crystal).kind
    if crystal.pbc.all() and kind in ('bulk', 'porous'):
        return ''
    return f'{crystal.get_chemical_formula()} is a {kind} and has no volume of its own'


def _analyse_one(crystal: Atoms, labelled: list[Atoms], sections: Sections | None) -> Crystal:
    state = cast(EosResult, _property(crystal, 'eos', labelled, sections))
    others = [name for name in REFERENCES if name != 'eos']
    if state['status'] != 'ok':
        without = {'status': state['status'], 'message': f'no equation of state: {state["message"]}'}
        return {**describe(crystal), 'equilibrium': without, 'eos': state, **dict.fromkeys(others, without)}
    scaled = _with_volume(crystal, state['birch_murnaghan']['v0'])
    return {
        **describe(scaled),
        'equilibrium': _equilibrium(crystal, scaled, state['birch_murnaghan']),
        'eos': state,
        **{name: _property(scaled, name, labelled, sections) for name in others},
    }


def _property(crystal: Atoms, name: str, labelled: list[Atoms], sections: Sections | None) -> Result:
    """Return a property with its `status` and `message`, whatever is missing for it."""
    reason = why_not(crystal)
    if reason:
        return {'status': 'not_applicable', 'message': reason}
    kind = make_property(name, sections)
    frames = {a.info['number']: a for a in labelled if a.info['operation'] == name and 'energy' in labels(a)}
    wanted = len(kind.plan(crystal))
    if not frames:
        return {'status': 'failed', 'message': 'nothing is labelled for it: it was not asked for, or all of it failed'}
    if len(frames) < wanted:
        message = f'{wanted - len(frames)} of {wanted} configurations have no label: see why their calculations failed'
        return {'status': 'failed', 'message': message}
    try:
        found = kind.analyse(crystal, [frames[number] for number in sorted(frames)])
    except ValueError as exception:
        return {'status': 'failed', 'message': str(exception)}
    return {'status': 'ok', 'message': '', **found}


def _equilibrium(given: Atoms, scaled: Atoms, fit: Fit) -> Equilibrium:
    scaled.info['dimension'] = 3
    a, b, c, alpha, beta, gamma = standard_parameters(scaled)
    return {
        'status': 'ok',
        'message': '',
        'a': a,
        'b': b,
        'c': c,
        'alpha': alpha,
        'beta': beta,
        'gamma': gamma,
        'volume': fit['v0'],
        'energy': fit['e0'],
        'strain': float(abs(np.cbrt(scaled.get_volume() / given.get_volume()) - 1)),
        'pressure': _pressure(fit, given.get_volume() / len(given)),
    }


def _pressure(fit: Fit, volume: float) -> float:
    """Return the pressure (GPa) of a Birch-Murnaghan equation of state at a volume (Å³/atom)."""
    x = np.cbrt(fit['v0'] / volume)
    return float(1.5 * fit['b0'] * (x**7 - x**5) * (1 + 0.75 * (fit['b0_prime'] - 4) * (x**2 - 1)))


def make_property(name: str, sections: Sections | None) -> Property:
    """Return a property with the parameters that it has for an oracle, where no others are given."""
    kind = load_properties()[name]
    return kind(kind.Parameters(**{**(kind.reference or {}), **((sections or {}).get(name) or {})}))


def _with_volume(atoms: Atoms, volume: float) -> Atoms:
    """Return a copy scaled to a volume (Å³/atom)."""
    copy = atoms.copy()
    copy.set_cell(copy.cell.array * np.cbrt(volume * len(copy) / copy.get_volume()), scale_atoms=True)
    return copy
