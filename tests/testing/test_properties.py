"""Every property that is installed keeps the contract of its socket, and breaches of it are seen."""

from __future__ import annotations

import pytest

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.validation import property as socket
from aiida_pyacemaker.atomistics.validation.properties.vacancy import VacancyProperty
from aiida_pyacemaker.atomistics.validation.property import load_properties
from aiida_pyacemaker.testing.properties import check_declaration, check_property

#: Parameters that make them quick.
QUICK = {
    'eos': {'points': 13},
    'phonons': {'width': 8.0, 'mesh': 20.0, 'path_points': 11},
    'pairs': {'atoms': 8},
    'vacancy': {'atoms': 16},
    'surfaces': {'number': 1, 'thickness': 8.0},
    'stacking_fault': {'layers': 6},
    'stability': {'steps': 100, 'atoms': 8},
}
#: What a search for the melting point leaves.
MELTING = {
    'status': 'ok',
    'message': '',
    'method': 'coexistence',
    'temperature': 1300.0,
    'uncertainty': 20.0,
    'n_atoms': 1000,
    'runs': [{'program': 'heat', 'start': 100.0, 'outcome': 'molten'}],
    'track': {'times': [1.0, 2.0], 'temperatures': [1290.0, 1310.0], 'solid': [0.5, 0.5]},
}


@pytest.mark.parametrize('name', load_properties())
def test_contract(name):
    kind = load_properties()[name]
    parameters = kind.Parameters(**QUICK.get(name, {}))
    check_property(kind, parameters=parameters, result=MELTING if name == 'melting' else None)


def test_a_breach_is_seen():
    """A declaration that lacks something says what."""
    broken = type('Broken', (VacancyProperty,), {'needs': ''})
    with pytest.raises(AssertionError, match='needs'):
        check_declaration(broken)
    broken = type('Broken', (VacancyProperty,), {'plan': lambda self, crystal: []})
    with pytest.raises(AssertionError, match='belong together'):
        check_declaration(broken)


@pytest.mark.parametrize(
    ('name', 'changes', 'message'),
    [
        ('hardness', {}, "calls itself 'vacancy'"),
        ('hardness', {'name': 'hardness'}, "both have a criterion 'vacancy'"),
    ],
)
def test_registry(monkeypatch, name, changes, message):
    """Two properties with one criterion, or one with two names, are refused."""
    other = type('Other', (VacancyProperty,), changes)
    monkeypatch.setattr(socket, 'load_plugins', lambda group: {'vacancy': VacancyProperty, name: other})
    with pytest.raises(InputError, match=message):
        load_properties.__wrapped__()
