"""Surfaces: what it costs to cleave a crystal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Count, Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Quantity, Result, criterion
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms

    from ....labelling.kpoints import Mesh
    from ...evaluator import Evaluator


class Surfaces(Section):
    """Which surfaces are computed, and how."""

    number: Count = parameter('How many low-index planes, those that break few bonds first.', default=3, ge=1)
    thickness: Positive = parameter('Least thickness of a slab.', unit='Å', default=12.0)
    vacuum: Positive = parameter('Vacuum between slabs.', unit='Å', default=12.0)
    max_atoms: Count = parameter('Surfaces whose slabs have more atoms are left out.', default=150, ge=1)


class SurfacesCriteria(Section):
    """The criterion of the surfaces."""

    surface: Criterion = criterion('At least: energy of a surface.', unit='J/m²', at_least=True, weight='energy')


class Face(TypedDict):
    """A surface: energies (J/m²), atoms and thickness (Å) of the slab."""

    miller: list[int]
    energy: float
    unrelaxed: float
    n_atoms: int
    termination: str
    thickness: float


class SurfacesResult(Result, total=False):
    """What is found, see :func:`.compute.analyse`."""

    surfaces: list[Face]


class SurfacesProperty(Property):
    """Energies of low-index surfaces, relaxed."""

    name = 'surfaces'
    title = 'Surfaces'
    place = 60
    Parameters = Surfaces
    Criteria = SurfacesCriteria
    citations = (
        'pymatgen: S. P. Ong et al., Comput. Mater. Sci. 68, 314 (2013); R. Tran et al., Sci. Data 3, 160080 (2016)',
    )
    dimensions = (3,)
    needs = 'which cannot be cut into slabs'
    labels = {'surface_lowest': Quantity('surface, the lowest face', 'J/m²', 180)}
    remedy = 'surface'
    in_run_file = False
    same_cells = (
        {'thickness': 10.0, 'vacuum': 10.0, 'max_atoms': 60},
        {'number': 2, 'thickness': 8.0, 'vacuum': 8.0, 'max_atoms': 40},
        {'number': 1, 'thickness': 8.0, 'vacuum': 8.0, 'max_atoms': 30},
        {'number': 1, 'thickness': 5.0, 'vacuum': 7.0, 'max_atoms': 20},
    )

    def run(self, evaluator: Evaluator, crystal: Atoms) -> SurfacesResult:
        """Relax slabs."""
        from .compute import run

        return run(crystal, evaluator, self.parameters)

    def plan_cells(self, crystal: Atoms) -> list[Atoms]:
        """Return of each face a slab, and the crystal in a cell of the same plane."""
        from .compute import plan_cells

        return plan_cells(crystal, self.parameters)

    def relax_cells(self, evaluator: Evaluator, crystal: Atoms) -> list[Atoms]:
        """Return the same, the slabs relaxed."""
        from .compute import relax_cells

        return relax_cells(crystal, evaluator, self.parameters)

    def analyse_cells(self, crystal: Atoms, labelled: list[Atoms]) -> SurfacesResult:
        """Return the energies of the faces."""
        from .compute import analyse_cells

        return analyse_cells(labelled, self.parameters)

    def meshes_of_cells(self, cells: list[Atoms], distance: float) -> list[Mesh]:
        """Return the k-points of the slabs; the crystal has the same ones along their plane."""
        from .compute import meshes_of_cells

        return meshes_of_cells(cells, distance)

    def findings(self, result: SurfacesResult, case: Case) -> Iterator[Finding]:
        """Yield the surface that costs least."""
        if result['surfaces']:
            lowest = min(result['surfaces'], key=lambda surface: surface['energy'])
            name = '(' + ''.join(str(index) for index in lowest['miller']) + ')'
            text = f'the surface {name} costs {lowest["energy"]:.2f} J/m²'
            yield Finding('surface', lowest['energy'], text, ({'kind': 'surface', 'miller': lowest['miller']},))

    def cures(self) -> Mapping[str, Cure]:
        """Return what cuts slabs."""
        from .cures import cut

        return {'surface': cut}

    def chapter(self, result: SurfacesResult, others: Mapping[str, SurfacesResult]) -> Chapter:
        """Return a table of the faces."""
        return Chapter(render(__file__, found=result))

    def quantities(self, result: SurfacesResult) -> Mapping[str, float | None]:
        """Return the energy of each face, and of the lowest one."""
        found: dict[str, float] = {}
        surfaces = result.get('surfaces', [])
        for surface in surfaces:
            name = f'surface ({"".join(map(str, surface["miller"]))})'
            found[name] = min(surface['energy'], found.get(name, math.inf))
        return {**found, 'surface_lowest': min((surface['energy'] for surface in surfaces), default=None)}

    def quantity(self, name: str) -> Quantity | None:
        """Return what a number is; `surface (111)` names itself."""
        return Quantity(name, 'J/m²', 156) if name.startswith('surface (') else super().quantity(name)
