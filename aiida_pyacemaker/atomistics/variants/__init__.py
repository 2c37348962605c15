"""Variants of a structure: strained, rattled, with defects, cut open.

Operations on parents are listed in `OPERATIONS`; dimers and trimers, which are made of elements alone, in `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms

from ..core.parameters import Section


class NotApplicableError(ValueError):
    """The parent is not of a kind on which the operation can act."""


# the modules need the error above
from . import defects, rattle, squeeze, strain, supercell, surfaces  # noqa: E402

#: Key of the run file's section `structures` -> section, and the operation on a parent: called with the parent, the
#: section, a random generator, the index of the variant and the planned number of variants of this parent. The
#: operation of `test` takes the section `rattle`, and of its own only the number.
OPERATIONS: dict[str, tuple[type[Section], Callable[..., Atoms]]] = {
    'pristine': (supercell.Pristine, supercell.pristine),
    'eos': (strain.Eos, strain.eos),
    'strain': (strain.Strain, strain.strain),
    'shear': (strain.Shear, strain.shear),
    'rattle': (rattle.Rattle, rattle.rattle),
    'squeeze': (squeeze.Squeeze, squeeze.squeeze),
    'vacancy': (defects.Vacancy, defects.vacancy),
    'divacancy': (defects.Divacancy, defects.divacancy),
    'interstitial': (defects.Interstitial, defects.interstitial),
    'antisite': (defects.Antisite, defects.antisite),
    'surface': (surfaces.Surface, surfaces.surface),
    'test': (rattle.Test, rattle.held_out),
}
