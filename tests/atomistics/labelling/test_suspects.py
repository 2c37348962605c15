"""Labels that cannot be right are found, and sound ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from aiida_pyacemaker.atomistics.core.frame import labels, set_labels
from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.plan import Structures
from aiida_pyacemaker.atomistics.labelling.suspects import Limits, energy_deviations, find_suspects, flag

#: Total energies of pseudo-atoms (eV), far apart as those of real pseudopotentials are.
ATOMS = {'Al': -537.0, 'Cu': -5120.0}


def shifted(atoms: Atoms) -> Atoms:
    """Label with EMT, the energies of pseudo-atoms added."""
    atoms.calc = EMT()
    energy = atoms.get_potential_energy() + sum(ATOMS[symbol] for symbol in atoms.get_chemical_symbols())
    return set_labels(atoms, energy, atoms.get_forces(), atoms.get_stress() if atoms.pbc.all() else None)


@pytest.fixture(scope='module')
def generated() -> list[Atoms]:
    """An alloy with everything on: clusters at short distance, strong strains, vacancies."""
    structures = Structures(
        number=50, alloy={'lattices': ['fcc'], 'ordered': False, 'atoms': 8}, rattle={'number': 12, 'atoms': 8},
        eos={'number': 10}, vacancy={'number': 4, 'atoms': 16}, dimer={'number': 4}, trimer={'number': 3},
    )  # fmt: skip
    return [shifted(atoms) for atoms in generate(['Al', 'Cu'], structures, seed=1).frames]


@pytest.fixture
def frames(generated) -> list[Atoms]:
    return [set_labels(atoms.copy(), **labels(atoms)) for atoms in generated]


def poison(atoms: Atoms, energy: float = 0.0, **changed) -> None:
    found = labels(atoms)
    set_labels(atoms, **{**found, 'energy': found['energy'] + energy, **changed})


def crystals(frames: list[Atoms]) -> list[int]:
    return [index for index, atoms in enumerate(frames) if atoms.info['family'] == 'alloy']


def test_sound_labels_are_no_suspects(frames):
    """Dimers and trimers show the wall with forces of any size; nothing else that is generated is absurd."""
    families = {atoms.info['family'] for atoms in frames}
    assert families == {'alloy', 'dimer', 'trimer', 'isolated_atom'}
    assert max(np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in frames) > 30
    assert find_suspects(frames) == {}
    assert find_suspects(frames, Limits(max_force=10.0)) == {}


def test_absurd_values(frames):
    first, second, third, fourth, fifth = crystals(frames)[:5]
    large = [[0.0, 0, 0], [0, 0, -80.0], [0, 0, 0], [0, 0, 0]] + [[0, 0, 0]] * 12
    poison(frames[first], forces=np.array(large[: len(frames[first])]))
    poison(frames[second], energy=6.0 * len(frames[second]))
    poison(frames[third], energy=-1e5)
    poison(frames[fourth], stress=np.array([0, 0, 1200 * GPa, 0, 0, 0]))
    poison(frames[fifth], energy=np.nan, forces=np.array(large[: len(frames[fifth])]))
    found = find_suspects(frames)
    assert sorted(found) == [first, second, third, fourth, fifth]
    assert found[first] == ['force 80 eV/Å on atom 1 (limit 50)']
    assert found[second][0].startswith('energy ') and found[second][0].endswith('above the family alloy (limit 5)')
    assert found[third][0].endswith('below the family alloy (limit 5)')
    assert found[fourth] == ['stress 1200 GPa (limit 1000)']
    assert found[fifth] == ['energy not finite', 'force 80 eV/Å on atom 1 (limit 50)']
    limits = Limits(max_force=100, max_energy_deviation=10.0)
    assert sorted(find_suspects(frames, limits)) == [third, fourth, fifth]
    with pytest.raises(ValueError, match='greater than 0'):
        Limits(max_energy_deviation=0)


def test_masked_labels_are_not_looked_at(frames):
    index = crystals(frames)[0]
    atoms = frames[index]
    mask = np.ones(len(atoms))
    mask[1] = 0.0
    atoms.set_array('force_weights', mask)
    atoms.info['energy_weight'] = 0.0
    forces = np.zeros((len(atoms), 3))
    forces[1] = 1e3
    poison(atoms, energy=1e4, forces=forces, stress=np.full(6, 1e3))
    assert find_suspects(frames) == {}


def test_small_families_have_no_outliers(frames):
    """Two energies do not tell which of them is wrong, and three of one element do."""
    atoms = [bulk('Al', cubic=True) for _ in range(3)]
    for cell, energy in zip(atoms, (-12.0, -12.1, 90.0), strict=True):
        set_labels(cell, energy, np.zeros((4, 3)))
    assert energy_deviations(atoms[1:], 5.0) == {}
    assert list(energy_deviations(atoms, 5.0)) == [2]
    # a family that spreads by itself has none either
    spread = [set_labels(bulk('Al'), energy, np.zeros((1, 3))) for energy in np.linspace(0, 30, 11)]
    assert energy_deviations(spread, 5.0) == {}


def test_flag_keeps_what_can_be_kept(frames):
    atoms = frames[crystals(frames)[0]]
    atoms.info['flags'] = ['smearing raised to 0.04 Ry']
    poison(atoms, forces=np.full((len(atoms), 3), np.inf))
    flag(atoms, ['forces not finite'])
    assert atoms.info['flags'] == ['smearing raised to 0.04 Ry', 'forces not finite']
    assert set(labels(atoms)) == {'energy', 'stress'}
