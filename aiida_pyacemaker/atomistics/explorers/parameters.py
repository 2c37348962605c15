"""Keys of the exploration, those of the section `explore` of a run file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter
from ..core.plugins import EXPLORERS, find_plugins
from .dynamics import Kelvin, Swap, Watch


def _start_and_end(value: Any) -> Any:
    """Let a single number stand for a ramp that stays where it is."""
    return [value, value] if isinstance(value, int | float) and not isinstance(value, bool) else value


class Stage(Section):
    """A part of the exploration: the walkers pass it without a halt before the next one begins."""

    name: str = parameter('What the stage is called.', min_length=1, pattern=r'^[a-z][a-z0-9_]*$')
    share: float = parameter('Its simulations take this share of `explore.steps`.', gt=0, le=1)
    reach: float = parameter(
        'Its ramps cover this part of the ranges of temperature, pressure and strain, from their lower ends.',
        gt=0,
        le=1,
        default=1.0,
    )
    atoms: Count | None = parameter('Approximate number of atoms; null: `explore.atoms`.', ge=1, default=None)


class Walkers(Section):
    """Who explores, from where, and what they do."""

    explorer: str = parameter(
        'Which engine explores, by the name of a plug-in of the group `pyacemaker.explorers`.', default='lammps'
    )
    walkers: Count = parameter('Simulations side by side.', ge=1)
    seeds: Count = parameter('Rounds, each with other velocities, that the last stage passes without a halt.', ge=1)
    atoms: Count | None = parameter(
        'Approximate number of atoms of a simulation; null: as many as `budget.label_core_hours` allows for a label of '
        'all of them, of 8, 16 and 32.',
        ge=1,
        default=None,
    )
    programs: list[Literal['heat', 'cool', 'melt', 'compress', 'deform', 'hop']] | None = parameter(
        'What the walkers do, in turn; null: by the kind of the structures.', min_length=1, default=None
    )
    stages: list[Stage] = parameter('Stages, one after the other.', min_length=1)
    ensemble: Literal['auto', 'npt', 'nvt'] = parameter(
        'Thermodynamic ensemble; auto: npt, and nvt for anything with vacuum.', default='auto'
    )
    temperature: Annotated[list[Kelvin], BeforeValidator(_start_and_end)] = parameter(
        'Lowest and highest temperature.', unit='K', min_length=2, max_length=2
    )
    pressure: Annotated[list[float], BeforeValidator(_start_and_end)] = parameter(
        'Pressure at start and end.', unit='GPa', min_length=2, max_length=2
    )
    max_pressure: Positive = parameter('Highest pressure of the program `compress`.', unit='GPa', default=10.0)
    max_strain: Positive = parameter('Largest strain of the program `deform`.', le=1, default=0.15)
    swap: Swap | None = parameter(
        'Exchanges of atoms where a walker has several elements that may change places; null: none.', default=Swap()
    )
    steps: Count = parameter('Steps of a simulation of the last stage.', ge=1)

    @field_validator('explorer')
    @classmethod
    def _check_explorer(cls, value: str) -> str:
        known = find_plugins(EXPLORERS)
        if value not in known:
            raise InputError('', f'there is no explorer `{value}`', f'known are {", ".join(known)}')
        return value

    @model_validator(mode='after')
    def _check_walkers(self) -> Walkers:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise InputError('stages', f'two of {", ".join(names)} have the same name', 'give each a name of its own')
        if self.stages[-1].reach < 1:
            raise InputError(
                'stages',
                f'the last stage, {names[-1]}, reaches only {self.stages[-1].reach:g} of the ranges, and nobody would '
                'see the rest',
                'leave out its reach, or narrow temperature, max_pressure and max_strain',
            )
        if self.ensemble == 'nvt' and 'compress' in (self.programs or []):
            raise InputError(
                'programs', 'the program compress needs a barostat, and ensemble is nvt', 'leave out one of them'
            )
        return self


class Explore(Watch, Walkers):
    """Molecular dynamics with the potential, watched by the extrapolation grade gamma."""

    # a gamma of 1 is the end of interpolation: a walker that halted there would never come far
    gamma_halt: float = parameter(Watch.model_fields['gamma_halt'].description, gt=1, default=5.0)
    gamma_extreme: float = parameter(Watch.model_fields['gamma_extreme'].description, gt=1, default=50.0)
