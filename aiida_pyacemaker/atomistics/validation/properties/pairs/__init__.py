"""Close approach: what holds atoms apart, in the crystal and two by two in vacuum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Result, criterion, judge_value
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms


class Pairs(Section):
    """How close atoms are brought."""

    closest: Positive = parameter('Shortest distance, as a part of the bond length.', default=0.5, lt=1.0)
    farthest: Positive = parameter('Largest distance of dimers, as a part of the bond length.', default=1.6, gt=1.25)
    step: Positive = parameter('Steps in between, as a part of the bond length.', default=0.05, lt=0.2)
    atoms: Count = parameter('The crystal is repeated until it has so many atoms.', default=32, ge=2)


class PairsCriteria(Section):
    """The criteria of the repulsion."""

    pair_barrier: Criterion = criterion(
        'At least: energy of two atoms from which they fall into a hole at short distance.',
        unit='eV',
        title='repulsion of pairs',
        at_least=True,
    )
    compression_barrier: Criterion = criterion(
        'At least: energy of a compressed crystal from which it falls into a hole.',
        unit='eV/atom',
        title='repulsion under compression',
        at_least=True,
    )
    dimer_hole: Criterion = criterion(
        'At most: depth of a hole into which two atoms alone fall from where `pair_barrier` is not kept.', unit='eV'
    )


class Hole(TypedDict):
    """Where the energy falls: distance (Å) and energy (eV) of the rim, bottom (Å), depth (eV)."""

    distance: float
    energy: float
    bottom: float
    depth: float


class Pair(TypedDict):
    """Energies (eV) and forces (eV/Å) of two atoms by their distance (Å)."""

    distances: list[float]
    energies: list[float]
    forces: list[float]
    minimum: float
    shortest: float
    monotone: bool
    hole: Hole | None


class Collapse(TypedDict):
    """Where a compressed crystal falls: scale, volume (Å³/atom), energy (eV/atom), pressure (GPa) of the rim."""

    scale: float
    volume: float
    energy: float
    pressure: float
    bottom: float
    depth: float


class Compression(TypedDict, total=False):
    """Energies (eV/atom) and pressures (GPa) of the compressed crystal."""

    status: str
    scales: list[float]
    volumes: list[float]
    energies: list[float]
    pressures: list[float]
    monotone: bool
    hole: Collapse | None


class PairsResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`; `compression` of crystals only."""

    pairs: dict[str, Pair]
    compression: Compression


class PairsProperty(Property):
    """Repulsion at short distances, by single points of squeezed crystals, and of dimers."""

    name = 'pairs'
    title = 'Close approach'
    system_title = 'Pairs of atoms'
    place = 40
    Parameters = Pairs
    Criteria = PairsCriteria
    in_run_file = False

    def plan(self, crystal: Atoms) -> list[Atoms]:
        """Return the crystal compressed, and with two atoms close to each other."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def analyse(self, crystal: Atoms, labelled: list[Atoms]) -> PairsResult:
        """Return the curves, and the holes in them."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def plan_system(self, crystals: Sequence[Atoms], elements: Sequence[str]) -> list[Atoms]:
        """Return dimers of every pair of elements."""
        from .compute import plan_dimers

        return plan_dimers(list(crystals), list(elements), self.parameters)

    def analyse_system(self, labelled: list[Atoms]) -> PairsResult:
        """Return the curves of the dimers."""
        from .compute import analyse_dimers

        return analyse_dimers(labelled, self.parameters)

    def findings(self, result: PairsResult, case: Case) -> Iterator[Finding]:
        """Yield the holes at short distance: of pairs of atoms, and of the crystal as a whole."""
        for name, pair in (result.get('pairs') or {}).items():
            hole = pair.get('hole')
            if hole is None:
                text = f'{name} repel each other down to {pair.get("shortest", 0):.2f} Å'
                yield Finding('pair_barrier', None, text)
                continue
            request = {'kind': 'pair', 'elements': name.split('-'), 'distances': span_of(pair)}
            text = f'{name} fall into a hole below {hole["distance"]:.2f} Å, {hole["energy"]:.2g} eV up'
            yield Finding('pair_barrier', hole['energy'], text, (request,))
        compression = result.get('compression')
        if compression and compression.get('status', 'ok') == 'ok':
            yield finding_of_compression(compression)

    def findings_of_system(self, result: PairsResult, case: Case) -> Iterator[Finding]:
        """Yield how deep holes are into which two atoms alone fall, if these are not too high up to be reached."""
        for name, pair in result['pairs'].items():
            hole = pair.get('hole')
            if hole is None or judge_value(hole['energy'], case.criteria['pair_barrier'], at_least=True) == 'pass':
                yield Finding('dimer_hole', None)
                continue
            text = f'two atoms {name} alone fall into a hole of {hole["depth"]:.2g} eV below {hole["distance"]:.2f} Å'
            request = {'kind': 'dimer', 'elements': name.split('-'), 'distances': span_of(pair)}
            yield Finding('dimer_hole', hole['depth'], text, (request,))

    def cures(self) -> Mapping[str, Cure]:
        """Return what brings two atoms close to each other, in the crystal and alone."""
        from .cures import paired, pushed

        return {'pair': pushed, 'dimer': paired}

    def chapter(self, result: PairsResult, others: Mapping[str, PairsResult]) -> Chapter:
        """Return the holes, and energies against distance and compression."""
        from .figures import compression, pairs

        pushed = 'Two atoms pushed together in the crystal: the energy has to rise, all the way.'
        squeezed = 'The whole crystal compressed, down to half its bond length.'
        drawn = (
            (pairs(result.get('pairs') or {}), pushed),
            (compression(result.get('compression') or {}), squeezed),
        )
        return Chapter(render(__file__, found=result), drawn)

    def chapter_of_system(self, result: PairsResult) -> Chapter:
        """Return the same of dimers."""
        from .figures import pairs

        shown = result.get('pairs') or {} if result.get('status', 'ok') == 'ok' else {}
        caption = 'Two atoms in vacuum, from beyond their bond length to half of it.'
        return Chapter(render(__file__, found={'pairs': shown}), ((pairs(shown), caption),))


def span_of(pair: Pair) -> list[float]:
    """Return between what distances (Å) a hole is to be filled: from inside of its bottom to outside of its rim."""
    hole = pair['hole']
    return [0.9 * hole['bottom'], min(max(pair['distances']), 1.35 * hole['distance'])]


def finding_of_compression(compression: Compression) -> Finding:
    """Return the hole into which a compressed crystal falls."""
    hole = compression.get('hole')
    if hole is None:
        return Finding('compression_barrier', None, 'the crystal resists compression')
    where = f'compressed by {hole["pressure"]:.0f} GPa, to {hole["volume"]:.2f} Å³/atom'
    text = f'{where}, it collapses, {hole["energy"]:.2g} eV/atom up'
    request = {'kind': 'volume', 'volume': [0.8 * hole['bottom'], 1.2 * hole['volume']]}
    return Finding('compression_barrier', hole['energy'], text, (request,))
