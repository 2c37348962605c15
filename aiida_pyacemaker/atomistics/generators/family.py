"""The socket of the families: what makes the ideal structures of one kind of matter."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import numpy as np
from ase import Atoms

from ..core.parameters import Section
from ..core.plugins import FAMILIES, load_plugins

#: The section of the run file that a family takes.
SectionType = TypeVar('SectionType', bound=Section)


class Family(ABC, Generic[SectionType]):
    """A family of ideal structures (*parents*), of which the operations then make variants.

    A plug-in is a subclass, registered under its name as an entry point of the group `pyacemaker.families`. Its section
    then appears in the run file as `structures.<name>`, and the family is on where that section is given.
    `aiida_pyacemaker.testing.families.check_family` says whether a subclass keeps this contract.

    It has no state, and needs neither AiiDA nor the network to be imported.
    """

    #: Name of the entry point, and info `family` of all its structures.
    name: ClassVar[str]
    #: What the family makes, as one sentence for the reference of the run file.
    help: ClassVar[str]
    #: Section of the run file; every key has a default.
    Parameters: ClassVar[type[Section]]
    #: Families are listed and asked in this order; where a run file names none, the first that suits is on.
    order: ClassVar[int] = 100
    #: Whether the structures are made of single atoms or ions that can be taken out, added or exchanged; not so
    #: molecules.
    is_solid: ClassVar[bool] = True
    #: Whether there are molecules on the solid: the array `adsorbate` (n,) is true for their atoms, which stay as they
    #: are.
    has_adsorbates: ClassVar[bool] = False
    #: Whether the structures are bulk crystals of which surfaces can be cut.
    cuttable: ClassVar[bool] = True
    #: Keys of the section that take the name of a file, or a list of such; they may take other names as well.
    file_keys: ClassVar[tuple[str, ...]] = ()

    def suits(self, elements: list[str]) -> bool:
        """Return whether this is the family of choice for the elements where the run file names none."""
        return False

    @abstractmethod
    def parents(self, elements: list[str], section: SectionType, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Return ideal structures, those that matter most first.

        The same arguments give the same structures, bit for bit. Each is periodic, with vacuum where it is a slab or a
        molecule, and has in its info

        - `family`: the name; `phase`: the kind of structure, whose variants share a budget;
        - `reason`: why it is proposed, in a few words for people; `parameters`: a dict that JSON can hold;
        - `vacuum_axes`: the cell axes along which there is vacuum, left out where there is none.

        Ions have the array `oxidation_states` (n,), whose sum is zero.

        :param elements: all elements of the run file, each once.
        :param section: of type `Parameters`.
        :param number: how many structures at most.
        :raises InputError: if the section or the elements make no structure; the key is relative to the section.
        """


@functools.cache
def load_families() -> dict[str, Family]:
    """Return the installed families by name, in their order."""
    found = sorted(load_plugins(FAMILIES).items(), key=lambda item: (item[1].order, item[0]))
    return {name: family() for name, family in found}
