"""The oracle `tiered`: a teacher where it is sure, an expensive oracle elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_pyacemaker.atomistics.labelling.tiers import Tiers

from .base import Oracle, load_oracle
from .teacher import get_model_files

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder

    from aiida_pyacemaker.runfile.sections import Label

#: The batch of the expensive oracle; the others are those of teachers.
EXPENSIVE = 'expensive'


class TieredOracle(Oracle):
    """Two oracles: what a batch is labelled with is decided by ``TieredLabelWorkChain``.

    Its codes, its citations and its lineage are those of the oracles that it combines.
    """

    Parameters = Tiers
    section_name = 'tiers'
    mixes_settings = True  # the energies of the teacher are aligned to those of the other

    def __init__(self, label: Label):
        super().__init__(label)
        self.tiers: Tiers = label.tiers
        #: The oracle of each batch: ``teacher``, ``committee_00`` and so on, and ``expensive``.
        self.parts = {name: load_oracle(section) for name, section in self.get_sections().items()}

    @classmethod
    def get_engines(cls, label: Label) -> tuple[str, ...]:
        """Return the names of the oracles that it combines."""
        return tuple(dict.fromkeys(('teacher', label.tiers.expensive)))

    @classmethod
    def get_model_files(cls, label: Label) -> list[Path]:
        """Return the model files of all teachers."""
        tiers = label.tiers
        teachers = [label.teacher, tiers.reference, *tiers.committee]
        return get_model_files([teacher for teacher in teachers if teacher is not None])

    def get_sections(self) -> dict[str, Label]:
        """Return the section ``label`` of each batch."""
        members = enumerate(self.tiers.committee)
        teachers = {'teacher': self.label.teacher, **{f'committee_{k:02d}': member for k, member in members}}
        sections = {
            name: self.label.model_copy(update={'oracle': 'teacher', 'teacher': teacher})
            for name, teacher in teachers.items()
        }
        expensive = {'oracle': self.tiers.expensive}
        if self.tiers.reference is not None:
            expensive['teacher'] = self.tiers.reference
        return {**sections, EXPENSIVE: self.label.model_copy(update=expensive)}

    def get_parameters(self, name: str) -> dict[str, Any]:
        """Return the section ``label`` of a batch as the inputs of its ``LabelWorkChain`` have it."""
        return self.parts[name].label.model_dump(exclude={self.section_name})

    def complete(self, elements: list[str]) -> Label:
        """Return the section with what the expensive oracle adds to it."""
        expensive = load_oracle(self.label.model_copy(update={'oracle': self.tiers.expensive}))
        return expensive.complete(elements).model_copy(update={'oracle': self.label.oracle})

    def get_tunable(self) -> tuple[str, ...]:
        """Return the keys of the expensive oracle that can be chosen by measurement."""
        return self.parts[EXPENSIVE].get_tunable()

    def get_hints(self, elements: list[str]) -> dict[str, float]:
        """Return where a measurement of the expensive oracle starts."""
        return self.parts[EXPENSIVE].get_hints(elements)

    def check(self, elements: list[str]) -> None:
        """Check what the oracles need that it combines."""
        for oracle in self.parts.values():
            oracle.check(elements)

    def get_reference(self) -> dict[str, Any]:
        """Return the section ``label`` of the expensive oracle."""
        return self.get_parameters(EXPENSIVE)

    def get_batch_builder(self, codes, configurations, options=None) -> ProcessBuilder:
        """Return the builder of a ``TieredLabelWorkChain``."""
        from aiida.plugins import WorkflowFactory

        return WorkflowFactory('pyacemaker.label_tiered').get_builder_from_protocol(
            codes, configurations, self.label.model_dump(), options
        )
