"""Every registered family keeps the contract, and what the package asks of a family it asks the family itself."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.generators.family import Family
from aiida_pyacemaker.atomistics.generators.plan import FAMILIES, Structures
from aiida_pyacemaker.testing.families import check_family

#: What each family of this package is tried with: elements and section.
CASES = {
    'alloy': (['Cu', 'Au'], {}),
    'ionic': (['Na', 'Cl'], {}),
    'covalent': (['Si'], {'structures': ['diamond', 'beta_tin', '2H']}),
    'knowledge': (['Fe', 'Pt'], {'formulas': ['Fe3Pt'], 'random_crystals': 0}),
    'interface': (['Al', 'Cu'], {'film_miller': [[0, 0, 1]], 'substrate_miller': [[0, 0, 1]], 'max_area': 60.0}),
    'adsorption': (['Pt', 'C', 'O'], {'slab': 'Pt', 'molecules': ['CO'], 'layers': 3, 'repeats': [2, 2]}),
    'molecular': (['H', 'O'], {'molecules': ['H2O'], 'crystals': {'number': 0}}),
}


@pytest.mark.parametrize('name', FAMILIES)
def test_contract(name):
    check_family(name, *CASES[name])


def test_place_and_order():
    """The keys of the families stand where they always stood, and the documentation lists the same."""
    keys = list(Structures.model_fields)
    first = keys.index('alloy')
    assert keys[first : first + len(FAMILIES)] == list(FAMILIES) == list(CASES)
    assert keys[first - 1] == 'automatic' and keys[first + len(FAMILIES)] == 'supercell'


class Nothing(Section):
    """A section without keys."""


class Wrong(Family[Nothing]):
    """A family that forgets what it has to say of its structures."""

    name = 'wrong'
    help = 'Copper.'
    Parameters = Nothing

    def parents(self, elements, section, number, rng):
        atoms = bulk('Cu')
        atoms.info.update(family=self.name, phase='fcc', parameters={})
        return [atoms]


class Drifting(Wrong):
    """A family that draws from a generator that nobody gave it."""

    def parents(self, elements, section, number, rng):
        (atoms,) = super().parents(elements, section, number, rng)
        atoms.info['reason'] = 'copper'
        atoms.positions += np.random.default_rng().normal(size=3)
        return [atoms]


@pytest.mark.parametrize(('family', 'message'), [(Wrong, '`reason`'), (Drifting, 'structure 0 is not repeated')])
def test_what_is_wrong_is_found(family, message):
    with pytest.raises(AssertionError, match=message):
        check_family(family, ['Cu'])
