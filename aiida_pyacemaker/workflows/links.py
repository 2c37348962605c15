"""Labels of the links from a work chain to what it calls: written and read here, by work chains and reports alike.

The numbers in a label have leading zeros, but more digits than these where they need them: `iteration_99_train` is
followed by `iteration_100_train`. Sort what was parsed, therefore, never the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ITERATION = re.compile(r'iteration_(\d+)_([a-z_]+)')
_WALKER = re.compile(r'walker_(\d+)(_again)?')
_LABEL = re.compile(r'label_(\d+)')


def iteration_name(iteration: int) -> str:
    """Return the name of what an iteration as a whole has made, such as its batch of labels: `iteration_03`."""
    return f'iteration_{iteration:02d}'


@dataclass(frozen=True)
class IterationLink:
    """A step of an iteration of the loop: `iteration_03_explore`.

    :param step: what is done: `explore`, `label`, `train`...
    """

    step: str
    iteration: int

    @property
    def label(self) -> str:
        """The label of the link."""
        return f'{iteration_name(self.iteration)}_{self.step}'

    @classmethod
    def parse(cls, label: str) -> IterationLink | None:
        """Return what a label says, None if it is none of these."""
        match = _ITERATION.fullmatch(label)
        return cls(match[2], int(match[1])) if match else None


@dataclass(frozen=True)
class WalkerLink:
    """The simulation of a walker: `walker_03`, or `walker_03_again` if the first one died.

    :param index: number of the walker, from 0.
    """

    index: int
    again: bool = False

    @property
    def name(self) -> str:
        """The name of the walker, by which its restart file goes, whichever attempt left it."""
        return f'walker_{self.index:02d}'

    @property
    def label(self) -> str:
        """The label of the link."""
        return f'{self.name}_again' if self.again else self.name

    @classmethod
    def parse(cls, label: str) -> WalkerLink | None:
        """Return what a label says, None if it is none of these."""
        match = _WALKER.fullmatch(label)
        return cls(int(match[1]), match[2] is not None) if match else None


@dataclass(frozen=True)
class LabelLink:
    """A job that labels: `label_0003`.

    :param index: of its first configuration in the batch.
    """

    index: int

    @property
    def label(self) -> str:
        """The label of the link."""
        return f'label_{self.index:04d}'

    @classmethod
    def parse(cls, label: str) -> LabelLink | None:
        """Return what a label says, None if it is none of these."""
        match = _LABEL.fullmatch(label)
        return cls(int(match[1])) if match else None
