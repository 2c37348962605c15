"""The verdict on a potential: PASS, CONDITIONAL or FAIL, of what the suite has found and of the criteria.

Every criterion becomes one *check* per crystal: the value, the limits, the result, why there is such a criterion. One
failed check is a FAIL, and asks for what would cure it (:mod:`.requests`); one that is beyond its limit only makes the
verdict CONDITIONAL, and says which labels the next fit should weigh more. What is held against the criteria, each
property says (:meth:`.property.Property.findings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ase import units

from ..checks.fingerprint import reduced_counts
from ..labelling.convergence import widen
from .parameters import Gate
from .property import Case, Criterion, Finding, Property, Request, Result, judge_value, load_properties

#: From the best to the worst.
VERDICTS = {'pass': 'PASS', 'warn': 'CONDITIONAL', 'fail': 'FAIL'}
#: By how much the next fit weighs energies and stresses more, if a criterion that lives on them is only just missed.
WEIGHT_FACTOR = 2.0
#: Kind of the structures that are asked for where a crystal has no equilibrium.
NO_EQUILIBRIUM = 'rattle'

#: Limits of a criterion by their names, see :class:`.property.Criterion`.
Limits = Mapping[str, Any]
#: What the suite returns, or one of its crystals: plain, its keys are the names of the properties among others.
Content = Mapping[str, Any]


class Check(TypedDict):
    """A value, what it is held against, and how that ended."""

    name: str
    crystal: str | None
    value: float | None
    unit: str
    limit: float | None
    fail: float | None
    at_least: bool
    result: str
    reason: str
    message: str


class Verdict(TypedDict, total=False):
    """The judgement of a potential."""

    verdict: str
    summary: str
    checks: list[Check]
    requests: list[Request]
    weights: dict[str, float]
    deployed: str


def told(key: str, default: Any) -> dict[str, Any]:
    """Return of every criterion what :func:`.property.criterion` was told of it by a key."""
    return {name: (field.json_schema_extra or {}).get(key, default) for name, field in Gate.model_fields.items()}


UNITS: dict[str, str] = told('unit', '')
#: Criteria whose value should be large; all others should be small.
AT_LEAST = tuple(name for name, large in told('at_least', False).items() if large)
#: Labels that the next fit weighs more, by the criterion whose limit is missed.
WEIGHTS = {name: weight for name, weight in told('weight', None).items() if weight}


def judge(content: Content, references: Content | None, parameters: Content) -> Verdict:
    """Return the verdict.

    :param content: what the suite returns.
    :param references: `dft` and `experiment`, each a list with the entry of each crystal, None or empty if there is
        none.
    :param parameters: the section `validate` of a run file: the criteria, and the limits of the errors.
    :returns: `verdict`, `summary` (a sentence), `checks` (each with `name`, `crystal`, `value`, `unit`, `limit`,
        `fail`, `at_least`, `result`, `reason`, `message`), `requests` of the failed ones, and `weights`: factors for
        the weights of `energy` and `stress` in the next fit.
    """
    judgement = Judgement(content, references or {}, parameters)
    judgement.check_everything()
    return judgement.conclude()


class Judgement:
    """The checks of one potential, one after the other."""

    def __init__(self, content: Content, references: Content, parameters: Content):
        self.content, self.references = content, references
        self.criteria = complete_criteria(parameters)
        self.properties = [kind() for kind in load_properties().values()]
        self.checks: list[Check] = []
        self.requests: list[Request] = []

    def check_everything(self) -> None:
        """Make all checks."""
        for finding in findings_of_errors(self.content.get('errors')):
            self.check(None, finding)
        crystals = self.content.get('crystals') or []
        ground_states = find_ground_states(crystals)
        for index, crystal in enumerate(crystals):
            self.check_crystal(index, crystal, crystal.get('must_be_stable', index in ground_states))
        for kind in self.properties:
            if kind.system_title:
                result = self.content.get(kind.name)
                if self.has_result(None, kind, result):
                    self.check_all(None, kind.findings_of_system(result, self.case(0, must_be_stable=False)))

    def check_crystal(self, index: int, crystal: Content, must_be_stable: bool) -> None:
        """Make the checks of one crystal: those of its stability last, but before those against DFT."""
        confirmed = crystal.get('confirmed_unstable', False)
        case = self.case(index, must_be_stable, confirmed)
        equilibrium = crystal.get('equilibrium')
        if equilibrium:
            self.check_status(index, 'equilibrium', equilibrium, NO_EQUILIBRIUM)
        for kind in sorted(self.properties, key=lambda kind: kind.concerns_stability):
            result = crystal.get(kind.name)
            if self.has_result(index, kind, result):
                self.check_all(index, kind.findings(result, case))
        is_unstable = not all(kind.is_stable(crystal[kind.name]) for kind in self.properties if is_found(crystal, kind))
        if is_unstable and not must_be_stable:
            message = 'it is not stable, and need not be: another crystal of this composition is lower in energy'
            self.add(index, 'stable', 'not_applicable', message=message)
        elif is_unstable and confirmed:
            message = 'the labels themselves fall in energy along an unstable mode: it is no fault of the potential'
            self.add(index, 'imaginary_modes', 'not_applicable', message=message)
        reference = find_reference(self.references, 'dft', index) or {}
        for kind in self.properties:
            if is_found(crystal, kind) and is_found(reference, kind):
                self.check_all(index, kind.findings_against_dft(crystal[kind.name], reference[kind.name]))

    def case(self, index: int, must_be_stable: bool, confirmed_unstable: bool = False) -> Case:
        """Return what is known of a crystal besides its properties."""
        measured = find_reference(self.references, 'experiment', index) or {}
        values = {name: entry['value'] if isinstance(entry, dict) else entry for name, entry in measured.items()}
        return Case(must_be_stable, confirmed_unstable, self.criteria, values)

    def has_result(self, index: int | None, kind: Property, result: Result | None) -> bool:
        """Return whether there is a result to judge; if it was asked for and could not be had, that is a check."""
        remedy = None if index is None else kind.remedy
        return bool(result) and self.check_status(index, kind.name, result, remedy, kind.failure)

    def check_status(
        self, index: int | None, name: str, result: Result, remedy: str | None, failure: str = 'fail'
    ) -> bool:
        """Return whether something was found; if not, add a check that says so."""
        status, message = result.get('status', 'ok'), result.get('message', '')
        if status == 'not_applicable':
            self.add(index, name, status, message=message)
        elif status != 'ok':
            self.add(index, name, failure, message=message, reason='what cannot be computed cannot be trusted')
            if remedy is not None:
                self.request({'kind': remedy}, index, message)
        return status == 'ok'

    def check_all(self, index: int | None, findings: Iterable[Finding]) -> None:
        """Add the checks of all findings."""
        for finding in findings:
            self.check(index, finding)

    def check(self, index: int | None, finding: Finding) -> None:
        """Add a check, and what it asks for if it fails."""
        limits = self.criteria[finding.criterion]
        result = judge_value(finding.value, limits, finding.criterion in AT_LEAST)
        message = finding.message if result != 'pass' or finding.value is None else ''
        self.add(index, finding.criterion, result, finding.value, limits, message=message)
        if result == 'fail':
            for request in finding.requests:
                self.request(request, index, finding.message)

    def add(
        self, index: int | None, name: str, result: str, value: float | None = None, limits: Limits | None = None,
        message: str = '', reason: str = '',
    ) -> None:  # fmt: skip
        """Add a check that has this result."""
        crystal = None if index is None else self.content['crystals'][index]['name']
        given = limits or {}
        self.checks.append(
            {
                'name': name, 'crystal': crystal, 'value': None if value is None else float(value),
                'unit': UNITS.get(name, ''), 'limit': given.get('limit'), 'fail': given.get('fail'),
                'at_least': name in AT_LEAST, 'result': result, 'reason': given.get('reason', reason),
                'message': message,
            }
        )  # fmt: skip

    def request(self, request: Request, index: int | None, reason: str) -> None:
        """Ask for structures; those of a system as a whole are made of its first crystal."""
        new = {'crystal': 0 if index is None else index, 'reason': reason, **request}
        if new not in self.requests:
            self.requests.append(new)

    def conclude(self) -> Verdict:
        """Return the verdict of all checks."""
        results = [check['result'] for check in self.checks]
        judged = [result for result in VERDICTS if result in results]
        verdict = VERDICTS[judged[-1]] if judged else 'FAIL'
        warned = [check for check in self.checks if check['result'] == 'warn']
        names = {WEIGHTS[check['name']] for check in warned if check['name'] in WEIGHTS}
        return {
            'verdict': verdict, 'summary': summarise(verdict, self.checks), 'checks': self.checks,
            'requests': self.requests, 'weights': dict.fromkeys(sorted(names), WEIGHT_FACTOR),
        }  # fmt: skip


def complete_criteria(parameters: Content) -> dict[str, dict[str, Any]]:
    """Return the criteria with what is not given: those of a property that brings its limits, and of the errors."""
    defaults = {name: field.default for name, field in Gate.model_fields.items()}
    criteria = {name: value.model_dump() for name, value in defaults.items() if isinstance(value, Criterion)}
    criteria |= {name: dict(criterion) for name, criterion in parameters['gate'].items()}
    for name in ('energy_rmse', 'force_rmse'):
        if criteria[name].get('limit') is None:
            criteria[name]['limit'] = parameters[name]
    for name, quantity in (('energy_rmse', 'energy'), ('force_rmse', 'force'), ('stress_rmse', 'stress')):
        noise = (parameters.get('noise') or {}).get(quantity)
        if noise:
            criteria[name] = widen_criterion(criteria[name], noise, UNITS[name])
    return criteria


def widen_criterion(criterion: Limits, noise: float, unit: str) -> dict[str, Any]:
    """Return a criterion of an error whose limits are widened by the noise of the labels, and that says so.

    Errors are measured against labels: where the noise is independent of them, a perfect potential has this one.
    """
    limits = {key: widen(criterion[key], noise) for key in ('limit', 'fail') if criterion.get(key) is not None}
    reason = criterion.get('reason') or 'errors are those against the labels'
    return {**criterion, **limits, 'reason': f'{reason}; widened by the noise of the labels, {noise:.2g} {unit}'}


def summarise(verdict: str, checks: Sequence[Check]) -> str:
    """Return the verdict and what decided it, in one sentence."""
    judged = [check for check in checks if check['result'] in VERDICTS]
    if not judged:
        return 'FAIL: nothing was judged; ask for properties, or give a held-out set.'
    if verdict == 'PASS':
        return f'PASS: all {len(judged)} checks are met.'
    worst = next(result for result, name in VERDICTS.items() if name == verdict)
    bad = [describe(check) for check in judged if check['result'] == worst]
    rest = f', and {len(bad) - 3} more' if len(bad) > 3 else ''
    text = 'to be used with care' if verdict == 'CONDITIONAL' else 'not to be trusted'
    return f'{verdict}, {text}: {"; ".join(bad[:3])}{rest}.'


def describe(check: Check) -> str:
    """Return what is wrong about a check, in a few words."""
    where = f'{check["crystal"]}: ' if check['crystal'] else ''
    return f'{where}{check["message"] or check["name"]}'.rstrip('.')


def find_ground_states(crystals: Sequence[Content]) -> set[int]:
    """Return the crystals that are lowest in energy of those of their composition: they have to be stable."""
    lowest: dict[tuple, tuple[float, int]] = {}
    for index, crystal in enumerate(crystals):
        energy = crystal.get('equilibrium', {}).get('energy')
        if energy is None:
            continue
        composition = reduced_counts(crystal['numbers'])
        lowest[composition] = min(lowest.get(composition, (energy, index)), (energy, index))
    return {index for _, index in lowest.values()}


def findings_of_errors(errors: Content | None) -> Iterator[Finding]:
    """Yield the errors on the held-out set, where there is one."""
    for key, name, factor, form in (
        ('energy', 'energy_rmse', 1.0, lambda value: f'{1e3 * value:.3g} meV/atom'),
        ('forces', 'force_rmse', 1.0, lambda value: f'{1e3 * value:.3g} meV/Å'),
        ('stress', 'stress_rmse', 1 / units.GPa, lambda value: f'{value:.3g} GPa'),
    ):
        value = ((errors or {}).get(key) or {}).get('rmse')
        if value is not None:
            request = {'kind': 'rattle'} if key != 'stress' else {'kind': 'strain'}
            yield Finding(name, factor * value, f'the error of {key} is {form(factor * value)}', (request,))


def is_found(crystal: Content, kind: Property) -> bool:
    """Return whether a crystal has a result of a property."""
    result = crystal.get(kind.name)
    return bool(result) and result.get('status', 'ok') == 'ok'


def find_reference(references: Content, name: str, index: int) -> Content | None:
    """Return the reference of a crystal, None if there is none."""
    column = references.get(name) or []
    return column[index] if index < len(column) else None
