"""Equation of state: how energy and pressure of a crystal follow its volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Quantity, Result, criterion, deviation
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms


class Eos(Section):
    """Over which volumes a crystal is looked at."""

    range: Positive = parameter('Largest change of the volume, in parts of it.', default=0.2, lt=0.6)
    points: Count = parameter('How many volumes.', default=41, ge=7)


class EosCriteria(Section):
    """The criteria of the equation of state."""

    eos_kinks: Criterion = criterion(
        'At most: kinks of the energy-volume curve.', title='kinks of energy against volume'
    )
    volume_dft: Criterion = criterion(
        'At most: deviation of the volume from that of DFT.', unit='%', title='volume against DFT', weight='stress'
    )
    bulk_modulus_dft: Criterion = criterion(
        'At most: deviation of the bulk modulus from that of DFT.',
        unit='%',
        title='bulk modulus against DFT',
        weight='stress',
    )


class Fit(TypedDict):
    """An equation of state: Å³/atom, eV/atom, GPa, and the root of the mean square deviation (eV/atom)."""

    v0: float
    e0: float
    b0: float
    b0_prime: float
    rms: float


class EosResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`."""

    volumes: list[float]
    energies: list[float]
    pressures: list[float]
    birch_murnaghan: Fit
    vinet: Fit
    monotone: bool
    holes: list[float]
    smooth: bool
    kinks: list[float]
    roughness: float
    pressure_check: float


class EosProperty(Property):
    """Equation of state, by single points over a range of volumes."""

    name = 'eos'
    title = 'Equation of state'
    place = 10
    Parameters = Eos
    Criteria = EosCriteria
    citations = (
        'Equations of state: F. Birch, Phys. Rev. 71, 809 (1947); P. Vinet et al., J. Phys. C 19, L467 (1986)',
    )
    dimensions = (3,)
    needs = 'which has no volume of its own, and so no equation of state and no bulk modulus'
    labels = {
        'volume': Quantity('volume', 'Å³/atom', 60),
        'bulk_modulus': Quantity('bulk modulus', 'GPa', 80),
        'b0_prime': Quantity("B0'", '', 90),
    }
    remedy = 'volume'
    # a point costs a calculation, and a kink is nothing to look for
    reference = {'points': 17}
    in_run_file = False

    def plan(self, crystal: Atoms) -> list[Atoms]:
        """Return the primitive cell at all volumes."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def analyse(self, crystal: Atoms, labelled: list[Atoms]) -> EosResult:
        """Return the fits, and where the curve is not smooth."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def findings(self, result: EosResult, case: Case) -> Iterator[Finding]:
        """Yield the kinks of the energy-volume curve."""
        kinks = result.get('kinks') or []
        volumes = result['volumes']
        step = (max(volumes) - min(volumes)) / max(len(volumes) - 1, 1)
        requests = tuple({'kind': 'volume', 'volume': [kink - 2 * step, kink + 2 * step]} for kink in kinks)
        number = max(len(kinks), int(not result.get('smooth', True)), int(not result.get('monotone', True)))
        if number and not kinks:
            requests = ({'kind': 'volume', 'volume': [min(volumes), max(volumes)]},)
        where = ', '.join(f'{kink:.2f}' for kink in kinks)
        yield Finding('eos_kinks', number, f'the energy is not smooth at {where or "some"} Å³/atom', requests)

    def findings_against_dft(self, result: EosResult, reference: EosResult) -> Iterator[Finding]:
        """Yield how far volume and bulk modulus are from those of DFT."""
        fit, other = result.get('birch_murnaghan') or {}, reference.get('birch_murnaghan') or {}
        for name, what, key in (('volume_dft', 'volume', 'v0'), ('bulk_modulus_dft', 'bulk modulus', 'b0')):
            yield from deviation(name, what, fit.get(key), other.get(key), 'volume')

    def cures(self) -> Mapping[str, Cure]:
        """Return what makes cells of other volumes."""
        from .cures import compressed

        return {'volume': compressed}

    def chapter(self, result: EosResult, others: Mapping[str, EosResult]) -> Chapter:
        """Return the fits, and energy and pressure against volume."""
        from .figures import eos

        drawn = eos({'potential': result, **others})
        return Chapter(render(__file__, found=result), ((drawn, 'Points: computed; lines: Birch–Murnaghan fit.'),))

    def quantities(self, result: EosResult) -> Mapping[str, float | None]:
        """Return volume, bulk modulus and its derivative."""
        fit = result.get('birch_murnaghan') or {}
        return {'volume': fit.get('v0'), 'bulk_modulus': fit.get('b0'), 'b0_prime': fit.get('b0_prime')}
