"""Variants of a structure: strained, rattled, with defects, cut open.

Operations on parents are listed in `OPERATIONS`; dimers and trimers, which are made of elements alone, in `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms

from ...parameters import Section


class NotApplicableError(ValueError):
    """The parent is not of a kind on which the operation can act."""


# the modules below need the error
from .defects import Antisite, Divacancy, Interstitial, Vacancy, antisite, divacancy, interstitial, vacancy  # noqa: E402
from .rattle import Rattle, TestSet, held_out, rattle  # noqa: E402
from .strain import Eos, Shear, Strain, eos, shear, strain  # noqa: E402
from .supercell import Pristine, pristine  # noqa: E402
from .surfaces import Surface, surface  # noqa: E402

#: Key of the run file's section `structures` -> section, and the operation on a parent: called with the parent, the
#: section, a random generator, the index of the variant and the planned number of variants of this parent. The
#: operation of `test` takes the section `rattle`, and of its own only the number.
OPERATIONS: dict[str, tuple[type[Section], Callable[..., Atoms]]] = {
    'pristine': (Pristine, pristine),
    'eos': (Eos, eos),
    'strain': (Strain, strain),
    'shear': (Shear, shear),
    'rattle': (Rattle, rattle),
    'vacancy': (Vacancy, vacancy),
    'divacancy': (Divacancy, divacancy),
    'interstitial': (Interstitial, interstitial),
    'antisite': (Antisite, antisite),
    'surface': (Surface, surface),
    'test': (TestSet, held_out),
}
