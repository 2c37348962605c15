"""Keys of the fit: those of the section `train` of a run file, and what a single fit is told besides."""

from __future__ import annotations

from typing import Literal

from ase.data import chemical_symbols
from pydantic import field_validator

from ..core.errors import InputError
from ..core.parameters import Count, Positive, Section, parameter

#: Sizes of a basis to choose from, functions per element.
RUNGS = (30, 50, 80, 120, 180, 270, 400, 600)
#: Labels (force components) that a function needs at least.
LABELS_PER_FUNCTION = 4


class Fit(Section):
    """The fit. What is null is chosen from the data."""

    mode: Literal['linear', 'nonlinear'] = parameter(
        'Linear fit; or a nonlinear refinement of it with tensorpotential, kept if it is better on the held-out set.',
        default='linear',
    )
    baseline: Literal['zbl', 'lj'] = parameter(
        'Core repulsion under the ACE: ZBL or purely repulsive Lennard-Jones.', default='zbl'
    )
    cutoff: float | None = parameter(
        'Cutoff radius of the ACE; null: what pays on the data.', unit='Å', ge=2, le=15, default=None
    )
    number_of_functions: Count | None = parameter(
        'Basis functions per element; null: what pays on the data.', ge=10, default=None
    )
    max_cost: Positive | None = parameter(
        'Largest cost of a simulation with the potential, on one core; null: no limit.',
        unit='µs/atom/step',
        default=None,
    )
    energy_weight: Positive | None = parameter(
        'Weight of an energy per atom against a force component; null: by balance and validation.', default=None
    )
    stress_weight: float | None = parameter(
        'Weight of a stress component (eV/Å³) against a force component; null: by balance, 0: none.', ge=0, default=None
    )
    ridge: float | None = parameter('Regularisation of the linear fit; null: by validation.', ge=0, default=None)
    smoothness: float | None = parameter(
        'How much more oscillating functions are regularised; null: by validation, 0: all alike.', ge=0, default=None
    )
    noise: dict[Literal['energy', 'force', 'stress'], float] | None = parameter(
        'Noise of the labels in eV/atom, eV/Å and GPa, below which no weight takes an error to be; null: what was '
        'measured at the start of the run.',
        default=None,
    )
    refine_seconds: Positive = parameter('Longest time of a nonlinear refinement.', unit='s', default=1800.0)


class FitJob(Fit):
    """One fit: the keys of a run file, and what the loop or a script sets."""

    elements: list[str] = parameter('Elements of the potential; they are sorted.')
    min_functions: Count | None = parameter(
        'Least number of basis functions per element, where that is chosen from the data; null: no limit.',
        ge=1,
        default=None,
    )
    core_weight: float = parameter(
        'Weight of the rows that keep the ACE quiet at distances below those in the data.', ge=0, default=0.01
    )
    seed: Count = parameter('Seed of random numbers.', ge=0, default=0)
    generation: Count = parameter('Number of the potential in the loop.', ge=0, default=0)
    processes: Count = parameter('How many processes work side by side.', ge=1, default=2)
    max_iterations: Count = parameter('Iterations of a nonlinear refinement at most.', ge=1, default=500)
    max_rows_gb: Positive | None = parameter(
        'Disk that the rows of the design matrix may take; null: no limit.', unit='GB', default=None
    )
    mix_settings: bool = parameter('Whether labels of different settings may meet.', default=False)

    @field_validator('elements')
    @classmethod
    def _check_elements(cls, value: list[str]) -> list[str]:
        unknown = [symbol for symbol in value if symbol not in chemical_symbols[1:]]
        if not value:
            raise InputError('', 'the list is empty', 'list the elements of the potential, such as [Al]')
        if unknown:
            remedy = 'use symbols of the periodic table, such as [Al]'
            raise InputError('', f'{unknown[0]!r} is not a chemical element', remedy)
        if len(set(value)) < len(value):
            raise InputError('', f'an element is listed twice in {value!r}', 'list each element once')
        return sorted(value)
