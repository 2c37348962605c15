"""No default of a protocol is refused, whatever the elements: on plans, no structure is made."""

from __future__ import annotations

import random

import pytest

from aiida_pyacemaker.atomistics.core.cost import CostModel
from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.labelling.magnetism import START_MOMENTS
from aiida_pyacemaker.runfile import resolve_runfile
from aiida_pyacemaker.setup.pseudos import HINTS
from aiida_pyacemaker.workflows.active_learning.planning import plan_run

PROTOCOLS = ('fast', 'balanced', 'stringent')
ELEMENTS = sorted(HINTS)


def draw(size: int, number: int) -> list[list[str]]:
    """Return sets of elements, the same every time."""
    rng = random.Random(size)
    return [rng.sample(ELEMENTS, size) for _ in range(number)]


#: The run file of each protocol, whose elements are exchanged: reading it takes as long as a plan.
RUNFILES = {protocol: resolve_runfile({'system': {'elements': ['Al']}, 'protocol': protocol}) for protocol in PROTOCOLS}


def plan(elements: list[str], protocol: str = 'fast', **sections):
    """Return what a run is expected to be, by the recommended cutoffs."""
    runfile = RUNFILES[protocol]
    if sections:
        runfile = resolve_runfile({'system': {'elements': elements}, 'protocol': protocol, **sections})
    system = runfile.system.model_copy(update={'elements': elements})
    runfile = runfile.model_copy(update={'system': system})
    model = CostModel(
        ecutwfc=2 * max(HINTS[element][1] for element in elements),
        kpoints_distance=runfile.label.kpoints_distance or 0.3,
        magnetic=frozenset(START_MOMENTS).intersection(elements),
    )
    return runfile, plan_run(runfile, [], model)


def check(elements: list[str], protocol: str) -> None:
    runfile, found = plan(elements, protocol)
    initial, budget = found.initial, runfile.budget
    assert len(initial.frames) <= budget.initial_labels(), elements
    assert {symbol for atoms in initial.frames for symbol in atoms.get_chemical_symbols()} == set(elements)
    assert any(atoms.info.get('split') == 'test' for atoms in initial.frames), elements
    assert len(initial.seconds) == len(initial.frames)
    room = 3600 * budget.label_core_hours * budget.initial_labels()
    told = any('core-hours to label' in note for note in initial.notes)
    assert told or sum(initial.seconds) <= 1.1 * room, elements
    assert found.sizes.max_atoms >= found.sizes.atoms >= 8


@pytest.mark.parametrize(
    ('size', 'part'),
    [
        (1, slice(None)),
        (2, slice(0, 30)),
        (3, slice(0, 10)),
        pytest.param(2, slice(30, 200), marks=pytest.mark.slow),
        pytest.param(3, slice(10, 100), marks=pytest.mark.slow),
    ],
)
def test_no_default_is_refused(size, part):
    """All elements of the pseudopotentials that set-up installs, 200 pairs and 100 triples of them."""
    systems = [[element] for element in ELEMENTS] if size == 1 else draw(size, 200)
    for index, elements in enumerate(systems[part]):
        check(elements, PROTOCOLS[index % 3])


def test_five_elements():
    """What costs 580 core-hours with cells of one size for all is planned for about ten."""
    _, found = plan(['Co', 'Cr', 'Fe', 'Mn', 'Ni'])
    assert sum(found.initial.seconds) < 15 * 3600
    assert any(len(set(atoms.get_chemical_symbols())) == 5 for atoms in found.initial.frames)
    assert any('left out' in note for note in found.initial.notes)


def test_sizes_follow_the_cost():
    """Aluminium is cheap enough for all that is asked for; of copper cells are smaller, and fewer are costly."""
    _, cheap = plan(['Al'])
    _, costly = plan(['Cu'])
    assert not cheap.initial.notes and cheap.sizes.atoms == 16 and cheap.sizes.max_atoms == 32
    assert costly.sizes.atoms == 8 and 'more than budget.label_core_hours' in costly.sizes.notes[0]

    def largest(found, operation):
        return max(len(atoms) for atoms in found.initial.frames if atoms.info['operation'] == operation)

    assert largest(cheap, 'rattle') == 8 and largest(costly, 'rattle') == 2
    assert sum(costly.initial.seconds) <= 50 * 0.05 * 3600  # half of what 50 of the costliest would
    _, free = plan(['Cu'], budget={'label_core_hours': None})
    assert largest(free, 'rattle') == 8


def test_core_hours():
    """Half of the time is for the initial set; where that is not enough for the least of them, it is said how much."""
    _, found = plan(['Cu', 'Zn'], budget={'core_hours': 3.0})
    # the time of a phase is that of its ideal structures in the mean
    assert sum(found.initial.seconds) <= 1.1 * 1.5 * 3600
    with pytest.raises(InputError, match=r'budget.core_hours: the labels of \d+ initial .* raise'):
        plan(['Cu', 'Zn'], budget={'core_hours': 0.01})
    with pytest.raises(InputError, match=r'at least \d+ initial structures, more than budget.max_labels \(2\)'):
        plan(['Cu', 'Zn'], budget={'max_labels': 2})


@pytest.mark.parametrize('elements, phase', [(['Na', 'Cl'], 'rocksalt'), (['Ti', 'O'], 'rutile')])
def test_a_compound_keeps_its_own_crystal(elements, phase):
    """However little its labels may cost, the crystal of a salt or an oxide is part of the set."""
    _, found = plan(elements, budget={'label_core_hours': 0.001})
    compounds = [atoms for atoms in found.initial.parents if len(set(atoms.get_chemical_symbols())) > 1]
    assert any(phase in str(atoms.info['phase']) for atoms in compounds)
