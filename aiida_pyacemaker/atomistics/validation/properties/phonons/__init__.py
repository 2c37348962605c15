"""Phonons: bands, density of states, and whether the crystal is dynamically stable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Quantity, Result, criterion
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms


class PhononParameters(Section):
    """How phonons are computed."""

    width: Positive = parameter(
        'How far an atom should be from its image: twice the range of the forces.', unit='Å', default=20.0
    )
    max_atoms: Count = parameter('Atoms of the supercell at most.', default=350, ge=1)
    displacement: Positive = parameter('How far an atom is displaced.', unit='Å', default=0.01)
    mesh: Positive = parameter('Length whose ratio to a lattice vector is the number of wave vectors.', default=60.0)
    path_points: Count = parameter('Wave vectors on the longest segment of the path.', default=51, ge=2)


class PhononCriteria(Section):
    """The criterion of the phonons."""

    imaginary_modes: Criterion = criterion(
        'At most: unstable modes of a crystal that has to be stable, that of lowest energy or your own.',
        title='unstable vibrations',
    )


class Cell(TypedDict):
    """A cell: atomic numbers, positions (Å) and lattice vectors (Å)."""

    numbers: list[int]
    positions: list[list[float]]
    cell: list[list[float]]


class Mode(Cell):
    """An unstable mode in a cell that holds it."""

    q: list[float]
    frequency: float
    supercell: list[list[int]]
    displacements: list[list[float]]


class Path(TypedDict):
    """Bands (THz) along a segment of the path, by wave vector and band; distances in 1/Å."""

    labels: list[str]
    distances: list[float]
    q: list[list[float]]
    frequencies: list[list[float]]


class PhononResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`."""

    supercell: list[list[int]]
    n_atoms: int
    n_displacements: int
    primitive: Cell
    paths: list[Path]
    dos: dict[str, list[float]]
    thermal: dict[str, list[float]]
    imaginary: list[Mode]
    min_frequency: float
    max_frequency: float
    tolerance: float
    sum_rule: float
    border: float
    stable: bool


class PhononsProperty(Property):
    """Phonons, by single points of displaced supercells."""

    name = 'phonons'
    title = 'Phonons'
    place = 30
    Parameters = PhononParameters
    Criteria = PhononCriteria
    citations = (
        'phonopy: A. Togo, L. Chaput, T. Tadano and I. Tanaka, J. Phys.: Condens. Matter 35, 353001 (2023); SeeK-path: '
        'Y. Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)',
    )
    dimensions = (3, 2)
    needs = 'which is no lattice along which a phonon could travel: ask for its vibrations elsewhere'
    labels = {
        'max_frequency': Quantity('highest frequency', 'THz', 140),
        'min_frequency': Quantity('lowest frequency', 'THz', 150),
    }
    concerns_stability = True
    remedy = 'rattle'
    in_run_file = False
    # a displacement as large as this is still harmonic, and its forces are large against the noise of an oracle
    same_cells = tuple(
        {'width': width, 'max_atoms': atoms, 'displacement': 0.03}
        for width, atoms in ((10.0, 64), (8.0, 32), (6.0, 16))
    )

    def plan(self, crystal: Atoms) -> list[Atoms]:
        """Return the displaced supercells."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def analyse(self, crystal: Atoms, labelled: list[Atoms]) -> PhononResult:
        """Return what follows from the forces."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def plan_cells(self, crystal: Atoms) -> list[Atoms]:
        """Return the displaced supercells, then that without displacements if symmetry leaves forces in it."""
        from .compute import plan_cells

        return plan_cells(crystal, self.parameters)

    def analyse_cells(self, crystal: Atoms, labelled: list[Atoms]) -> PhononResult:
        """Return what follows from the forces that the displacements cause."""
        from .compute import analyse_cells

        return analyse_cells(crystal, labelled, self.parameters)

    def deviations_of_cells(self, ours: PhononResult, theirs: PhononResult) -> Mapping[str, tuple[float, Quantity]]:
        """Return the root mean square of the differences of the frequencies."""
        from .compute import frequency_rmse

        return {'frequency_rmse': (frequency_rmse(ours, theirs), Quantity('frequencies, RMS difference', 'THz', 151))}

    def findings(self, result: PhononResult, case: Case) -> Iterator[Finding]:
        """Yield the unstable modes of a crystal that has to be stable, which ask for themselves."""
        if not case.must_be_stable or case.confirmed_unstable:
            return
        modes = result.get('imaginary') or []
        number = max(len(modes), int(not result['stable']))
        requests = tuple({'kind': 'mode', **mode} for mode in modes) or ({'kind': 'rattle'},)
        text = f'dynamically unstable: frequencies down to {result["min_frequency"]:.2f} THz'
        if modes:
            text += f' at q = ({", ".join(f"{x:.3g}" for x in modes[0]["q"])})'
        yield Finding('imaginary_modes', number, text, requests)

    def is_stable(self, result: PhononResult) -> bool:
        """Return whether no mode is unstable."""
        return result.get('stable') is not False

    def cures(self) -> Mapping[str, Cure]:
        """Return what displaces atoms along an unstable mode."""
        from .cures import displaced

        return {'mode': displaced}

    def chapter(self, result: PhononResult, others: Mapping[str, PhononResult]) -> Chapter:
        """Return the bands, and what follows at finite temperature."""
        from .figures import phonons, thermal

        bands = 'Phonon bands along the path, and the density of states. Below zero: imaginary, unstable.'
        warm = 'Heat capacity and entropy in the harmonic approximation.'
        return Chapter(render(__file__, found=result), ((phonons(result), bands), (thermal(result), warm)))

    def quantities(self, result: PhononResult) -> Mapping[str, float | None]:
        """Return the ends of the spectrum; the lowest frequency is the noise about zero."""
        found = {name: result.get(name) for name in ('min_frequency', 'max_frequency')}
        return {name: None if value is None else round(value, 3) for name, value in found.items()}
