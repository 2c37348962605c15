"""What one simulation under watch takes: the only place where these parameters are declared."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter

Kelvin = Annotated[float, Field(gt=0)]
Pair = Annotated[str, Field(pattern='^[A-Z][a-z]?-[A-Z][a-z]?$')]

#: Gamma is known only at steps that are multiples of these: what happens at such a step needs a multiple, too.
MULTIPLES = (('steps', 'gamma_every'), ('dump_every', 'gamma_every'), ('gamma_every', 'gamma_every_dense'))


class Watch(Section):
    """How often gamma is looked at, and what ends a simulation: shared by the run file and each simulation."""

    timestep: float = parameter('Time step.', unit='fs', gt=0, le=10, default=1.0)
    gamma_every: Count = parameter('Steps between two evaluations of gamma while it is low.', ge=1, default=50)
    gamma_every_dense: Count = parameter('The same while gamma is above gamma_select.', ge=1, default=10)
    gamma_select: float = parameter('Atoms above this gamma are worth learning.', gt=0, default=2.0)
    gamma_halt: float = parameter('A simulation stops when gamma stays above this.', gt=0, default=5.0)
    gamma_extreme: float = parameter('A simulation stops at once above this gamma.', gt=0, default=50.0)
    halt_after: Count = parameter('Evaluations in a row above gamma_halt that stop a simulation.', ge=1, default=3)
    soft_start: Count = parameter(
        'Steps under a strong thermostat after a simulation is resumed with another potential.', ge=0, default=200
    )
    thermo_every: Count = parameter('Steps between two lines of the log.', ge=1, default=100)
    dump_every: Count = parameter('Steps between two frames of the trajectory.', ge=1, default=500)
    max_volume_ratio: float = parameter('Stop when the volume has grown by this factor.', gt=1, default=1.6)
    max_temperature_ratio: float = parameter(
        'Stop when the temperature is this factor above what was asked.', gt=1, default=5.0
    )

    @model_validator(mode='after')
    def _check_watch(self) -> Watch:
        if self.gamma_select > self.gamma_halt:
            raise InputError(
                'gamma_select',
                f'{self.gamma_select:g} is above gamma_halt ({self.gamma_halt:g}), so a simulation would halt before '
                'anything is selected',
                'lower gamma_select',
            )
        if self.gamma_halt > self.gamma_extreme:
            raise InputError(
                'gamma_halt',
                f'{self.gamma_halt:g} is above gamma_extreme ({self.gamma_extreme:g})',
                'raise the latter',
            )
        for key, of in MULTIPLES:
            value, unit = getattr(self, key), getattr(self, of)
            if value % unit:
                raise InputError(key, f'{value} is not a multiple of {of} ({unit})', 'change one of them')
        return self


class Swap(Section):
    """Monte Carlo exchanges of atoms of different elements on the way (LAMMPS's `fix atom/swap`)."""

    every: Count = parameter('Steps between two rounds of exchanges.', ge=1, default=100)
    attempts: Count = parameter('Exchanges that are tried in a round, over all pairs.', ge=1, default=4)
    temperature: Positive | None = parameter(
        'Temperature that decides whether one is accepted; null: that of the walker in the middle of its ramp.',
        unit='K',
        default=None,
    )


class Exchange(Swap):
    """The exchanges of one simulation."""

    pairs: list[list[str]] = parameter('Pairs of elements whose atoms change places, such as [[Cu, Au]].', min_length=1)

    @model_validator(mode='after')
    def _check_pairs(self) -> Exchange:
        for pair in self.pairs:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise InputError('pairs', f'{pair} is not a pair of two elements', 'write for example [[Cu, Au]]')
        return self


class Deformation(Section):
    """A strain that grows at a constant rate."""

    kind: Literal['tension', 'compression', 'shear'] = parameter('Kind of the strain.')
    axis: Literal['x', 'y', 'z', 'xy', 'xz', 'yz'] = parameter('Its direction: an axis, or two for a shear.')
    rate: Positive = parameter('Rate of the engineering strain.', unit='1/ps')

    @model_validator(mode='after')
    def _check_axis(self) -> Deformation:
        axes = ('xy', 'xz', 'yz') if self.kind == 'shear' else ('x', 'y', 'z')
        if self.axis not in axes:
            raise InputError('axis', f'{self.axis!r} is no direction of {self.kind}', f'choose {", ".join(axes)}')
        return self


class WatchedDynamics(Watch):
    """One simulation of molecular dynamics under watch, with Monte Carlo exchanges or a strain if asked for.

    Of what is left out, `gamma_every_dense` is 10 (or `gamma_every`, if that is less), `gamma_select` is `gamma_halt`,
    and `gamma_extreme` is 10 times `gamma_halt`.
    """

    ensemble: Literal['npt', 'nvt'] = parameter('Thermodynamic ensemble.', default='npt')
    coupling: Literal['iso', 'aniso', 'tri'] = parameter(
        'What the barostat changes: the volume, each axis on its own, or the angles, too.', default='aniso'
    )
    temperature: list[Kelvin] = parameter('At step 0 and at the last step.', unit='K', min_length=2, max_length=2)
    pressure: list[float] = parameter(
        'At step 0 and at the last step.', unit='GPa', min_length=2, max_length=2, default=[0.0, 0.0]
    )
    steps: Count = parameter('Number of the last step, also of a simulation that resumes.', ge=1)
    seed: Count = parameter('Decides velocities and everything else random.', ge=0, default=42)
    reference_volume_per_atom: Positive | None = parameter(
        'Volume with which the volume is compared; null: that at the start.', unit='Å³', default=None
    )
    min_distances: dict[Pair, Positive] = parameter(
        'Least distances by pair of elements, such as {Al-Cu: 1.9}: what comes closer overlaps.', unit='Å', default={}
    )
    swap: Exchange | None = parameter('Exchanges of atoms; null: none.', default=None)
    deform: Deformation | None = parameter('Strain of the cell; null: none.', default=None)

    @model_validator(mode='before')
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        """Derive what is left out (or null) from what is given."""
        if not isinstance(value, dict):
            return value
        given = {key: item for key, item in value.items() if item is not None}
        every, halt = (given.get(key, cls.model_fields[key].default) for key in ('gamma_every', 'gamma_halt'))
        if isinstance(every, int | float):
            given.setdefault('gamma_every_dense', min(cls.model_fields['gamma_every_dense'].default, every))
        if isinstance(halt, int | float):
            given.setdefault('gamma_select', halt)
            given.setdefault('gamma_extreme', 10 * halt)
        return given

    @property
    def elements(self) -> set[str]:
        """The elements that the parameters name."""
        pairs = [pair.split('-') for pair in self.min_distances] + (self.swap.pairs if self.swap else [])
        return {element for pair in pairs for element in pair}

    @property
    def is_tilting(self) -> bool:
        """Whether the cell must be able to tilt."""
        return self.coupling == 'tri' or (self.deform is not None and self.deform.kind == 'shear')

    def target_temperature(self, step: float) -> float:
        """Return the temperature (K) of the thermostat at a step."""
        first, last = self.temperature
        return first + (last - first) * step / self.steps
