"""Elastic constants with relaxed ions, the moduli that follow, and elastic stability."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict

from ....core.parameters import Positive, Section, parameter
from ...property import Case, Chapter, Criterion, Cure, Finding, Property, Quantity, Result, criterion, deviation
from ...rendering import render

if TYPE_CHECKING:
    from ase import Atoms


class Elasticity(Section):
    """How elastic constants are found."""

    strain: Positive = parameter(
        'Norm of the strains; the cells are strained by once and twice this, in both directions.', default=0.01
    )
    displacement: Positive = parameter('By how much an ion is displaced.', unit='Å', default=0.01)


class ElasticityCriteria(Section):
    """The criteria of the elastic constants."""

    born: Criterion = criterion(
        'At least: smallest eigenvalue of the elastic tensor.',
        unit='GPa',
        title='elastic stability',
        at_least=True,
        weight='stress',
    )
    shear_modulus_dft: Criterion = criterion(
        'At most: deviation of the shear modulus from that of DFT.',
        unit='%',
        title='shear modulus against DFT',
        weight='stress',
    )


class Averages(TypedDict):
    """A modulus (GPa) of a polycrystal."""

    voigt: float
    reuss: float | None
    hill: float | None


class Born(TypedDict):
    """Elastic stability: smallest eigenvalue (GPa) of the tensor, and the conditions that are violated."""

    stable: bool
    min_eigenvalue: float
    violated: list[str]


class ElasticityResult(Result, total=False):
    """What is found, see :func:`.compute.analyse` and :func:`.stiffness.describe_tensor`."""

    tensor: list[list[float]]
    clamped: list[list[float]]
    constants: dict[str, float]
    born: Born
    bulk: Averages
    shear: Averages
    young: float | None
    poisson: float | None
    pugh: float | None
    zener: float | None
    universal_anisotropy: float | None
    debye_temperature: float | None
    soft_strain: list[float]
    laue_class: str
    n_points: int
    asymmetry: float
    energy_check: float
    nonlinearity: float
    residual_stress: list[float]
    residual_force: float
    unstable_modes: int


class ElasticityProperty(Property):
    """Elastic constants, by single points of strained cells and displaced ions."""

    name = 'elasticity'
    title = 'Elasticity'
    place = 20
    Parameters = Elasticity
    Criteria = ElasticityCriteria
    citations = (
        'Elastic stability: F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014); averages: R. Hill, Proc. '
        'Phys. Soc. A 65, 349 (1952)',
    )
    dimensions = (3,)
    needs = 'which has no volume of its own, and so no elastic constants in GPa and no bulk modulus'
    labels = {
        'bulk_modulus': Quantity('bulk modulus', 'GPa', 80),
        'shear_modulus': Quantity('shear modulus', 'GPa', 100),
        'youngs_modulus': Quantity("Young's modulus", 'GPa', 110),
        'poisson_ratio': Quantity("Poisson's ratio", '', 120),
        'debye_temperature': Quantity('Debye temperature', 'K', 130),
    }
    concerns_stability = True
    remedy = 'strain'
    reference = {}
    # A shear moves a Fermi surface across a mesh, a change of volume does not: fcc aluminium (cold smearing, 0.02 Ry)
    # has C44 = 48, 23 and 33 GPa with 16, 24 and 32 points along an axis (33 in the literature), and its bulk modulus
    # with 16.
    reference_kpoints = 0.5
    in_run_file = False

    def plan(self, crystal: Atoms) -> list[Atoms]:
        """Return the strained cells, and those with an ion displaced."""
        from .compute import plan

        return plan(crystal, self.parameters)

    def analyse(self, crystal: Atoms, labelled: list[Atoms]) -> ElasticityResult:
        """Return the elastic tensor and what follows from it."""
        from .compute import analyse

        return analyse(crystal, labelled, self.parameters)

    def findings(self, result: ElasticityResult, case: Case) -> Iterator[Finding]:
        """Yield the elastic stability of a crystal that has to be stable, which asks for the softest strain."""
        if not case.must_be_stable:
            return
        born, strain = result['born'], result.get('soft_strain')
        request = {'kind': 'strain'} if strain is None else {'kind': 'strain', 'strain': strain}
        text = f'elastically unstable: smallest eigenvalue {born["min_eigenvalue"]:.1f} GPa'
        violated = '; '.join(born.get('violated') or [])
        yield Finding('born', born['min_eigenvalue'], f'{text} ({violated})' if violated else text, (request,))

    def findings_against_dft(self, result: ElasticityResult, reference: ElasticityResult) -> Iterator[Finding]:
        """Yield how far the shear modulus is from that of DFT."""
        ours, theirs = ((found.get('shear') or {}).get('hill') for found in (result, reference))
        yield from deviation('shear_modulus_dft', 'shear modulus', ours, theirs, 'strain')

    def is_stable(self, result: ElasticityResult) -> bool:
        """Return whether nothing is known against the elastic stability."""
        return result.get('born', {}).get('stable', True)

    def cures(self) -> Mapping[str, Cure]:
        """Return what makes strained cells."""
        from .cures import strained

        return {'strain': strained}

    def chapter(self, result: ElasticityResult, others: Mapping[str, ElasticityResult]) -> Chapter:
        """Return the tensor and the moduli."""
        return Chapter(render(__file__, found=result))

    def quantities(self, result: ElasticityResult) -> Mapping[str, float | None]:
        """Return the constants of the tensor, and the averages of a polycrystal."""
        return {
            **(result.get('constants') or {}),
            'bulk_modulus': (result.get('bulk') or {}).get('hill') or None,
            'shear_modulus': (result.get('shear') or {}).get('hill'),
            'youngs_modulus': result.get('young'),
            'poisson_ratio': result.get('poisson'),
            'debye_temperature': result.get('debye_temperature'),
        }

    def quantity(self, name: str) -> Quantity | None:
        """Return what a number is; the constants name themselves."""
        return Quantity(name, 'GPa', 65) if re.fullmatch(r'C\d+', name) else super().quantity(name)
