"""A walker: what one simulation or search of an exploration is to do, and what became of it.

Nothing here belongs to an engine: molecular dynamics in LAMMPS or with any calculator, and searches for saddles, are
told of in the same words.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from ..core.parameters import Section
from ..core.plain import Json

Parameters = TypeVar('Parameters', bound=Section)


class EndReason(StrEnum):
    """Why a walker ended."""

    #: It did all that was asked of it.
    COMPLETED = 'completed'
    #: The potential would have had to extrapolate: it halts, and resumes once more is learned.
    GAMMA = 'gamma'
    #: The cell has grown beyond what the material does: it boils or breaks.
    VOLUME = 'volume'
    #: The temperature ran away from that of the thermostat.
    TEMPERATURE = 'temperature'
    #: Atoms came closer to each other than in any material.
    OVERLAP = 'overlap'
    LOST_ATOMS = 'lost_atoms'
    #: The numbers were no longer finite, or the engine broke down by the fault of the potential.
    CRASHED = 'crashed'
    #: The process itself failed, and nothing is known of the simulation.
    DIED = 'died'

    @property
    def is_violation(self) -> bool:
        """Whether the potential is to blame, other than by gamma: its last frame is nonsense, and nothing resumes."""
        return self not in (EndReason.COMPLETED, EndReason.GAMMA, EndReason.DIED)

    @property
    def is_resumable(self) -> bool:
        """Whether it resumes with the next potential; what ended otherwise starts again."""
        return self is EndReason.GAMMA


class FrameKind(StrEnum):
    """What kind of frames a walker leaves. Each kind is an output of the exploration."""

    #: The frame at which gamma halted the walker: it is labelled.
    HALTED = 'halted'
    #: Frames on the way, from which more is chosen.
    TRAJECTORY = 'trajectory'
    #: The last frame of what ended in a violation: to be looked at, never to be labelled.
    VIOLATION = 'violation'


@dataclass(frozen=True)
class Walker(Generic[Parameters]):
    """What one walker is to do.

    :param index: number of the walker in its round, from 0.
    :param stage: name of the stage.
    :param program: what it does, in a word: `heat`, `compress`...
    :param structure: index of the starting cell.
    :param parameters: what its explorer needs to run it.
    """

    index: int
    stage: str
    program: str
    structure: int
    parameters: Parameters

    def to_dict(self) -> Json:
        """Return plain content that JSON takes."""
        content = {key: getattr(self, key) for key in ('index', 'stage', 'program', 'structure')}
        return {**content, 'parameters': self.parameters.model_dump(mode='json')}

    @classmethod
    def from_dict(cls, content: Json, section: type[Parameters]) -> Walker[Parameters]:
        """Return what :meth:`to_dict` was made of.

        :param section: the class of the parameters.
        """
        return cls(**{**content, 'parameters': section.model_validate(content['parameters'])})


@dataclass(frozen=True)
class WalkerResult:
    """What became of a walker.

    :param index: number of the walker in its round.
    :param reason: why it ended.
    :param step: last step that it reached.
    :param steps: step that it was to reach.
    :param gamma_max: largest gamma that it met.
    :param start_step: step from which it went on, 0 for a fresh one.
    :param diagnosis: how it ended, in a sentence.
    :param program: what it did. :param stage: name of the stage. :param structure: formula of its starting cell.
    :param pk: of the process that ran it.
    :param details: what else the explorer reports; JSON takes it.
    """

    index: int
    reason: EndReason
    step: int
    steps: int
    gamma_max: float
    start_step: int = 0
    diagnosis: str = ''
    program: str = ''
    stage: str = ''
    structure: str = ''
    pk: int | None = None
    details: Json = field(default_factory=dict)

    def to_dict(self) -> Json:
        """Return plain content that JSON takes, the details among the rest."""
        content = asdict(self)
        details = content.pop('details')
        return {**details, **content, 'reason': self.reason.value}

    @classmethod
    def from_dict(cls, content: Json) -> WalkerResult:
        """Return what :meth:`to_dict` was made of, or the results of a process completed by `index`."""
        own = {key: content[key] for key in cls.__dataclass_fields__ if key in content and key != 'details'}
        details = {key: value for key, value in content.items() if key not in own}
        return cls(**{**own, 'reason': EndReason(content['reason'])}, details=details)
