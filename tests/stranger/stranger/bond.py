"""The property `bond`: the distance of nearest neighbours of a crystal at its equilibrium."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from markupsafe import Markup

from aiida_pyacemaker.atomistics.core.parameters import Positive, Section, parameter
from aiida_pyacemaker.atomistics.validation.property import (
    Case,
    Chapter,
    Criterion,
    Finding,
    Property,
    Quantity,
    criterion,
)


class Bond(Section):
    """How far neighbours are looked for."""

    reach: Positive = parameter('Farthest neighbour that counts.', unit='Å', default=6.0)


class BondCriteria(Section):
    """The criterion of the nearest neighbours."""

    bond_deviation: Criterion = criterion(
        'At most: deviation of the shortest bond from the sum of the covalent radii.',
        unit='%',
        title='length of the shortest bond',
        default=Criterion(limit=40.0, fail=80.0, reason='no material has bonds that are half as long again'),
    )


class BondProperty(Property):
    """Distance of nearest neighbours."""

    name = 'bond'
    title = 'Nearest neighbours'
    Parameters = Bond
    Criteria = BondCriteria
    citations = ('Covalent radii: B. Cordero et al., Dalton Trans. 2008, 2832',)
    dimensions = (3, 2, 1)
    needs = 'which says nothing about the bonds of a solid'
    labels = {'bond_length': Quantity('distance of nearest neighbours', 'Å')}

    def run(self, evaluator: Any, crystal: Atoms) -> dict[str, Any]:
        """Return the shortest bond of the crystal, which is at its equilibrium already."""
        first, second, distances = neighbor_list('ijd', crystal, self.parameters.reach)
        if not len(distances):
            raise ValueError(f'no two atoms are closer than {self.parameters.reach:g} Å')
        nearest = int(distances.argmin())
        radii = covalent_radii[crystal.numbers]
        return {
            'length': float(distances[nearest]),
            'sum_of_radii': float(radii[first[nearest]] + radii[second[nearest]]),
        }

    def findings(self, result: Any, case: Case) -> Iterator[Finding]:
        """Yield how far the bond is from the sum of the covalent radii."""
        deviation = 100 * abs(result['length'] / result['sum_of_radii'] - 1)
        yield Finding('bond_deviation', deviation, f'the shortest bond is {result["length"]:.2f} Å')

    def chapter(self, result: Any, others: Mapping[str, Any]) -> Chapter:
        """Return a sentence."""
        return Chapter(Markup('<p>The shortest bond is {:.3f} Å long.</p>').format(result['length']))

    def quantities(self, result: Any) -> Mapping[str, float | None]:
        """Return the bond length."""
        return {'bond_length': result['length']}
