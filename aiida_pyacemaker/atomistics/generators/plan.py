"""What to generate: the section `structures` of a run file, made of the sections of families and operations.

Families come from the registry of plug-ins (`family.load_families`), operations from `variants.OPERATIONS`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from pydantic import create_model, model_serializer, model_validator

from ..checks.check import Checks
from ..core.errors import InputError
from ..core.parameters import Count, Section, parameter
from ..picking.pick import Selection
from ..variants import CLUSTERS, OPERATIONS
from ..variants.supercell import Supercell
from .family import load_families

#: Families by name, in the order in which they are asked.
FAMILIES = load_families()
#: Ideal structures asked of each family, at least.
MIN_PARENTS = 20
#: Ideal structures asked of each family, as a share of the structures wanted.
PARENT_SHARE = 0.25


class _Structures(Section):
    """The initial structures: which families of ideal structures, and which variants of them."""

    number: Count | None = parameter(
        'Structures altogether, shared among the operations in proportion to their `number`; null: as many as the '
        'operations say, for each phase, but not more than half of `budget.max_labels`.',
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
    moments: dict[str, float] = parameter(
        'Magnetic moments that the kinds of atoms of your StructureData start from, such as {Mn1: 5, Mn2: -5}; kinds '
        'that are not named have none. Files bring theirs with them.',
        unit='Bohr magnetons',
        default={},
    )
    vary: bool = parameter('Whether variants of your own structures are made, too.', default=True)
    subsystems: bool = parameter(
        'Whether the elements and pairs of elements that no family covers get structures of their own.', default=True
    )
    automatic: bool = parameter(
        'Whether the family that suits the elements is on if none is named; false: only your own structures.',
        default=True,
    )
    if TYPE_CHECKING:
        supercell: Supercell
        checks: Checks
        selection: Selection

    @model_validator(mode='after')
    def _check_selection(self) -> Self:
        if self.selection.method != 'none' and self.number is None:
            raise InputError('number', 'a selection needs to know how many', 'give structures.number')
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
    """Return the section of the first family that suits the elements, with its defaults."""
    return next(({name: family.Parameters()} for name, family in FAMILIES.items() if family.suits(elements)), {})


def _fields() -> dict[str, Any]:
    """Return the keys of the section `structures` that come from families and operations, in their order."""
    operations = {**OPERATIONS, **CLUSTERS}
    # held-out structures are made of all the others, and listed after them
    operations['test'] = operations.pop('test')
    fields: dict[str, Any] = {
        name: (family.Parameters | None, parameter(family.help, default=None)) for name, family in FAMILIES.items()
    }
    fields['supercell'] = (Supercell, parameter('How large cells are.', default=Supercell()))
    for name, operation in operations.items():
        fields[name] = (operation.Parameters, parameter(operation.help, default=operation.Parameters()))
    fields['checks'] = (Checks, parameter('What makes a structure physical.', default=Checks()))
    fields['selection'] = (
        Selection,
        parameter('Choice among more structures than are wanted.', default=Selection()),
    )
    return fields


if TYPE_CHECKING:
    Structures = _Structures
else:
    Structures = create_model(
        'Structures', __base__=_Structures, __module__=__name__, __doc__=_Structures.__doc__, **_fields()
    )
