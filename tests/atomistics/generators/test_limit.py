"""The initial set where the number of structures is open: never larger than its share of the labels."""

from __future__ import annotations

import pytest

from aiida_pyacemaker.atomistics.generators.generate import generate
from aiida_pyacemaker.atomistics.generators.limits import Limits
from aiida_pyacemaker.runfile import resolve_runfile

PROTOCOLS = ('fast', 'balanced', 'stringent')


def make(elements: list[str], protocol: str = 'fast', **sections):
    """Return the initial structures of a run file that names elements, a protocol, and what is given."""
    runfile = resolve_runfile({'system': {'elements': elements}, 'protocol': protocol, **sections})
    limit = runfile.budget.initial_labels()
    found = generate(
        elements, runfile.structures, runfile.seed, cutoff=runfile.train.cutoff, limits=Limits(number=limit)
    )
    return found, limit


@pytest.mark.parametrize('elements', ['Cu', 'Mg', 'Cu-Zn', 'Ni-Al', 'Mg-O', 'Al-Cu-Mg', 'Co-Cr-Fe-Mn-Ni'])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_defaults_fit_the_budget(elements, protocol):
    found, limit = make(elements.split('-'), protocol)
    assert len(found.frames) <= limit
    covered = {frozenset(atoms.get_chemical_symbols()) for atoms in found.frames}
    for element in elements.split('-'):
        assert frozenset([element]) in covered
    phases = {atoms.info['phase'] for atoms in found.parents if 'subsystem' not in atoms.info}
    assert phases <= {atoms.info.get('phase') for atoms in found.frames}
    assert any(atoms.info['split'] == 'test' for atoms in found.frames)


def test_a_set_that_fits_is_as_without_a_limit():
    limited, limit = make(['Al'])
    runfile = resolve_runfile({'system': {'elements': ['Al']}, 'protocol': 'fast'})
    free = generate(['Al'], runfile.structures, runfile.seed, cutoff=runfile.train.cutoff)
    assert len(free.frames) < limit and limited.frames == free.frames and not limited.notes


def test_what_is_left_out_is_told():
    found, limit = make(['Cu', 'Zn'])
    assert any('the limit of the initial set' in note for note in found.notes)
    assert len(found.frames) == limit


def test_number_that_is_given_is_kept():
    found, limit = make(['Cu', 'Zn'], structures={'number': 70})
    assert len(found.frames) == 70 > limit


def test_a_budget_that_is_too_small_gets_the_least_set():
    """One variant for each phase and a free atom of each element: what `launch` then says is needed."""
    found, limit = make(['Cu', 'Zn'], budget={'max_labels': 4})
    groups = {'subsystem' if 'subsystem' in atoms.info else atoms.info['phase'] for atoms in found.parents}
    assert len(found.frames) == 2 + len(groups) > limit
