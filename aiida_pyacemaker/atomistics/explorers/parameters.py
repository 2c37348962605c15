"""Keys of the exploration, those of the section `explore` of a run file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from ..core.parameters import Count, Positive, Section, parameter


def _start_and_end(value: Any) -> Any:
    """Let a single number stand for a ramp that stays where it is."""
    return [value, value] if isinstance(value, int | float) and not isinstance(value, bool) else value


Kelvin = Annotated[float, Field(gt=0)]


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


class Swap(Section):
    """Monte Carlo exchanges of atoms of different elements on the way (LAMMPS's `fix atom/swap`)."""

    every: Count = parameter('Steps between two rounds of exchanges.', ge=1, default=100)
    attempts: Count = parameter('Exchanges that are tried in a round, over all pairs.', ge=1, default=4)
    temperature: Positive | None = parameter(
        'Temperature that decides whether one is accepted; null: that of the walker in the middle of its ramp.',
        unit='K',
        default=None,
    )


class Explore(Section):
    """Molecular dynamics with the potential, watched by the extrapolation grade gamma."""

    walkers: Count = parameter('Simulations side by side.', ge=1)
    seeds: Count = parameter('Rounds, each with other velocities, that the last stage passes without a halt.', ge=1)
    atoms: Count = parameter('Approximate number of atoms of a simulation.', ge=1)
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
    timestep: float = parameter('Time step.', unit='fs', gt=0, le=10)
    gamma_every: Count = parameter('Steps between two evaluations of gamma while it is low.', ge=1)
    gamma_every_dense: Count = parameter('The same while gamma is above gamma_select.', ge=1, default=10)
    gamma_select: float = parameter('Atoms above this gamma are worth learning.', gt=0)
    gamma_halt: float = parameter('A simulation stops when gamma stays above this.', gt=1)
    gamma_extreme: float = parameter('A simulation stops at once above this gamma.', gt=1, default=50.0)
    halt_after: Count = parameter('Evaluations in a row above gamma_halt that stop a simulation.', ge=1, default=3)
    soft_start: Count = parameter(
        'Steps under a strong thermostat after a simulation is resumed with another potential.', ge=0, default=200
    )
    thermo_every: Count = parameter('Steps between two lines of the log.', ge=1)
    dump_every: Count = parameter('Steps between two frames of the trajectory.', ge=1)
    max_volume_ratio: float = parameter('Stop when the volume has grown by this factor.', gt=1)
    max_temperature_ratio: float = parameter('Stop when the temperature is this factor above what was asked.', gt=1)

    @model_validator(mode='after')
    def _check_numbers(self) -> Explore:
        if self.gamma_select > self.gamma_halt:
            raise PydanticCustomError(
                'gamma',
                f'gamma_select ({self.gamma_select:g}) is above gamma_halt ({self.gamma_halt:g}); '
                'a simulation would halt before anything is selected: lower gamma_select',
            )
        if self.gamma_halt > self.gamma_extreme:
            raise PydanticCustomError(
                'gamma',
                f'gamma_halt ({self.gamma_halt:g}) is above gamma_extreme ({self.gamma_extreme:g}); raise the latter',
            )
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise PydanticCustomError('stages', f'the stages {", ".join(names)} need a name each')
        if self.stages[-1].reach < 1:
            raise PydanticCustomError(
                'stages',
                f'the last stage, {names[-1]}, reaches only {self.stages[-1].reach:g} of the ranges, and nobody would '
                'see the rest: leave out its reach, or narrow temperature, max_pressure and max_strain',
            )
        if self.ensemble == 'nvt' and 'compress' in (self.programs or []):
            raise PydanticCustomError(
                'programs',
                'the program compress needs a barostat, and ensemble is nvt; leave out one of them',
            )
        # LAMMPS cannot use a gamma of a step at which it was not computed.
        for key, of in (
            ('steps', 'gamma_every'),
            ('dump_every', 'gamma_every'),
            ('gamma_every', 'gamma_every_dense'),
        ):
            if getattr(self, key) % getattr(self, of):
                raise PydanticCustomError(
                    'multiples',
                    f'{key} ({getattr(self, key)}) is not a multiple of {of} ({getattr(self, of)}); change one of them',
                )
        return self
