"""Variants of a structure: strained, rattled, with defects, cut open.

An operation is registered here, in `OPERATIONS`; its section in the run file and its place in the plan follow from
that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ase import Atoms

from ..core.parameters import Section
from . import clusters, defects, rattle, squeeze, strain, supercell, surfaces
from .common import NotApplicableError

__all__ = ['CLUSTERS', 'OPERATIONS', 'NotApplicableError', 'Operation']


@dataclass(frozen=True)
class Operation:
    """What makes variants.

    :param Parameters: its section in the run file; `number` is how many variants of each phase.
    :param make: the function.
    :param help: the section in a sentence, for the reference of the run file.
    :param section: of another operation, whose parameters it takes.
    :param least: atoms of the smallest cell in which it makes sense: cells that cost too much are made smaller, but not
        smaller than that. One atom alone feels no force, and of few atoms each vacancy makes another crystal.
    """

    Parameters: type[Section]
    make: Callable[..., Atoms | list[Atoms]]
    help: str
    section: str | None = None
    least: int = 1


#: Key of the run file's section `structures` -> operation on a parent. It is called with the parent, its section, a
#: random generator, the index of the variant and the planned number of variants of this parent, and returns a variant.
OPERATIONS: dict[str, Operation] = {
    'pristine': Operation(supercell.Pristine, supercell.pristine, 'Ideal structures as they are.'),
    'eos': Operation(strain.Eos, strain.eos, 'Isotropic volume scan.'),
    'strain': Operation(strain.Strain, strain.strain, 'Strained cells.'),
    'shear': Operation(strain.Shear, strain.shear, 'Sheared cells.'),
    'rattle': Operation(rattle.Rattle, rattle.rattle, 'Rattled cells.', least=2),
    'squeeze': Operation(squeeze.Squeeze, squeeze.squeeze, 'Cells with two atoms pushed together.', least=2),
    'vacancy': Operation(defects.Vacancy, defects.vacancy, 'Cells with vacancies.', least=8),
    'divacancy': Operation(defects.Divacancy, defects.divacancy, 'Cells with two neighbouring vacancies.', least=12),
    'interstitial': Operation(defects.Interstitial, defects.interstitial, 'Cells with an atom in a void.', least=8),
    'antisite': Operation(defects.Antisite, defects.antisite, 'Cells with atoms on sites of another element.', least=4),
    'surface': Operation(surfaces.Surface, surfaces.surface, 'Free surfaces.'),
    'test': Operation(rattle.Test, rattle.held_out, 'Held-out cells.', section='rattle', least=2),
}

#: The same of what is made of elements alone. It is called with the elements, its section and a random generator, and
#: returns all structures.
CLUSTERS: dict[str, Operation] = {
    'dimer': Operation(clusters.Dimer, clusters.dimers, 'Pairs of atoms at short range.'),
    'trimer': Operation(clusters.Trimer, clusters.trimers, 'Triples of atoms at short range.'),
}
