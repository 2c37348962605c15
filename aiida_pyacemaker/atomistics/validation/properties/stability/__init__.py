"""Simulations: does the potential conserve energy, and hold matter together?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Result, criterion
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms

    from ...evaluator import Evaluator


class StabilityParameters(Section):
    """Which simulations a potential must stand."""

    temperatures: list[Positive] | None = parameter(
        'Of the runs at constant energy; the highest of them also of the run at zero pressure. Without it, 0.3 and 0.8 '
        'of a melting temperature estimated from the bulk modulus.',
        unit='K',
        default=None,
        min_length=1,
    )
    hot: Positive | None = parameter(
        'Of the run at constant volume. Without it, twice that melting temperature.', unit='K', default=None
    )
    atoms: Count = parameter('Atoms at least.', default=32, ge=1)
    steps: Count = parameter('Of each run.', default=600, ge=100)
    timestep: Positive | None = parameter('Without it, by the lightest atom.', unit='fs', default=None)
    seconds: Positive = parameter('A run ends after this time, however many steps it has made.', unit='s', default=60.0)
    seed: Count = parameter('Of the velocities.', default=1, ge=0)


class StabilityCriteria(Section):
    """The criteria of the simulations."""

    drift: Criterion = criterion(
        'At most: drift of the energy at constant energy.', unit='eV/atom/ns', title='energy drift'
    )
    broken_runs: Criterion = criterion('At most: simulations that break off.', title='simulations that break off')


class Simulation(TypedDict):
    """A simulation, see :func:`.compute.run`: K, fs, eV/atom/ns, Å, ps and eV/atom."""

    ensemble: str
    temperature: float
    n_atoms: int
    steps: int
    timestep: float
    completed: bool
    reason: str
    message: str
    drift: float | None
    drift_error: float | None
    mean_temperature: float | None
    volume_ratio: float | None
    shortest: float | None
    displacement: float | None
    energies: list[float]
    times: list[float]


class StabilityResult(Result, total=False):
    """What is found."""

    runs: list[Simulation]


class StabilityProperty(Property):
    """Short simulations of the crystal."""

    name = 'stability'
    title = 'Simulations'
    place = 80
    Parameters = StabilityParameters
    Criteria = StabilityCriteria
    concerns_stability = True
    remedy = 'temperature'
    in_run_file = False

    def run(self, evaluator: Evaluator, crystal: Atoms) -> StabilityResult:
        """Simulate at constant energy, volume and pressure."""
        from .compute import run

        return run(crystal, evaluator, self.parameters)

    def findings(self, result: StabilityResult, case: Case) -> Iterator[Finding]:
        """Yield the simulations that broke off, if the crystal has to be stable, and the largest drift."""
        if case.must_be_stable:
            broken = [run for run in result['runs'] if not run['completed']]
            requests = tuple({'kind': 'temperature', 'temperature': run['temperature']} for run in broken)
            told = '; '.join(
                f'{run["ensemble"]} at {run["temperature"]:.0f} K: {run.get("reason", "")}' for run in broken
            )
            yield Finding('broken_runs', len(broken), f'simulations break off ({told})', requests)
        drifts = [abs(run['drift']) for run in result['runs'] if run.get('drift') is not None]
        if drifts:
            yield Finding('drift', max(drifts), f'at constant energy it drifts by {max(drifts):.2g} eV/atom/ns')

    def cures(self) -> Mapping[str, Cure]:
        """Return what rattles cells as a temperature does."""
        from .cures import hot

        return {'temperature': hot}

    def chapter(self, result: StabilityResult, others: Mapping[str, StabilityResult]) -> Chapter:
        """Return a table of the simulations, and their energies over time."""
        from .figures import energies

        drawn = energies(result.get('runs') or [])
        return Chapter(render(__file__, found=result), ((drawn, 'Energy of the simulations.'),))
