"""What bounds an initial set: how many structures, what one label may cost, and what all may cost.

Sizes follow the cost: of a parent an operation gets the cell with as many atoms as it asks for, or the largest of the
smaller ones whose label is affordable, but none in which the operation makes no sense. Where all labels together cost
too much, core-time is shared evenly among phases and operations, so that of what is cheap there is more.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ase import Atoms

from ..core.cost import CostModel
from ..crystals.prototypes import primitive_cell
from ..variants.common import remembered, vacuum_axes
from ..variants.supercell import supercell


@dataclass(frozen=True)
class Limits:
    """What bounds an initial set.

    :param number: most structures altogether.
    :param model: what a label costs; None: nobody knows, and the limits of time do not count.
    :param label_seconds: most core-seconds of one label.
    :param total_seconds: most core-seconds of all labels.
    """

    number: int | None = None
    model: CostModel | None = None
    label_seconds: float | None = None
    total_seconds: float | None = None
    _seconds: dict[Hashable, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as plain content."""
        content = {name: getattr(self, name) for name in ('number', 'label_seconds', 'total_seconds')}
        return {**content, 'model': self.model and self.model.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> Limits:
        """Return what :meth:`to_dict` has told; nothing bounds what is left out."""
        content = dict(content or {})
        model = content.pop('model', None)
        return cls(**content, model=model and CostModel.from_dict(model))

    def __post_init__(self) -> None:
        if self.model is None and (self.label_seconds is not None or self.total_seconds is not None):
            raise ValueError('limits of time need a model of the cost')

    def seconds(self, atoms: Atoms) -> float:
        """Return what a label costs in core-seconds; 0 if nobody knows."""
        if self.model is None:
            return 0.0
        vacuum = atoms.info.get('vacuum_axes', ())
        key = (atoms.cell.array.tobytes(), atoms.numbers.tobytes(), atoms.pbc.tobytes(), tuple(vacuum))
        if key not in self._seconds:
            self._seconds[key] = self.model.core_seconds(atoms)
        return self._seconds[key]

    def without_total(self) -> Limits:
        """Return the limits of a set whose number of structures the user has given."""
        return replace(self, number=None, total_seconds=None)


def affordable_cell(parent: Atoms, wanted: int, least: int, limits: Limits) -> tuple[Atoms, int]:
    """Return the cell to repeat, and to how many atoms: `wanted`, or as many as a label may cost.

    Smaller cells are those of the parent and of its primitive cell. Where even the smallest that is large enough costs
    too much, it is taken all the same: the cheapest of them.

    :param wanted: atoms, 1 for the parent as it is.
    :param least: atoms below which it makes no sense.
    :returns: the parent or its primitive cell, and the atoms that :func:`~..variants.supercell.supercell` is asked for.
    """
    if limits.label_seconds is None:
        return parent, wanted
    return remembered(
        ('affordable', wanted, least, limits.label_seconds, str(limits.model)),
        parent,
        lambda: _affordable(parent, wanted, least, limits),
    )


def _affordable(parent: Atoms, wanted: int, least: int, limits: Limits) -> tuple[Atoms, int]:
    if limits.seconds(supercell(parent, wanted)) <= limits.label_seconds:
        return parent, wanted
    bases = [parent]
    # arrays such as oxidation states belong to the sites of this cell
    if not vacuum_axes(parent) and set(parent.arrays) == {'numbers', 'positions'}:
        small = primitive_cell(parent)
        bases += [small] if len(small) < len(parent) else []
    found = []
    for base in bases:
        sizes = {max(least, len(base))} | set(range(max(least, len(base)), wanted))
        cells = {len(cell): cell for cell in (supercell(base, size) for size in sorted(sizes))}
        found += [(limits.seconds(cell), size, base) for size, cell in cells.items()]
    fitting = [item for item in found if item[0] <= limits.label_seconds]
    if fitting:
        _, size, base = max(fitting, key=lambda item: (item[1], -item[0]))
    else:
        _, size, base = min(found, key=lambda item: item[0])
    return base, size
