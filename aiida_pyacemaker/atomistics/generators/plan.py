"""What to generate: the section `structures` of a run file, made of the sections of families and operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ase import Atoms
from pydantic import model_serializer, model_validator
from pydantic_core import PydanticCustomError

from ..checks.check import Checks
from ..core.parameters import Count, Section, parameter
from ..crystals.elements import is_metal
from ..picking.pick import Selection
from ..variants.clusters import Dimer, Trimer
from ..variants.defects import Antisite, Divacancy, Interstitial, Vacancy
from ..variants.rattle import Rattle, Test
from ..variants.squeeze import Squeeze
from ..variants.strain import Eos, Shear, Strain
from ..variants.supercell import Pristine, Supercell
from ..variants.surfaces import Surface
from .adsorption import Adsorption, generate_adsorption
from .alloy import Alloy, generate_alloy
from .covalent import Covalent, generate_covalent
from .interface import Interface, generate_interface
from .ionic import Ionic, generate_ionic
from .knowledge import Knowledge, generate_knowledge
from .molecular import Molecular, generate_molecular

#: Families in the order in which they are asked: what makes the ideal structures.
FAMILIES: dict[str, Callable[..., list[Atoms]]] = {
    'alloy': generate_alloy,
    'ionic': generate_ionic,
    'covalent': generate_covalent,
    'knowledge': generate_knowledge,
    'interface': generate_interface,
    'adsorption': generate_adsorption,
    'molecular': generate_molecular,
}
#: Elements whose solids are networks of covalent bonds.
NETWORK_FORMERS = frozenset('B C N Si Ge P As Ga Al In'.split())
#: Elements that take electrons from a metal.
ANION_FORMERS = frozenset('N O F P S Cl As Se Br Te I H'.split())
#: Ideal structures asked of each family, at least, and their share of the structures wanted.
MIN_PARENTS, PARENT_SHARE = 20, 0.25


class Structures(Section):
    """The initial structures: which families of ideal structures, and which variants of them."""

    number: Count | None = parameter(
        'Structures altogether, shared among the operations in proportion to their `number`; null: as many as the '
        'operations say, for each phase.',
        default=None,
        ge=1,
    )
    parents: Count | None = parameter(
        f'Ideal structures that each family proposes at most; null: a quarter of `number`, at least {MIN_PARENTS}.',
        default=None,
        ge=1,
    )
    files: list[str] = parameter(
        'Structures of your own: files (CIF, extxyz, POSCAR, ...: what ASE reads), folders or globs, relative to the '
        'run file. They are part of the set as they are.',
        default=[],
    )
    nodes: list[str | int] = parameter(
        'Structures of your own in AiiDA: pk or uuid of StructureData, ConfigurationsData or TrajectoryData nodes, or '
        'labels of groups of them.',
        default=[],
    )
    vary: bool = parameter('Whether variants of your own structures are made, too.', default=True)
    subsystems: bool = parameter(
        'Whether the elements and pairs of elements that no family covers get structures of their own.', default=True
    )
    automatic: bool = parameter(
        'Whether the family that suits the elements is on if none is named; false: only your own structures.',
        default=True,
    )
    alloy: Alloy | None = parameter('Solid solutions and ordered compounds of metals.', default=None)
    ionic: Ionic | None = parameter('Charge-neutral crystals.', default=None)
    covalent: Covalent | None = parameter('Networks of covalent bonds.', default=None)
    knowledge: Knowledge | None = parameter('Crystals that are plausible for a formula.', default=None)
    interface: Interface | None = parameter('Coherent interfaces of two materials.', default=None)
    adsorption: Adsorption | None = parameter('Molecules on surfaces.', default=None)
    molecular: Molecular | None = parameter('Molecules, their clusters and crystals.', default=None)
    supercell: Supercell = parameter('How large cells are.', default=Supercell())
    pristine: Pristine = parameter('Ideal structures as they are.', default=Pristine())
    eos: Eos = parameter('Isotropic volume scan.', default=Eos())
    strain: Strain = parameter('Strained cells.', default=Strain())
    shear: Shear = parameter('Sheared cells.', default=Shear())
    rattle: Rattle = parameter('Rattled cells.', default=Rattle())
    squeeze: Squeeze = parameter('Cells with two atoms pushed together.', default=Squeeze())
    vacancy: Vacancy = parameter('Cells with vacancies.', default=Vacancy())
    divacancy: Divacancy = parameter('Cells with a pair of neighbouring vacancies.', default=Divacancy())
    interstitial: Interstitial = parameter('Cells with an atom in a void.', default=Interstitial())
    antisite: Antisite = parameter('Cells with atoms on sites of another element.', default=Antisite())
    surface: Surface = parameter('Free surfaces.', default=Surface())
    dimer: Dimer = parameter('Pairs of atoms at short range.', default=Dimer())
    trimer: Trimer = parameter('Triples of atoms at short range.', default=Trimer())
    test: Test = parameter('Held-out cells.', default=Test())
    checks: Checks = parameter('What makes a structure physical.', default=Checks())
    selection: Selection = parameter('Choice among more structures than are wanted.', default=Selection())

    @model_validator(mode='after')
    def _check_selection(self) -> Structures:
        if self.selection.method != 'none' and self.number is None:
            raise PydanticCustomError('number', 'a selection needs to know how many: give structures.number')
        return self

    @model_serializer(mode='wrap')
    def _without_families_that_are_off(self, handler: Any) -> dict[str, Any]:
        content = handler(self)
        return {key: value for key, value in content.items() if key not in FAMILIES or value is not None}

    def families(self, elements: list[str]) -> dict[str, Section]:
        """Return the families that are on; if none is named, the one that suits the elements."""
        named = {name: getattr(self, name) for name in FAMILIES if getattr(self, name) is not None}
        return named or (automatic_family(elements) if self.automatic else {})

    def number_of_parents(self) -> int:
        """Return how many ideal structures a family is asked for."""
        if self.parents is not None:
            return self.parents
        return max(MIN_PARENTS, math.ceil(PARENT_SHARE * (self.number or 0)))


def automatic_family(elements: list[str]) -> dict[str, Section]:
    """Return the family that suits the elements: alloy for metals, ionic for metals with anion formers, or covalent."""
    metals = [element for element in elements if is_metal(element)]
    others = [element for element in elements if element not in metals]
    if not others:
        return {'alloy': Alloy()}
    if set(elements) <= NETWORK_FORMERS and not set(elements) <= {'N', 'P', 'As'}:
        return {'covalent': Covalent()}
    if metals and set(others) <= ANION_FORMERS:
        return {'ionic': Ionic()}
    return {'knowledge': Knowledge()}
