"""Conformance test of the socket `Property`: is a property of the validation what its base class promises?"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from aiida_pyacemaker.atomistics.core.parameters import Section
from aiida_pyacemaker.atomistics.core.plain import plain
from aiida_pyacemaker.atomistics.validation.crystals import Description, equilibrate
from aiida_pyacemaker.atomistics.validation.evaluator import Evaluator
from aiida_pyacemaker.atomistics.validation.property import Case, Chapter, Criterion, Finding, Property
from aiida_pyacemaker.atomistics.validation.requests import find_cures, prepare
from aiida_pyacemaker.atomistics.validation.suite import GIVEN_INFO, attempt

#: Limits that nothing meets, so that every finding says what it asks for.
UNREACHABLE = {'limit': float('nan'), 'fail': float('nan'), 'reason': 'a test'}

#: Keys of the results besides the properties.
OTHER_KEYS = {
    *Description.__annotations__,
    *GIVEN_INFO,
    'equilibrium',
    'crystals',
    'errors',
    'seconds',
    'potential',
    'total',
}


def check_property(
    kind: type[Property],
    crystal: Atoms | None = None,
    calculator: Calculator | None = None,
    parameters: Section | None = None,
    result: Mapping[str, Any] | None = None,
) -> None:
    """Run a property through everything that the validation asks of it.

    :param kind: the class that the entry point names.
    :param crystal: one that the property is defined for; copper by default.
    :param calculator: what finds it there; ASE's EMT by default.
    :param parameters: those of the property, to be quick.
    :param result: what stands for its result, where the suite does not find it.
    :raises AssertionError: saying what is not as it should be.
    """
    check_declaration(kind)
    made = kind(parameters)
    if getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind:
        copy = pickle.loads(pickle.dumps(made))
        assert copy.parameters == made.parameters, 'an object does not survive pickle: processes cannot be given it'
    with Evaluator(calculator or EMT()) as evaluator:
        ((atoms, equilibrium),) = equilibrate(evaluator, [crystal or bulk('Cu')])
        assert equilibrium['status'] == 'ok', equilibrium['message']
        reason = made.why_not(atoms)
        assert not reason, f'it is not defined for the crystal of the test: {reason}'
        if kind.in_suite:
            result = find(made, evaluator, atoms)
    if result is not None:
        check_result(made, result)
    if kind.in_suite and kind.system_title:
        with Evaluator(calculator or EMT()) as evaluator:
            elements = sorted(set(atoms.symbols))
            labelled = evaluator.evaluate(made.plan_system([atoms], elements))
            check_result(made, attempt(made.analyse_system, labelled), of_system=True)
    check_cures(made, atoms)


def check_declaration(kind: type[Property]) -> None:
    """Hold what a class says of itself against the contract."""
    assert issubclass(kind, Property), 'it is no subclass of Property'
    assert kind.name.isidentifier() and kind.title, 'it needs a name, which becomes a key, and a title'
    assert kind.name not in OTHER_KEYS, f'{kind.name} is another key of the results'
    kind.Parameters()  # every key has a default
    assert kind.Parameters.__doc__ and kind.Criteria.__doc__, 'a section needs a docstring, which becomes its reference'
    for name, field in kind.Criteria.model_fields.items():
        extra = field.json_schema_extra
        at_least = isinstance(extra, dict) and extra.get('at_least', False)
        assert field.annotation is Criterion, f'the criterion {name} is none: make it by `criterion`'
        side = 'At least: ' if at_least else 'At most: '
        assert (field.description or '').startswith(side), f'the description of {name} has to begin with "{side}"'
    assert isinstance(kind.citations, tuple), 'the citations are a tuple of texts'
    assert set(kind.dimensions) == {0, 1, 2, 3} or kind.needs, 'say what a crystal of another dimension lacks: `needs`'
    runs = kind.run is not Property.run
    assert kind.has_single_points() == (kind.analyse is not Property.analyse), '`plan` and `analyse` belong together'
    assert kind.has_single_points() + runs == int(kind.in_suite), 'it needs `plan` and `analyse`, or `run`'
    if kind.in_suite and kind.system_title:
        assert kind.plan_system is not Property.plan_system, 'what is found once needs `plan_system`'
        assert kind.analyse_system is not Property.analyse_system, 'what is found once needs `analyse_system`'
    assert kind.reference is None or kind.has_single_points(), 'an oracle needs `plan` and `analyse`'
    for parameters in kind.same_cells:
        kind.Parameters(**parameters)
    if kind.same_cells and not kind.has_single_points():
        for method in ('plan_cells', 'relax_cells', 'analyse_cells'):
            assert getattr(kind, method) is not getattr(Property, method), f'the same cells need `{method}`'


def find(made: Property, evaluator: Evaluator, atoms: Atoms) -> Mapping[str, Any]:
    """Return the result as the suite has it."""
    if not made.has_single_points():
        return attempt(made.run, evaluator, atoms)
    planned = made.plan(atoms)
    assert planned and all(isinstance(frame, Atoms) for frame in planned), '`plan` returns configurations'
    return attempt(made.analyse, atoms, evaluator.evaluate(planned))


def check_result(made: Property, found: Mapping[str, Any], of_system: bool = False) -> None:
    """Judge and show a result as it comes back from a database."""
    assert found['status'] == 'ok', f'it fails for the crystal of the test: {found["message"]}'
    result = json.loads(json.dumps(plain(found), allow_nan=False))
    criteria = dict.fromkeys(made.Criteria.model_fields, UNREACHABLE)
    judge = made.findings_of_system if of_system or not made.in_suite else made.findings
    for must_be_stable in (True, False):
        for finding in judge(result, Case(must_be_stable, False, criteria, {})):
            check_finding(made, finding)
    assert isinstance(made.is_stable(result), bool), '`is_stable` returns a bool'
    for finding in made.findings_against_dft(result, result):
        check_finding(made, finding)
        assert finding.value == 0, f'{finding.criterion}: a result does not deviate from itself'
    for name, value in made.quantities(result).items():
        assert value is None or np.isfinite(value), f'{name} is no finite number'
        assert made.quantity(name) is not None, f'what is {name}? say so in `labels`, or in `quantity`'
    check_chapter(made.chapter_of_system(result) if of_system else made.chapter(result, {'another': result}))


def check_finding(made: Property, finding: Finding) -> None:
    """Hold a finding against what the gate does with it."""
    name = finding.criterion
    assert name in made.Criteria.model_fields, f'{name} is no criterion of it'
    assert finding.value is None or isinstance(finding.value, (int, float)), f'{name}: the value is no number'
    assert finding.message or finding.value is None, f'{name}: say what was found'
    known = {**find_cures(), **made.cures()}
    for request in finding.requests:
        assert request['kind'] in known, f'{name}: nothing makes structures {request["kind"]!r}'
        json.dumps(plain(request), allow_nan=False)


def check_cures(made: Property, atoms: Atoms) -> None:
    """Make the structures that are asked for where a property could not be found."""
    if made.remedy is None:
        return
    known = {**find_cures(), **made.cures()}
    assert made.remedy in known, f'nothing makes structures {made.remedy!r}'
    request = {'kind': made.remedy, 'crystal': 0, 'reason': 'a test'}
    structures = known[made.remedy](prepare(atoms), request, np.random.default_rng(0))
    assert structures, f'the remedy {made.remedy!r} makes no structures'
    assert all('phase' in structure.info for structure in structures), 'a structure keeps the info of its parent'


def check_chapter(chapter: Chapter) -> None:
    """Hold what the report shows against what plotly draws."""
    assert isinstance(chapter.html, str) and (chapter.html or chapter.figures), 'the report has nothing to show'
    for figure, caption in chapter.figures:
        assert caption, 'a figure needs a caption'
        if figure is not None:
            assert figure['data'] and figure['layout']['height'] > 0, 'make figures by `validation.figures.figure`'
            json.dumps(plain(figure))
