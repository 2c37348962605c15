"""Vacancies: what it costs to take an atom out of a crystal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Quantity, Result, criterion
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms

    from ...evaluator import Evaluator


class Vacancy(Section):
    """How vacancies are computed."""

    atoms: Count = parameter('The conventional cell is repeated until it has so many atoms.', default=96, ge=2)
    max_sites: Count = parameter('Inequivalent sites of an element that are looked at.', default=3, ge=1)


class VacancyCriteria(Section):
    """The criterion of the vacancies."""

    vacancy: Criterion = criterion(
        'At least: formation energy of a vacancy.', unit='eV', at_least=True, weight='energy'
    )


class Site(TypedDict):
    """A vacancy: energies (eV), atoms of the cell, and how many such sites the conventional cell has."""

    element: str
    energy: float
    unrelaxed: float
    n_atoms: int
    multiplicity: int


class VacancyResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`."""

    sites: list[Site]
    schottky: float
    formula_unit: dict[str, int]


class VacancyProperty(Property):
    """Formation energies of vacancies, relaxed."""

    name = 'vacancy'
    title = 'Vacancies'
    place = 50
    Parameters = Vacancy
    Criteria = VacancyCriteria
    dimensions = (3,)
    needs = 'which has no bulk to take an atom out of'
    concerns_stability = True
    remedy = 'vacancy'
    in_run_file = False
    same_cells = (
        {'atoms': 48},
        {'atoms': 24},
        {'atoms': 24, 'max_sites': 1},
        {'atoms': 12, 'max_sites': 1},
        {'atoms': 6, 'max_sites': 1},
    )

    def run(self, evaluator: Evaluator, crystal: Atoms) -> VacancyResult:
        """Relax a cell with a vacancy for each inequivalent site."""
        from .compute import run

        return run(crystal, evaluator, self.parameters)

    def plan_cells(self, crystal: Atoms) -> list[Atoms]:
        """Return a perfect supercell, and one with a vacancy for each inequivalent site."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def relax_cells(self, evaluator: Evaluator, crystal: Atoms) -> list[Atoms]:
        """Return the same, relaxed."""
        from .compute import relax

        return relax(crystal, evaluator, self.parameters)

    def analyse_cells(self, crystal: Atoms, labelled: list[Atoms]) -> VacancyResult:
        """Return the formation energies."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def findings(self, result: VacancyResult, case: Case) -> Iterator[Finding]:
        """Yield the formation energies in a crystal that has to be stable."""
        if not case.must_be_stable:
            return
        for site in result['sites']:
            text = f'a vacancy of {site["element"]} costs {site["energy"]:.2f} eV'
            yield Finding('vacancy', site['energy'], text, ({'kind': 'vacancy', 'element': site['element']},))

    def cures(self) -> Mapping[str, Cure]:
        """Return what makes cells with a vacancy."""
        from .cures import without_atom

        return {'vacancy': without_atom}

    def chapter(self, result: VacancyResult, others: Mapping[str, VacancyResult]) -> Chapter:
        """Return a table of the sites."""
        return Chapter(render(__file__, found=result))

    def quantities(self, result: VacancyResult) -> Mapping[str, float | None]:
        """Return for each element the energy of the site where a vacancy forms most easily."""
        found: dict[str, float] = {}
        for site in result.get('sites', []):
            name = f'vacancy {site["element"]}'
            found[name] = min(site['energy'], found.get(name, math.inf))
        return found

    def quantity(self, name: str) -> Quantity | None:
        """Return what `vacancy Al` is."""
        return Quantity(f'vacancy, {name[8:]}', 'eV', 153) if name.startswith('vacancy ') else None
