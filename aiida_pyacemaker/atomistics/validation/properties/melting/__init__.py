"""The melting point, found by simulations with LAMMPS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Finding, Property, Quantity, Result, criterion
from ...rendering import render


class Melting(Section):
    """How the melting point is found."""

    method: Literal['coexistence', 'z_method'] = parameter(
        'coexistence: both phases side by side; z_method: a superheated crystal, an estimate from above.',
        default='coexistence',
    )
    atoms: Count = parameter('Approximate number of atoms.', ge=100, default=1000)
    temperature: Positive | None = parameter(
        'Where the search begins; null: a crystal is heated first.', unit='K', default=None
    )
    pressure: float = parameter('Pressure.', unit='GPa', default=0.0)
    timestep: Positive | None = parameter('Time step; null: by the lightest atom.', unit='fs', default=None, le=10)
    precision: Positive = parameter(
        'The simulation goes on until the standard error is this share of the temperature.', le=0.1, default=0.01
    )
    steps: Count = parameter('Steps of a simulation, after which is decided how to go on.', ge=2000, default=15000)
    max_runs: Count = parameter('Most simulations.', ge=1, default=24)
    max_temperature: Positive = parameter('No search above this.', unit='K', default=6000.0)


class MeltingCriteria(Section):
    """The criterion of the melting point."""

    melting: Criterion = criterion(
        'At most: deviation of the melting point from that of experiment.',
        unit='%',
        title='melting temperature against experiment',
    )


class Summary(TypedDict, total=False):
    """What a simulation was and what became of it; means over its last third (K, GPa), steps, fs, s."""

    program: str
    start: float
    outcome: str
    steps: int
    n_atoms: int
    timestep: float
    seconds: float
    temperature: float | None
    solid: float
    pressure: float
    lateral_pressure: float
    error: float


class MeltingResult(Result, total=False):
    """What is found, see :meth:`.search.Search.result`."""

    method: str
    temperature: float | None
    uncertainty: float | None
    n_atoms: int
    pressure: float
    bounds: list[float | None]
    runs: list[Summary]
    track: dict[str, list[float]]
    lammps_version: str | None
    seconds: float


class MeltingProperty(Property):
    """The melting point of the first crystal; :class:`.search.Search` decides which simulations find it."""

    name = 'melting'
    title = 'Melting'
    system_title = 'Melting'
    place = 90
    Parameters = Melting
    Criteria = MeltingCriteria
    citations = ('LAMMPS: A. P. Thompson et al., Comput. Phys. Commun. 271, 108171 (2022)',)
    labels = {'melting_temperature': Quantity('melting temperature', 'K', 190)}
    # a melting point that is not found is often for want of time, and nothing to label cures it
    failure = 'warn'
    in_suite = False

    def findings(self, result: MeltingResult, case: Case) -> Iterator[Finding]:
        """Yield how far the melting point is from experiment, where that is known."""
        known = case.experiment.get('melting_temperature')
        if known:
            text = f'{result["temperature"]:.0f} ± {result.get("uncertainty", 0):.0f} K, experiment {known:.0f} K'
            yield Finding('melting', 100 * abs(result['temperature'] / known - 1), text)

    def chapter(self, result: MeltingResult, others: Mapping[str, MeltingResult]) -> Chapter:
        """Return the temperature, the coexistence over time, and of each run what is a number or a word."""
        from .figures import melting

        runs = [
            {key: value for key, value in run.items() if isinstance(value, (int, float, str, bool))}
            for run in result.get('runs') or []
        ]
        columns = list(dict.fromkeys(key for run in runs for key in run))
        caption = 'Solid and liquid side by side: the temperature at which both stay.'
        return Chapter(
            render(__file__, found=result, ok=result.get('status', 'ok') == 'ok'),
            ((melting(result), caption),),
            below=render(__file__, 'runs.html.j2', runs=runs, columns=columns),
        )

    def quantities(self, result: MeltingResult) -> Mapping[str, float | None]:
        """Return the melting temperature."""
        return {'melting_temperature': result.get('temperature')}
